package subscribers

import (
	"slices"
	"testing"

	"thor/subjects"
)

func TestProvisioningServersOfTheOwnSiteAreAskedFirst(t *testing.T) {
	servers := []subjects.Member{
		{Node: "ams1", State: subjects.Up, Site: "ams"},
		{Node: "ams2", State: subjects.Up, AnnouncedSite: "ams"},
		{Node: "ams3", State: subjects.Up, Site: "ams"},
		{Node: "ams4", State: subjects.Suspect, Site: "ams"},
		{Node: "fra1", State: subjects.Up, Site: "fra"},
		{Node: "fra2", State: subjects.Up},
		{Node: "fra3", State: subjects.Draining, Site: "fra"},
	}
	well := func(n subjects.NodeID) bool { return n != "ams3" }
	for _, c := range []struct {
		prefer subjects.NodeID
		own    subjects.Site
		want   [][]subjects.NodeID // each in any order
	}{
		{"", "ams", [][]subjects.NodeID{{"ams1", "ams2"}, {"fra1", "fra2"}, {"ams3", "ams4"}, {"fra3"}}},
		{"fra3", "ams", [][]subjects.NodeID{{"fra3"}, {"ams1", "ams2"}, {"fra1", "fra2"}, {"ams3", "ams4"}}},
		{"", "", [][]subjects.NodeID{{"ams1", "ams2", "fra1", "fra2"}, {"ams3", "ams4", "fra3"}}},
		{"", "lon", [][]subjects.NodeID{{"ams1", "ams2", "fra1", "fra2"}, {"ams3", "ams4", "fra3"}}},
	} {
		first := make(map[subjects.NodeID]bool)
		for range 100 {
			got := askingOrder(servers, c.prefer, c.own, well)
			first[got[0]] = true
			for _, want := range c.want {
				part := slices.Sorted(slices.Values(got[:len(want)]))
				if !slices.Equal(part, want) {
					t.Fatalf("%q in %q: %v, want one of %v", c.prefer, c.own, part, want)
				}
				got = got[len(want):]
			}
			if len(got) > 0 {
				t.Fatalf("also %v", got)
			}
		}
		if len(first) != len(c.want[0]) {
			t.Errorf("%q in %q: always first %v", c.prefer, c.own, first)
		}
	}
}
