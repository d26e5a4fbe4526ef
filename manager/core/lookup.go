package core

import (
	"fmt"
	"strings"
	"time"

	"thor/overlay/lookup"
	"thor/subjects"
)

// A conflict is why a manager must not lead after a status: with another number
// of slots nearly every subscriber would get another home. A role without
// members can be given another number, and so can one that had no table.
type conflict struct {
	role subjects.Role
	text string
}

// conflictsWith are those of s with a manager whose tables have so many slots.
func conflictsWith(bits func(subjects.Role) int, s *subjects.Status) (out []conflict) {
	for _, role := range s.RoleNames() {
		have, ok := s.Lookup[role]
		if want := bits(role); ok && have.Bits != want {
			out = append(out, conflict{role, fmt.Sprintf("lookup of %s: configured are %s, in service are %s: set it back, or take the role out of service first",
				role, slots(want), slots(have.Bits))})
		}
	}
	return out
}

// A status that no manager confirms may list members that are long gone, and all
// managers may be configured alike by now: after this time only members that are
// heard put a role in service.
const conflictFor = 15 * time.Second

// judgeConflicts decides whether a conflict holds this manager back.
func (m *Manager) judgeConflicts(now time.Time) {
	hold, since := "", m.confirmed
	if since.Before(m.started) {
		since = m.started
	}
	for _, c := range m.conflicts {
		if m.started.IsZero() || now.Sub(since) < conflictFor || now.Sub(m.heard[c.role]) < conflictFor {
			hold = c.text
			break
		}
	}
	if hold != "" && hold != m.standing.Hold {
		m.note(Error, "will not lead", "standby", Field{"reason", hold})
	}
	m.stand(Standing{Hold: hold, Differs: m.standing.Differs})
}

func slots(bits int) string {
	if bits == 0 {
		return "no slots"
	}
	return fmt.Sprintf("2^%d slots", bits)
}

// tables are the lookup tables of the roles, kept up to date so that a status
// can name them at once.
type tables struct {
	bits   func(subjects.Role) int
	note   func(Level, string, string, ...Field)
	byRole map[subjects.Role]*lookup.Table
}

func newTables(bits func(subjects.Role) int, note func(Level, string, string, ...Field)) *tables {
	return &tables{bits: bits, note: note, byRole: make(map[subjects.Role]*lookup.Table)}
}

// of are the lookups of s, whose members have been filled in.
func (t *tables) of(s *subjects.Status) map[subjects.Role]subjects.Lookup {
	out := make(map[subjects.Role]subjects.Lookup)
	for role, ms := range s.Roles {
		bits := t.bits(role)
		if bits == 0 {
			continue
		}
		table, err := t.update(role, bits, lookup.Members(ms))
		if err != nil { // cannot be: the membership table refuses what leads here
			t.note(Error, "no lookup table", "", Field{"role", string(role)}, Field{"error", err})
			continue
		}
		t.byRole[role] = table
		out[role] = table.Name()
	}
	for role := range t.byRole {
		if _, ok := out[role]; !ok {
			delete(t.byRole, role)
		}
	}
	return out
}

func (t *tables) update(role subjects.Role, bits int, ms []lookup.Member) (*lookup.Table, error) {
	if old := t.byRole[role]; old != nil && old.Bits() == bits {
		return old.Update(ms)
	}
	return lookup.New(bits, ms)
}

// handleStatus takes a status of another manager. Whether this one may lead after it is
// found at once; its lookup tables are compared a little later.
func (m *Manager) handleStatus(s *subjects.Status, now time.Time) {
	m.conflicts = conflictsWith(m.cfg.SlotBits, s)
	m.judgeConflicts(now)
	if m.uncompared == nil {
		m.compareAt = now.Add(compareLater)
		if soonest := m.comparedAt.Add(compareApart); soonest.After(m.compareAt) {
			m.compareAt = soonest
		}
	}
	m.uncompared = s
}

// compare makes the lookup tables of the status that waits for it, when its time
// has come, so that they are there when this manager is elected. The digests
// must agree.
func (m *Manager) compare(now time.Time) {
	s := m.uncompared
	if s == nil || now.Before(m.compareAt) {
		return
	}
	m.uncompared, m.comparedAt = nil, now
	mine := m.tables.of(s)
	differs := ""
	for _, role := range s.RoleNames() {
		own, ok := mine[role]
		told, told2 := s.Lookup[role]
		if told.RemoteDigest == "" { // a manager that knows no sites
			own.RemoteDigest = ""
		}
		if ok && told2 && own.Bits == told.Bits && own != told {
			differs += fmt.Sprintf("%s: computed %s, told %s; ", role, own, told)
		}
	}
	if differs = strings.TrimSuffix(differs, "; "); differs != "" && differs != m.standing.Differs {
		m.note(Error, "the active manager computes other lookup tables", "", Field{"peer", string(s.Manager)}, Field{"lookup", differs})
	}
	m.stand(Standing{Hold: m.standing.Hold, Differs: differs})
}

// A Standing is what a manager says of itself beside being a member.
type Standing struct {
	Active        bool
	Hold, Differs string
}

// Attrs are the attributes that say so.
func (s Standing) Attrs() subjects.Attrs {
	a := subjects.Attrs{"state": "standby", subjects.AttrBeats: subjects.ShortBeats}
	if s.Active {
		a["state"] = "active"
	}
	if s.Hold != "" {
		a[subjects.HeldBack] = s.Hold
	}
	if s.Differs != "" {
		a[subjects.LookupDiffers] = subjects.Printable(s.Differs, subjects.MaxAttrValue)
	}
	return a
}

// stand announces s, if it is new.
func (m *Manager) stand(s Standing) {
	if s != m.standing {
		m.standing = s
		m.emit(Stand{s})
	}
}

// A fault is one member's claim of a fault.
type fault struct {
	role subjects.Role
	node subjects.NodeID
	name string
}

// lookupFaults are the members that say of themselves that their lookup differs,
// or that they are held back for it, with what they say; and their order.
func lookupFaults(s *subjects.Status) (texts map[fault]string, order []fault) {
	texts = make(map[fault]string)
	for _, role := range s.RoleNames() {
		ms := s.Roles[role]
		for i := range ms {
			for _, name := range []string{subjects.LookupDiffers, subjects.HeldBack} {
				if v := ms[i].Attrs[name]; v != "" {
					f := fault{role, ms[i].Node, name}
					texts[f], order = v, append(order, f)
				}
			}
		}
	}
	return texts, order
}

// tellLookupFaults makes an event of each fault that is new, and of each that is over.
func (m *Manager) tellLookupFaults(r *leadership) {
	texts, order := lookupFaults(r.status)
	tell := func(f fault, text string) {
		r.events = append(r.events, subjects.Event{Kind: subjects.EventLookup, Role: f.role, Node: f.node, Detail: f.name + ": " + text})
	}
	for _, f := range order {
		if r.faults[f] != texts[f] {
			tell(f, texts[f])
		}
	}
	for _, f := range r.faulty {
		if texts[f] == "" {
			tell(f, "over")
		}
	}
	r.faults, r.faulty = texts, order
}
