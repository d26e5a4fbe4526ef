package membership_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"thor/manager/membership"
	"thor/subjects"
)

// sited is a network of three sites with four nodes each: a broker and three others, of which
// two have the roles sip_proxy and media_relay. In ams alone is an xcap_server.
func sited(t testing.TB) *stage { return sitedAt(t, "ams", "fra", "lon") }

// sitedAt is sited, with other names of the sites; the nodes keep theirs.
func sitedAt(t testing.TB, sites ...subjects.Site) *stage {
	s := newStage(t, membership.Config{TrustAnnouncedSites: true})
	for i, site := range []string{"ams", "fra", "lon"} {
		at := func(node, role string) {
			a := &actor{node: site + "-" + node, role: role, boot: "a", via: fmt.Sprintf("%s-b#%s", site, node), site: sites[i]}
			s.acts = append(s.acts, a)
			s.beat(a)
		}
		at("b", "thor_eventserver")
		at("p1", "sip_proxy")
		at("p1", "media_relay")
		at("p2", "sip_proxy")
		at("p2", "media_relay")
		at("m", "thor_manager")
		if site == "ams" {
			at("m", "xcap_server")
		}
	}
	s.pass(20 * time.Second)
	s.heard = nil
	return s
}

// of are the processes of a site, or of one node.
func (s *stage) of(prefix string) (out []*actor) {
	for _, a := range s.acts {
		if strings.HasPrefix(a.node, prefix) {
			out = append(out, a)
		}
	}
	return out
}

// cutOff silences them, and brokers elsewhere lose their routes there.
func (s *stage) cutOff(prefix string) { cut(s.of(prefix)) }

func (s *stage) heal(prefix string) {
	for _, a := range s.of(prefix) {
		a.cut = false
	}
}

// leaves are the times since from at which members left, each with how many, and their reasons.
func (s *stage) leaves(from time.Time) (at map[time.Duration]int, why map[string]int) {
	at, why = map[time.Duration]int{}, map[string]int{}
	for _, e := range s.heard {
		if e.Kind == subjects.EventLeave {
			at[e.Time.Sub(from)]++
			why[e.Detail]++
		}
	}
	return at, why
}

// passCleared is pass for an active manager whose question no other one answers with yes.
func (s *stage) passCleared(d time.Duration) {
	for range d / (100 * time.Millisecond) {
		s.pass(100 * time.Millisecond)
		for _, i := range s.table.Incidents() {
			s.table.Clear(i.Site, s.now)
		}
	}
}

// The members of a lost site leave together, 15 s after its last beat, and nothing else
// happens meanwhile. The last of a role stays.
func TestALostSiteIsOneIncident(t *testing.T) {
	s := sited(t)
	s.cutOff("ams")
	last := s.now
	s.passCleared(14900 * time.Millisecond)
	if g := s.guard(membership.GuardSite); g == nil || g.Site != "ams" || !g.End.Equal(last.Add(15*time.Second)) {
		t.Errorf("guard %+v", g)
	}
	if n := len(s.heard); n != 1 || s.heard[0].Kind != subjects.EventGuard || s.heard[0].Time.Sub(last) > 3200*time.Millisecond {
		t.Errorf("before its time: %v", s.heard)
	}
	s.passCleared(45 * time.Second)
	at, why := s.leaves(last)
	if len(at) != 1 || at[15*time.Second] != 6 || len(why) != 1 {
		t.Errorf("left %v, %v", at, why)
	}
	if ms := s.status().Roles["xcap_server"]; len(ms) != 1 || ms[0].State != subjects.Suspect {
		t.Errorf("the last of its role: %+v", ms)
	}
	if s.count("sip_proxy") != 4 || s.count("media_relay") != 4 || s.count("thor_manager") != 2 || s.count("thor_eventserver") != 2 {
		t.Errorf("left are %v", s.status().Roles)
	}
	if s.raised(membership.GuardPanic) {
		t.Error("it is a mass silence too")
	}
}

