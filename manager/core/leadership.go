package core

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"thor/subjects"
)

// A Term is one leadership that was won. An *election.Term is one.
type Term interface {
	// Valid reports whether the holder may publish at now; it does not become
	// valid again.
	Valid(now time.Time) bool
	// Quiet is until when nothing is to be published, although the lease is valid:
	// whether it is still the holder's own is being asked.
	Quiet() time.Time
	// Sure is when the lease was last known to be the holder's own, if that is open
	// since its connection is another one; zero: it is known now. What others hear
	// of an end may let them lead, where this manager does not hear them.
	Sure() time.Time
	// Ceiling is the greatest generation that may be published; used tells the
	// one wanted, so that more is reserved in time.
	Ceiling(used uint64) uint64
}

// A leadership is what a manager has while it leads.
type leadership struct {
	term      Term
	epoch     uint64
	began     time.Time
	inquiry   *inquiry                    // not nil while others are asked what they hear…
	inquired  time.Time                   // …and when that was over last
	elsewhere map[subjects.Site]time.Time // when another manager said last that it hears a site that is silent here
	first     uint64                      // generation to begin above
	aim       uint64                      // generation to jump above when the lease has reserved that; 0: none
	status    *subjects.Status            // the newest published
	digest    string
	losses    string                   // digest of the losses
	sites     string                   // digest of the sites
	roles     map[subjects.Role]string // digests of the roles; never written to
	revision  uint64                   // of the table, as published…
	joins     uint64                   // …and how many of its changes were joins
	pending   bool                     // a change waits for the coalescing time
	rhythm    rhythm
	ticked    time.Time
	views     map[subjects.Role]time.Time           // when each role's list was told
	asked     map[subjects.RequestSubject]time.Time // by operators, when that was recorded last
	viewed    time.Time                             // when the last of them was repeated
	events    []subjects.Event
	zones     string           // the differing zone digests last reported
	faults    map[fault]string // of the lookup, as last reported…
	faulty    []fault          // …and their order
}

// Lead takes up the term of epoch, whose generations begin above first: at once if
// this manager knows what the network told last, else as soon as it has found out.
func (m *Manager) Lead(t Term, epoch, first uint64, now time.Time) {
	if m.lead != nil { // the shell was late: a term won anew came before the end of the last was seen
		m.loseLead("the term ended")
	}
	if m.knowsPresent(now) {
		m.takeUp(t, epoch, first, now)
		return
	}
	if m.seek == nil {
		m.beginSeek(now)
	}
	m.seek.term, m.seek.epoch, m.seek.first = t, epoch, first
}

// takeUp begins to lead, unless the time of the term went by: the new epoch is told
// at once, with the members that are known.
func (m *Manager) takeUp(t Term, epoch, first uint64, now time.Time) {
	h := m.newest
	if !t.Valid(now) || !m.MayLead() || m.marks.confirmed.Epoch >= epoch { // learnt so since the term was won
		m.emit(StepDown{})
		return
	}
	if m.marks.known.Epoch >= epoch && now.Sub(m.claimsActed) >= claimsEvery { // claimed since: another had it, and is gone
		m.claimsActed = now
		m.emit(StepDown{})
		return
	}
	r := &leadership{term: t, epoch: epoch, began: now, first: first, elsewhere: make(map[subjects.Site]time.Time), views: make(map[subjects.Role]time.Time), asked: make(map[subjects.RequestSubject]time.Time)}
	r.status = &subjects.Status{V: subjects.Version, Domain: m.cfg.Domain, Roles: map[subjects.Role][]subjects.Member{}}
	if h != nil {
		r.status = h.Status
		m.noteEpoch(r.status.Epoch, epoch, now)
		m.table.TakeUp(r.status, h.age(now), m.confirmed, now) // judges no member by silence for a while unless it has followed all, but a closed connection at once
	}
	m.lead, m.uncompared, m.conflicts = r, nil, nil
	m.stand(Standing{Active: true})
	m.event(subjects.Event{Kind: subjects.EventElected, Role: subjects.Manager, Node: m.cfg.Node})
	m.issue(now, true)
}

// loseLead ends the leadership; the status of another manager is followed from here on.
func (m *Manager) loseLead(why string) {
	m.note(Warn, "standing by", "standby", Field{"reason", why})
	m.lead = nil
	m.stand(Standing{})
}

