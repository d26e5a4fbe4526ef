package location_test

import (
	"strings"
	"testing"

	"thor/dbagent/location"
	"thor/subjects"
)

// Of equals in a cluster a client takes the one of its own site; priorities say more, and without
// a cluster all clients choose the same one.
func TestADatabaseOfTheOwnSiteAmongEquals(t *testing.T) {
	member := func(node string, site subjects.Site, priority int, cluster string, state subjects.State) subjects.Member {
		m := subjects.Member{Node: subjects.NodeID(node), Site: site, Priority: priority, State: state, Attrs: subjects.Attrs{}}
		if cluster != "" {
			m.Attrs[location.AttrCluster] = cluster
		}
		return m
	}
	const up, suspect = subjects.Up, subjects.Suspect
	equal := []subjects.Member{member("a", "ams", 10, "c", up), member("b", "fra", 10, "c", up), member("d", "lon", 10, "c", up)}
	ordered := []subjects.Member{member("a", "ams", 10, "c", up), member("b", "fra", 20, "c", up), member("d", "lon", 20, "c", up)}
	ill := []subjects.Member{member("a", "ams", 10, "c", up), member("b", "fra", 10, "c", suspect)}
	for _, c := range []struct {
		what    string
		members []subjects.Member
		site    subjects.Site
		avoid   string
		want    string
	}{
		{"equals", equal, "fra", "", "b"},
		{"equals, in no site", equal, "", "", "a"},
		{"equals, none in the site", equal, "par", "", "a"},
		{"the one of the site cannot be used", equal, "fra", "b", "a"},
		{"priorities decide", ordered, "fra", "", "a"},
		{"the next in order cannot be told apart", ordered, "lon", "a", "d"},
		{"the one of the site is suspect", ill, "fra", "", "a"},
		{"no cluster", []subjects.Member{member("a", "ams", 10, "", up), member("b", "fra", 10, "", up)}, "fra", "", "a"},
		{"another cluster", []subjects.Member{member("a", "ams", 10, "c", up), member("b", "fra", 10, "d", up)}, "fra", "", "a"},
	} {
		got, ok := location.ChooseNear(c.members, location.ReadWrite, func(n subjects.NodeID) bool { return strings.Contains(c.avoid, string(n)) }, c.site)
		if !ok || string(got.Node) != c.want {
			t.Errorf("%s: %s %v, want %s", c.what, got.Node, ok, c.want)
		}
	}
}
