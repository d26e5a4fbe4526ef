package core

import (
	"time"

	"thor/subjects"
)

// The rhythm of what concerns certificates.
const (
	askFirst  = 500 * time.Millisecond // while claims wait for an identity message, brokers are asked so often at first…
	askLast   = 10 * time.Second       // …and so often in the end
	askMissed = 2 * time.Second        // at most so often after a loss of input: the answers are many, and may be what is lost
	askAlways = 10 * time.Minute       // and in any case
	keepFacts = 5 * time.Second        // between two writes to disk: each is of all
)

// certified is what a manager does about the certificates of members.
type certified struct {
	asked   time.Time     // when brokers were asked last; zero: they are to be asked
	missed  bool          // input was lost since
	pause   time.Duration // until they are asked again while claims wait
	kept    uint64        // revision of the facts on disk or on their way there
	written time.Time     // when that was
}

// Identity takes a broker's identity message, or one kept from before; revoked
// says that its certificate stands in a revocation list.
func (m *Manager) Identity(w *subjects.Identity, revoked bool, now time.Time) {
	m.table.Identity(w, revoked, now)
}

// RevokeCertificates says that the revocation lists changed: revoked is asked
// for each certificate known.
func (m *Manager) RevokeCertificates(revoked func(*subjects.Identity) bool, now time.Time) {
	m.table.RevokeCertificates(revoked, now)
}

// Facts are what is known of certificates; changed reports whether the disk,
// by StoreFacts and FactsStored, has something else.
func (m *Manager) Facts() (facts []*subjects.Identity, changed bool) {
	return m.table.Identities(), m.table.FactsRevision() != m.certified.kept
}

// FactsStored says that the disk has what is known of certificates.
func (m *Manager) FactsStored() { m.certified.kept = m.table.FactsRevision() }

// certify is the part of a step that concerns certificates.
func (m *Manager) certify(now time.Time) {
	c := &m.certified
	m.askIdentities(now)
	if r := m.table.FactsRevision(); r != c.kept && now.Sub(c.written) >= keepFacts {
		c.kept, c.written = r, now
		m.emit(StoreFacts{m.table.Identities()})
	}
}

// nextAsk is when brokers are to be asked for certificates.
func (m *Manager) nextAsk() time.Time {
	c := &m.certified
	if c.asked.IsZero() {
		return time.Time{}
	}
	if c.missed {
		return c.asked.Add(askMissed)
	}
	if m.table.Waiting() > 0 {
		return c.asked.Add(max(c.pause, askFirst)) // pause is 0 if a claim waits at the first step already
	}
	return c.asked.Add(askAlways)
}

// askIdentities asks brokers for all that they know of certificates: at first,
// after a reconnection, now and then, and while claims wait for it.
func (m *Manager) askIdentities(now time.Time) {
	c := &m.certified
	waits := m.table.Waiting() > 0
	if !waits {
		c.pause = askFirst
	}
	if m.offline || now.Before(m.nextAsk()) {
		return
	}
	if waits {
		c.pause = min(2*max(c.pause, askFirst), askLast)
	}
	c.asked, c.missed = now, false
	m.emit(AskIdentities{})
}
