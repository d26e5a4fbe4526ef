package subjects_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"thor/subjects"
)

// many is a status with n proxies.
func many(generation uint64, n int) *subjects.Status {
	s := &subjects.Status{V: 1, Domain: "example.net", Epoch: 1, Generation: generation, Manager: "m1", Time: time.Unix(1e9, 0).UTC()}
	for i := range n {
		s.Put(subjects.SIPProxy, subjects.Member{
			Node: subjects.NodeID(fmt.Sprintf("proxy%05d", i)), Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})},
			State: subjects.Up, Weight: 100, Since: time.Unix(1e9, 0).UTC(), Version: "kamailio 5.8.4",
			Attrs: subjects.Attrs{"udp_port": "5060", "tcp_port": "5060", "tls_port": "5061"},
		})
	}
	return s
}

// A change of many members is told: it is compressed where it is big, and asks
// for a reload only beyond all measure.
func TestDeltasOfManyChanges(t *testing.T) {
	for _, c := range []struct {
		members    int
		compressed bool
	}{{10, false}, {30, true}, {60, true}, {5000, true}} {
		a, b := many(1, 0), many(2, c.members)
		data, header := subjects.Diff(a, b).Message()
		h := http.Header{}
		for k, v := range header {
			h.Set(k, v)
		}
		if (len(header) > 0) != c.compressed || len(data) > subjects.MaxView || !c.compressed && len(data) > subjects.MaxDelta {
			t.Errorf("%d joins: %d bytes, header %v", c.members, len(data), header)
		}
		d, err := subjects.ReadDelta(h.Get, data)
		if err != nil {
			t.Fatalf("%d joins: %v", c.members, err)
		}
		if got, encoded, ok := a.Apply(d); !ok || got.Mark() != b.Mark() || string(encoded) != string(b.Encode()) {
			t.Errorf("%d joins: reload %v", c.members, d.Reload)
		}
		if plain, err := subjects.ParseDelta(subjects.Diff(a, b).Encode()); err != nil || plain.Reload != c.compressed {
			t.Errorf("%d joins, plain: %v", c.members, err)
		}
	}
	data, header := subjects.Diff(many(1, 0), many(2, 25_000)).Message()
	if d, err := subjects.ParseDelta(data); err != nil || !d.Reload || header != nil {
		t.Errorf("25,000 joins: %v", err)
	}
}

func TestBadCompressedDeltasAreRefused(t *testing.T) {
	gzip := func(string) string { return "gzip" }
	good, _ := subjects.Diff(many(1, 0), many(2, 100)).Message()
	for name, c := range map[string]struct {
		data []byte
		code subjects.Code
	}{
		"not compressed": {[]byte(`{"v":1}`), subjects.CodeType},
		"cut off":        {good[:len(good)/2], subjects.CodeType},
		"too big":        {make([]byte, subjects.MaxView+1), subjects.CodeTooLarge},
		"a bomb":         {bomb(t), subjects.CodeTooLarge},
	} {
		if _, err := subjects.ReadDelta(gzip, c.data); subjects.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// bomb is small, and big when it is unpacked.
func bomb(t *testing.T) []byte {
	t.Helper()
	return subjects.Chunks(make([]byte, 5<<20))[0].Data
}

// A list of any length is told, in parts that each are a list.
func TestViewsOfAnySize(t *testing.T) {
	for _, c := range []struct{ members, parts int }{{0, 1}, {1000, 1}, {2500, 2}, {5000, 3}} {
		s := many(7, c.members)
		messages := s.View(subjects.SIPProxy).Messages()
		if len(messages) != c.parts {
			t.Errorf("%d members: %d parts", c.members, len(messages))
		}
		var got []subjects.Member
		for i, b := range messages {
			v, err := subjects.ParseRoleView(b)
			if err != nil {
				t.Fatal(err)
			}
			if c.parts > 1 && (v.Part != i+1 || v.Parts != c.parts) || c.parts == 1 && v.Part+v.Parts != 0 {
				t.Errorf("%d members: part %d of %d", c.members, v.Part, v.Parts)
			}
			if v.Generation != 7 || v.Role != subjects.SIPProxy || len(b) > subjects.MaxView {
				t.Errorf("%d members: %d bytes of %+v", c.members, len(b), v.Role)
			}
			got = append(got, v.Members...)
		}
		if len(got) != c.members {
			t.Errorf("%d members: %d told", c.members, len(got))
		}
	}
}
