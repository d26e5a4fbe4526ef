package sim

import (
	"fmt"
	"slices"
	"time"

	"thor/manager/election"
	"thor/subjects"
)

const (
	// A member that could reach a broker of the main part for so long must not be
	// removed: T_dead, and the time in which a route comes back.
	reachFor = 12 * time.Second
	// An answer may be so old: what a standby may confirm, and its way.
	answerAge  = subjects.MaxAge + 1500*time.Millisecond
	lifeMemory = 6 * time.Minute // who comes and goes may be held down
)

// truth is what the world knows and no process does, and what it finds broken.
type truth struct {
	w      *world
	broken []string

	epochs    map[uint64]string         // the boot that leads each
	digests   map[subjects.Mark]string  // of each status
	owners    map[subjects.Mark]string  // the boot that published it
	removed   map[subjects.Mark]string  // removals that must have no effect
	fell      map[listing]time.Duration // when those were removed that are not listed
	removals  []removal
	suspects  []removal                               // that were listed as such instead
	newest    []sighting                              // marks as observers confirmed them, rising
	touched   map[subjects.NodeID]time.Duration       // when its processes last came or went on purpose
	goods     [brokerCount]time.Duration              // since when a broker is in the main part; -1: it is not
	routes    [brokerCount][brokerCount]time.Duration // since when messages pass between two brokers; -1: they do not
	lastEpoch uint64
	granted   map[string]time.Duration // when the newest lease of each boot was sent that was stored
}

// A listing is a node in a role.
type listing struct {
	node subjects.NodeID
	role subjects.Role
}

// A sighting is when a mark was first confirmed by any observer.
type sighting struct {
	mark subjects.Mark
	at   time.Duration
}

func (t *truth) broke(format string, args ...any) {
	text := fmt.Sprintf("%.3f s: %s", t.w.now.Seconds(), fmt.Sprintf(format, args...))
	t.w.log("BROKEN: %s", text)
	t.broken = append(t.broken, text)
}

// touch notes that processes of node came or went on purpose.
func (t *truth) touch(node subjects.NodeID) {
	if t.touched == nil {
		t.touched = map[subjects.NodeID]time.Duration{}
	}
	t.touched[node] = t.w.now
}

// began notes a term.
func (t *truth) began(m *manager, b election.Begin) {
	t.lastEpoch = max(t.lastEpoch, b.Epoch)
}

// ticked looks at who speaks.
func (t *truth) ticked(m *manager, k *subjects.Tick) {
	t.leased(m)
	if k.Epoch < t.lastEpoch && m.p.link != nil {
		t.w.stats.count("election", "spoke in a replaced epoch")
	}
}

// published looks at a difference that m sends. What it returns is for when a broker
// has it: an epoch has one publisher for ever, and a mark one status (I1). A term that
// ended before any broker heard of it has no effect.
func (t *truth) published(m *manager, d *subjects.Delta) (heard func()) {
	if t.fell == nil {
		t.fell = map[listing]time.Duration{}
	}
	mark, boot := d.Mark(), m.p.boot
	t.leased(m)
	if l := m.p.link; l == nil || !l.brokerUp { // none hears it
		return func() {}
	}
	t.keptDeparted(m, d)
	var wrong []string
	for _, c := range d.Changes {
		t.w.log("%s tells %v: %s %s %s", m.p.node, mark, c.Role, c.Node, shown(c.Member))
		delete(t.fell, listing{c.Node, c.Role})
		r := removal{t.w.now, mark, m.p.node, listing{c.Node, c.Role}}
		switch {
		case c.Member == nil:
			t.fell[r.listing] = t.w.now
			t.removals = append(t.removals, r)
			t.w.stats.count("change", "removed")
			if why := t.wrong(m, c.Role, c.Node); why != "" {
				wrong = append(wrong, why)
			}
		case c.Member.State == subjects.Suspect:
			t.suspects = append(t.suspects, r)
		}
	}
	if len(d.Changes) == 0 {
		t.w.log("%s tells %v", m.p.node, mark)
	}
	return func() { t.heard(boot, mark, wrong) }
}

// heard notes that a broker has what boot published, with removals that are wrong.
func (t *truth) heard(boot string, mark subjects.Mark, wrong []string) {
	if t.owners == nil {
		t.epochs, t.owners, t.removed = map[uint64]string{}, map[subjects.Mark]string{}, map[subjects.Mark]string{}
	}
	if have := t.epochs[mark.Epoch]; have != "" && have != boot {
		t.broke("I1: epoch %d is %s's and %s's", mark.Epoch, have, boot)
	}
	t.epochs[mark.Epoch] = boot
	if have := t.owners[mark]; have != "" {
		t.broke("I1: %v is told by %s and by %s", mark, have, boot)
	}
	t.owners[mark] = boot
	for _, why := range wrong {
		t.removed[mark] = why
	}
}

