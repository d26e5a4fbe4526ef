package membership

import (
	"fmt"
	"slices"
	"time"

	"thor/subjects"
)

// An instance is one process's claim to a (node, role).
type instance struct {
	boot    string  // empty: the process names none
	seq     uint64  // newest accepted; 0: it numbers none
	born    instant // when it was first heard
	retired []retiredBoot
	rival   *subjects.Announcement // the newest of a retired boot that still announces
}

// A retiredBoot was replaced by a newer one. It counts again only when that one is
// dead or has left, see contender.
type retiredBoot struct {
	boot        string
	seq         uint64
	beats       int     // since it was replaced
	first, last instant // of these
}

// stands reports whether the process lives: what it announced since it was
// replaced cannot all have been on its way then.
func (d *retiredBoot) stands(now instant, missed time.Duration) bool {
	return d.boot != "" && d.beats >= 2 && d.last-d.first >= duplicateAge && now-d.last <= missed
}

// next is the instance after a message of its own. Without boot there is
// nothing that a seq could count.
func (in instance) next(a *subjects.Announcement) instance {
	in.boot, in.seq = a.Boot, a.Seq
	if in.boot == "" {
		in.seq = 0
	}
	return in
}

// accept decides whether a comes from m's process of today, or from a newer
// one, which then is m's. Otherwise ok is false and err says why; a leave by a
// process that never beat, beside one that does, changes nothing and is no error.
func (t *Table) accept(m *member, a *subjects.Announcement) (ok bool, err error) {
	in := &m.instance
	switch {
	case m.adopted && in.boot == "":
		*in = in.next(a)
		return true, nil
	case a.Boot == in.boot:
		if in.seq > 0 && a.Seq <= in.seq {
			return false, refuse(subjects.CodeReplay, "%s as %s: seq %d after %d", a.Node, a.Role, a.Seq, in.seq)
		}
		*in = in.next(a)
		return true, nil
	case a.Boot == "" && m.cause == alive && !m.adopted:
		t.duplicate(m, a)
		return false, refuse(subjects.CodeReplay, "%s as %s: no boot, but boot %s beats", a.Node, a.Role, in.boot)
	case a.Boot != "" && in.findRetired(a.Boot) != nil:
		t.duplicate(m, a)
		if d := t.contender(m); d != nil && d.boot == a.Boot && m.cause != revoked && (m.cause != alive || t.now-m.last > t.dead()) {
			t.succeed(m, d)
			return true, nil
		}
		return false, refuse(subjects.CodeReplay, "%s as %s: boot %s was replaced", a.Node, a.Role, a.Boot)
	case a.State == subjects.Leave && !m.adopted && m.cause == alive && t.now-m.last <= t.missed():
		return false, nil
	}
	if m.cause == alive && !m.closed.on { // nothing told of its end: a may come late, from a process before it
		m.met = t.now
	}
	in.retire()
	*in = in.next(a)
	in.born = t.now
	m.closed = closed{}
	return true, nil
}

// retire makes the present boot a retired one.
func (in *instance) retire() {
	if len(in.retired) >= maxRetiredBoots {
		in.retired = slices.Delete(in.retired, 0, 1)
	}
	in.retired = append(in.retired, retiredBoot{boot: in.boot, seq: in.seq})
}

// findRetired finds boot among the dead ones, or returns nil.
func (in *instance) findRetired(boot string) *retiredBoot {
	for i := range in.retired {
		if in.retired[i].boot == boot {
			return &in.retired[i]
		}
	}
	return nil
}

// duplicate notes a message from a process that m's boot has replaced. One or
// two may have been on their way; when they go on, two processes run.
func (t *Table) duplicate(m *member, a *subjects.Announcement) {
	in := &m.instance
	if a.State == subjects.Leave { // it is going
		in.withdraw(a.Boot)
		return
	}
	d := in.findRetired(a.Boot)
	if d == nil { // it never was the one that counts
		in.retired = append([]retiredBoot{{boot: a.Boot}}, in.retired...)
		d = &in.retired[0]
	}
	if a.Seq > 0 && a.Seq <= d.seq {
		return
	}
	d.seq, d.last = a.Seq, t.now
	if d.beats++; d.beats == 1 {
		d.first = t.now
	}
	in.rival = a
	if t.now-d.first < duplicateAge || t.now-m.reportedAt < duplicateGap {
		return
	}
	m.reportedAt = t.now
	if len(t.duplicates) < maxDuplicates {
		t.duplicates = append(t.duplicates, Duplicate{Node: m.key.node, Role: m.key.role, Boots: []string{in.boot, a.Boot}})
	}
	t.event(subjects.EventDuplicate, m.key.role, m.key.node,
		fmt.Sprintf("%s counts, %s still announces", bootName(in.boot), bootName(a.Boot)))
}

