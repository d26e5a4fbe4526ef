package core

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"thor/manager/membership"
	"thor/subjects"
)

// A lone manager with a clock that the test moves, and what it has put out.
type lone struct {
	*Manager
	t    *testing.T
	now  time.Time
	out  []Output
	term *fakeTerm
}

func newLone(t *testing.T, edit ...func(*Config)) *lone {
	cfg := Config{Domain: "example.net", Node: "m1", SlotBits: func(subjects.Role) int { return 0 }}
	for _, f := range edit {
		f(&cfg)
	}
	return &lone{Manager: New(cfg), t: t, now: time.Date(2026, 11, 30, 1, 2, 3, 0, time.UTC)}
}

// fakeTerm is a term whose end and ceiling the test decides.
type fakeTerm struct {
	quiet   time.Time
	sure    time.Time
	until   time.Time
	ceiling uint64
	used    uint64
}

func (f *fakeTerm) Valid(now time.Time) bool { return now.Before(f.until) }

func (f *fakeTerm) Quiet() time.Time { return f.quiet }

func (f *fakeTerm) Sure() time.Time { return f.sure }

func (f *fakeTerm) Ceiling(used uint64) uint64 {
	f.used = max(f.used, used)
	return f.ceiling
}

// take collects the outputs as a shell does, dropping what the lease forbids.
func (m *lone) take() {
	for _, o := range m.Outputs() {
		if !Led(o) || m.term.Valid(m.now) {
			m.out = append(m.out, o)
		}
	}
}

// leads lets m lead for a day, as one that has found out what the network told last.
func (m *lone) leads(epoch, first, ceiling uint64) *fakeTerm {
	m.t.Helper()
	m.sought = m.now
	m.wins(epoch, first, ceiling)
	if !m.Leads() {
		m.t.Fatal("it does not lead")
	}
	return m.term
}

// wins has m win a term of a day.
func (m *lone) wins(epoch, first, ceiling uint64) {
	m.term = &fakeTerm{until: m.now.Add(24 * time.Hour), ceiling: ceiling}
	m.Lead(m.term, epoch, first, m.now)
	m.take()
}

// pass lets d pass.
func (m *lone) pass(d time.Duration) {
	for end := m.now.Add(d); m.now.Before(end); m.now = m.now.Add(20 * time.Millisecond) {
		m.Step(m.now)
		m.take()
	}
}

// said is what n sends as role, at 10.0.0.<last digit of its name>.
func said(role subjects.Role, node subjects.NodeID, seq uint64, edit ...func(*subjects.Announcement)) *subjects.Announcement {
	a := &subjects.Announcement{V: 1, Node: node, Role: role, Boot: "boot-" + string(node), Seq: seq, Addresses: []netip.Addr{address(node)}}
	for _, f := range edit {
		f(a)
	}
	return a
}

func address(node subjects.NodeID) netip.Addr {
	return netip.MustParseAddr(fmt.Sprintf("10.0.0.%c", node[len(node)-1]))
}

func weight(n int) func(*subjects.Announcement) {
	return func(a *subjects.Announcement) { a.Weight = n }
}

func seen(epoch, generation uint64) func(*subjects.Announcement) {
	return func(a *subjects.Announcement) { a.Seen = &subjects.Mark{Epoch: epoch, Generation: generation} }
}

// hear gives m announcements.
func (m *lone) hear(as ...*subjects.Announcement) {
	for _, a := range as {
		m.Announce(a, m.now)
	}
	m.take()
}

// vouch tells m, as a broker would, what the certificates of nodes allow: to be a
// proxy and a relay at their address.
func (m *lone) vouch(nodes ...subjects.NodeID) {
	for _, node := range nodes {
		m.Identity(&subjects.Identity{
			V: subjects.Version, Broker: "b1", Node: node, Serial: "0a", NotAfter: m.now.Add(1000 * time.Hour),
			Roles:     []subjects.Role{subjects.SIPProxy, subjects.MediaRelay, subjects.VoicemailServer},
			Addresses: []netip.Addr{address(node)}, Bounds: map[subjects.Role]subjects.Bound{subjects.SIPProxy: {Weight: subjects.MaxWeight}},
		}, false, m.now)
	}
}

// all are the outputs of one type so far.
func all[T Output](m *lone) (out []T) {
	for _, o := range m.out {
		if x, ok := o.(T); ok {
			out = append(out, x)
		}
	}
	return out
}

func last[T Output](m *lone) (zero T) {
	if xs := all[T](m); len(xs) > 0 {
		return xs[len(xs)-1]
	}
	return zero
}

// status is the newest that m holds.
func (m *lone) status() *subjects.Status { return m.Holding().Status }

// rejected counts what was refused for a code.
func (m *lone) rejected(code subjects.Code) (n int) {
	for _, r := range all[Rejected](m) {
		if r.Code == code {
			n++
		}
	}
	return n
}

// ends is a broker's word that the connection of node ended.
func ends(node subjects.NodeID) membership.Disconnect {
	return membership.Disconnect{Node: node, Boot: "boot-" + string(node), Via: "b1#" + string(node[len(node)-1]), Reason: "Client Closed"}
}

// told is a status of example.net with members of roles, made by another manager.
func told(epoch, generation uint64, edit ...func(*subjects.Status)) *subjects.Status {
	s := &subjects.Status{V: subjects.Version, Domain: "example.net", Epoch: epoch, Generation: generation, Manager: "m9"}
	for _, f := range edit {
		f(s)
	}
	return s
}

func listed(role subjects.Role, state subjects.State, nodes ...subjects.NodeID) func(*subjects.Status) {
	return func(s *subjects.Status) {
		for _, n := range nodes {
			s.Put(role, subjects.Member{Node: n, Addresses: []netip.Addr{address(n)}, State: state, Weight: 100})
		}
	}
}

// follow gives m a status that its tracker holds.
func (m *lone) follow(s *subjects.Status, fromDisk bool) {
	m.Follow(s, s.Encode(), fromDisk, m.now)
	m.take()
}
