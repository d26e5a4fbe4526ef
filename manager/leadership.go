package manager

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"thor/subjects"
)

// A term is what a leadership needs of an *election.Term.
type term interface {
	Valid(now time.Time) bool
	Done() <-chan struct{}
	Ceiling(used uint64) uint64
	StepDown()
}

// A leadership is what a manager has while it leads.
type leadership struct {
	term      term
	epoch     uint64
	first     uint64           // generation to begin above
	aim       uint64           // generation to jump above when the lease has reserved that; 0: none
	status    *subjects.Status // the newest published
	encoded   []byte
	digest    string
	revision  uint64 // of the table, as published
	pending   bool   // a change waits for the coalescing time
	last      time.Time
	ticked    time.Time
	views     map[subjects.Role]time.Time // when each role's list was told
	events    []subjects.Event
	zones     string           // the differing zone digests last reported
	faults    map[fault]string // of the lookup, as last reported
	snapshots *snapshotWriter
}

// takeLead takes up the term of r, unless its time went by before this loop came to
// it: the new epoch is told at once, with the members that are known.
func (m *Manager) takeLead(r *leadership, now time.Time) {
	if m.lead != nil { // this loop was late: a term won anew came before the end of the last was seen
		m.loseLead("the term ended")
	}
	if !r.term.Valid(now) || !m.mayLead.Load() { // learnt so since the term was won
		r.term.StepDown()
		return
	}
	base := &subjects.Status{V: subjects.Version, Domain: m.cfg.Domain, Roles: map[subjects.Role][]subjects.Member{}}
	if h := m.newest.Load(); h != nil {
		base = h.status
		m.noteEpoch(base.Epoch, r.epoch, now)
		m.table.Adopt(base, now) // judges no member by silence for a while, but a closed connection at once
	}
	r.status, r.views = base, make(map[subjects.Role]time.Time)
	r.snapshots = newSnapshotWriter(m.cfg.Overlay.Conn(), m.log)
	m.lead, m.uncompared = r, nil
	m.active.Store(true)
	m.metrics.active.Set(1)
	m.announceStanding(standing{active: true})
	r.events = append(r.events, subjects.Event{Kind: subjects.EventElected, Role: subjects.Manager, Node: m.cfg.Overlay.ID()})
	m.issue(now, true)
}

// loseLead ends the leadership; the status of another manager is followed from here on.
func (m *Manager) loseLead(why string) {
	m.log.Warn().Str("reason", why).Str("event", "standby").Msg("standing by")
	m.lead.snapshots.stop()
	m.lead = nil
	m.active.Store(false)
	m.metrics.active.Set(0)
	m.announceStanding(standing{})
}

// stepDown ends the leadership on purpose: the last status first, then the lease.
func (m *Manager) stepDown() {
	r := m.lead
	if r == nil {
		return
	}
	now := time.Now()
	if r.term.Valid(now) {
		m.issue(now, false)
		m.publishEvent(subjects.Event{Kind: subjects.EventResigned, Role: subjects.Manager, Node: m.cfg.Overlay.ID()}, now)
		r.snapshots.flush()
	}
	_ = m.cfg.Overlay.Conn().FlushTimeout(time.Second)
	r.term.StepDown()
	<-r.term.Done()
	r.snapshots.stop()
	m.lead = nil
	m.active.Store(false)
}

// step is one turn of the loop: let time pass, publish what is due.
func (m *Manager) step(now time.Time) {
	if cut := !m.cfg.Overlay.Connected(); cut != m.cut {
		if m.cut = cut; !cut { // what was said meanwhile is lost (guard G4)
			m.table.Blind(now)
			m.certified.asked = time.Time{}
		}
	}
	m.noteDropped(now)
	m.certify(now)
	m.table.Advance(now)
	r := m.lead
	if r == nil {
		m.table.Events() // the active manager tells them
		m.table.Duplicates()
		m.compare(now)
		return
	}
	if !r.term.Valid(now) || !m.cfg.Overlay.Connected() {
		select {
		case <-r.term.Done():
			m.loseLead("the term ended")
		default: // disconnected: nothing can be published; the lease decides
			if !r.term.Valid(now) {
				m.loseLead("the lease may have expired")
			}
		}
		return
	}
	m.publishEvents(now)
	if m.advancePastClaims(now) {
		return
	}
	switch {
	case m.table.Revision() == r.revision:
		r.pending = false
	case now.Sub(r.last) >= coalesce:
		m.issue(now, false)
	default:
		r.pending = true
	}
	if now.Sub(r.ticked) >= tickEvery {
		m.tick(now)
	}
	m.repeatViews(now)
}

// noteDropped finds out whether messages were dropped because this loop did not keep
// up. Beats and ends of connections may be among them (guard G4).
func (m *Manager) noteDropped(now time.Time) {
	n := 0
	for _, s := range m.subs {
		d, _ := s.Dropped() // fails when the connection is closed for good
		n += d
	}
	if n <= m.dropped {
		return
	}
	m.table.Missed(now)
	m.certified.asked = time.Time{}
	m.metrics.dropped.Add(float64(n - m.dropped))
	m.dropped = n
	if now.Sub(m.droppedLogged) >= claimsEvery {
		m.droppedLogged = now
		m.log.Warn().Int("messages", n).Str("event", "missed").Msg("inbox overflow, messages dropped; no member is removed for silence now")
	}
}

