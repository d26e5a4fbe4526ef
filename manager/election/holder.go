package election

import (
	"errors"
	"fmt"
	"time"
)

// This file is what a machine does that leads, or wrote a bid.

// errLost is the reason of a term that ends since its lease may have expired.
var errLost = errors.New("election: lease lost")

// written takes the result of a write.
func (m *Machine) written(x Written) {
	op := m.op
	m.op = none
	if x.Outcome == Stored {
		m.own = x.Revision
		if op == rewriting {
			m.seen.revision, m.seen.held = x.Revision, true
		}
		m.seen.revision = max(m.seen.revision, x.Revision)
	}
	switch {
	case m.give:
		m.release()
	case op == bidding:
		m.bidden(x)
	case m.term == nil:
		m.again() // it ended meanwhile
	case x.Outcome == Stored:
		m.extend(op == rewriting, x.Revision)
	case op == rewriting:
		m.end(errLost.Error())
	case x.Outcome == Conflict:
		m.look(reconciling)
	default: // of unknown outcome: the local lease decides, and the next renewal tells
		m.term.renewAt = m.now.Add(retryEvery)
	}
}

// bidden takes the result of the attempt to win.
func (m *Machine) bidden(x Written) {
	switch x.Outcome {
	case Conflict:
		m.silentAt = m.now.Add(conflictWait) // it is told who was first, or this was not the newest revision
	case Unknown:
		m.do(Failed{x.Err})
		m.again()
	case Stored:
		if m.seen.revision > x.Revision && !m.mine(m.bid.epoch) {
			return // told before the acknowledgement: it was replaced already
		}
		t := m.bid
		t.ceiling = t.claim
		t.until = t.sent.Add(LocalLease)
		t.renewAt = m.now.Add(RenewEvery)
		m.term = &t
		m.attemptAt, m.askAt, m.lookAt = time.Time{}, time.Time{}, time.Time{}
		m.do(Begin{Epoch: t.epoch, First: t.first, Ceiling: t.ceiling, Until: t.until, Revision: x.Revision})
	}
}

// extend counts the lease from before the write was sent.
func (m *Machine) extend(rewritten bool, revision uint64) {
	t := m.term
	t.stood, t.doubt, t.until, t.ceiling = false, time.Time{}, t.sent.Add(LocalLease), t.claim
	a := Extend{Ceiling: t.ceiling, Until: t.until}
	if rewritten {
		a.Rewritten = revision
	}
	m.do(a)
}

// rule renews the lease when that is due, and ends a term whose lease is over.
func (m *Machine) rule() {
	t := m.term
	switch {
	case !m.now.Before(t.until):
		m.end(errLost.Error())
	case m.op == none && !m.now.Before(t.renewAt):
		m.write(renewing)
	}
}

// write sends the lease.
func (m *Machine) write(op operation) {
	t := m.term
	t.sent, t.renewAt = m.now, m.now.Add(RenewEvery)
	t.claim = max(t.ceiling, m.facts.Wanted)
	over := m.own
	if op == rewriting {
		over = m.seen.revision
	}
	m.do(Write{ID: m.begin(op), Epoch: t.epoch, Ceiling: t.claim, Via: m.facts.Via, Revision: over, Keep: t.claim > t.ceiling})
}

// reconcile decides, after a renewal met another revision than the known one and
// what is stored was read: our own renewal whose acknowledgement was lost, another
// manager's lease, or nothing, since the bucket lost its memory. Into nothing the
// lease is written again: still by compare-and-set, in the same term. Not if another manager led
// meanwhile and gave its lease back, or went with the memory of all brokers: a later epoch is known
// then, or a mark is stored that the lease was given back. After a standstill or without a connection it may
// not be known yet: what members beat is listened to before, and nothing is published meanwhile.
func (m *Machine) reconcile() {
	known := m.facts.Known.Epoch
	switch {
	case m.mine(m.term.epoch):
	case m.seen.held:
		m.end(fmt.Sprintf("the lease is %s's", m.seen.lease.Manager))
	case !m.now.Before(m.term.until):
		m.end(errLost.Error())
	case m.seen.revision > m.own:
		m.end("the lease was another's, which gave it back")
	case known > m.term.epoch:
		m.end(fmt.Sprintf("the lease is gone, and epoch %d is known", known))
	case m.now.Before(m.term.doubt.Add(listenFor)) && !m.term.doubt.IsZero():
		m.term.renewAt = m.term.doubt.Add(listenFor)
		m.do(Hold{Until: m.term.until, Sure: m.term.until.Add(-LocalLease)})
	default:
		m.write(rewriting)
	}
}

// mine reports whether what is stored is this process's lease of the term epoch.
func (m *Machine) mine(epoch uint64) bool {
	return m.seen.held && m.seen.lease.Boot == m.boot && m.seen.lease.Epoch == epoch
}

// end ends the term.
func (m *Machine) end(reason string) {
	m.do(End{Epoch: m.term.epoch, Reason: reason})
	m.term = nil
	if m.op == none {
		m.again()
	}
}

// stepDown ends the term on purpose and gives the lease back.
func (m *Machine) stepDown() {
	if m.term == nil {
		return
	}
	m.do(End{Epoch: m.term.epoch, Reason: "stepped down", Released: true})
	m.term = nil
	if m.give = m.op != none; !m.give {
		m.release()
	}
}

// release gives the lease back, so that another may follow at once.
func (m *Machine) release() {
	m.give = false
	m.do(Release{m.begin(releasing), m.own})
}

func (m *Machine) released() {
	m.op = none
	m.again() // failed or not: what was not given back expires
}
