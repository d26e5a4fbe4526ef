package lookup_test

import (
	"errors"
	"testing"

	"thor/overlay/lookup"
	"thor/subjects"
)

func TestRosterIsTheTableOfOneSlot(t *testing.T) {
	for _, ms := range [][]lookup.Member{setA(1), setA(2), setA(40), setB(7), set(50, 0, 1, 2, 3, 5, 8, 13, 65535, 100, 9999), sited(setA(40), "a", "b", ""), sited(setB(9), "a", "b", "c")} {
		ms[0].Draining = len(ms) > 10
		tab := table(t, 10, ms)
		r, err := lookup.NewRoster(10, ms)
		if err != nil {
			t.Fatal(err)
		}
		for s := range uint32(1) << 10 {
			p, err := tab.At(s)
			o, h, far, rerr := r.At(s)
			if err != nil || rerr != nil || p.Owner() != o || p.Heir() != h || p.Remote() != far {
				t.Fatalf("%d members, slot %d: %+v, want %s %s %s", len(ms), s, namesOf(p), o, h, far)
			}
		}
		if n := testing.AllocsPerRun(10, func() { _, _, _, _ = r.At(7) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
	r, err := lookup.NewRoster(18, nil)
	if err != nil {
		t.Fatal(err)
	}
	if o, h, far, err := r.At(1); !errors.Is(err, lookup.ErrNoMembers) || o != "" || h != "" || far != "" {
		t.Errorf("%q %q %q %v", o, h, far, err)
	}
	if _, err := lookup.NewRoster(9, nil); err == nil {
		t.Error("9 bits accepted")
	}
	if _, err := lookup.NewRoster(10, []lookup.Member{{Node: "a", Weight: -1}}); err == nil {
		t.Error("weight -1 accepted")
	}
}

func TestSlotLabels(t *testing.T) {
	for _, c := range []struct {
		bits  int
		slot  uint32
		label string
	}{
		{18, 0, "0000"},
		{18, 31, "000v"},
		{18, 32, "0010"},
		{18, 198778, "623q"},
		{18, 1<<18 - 1, "7vvv"},
		{10, 1023, "vv"},
		{11, 2047, "1vv"},
		{20, 1<<20 - 1, "vvvv"},
		{24, 1<<24 - 1, "fvvvv"},
	} {
		if got := lookup.Label(c.bits, c.slot); got != c.label {
			t.Errorf("Label(%d, %d) = %q, want %q", c.bits, c.slot, got, c.label)
		}
		if got, ok := lookup.ParseLabel(c.bits, c.label); !ok || got != c.slot {
			t.Errorf("ParseLabel(%d, %q) = %d, %v", c.bits, c.label, got, ok)
		}
		if _, err := subjects.ParseNodeID("a" + c.label); err != nil {
			t.Errorf("%q is no part of a host label: %v", c.label, err)
		}
	}
	for _, l := range []string{"", "000", "00000", "8000", "vvvv", "000w", "000Z", "00-0", "000\x80"} {
		if s, ok := lookup.ParseLabel(18, l); ok {
			t.Errorf("ParseLabel(18, %q) = %d", l, s)
		}
	}
}
