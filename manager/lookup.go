package manager

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"thor/overlay"
	"thor/overlay/lookup"
	"thor/overlay/setting"
	"thor/subjects"
)

// unhashed are the roles whose members are not chosen by subscriber: any relay
// serves any call, and every provisioning server is told everything. Roles of
// the infrastructure have no table either.
var unhashed = []subjects.Role{subjects.MediaRelay, subjects.ProvisioningServer}

// SlotBits is log2 of the slots in role's lookup table, by configuration or by
// default; 0: it has none.
func (c *Config) SlotBits(role subjects.Role) int {
	if role.Infrastructure() || strings.HasPrefix(string(role), "thor_") {
		return 0
	}
	if bits, ok := c.Lookup[role]; ok {
		return bits
	}
	if slices.Contains(unhashed, role) {
		return 0
	}
	return lookup.DefaultBits
}

// Validate lists everything that is wrong with c but that it lacks Overlay or Domain.
func (c Config) Validate() []setting.Problem {
	setting.Fill(&c)
	ps := setting.Check(&c)
	for _, role := range slices.Sorted(maps.Keys(c.Lookup)) {
		key := "lookup." + string(role)
		if bits := c.Lookup[role]; bits != 0 && (bits < lookup.MinBits || bits > lookup.MaxBits) {
			text := fmt.Sprintf("%d is neither 0 (no lookup) nor %d to %d (2^18 slots are usual)", bits, lookup.MinBits, lookup.MaxBits)
			ps = append(ps, setting.Problem{Key: key, Text: text})
		}
		if role.Infrastructure() {
			ps = append(ps, setting.Problem{Key: key, Text: fmt.Sprintf("%s is of the network itself: no subscriber is served by it", role)})
		}
	}
	return ps
}

// conflict says why a manager of this configuration must not lead after s: with
// another number of slots nearly every subscriber would get another home. A
// role without members can be given another number, and so can one that had no
// table.
func (c *Config) conflict(s *subjects.Status) string {
	for _, role := range s.RoleNames() {
		have, ok := s.Lookup[role]
		if want := c.SlotBits(role); ok && have.Bits != want {
			return fmt.Sprintf("lookup of %s: configured are %s, in service are %s: set it back, or take the role out of service first",
				role, slots(want), slots(have.Bits))
		}
	}
	return ""
}

func slots(bits int) string {
	if bits == 0 {
		return "no slots"
	}
	return fmt.Sprintf("2^%d slots", bits)
}

// tables are the lookup tables of the roles, kept up to date so that a status
// can name them at once. Of the loop alone.
type tables struct {
	bits   func(subjects.Role) int
	log    zerolog.Logger
	byRole map[subjects.Role]*lookup.Table
}

func newTables(cfg *Config, log zerolog.Logger) *tables {
	return &tables{bits: cfg.SlotBits, log: log, byRole: make(map[subjects.Role]*lookup.Table)}
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
			t.log.Error().Err(err).Str("role", string(role)).Msg("no lookup table")
			continue
		}
		t.byRole[role] = table
		out[role] = subjects.Lookup{Bits: bits, Digest: table.Digest()}
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
	hold := m.cfg.conflict(s)
	if hold != "" && hold != m.standing.hold {
		m.log.Error().Str("reason", hold).Str("event", "standby").Msg("will not lead")
	}
	m.mayLead.Store(hold == "")
	m.announceStanding(standing{hold: hold, differs: m.standing.differs})
	if m.uncompared == nil {
		m.compareAt = now.Add(compareLater)
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
	m.uncompared = nil
	mine := m.tables.of(s)
	differs := ""
	for _, role := range s.RoleNames() {
		own, ok := mine[role]
		told, told2 := s.Lookup[role]
		if ok && told2 && own.Bits == told.Bits && own.Digest != told.Digest {
			differs += fmt.Sprintf("%s: computed %s, told %s; ", role, own.Digest, told.Digest)
		}
	}
	if differs = strings.TrimSuffix(differs, "; "); differs != "" && differs != m.standing.differs {
		m.log.Error().Str("peer", string(s.Manager)).Str("lookup", differs).Msg("the active manager computes other lookup tables")
	}
	m.announceStanding(standing{hold: m.standing.hold, differs: differs})
}

// standing is what a manager says of itself beside being a member.
type standing struct {
	active        bool
	hold, differs string
}

// announceStanding announces s, if it is new.
func (m *Manager) announceStanding(s standing) {
	if s == m.standing {
		return
	}
	m.standing = s
	attrs := subjects.Attrs{"state": "standby"}
	if s.active {
		attrs["state"] = "active"
	}
	if s.hold != "" {
		attrs[subjects.HeldBack] = s.hold
	}
	if s.differs != "" {
		attrs[subjects.LookupDiffers] = subjects.Printable(s.differs, subjects.MaxAttrValue)
	}
	m.member.Update(func(x *overlay.Member) { x.Attrs = attrs })
}

// lookupFaults are the members that say of themselves that their lookup differs,
// or that they are held back for it, with what they say.
func lookupFaults(s *subjects.Status) map[fault]string {
	out := make(map[fault]string)
	for role, ms := range s.Roles {
		for i := range ms {
			for _, name := range []string{subjects.LookupDiffers, subjects.HeldBack} {
				if v := ms[i].Attrs[name]; v != "" {
					out[fault{role, ms[i].Node, name}] = v
				}
			}
		}
	}
	return out
}

// A fault is one member's claim of a fault.
type fault struct {
	role subjects.Role
	node subjects.NodeID
	name string
}

// tellLookupFaults makes an event of each fault that is new.
func (m *Manager) tellLookupFaults(r *leadership) {
	now := lookupFaults(r.status)
	for f, text := range now {
		if r.faults[f] != text {
			r.events = append(r.events, subjects.Event{Kind: subjects.EventLookup, Role: f.role, Node: f.node, Detail: f.name + ": " + text})
		}
	}
	for f := range r.faults {
		if _, still := now[f]; !still {
			r.events = append(r.events, subjects.Event{Kind: subjects.EventLookup, Role: f.role, Node: f.node, Detail: f.name + ": over"})
		}
	}
	r.faults = now
}
