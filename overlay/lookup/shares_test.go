package lookup_test

import (
	"testing"

	"thor/overlay/lookup"
	"thor/subjects"
)

// Shares are what a walk over all slots finds.
func TestSharesCountOwnersAndHeirs(t *testing.T) {
	for _, ms := range [][]lookup.Member{
		nil,
		{{Node: "a", Weight: 100}},
		{{Node: "b", Weight: 100}, {Node: "a", Weight: 300}, {Node: "c", Weight: 0}, {Node: "d", Weight: 50, Draining: true}},
	} {
		table, err := lookup.New(12, ms)
		if err != nil {
			t.Fatal(err)
		}
		owners, heirs := make(map[subjects.NodeID]int), make(map[subjects.NodeID]int)
		for slot := range uint32(1 << 12) {
			if a, err := table.At(slot); err == nil {
				owners[a.Owner()]++
				heirs[a.Heir()]++
			}
		}
		shares := table.Shares()
		if len(shares) != table.Len() {
			t.Errorf("%d shares of %d members", len(shares), table.Len())
		}
		all := 0
		for i, s := range shares {
			if s.Slots != owners[s.Node] || s.Heir != heirs[s.Node] || i > 0 && shares[i-1].Node >= s.Node {
				t.Errorf("%+v; owner of %d, heir of %d", s, owners[s.Node], heirs[s.Node])
			}
			all += s.Slots
		}
		if len(shares) > 0 && all != 1<<12 {
			t.Errorf("%d slots of %d", all, 1<<12)
		}
	}
}
