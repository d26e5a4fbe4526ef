package overlay

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"thor/identity"
	"thor/subjects"
)

// ErrNotCertified is wrapped by the errors of Join that say which role or
// address the node's certificate does not hold.
var ErrNotCertified = errors.New("not in the certificate")

// DrainReason is the reason of a member that an operator drained without giving a
// reason or an end.
const DrainReason = "drained by an operator"

// A Member is what this process announces of itself under one role.
type Member struct {
	// Role must be one of the certificate's.
	Role subjects.Role
	// Addresses must be the certificate's, at most 8; the first is the one to
	// show. Empty: those of the certificate, loopback only if there is no other.
	Addresses []netip.Addr
	// Priority is 1 to 65535, lower is preferred; 0: none.
	Priority int
	// Weight is the share of the work, 1 to 65535; 0: 100.
	Weight int
	// Version is that of the software, for show.
	Version string
	// Attrs are properties that others want to know, as the role defines them.
	Attrs subjects.Attrs
	// State is subjects.Up, subjects.Down when the service fails its own check,
	// or subjects.Draining; empty: up. To leave, call Leave.
	State subjects.State
	// Reason says in one line why State is not up.
	Reason string
}

func (m Member) clone() Member {
	m.Addresses, m.Attrs = slices.Clone(m.Addresses), maps.Clone(m.Attrs)
	return m
}

// Equal reports whether m and o are announced alike.
func (m *Member) Equal(o *Member) bool {
	return m.Role == o.Role && m.Priority == o.Priority && m.Weight == o.Weight && m.Version == o.Version &&
		m.State == o.State && m.Reason == o.Reason &&
		slices.Equal(m.Addresses, o.Addresses) && maps.Equal(m.Attrs, o.Attrs)
}

// complete sets what an empty field stands for.
func (m *Member) complete(id *identity.Identity) {
	if len(m.Addresses) == 0 {
		as := slices.DeleteFunc(slices.Clone(id.Addresses), netip.Addr.IsLoopback)
		if len(as) == 0 {
			as = slices.Clone(id.Addresses)
		}
		m.Addresses = as[:min(len(as), subjects.MaxAddresses)]
	}
	if m.State == "" {
		m.State = subjects.Up
	}
}

// longestSite stands in check for the one that is announced.
const longestSite = subjects.Site("00000000000000000000000000000000")

// check refuses what the certificate does not hold, and what breaks the limits of
// the wire when a process with this boot announces it.
func (m *Member) check(id *identity.Identity, boot string) error {
	if _, err := subjects.ParseRole(string(m.Role)); err != nil {
		return err
	}
	if !id.Has(m.Role) {
		return fmt.Errorf("role %s of %s: %w, which holds %v", m.Role, id.Node, ErrNotCertified, id.Roles)
	}
	if len(m.Addresses) == 0 {
		return fmt.Errorf("an address to announce of %s: %w", id.Node, ErrNotCertified)
	}
	for _, a := range m.Addresses {
		if !id.MayUse(a) {
			return fmt.Errorf("address %s of %s: %w, which holds %v", a, id.Node, ErrNotCertified, id.Addresses)
		}
	}
	if m.State == subjects.Leave {
		return errors.New("to leave, call Leave")
	}
	a := m.announcement(longestSite, id.Node, boot)
	a.Seq, a.Seen = subjects.MaxNumber, &subjects.Mark{Epoch: subjects.MaxNumber, Generation: subjects.MaxNumber}
	if err := a.Check(); err != nil {
		return err
	}
	const room = 140 + maxFault + 30 // a.Via takes up to 128 bytes and its name; and see withFaults
	if b := a.Encode(); len(b)+room > subjects.MaxAnnouncement {
		return fmt.Errorf("announcement of %d bytes, %d allowed", len(b)+room, subjects.MaxAnnouncement)
	}
	return nil
}

func (m *Member) announcement(site subjects.Site, node subjects.NodeID, boot string) *subjects.Announcement {
	return &subjects.Announcement{
		V: subjects.Version, Node: node, Role: m.Role, Boot: boot, Addresses: m.Addresses, State: m.State, Reason: m.Reason,
		Priority: m.Priority, Weight: m.Weight, Version: m.Version, Attrs: m.Attrs, Site: site,
	}
}

// A Membership is one role of this process, from Join to Leave or the end of Run.
type Membership struct {
	a      *announcer
	role   subjects.Role
	change chan struct{} // holds one token: its holder may change member

	// guarded by a.mu
	member Member
	left   bool
	err    error
	told   told
}

// Member is what is announced, the operator's drain aside. The result is the
// caller's own.
func (m *Membership) Member() Member {
	m.a.mu.Lock()
	defer m.a.mu.Unlock()
	return m.member.clone()
}

// Drained reports whether an operator drained the role.
func (m *Membership) Drained() bool { return m.DrainReason() != "" }

// DrainReason is why the role is drained, as it is announced; empty: it is not.
func (m *Membership) DrainReason() string {
	m.a.mu.Lock()
	defer m.a.mu.Unlock()
	if d, ok := m.a.drains.of(m.role); ok {
		return d.text()
	}
	return ""
}

// Err is why the network does not receive this member's announcements although
// it is connected: the broker's refusal. nil: nothing is known to be wrong. It is
// cleared by the next connection.
func (m *Membership) Err() error {
	m.a.mu.Lock()
	defer m.a.mu.Unlock()
	return m.err
}

// Update lets f change what is announced and announces it at once, if it
// differs. Changes are never merged: each is sent. The role stays. A change that
// Join would refuse is logged and not made. f must not call Update itself.
func (m *Membership) Update(f func(*Member)) {
	if err := m.Amend(f); err != nil {
		m.a.log.Error("update refused, announcing as before", cause(err), roleAttr(m.role))
	}
}

// Amend is Update for callers that want the refusal itself and not a line in the
// log.
func (m *Membership) Amend(f func(*Member)) error {
	token := <-m.change
	defer func() { m.change <- token }()
	next := m.Member()
	f(&next)
	next = next.clone() // f may keep its slices
	next.Role = m.role
	id := m.a.cfg.identity()
	next.complete(id)
	if err := next.check(id, m.a.cfg.Boot); err != nil {
		return err
	}
	m.a.mu.Lock()
	defer m.a.mu.Unlock()
	if m.left || next.Equal(&m.member) {
		return nil
	}
	m.member = next
	m.a.announce(m)
	return nil
}

// Leave announces that the member leaves and waits, at most 2 s or until ctx
// ends, until the broker has received it. An error means that it may not have:
// then the others find out by silence. Either way the membership is over, and the
// role may be joined again.
func (m *Membership) Leave(ctx context.Context) error { return m.a.leave(ctx, m) }
