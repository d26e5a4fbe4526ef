package overlay

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"thor/subjects"
)

// ErrNotCertified is wrapped by the errors of Join that say which role or
// address the node's certificate does not hold.
var ErrNotCertified = errors.New("not in the certificate")

// DrainReason is the reason of a member that an operator drained.
const DrainReason = "drained by an operator"

// A Member is what this process says of itself under one role.
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

// A Membership is one role of this process, from Join to Leave or the end of Run.
type Membership struct {
	n      *Node
	role   subjects.Role
	change chan struct{} // holds one token: whoever has it may change member

	// guarded by n.mu
	member Member
	left   bool
	err    error
}

// Join announces m, at once if there is a connection, and from then on
// regularly, until Leave or the end of Run. It refuses what the certificate does
// not allow, what breaks the limits of the wire, and a role joined already.
func (n *Node) Join(m Member) (*Membership, error) {
	m = m.clone()
	n.fill(&m)
	if err := n.check(&m); err != nil {
		return nil, fmt.Errorf("join as %s: %w", m.Role, err)
	}
	if b := n.Identity().Bound(m.Role); m.Weight > b.Weight || m.Priority > 0 && m.Priority < b.Priority {
		n.log.Warn().Str("role", string(m.Role)).Int("weight", m.Weight).Int("priority", m.Priority).
			Msg("managers cut weight and priority to the bound of the certificate")
	}
	ms := &Membership{n: n, role: m.Role, member: m, change: make(chan struct{}, 1)}
	ms.change <- struct{}{}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ended {
		return nil, fmt.Errorf("join as %s: this node has left the network", m.Role)
	}
	if n.members[m.Role] != nil {
		return nil, fmt.Errorf("join as %s: joined already", m.Role)
	}
	n.members[m.Role] = ms
	n.announce(ms)
	n.kick() // to subscribe to the requests of the role
	return ms, nil
}

// fill sets what an empty field stands for.
func (n *Node) fill(m *Member) {
	if len(m.Addresses) == 0 {
		all := n.Identity().Addresses
		as := slices.DeleteFunc(slices.Clone(all), netip.Addr.IsLoopback)
		if len(as) == 0 {
			as = slices.Clone(all)
		}
		m.Addresses = as[:min(len(as), subjects.MaxAddresses)]
	}
	if m.State == "" {
		m.State = subjects.Up
	}
}

func (n *Node) check(m *Member) error {
	id := n.Identity()
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
	a := n.announcement(m, "")
	a.Seq, a.Seen, a.Via = subjects.MaxNumber, &subjects.Mark{Epoch: subjects.MaxNumber, Generation: subjects.MaxNumber}, ""
	if err := a.Check(); err != nil {
		return err
	}
	const room = 140 + maxFault + 30 // a.Via takes up to 128 bytes and its name; and see withFaults
	if b := a.Encode(); len(b)+room > subjects.MaxAnnouncement {
		return fmt.Errorf("announcement of %d bytes, %d allowed", len(b)+room, subjects.MaxAnnouncement)
	}
	return nil
}

// Member is what is announced, the operator's drain aside. The result is the
// caller's own.
func (m *Membership) Member() Member {
	m.n.mu.Lock()
	defer m.n.mu.Unlock()
	return m.member.clone()
}

// Drained reports whether an operator drained the role.
func (m *Membership) Drained() bool {
	m.n.mu.Lock()
	defer m.n.mu.Unlock()
	return m.n.drained(m.role)
}

// Err is why the network does not hear this member although it is connected: the
// broker's refusal of its announcements. nil: nothing is known to be wrong. It
// is cleared by the next connection.
func (m *Membership) Err() error {
	m.n.mu.Lock()
	defer m.n.mu.Unlock()
	return m.err
}

// Update lets f change what is announced and announces it at once, if it
// differs. Changes are never merged: each is sent. The role stays. A change that
// Join would refuse is logged and not made. f must not call Update itself.
func (m *Membership) Update(f func(*Member)) {
	if err := m.Amend(f); err != nil {
		m.n.log.Error().Err(err).Str("role", string(m.role)).Msg("update refused, announcing as before")
	}
}

