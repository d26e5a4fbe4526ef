package monitor

import (
	"slices"
	"strings"
	"testing"

	"thor/overlay/lookup"
	"thor/subjects"
)

// tabled is a status of proxies of the weight 100 with their table.
func tabled(t *testing.T, nodes ...subjects.NodeID) *subjects.Status {
	t.Helper()
	s := &subjects.Status{Roles: map[subjects.Role][]subjects.Member{}}
	for _, n := range nodes {
		s.Put("sip_proxy", subjects.Member{Node: n, State: subjects.Up, Weight: 100})
	}
	table, err := lookup.New(12, lookup.Members(s.Roles["sip_proxy"]))
	if err != nil {
		t.Fatal(err)
	}
	s.Lookup = map[subjects.Role]subjects.Lookup{"sip_proxy": {Bits: 12, Digest: table.Digest()}}
	return s
}

func TestSpreadsFollowTheStatus(t *testing.T) {
	var x spreads
	for _, nodes := range [][]subjects.NodeID{{"n1", "n2"}, {"n1", "n2", "n3"}, {"n1", "n2", "n3"}, {"n3"}} {
		got := x.at(tabled(t, nodes...))["sip_proxy"]
		var names []subjects.NodeID
		sum := 0
		for _, s := range got.Of {
			names, sum = append(names, s.Node), sum+s.Slots
		}
		if got.Fault != "" || got.Slots != 4096 || sum != 4096 || !slices.Equal(names, nodes) {
			t.Errorf("%v: %+v", nodes, got)
		}
	}
	if got := x.at(&subjects.Status{}); len(got) != 0 {
		t.Errorf("without a table: %v", got)
	}
}

func TestATableThatDiffersIsAFault(t *testing.T) {
	var x spreads
	s := tabled(t, "n1", "n2")
	s.Lookup["sip_proxy"] = subjects.Lookup{Bits: 12, Digest: "0000000000000000"}
	if got := x.at(s)["sip_proxy"]; !strings.Contains(got.Fault, "another table") || len(got.Of) != 0 {
		t.Errorf("%+v", got)
	}
	s.Lookup["sip_proxy"] = subjects.Lookup{Bits: 99}
	if got := x.at(s)["sip_proxy"]; got.Fault == "" {
		t.Errorf("%+v", got)
	}
	if got := x.at(tabled(t, "n1", "n2"))["sip_proxy"]; got.Fault != "" || len(got.Of) != 2 {
		t.Errorf("after it was mended: %+v", got)
	}
}
