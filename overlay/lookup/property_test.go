package lookup_test

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"thor/overlay/lookup"
	"thor/subjects"
)

// step changes members at random in one way: a join, a leave, a change of
// weight, a drain or a resume. It returns who changed.
func step(rng *rand.Rand, ms []lookup.Member, max int) ([]lookup.Member, subjects.NodeID) {
	weights := []int{0, 1, 25, 50, 75, 100, 100, 100, 150, 200, 400, 65535}
	ms = slices.Clone(ms)
	kind := rng.IntN(5)
	if len(ms) == 0 || kind == 0 && len(ms) < max {
		for {
			id := subjects.NodeID(fmt.Sprintf("node-%d", rng.IntN(10*max)))
			if !slices.ContainsFunc(ms, func(m lookup.Member) bool { return m.Node == id }) {
				return append(ms, lookup.Member{Node: id, Weight: weights[rng.IntN(len(weights))]}), id
			}
		}
	}
	i := rng.IntN(len(ms))
	id := ms[i].Node
	switch kind {
	case 0, 1:
		ms[i] = ms[len(ms)-1]
		return ms[:len(ms)-1], id
	case 2, 3:
		ms[i].Weight = weights[rng.IntN(len(weights))]
	default:
		ms[i].Draining = !ms[i].Draining
	}
	return ms, id
}

// serving is the weight with which id gets new work among ms.
func serving(ms []lookup.Member, id subjects.NodeID) int {
	for _, m := range ms {
		if m.Node == id && !m.Draining {
			return m.Weight
		}
	}
	return 0
}

// The promise of the function: over any history a change moves slots only to or
// from the member that changed, the heir of a slot inherits it, and a table kept
// up to date is the one built anew.
func TestOnlyTheMemberThatChangesGainsOrLoses(t *testing.T) {
	histories := []struct{ bits, members, steps, verify int }{
		{10, 12, 6000, 4}, {10, 60, 3800, 8}, {12, 300, 200, 10}, {18, 40, 60, 20},
	}
	total := 0
	for _, h := range histories {
		rng := rand.New(rand.NewPCG(uint64(h.bits), uint64(h.members)))
		var ms []lookup.Member
		tab := table(t, h.bits, ms)
		for i := range h.steps {
			next, who := step(rng, ms, h.members)
			now, err := tab.Update(next)
			if err != nil {
				t.Fatal(err)
			}
			checkMoves(t, tab, now, who, serving(ms, who), serving(next, who))
			if i%h.verify == 0 {
				fresh := table(t, h.bits, next)
				if fresh.Digest() != now.Digest() || !sameAssignments(fresh, now) {
					t.Fatalf("step %d: %s updated, %s built anew", i, now.Digest(), fresh.Digest())
				}
			}
			if !now.Same(next) || now != tab && tab.Same(next) {
				t.Fatalf("step %d: Same is wrong", i)
			}
			ms, tab = next, now
			total++
			if t.Failed() {
				t.Fatalf("S=%d step %d, %s", h.bits, i, who)
			}
		}
	}
	if total < 10_000 {
		t.Errorf("only %d changes", total)
	}
}

func checkMoves(t *testing.T, old, now *lookup.Table, who subjects.NodeID, before, after int) {
	t.Helper()
	for m := range old.Moves(now) {
		switch {
		case m.From != who && m.To != who:
			t.Errorf("slot %d moved from %q to %q", m.Slot, m.From, m.To)
		case m.To == who && after <= before || m.From == who && after >= before:
			t.Errorf("slot %d moved from %q to %q, weight of %s from %d to %d", m.Slot, m.From, m.To, who, before, after)
		case m.From == who:
			if p, _ := old.At(m.Slot); p.Heir() != m.To {
				t.Errorf("slot %d went to %q, its heir was %q", m.Slot, m.To, p.Heir())
			}
		}
	}
}

func sameAssignments(a, b *lookup.Table) bool {
	for s := range uint32(1) << a.Bits() {
		p, err1 := a.At(s)
		q, err2 := b.At(s)
		if namesOf(p) != namesOf(q) || !errors.Is(err1, err2) {
			return false
		}
	}
	return true
}

// A slot has a previous owner only where that one drains, and it is the owner that
// the slot had before.
func TestPreviousOwnerIsTheOwnerAsIfNoneDrained(t *testing.T) {
	ms := setA(30)
	plain := table(t, 12, ms)
	for _, i := range []int{3, 7, 8} {
		ms[i].Draining = true
	}
	tab := table(t, 12, ms)
	differ := 0
	for s := range uint32(1) << 12 {
		p, _ := tab.At(s)
		b, _ := plain.At(s)
		if cmp.Or(p.Previous(), p.Owner()) != b.Owner() {
			t.Fatalf("slot %d: %+v, the owner was %s", s, namesOf(p), b.Owner())
		}
		switch p.Previous() {
		case "":
			continue
		case "n0003", "n0007", "n0008":
			differ++
		default:
			t.Fatalf("slot %d: previous owner %s does not drain", s, p.Previous())
		}
		if hs := p.Holders(); p.Holds("") || len(hs) != 3 || !p.Serves(hs[0]) || p.Serves(hs[1]) || !p.Holds(hs[1]) || !p.Serves(hs[2]) || p.Same(b) {
			t.Fatalf("slot %d: held by %v", s, hs)
		}
	}
	if differ == 0 {
		t.Error("no slot has a previous owner")
	}
}

