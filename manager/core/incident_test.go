package core

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"thor/subjects"
)

// spread is a manager m1 in fra that leads a network of three sites: in each a manager and two
// proxies. It hears all but those whose site or name begins with what is silent.
type spread struct {
	*lone
	seq    uint64
	silent map[string]bool
}

func newSpread(t *testing.T, led time.Duration) *spread {
	s := &spread{lone: newLone(t, func(c *Config) { c.Membership.TrustAnnouncedSites = true }), silent: map[string]bool{}}
	s.leads(5, 100, 1_000_000)
	s.goOn(led)
	s.out = nil
	return s
}

// goOn lets d pass with a beat of each second.
func (s *spread) goOn(d time.Duration) {
	for end := s.now.Add(d); s.now.Before(end); s.pass(time.Second) {
		s.seq++
		for i, site := range []subjects.Site{"fra", "ams", "lon"} {
			if s.silent[string(site)] {
				continue
			}
			at := func(a *subjects.Announcement) { a.Site = site }
			m := subjects.NodeID(fmt.Sprintf("m%d", i+1))
			s.Identity(&subjects.Identity{V: subjects.Version, Broker: "b1", Node: m, Serial: "0a", NotAfter: s.now.Add(1000 * time.Hour), Roles: []subjects.Role{subjects.Manager}, Addresses: []netip.Addr{address(m)}}, false, s.now)
			s.hear(said(subjects.Manager, m, s.seq, at))
			for j := range 2 {
				p := subjects.NodeID(fmt.Sprintf("p%d", 2*i+j+1))
				s.vouch(p)
				s.hear(said(subjects.SIPProxy, p, s.seq, at))
			}
		}
	}
}

// hears is what a manager answers: how many nodes it hears of each site.
func hears(sites map[subjects.Site]int) *subjects.Hearing {
	h := &subjects.Hearing{V: subjects.Version, Nodes: 9, Sites: sites}
	for _, n := range sites {
		h.Heard += n
	}
	return h
}

var (
	all3  = map[subjects.Site]int{"fra": 3, "ams": 3, "lon": 3}
	noAms = map[subjects.Site]int{"fra": 3, "ams": 0, "lon": 3}
	few   = map[subjects.Site]int{"fra": 0, "ams": 3, "lon": 3}
)

// Before the members of a silent site go, each other manager is asked what it hears, and what
// they say decides.
func TestOtherManagersAreAskedBeforeASiteGoes(t *testing.T) {
	for _, c := range []struct {
		name     string
		led      time.Duration
		answers  map[subjects.NodeID]*subjects.Hearing
		stay     bool
		givesWay bool
	}{
		{"none answers", 2 * time.Minute, nil, false, false},
		{"none hears it", 2 * time.Minute, map[subjects.NodeID]*subjects.Hearing{"m2": nil, "m3": hears(noAms)}, false, false},
		{"one hears it, and more nodes", 2 * time.Minute, map[subjects.NodeID]*subjects.Hearing{"m3": hears(all3)}, true, true},
		{"one hears it, and not more nodes", 2 * time.Minute, map[subjects.NodeID]*subjects.Hearing{"m3": hears(few)}, true, false},
		{"one hears it, and this one has just begun to lead", 20 * time.Second, map[subjects.NodeID]*subjects.Hearing{"m3": hears(all3)}, true, false},
		{"one that was not asked", 2 * time.Minute, map[subjects.NodeID]*subjects.Hearing{"m9": hears(all3)}, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSpread(t, c.led)
			s.silent["ams"] = true
			if s.goOn(10 * time.Second); len(all[AskHearing](s.lone)) > 0 {
				t.Fatal("asked before the site may go")
			}
			s.goOn(2 * time.Second) // it was heard last a second before
			asked := all[AskHearing](s.lone)
			if len(asked) != 2 || asked[0].Node != "m2" || asked[1].Node != "m3" {
				t.Fatalf("asked %v", asked)
			}
			for range 30 {
				for node, h := range c.answers {
					s.Heard(node, h)
				}
				s.goOn(time.Second)
			}
			if n := len(s.status().Roles[subjects.SIPProxy]); (n == 6) != c.stay || !c.stay && n != 4 {
				t.Errorf("%d proxies are left", n)
			}
			if gave := len(all[StepDown](s.lone)) > 0; gave != c.givesWay || s.Leads() == c.givesWay {
				t.Errorf("it gave way: %v, leads: %v", gave, s.Leads())
			}
		})
	}
}

