package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"thor/subjects"
)

// A status of two sites: what only brokers and screens are does not drain, and what drains
// already serves nothing.
func twoSites() *subjects.Status {
	s := &subjects.Status{Roles: make(map[subjects.Role][]subjects.Member)}
	for _, m := range []struct {
		role  subjects.Role
		node  subjects.NodeID
		site  subjects.Site
		state subjects.State
	}{
		{subjects.EventServer, "b1", "ams", subjects.Up},
		{subjects.EventServer, "b2", "par", subjects.Up},
		{subjects.Monitor, "m1", "par", subjects.Up},
		{"sip_proxy", "n1", "ams", subjects.Up},
		{"sip_proxy", "n2", "ams", subjects.Draining},
		{"sip_proxy", "n3", "fra", subjects.Suspect},
		{"media_relay", "n1", "ams", subjects.Up},
		{"media_relay", "n3", "fra", subjects.Draining},
		{"voicemail_server", "n2", "ams", subjects.Draining},
	} {
		s.Put(m.role, subjects.Member{Node: m.node, Site: m.site, State: m.state})
	}
	s.Put("sip_proxy", subjects.Member{Node: "n4", AnnouncedSite: "lon", State: subjects.Up})
	s.Put("sip_proxy", subjects.Member{Node: "n5", State: subjects.Up})
	return s
}

func TestTheNodesOfASiteAreThoseThatDrain(t *testing.T) {
	for _, c := range []struct {
		site subjects.Site
		role subjects.Role
		want string
	}{
		{"ams", "", "[n1 n2] <nil>"},
		{"ams", "media_relay", "[n1] <nil>"},
		{"lon", "", "[n4] <nil>"},
		{"par", "", "[] site par has brokers only, which do not drain"},
		{"fra", "voicemail_server", "[] site fra has no voicemail_server"},
		{"mad", "", "[] no site mad: there are ams, fra, lon, par"},
	} {
		nodes, err := nodesAt(twoSites(), c.site, c.role)
		if got := fmt.Sprint(nodes, " ", err); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.site, c.role, got, c.want)
		}
	}
	if _, err := nodesAt(&subjects.Status{}, "ams", ""); err == nil || err.Error() != "no site ams: no member says where it is" {
		t.Error(err)
	}
}

func TestWhatIsLeftWithoutASite(t *testing.T) {
	for _, c := range []struct {
		site subjects.Site
		role subjects.Role
		want string
		last []subjects.Role
	}{
		{"ams", "", "left without ams: media_relay 0 of 1, sip_proxy 2 of 4 and 1 suspect\n", []subjects.Role{"media_relay"}},
		{"ams", "sip_proxy", "left without ams: sip_proxy 2 of 4 and 1 suspect\n", nil},
		{"fra", "", "left without fra: sip_proxy 3 of 4\n", nil},
		{"par", "", "", nil},
	} {
		e := elsewhere(twoSites(), c.site, c.role)
		if got := e.lines(c.site); got != c.want || !slices.Equal(e.last(), c.last) {
			t.Errorf("%s %s: %q %v", c.site, c.role, got, e.last())
		}
	}
}

// A member that has failed and is kept is nothing that is left.
func TestASuspectAloneIsNotLeft(t *testing.T) {
	s := &subjects.Status{Roles: make(map[subjects.Role][]subjects.Member)}
	s.Put("sip_proxy", subjects.Member{Node: "n1", Site: "ams", State: subjects.Up})
	s.Put("sip_proxy", subjects.Member{Node: "n2", Site: "fra", State: subjects.Suspect})
	if e := elsewhere(s, "ams", ""); len(e.last()) != 1 || e.suspects() != ": suspect members of sip_proxy do not count" || e.lines("ams") != "left without ams: sip_proxy 0 of 2 and 1 suspect\n" {
		t.Errorf("%v, %q, %q", e.last(), e.suspects(), e.lines("ams"))
	}
}

// All nodes of a site are drained before any is waited for, and all are waited for together.
func TestASiteIsDrainedBeforeItIsWaitedFor(t *testing.T) {
	const n = 3 * drainsAtOnce
	var obeyed, waiting atomic.Int32
	all := make(chan struct{})
	faults := inTwo(n, func(i int) error {
		obeyed.Add(1)
		if i == 7 {
			return errors.New("no answer")
		}
		return nil
	}, func(i int) error {
		if obeyed.Load() != n || i == 7 {
			t.Errorf("node %d is waited for when %d of %d were asked", i, obeyed.Load(), n)
		}
		if waiting.Add(1) == n-1 {
			close(all)
		}
		<-all
		return nil
	})
	for i, err := range faults {
		if (err != nil) != (i == 7) {
			t.Errorf("node %d: %v", i, err)
		}
	}
}

func TestTheOutcomeOfSeveralNodes(t *testing.T) {
	broken := errors.New("drain n1: broken")
	for name, c := range map[string]struct {
		faults []error
		want   string
		told   string
	}{
		"all well":                    {[]error{nil, nil}, "<nil>", ""},
		"one not counted":             {[]error{nil, errDegraded}, errDegraded.Error(), ""},
		"one failed, one not counted": {[]error{broken, errDegraded, nil}, "1 of 3 nodes failed", "thor: drain n1: broken\n"},
		"interrupted":                 {[]error{fmt.Errorf("drain n1: %w", context.Canceled), nil}, "drain n1: context canceled", ""},
	} {
		var told bytes.Buffer
		if err := together(&told, c.faults); fmt.Sprint(err) != c.want || told.String() != c.told {
			t.Errorf("%s: %v, %q", name, err, told.String())
		}
	}
}
