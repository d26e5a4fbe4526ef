package subjects_test

import (
	"slices"
	"strings"
	"testing"

	"thor/subjects"
)

func TestPeersComeBackAsTheyWereNamed(t *testing.T) {
	for _, c := range []struct {
		names []string
		fits  bool
	}{
		{nil, true},
		{[]string{"b2"}, true},
		{[]string{"b2", "b3"}, true},
		{slices.Repeat([]string{strings.Repeat("x", 63)}, 8), true}, // 511 bytes
		{append(slices.Repeat([]string{strings.Repeat("x", 63)}, 7), strings.Repeat("y", 63), "z"), false},
	} {
		as := subjects.Attrs{}
		if as.SetPeers(c.names) != c.fits {
			t.Errorf("%d names: %v", len(c.names), !c.fits)
		}
		got, known := as.Peers()
		if want := c.fits && len(c.names) > 0; known != want || want && len(got) != len(c.names) || !want && len(as) > 0 {
			t.Errorf("%v becomes %v, %v", c.names, got, known)
		}
		for _, n := range c.names {
			if as.HasPeer(subjects.NodeID(n)) != c.fits {
				t.Errorf("%v: has %s", c.names, n)
			}
		}
	}
	as := subjects.Attrs{subjects.AttrPeers: "b2,b22,b3"}
	if as.HasPeer("b") || as.HasPeer("2") || as.HasPeer("") || as.HasPeer("b2,b22") || !as.HasPeer("b22") {
		t.Error("parts of names")
	}
	if _, known := subjects.Attrs(nil).Peers(); known {
		t.Error("peers of nobody")
	}
}