func shown(m *subjects.Member) string {
	if m == nil {
		return "is out"
	}
	return fmt.Sprintf("%s %s", m.State, m.Reason)
}

// wrong says why a removal must have no effect: the member is up and could reach
// the main part all the time (I4). Not counted is who heard ticks of a leader that had
// been replaced and whose lease is not over, in a part of its own: nothing told it to
// look for another broker.
func (t *truth) wrong(m *manager, role subjects.Role, node subjects.NodeID) string {
	now := t.w.now
	if role == subjects.EventServer {
		if since := t.hearable(m, node); since >= 0 && now-since >= reachFor {
			return fmt.Sprintf("I4: broker %s removed, though it ran and had routes for %v", node, (now - since).Round(time.Millisecond))
		}
		return ""
	}
	var alive []*proc
	for _, p := range t.w.procs {
		if p.node == node && p.alive && slices.Contains(p.app.roles(), role) {
			alive = append(alive, p)
		}
	}
	if len(alive) != 1 || now-t.touched[node] < reachFor {
		return ""
	}
	p := alive[0]
	if p.misled > 0 && now-p.misled < reachFor {
		t.w.stats.count("change", "removed who heard a replaced leader")
		return ""
	}
	if m, is := p.app.(*member); is {
		if m.left || m.state == subjects.Down {
			return ""
		}
		recent := 0
		for _, s := range m.starts {
			if now-s < lifeMemory {
				recent++
			}
		}
		if recent > 1 {
			return ""
		}
	}
	if since := p.reachable(m); since >= 0 && now-since >= reachFor {
		return fmt.Sprintf("I4: %s of %s removed, though it could reach a broker for %v", role, p.boot, (now - since).Round(time.Millisecond))
	}
	return ""
}

// observed looks at a status that an observer shows.
func (t *truth) observed(o *observer, s *subjects.Status, digest string) {
	mark := s.Mark()
	if o.shown.After(mark) {
		t.broke("I2: %s goes back from %v to %v", o.p.boot, o.shown, mark)
	}
	if t.digests == nil {
		t.digests = map[subjects.Mark]string{}
	}
	if have := t.digests[mark]; have != "" && have != digest {
		t.broke("I7: %v has two statuses", mark)
	}
	t.digests[mark] = digest
	for k, why := range t.removed {
		if k.Epoch == mark.Epoch && !k.After(mark) {
			t.broke("%s (%v, seen by %s)", why, k, o.p.boot)
			delete(t.removed, k)
		}
	}
	t.neverEmpty(o, s)
	o.shown, o.fresh = mark, false
	if n := len(t.newest); n == 0 || mark.After(t.newest[n-1].mark) {
		t.newest = append(t.newest, sighting{mark, t.w.now})
	}
}

// answered looks at each answer to a request: it tells nothing that was over
// longer ago than an answer may be old.
func (t *truth) answered(p *proc, a *answer) {
	limit := t.w.now - answerAge
	for i := len(t.newest) - 1; i >= 0; i-- {
		if t.newest[i].at > limit {
			continue
		}
		if t.newest[i].mark.After(a.held.Status.Mark()) {
			t.broke("I2: %s is told %v by %s, an observer had %v at %.3f s", p.boot, a.held.Status.Mark(), a.by.p.boot, t.newest[i].mark, t.newest[i].at.Seconds())
		}
		return
	}
}

// neverEmpty looks whether a role has lost its last member by other than its own
// wish (I6).
func (t *truth) neverEmpty(o *observer, s *subjects.Status) {
	if o.looked == nil {
		return
	}
	for role, before := range o.looked.Roles {
		if len(before) == 0 || len(s.Roles[role]) > 0 || !slices.Contains(services, role) {
			continue
		}
		for _, x := range before {
			if _, touched := t.touched[x.Node]; (!touched || !t.wished(x.Node)) && !t.leftBehind(role, before, x.Node) {
				t.broke("I6: %s is empty at %s, %s did not leave", role, o.p.boot, x.Node)
			}
		}
	}
}

