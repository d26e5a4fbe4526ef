package view

import (
	"strings"
	"testing"
	"time"

	"thor/subjects"
)

func TestSitesAreShownWhereThereAreAny(t *testing.T) {
	now := time.Date(2026, 11, 24, 1, 2, 3, 0, time.UTC)
	s := &subjects.Status{V: 1, Domain: "example.net", Epoch: 1, Generation: 1, Manager: "m1", Time: now}
	put := func(n subjects.NodeID, state subjects.State, site, announced subjects.Site) {
		s.Put(subjects.SIPProxy, subjects.Member{Node: n, State: state, Since: now, Site: site, AnnouncedSite: announced})
	}
	put("n1", subjects.Up, "", "")
	if got := StatusTable(s, now, false) + MembersTable(s, "", now); strings.Contains(got, "site") {
		t.Errorf("a network without sites shows them:\n%s", got)
	}
	put("n2", subjects.Up, "ams", "")
	put("n3", subjects.Draining, "", "ams")
	put("n4", subjects.Up, "", "fra")
	status, members := StatusTable(s, now, false), MembersTable(s, "", now)
	for _, want := range []string{"site ams: 1 of 2 members serve\n", "site fra: 1 of 1 members serve, announced only\n"} {
		if !strings.Contains(status, want) {
			t.Errorf("no %q in\n%s", want, status)
		}
	}
	if !strings.Contains(members, "site ams\n") || !strings.Contains(members, "site fra (announced)\n") {
		t.Errorf("members:\n%s", members)
	}
}
