package view_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"thor/monitor/view"
	"thor/subjects"
)

// sited is staffed over three sites, with one node in two roles that only says where it is, and
// one that does not.
func sited() *subjects.Status {
	s := staffed()
	s.ClearLosses()
	at := map[subjects.NodeID]subjects.Site{
		"relay1": "ams", "relay2": "fra", "proxy1": "ams", "proxy2": "fra", "proxy3": "lon", "db1": "ams", "db2": "fra", "n1": "ams", "n2": "fra",
		"ns1": "ams", "ns2": "fra", "ns3": "lon", "b1": "ams", "b2": "fra", "b3": "lon",
	}
	for _, ms := range s.Roles {
		for i := range ms {
			ms[i].Site = at[ms[i].Node]
			if ms[i].Node == "proxy3" {
				ms[i].Site, ms[i].AnnouncedSite = "", "lon"
			}
		}
	}
	return s
}

// without is s after the loss of a whole site.
func without(s *subjects.Status, site subjects.Site, since time.Time) *subjects.Status {
	for _, r := range s.RoleNames() {
		s.Roles[r] = slices.DeleteFunc(s.Roles[r], func(m subjects.Member) bool {
			if m.Site != site {
				return false
			}
			s.Lost = append(s.Lost, subjects.Lost{Node: m.Node, Role: r, Addresses: m.Addresses, Since: since, Reason: subjects.SilentWith(site)})
			return true
		})
	}
	return s
}

// incident is what is told of the silence of fra.
func incident() []subjects.Event {
	return append(somethingHappened(), subjects.Event{
		Time: noon.Add(-12 * time.Second), Kind: subjects.EventGuard, Detail: "site: fra: all 6 nodes are silent, the other sites are heard",
	})
}

func TestSitesLookAsTheyShould(t *testing.T) {
	show := func(w, h int, s *subjects.Status, events []subjects.Event, keys ...string) view.Model {
		m := view.NewModel(view.Options{Operator: true}).Resize(w, h).Show(view.Picture{Status: sited(), Connected: true}, noon)
		m = press(m.Happened(events, noon).Show(view.Picture{Status: s, Connected: true}, noon), keys...)
		for _, a := range answers(m.Want()) {
			m = m.Answered(a, noon)
		}
		return m
	}
	gone := without(sited(), "fra", noon.Add(-2*time.Second))
	for _, c := range []struct {
		file string
		m    view.Model
		w, h int
	}{
		{"roles-first", show(120, 34, sited(), somethingHappened()), 120, 34},
		{"grouped", show(120, 40, sited(), somethingHappened(), "w"), 120, 40},
		{"grouped-80", show(80, 24, sited(), somethingHappened(), "w"), 80, 24},
		{"grouped-by-state", show(120, 40, sited(), somethingHappened(), "w", "s"), 120, 40},
		{"silent", show(120, 34, sited(), incident(), "w"), 120, 34},
		{"lost", show(120, 40, gone, incident(), "w"), 120, 40},
		{"filter", show(120, 24, gone, incident(), append(letters("w/site fra proxy"), "enter")...), 120, 24},
		{"roles", show(120, 24, gone, incident(), "3"), 120, 24},
		{"brokers", show(140, 16, sited(), incident(), "6"), 140, 16},
		{"lookup", show(120, 14, sited(), somethingHappened(), "4"), 120, 14},
		{"dns", show(120, 16, sited(), somethingHappened(), "5"), 120, 16},
		{"help", show(80, 24, sited(), somethingHappened(), "?"), 80, 24},
		{"detail", show(100, 24, sited(), somethingHappened(), "6", "enter"), 100, 24},
	} {
		screen := c.m.Render()
		checkSize(t, c.file, screen, c.w, c.h)
		golden(t, "testdata/sites-"+c.file+".golden", stripOwn(screen))
	}
	golden(t, "testdata/sites-status.golden", view.StatusTable(gone, noon, false))
	golden(t, "testdata/sites-members.golden", view.MembersTable(gone, "", noon))
}

// The silence of a site is over when its end is told, and when another manager leads that does
// not tell it anew. Of a pause in the events all is told again.
func TestASilentSiteIsShownUntilItIsHeard(t *testing.T) {
	shown := func(m view.Model) bool { return strings.Contains(m.Resize(120, 30).Render(), "fra 6/6 silent 12 s") }
	m := view.NewModel(view.Options{}).Show(view.Picture{Status: sited(), Connected: true}, noon)
	if shown(m) || shown(m.Happened(somethingHappened(), noon)) {
		t.Error("before anything")
	}
	m = m.Happened(incident(), noon)
	if s := m.Resize(120, 30).Render(); !strings.Contains(s, "degraded (2 reasons): site fra is silent") {
		t.Errorf("the health says nothing:\n%s", s)
	}
	if !shown(m) || !shown(view.NewModel(view.Options{}).Show(view.Picture{Status: sited(), Connected: true}, noon).Past(incident(), "", noon)) {
		t.Errorf("not shown:\n%s", m.Resize(120, 30).Render())
	}
	if got := strings.Count(press(m.Resize(120, 30), "w").Tick(noon.Add(5*time.Second)).Render(), "fra 6/6 silent 17 s"); got != 2 {
		t.Errorf("five seconds later line and heading say it %d times", got)
	}
	for _, e := range []subjects.Event{{Kind: subjects.EventGuardEnd, Detail: "site: fra"}, {Kind: subjects.EventElected, Role: subjects.Manager, Node: "n2"}} {
		e.Time = noon
		if shown(m.Happened([]subjects.Event{e}, noon)) {
			t.Errorf("after %s", e.Kind)
		}
	}
	for _, e := range []subjects.Event{{Kind: subjects.EventGuardEnd, Detail: "site: ams"}, {Kind: subjects.EventGuardEnd, Detail: "panic"}} {
		if e.Time = noon; !shown(m.Happened([]subjects.Event{e}, noon)) {
			t.Errorf("not after %s", e.Detail)
		}
	}
}

