package membership

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"thor/subjects"
)

// The guard of a site (ADR 71). All nodes of one site silent at once, while the other sites
// are heard, is one failure: of a building, or of the ways to it. Its members are held from
// their first missed beat on and leave together, in one generation.

// siteMargin is how much longer than Dead a silent site has: as long as its own members need
// to come through another site's broker (docs/budget.md), and for the question whether
// another manager hears it.
const siteMargin = 5 * time.Second

// clearedFor is how long an incident stays cleared: the last 3 s of its hold, in which others are
// asked (manager/core), and as long as a broker may name the site (siteNamed).
const clearedFor = 5 * time.Second

// An incident is a site of which no node is heard.
type incident struct {
	site    subjects.Site
	guard   *guard
	last    instant // when a node of it was heard last
	cleared instant // when other managers said that they do not hear it either
	timer   timer   // when its members may go
}

// An Incident is a site of which no node is heard while the others are.
type Incident struct {
	Site    subjects.Site
	Due     time.Time // its members do not go before
	Cleared bool      // see Clear
}

// siteCount counts the nodes of a site that are thought alive; those of which a beat was heard
// lately; and those that missed one. What another manager listed a moment ago is neither.
type siteCount struct {
	nodes, heard, silent int
	last                 instant // beat of any of them
}

// A siteCensus is what is heard of each site.
type siteCensus map[subjects.Site]siteCount

// lost reports whether nothing is heard of site and of each other one at least half: an
// observer that is cut off hears less. One site alone cannot be told from all.
func (c siteCensus) lost(site subjects.Site) bool {
	if x, known := c[site]; !known || x.silent < x.nodes {
		return false
	}
	for other, x := range c {
		if other != site && 2*x.heard < x.nodes {
			return false
		}
	}
	return len(c) > 1
}

// site is where n is, by its members in the status; of several sites that of the first role.
// What is only announced does not count.
func (n *node) site() subjects.Site {
	for _, m := range n.members {
		if m.listed && m.shown.Site != "" {
			return m.shown.Site
		}
	}
	return ""
}

// awaited reports whether n should beat. What an operator or a guard keeps of a site that was let go
// already should not, nor one whose end is proven.
func (n *node) awaited() bool {
	return slices.ContainsFunc(n.members, func(m *member) bool {
		return m.listed && (m.cause == alive || m.cause == silent && m.withSite == "")
	})
}

// countSites counts by site; nodes without one are under the empty name.
func (t *Table) countSites() siteCensus {
	c := make(siteCensus)
	for _, n := range t.nodes {
		if !n.awaited() {
			continue
		}
		site := n.site()
		x := c[site]
		x.nodes++
		switch {
		case t.now-n.last > t.missed():
			x.silent++
		case t.now-n.beat <= t.missed():
			x.heard++
		}
		x.last = max(x.last, n.last)
		c[site] = x
	}
	return c
}

// hearing is what c says to other managers.
func (c siteCensus) hearing() *subjects.Hearing {
	h := &subjects.Hearing{V: subjects.Version, Sites: make(map[subjects.Site]int)}
	for site, x := range c {
		h.Nodes, h.Heard = h.Nodes+x.nodes, h.Heard+x.heard
		if site != "" && (x.heard > 0 || x.silent == x.nodes) {
			h.Sites[site] = x.heard
		}
	}
	return h
}

// Hears is what this observer hears, a second old at most. It is not to be written to.
func (t *Table) Hears() *subjects.Hearing { return t.hears }

// surveySites takes a census of the sites now and then: it costs some milliseconds at 10,000
// nodes. An incident also ends at the first beat from its site, and its members go by a
// census of that moment.
func (t *Table) surveySites() {
	every := heartbeat
	if len(t.incidents) > 0 {
		every /= 4
	}
	if t.now-t.surveyed >= every {
		t.judgeSites()
	}
}

// judgeSites begins and ends incidents.
func (t *Table) judgeSites() {
	t.surveyed = t.now
	c := t.countSites()
	t.hears = c.hearing()
	delete(c, "")
	for _, site := range slices.Sorted(maps.Keys(t.incidents)) {
		if !c.lost(site) {
			t.endIncident(site)
		}
	}
	for _, site := range slices.Sorted(maps.Keys(c)) {
		if t.incidents[site] == nil && c.lost(site) {
			t.beginIncident(site, c[site])
		}
	}
}

func (t *Table) beginIncident(site subjects.Site, c siteCount) {
	i := &incident{site: site, last: c.last, cleared: longAgo}
	i.timer = timer{kind: timerSite, node: string(site), index: -1, act: func() { t.letSiteGo(i) }}
	i.guard = t.raise(guardKey{name: GuardSite, site: site}, fmt.Sprintf("%s: all %d nodes are silent, the other sites are heard", site, c.nodes))
	t.incidents[site] = i
	t.armIncident(i)
}

