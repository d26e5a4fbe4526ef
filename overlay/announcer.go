package overlay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"thor/subjects"
)

// An announcer announces the roles that this process has joined. Announcements
// are sent by the goroutine that causes them, under mu, so that the order of
// sequence numbers is the order on the wire.
type announcer struct {
	cfg     *Config
	id      subjects.NodeID
	log     *slog.Logger
	metrics *metrics
	conn    *connection
	store   store
	mark    func() subjects.Mark // of the status held
	faults  func() []string      // of the lookup tables
	changed func()               // the roles are others

	storeMu sync.Mutex // before mu; the disk has what was asked for last

	mu      sync.Mutex
	ended   bool
	members map[subjects.Role]*Membership
	seq     map[subjects.Role]uint64
	drains  drainSet
	expiry  *time.Timer // of the drain that ends next; nil: none does
}

func (a *announcer) join(m Member) (*Membership, error) {
	m = m.clone()
	id := a.cfg.identity()
	m.complete(id)
	if err := m.check(id, a.cfg.Boot); err != nil {
		return nil, fmt.Errorf("join as %s: %w", m.Role, err)
	}
	if b := id.Bound(m.Role); m.Weight > b.Weight || m.Priority > 0 && m.Priority < b.Priority {
		a.log.Warn("managers cut weight and priority to the bound of the certificate",
			roleAttr(m.Role), slog.Int("weight", m.Weight), slog.Int("priority", m.Priority))
	}
	ms := &Membership{a: a, role: m.Role, member: m, change: make(chan struct{}, 1)}
	ms.change <- struct{}{}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return nil, fmt.Errorf("join as %s: this node has left the network", m.Role)
	}
	if a.members[m.Role] != nil {
		return nil, fmt.Errorf("join as %s: joined already", m.Role)
	}
	a.members[m.Role] = ms
	a.announce(ms)
	a.changed() // to subscribe to the requests of the role
	return ms, nil
}

// leave ends one membership, see Membership.Leave.
func (a *announcer) leave(ctx context.Context, m *Membership) error {
	a.mu.Lock()
	if m.left {
		a.mu.Unlock()
		return nil
	}
	m.left = true
	delete(a.members, m.role)
	l := a.conn.state()
	err := a.sendLeave(l, m)
	a.mu.Unlock()
	a.changed()
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, leaveTime)
		defer cancel()
		err = l.nc.FlushWithContext(ctx)
	}
	if err != nil {
		return fmt.Errorf("leave %s: %w", m.role, err)
	}
	return nil
}

// leaveAll leaves under every role, for good, and waits until the broker has
// received it, within leaveTime.
func (a *announcer) leaveAll(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	l := a.conn.state()
	var err error
	a.mu.Lock()
	a.ended = true
	if a.expiry != nil {
		a.expiry.Stop()
	}
	any := len(a.members) > 0
	for _, r := range a.joined() {
		a.members[r].left = true
		err = errors.Join(err, a.sendLeave(l, a.members[r]))
	}
	clear(a.members)
	a.mu.Unlock()
	if any && err == nil {
		err = l.nc.FlushWithContext(ctx)
	}
	if err != nil {
		a.log.Info("leave not sent; peers will time out", cause(err))
	}
}

// joined are the roles that are joined, sorted. The caller holds a.mu.
func (a *announcer) joined() []subjects.Role { return slices.Sorted(maps.Keys(a.members)) }

// announce announces what m is now, if there is a connection. The caller holds
// a.mu.
func (a *announcer) announce(m *Membership) {
	l := a.conn.state()
	if !l.up {
		return
	}
	if err := a.send(l, m.shorten(a.full(m), l, time.Now())); err != nil {
		a.log.Debug("announce", cause(err), roleAttr(m.role)) // the connection is going; the next one announces
	}
}

// full is what m announces now. The caller holds a.mu.
func (a *announcer) full(m *Membership) *subjects.Announcement {
	x := m.member.announcement(a.cfg.site(), a.id, a.cfg.Boot)
	x.Attrs = withFaults(x.Attrs, a.faults())
	if d, ok := a.drains.of(m.role); ok {
		x.State, x.Reason = subjects.Draining, d.text()
	}
	return x
}

// announceMove tells managers that this process leaves its connection for another one.
func (a *announcer) announceMove() {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.conn.state()
	if !l.up {
		return
	}
	for _, r := range a.joined() {
		x := a.full(a.members[r])
		x.Moves = true
		if err := a.send(l, x); err != nil {
			a.log.Debug("announce a move", cause(err), roleAttr(r))
		}
	}
}