func TestEqualWeightsGiveOneTableWhateverTheyAre(t *testing.T) {
	want := lookup.Owners(table(t, 12, set(20, 100)))
	for _, w := range []int{1, 7, 65535} {
		if got := lookup.Owners(table(t, 12, set(20, w))); !slices.Equal(got, want) {
			t.Errorf("weight %d gives another table", w)
		}
	}
}

func TestTiesAreBrokenByDrawThenName(t *testing.T) {
	const a, b = 0xfffffffffffffffe, 0xffffffffffffffff // score 655 both, at weight 100
	if !lookup.DrawsOrder(b, 100, 9, a, 100, 1) || lookup.DrawsOrder(a, 100, 1, b, 100, 9) {
		t.Error("of equal scores the greater draw must win")
	}
	if !lookup.DrawsOrder(a, 100, 1, a, 100, 2) || lookup.DrawsOrder(a, 100, 2, a, 100, 1) {
		t.Error("of equal draws the first name must win")
	}
	if !lookup.DrawsOrder(a, 200, 9, b, 100, 1) {
		t.Error("the lower score must win")
	}
}

func TestEmptyAndImpossibleTables(t *testing.T) {
	drained := []lookup.Member{{Node: "a", Weight: 100, Draining: true}, {Node: "b"}}
	for _, ms := range [][]lookup.Member{nil, drained} {
		tab := table(t, 18, ms)
		if p, err := tab.Find("alice@example.com"); !errors.Is(err, lookup.ErrNoMembers) || p != (lookup.Assignment{}) {
			t.Errorf("%v: %+v %v", ms, p, err)
		}
		if _, err := tab.FindRaw("x"); !errors.Is(err, lookup.ErrNoMembers) {
			t.Errorf("%v: %v", ms, err)
		}
		if tab.Digest() != "78fa979574cf2fc6" {
			t.Errorf("digest %s", tab.Digest())
		}
	}
	for name, f := range map[string]func() (*lookup.Table, error){
		"9 bits":        func() (*lookup.Table, error) { return lookup.New(9, nil) },
		"25 bits":       func() (*lookup.Table, error) { return lookup.New(25, nil) },
		"weight -1":     func() (*lookup.Table, error) { return lookup.New(10, []lookup.Member{{Node: "a", Weight: -1}}) },
		"weight 65536":  func() (*lookup.Table, error) { return lookup.New(10, []lookup.Member{{Node: "a", Weight: 65536}}) },
		"twice":         func() (*lookup.Table, error) { return lookup.New(10, append(setA(2), setA(1)...)) },
		"no name":       func() (*lookup.Table, error) { return lookup.New(10, []lookup.Member{{Weight: 1}}) },
		"65536 members": func() (*lookup.Table, error) { return lookup.New(10, set(65536, 1)) },
		"update":        func() (*lookup.Table, error) { return table(t, 10, setA(2)).Update(append(setA(2), setA(1)...)) },
	} {
		if tab, err := f(); err == nil {
			t.Errorf("%s accepted: %v", name, tab)
		}
	}
}

func TestMembersOfTheStatus(t *testing.T) {
	got := lookup.Members([]subjects.Member{
		{Node: "a", State: subjects.Up, Weight: 100},
		{Node: "b", State: subjects.Suspect, Weight: 50},
		{Node: "c", State: subjects.Draining, Weight: 7},
	})
	want := []lookup.Member{{Node: "a", Weight: 100}, {Node: "b", Weight: 50}, {Node: "c", Weight: 7, Draining: true}}
	if !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
}

// Loads are within what the docs promise, counted by slots: keys add only the
// chance of their own number.
func TestSlotsAreShared(t *testing.T) {
	for _, c := range []struct {
		n    int
		most float64
	}{{10, 1.03}, {100, 1.06}, {1000, 1.25}} {
		tab := table(t, 18, setB(c.n))
		count := make(map[subjects.NodeID]int)
		for s := range uint32(1) << 18 {
			p, _ := tab.At(s)
			count[p.Owner()]++
		}
		most, least := 0, 1<<18
		for _, n := range count {
			most, least = max(most, n), min(least, n)
		}
		mean := float64(1<<18) / float64(c.n)
		t.Logf("%d nodes: max/mean %.3f, min/mean %.3f", c.n, float64(most)/mean, float64(least)/mean)
		if len(count) != c.n || float64(most)/mean > c.most {
			t.Errorf("%d nodes: max/mean %.3f, %.2f promised", c.n, float64(most)/mean, c.most)
		}
	}
}

func TestLookupsAllocateNothing(t *testing.T) {
	tab := table(t, 10, setA(10))
	for _, k := range []string{
		"alice@example.com", "sip:alice@example.com:5060;transport=tls", "sip:bob:secret@Example.COM:5060;transport=tls;lr", "bad",
	} {
		if n := testing.AllocsPerRun(100, func() { _, _ = tab.Find(k) }); n != 0 {
			t.Errorf("Find(%q): %v allocations", k, n)
		}
		if n := testing.AllocsPerRun(100, func() { _, _ = tab.FindRaw(k) }); n != 0 {
			t.Errorf("FindRaw(%q): %v allocations", k, n)
		}
	}
}
