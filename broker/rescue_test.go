package broker

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"thor/subjects"
)

func TestARescueIsPlanned(t *testing.T) {
	group := func(leader string, heard ...string) *metaGroup {
		g := &metaGroup{self: "b1", leader: leader}
		for _, n := range []string{"b2", "b3", "b4", "b5"} {
			g.peers = append(g.peers, metaPeer{name: subjects.NodeID(n), id: metaID(n), heard: slices.Contains(heard, n)})
		}
		return g
	}
	three := &metaGroup{self: "b1", peers: group("").peers[:2]}
	three.peers[1].name = "" // not heard since b1 started
	half := group("b1")
	half.lowered = true
	for _, c := range []struct {
		name  string
		g     *metaGroup
		dead  []subjects.NodeID
		votes int
		err   string
	}{
		{"two of three", three, []subjects.NodeID{"b2", "b3"}, 1, ""},
		{"one of three that are lost", three, []subjects.NodeID{"b2"}, 0, "2 brokers would be left, of which only 1 are heard"},
		{"three of five", group("", "b2"), []subjects.NodeID{"b3", "b4", "b5"}, 2, ""},
		{"two of five, which is enough", group("", "b2"), []subjects.NodeID{"b4", "b5"}, 2, ""},
		{"one of five, which is not", group("", "b2"), []subjects.NodeID{"b5"}, 0, "4 brokers would be left, of which only 2 are heard"},
		{"four of five", group(""), []subjects.NodeID{"b2", "b3", "b4", "b5"}, 1, ""},
		{"a network shrinks", group("b2", "b2", "b3"), []subjects.NodeID{"b4", "b5"}, 2, ""},
		{"a network shrinks by one that is heard", group("b2", "b2", "b3", "b4"), []subjects.NodeID{"b4"}, 0, "b4 is not dead"},
		{"a leader that has lost its majority and does not know", group("b1", "b2"), []subjects.NodeID{"b3", "b4", "b5"}, 0, "JetStream has a leader"},
		{"an earlier rescue stopped half way", half, []subjects.NodeID{"b2", "b3", "b4", "b5"}, 1, ""},
		{"one that is heard", group("", "b2"), []subjects.NodeID{"b2", "b3", "b4", "b5"}, 0, "b2 is not dead"},
		{"the one that answers", group(""), []subjects.NodeID{"b1", "b3", "b4", "b5"}, 0, "b1 answers this"},
		{"a stranger", group(""), []subjects.NodeID{"b6"}, 0, "b6 is no broker of JetStream's group: b1, b2 (not heard)"},
	} {
		votes, ids, err := c.g.plan(c.dead)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v, want %q", c.name, err, c.err)
			}
			continue
		}
		if err != nil || votes != c.votes || len(ids) != len(c.dead) || ids[0] != metaID(string(c.dead[0])) {
			t.Errorf("%s: %d votes, %q, %v; want %d votes", c.name, votes, ids, err, c.votes)
		}
	}
	if _, _, err := group("b2").plan(nil); !errors.Is(err, errLed) {
		t.Errorf("%v", err)
	}
}
