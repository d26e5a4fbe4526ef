package membership

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"thor/subjects"
)

// The guards, as Guard.Name, in events and as metric labels. G1 is the observers'
// own: they keep the last status for ever.
const (
	GuardLast     = "last_member" // G2
	GuardPanic    = "panic"       // G3
	GuardObserver = "observer"    // G4
	GuardBroker   = "broker"      // G5
	GuardDamping  = "damping"     // G6
	GuardChecks   = "checks"      // many members of a role fail their checks at once
	GuardHold     = "hold"        // an operator wants failed members kept
	GuardSite     = "site"        // all nodes of a site are silent
)

// A Guard holds removals back, or one member out.
type Guard struct {
	Name   string
	Role   subjects.Role   // empty: all roles
	Node   subjects.NodeID // the damped member, or the suspected broker
	Site   subjects.Site   // the silent one
	Detail string          // the reason
	Since  time.Time
	End    time.Time // when it ends or is looked at again, as things are; zero: when something happens
}

// A guard is a Guard as the table keeps it.
type guard struct {
	guardKey
	detail string
	since  time.Time
	until  instant // never: something ends it
	quiet  bool    // part of another guard, or nothing to tell of

	// Of panic, of one role:
	next   instant // the next member does not go before
	stable int     // the role's nodes before the incident
	// Of checks:
	under instant // since when under half of the role fails; never: it does not
}

type guardKey struct {
	name string
	role subjects.Role
	node subjects.NodeID
	site subjects.Site
}

func (k guardKey) compare(o guardKey) int {
	return cmp.Or(cmp.Compare(k.name, o.name), cmp.Compare(k.role, o.role), cmp.Compare(k.node, o.node), cmp.Compare(k.site, o.site))
}

// ended is what the event says that tells of the guard's end.
func (k guardKey) ended() string {
	if k.site != "" {
		return k.name + ": " + string(k.site)
	}
	return k.name
}

// Guards lists the guards that are active, sorted by name, role, node and site.
func (t *Table) Guards() []Guard {
	out := make([]Guard, 0, len(t.guards))
	for _, g := range t.guards {
		if g.quiet {
			continue
		}
		x := Guard{Name: g.name, Role: g.role, Node: g.node, Site: g.site, Detail: g.detail, Since: g.since}
		if g.until != never && g.until > t.now {
			x.End = stamp(t.base.Add(g.until))
		}
		out = append(out, x)
	}
	return out
}

func (t *Table) findGuard(k guardKey) (i int, found bool) {
	return slices.BinarySearchFunc(t.guards, k, func(g *guard, k guardKey) int { return g.compare(k) })
}

// raise makes a guard active, once, with an event. It lasts until it is lowered; its
// until says when that will be.
func (t *Table) raise(k guardKey, detail string) *guard {
	g := t.raiseQuietly(k, detail)
	if g.quiet {
		g.quiet, g.detail, g.since = false, detail, t.wall
		t.event(subjects.EventGuard, k.role, k.node, k.name+": "+detail)
	}
	return g
}

// raiseQuietly makes a guard active that neither events nor Guards show.
func (t *Table) raiseQuietly(k guardKey, detail string) *guard {
	i, found := t.findGuard(k)
	if !found {
		t.guards = slices.Insert(t.guards, i, &guard{guardKey: k, detail: detail, since: t.wall, until: never, quiet: true, under: never})
	}
	return t.guards[i]
}

// lower ends a guard if it is active.
func (t *Table) lower(k guardKey) {
	i, found := t.findGuard(k)
	if !found {
		return
	}
	g := t.guards[i]
	t.guards = slices.Delete(t.guards, i, i+1)
	if !g.quiet {
		t.event(subjects.EventGuardEnd, k.role, k.node, k.ended())
	}
}

// Confirm says for an operator that the members of role name, or of all roles if it is
// empty, that guards hold have failed indeed: they go now, as far as another member
// of their role is up (G2), else when one is. Of a site of which nothing is heard they go
// if that lasts for longer than Dead, and no broker names one there. Guards for mass losses end, and do not
// begin anew for the same members. It returns how many members it concerns.
func (t *Table) Confirm(name subjects.Role, now time.Time) int {
	t.enter(now)
	n := 0
	t.eachRole(name, func(r *role) {
		for m := range r.bad {
			if !m.confirmed {
				m.confirmed = true
				n++
			}
		}
		for m := range r.down {
			m.confirmed = true
		}
		t.endPanic(r)
		t.endChecks(r)
		t.endHold(r)
		t.dirty[r] = struct{}{}
	})
	t.endPanics()
	for _, site := range slices.Sorted(maps.Keys(t.incidents)) {
		// A site that is silent for a moment, or that a broker still reaches, is not what
		// an operator confirms.
		if i := t.incidents[site]; t.now-i.last > t.dead() && !t.siteNamed(site) {
			n += t.dismissSite(site, name, true)
		}
	}
	t.flush()
	return n
}

// eachRole calls f for the role of that name, or for all in order.
func (t *Table) eachRole(name subjects.Role, f func(*role)) {
	if name != "" {
		if r := t.roles[name]; r != nil {
			f(r)
		}
		return
	}
	for _, r := range t.sortedRoles() {
		f(r)
	}
}
