package election

import "time"

// This file is what a machine does that does not lead.

// plan says when to try to win, unless something else is told before.
func (m *Machine) plan() {
	m.attemptAt, m.askAt = m.now, time.Time{}
	switch l := m.seen.lease; {
	case !m.seen.held && m.seen.revision == 0 && (m.seen.last != nil || m.seen.lapsed):
		// Not given back, but lost with the bucket, or written and lost while that could
		// not be read: its holder may rely on it still, and is to write it again.
		m.attemptAt = latest(m.now, m.seen.missed.Add(LocalLease)).Add(m.delay())
	case !m.seen.held:
		m.attemptAt = m.now.Add(m.delay())
	case l.Boot == m.boot && l.Manager == m.node:
		// Of a term that has ended, or never began because its acknowledgement was lost.
	case m.holderDisconnected():
		m.attemptAt = m.now.Add(TakeOver + m.delay()/4)
	default:
		m.attemptAt = latest(m.now, m.seen.changed.Add(voidAfter)).Add(m.delay())
		m.askAt = m.now.Add(askAfter)
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// attempt tries once to become the leader, if that is allowed now.
func (m *Machine) attempt() {
	if !m.facts.MayLead {
		m.attemptAt = m.now.Add(mayLeadEvery)
		return
	}
	epoch, first := m.next()
	m.attemptAt, m.askAt = time.Time{}, time.Time{}
	m.bid = tenure{epoch: epoch, first: first, sent: m.now, claim: first + reserve}
	m.do(Write{ID: m.begin(bidding), Epoch: epoch, Ceiling: m.bid.claim, Via: m.facts.Via, Revision: m.seen.revision, Keep: true})
}

// next is the epoch and the ceiling of a new term.
func (m *Machine) next() (epoch, first uint64) {
	known := m.facts.Known
	epoch, first = known.Epoch, known.Generation+2*reserve
	if l := m.seen.last; l != nil {
		epoch = max(epoch, l.Epoch)
		if l.Epoch >= known.Epoch { // its ceiling is known exactly
			first = max(known.Generation, l.Ceiling)
		} else {
			first = max(first, l.Ceiling)
		}
	}
	return epoch + 1, first
}

// holderDisconnected reports whether the connection is closed over which the holder of
// the lease wrote it. A lease that names none has been renewed since, or will be.
func (m *Machine) holderDisconnected() bool {
	l := m.seen.lease
	return m.seen.held && l.Via != "" && m.closed.has(link{l.Boot, l.Via})
}

// ask asks whether the holder's connection still exists: that it ended may have
// been told when this manager did not hear it.
func (m *Machine) ask() {
	m.askAt = m.now.Add(askEvery)
	if l := m.seen.lease; m.seen.held && l.Via != "" {
		m.do(Ask{Boot: l.Boot, Via: l.Via})
	}
}

// delay lets the preferred candidate be first.
func (m *Machine) delay() time.Duration {
	return time.Duration(m.facts.Order)*orderDelay + m.chance(orderDelay/2)
}