// advancePastClaims sees that the status is above all marks that were seen: after a loss
// of all memory but theirs, members may hold a later one, and take none of ours.
// A higher generation is jumped over; a higher epoch takes another term, and then
// the leadership is over and advancePastClaims returns true. All false claims together cause one such
// step a minute in the whole network: see noteEpoch.
func (m *Manager) advancePastClaims(now time.Time) bool {
	r, known := m.lead, m.marks.highest()
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
	r.term.StepDown()
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
	next := &subjects.Status{
		V: subjects.Version, Domain: m.cfg.Domain, Epoch: r.epoch, Manager: m.cfg.Overlay.ID(), Time: stamp(now),
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
	r.revision = m.table.Revision()
	r.pending = false
	r.last = now
	next.Lookup = m.tables.of(next)
	delta := subjects.Diff(r.status, next)
	if !must && delta.Empty() {
		return
	}
	if next.Generation > r.term.Ceiling(next.Generation) {
		r.revision-- // try again when the lease has reserved more
		return
	}
	r.status = next
	r.encoded = next.Encode()
	r.digest = delta.Digest
	m.newest.Store(hold(next, r.encoded))
	m.answerSnapshots()
	m.marks.confirm(next.Mark())
	m.publish(&nats.Msg{Subject: subjects.StatusDelta, Data: delta.Encode()})
	m.tick(now)
	for _, role := range changedRoles(delta) {
		m.view(role, now)
	}
	m.compareMembers()
	m.publishEvents(now)
	r.snapshots.put(next, r.encoded)
	m.metrics.show(next)
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
	t := subjects.Tick{
		V: subjects.Version, Epoch: r.status.Epoch, Generation: r.status.Generation, Digest: r.digest,
		Manager: m.cfg.Overlay.ID(), Time: stamp(now), Counts: r.status.Counts(), Lookup: r.status.Lookup,
	}
	m.publish(&nats.Msg{Subject: subjects.StatusTick, Data: t.Encode()})
}

func (m *Manager) view(role subjects.Role, now time.Time) {
	m.lead.views[role] = now
	if len(m.lead.status.Roles[role]) == 0 {
		delete(m.lead.views, role)
	}
	data := m.lead.status.View(role).Encode()
	if len(data) > subjects.MaxView && !m.big[role] { // who follows the status has it all the same
		m.big[role] = true
		m.log.Error().Str("role", string(role)).Int("bytes", len(data)).Int("max", subjects.MaxView).
			Msg("the role's list is too big for a message: it is not told on " + subjects.View(role))
	}
	if len(data) <= subjects.MaxView {
		delete(m.big, role)
		m.publish(&nats.Msg{Subject: subjects.View(role), Data: data})
	}
}

// repeatViews tells one role's list that is due, so that repeats spread out.
func (m *Manager) repeatViews(now time.Time) {
	r := m.lead
	every, members := viewEvery, 0
	for _, ms := range r.status.Roles {
		members += len(ms)
	}
	if members > bigNetwork {
		every = viewEveryBig
	}
	for role := range r.status.Roles {
		if now.Sub(r.views[role]) >= every-stepTime {
			m.view(role, now)
			return
		}
	}
}

// publishEvents tells the events and duplicates that the table has.
func (m *Manager) publishEvents(now time.Time) {
	r := m.lead
	for _, e := range append(r.events, m.table.Events()...) {
		m.publishEvent(e, now)
	}
	r.events = nil
	for _, d := range m.table.Duplicates() {
		m.notify(d)
	}
	m.metrics.guards(m.table.Guards())
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

func (m *Manager) publishEvent(e subjects.Event, now time.Time) {
	e.V, e.Time = subjects.Version, stamp(now)
	e.Epoch, e.Generation = m.lead.status.Epoch, m.lead.status.Generation
	e.Detail = subjects.Printable(e.Detail, 300)
	m.log.Info().Str("event", string(e.Kind)).Str("role", string(e.Role)).Str("peer", string(e.Node)).
		Uint64("epoch", e.Epoch).Uint64("gen", e.Generation).Str("detail", e.Detail).Msg("network changed")
	m.publish(&nats.Msg{Subject: subjects.Events, Data: e.Encode()})
}

// differingZones names the name servers whose zone configuration is not that
// of the first: their answers differ although they hold the same status.
func differingZones(s *subjects.Status) string {
	ms := s.Roles[subjects.DNSManager]
	out := ""
	for i := range ms {
		if z := ms[i].Attrs["zone"]; i > 0 && z != ms[0].Attrs["zone"] {
			out += string(ms[i].Node) + " differs from " + string(ms[0].Node) + " in its zone configuration; "
		}
	}
	return out
}

// flushContext bounds what is done at the end.
func flushContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 2*time.Second)
}