// While others hear the site they are asked again; who leads for a minute gives way then.
func TestTheQuestionIsRepeatedAndAManagerGivesWayOnceAMinute(t *testing.T) {
	s := newSpread(t, 20*time.Second)
	began := s.now.Add(-20 * time.Second)
	s.silent["ams"] = true
	for s.Leads() && s.now.Sub(began) < 3*time.Minute {
		s.goOn(time.Second)
		s.Heard("m2", hears(few))
		s.Heard("m3", hears(all3))
	}
	if d := s.now.Sub(began); d < time.Minute || d > 70*time.Second {
		t.Errorf("it gave way after %v", d)
	}
	if n := len(all[AskHearing](s.lone)); n < 8 || n > 20 { // two each 5 to 7 s
		t.Errorf("asked %d times", n)
	}
	if n := len(s.status().Roles[subjects.SIPProxy]); n != 6 {
		t.Errorf("%d proxies are left", n)
	}
	told := 0
	for _, x := range all[Note](s.lone) {
		if x.Text == "site heard by another manager, its members stay" {
			told++
		}
	}
	if told != 1 {
		t.Errorf("it was told %d times", told)
	}
	e := all[Event](s.lone)
	if len(e) == 0 || e[len(e)-1].Kind != subjects.EventResigned || e[len(e)-1].Detail != "m3 hears site ams" {
		t.Errorf("events %v", e)
	}
}

// One lost answer does not undo the one before; a manager that answers no more does.
func TestAnAnswerCountsForAWhile(t *testing.T) {
	s := newSpread(t, 20*time.Second)
	s.silent["ams"] = true
	s.goOn(12 * time.Second)
	s.Heard("m3", hears(all3))
	if s.goOn(13 * time.Second); len(s.status().Roles[subjects.SIPProxy]) != 6 {
		t.Error("it goes when the next answer is not there")
	}
	if s.goOn(10 * time.Second); len(s.status().Roles[subjects.SIPProxy]) != 4 {
		t.Error("it stays for ever")
	}
}

// A manager that stood still when it was asked is asked once more; one in the silent site is not.
func TestWhoDidNotAnswerIsAskedOnceMore(t *testing.T) {
	s := newSpread(t, 20*time.Second)
	s.silent["ams"] = true
	s.goOn(12 * time.Second)
	s.out = nil
	s.goOn(2 * time.Second)
	if asked := all[AskHearing](s.lone); len(asked) != 1 || asked[0].Node != "m3" {
		t.Fatalf("asked again: %v", asked)
	}
	s.Heard("m3", hears(all3))
	if s.goOn(5 * time.Second); len(s.status().Roles[subjects.SIPProxy]) != 6 {
		t.Error("the second answer does not count")
	}
}

// What others said counts for the silence that they were asked about: if this manager is blind
// meanwhile and the site stays longer, they are asked anew.
func TestAnOldAnswerClearsNothing(t *testing.T) {
	s := newSpread(t, 20*time.Second)
	s.silent["ams"] = true
	s.goOn(12 * time.Second)
	s.Heard("m2", hears(noAms))
	s.Heard("m3", hears(noAms))
	s.goOn(time.Second)
	if i := s.table.Incidents(); len(i) != 1 || !i[0].Cleared {
		t.Fatalf("incidents %+v", i)
	}
	s.now = s.now.Add(4 * time.Second) // it stands still
	s.out = nil
	for range 20 {
		s.goOn(time.Second)
		s.Heard("m3", hears(all3))
	}
	if n := len(all[AskHearing](s.lone)); n == 0 {
		t.Error("others were not asked anew")
	}
	if n := len(s.status().Roles[subjects.SIPProxy]); n != 6 {
		t.Errorf("%d proxies are left", n)
	}
}

// A standby asks nothing, and takes no site for lost.
func TestAStandbyHoldsASilentSite(t *testing.T) {
	s := newSpread(t, 2*time.Minute)
	s.silent["ams"] = true
	s.term.until = s.now
	s.goOn(time.Minute)
	if s.Leads() || len(all[AskHearing](s.lone)) > 0 || len(s.table.Incidents()) != 1 || s.table.Incidents()[0].Cleared {
		t.Errorf("asked %v, incidents %+v", all[AskHearing](s.lone), s.table.Incidents())
	}
}

// A manager that hears nothing of a site comes later in an election, the later the less it hears.
func TestAManagerThatHearsNoSiteIsNotPreferred(t *testing.T) {
	whole, less, least := Handicap(hears(all3)), Handicap(hears(noAms)), Handicap(hears(map[subjects.Site]int{"fra": 3, "ams": 0, "lon": 0}))
	if whole != 0 || less <= maxOrder/2 || least <= less {
		t.Errorf("handicaps %d, %d and %d", whole, less, least)
	}
	if n := Handicap(&subjects.Hearing{}); n != 0 {
		t.Errorf("one that knows nothing has %d", n)
	}
	s := newSpread(t, 20*time.Second)
	s.silent["ams"] = true
	if s.goOn(4 * time.Second); Handicap(s.Holding().Hears) != less {
		t.Errorf("it hears %+v", s.Holding().Hears)
	}
}