// Finish ends a leadership on purpose: its last status and its end are told. The
// caller gives the lease back then, when all that is out.
func (m *Manager) Finish(now time.Time) {
	if m.seek != nil {
		m.seek.term = nil
	}
	if m.lead == nil {
		return
	}
	if m.lead.term.Valid(now) {
		m.issue(now, false)
		m.tellEvent(subjects.Event{Kind: subjects.EventResigned, Role: subjects.Manager, Node: m.cfg.Node}, now)
	}
	m.lead = nil
}

// stepLead is the part of a step of the active manager.
func (m *Manager) stepLead(now time.Time) {
	r := m.lead
	if !r.term.Valid(now) {
		m.loseLead("the term ended, or the lease may have expired")
		return
	}
	if m.offline || r.term.Quiet().After(now) || !m.resumed.IsZero() && now.Before(m.resumed.Add(backlog)) {
		// Nothing can or may be published; the lease decides. After a standstill it is to be confirmed first.
		return
	}
	if m.inquire(now) {
		return
	}
	m.tellEvents(now)
	if m.advancePastClaims(now) {
		return
	}
	switch {
	case m.table.Revision() == r.revision:
		r.pending = false
	case !now.Before(r.rhythm.next(m.joinsOnly())):
		m.issue(now, false)
	default:
		r.pending = true
	}
	if now.Sub(r.ticked) >= tickEvery {
		m.tick(now)
	}
	m.repeatViews(now)
}

// advancePastClaims sees that the status is above all marks that were seen: after a loss
// of all memory but theirs, members may hold a later one, and take none of ours.
// A higher generation is jumped over; a higher epoch takes another term, and then
// the leadership is over and advancePastClaims returns true. All false claims together cause one such
// step a minute in the whole network: see noteEpoch.
func (m *Manager) advancePastClaims(now time.Time) bool {
	r, known := m.lead, m.marks.known
	if !known.After(r.status.Mark()) || now.Sub(m.claimsActed) < claimsEvery {
		return false
	}
	if known.Epoch == r.epoch {
		if r.aim <= r.status.Generation {
			r.aim = known.Generation // and stays so until it is reached, whatever is claimed meanwhile
		}
		if r.term.Ceiling(r.aim+1) > r.aim {
			r.first = max(r.first, r.aim)
			r.aim = 0
			m.claimsActed = now
			m.issue(now, true)
		}
		return false
	}
	m.claimsActed = now
	m.emit(StepDown{})
	m.loseLead(fmt.Sprintf("epoch %d was seen, ours is %d", known.Epoch, r.epoch))
	return true
}

// noteEpoch observes that the network went from epoch old to epoch next. An
// election takes the next number; a larger step means that claims raised it. Every
// manager sees that, so the minute until claims have an effect again counts for
// all of them: the next to lead would otherwise give way to the next claim.
func (m *Manager) noteEpoch(old, next uint64, now time.Time) {
	if next > old+1 {
		m.claimsActed = now
	}
}

// issue publishes a new generation if the table differs from what was told, or
// if it must: the next one, whatever others claim to have seen.
func (m *Manager) issue(now time.Time, must bool) {
	r := m.lead
	next := m.fill(now)
	joinsOnly := m.joinsOnly()
	r.revision, r.joins = m.table.Revision(), m.table.Joins()
	r.pending = false
	r.rhythm.last = now
	encoded := next.Encode()
	delta := subjects.DiffEncoded(r.status, next, encoded)
	if !must && delta.Empty() {
		return
	}
	if next.Generation > r.term.Ceiling(next.Generation) {
		r.revision-- // try again when the lease has reserved more
		return
	}
	r.rhythm.issued(next, joinsOnly, now)
	held := Hold(next, encoded)
	if r.losses == "" || delta.Lost != nil || delta.Held != nil {
		r.losses = next.LossesDigest()
	}
	r.sites = next.SitesDigest()
	r.status, r.digest, m.newest = next, delta.Digest, held
	m.marks.confirm(next.Mark())
	m.emit(Delta{delta})
	m.tellRoles(delta)
	m.tick(now)
	for _, role := range changedRoles(delta) {
		m.view(role, now)
	}
	m.compareMembers()
	m.tellEvents(now)
	m.emit(Snapshot{held})
}

// joinsOnly reports whether all that waits to be told are members who came.
func (m *Manager) joinsOnly() bool {
	return m.table.Revision()-m.lead.revision == m.table.Joins()-m.lead.joins
}

// tellRoles tells the changes of each role, which the newest status has made. The
// digests that the next tick names are those after them.
func (m *Manager) tellRoles(d *subjects.Delta) {
	r := m.lead
	parts := d.ByRole(r.status)
	if r.roles == nil {
		r.roles = r.status.RoleDigests()
	} else if len(parts) > 0 {
		r.roles = maps.Clone(r.roles)
	}
	for _, p := range parts {
		p.Digest = r.status.RoleDigest(p.Role)
		if r.roles[p.Role] = p.Digest; p.Digest == subjects.NoRoleDigest {
			delete(r.roles, p.Role)
		}
		m.emit(RoleDelta{p})
	}
}