// withdraw notes that the retired boot ended: it stands no more.
func (in *instance) withdraw(boot string) {
	if d := in.findRetired(boot); d != nil {
		d.beats = 0
	}
	if in.rival != nil && in.rival.Boot == boot {
		in.rival = nil
	}
}

// beside reports whether another process announced the same and was not heard to end: it may live
// where this table does not hear it.
func (in *instance) beside() bool { return in.rival != nil }

// contested reports whether another process announces the same as m's now.
func (t *Table) contested(m *member) bool {
	in := &m.instance
	if in.rival == nil || t.refuses(m.key, in.rival.Boot) {
		return false
	}
	d := in.findRetired(in.rival.Boot)
	return d != nil && d.beats >= 2 && d.last-d.first >= duplicateAge && t.now-d.last <= duplicateShown
}

// contender is the retired boot of m that lives and would count if the present one
// ended, or nil. Two boots never alternate: while the present one beats, it counts.
func (t *Table) contender(m *member) *retiredBoot {
	in := &m.instance
	if in.rival == nil || t.refuses(m.key, in.rival.Boot) {
		return nil
	}
	if d := in.findRetired(in.rival.Boot); d != nil && d.stands(t.now, t.missed()) {
		return d
	}
	return nil
}

// succeed makes m the process of d, which m's boot had replaced, and returns what
// that announced last.
func (t *Table) succeed(m *member, d *retiredBoot) *subjects.Announcement {
	in, a, last := &m.instance, m.instance.rival, d.last
	boot := d.boot
	in.retired = slices.DeleteFunc(in.retired, func(r retiredBoot) bool { return r.boot == boot })
	in.retire()
	*in = in.next(a)
	in.rival = nil
	in.born = longAgo
	m.last, m.via = last, a.Via
	m.closed = closed{}
	t.detach(m)
	t.join(m, subjects.ViaBroker(a.Via))
	return a
}

// replaceDead keeps m in the status when its process ended, or left, while a
// process that it had replaced lives: that one counts again. It reports whether
// there is one.
func (t *Table) replaceDead(m *member) bool {
	d := t.contender(m)
	if d == nil {
		return false
	}
	t.takeIn(m, t.succeed(m, d))
	return true
}

func bootName(boot string) string {
	if boot == "" {
		return "a process without boot"
	}
	return "boot " + boot
}

func refuse(c subjects.Code, format string, args ...any) error {
	return &subjects.BadMessage{Code: c, Detail: subjects.Printable(fmt.Sprintf(format, args...), 200)}
}

// Revoked takes node out of the roles in which it stood on the certificate with
// that serial number, at once and even as the last of a role, and refuses boot
// there; an empty boot stands for all boots of the node that are known. What a
// live certificate of the node covers is not touched: the boot is what the revoked
// connection called itself, and may be that of a process with another certificate.
// If it was not, the end of its connection is told as of any other. The node is
// not listed as departed.
func (t *Table) Revoked(id subjects.NodeID, boot, serial string, now time.Time) {
	t.enter(now)
	if boot != "" {
		t.revoked.add(bootOf{id, boot})
	}
	t.event(subjects.EventRevoked, "", id, "the certificate was revoked")
	for _, f := range t.facts[id] {
		if f.Serial == serial && !f.revoked { // the list itself may come later
			f.revoked = true
			t.withRevoked[id] = true
			t.sweepDue = true
		}
	}
	n, bare := t.nodes[id], t.certificates(id) == 0
	if n != nil {
		for _, m := range n.members {
			if t.covered(m) {
				continue
			}
			if boot == "" && m.instance.boot != "" {
				t.revoked.add(bootOf{id, m.instance.boot})
			}
			t.removeRevoked(m)
		}
		if bare {
			n.bareAfter = t.now + revokedHold
		}
	}
	if bare {
		t.expire(id) // its address is no longer published
	}
	t.flush()
}

// covered reports whether m could be what it is by live certificates alone.
func (t *Table) covered(m *member) bool {
	where, _, known := t.allowed(m.key)
	return known && inside(m.announced.addresses, where, nil)
}

type bootOf struct {
	node subjects.NodeID
	boot string
}

// revocations is a bounded set, oldest out first.
type revocations struct {
	set   map[bootOf]struct{}
	order []bootOf
}

// refuses reports whether the boot of an announcement as k is revoked. It is not
// in a role that a live certificate names.
func (t *Table) refuses(k key, boot string) bool {
	if _, ok := t.revoked.set[bootOf{k.node, boot}]; !ok {
		return false
	}
	_, _, certified := t.allowed(k)
	return !certified
}

func (r *revocations) add(b bootOf) {
	if _, ok := r.set[b]; ok {
		return
	}
	if r.set == nil {
		r.set = make(map[bootOf]struct{})
	}
	if len(r.order) >= maxRevoked {
		delete(r.set, r.order[0])
		r.order = slices.Delete(r.order, 0, 1)
	}
	r.set[b] = struct{}{}
	r.order = append(r.order, b)
}
