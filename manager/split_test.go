package manager

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"thor/manager/core"
	"thor/manager/election"
	"thor/subjects"
)

// crowd is a status with so many members in each role.
func crowd(generation uint64, roles map[subjects.Role]int) *core.Held {
	s := &subjects.Status{
		V: 1, Domain: "example.net", Epoch: 3, Generation: generation, Manager: "m1", Time: time.Unix(1e9, 0).UTC(),
		Roles: map[subjects.Role][]subjects.Member{}, Departed: []subjects.Departed{}, Lookup: map[subjects.Role]subjects.Lookup{},
	}
	for role, n := range roles {
		for i := range n {
			s.Roles[role] = append(s.Roles[role], subjects.Member{
				Node: subjects.NodeID(fmt.Sprintf("node%05d", i)), Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})},
				State: subjects.Up, Weight: 100, Since: time.Unix(1e9, 0).UTC(), Version: "kamailio 5.8.4",
				Attrs: subjects.Attrs{"udp_port": "5060", "tcp_port": "5060", "tls_port": "5061"},
			})
		}
	}
	return core.Hold(s, s.Encode())
}

// A status of any size is in the store, whole, and none of its former keys stays.
func TestAStatusOfAnySizeIsInTheStore(t *testing.T) {
	inBubble(t, func(t *testing.T, m *lone) {
		k := newSnapshotWriter(m.cfg.Overlay.Conn(), m.Manager.log)
		defer k.stop()
		ctx := context.Background()
		keys := func() (out []string) {
			for _, role := range []subjects.Role{"sip_proxy", "media_relay", "xcap_server"} {
				for part := range 5 {
					e, err := k.bucket.Get(ctx, subjects.RoleKey(role, part+1))
					if err != nil {
						t.Fatal(err)
					}
					if e != nil && e.Held {
						out = append(out, subjects.RoleKey(role, part+1))
					}
				}
			}
			return out
		}
		for i, c := range []struct {
			roles map[subjects.Role]int
			keys  []string
		}{
			{map[subjects.Role]int{"sip_proxy": 3}, nil},
			{map[subjects.Role]int{"sip_proxy": 5000, "media_relay": 10}, []string{"role.sip_proxy", "role.sip_proxy-2", "role.sip_proxy-3", "role.media_relay"}},
			{map[subjects.Role]int{"sip_proxy": 2500, "xcap_server": 2}, []string{"role.sip_proxy", "role.sip_proxy-2", "role.xcap_server"}},
			{map[subjects.Role]int{"sip_proxy": 2000, "media_relay": 2000}, []string{"role.sip_proxy", "role.media_relay"}},
			{map[subjects.Role]int{"media_relay": 1}, nil},
		} {
			h := crowd(uint64(10+i), c.roles)
			k.put(h)
			time.Sleep(5 * time.Second)
			s, encoded, err := readStatus(ctx, k.bucket)
			if err != nil {
				t.Fatal(err)
			}
			if s.Mark() != h.Status.Mark() || !bytes.Equal(encoded, h.Encoded) {
				t.Fatalf("%v: read %d bytes of %v, written %d of %v", c.roles, len(encoded), s.Mark(), len(h.Encoded), h.Status.Mark())
			}
			if got := keys(); !slices.Equal(got, c.keys) {
				t.Errorf("%v: keys %q, want %q", c.roles, got, c.keys)
			}
		}
	})
}

// A manager that does not know yet that another one leads overwrites nothing of it.
func TestAnOlderStatusOverwritesNoLaterOne(t *testing.T) {
	inBubble(t, func(t *testing.T, m *lone) {
		ctx := context.Background()
		old, next := newSnapshotWriter(m.cfg.Overlay.Conn(), m.Manager.log), newSnapshotWriter(m.cfg.Overlay.Conn(), m.Manager.log)
		defer old.stop()
		defer next.stop()
		big := map[subjects.Role]int{"sip_proxy": 3000}
		old.put(crowd(10, big))
		time.Sleep(5 * time.Second)
		later := crowd(20, map[subjects.Role]int{"sip_proxy": 3100})
		next.put(later)
		time.Sleep(5 * time.Second)
		for _, roles := range []map[subjects.Role]int{{"sip_proxy": 2990}, {"sip_proxy": 1}} {
			old.put(crowd(11, roles))
			time.Sleep(5 * time.Second)
			if _, encoded, err := readStatus(ctx, next.bucket); err != nil || !bytes.Equal(encoded, later.Encoded) {
				t.Fatalf("%v: %v", roles, err)
			}
		}
	})
}

// What is not there, or only in part, is no status.
func TestAStoreInPartsIsNoStatus(t *testing.T) {
	inBubble(t, func(t *testing.T, m *lone) {
		ctx := context.Background()
		b, err := election.OpenBucket(m.cfg.Overlay.Conn(), subjects.StatusBucket)
		if err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(100 * time.Millisecond) {
			s, _, err := readStatus(ctx, b)
			if err == nil && s == nil {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("an empty store: %v %v", s, err)
			}
		}
		h := splitHead{Status: *crowd(10, nil).Status, Split: []subjects.Role{"sip_proxy"}}
		if _, err := b.Replace(ctx, subjects.StatusKey, h.encode(), 0, 0); err != nil {
			t.Fatal(err)
		}
		if s, _, err := readStatus(ctx, b); s != nil || err == nil {
			t.Errorf("a head alone: %v %v", s, err)
		}
	})
}
