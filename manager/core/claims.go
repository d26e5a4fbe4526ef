package core

import (
	"fmt"
	"time"

	"thor/subjects"
)

const maxClaims = 256 // that are remembered

// marks are the greatest that a manager knows of.
type marks struct {
	confirmed subjects.Mark // from a status or the own disk
	known     subjects.Mark // claims included
}

// confirm takes a mark that is certain: of a status, or from the own disk.
func (s *marks) confirm(k subjects.Mark) {
	if k.After(s.confirmed) {
		s.confirmed = k
	}
	s.raise(k)
}

// raise raises the greatest mark known.
func (s *marks) raise(k subjects.Mark) {
	if k.After(s.known) {
		s.known = k
	}
}

// claims are the marks that nodes say they have seen and that one of them alone
// is not enough for.
type claims map[subjects.NodeID]subjects.Mark

// acceptClaim takes what brokers and managers say they have seen: after a loss of
// everything else these are the only witnesses of past epochs. A mark far above
// what is sure needs a second witness, or one liar could use up the numbers.
// Claims do not count for what is sure: one upon the other they would lead
// anywhere. What other roles claim has no effect: their certificates are on more
// machines, and a claim can end a term.
func (m *Manager) acceptClaim(a *subjects.Announcement, now time.Time) {
	if a.Seen == nil || a.Role != subjects.EventServer && a.Role != subjects.Manager {
		return
	}
	if a.Seen.Claimable(m.marks.confirmed, true) {
		delete(m.claims, a.Node)
		m.marks.raise(*a.Seen)
		return
	}
	if a.Seen.Claimable(m.marks.confirmed, false) && m.claims.witnessed(a.Node, *a.Seen) {
		m.marks.raise(*a.Seen)
		return
	}
	m.Refuse(subjects.Presence(a.Role, a.Node), &subjects.BadMessage{
		Code: subjects.CodeAbsurd, Detail: fmt.Sprintf("has seen epoch %d generation %d, known are %d and %d",
			a.Seen.Epoch, a.Seen.Generation, m.marks.confirmed.Epoch, m.marks.confirmed.Generation),
	}, now)
}

// witnessed notes the claim k of node and reports whether another node's claim
// supports it.
func (c claims) witnessed(node subjects.NodeID, k subjects.Mark) bool {
	if _, known := c[node]; known || len(c) < maxClaims {
		c[node] = k
	}
	for o, other := range c {
		if o != node && other.Supports(k) {
			return true
		}
	}
	return false
}