// endIncident ends the one of site: who is silent there is judged by the usual rules.
func (t *Table) endIncident(site subjects.Site) {
	if i := t.incidents[site]; i != nil {
		t.timers.stop(&i.timer)
		delete(t.incidents, site)
		t.lower(i.guard.guardKey)
	}
}

// tellIncidents tells of those that last: one that begins as a standby is told by none, and
// who watches events cannot know that the manager that told of it has gone.
func (t *Table) tellIncidents() {
	for _, site := range slices.Sorted(maps.Keys(t.incidents)) {
		g := t.incidents[site].guard
		t.event(subjects.EventGuard, g.role, g.node, g.name+": "+g.detail)
	}
}

// due is when the members may go: Dead and siteMargin after the last beat, and not while this
// observer is blind (G4).
func (t *Table) due(i *incident) instant { return max(i.last+t.dead()+siteMargin, t.blind.until) }

// armIncident sets the timer to when the members may go.
func (t *Table) armIncident(i *incident) {
	i.guard.until = t.due(i)
	t.timers.set(&i.timer, max(i.guard.until, t.now+time.Millisecond))
}

// incidentOf is the one that m's node is part of, or nil.
func (t *Table) incidentOf(n *node) *incident {
	if len(t.incidents) == 0 {
		return nil
	}
	return t.incidents[n.site()]
}

// noteSiteHeard ends the incident that n, which is heard, was part of.
func (t *Table) noteSiteHeard(n *node) {
	if i := t.incidentOf(n); i != nil {
		t.endIncident(i.site)
	}
}

// siteHold is until when m may be silent because its whole site is: then they go together.
func (t *Table) siteHold(m *member) instant {
	if i := t.incidentOf(m.node); i != nil {
		return max(i.guard.until, t.now+heartbeat)
	}
	return 0
}

// letSiteGo ends the hold of all members of a site: the time of that is over, this observer
// missed nothing since (G4), and no other manager hears the site, nor has another broker a
// route to one there. What remains is for their roles to judge.
func (t *Table) letSiteGo(i *incident) {
	switch t.armIncident(i); {
	case t.now < i.guard.until:
	case !t.isCleared(i) || t.siteNamed(i.site):
		t.timers.set(&i.timer, t.now+heartbeat)
	default:
		if t.judgeSites(); t.incidents[i.site] == i {
			t.timers.stop(&i.timer)
			t.dismissSite(i.site, "", false)
		}
	}
}

// siteNamed reports whether a broker of site runs by the word of another one that is heard.
func (t *Table) siteNamed(site subjects.Site) bool {
	r := t.roles[subjects.EventServer]
	return r != nil && slices.ContainsFunc(r.list, func(m *member) bool { return m.node.site() == site && t.named(m) })
}

// dismissSite takes the members of site in role, or in all, for dead.
func (t *Table) dismissSite(site subjects.Site, role subjects.Role, confirmed bool) (count int) {
	for _, id := range slices.Sorted(maps.Keys(t.nodes)) {
		n := t.nodes[id]
		if n.site() != site {
			continue
		}
		for _, m := range n.members {
			if !m.listed || role != "" && m.key.role != role || m.cause != alive && m.cause != silent {
				continue
			}
			count++
			if m.cause == alive {
				t.markDead(m, silent, whySilent)
				t.arm(m)
			}
			m.withSite, m.confirmed = site, m.confirmed || confirmed
			t.dirty[m.role] = struct{}{}
		}
	}
	return count
}

// wentWithSite reports whether m is dead since its whole site is.
func (m *member) wentWithSite() bool { return m.cause == silent && m.withSite != "" }

// siteRuling is what the incident has to do with the failed m: zero for nothing, else until
// when it holds m.
func (t *Table) siteRuling(m *member) instant {
	switch {
	case m.wentWithSite():
		return t.now
	case m.cause == silent && t.incidentOf(m.node) != nil:
		return t.now + heartbeat
	}
	return 0
}

// Incidents are the sites of which nothing is heard, by name. Their members go when they are
// due and Clear was called.
func (t *Table) Incidents() []Incident {
	var out []Incident
	for _, site := range slices.Sorted(maps.Keys(t.incidents)) {
		i := t.incidents[site]
		out = append(out, Incident{Site: site, Due: t.base.Add(t.due(i)), Cleared: t.isCleared(i)})
	}
	return out
}

// isCleared reports whether what other managers said of i is new enough: they may hear the site again.
func (t *Table) isCleared(i *incident) bool { return t.now-i.cleared <= clearedFor }

// Clear says that no other manager which was asked hears site either; it holds for 5 s. Without it an incident
// holds its members as long as it lasts: a standby removes none, and a manager that becomes the
// active manager asks first.
func (t *Table) Clear(site subjects.Site, now time.Time) {
	t.enter(now)
	if i := t.incidents[site]; i != nil {
		i.cleared = t.now
		t.armIncident(i)
	}
	t.flush()
}
