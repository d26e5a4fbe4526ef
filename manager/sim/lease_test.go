package sim

import (
	"time"

	"thor/manager/election"
	"thor/subjects"
)

// stored notes that a lease of this boot was stored, whose write was sent at that time.
func (t *truth) stored(boot string, sent time.Duration) {
	if t.granted == nil {
		t.granted = map[string]time.Duration{}
	}
	t.granted[boot] = max(t.granted[boot], sent)
}

// leased looks whether m may publish: within the local lease, counted from when the
// newest write that was stored was sent. What is left of the lease in the bucket is for
// clocks that do not run alike (I3).
func (t *truth) leased(m *manager) {
	if late := t.w.now - t.granted[m.p.boot] - election.LocalLease; late > 0 {
		t.broke("I3: %s publishes %v after its lease", m.p.boot, late)
	}
}

// keptDeparted looks whether hosts that departed stay in the status: no run is as long
// as their time in it, whatever the clock of the manager shows that tells them (G8).
func (t *truth) keptDeparted(m *manager, d *subjects.Delta) {
	s := m.core.Holding().Status
	if s.Mark() != d.Mark() {
		return
	}
	for _, n := range d.Forgotten {
		if !listsNode(s, n) {
			t.broke("G8: %s forgets %s, which departed less than ten minutes ago", m.p.boot, n)
		}
	}
}

func listsNode(s *subjects.Status, node subjects.NodeID) bool {
	for role := range s.Roles {
		if s.Member(role, node) != nil {
			return true
		}
	}
	return false
}