// Amend is Update for who wants the refusal itself and not a line in the log.
func (m *Membership) Amend(f func(*Member)) error {
	token := <-m.change
	defer func() { m.change <- token }()
	next := m.Member()
	f(&next)
	next = next.clone() // f may keep its slices
	next.Role = m.role
	m.n.fill(&next)
	if err := m.n.check(&next); err != nil {
		return err
	}
	m.n.mu.Lock()
	defer m.n.mu.Unlock()
	if m.left || next.Equal(&m.member) {
		return nil
	}
	m.member = next
	m.n.announce(m)
	return nil
}

// Leave says goodbye and waits, at most 2 s or until ctx ends, for the broker to
// have heard it. An error means that it may not have: then the others find out
// by silence. Either way the membership is over, and the role may be joined again.
func (m *Membership) Leave(ctx context.Context) error {
	n := m.n
	n.mu.Lock()
	if m.left {
		n.mu.Unlock()
		return nil
	}
	m.left = true
	delete(n.members, m.role)
	l := n.link.state()
	err := n.sayGoodbye(l, m)
	n.mu.Unlock()
	n.kick()
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, farewellTime)
		defer cancel()
		err = l.nc.FlushWithContext(ctx)
	}
	if err != nil {
		return fmt.Errorf("leave %s: %w", m.role, err)
	}
	return nil
}

func (n *Node) announcement(m *Member, via string) *subjects.Announcement {
	return &subjects.Announcement{
		V: subjects.Version, Node: n.id, Role: m.Role, Boot: n.cfg.Boot, Addresses: m.Addresses,
		State: m.State, Reason: m.Reason, Priority: m.Priority, Weight: m.Weight, Version: m.Version,
		Via: via, Attrs: m.Attrs,
	}
}

// announce says what m is now, if there is a connection. The caller holds n.mu,
// so that the order of sequence numbers is the order on the wire.
func (n *Node) announce(m *Membership) {
	l := n.link.state()
	if !l.up {
		return
	}
	a := n.announcement(&m.member, viaOf(l.nc))
	a.Attrs = n.withFaults(a.Attrs)
	if n.drained(m.role) {
		a.State, a.Reason = subjects.Draining, DrainReason
	}
	if err := n.send(l, a); err != nil {
		// The connection is going; the next one announces.
		n.log.Debug().Err(err).Str("role", string(m.role)).Msg("announce")
	}
}

// sayGoodbye announces that m leaves. The caller holds n.mu.
func (n *Node) sayGoodbye(l linkState, m *Membership) error {
	if !l.up {
		return ErrNotConnected
	}
	a := n.announcement(&m.member, viaOf(l.nc))
	a.State, a.Reason = subjects.Leave, ""
	return n.send(l, a)
}

func (n *Node) send(l linkState, a *subjects.Announcement) error {
	n.seq[a.Role]++
	a.Seq = n.seq[a.Role]
	if mark := n.View().Mark(); !mark.IsZero() {
		a.Seen = &mark
	}
	if err := l.nc.Publish(subjects.Presence(a.Role, n.id), a.Encode()); err != nil {
		return err
	}
	n.metrics.beats.Inc()
	return nil
}

// beat announces every membership, in the order of roles.
func (n *Node) beat() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range slices.Sorted(maps.Keys(n.members)) {
		n.announce(n.members[r])
	}
}

// presenceRefused notes that the broker does not let a member announce itself.
func (n *Node) presenceRefused(subject string, err error) {
	role, node, e := subjects.ParsePresence(subject)
	if e != nil || node != n.id {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if m := n.members[role]; m != nil {
		m.err = fmt.Errorf("announce %s: %w", role, err)
	}
}

// forgive clears what earlier connections refused.
func (n *Node) forgive() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, m := range n.members {
		m.err = nil
	}
}

// farewell leaves under every role and waits for the broker to have heard it,
// within farewellTime.
func (n *Node) farewell(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, farewellTime)
	defer cancel()
	l := n.link.state()
	var err error
	n.mu.Lock()
	n.ended = true
	said := len(n.members) > 0
	for _, r := range slices.Sorted(maps.Keys(n.members)) {
		n.members[r].left = true
		err = errors.Join(err, n.sayGoodbye(l, n.members[r]))
	}
	clear(n.members)
	n.mu.Unlock()
	if said && err == nil {
		err = l.nc.FlushWithContext(ctx)
	}
	if err != nil {
		n.log.Info().Err(err).Msg("left without a goodbye, the others find out by silence")
	}
}