// The members of a site go by what is heard in that moment, not by a census before it: at the
// end of their hold the beats of fra are overdue, a moment ago they were not.
func TestASiteGoesByWhatIsHeardThen(t *testing.T) {
	const missedAfter = 2 * time.Second
	for _, overdue := range []time.Duration{100 * time.Millisecond, 200 * time.Millisecond} {
		s := sited(t)
		s.cutOff("ams")
		due := s.now.Add(15 * time.Second)
		s.passCleared(12 * time.Second)
		s.cutOff("fra")
		for s.now.Before(due) {
			if s.now.Equal(due.Add(-missedAfter - overdue)) {
				s.heal("fra")
				for _, a := range s.of("fra") {
					s.beat(a)
				}
				s.cutOff("fra")
			}
			s.passCleared(100 * time.Millisecond)
			s.table.Advance(s.now.Add(60 * time.Millisecond)) // so that no census falls on the end by chance
		}
		if at, _ := s.leaves(due); len(at) > 0 {
			t.Errorf("overdue by %v: left %v", overdue, at)
		}
	}
}

// When the site returns, its members are back with their next beats, however often it was lost.
func TestAReturnedSiteIsBackAtOnce(t *testing.T) {
	s := sited(t)
	all := len(s.status().Roles["sip_proxy"])
	for range 4 { // two failures would hold a member down
		s.cutOff("ams")
		if s.passCleared(16 * time.Second); s.count("sip_proxy") == all {
			t.Fatal("not gone")
		}
		s.heal("ams")
		if s.passCleared(2 * time.Second); s.count("sip_proxy") != all || s.guard(membership.GuardSite) != nil {
			t.Fatalf("%d of %d are back, guards %v", s.count("sip_proxy"), all, s.table.Guards())
		}
	}
	if len(s.status().Held) != 0 {
		t.Errorf("held: %v", s.status().Held)
	}
	s.heard = nil
	s.cutOff("ams-p1") // one node alone is no incident, whatever was before
	s.passCleared(16 * time.Second)
	if _, why := s.leaves(t0); why["silent"] != 2 || len(why) != 1 {
		t.Errorf("left %v", why)
	}
}

// What is no incident is judged by the usual rules: G3 here, since many are silent.
func TestWhatIsNoIncidentOfASite(t *testing.T) {
	for name, c := range map[string]struct {
		do    func(s *stage)
		site  bool
		sites []subjects.Site
	}{
		"a node of the site is heard":                        {do: func(s *stage) { s.cutOff("ams"); s.heal("ams-p2") }},
		"more than half of another site is silent too":       {do: func(s *stage) { s.cutOff("ams"); s.cutOff("fra-b"); s.cutOff("fra-p") }},
		"half of another site is silent too":                 {do: func(s *stage) { s.cutOff("ams"); s.cutOff("fra-p") }, site: true},
		"two sites are silent":                               {do: func(s *stage) { s.cutOff("ams"); s.cutOff("fra") }},
		"it is silent for less than two beats":               {do: func(s *stage) { s.cutOff("ams"); s.pass(1900 * time.Millisecond); s.heal("ams") }},
		"the site is only announced":                         {do: func(s *stage) { s.distrust(); s.cutOff("ams") }},
		"all that have a site are in one":                    {do: func(s *stage) { s.cutOff("ams") }, sites: []subjects.Site{"ams", "", ""}},
		"the other site is heard, nodes without one are not": {do: func(s *stage) { s.cutOff("ams"); s.cutOff("lon") }, site: true, sites: []subjects.Site{"ams", "fra", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			s := sitedAt(t, append(c.sites, "ams", "fra", "lon")...)
			c.do(s)
			if s.passCleared(4 * time.Second); s.raised(membership.GuardSite) != c.site {
				t.Errorf("events %v", s.heard)
			}
		})
	}
}

// raised reports whether a guard of that name was.
func (s *stage) raised(name string) bool {
	return slices.ContainsFunc(s.heard, func(e subjects.Event) bool {
		return e.Kind == subjects.EventGuard && strings.HasPrefix(e.Detail, name+": ")
	})
}

// distrust begins anew with a table that does not trust announced sites.
func (s *stage) distrust() {
	s.table = membership.New(membership.Config{})
	s.pass(20 * time.Second)
}

// Without the word that no other manager hears the site, it is held as long as it is silent.
func TestASiteIsHeldUntilItIsCleared(t *testing.T) {
	s := sited(t)
	s.cutOff("ams")
	s.pass(time.Minute)
	is := s.table.Incidents()
	if at, _ := s.leaves(t0); len(at) != 0 || len(is) != 1 || is[0].Site != "ams" || is[0].Cleared {
		t.Fatalf("left %v, incidents %+v", at, is)
	}
	s.table.Clear("ams", s.now)
	s.pass(100 * time.Millisecond)
	if at, _ := s.leaves(t0); len(at) != 1 || s.count("sip_proxy") != 4 {
		t.Errorf("cleared: left %v", at)
	}
}

