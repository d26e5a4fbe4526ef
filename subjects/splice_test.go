package subjects

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// spliced is a status of some random members of a few roles.
func spliced(r *rand.Rand, generation uint64) *Status {
	s := &Status{V: Version, Domain: "example.net", Epoch: 1, Generation: generation, Manager: "m1"}
	for _, role := range []Role{"addresses", SIPProxy, MediaRelay, "sip_proxy2"} {
		for i := range r.IntN(6) {
			if r.IntN(3) > 0 {
				s.Put(role, splicedMember(r, NodeID(fmt.Sprintf("n%d", i))))
			}
		}
	}
	if r.IntN(2) == 0 {
		s.Departed = []Departed{{Node: "n1", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}}
	}
	return s
}

func splicedMember(r *rand.Rand, n NodeID) Member {
	m := Member{Node: n, State: Up, Weight: r.IntN(3), Reason: []string{"", `says ],"departed":[ "twice"`, "ü"}[r.IntN(3)]}
	if r.IntN(3) > 0 {
		m.Addresses = []netip.Addr{netip.MustParseAddr("192.0.2.7")}
		m.Attrs = Attrs{"node": `{"node":"n3","addresses":[`, "a": fmt.Sprint(r.IntN(2))}
	}
	return m
}

// What is copied from the encoding before is what the members encode to.
func TestEncodingsAreSpliced(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 9))
	used := 0
	for i := range 5000 {
		a := spliced(r, 7)
		b := a.Clone()
		b.Generation++
		if r.IntN(3) > 0 {
			other := spliced(r, 8)
			for _, role := range other.RoleNames() {
				if r.IntN(2) == 0 {
					b.Roles[role] = other.Roles[role]
				}
			}
		}
		for _, role := range b.RoleNames() {
			switch r.IntN(4) {
			case 0:
				delete(b.Roles, role)
			case 1:
				b.Put(role, splicedMember(r, NodeID(fmt.Sprintf("n%d", r.IntN(7)))))
			}
		}
		d := Diff(a, b)
		got, ok := splice(a.Encode(), a, b, d.Changes)
		if want := b.Encode(); ok && bytes.Equal(got, want) {
			used++
		} else if ok && len(a.Roles["addresses"]) == 0 { // that name alone stands in the text elsewhere
			t.Fatalf("%d:\n%s\nto\n%s\nwas spliced as\n%s", i, a.Encode(), want, got)
		}
		next, encoded, ok := a.ApplyEncoded(a.Encode(), d)
		if !ok || !bytes.Equal(encoded, b.Encode()) || !bytes.Equal(next.Encode(), encoded) {
			t.Fatalf("%d: applied %v", i, ok)
		}
	}
	if used < 4000 {
		t.Errorf("%d of 5000 were spliced", used)
	}
}

// A text that is not the encoding of the status before leads to the right status all the same.
func TestAnotherTextThanTheEncodingDoesNoHarm(t *testing.T) {
	r := rand.New(rand.NewPCG(10, 11))
	for range 300 {
		a, b := spliced(r, 7), spliced(r, 8)
		d, had := Diff(a, b), a.Encode()
		for range r.IntN(4) {
			switch i := r.IntN(len(had)); r.IntN(3) {
			case 0:
				had[i] ^= 1
			case 1:
				had = append(had[:i:i], had[min(len(had), i+r.IntN(50)):]...)
			default:
				had = append(had[:i:i], append([]byte(`"sip_proxy":[`), had[i:]...)...)
			}
			if len(had) == 0 {
				break
			}
		}
		if _, encoded, ok := a.ApplyEncoded(had, d); !ok || !bytes.Equal(encoded, b.Encode()) {
			t.Fatalf("%q: %v", had, ok)
		}
	}
}
