package membership

import "time"

// allowChange reports whether m may change the status now: changeBurst times, then
// once in changeEvery. Each change is a message to all, so no member
// may make them as fast as it can talk. What it says meanwhile is not lost: the
// newest counts when its time has come. Failures, drains and removals never wait:
// there are no more of them than of the ways back.
func (t *Table) allowChange(m *member) bool {
	if t.now < m.nextChange() {
		return false
	}
	m.changesPaid = max(m.changesPaid, t.now) + m.price()
	return true
}

// price is what a change of m costs: more if it is large, or one member could fill
// the history, which is to last for days, with its attributes.
func (m *member) price() time.Duration {
	size := 0
	for k, v := range m.announced.attrs {
		size += len(k) + len(v)
	}
	return changeEvery * time.Duration(max(1, size/cheapAttrs))
}

// nextChange is when m may change the status next. To come back is let pass more
// often: the only member of a role may be restarted several times in a row.
func (m *member) nextChange() instant {
	if m.listed {
		return m.changesPaid - (changeBurst-1)*changeEvery
	}
	return m.changesPaid - (joinBurst-1)*changeEvery
}