// An observer that may have missed beats lets the site go when that is over (G4).
func TestASiteIsHeldWhileTheObserverIsBlind(t *testing.T) {
	s := sited(t)
	s.cutOff("ams")
	last := s.now
	s.passCleared(8 * time.Second)
	s.table.Blind(s.now)
	s.passCleared(30 * time.Second)
	at, _ := s.leaves(last)
	if len(at) != 1 || at[20*time.Second] != 6 || slices.ContainsFunc(s.heard, func(e subjects.Event) bool {
		return e.Kind == subjects.EventUpdate && e.Time.Sub(last) < 20*time.Second
	}) {
		t.Errorf("left %v, events %v", at, s.heard)
	}
}

// A standby that takes over goes on counting from the last beat that it heard; one that began
// only then waits as long as any new one (G4).
func TestATakeOverDoesNotRestartTheTimeOfASite(t *testing.T) {
	for name, c := range map[string]struct {
		standby bool
		gone    time.Duration
	}{
		"it followed":       {standby: true, gone: 15 * time.Second},
		"it knows a status": {gone: 26 * time.Second}, // 15 s after it began
	} {
		t.Run(name, func(t *testing.T) {
			s := sited(t)
			for _, a := range s.acts {
				if a.role == "thor_eventserver" {
					a.routes = "2"
				}
			}
			s.pass(2 * time.Second)
			told := s.status()
			s.cutOff("ams")
			last := s.now
			s.acts[slices.IndexFunc(s.acts, func(a *actor) bool { return a.node == "fra-b" })].routes = "1"
			s.acts[slices.IndexFunc(s.acts, func(a *actor) bool { return a.node == "lon-b" })].routes = "1"
			s.pass(11 * time.Second)
			if !c.standby {
				s.table = membership.New(membership.Config{TrustAnnouncedSites: true})
			}
			s.table.Events()
			s.table.TakeUp(told, -1, last, s.now)
			if again := slices.ContainsFunc(s.table.Events(), func(e subjects.Event) bool { return e.Kind == subjects.EventGuard && e.GuardedSite() == "ams" }); again != c.standby {
				t.Errorf("it tells that the site is silent: %v", again)
			}
			s.passCleared(30 * time.Second)
			if at, _ := s.leaves(last); len(at) != 1 || at[c.gone] != 6 {
				t.Errorf("left %v", at)
			}
		})
	}
}

// A site of which one node is heard again is none any more: who is still silent goes as ever.
func TestPartOfASiteGoesByTheUsualRules(t *testing.T) {
	s := sited(t)
	s.cutOff("ams")
	last := s.now
	s.passCleared(5 * time.Second)
	s.heal("ams-b")
	s.heal("ams-m")
	s.heal("ams-p1")
	s.passCleared(20 * time.Second)
	if at, why := s.leaves(last); len(at) != 1 || at[10*time.Second] != 2 || why["silent"] != 2 {
		t.Errorf("left %v, %v", at, why)
	}
}

// A beat from the site ends its incident, even where the others are not looked at in between.
func TestABeatEndsTheIncident(t *testing.T) {
	s := sited(t)
	s.cutOff("ams")
	s.passCleared(14 * time.Second)
	p := s.of("ams-p1")[0]
	s.moves(p, "fra-b#9")
	if s.guard(membership.GuardSite) != nil || len(s.table.Incidents()) != 0 {
		t.Errorf("guards %v", s.table.Guards())
	}
	p.cut = true
	if s.passCleared(900 * time.Millisecond); !s.listed(p) || len(s.table.Incidents()) != 0 {
		t.Error("it goes with the others")
	}
}

// A connection that the broker of another site gave up proves nothing while the whole site is
// silent, even if it was the only one there.
func TestAConnectionFromASilentSiteProvesNothing(t *testing.T) {
	s := sited(t)
	p := s.of("ams-p1")
	for _, a := range p {
		s.moves(a, "fra-b#77")
	}
	s.pass(10 * time.Second)
	for _, a := range s.of("ams-b") {
		a.state = subjects.Leave // no broker of the site is missed
		s.beat(a)
		a.cut = true
	}
	s.pass(10 * time.Second)
	s.heard = nil
	s.cutOff("ams")
	last := s.now
	s.passCleared(4 * time.Second)
	s.hangUp(p[0], "Stale Connection")
	s.passCleared(26 * time.Second)
	if at, _ := s.leaves(last); len(at) != 1 || at[15*time.Second] != 5 {
		t.Errorf("left %v", at)
	}
}

