package sim

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"thor/manager/membership"
	"thor/subjects"
)

// siteNames are where the brokers are.
var siteNames = [brokerCount]subjects.Site{"ams", "fra", "lon"}

// A wan is what lies between sites.
type wan struct {
	on    bool
	delay time.Duration // one way, above what it takes within a site
	loss  int           // of 1000: packets that come when they were sent again
}

// way is what a message takes longer from site i to site j; -1 is a process without one. What
// was lost comes after TCP has sent it again, and all after it waits (the callers keep the order).
func (w *world) way(i, j int) time.Duration {
	if !w.wan.on || i < 0 || i == j {
		return 0
	}
	d := w.wan.delay
	if w.chance(w.wan.loss) {
		w.stats.count("site", "packet sent again")
		d += w.between(240, 700)
	}
	return d
}

// A removal is a member that a manager took out.
type removal struct {
	at   time.Duration
	mark subjects.Mark
	by   subjects.NodeID
	listing
}

// kindsOfSites are the names of siteFaults.
func kindsOfSites() (names []string) {
	for _, f := range siteFaults {
		names = append(names, f.name)
	}
	return names
}

// A siteFault is one thing that goes wrong between sites, or with one of them.
type siteFault struct {
	name   string
	begin  func(w *world, i int) (end func())
	flaps  bool // on and off each 5 s
	site   bool // site i is cut off; else nothing is to be removed
	active bool // it is that of the active manager
	stays  bool // no manager is to change
	third  bool // the manager of the third site leads in the end
}

var siteFaults = []siteFault{
	{name: "a site cut off", begin: siteCut, site: true},
	{name: "the site of the active manager cut off", site: true, active: true, begin: siteCut},
	{name: "the link of two sites cut", begin: linkCut},
	{name: "a link flaps for 5 s", begin: linkCut, flaps: true, stays: true},
	{name: "a site flaps for 5 s", begin: siteCut, flaps: true}, // the bucket may need 9 s for another leader: then the lease of 10 s can end
	{name: "links lose 2 %", begin: linksLose, stays: true},
	{name: "a link cut while members are away from home", begin: awayFromHome},
	{name: "two sites hear each other through a third one alone", begin: behindOne, third: true},
}

// between cuts what is between the sites of i and j, and returns what ends that.
func (w *world) cutBetween(i, j int) func() {
	ends := []func(){cutRoutes(w, []*route{w.routes[i][j]})}
	for _, p := range w.procs {
		for _, b := range []int{i, j} {
			if p.place >= 0 && p.place != b && (p.place == i || p.place == j) && !p.paths[b] {
				p.paths[b] = true
				ends = append(ends, func() { p.paths[b] = false })
			}
		}
	}
	w.changed()
	return func() { all(ends)(); w.changed() }
}

func linkCut(w *world, i int) func() { return w.cutBetween(i, (i+1)%brokerCount) }

func siteCut(w *world, i int) func() {
	return all([]func(){w.cutBetween(i, (i+1)%brokerCount), w.cutBetween(i, (i+2)%brokerCount)})
}

// behindOne cuts the link of two sites while clients reach the brokers of their own site alone:
// they cannot go where they are heard.
func behindOne(w *world, i int) func() {
	var ends []func()
	for _, p := range w.procs {
		for b := range brokerCount {
			if p.place >= 0 && p.place != b && !p.paths[b] {
				p.paths[b] = true
				ends = append(ends, func() { p.paths[b] = false })
			}
		}
	}
	end := linkCut(w, i)
	return func() { all(ends)(); end() }
}

// awayFromHome cuts a link to which members of a site owe their connections: their own broker was
// restarted a moment before, and they have not come back to it. The routes
// between brokers stay.
func awayFromHome(w *world, i int) (end func()) {
	b := w.brokers[i]
	b.kill()
	w.after(6*time.Second, b.start)
	end = nothing
	w.after(10*time.Second, func() {
		var ends []func()
		for _, p := range w.procs {
			if j := (i + 1) % brokerCount; p.place == i && !p.paths[j] {
				p.paths[j] = true
				ends = append(ends, func() { p.paths[j] = false })
			}
		}
		w.changed()
		end = func() { all(ends)(); w.changed() }
	})
	return func() { end() }
}

func linksLose(w *world, _ int) func() {
	w.wan.loss = 20
	return func() { w.wan.loss = 0 }
}

// leader is the manager that leads, or nil.
func (w *world) leader() *manager {
	for _, m := range w.managers {
		if m.leads() {
			return m
		}
	}
	return nil
}

// siteOf is where a node is.
func (w *world) siteOf(node subjects.NodeID) int {
	for i, b := range w.brokers {
		if b.name == string(node) {
			return i
		}
	}
	for _, p := range w.procs {
		if p.node == node {
			return p.place
		}
	}
	return -1
}

const (
	siteFaultFrom = 30 * time.Second
	siteGone      = 17 * time.Second // from the cut: 15 s from its last beat, and until the manager looks
	siteBack      = 15 * time.Second // from the heal
)

