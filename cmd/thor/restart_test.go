package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"thor/subjects"
)

func threeHosts() *subjects.Status {
	s := &subjects.Status{Manager: "host1", Roles: make(map[subjects.Role][]subjects.Member)}
	for _, n := range []subjects.NodeID{"host1", "host2", "host3"} {
		peers := subjects.Attrs{"jetstream": "ok", subjects.AttrRoutes: "2"}
		var others []string
		for _, o := range []string{"host1", "host2", "host3"} {
			if o != string(n) {
				others = append(others, o)
			}
		}
		peers.SetPeers(others)
		for _, r := range []subjects.Role{subjects.EventServer, subjects.Manager, subjects.SIPProxy, subjects.MediaRelay} {
			m := subjects.Member{Node: n, State: subjects.Up}
			if r == subjects.EventServer {
				m.Attrs = peers
			}
			s.Roles[r] = append(s.Roles[r], m)
		}
	}
	s.Roles[subjects.Database] = []subjects.Member{{Node: "db1", State: subjects.Up}}
	s.Roles[subjects.Monitor] = []subjects.Member{{Node: "desk", State: subjects.Up}}
	s.Roles["fax_server"] = []subjects.Member{{Node: "host3", State: subjects.Up}}
	return s
}

func TestRestartsAreInTheOrderOfAnUpgrade(t *testing.T) {
	for _, c := range []struct {
		name  string
		nodes []subjects.NodeID
		kinds []string
		want  string
	}{
		{"all, the active manager last of its kind", nil, nil, "broker host1, broker host2, broker host3, manager host2, manager host3, manager host1, database db1 (the only thor_database), node host1, node host2, node host3 (the only fax_server)"},
		{"of some nodes", []subjects.NodeID{"host3", "db1"}, nil, "broker host3, manager host3, database db1 (the only thor_database), node host3 (the only fax_server)"},
		{"of some kinds", nil, []string{"node", "database"}, "database db1 (the only thor_database), node host1, node host2, node host3 (the only fax_server)"},
		{"of a node that is none", []subjects.NodeID{"desk"}, nil, ""},
	} {
		var got []string
		for _, d := range restartPlan(threeHosts(), c.nodes, c.kinds) {
			text := fmt.Sprintf("%s %s", d.name, d.node)
			if len(d.notes) > 0 {
				text += " (" + strings.Join(d.notes, ", ") + ")"
			}
			got = append(got, text)
		}
		if g := strings.Join(got, ", "); g != c.want {
			t.Errorf("%s:\n%s, want\n%s", c.name, g, c.want)
		}
	}
}

func TestTheNetworkIsWholeWhenAllAreBackAndBrokersReachEachOther(t *testing.T) {
	before := threeHosts()
	now := threeHosts()
	if got := append(missing(before, now), brokersApart(now)...); len(got) > 0 {
		t.Errorf("nothing has changed, and %q", got)
	}
	now.Roles["new_role"] = []subjects.Member{{Node: "host9", State: subjects.Suspect}} // nothing that was there
	now.Roles[subjects.SIPProxy][0].State = subjects.Suspect
	now.Roles[subjects.MediaRelay] = now.Roles[subjects.MediaRelay][:2]
	if got, want := strings.Join(missing(before, now), "; "), "media_relay of host3 is not back; sip_proxy of host1 is suspect"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	for _, c := range []struct {
		name  string
		attrs subjects.Attrs
		want  string
	}{
		{"JetStream has no leader", subjects.Attrs{"jetstream": "no_leader", subjects.AttrPeers: "host2,host3"}, "JetStream of host1: no_leader"},
		{"no route to one", subjects.Attrs{"jetstream": "ok", subjects.AttrPeers: "host3"}, "host1 has no route to host2"},
		{"no route at all", subjects.Attrs{"jetstream": "ok", subjects.AttrRoutes: "0"}, "host1 has no route"},
		{"one that names no peers, of a version before", subjects.Attrs{"jetstream": "ok", subjects.AttrRoutes: "2"}, ""},
	} {
		s := threeHosts()
		s.Roles[subjects.EventServer][0].Attrs = c.attrs
		if got := strings.Join(brokersApart(s), "; "); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestAStreamThatIsNotCopiedYetIsBehind(t *testing.T) {
	for _, c := range []struct{ answer, want string }{
		{`{"cluster":{"leader":"b1","replicas":[{"name":"b2","current":true},{"name":"b3","current":true}]}}`, ""},
		{`{"cluster":{"leader":"b1","replicas":[{"name":"b2","current":true,"offline":true},{"name":"b3","current":false}]}}`, "stream S is not copied at b2; stream S is not copied at b3"},
		{`{"cluster":{"replicas":[]}}`, "stream S has no leader"},
		{`{"error":{"code":503,"description":"JetStream system temporarily unavailable"}}`, "stream S: JetStream system temporarily unavailable"},
		{`{"config":{}}`, ""},
	} {
		if got := strings.Join(behindOf(t, c.answer), "; "); got != c.want {
			t.Errorf("%s: %q, want %q", c.answer, got, c.want)
		}
	}
}

func behindOf(t *testing.T, answer string) []string {
	t.Helper()
	i, err := parseStreamState([]byte(answer))
	if err != nil {
		t.Fatal(err)
	}
	return i.behind("S")
}

// A wait ends once nothing is wrong, tells what is new, and repeats the same with other
// numbers rarely.
func TestAWaitTellsWhatItWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var out strings.Builder
		look := func() []string {
			switch s := time.Since(began); {
			case s < 500*time.Millisecond:
				return []string{"a start"} // over before it is told
			case s < 25*time.Second:
				return []string{fmt.Sprintf("node2 lost %d s ago", int(s.Seconds()))}
			case s >= 26*time.Second && s < 27*time.Second:
				return []string{"it comes and goes"}
			}
			return nil // at 25 s for too short a time
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		left, err := awaitNone(ctx, &out, 10, look)
		want := "waiting: node2 lost 1 s ago\nwaiting: node2 lost 11 s ago\nwaiting: node2 lost 21 s ago\nwaiting: it comes and goes\n"
		if len(left) > 0 || err != nil || out.String() != want {
			t.Errorf("%q, %v:\n%s", left, err, &out)
		}
		if took := time.Since(began); took < 28*time.Second || took > 30*time.Second {
			t.Errorf("ended after %s", took)
		}

		out.Reset()
		short, end := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer end()
		left, err = awaitNone(short, &out, 1, func() []string { return []string{"down"} })
		if len(left) != 1 || err != nil || out.String() != "waiting: down\n" {
			t.Errorf("at the end of its time: %q, %v, %q", left, err, out.String())
		}
		ended, stop := context.WithCancel(t.Context())
		stop()
		if _, err := awaitNone(ended, &out, 1, func() []string { return []string{"down"} }); err != nil {
			t.Errorf("ended at once: %v", err)
		}
	})
}