// sendLeave announces that m leaves. The caller holds a.mu.
func (a *announcer) sendLeave(l link, m *Membership) error {
	if !l.up {
		return ErrNotConnected
	}
	x := m.member.announcement(a.cfg.site(), a.id, a.cfg.Boot)
	x.State, x.Reason = subjects.Leave, ""
	return a.send(l, x)
}

// send numbers x and publishes it. The caller holds a.mu.
func (a *announcer) send(l link, x *subjects.Announcement) error {
	a.seq[x.Role]++
	x.Seq, x.Via = a.seq[x.Role], viaOf(l.nc)
	if mark := a.mark(); !mark.IsZero() && !x.Short() {
		x.Seen = &mark
	}
	if err := l.nc.Publish(subjects.Presence(x.Role, a.id), x.Encode()); err != nil {
		return err
	}
	a.metrics.beats.Inc()
	return nil
}

// announceAll announces every membership, in the order of roles.
func (a *announcer) announceAll() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.joined() {
		a.announce(a.members[r])
	}
}

// refused notes that the broker does not let a member announce itself.
func (a *announcer) refused(subject string, err error) {
	role, node, e := subjects.ParsePresence(subject)
	if e != nil || node != a.id {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if m := a.members[role]; m != nil {
		m.err = fmt.Errorf("announce %s: %w", role, err)
	}
}

// clearErrors forgets what earlier connections refused.
func (a *announcer) clearErrors() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, m := range a.members {
		m.err = nil
	}
}

// openStore opens the state directory and reads what an operator drained in an
// earlier run. A drain of this moment waits, since it writes there.
func (a *announcer) openStore() error {
	a.storeMu.Lock()
	defer a.storeMu.Unlock()
	if err := a.store.open(); err != nil {
		return err
	}
	drains, err := a.store.loadDrains()
	if err != nil {
		a.log.Error("drain state lost", cause(err))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for r, x := range drains {
		if !a.drains.has(r) { // asked for since the start
			a.drains[r] = x
		}
	}
	a.expireLater(time.Now())
	return nil
}

// expireLater ends what has to end, and waits for what ends next. The caller holds
// a.mu.
func (a *announcer) expireLater(now time.Time) {
	if a.expiry != nil {
		a.expiry.Stop()
		a.expiry = nil
	}
	if next := a.drains.expire(now); !next.IsZero() && !a.ended {
		a.expiry = time.AfterFunc(next.Sub(now), func() {
			if err := a.change("the drain ended", func([]subjects.Role) {}); err != nil {
				a.log.Error("the end of a drain is not saved; a restart will find it again", cause(err))
			}
		})
	}
}

// drain drains role, or changes why and how long it is.
func (a *announcer) drain(role subjects.Role, d Drain) error {
	if err := checkDrained(role); err != nil {
		return err
	}
	return a.change("drain changed by an operator", func([]subjects.Role) { a.drains.add(role, d) })
}

// resume ends the drain of role.
func (a *announcer) resume(role subjects.Role) error {
	if err := checkDrained(role); err != nil {
		return err
	}
	return a.change("drain changed by an operator", func(joined []subjects.Role) { a.drains.remove(role, joined) })
}

func checkDrained(role subjects.Role) error {
	if role == subjects.Agent {
		return nil
	}
	if _, err := subjects.ParseRole(string(role)); err != nil {
		return fmt.Errorf("drain or resume: %w", err)
	}
	return nil
}

// change changes what is drained, announces it and then writes it to disk: the
// network waits for the one, and only the next start for the other.
func (a *announcer) change(why string, by func(joined []subjects.Role)) error {
	a.storeMu.Lock()
	defer a.storeMu.Unlock()
	a.mu.Lock()
	joined := a.joined()
	before := maps.Clone(a.drains)
	by(joined)
	a.expireLater(time.Now())
	for _, r := range joined {
		was, drained := before.of(r)
		is, drains := a.drains.of(r)
		if drained != drains || drains && was.text() != is.text() {
			a.announce(a.members[r])
			a.log.Info(why, roleAttr(r), slog.Bool("drained", drains))
		}
	}
	keep := maps.Clone(a.drains)
	a.mu.Unlock()
	return a.store.saveDrains(keep)
}

// drainReply says what is drained now.
func (a *announcer) drainReply() *DrainReply {
	r := &DrainReply{V: subjects.Version, Boot: a.cfg.Boot, Roles: []subjects.Role{}, Drained: []subjects.Role{}}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, role := range a.joined() {
		r.Roles = append(r.Roles, role)
		if d, ok := a.drains.of(role); ok {
			r.Drained = append(r.Drained, role)
			if !d.plain() {
				if r.Drains == nil {
					r.Drains = make(map[subjects.Role]Drain)
				}
				r.Drains[role] = d
			}
		}
	}
	return r
}

// roles are the roles that are joined.
func (a *announcer) roles() []subjects.Role {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.joined()
}