// TestSites plays faults of sites, one in each run, at a round trip of 80 ms between sites, and
// looks at what is removed: of another site nothing; of a site that is cut off all but the
// last of a role, within 17 s and in one generation; and of a cut or lossy link nothing. While
// links lose packets or flap, no other manager begins to lead.
func TestSites(t *testing.T) {
	n := *manySeeds / 100 * len(siteFaults)
	if testing.Short() {
		n = min(n, 5*len(siteFaults))
	}
	if *oneSeed >= 0 {
		seed := uint64(*oneSeed)
		for _, why := range playSite(seed, siteFaults[seed%uint64(len(siteFaults))], newStats()) {
			t.Error(why)
		}
		return
	}
	total := newStats()
	for seed := range uint64(n) {
		f := siteFaults[seed%uint64(len(siteFaults))]
		s := newStats()
		for _, why := range playSite(seed, f, s) {
			t.Errorf("seed %d, %s: %s", seed, f.name, why)
		}
		total.merge(s)
		if t.Failed() {
			break
		}
	}
	t.Logf("%d runs\n%v", n, total)
	if n < 10*len(siteFaults) || t.Failed() {
		return
	}
	for kind, names := range map[string][]string{
		"guard": {"guard " + membership.GuardSite, "guard_end " + membership.GuardSite},
		"site":  {"gone in one generation", "back in time", "hearing asked for", "hearing told", "heard by another manager", "packet sent again", "nothing removed"},
		"fault": kindsOfSites(),
	} {
		for _, name := range names {
			if total.counts[kind][name] == 0 {
				t.Errorf("no run had %q", name)
			}
		}
	}
}

// playSite plays one fault and says what it broke.
func playSite(seed uint64, f siteFault, s *stats) []string {
	rng := rand.New(rand.NewPCG(seed, 13))
	w := newWorld(plan{seed: seed, members: 9, sites: true}, s)
	if *oneSeed >= 0 {
		w.trace = func(line string) { fmt.Println(line) }
	}
	span := 20*time.Second + time.Duration(rng.IntN(40_000))*time.Millisecond
	if f.third { // the one that leads has led for long enough to give way
		w.run(siteFaultFrom + time.Minute)
		span = max(span, 40*time.Second)
	} else {
		w.run(siteFaultFrom)
	}
	t := &w.truth
	lead := w.leader()
	if lead == nil {
		t.broke("no manager leads before the fault")
		return t.broken
	}
	i := rng.IntN(brokerCount)
	if f.active {
		i = lead.p.place
	}
	if f.third {
		i = (lead.p.place + rng.IntN(2)*2) % brokerCount // its site is one of the two
	}
	before, epoch, first, held := lead.core.Holding().Status, t.lastEpoch, len(t.removals), len(t.suspects)
	s.count("fault", f.name)
	from := w.now
	switch {
	case f.flaps:
		for k := range 10 {
			w.after(time.Duration(k)*10*time.Second, func() { w.after(5*time.Second, f.begin(w, i)) })
		}
		span = 100 * time.Second
	default:
		w.after(span, f.begin(w, i))
	}
	w.run(from + span)
	w.site(i, f, before, t.removals[first:], from, from+span)
	for _, r := range t.suspects[held:] { // the last of a role, when the others go
		if k := len(t.removals) - 1; k < first || t.removals[k].mark != r.mark {
			t.broke("%s of %s is suspect to %s %v after the fault began", r.role, r.node, r.by, r.at-from)
		}
	}
	if t.lastEpoch != epoch {
		s.count("site", "another manager leads")
	}
	if f.stays && t.lastEpoch != epoch {
		t.broke("epoch %d became %d", epoch, t.lastEpoch)
	}
	if x := w.leader(); f.third && (x == nil || x.p.place != (i+2)%brokerCount) {
		t.broke("the manager of the site between the two does not lead")
	}
	w.run(from + span + siteBack)
	if len(t.broken) == 0 {
		w.settled()
		s.count("site", "back in time")
	}
	return t.broken
}

// site looks at what was removed while f held site i, or a link.
func (w *world) site(i int, f siteFault, before *subjects.Status, gone []removal, from, till time.Duration) {
	t := &w.truth
	marks := map[subjects.Mark]bool{}
	for _, r := range gone {
		switch {
		case !f.site || w.siteOf(r.node) != i:
			t.broke("%s of %s was removed by %s %v after the fault began", r.role, r.node, r.by, r.at-from)
		case r.at-from > siteGone:
			t.broke("%s of %s was removed %v after the cut", r.role, r.node, r.at-from)
		default:
			marks[r.mark] = true
		}
	}
	switch {
	case !f.site:
		w.stats.count("site", "nothing removed")
	case len(marks) > 1:
		t.broke("the site left in %d generations: %v", len(marks), gone)
	case till-from > siteGone && len(marks) == 0:
		t.broke("the site is listed still %v after the cut", till-from)
	case len(marks) == 1:
		w.stats.count("site", "gone in one generation")
		now := w.elsewhere(i)
		for role, ms := range before.Roles {
			up := 0
			for _, x := range now.Roles[role] {
				if w.siteOf(x.Node) != i {
					up++
				}
			}
			for _, x := range ms {
				if w.siteOf(x.Node) == i && up > 0 && now.Member(role, x.Node) != nil {
					t.broke("%s of %s stays", role, x.Node)
				}
			}
		}
	}
}

// elsewhere is the status that an observer of another site than i has.
func (w *world) elsewhere(i int) *subjects.Status {
	return w.observers[(i+1)%brokerCount].feed.tracker.Status
}