// fill makes the next status from the table.
func (m *Manager) fill(now time.Time) *subjects.Status {
	r := m.lead
	next := &subjects.Status{
		V: subjects.Version, Domain: m.cfg.Domain, Epoch: r.epoch, Manager: m.cfg.Node, Time: stamp(now),
		Generation: max(r.first, r.status.Generation) + 1,
	}
	m.table.Fill(next)
	for _, ms := range next.Roles {
		for i := range ms {
			ms[i].Since = stamp(ms[i].Since)
		}
	}
	for i := range next.Departed {
		next.Departed[i].Until = stamp(next.Departed[i].Until)
	}
	next.Lookup = m.tables.of(next)
	return next
}

// stamp is the wire's form of a time: UTC, milliseconds, no monotonic part.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

func changedRoles(d *subjects.Delta) []subjects.Role {
	var out []subjects.Role
	for _, c := range d.Changes {
		out = append(out, c.Role)
	}
	for role := range d.Lookup {
		out = append(out, role)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (m *Manager) tick(now time.Time) {
	r := m.lead
	r.ticked = now
	counts, serving := r.status.Counts(), 0
	for _, n := range counts {
		serving += n
	}
	m.emit(RoleTick{&subjects.RoleTick{
		V: subjects.Version, Epoch: r.status.Epoch, Generation: r.status.Generation, Beat: r.status.BeatsOf(), Members: serving, Roles: r.roles,
		Manager: m.cfg.Node, Time: stamp(now),
	}})
	m.emit(Tick{&subjects.Tick{
		V: subjects.Version, Epoch: r.status.Epoch, Generation: r.status.Generation, Digest: r.digest, LossesDigest: r.losses, SitesDigest: r.sites, Beat: r.status.BeatsOf(),
		Manager: m.cfg.Node, Time: stamp(now), Counts: counts, Lookup: r.status.Lookup,
	}})
}

func (m *Manager) view(role subjects.Role, now time.Time) {
	m.lead.views[role] = now
	if len(m.lead.status.Roles[role]) == 0 {
		delete(m.lead.views, role)
	}
	m.emit(View{m.lead.status.View(role)})
}

// repeatViews tells one role's list that is due, so that repeats spread out.
func (m *Manager) repeatViews(now time.Time) {
	r := m.lead
	if now.Sub(r.viewed) < viewApart {
		return
	}
	every, members := viewEvery, 0
	for _, ms := range r.status.Roles {
		members += len(ms)
	}
	if members > bigNetwork {
		every = viewEveryBig
	}
	for _, role := range r.status.RoleNames() {
		if now.Sub(r.views[role]) >= every-viewApart {
			r.viewed = now
			m.view(role, now)
			return
		}
	}
}

// tellEvents tells the events and duplicates that the table has.
func (m *Manager) tellEvents(now time.Time) {
	r := m.lead
	for _, e := range append(r.events, m.table.Events()...) {
		m.tellEvent(e, now)
	}
	r.events = nil
	for _, d := range m.table.Duplicates() {
		m.emit(Duplicate{d})
	}
}

func (m *Manager) tellEvent(e subjects.Event, now time.Time) {
	e.V, e.Time = subjects.Version, stamp(now)
	e.Epoch, e.Generation = m.lead.status.Epoch, m.lead.status.Generation
	e.Detail = subjects.Printable(e.Detail, 300)
	m.emit(Event{e})
}

// compareMembers makes events of what the members of a new status say that does
// not fit together.
func (m *Manager) compareMembers() {
	r := m.lead
	m.tellLookupFaults(r)
	if z := differingZones(r.status); z != r.zones {
		if r.zones = z; z != "" {
			r.events = append(r.events, subjects.Event{Kind: subjects.EventZone, Role: subjects.DNSManager, Detail: z})
		}
	}
}

// differingZones names the name servers whose zone configuration is not that
// of the first: their answers differ although they hold the same status.
func differingZones(s *subjects.Status) string {
	ms := s.Roles[subjects.DNSManager]
	out := ""
	for i := range ms {
		if z := ms[i].Attrs[subjects.AttrZone]; i > 0 && z != ms[0].Attrs[subjects.AttrZone] {
			out += string(ms[i].Node) + " differs from " + string(ms[0].Node) + " in its zone configuration; "
		}
	}
	return out
}