// What the broker of another site gives up proves nothing: the way between the two may be cut. A
// process that closed its connection is gone all the same.
func TestAConnectionBetweenSitesThatWasGivenUpProvesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		via, reason string
		after, gone time.Duration // its last beat
	}{
		"given up by the broker of another site": {"fra-b#77", "Stale Connection", 4 * time.Second, 10 * time.Second},
		"given up by the broker of its own site": {"ams-b#77", "Stale Connection", 4 * time.Second, 6 * time.Second},
		"closed at the broker of another site":   {"fra-b#77", "Client Closed", 500 * time.Millisecond, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			s := sited(t)
			p := s.of("ams-p1")[0]
			s.moves(p, c.via)
			s.pass(10 * time.Second)
			s.heard = nil
			p.cut = true
			last := s.now
			s.pass(c.after)
			s.hangUp(p, c.reason)
			s.pass(20 * time.Second)
			if at, _ := s.leaves(last); len(at) != 1 || at[c.gone] != 1 {
				t.Errorf("left %v", at)
			}
		})
	}
}

// A site stays while a broker that is heard has a route to one of its brokers.
func TestASiteStaysWhileABrokerHasARouteThere(t *testing.T) {
	s := sited(t)
	b := s.of("lon-b")[0]
	b.peers = "ams-b,fra-b"
	s.pass(3 * time.Second)
	s.cutOff("ams")
	if s.passCleared(40 * time.Second); s.count("sip_proxy") != 6 || s.guard(membership.GuardSite) == nil {
		t.Fatalf("%d of 6 are left", s.count("sip_proxy"))
	}
	b.peers = "fra-b"
	if s.passCleared(5 * time.Second); s.count("sip_proxy") != 4 || s.count("thor_eventserver") != 2 {
		t.Errorf("%d of 6 are left", s.count("sip_proxy"))
	}
}

// Other nodes that die meanwhile, or just after, go by the usual rules, and the site makes no mass silence of it.
func TestOthersAreJudgedBesideALostSite(t *testing.T) {
	for _, later := range []time.Duration{0, 6 * time.Second} {
		s := sited(t)
		s.troop(2, "x", "sip_proxy", "fra-b")
		s.pass(5 * time.Second)
		s.heard = nil
		s.cutOff("ams")
		last := s.now
		s.passCleared(later)
		s.cutOff("x")
		s.passCleared(40 * time.Second)
		at, why := s.leaves(last)
		if gone := at[later+10*time.Second] + at[later+11500*time.Millisecond]; gone != 2 || at[15*time.Second] != 6 || why["silent"] != 2 || s.raised(membership.GuardPanic) {
			t.Errorf("left %v, %v", at, why)
		}
	}
}

// The others fall silent too: then it is this observer that does not hear, and G3 holds all.
func TestAnIncidentEndsWhenOthersFallSilent(t *testing.T) {
	s := sited(t)
	s.cutOff("ams")
	s.passCleared(8 * time.Second)
	s.cutOff("fra-b")
	s.cutOff("fra-p")
	s.passCleared(20 * time.Second)
	if at, _ := s.leaves(t0); len(at) != 0 || s.guard(membership.GuardSite) != nil || s.guard(membership.GuardPanic) == nil {
		t.Errorf("left %v, guards %v", at, s.table.Guards())
	}
}

// The silence of a site does not stop the removals that a mass silence before it let begin.
func TestAMassSilenceGoesOnBesideALostSite(t *testing.T) {
	s := sited(t)
	x := s.troop(20, "x", "sip_proxy", "lon-b")
	for _, a := range s.troop(8, "ams-x", "media_relay", "ams-b") {
		a.site = "ams"
	}
	s.pass(15 * time.Second)
	cut(x[:10])
	for range 80 {
		if s.pass(time.Second); s.count("sip_proxy") < 26 {
			break
		}
	}
	s.heard = nil
	s.cutOff("ams")
	last := s.now
	s.passCleared(14 * time.Second)
	if at, _ := s.leaves(last); len(at) != 1 || at[10*time.Second] != 1 {
		t.Errorf("left %v, guards %v", at, s.table.Guards())
	}
}

