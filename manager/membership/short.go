package membership

import (
	"slices"
	"time"

	"thor/subjects"
)

// A short beat stands for a full announcement by its hash. The table keeps the full
// ones that it heard and takes a short one in as the full one which it stands
// for, so that nothing else knows of the two forms. Where it holds no such
// announcement, the beat is a sign of life of the member that is listed, no more, and
// the full one has to be asked for: what it would change waits.

const (
	fullsKept = 3                      // of one (node, role): two processes may announce it, and one change may be on its way
	askAgain  = 500 * time.Millisecond // a node is asked at most so often
)

// hear takes in an announcement, full or short.
func (t *Table) hear(a *subjects.Announcement) error {
	k := key{a.Role, a.Node}
	for kept := true; kept; { // that is for managers to say
		a.Reason, _, kept = cutKept(a.Reason)
	}
	if a.Moves {
		t.noteMove(a)
	}
	if a.Short() {
		full := t.full(k, a)
		if full == nil {
			t.ask(a.Node)
			return t.life(k, a)
		}
		return t.announce(a.Restore(full))
	}
	if a.Hash == "" || a.Plain() || a.State == subjects.Leave {
		return t.announce(a)
	}
	kept := *a // announce cuts claims in a
	err := t.announce(a)
	t.keepFull(k, &kept)
	return err
}

// full is the announcement for which a stands, or nil.
func (t *Table) full(k key, a *subjects.Announcement) *subjects.Announcement {
	for _, f := range t.fulls[k] {
		if f.Boot == a.Boot && f.Hash == a.Hash {
			return f
		}
	}
	return nil
}

// keepFull keeps a for the short beats to come, if k is a member or wants to be.
func (t *Table) keepFull(k key, a *subjects.Announcement) {
	if t.members[k] == nil && t.pending[k] == nil || t.full(k, a) != nil {
		return
	}
	fs := t.fulls[k]
	if len(fs) >= fullsKept {
		fs = fs[:fullsKept-1]
	}
	t.fulls[k] = slices.Insert(fs, 0, a)
	if len(t.fulls) <= len(t.members)+len(t.pending)+fullsKept {
		return
	}
	for o := range t.fulls {
		if t.members[o] == nil && t.pending[o] == nil {
			delete(t.fulls, o)
		}
	}
}

// life takes a short beat whose full announcement is not known as a sign of life of
// the process that is listed, and as no news.
func (t *Table) life(k key, a *subjects.Announcement) error {
	m := t.members[k]
	if m == nil || !m.listed || m.cause != alive || t.refuses(k, a.Boot) || m.node.throughClosed(a.Via, t.now) {
		return nil
	}
	switch in := &m.instance; {
	case in.boot == a.Boot && a.Seq <= in.seq:
		return refuse(subjects.CodeReplay, "%s as %s: seq %d after %d", a.Node, a.Role, a.Seq, in.seq)
	case in.boot == a.Boot:
		in.seq = a.Seq
	case !m.adopted || in.boot != "":
		return nil
	}
	if t.lives(m, a.Via) {
		t.arm(m)
	}
	return nil
}

// ask notes that the full announcements of a node are wanted.
func (t *Table) ask(id subjects.NodeID) {
	if at, ok := t.asked[id]; ok && t.now-at < askAgain || len(t.asks) >= t.cfg.MaxMembers {
		return
	}
	if len(t.asked) > len(t.nodes)+t.cfg.MaxMembers {
		for o, at := range t.asked {
			if t.now-at >= askAgain {
				delete(t.asked, o)
			}
		}
	}
	t.asked[id] = t.now
	t.asks = append(t.asks, id)
}

// Asks are nodes, at most so many, whose full announcements are wanted. They are not
// given again unless their next beats do not say enough either.
func (t *Table) Asks(most int) []subjects.NodeID {
	n := min(most, len(t.asks))
	out := slices.Clone(t.asks[:n])
	t.asks = slices.Delete(t.asks, 0, n)
	return out
}

// Wanted is how many nodes Asks has.
func (t *Table) Wanted() int { return len(t.asks) }