// Of a node that went alone the status does not say where it stood; the monitor has seen it.
func TestALostNodeStaysInItsSite(t *testing.T) {
	s := sited()
	m := view.NewModel(view.Options{}).Resize(120, 40).Show(view.Picture{Status: s, Connected: true}, noon)
	after := sited()
	after.Remove("media_relay", "relay2")
	after.Lost = []subjects.Lost{{Node: "relay2", Role: "media_relay", Since: noon, Reason: "connection lost"}}
	at := func(m view.Model) string {
		section := ""
		for l := range strings.Lines(stripOwn(press(m, "w").Render())) {
			for _, s := range []string{"ams ", "fra ", "◐ fra ", "lon ", "◐ lon ", "no site"} {
				if strings.HasPrefix(l, s) {
					section = s
				}
			}
			if strings.Contains(l, "✗ lost") {
				return section
			}
		}
		return "nowhere"
	}
	if got := at(m.Show(view.Picture{Status: after, Connected: true}, noon)); !strings.HasSuffix(got, "fra ") {
		t.Errorf("in %q", got)
	}
	if got := at(view.NewModel(view.Options{}).Resize(120, 40).Show(view.Picture{Status: after, Connected: true}, noon)); got != "no site" {
		t.Errorf("by a monitor that did not see it: in %q", got)
	}
}

func TestWithoutSitesThereIsNoWordOfThem(t *testing.T) {
	s := mixed().Status
	m := view.NewModel(view.Options{}).Resize(120, 40).Show(view.Picture{Status: s, Connected: true}, noon)
	for _, keys := range [][]string{nil, {"w"}, {"3"}, {"5"}, {"6"}, {"?"}, {"enter"}} {
		if got := press(m, keys...).Render(); strings.Contains(strings.ToLower(got), "site") {
			t.Errorf("%v:\n%s", keys, got)
		}
	}
	if press(m, "w").Render() != m.Render() {
		t.Error("w changes something")
	}
	if got := view.StatusTable(s, noon, false) + view.MembersTable(s, "", noon); strings.Contains(strings.ToLower(got), "site") {
		t.Error(got)
	}
}

func TestSitesThatNoCertificateNamesAreMarked(t *testing.T) {
	s := sited()
	for i := range s.Roles["thor_eventserver"] {
		if m := &s.Roles["thor_eventserver"][i]; m.Site == "lon" {
			m.Site, m.AnnouncedSite = "", "lon"
		}
	}
	s.Remove("thor_dnsmanager", "ns3")
	if got := view.MembersTable(view.AtSite(s, "fra"), "sip_proxy", noon); strings.Count(got, "\n") != 2 || !strings.Contains(got, "proxy2") {
		t.Errorf("of fra alone:\n%s", got)
	}
	if got := view.AtSite(without(sited(), "fra", noon), "fra"); len(got.Lost) != 6 || len(got.Roles) != 0 {
		t.Errorf("of the lost site alone: %+v", got)
	}
	status, members := view.StatusTable(s, noon, false), view.MembersTable(s, "", noon)
	for _, want := range []string{"site ams: 7 of 7 members serve\n", "site lon: 1 of 2 members serve, announced only\n"} {
		if !strings.Contains(status, want) {
			t.Errorf("no %q in\n%s", want, status)
		}
	}
	for _, want := range []string{"(lon)", " ams "} {
		if !strings.Contains(members, want) {
			t.Errorf("no %q in\n%s", want, members)
		}
	}
}

func BenchmarkThousandMembersInSites(b *testing.B) {
	s := &subjects.Status{V: 1, Domain: "example.net", Manager: "n1", Time: noon}
	for i := range 1000 {
		s.Put("sip_proxy", subjects.Member{Node: subjects.NodeID(fmt.Sprintf("n%d", i)), State: subjects.Up, Site: subjects.Site(fmt.Sprintf("s%d", i%10))})
	}
	for _, keys := range [][]string{nil, {"w"}} {
		b.Run(fmt.Sprint(keys), func(b *testing.B) {
			m := press(view.NewModel(view.Options{}).Resize(160, 50).Show(view.Picture{Status: s, Connected: true}, noon), keys...)
			for b.Loop() {
				m = m.Show(view.Picture{Status: s, Connected: true}, noon)
				_ = m.Render()
			}
		})
	}
}