// leftBehind reports whether node failed, or was removed, while another of the role was up, which left
// on purpose since: an observer may hear of the two at once, and managers may have been away.
func (t *truth) leftBehind(role subjects.Role, members []subjects.Member, node subjects.NodeID) bool {
	ended, fell := t.fell[listing{node, role}]
	alive := false
	died := time.Duration(0)
	for _, p := range t.w.procs {
		if p.node == node {
			alive, died = alive || p.alive, max(died, p.died)
		}
	}
	switch {
	case !alive:
		ended, fell = died, true
	case t.down(node):
		ended, fell = t.touched[node], true
	}
	return fell && slices.ContainsFunc(members, func(y subjects.Member) bool {
		return y.Node != node && t.wished(y.Node) && t.touched[y.Node] > ended
	})
}

// down reports whether a process of node says that its check fails.
func (t *truth) down(node subjects.NodeID) bool {
	return slices.ContainsFunc(t.w.procs, func(p *proc) bool {
		m, is := p.app.(*member)
		return is && p.node == node && p.alive && m.state == subjects.Down
	})
}

// wished reports whether a process of node left on purpose, or had another beside it.
func (t *truth) wished(node subjects.NodeID) bool {
	n := 0
	for _, p := range t.w.procs {
		if m, is := p.app.(*member); is && p.node == node {
			if n++; m.wish {
				return true
			}
		}
	}
	return n > 1
}

// event counts what managers tell of guards and of members.
func (t *truth) event(m *manager, e *subjects.Event) {
	switch e.Kind {
	case subjects.EventGuard, subjects.EventGuardEnd:
		t.w.stats.count("guard", string(e.Kind)+" "+guardOf(e.Detail))
	default:
		t.w.stats.count("event", string(e.Kind))
	}
	t.w.log("%s: event %s %s %s %s", m.p.node, e.Kind, e.Role, e.Node, e.Detail)
}

// reachable is since when p could reach one and the same broker all the time through which
// m could hear it; -1: it cannot. Messages pass one route at most: what reaches
// a broker of the main part only that has no route to the one of m is heard by others alone.
func (p *proc) reachable(m *manager) time.Duration {
	at := time.Duration(-1)
	if !p.alive || p.frozen {
		return at
	}
	for i, b := range p.w.brokers {
		if p.reaches(b) {
			at = earlier(at, latest(p.w.truth.hears(m, i), p.pathSince[i], p.soundSince))
		}
	}
	return at
}

// hears is since when m could hear what is said at broker i, if m is in the main part; if it
// is not, since when that broker is: m has to know that it hears nothing of it.
func (t *truth) hears(m *manager, i int) time.Duration {
	here := m.p.link.b.index
	if i == here || t.goods[here] < 0 {
		return t.goods[i]
	}
	return latest(t.goods[i], t.routes[i][here])
}

// hearable is since when m could hear broker node, or another one could that m could hear.
func (t *truth) hearable(m *manager, node subjects.NodeID) time.Duration {
	at := time.Duration(-1)
	for i, b := range t.w.brokers {
		if b.name != string(node) {
			continue
		}
		at = t.hears(m, i)
		for j := range t.w.brokers {
			if j != i {
				at = earlier(at, latest(t.routes[i][j], t.hears(m, j)))
			}
		}
	}
	return at
}

// latest is since when all of what began at these times holds, earlier since when one of two
// does; -1: it does not.
func latest(at ...time.Duration) time.Duration {
	if slices.Min(at) < 0 {
		return -1
	}
	return slices.Max(at)
}

func earlier(a, b time.Duration) time.Duration {
	if a < 0 || b >= 0 && b < a {
		return b
	}
	return a
}

// since is when something began to hold, -1: it does not.
func since(at time.Duration, holds bool, now time.Duration) time.Duration {
	switch {
	case !holds:
		return -1
	case at < 0:
		return now
	}
	return at
}

// survey finds out which brokers are in the main part: one of at least two that
// reach each other.
func (t *truth) survey() {
	w := t.w
	for i, b := range w.brokers {
		peers := 0
		for j, r := range w.routes[i] {
			if i == j {
				continue
			}
			if r.sound() {
				peers++
			}
			t.routes[i][j] = since(t.routes[i][j], r.sound(), w.now)
		}
		t.goods[i] = since(t.goods[i], b.alive && !b.frozen && peers > 0, w.now)
	}
	for _, p := range w.procs {
		p.soundSince = since(p.soundSince, p.alive && !p.frozen, w.now)
		for i, b := range w.brokers {
			p.pathSince[i] = since(p.pathSince[i], p.reaches(b), w.now)
		}
	}
}
