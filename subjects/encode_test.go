package subjects_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"thor/subjects"
)

// reflected is what encoding/json makes of s, with the lists that Encode promises.
func reflected(s *subjects.Status) []byte {
	c := *s
	c.Losses = subjects.Losses{}
	if c.Departed == nil {
		c.Departed = []subjects.Departed{}
	}
	if c.Lookup == nil {
		c.Lookup = map[subjects.Role]subjects.Lookup{}
	}
	c.Roles = make(map[subjects.Role][]subjects.Member)
	for r, ms := range s.Roles {
		for _, m := range ms {
			if m.Attrs == nil {
				m.Attrs = subjects.Attrs{}
			}
			if m.Addresses == nil {
				m.Addresses = []netip.Addr{}
			}
			c.Roles[r] = append(c.Roles[r], m)
		}
	}
	return subjects.Encode(&c)
}

var oddTexts = []string{"", "plain", `quote"d`, `back\slash`, "line\nbreak", "<a&b>", "ünï", "\xff\xfe", "\u2028", "\x7f", "tab\t", "~ }{"}

func TestStatusesAreEncodedAsReflectionWould(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	text := func() string { return oddTexts[r.IntN(len(oddTexts))] }
	addrs := func() (as []netip.Addr) {
		for range r.IntN(3) {
			as = append(as, []netip.Addr{
				{},
				netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("fe80::1%eth0"),
				netip.MustParseAddr("::ffff:192.0.2.7"), netip.MustParseAddr("fe80::1").WithZone(`a"b`),
			}[r.IntN(6)])
		}
		return as
	}
	at := func() time.Time {
		return []time.Time{
			{},
			time.Unix(1_800_000_000, 0).UTC(), time.Unix(1_800_000_000, 123_456_000).UTC(),
			time.Unix(1_800_000_000, 1).In(time.FixedZone("x", -5400)),
		}[r.IntN(4)]
	}
	for i := range 2000 {
		s := &subjects.Status{V: r.IntN(3), Domain: text(), Epoch: r.Uint64(), Generation: r.Uint64(), Manager: subjects.NodeID(text()), Time: at()}
		for range r.IntN(4) {
			s.Put(subjects.Role(text()), subjects.Member{
				Node: subjects.NodeID(fmt.Sprint(text(), r.IntN(9))), Addresses: addrs(), State: subjects.State(text()), Reason: text(),
				Priority: r.IntN(300) - 100, Weight: r.IntN(300), Since: at(), Version: text(), Plain: r.IntN(2) == 0,
			})
		}
		for role, ms := range s.Roles {
			for range r.IntN(12) {
				if ms[0].Attrs == nil {
					ms[0].Attrs = subjects.Attrs{}
				}
				ms[0].Attrs[fmt.Sprint(text(), r.IntN(20))] = text()
			}
			if r.IntN(3) == 0 {
				if s.Lookup == nil {
					s.Lookup = make(map[subjects.Role]subjects.Lookup)
				}
				s.Lookup[role] = subjects.Lookup{Bits: r.IntN(20), Digest: text()}
			}
		}
		for range r.IntN(3) {
			s.Departed = append(s.Departed, subjects.Departed{Node: subjects.NodeID(text()), Addresses: addrs(), Until: at()})
		}
		if r.IntN(2) == 0 {
			s.ClearLosses()
		}
		if got, want := s.Encode(), reflected(s); !bytes.Equal(got, want) {
			t.Fatalf("status %d:\n%s\nwant\n%s", i, got, want)
		}
		for _, role := range append(s.RoleNames(), "absent") {
			v := s.View(role)
			if i%2 == 0 {
				v.Part, v.Parts = 1+i%3, 3
			}
			if got, want := v.Encode(), subjects.Encode(v); !bytes.Equal(got, want) {
				t.Fatalf("view %d of %s:\n%s\nwant\n%s", i, role, got, want)
			}
		}
	}
}

// BenchmarkApply is one delta with one change at a receiver, by the number of members.
func BenchmarkApply(b *testing.B) {
	for _, members := range []int{100, 1000, 5000} {
		b.Run(fmt.Sprint(members), func(b *testing.B) {
			s := bigStatus(members)
			next := s.Clone()
			next.Generation++
			m := next.Roles[subjects.SIPProxy][members/2]
			m.Weight = 50
			next.Put(subjects.SIPProxy, m)
			d, encoded := subjects.Diff(s, next), s.Encode()
			b.ReportAllocs()
			for b.Loop() {
				if _, _, ok := s.ApplyEncoded(encoded, d); !ok {
					b.Fatal("the delta does not lead to the status")
				}
			}
		})
	}
}