// What was let go, and is kept as the last of its role, hides no other lost site.
func TestTheNextLostSiteIsAnIncidentToo(t *testing.T) {
	s := sited(t)
	s.cutOff("ams")
	s.passCleared(40 * time.Second)
	s.heard = nil
	s.cutOff("fra")
	last := s.now
	s.passCleared(40 * time.Second)
	if at, _ := s.leaves(last); len(at) != 1 || at[15*time.Second] != 6 {
		t.Errorf("left %v", at)
	}
	if s.count("sip_proxy") != 2 {
		t.Errorf("%d proxies are left", s.count("sip_proxy"))
	}
}

// A mass silence that was found before does not hold the site, and the next manager does not
// count its members to it.
func TestAnIncidentIsNoMassSilence(t *testing.T) {
	s := sited(t)
	s.troop(20, "x", "sip_proxy", "lon-b")
	s.pass(15 * time.Second)
	s.cutOff("x")
	s.cutOff("ams-p1")
	if s.pass(13 * time.Second); s.guard(membership.GuardPanic) == nil {
		t.Fatalf("guards %v", s.table.Guards())
	}
	s.heard = nil
	s.cutOff("ams")
	last := s.now
	s.passCleared(16 * time.Second)
	if at, _ := s.leaves(last); len(at) != 1 || at[15*time.Second] != 6 {
		t.Errorf("left %v", at)
	}
}

// What this observer says that it hears is what it heard itself: not what another manager
// listed a moment ago, which it takes for silent no sooner than it could have been heard.
func TestWhatIsOnlyListedIsNotHeard(t *testing.T) {
	s := sited(t)
	told := s.status()
	s.table = membership.New(membership.Config{TrustAnnouncedSites: true})
	s.table.Adopt(told, s.now)
	s.cutOff("ams")
	s.pass(100 * time.Millisecond)
	if h := s.table.Hears(); h.Nodes != 12 || h.Heard != 0 || len(h.Sites) != 0 || !h.Whole() {
		t.Errorf("at first %+v", h)
	}
	if s.pass(1900 * time.Millisecond); len(s.table.Incidents()) != 0 {
		t.Error("what had no time to be heard is silent")
	}
	s.pass(3 * time.Second)
	if h := s.table.Hears(); h.Nodes != 12 || h.Heard != 8 || len(h.Sites) != 3 || h.Hears("ams") || h.Sites["fra"] != 4 || h.Whole() {
		t.Errorf("then %+v", h)
	}
}

// An operator who confirms does not wait for what other managers hear, but a site that is
// silent for a moment stays.
func TestAConfirmedSiteGoesWhenItIsSilentForLong(t *testing.T) {
	s := sited(t)
	s.cutOff("ams")
	s.pass(9 * time.Second)
	if n := s.table.Confirm("", s.now); n != 0 || s.count("sip_proxy") != 6 {
		t.Errorf("after a moment %d are concerned, %d are left", n, s.count("sip_proxy"))
	}
	s.pass(1500 * time.Millisecond)
	if n := s.table.Confirm("sip_proxy", s.now); n != 2 || s.count("sip_proxy") != 4 || s.count("media_relay") != 6 {
		t.Errorf("%d are concerned, %d and %d are left", n, s.count("sip_proxy"), s.count("media_relay"))
	}
	if n := s.table.Confirm("", s.now); n != 5 || s.count("media_relay") != 4 || s.count("xcap_server") != 1 {
		t.Errorf("%d are concerned, %d are left", n, s.count("media_relay"))
	}
}

// An operator can keep the members of a site that is lost.
func TestTheMembersOfASilentSiteCanBeHeld(t *testing.T) {
	s := sited(t)
	s.cutOff("ams")
	s.passCleared(10 * time.Second)
	if n := s.table.Hold("sip_proxy", s.now); n != 2 {
		t.Errorf("%d are concerned", n)
	}
	if s.passCleared(10 * time.Minute); s.count("sip_proxy") != 6 || s.count("media_relay") != 4 {
		t.Errorf("%d and %d are left", s.count("sip_proxy"), s.count("media_relay"))
	}
	s.heal("ams")
	s.passCleared(3 * time.Second)
	for _, m := range s.status().Roles["sip_proxy"] {
		if m.State != subjects.Up {
			t.Errorf("%s is %s", m.Node, m.State)
		}
	}
	if s.guard(membership.GuardHold) != nil {
		t.Error("the hold goes on")
	}
}
