package membership

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"thor/subjects"
)

// What a member claims of itself gives it the work of others: addresses, weight
// and priority. With Config.Identities a new or wider claim waits until a
// certificate of its node is known (see facts), and is then cut to what the
// certificates allow. A member in the status keeps what it has there, whatever
// becomes known or unknown; but what a manager took over from another is compared
// once with the certificates.

// A pending claim waits for a broker's identity message, or was refused.
type pending struct {
	since    instant // when it was first heard
	last     instant
	a        *subjects.Announcement // of one who is not in the status, as it came; nil: refused
	unknown  bool                   // a broker may know more
	reported bool                   // that nothing is known of its certificate
}

// checkClaim decides about the claims of a, which is no leave. It cuts a to what may
// stand, and cut says what was refused so. ok is false when a must have no
// effect now; err says why, if that is for good.
func (t *Table) checkClaim(k key, m *member, a *subjects.Announcement) (cut string, ok bool, err error) {
	if !t.cfg.Identities {
		return "", true, nil
	}
	var had *announced // what it has in the status
	if m != nil && m.listed {
		if had = &m.announced; !had.exceeds(a) {
			delete(t.pending, k)
			return "", true, nil
		}
	}
	where, bound, known := t.allowed(k)
	switch {
	case known && inside(a.Addresses, where, had):
		delete(t.pending, k)
		return clamp(had, a, bound), true, nil
	case k.role == subjects.EventServer && !known: // of another version; brokers are trusted with more than that
		return "", true, nil
	}
	p := t.wait(k)
	if p == nil {
		return "", false, refuse(subjects.CodeRange, "%s as %s: %d claims wait already", a.Node, a.Role, len(t.pending))
	}
	waited, strict := t.now-p.since, t.identitiesEnforced()
	p.last, p.unknown = t.now, !known || waited < settleTime
	switch {
	case !strict && waited >= identityWait: // as it was before brokers told identities
		delete(t.pending, k)
		return "", true, nil
	case had != nil: // it lives, with what it has
		if strict && known && waited >= settleTime {
			cut = outside(a, where)
		}
		a.Addresses = had.addresses
		a.Weight = had.weight
		a.Priority = had.priority
		return cut, true, nil
	case strict && known && waited >= settleTime:
		p.a = nil
		return "", false, refuse(subjects.CodeAddress, "%s as %s: %s", a.Node, a.Role, outside(a, where))
	}
	if p.a = a; !p.reported && strict && waited >= 5*identityWait {
		p.reported = true
		t.event(subjects.EventRejected, k.role, k.node, "waits: no broker has told what its certificate says")
	}
	return "", false, nil
}

// wait is the pending claim of k, a new one if there is none; nil if there are
// too many.
func (t *Table) wait(k key) *pending {
	p := t.pending[k]
	if p == nil {
		if len(t.pending) >= t.cfg.MaxMembers {
			return nil
		}
		p = &pending{since: t.now}
		t.pending[k] = p
	}
	return p
}

// compare cuts what members of n claim by an adopted status to what certificates
// allow. Whose certificate is not known keeps what it has: a dead member that a guard
// keeps may have been connected to no broker of today.
func (t *Table) compare(n *node) {
	for _, m := range n.members {
		if !m.inherited || !m.listed {
			continue
		}
		where, bound, known := t.allowed(m.key)
		if !known {
			continue
		}
		m.inherited = false
		a := subjects.Announcement{Addresses: m.announced.addresses, Weight: m.announced.weight, Priority: m.announced.priority}
		cut := clamp(nil, &a, bound)
		if why := outside(&a, where); why != "" {
			cut = why
			a.Addresses = ownAddresses(a.Addresses, where)
		}
		if cut == "" {
			continue
		}
		m.announced.addresses, m.announced.weight, m.announced.priority = a.Addresses, a.Weight, a.Priority
		t.present(m)
		t.reject(m, cut)
	}
}

// ownAddresses are those of as that are among where; if none is, as many of where
// as a member may have: the status shows no member without one.
func ownAddresses(as, where addresses) addresses {
	own := slices.DeleteFunc(slices.Clone(as), func(x netip.Addr) bool { return !slices.Contains(where, x) })
	switch {
	case len(own) > 0:
		return own
	case len(where) > 0:
		return slices.Clone(where[:min(len(where), subjects.MaxAddresses)])
	}
	return as
}

// exceeds reports whether a claims more than s.
func (s *announced) exceeds(a *subjects.Announcement) bool {
	weight := a.Weight
	if weight == 0 {
		weight = subjects.DefaultWeight
	}
	return weight > s.weight || better(a.Priority, s.priority) || !inside(a.Addresses, s.addresses, nil)
}

// better reports whether priority p is preferred to q; 0 is none and comes last.
func better(p, q int) bool { return p > 0 && (q == 0 || p < q) }

// inside reports whether each address is among where or among those of had.
func inside(as, where addresses, had *announced) bool {
	for _, a := range as {
		if !slices.Contains(where, a) && (had == nil || !slices.Contains(had.addresses, a)) {
			return false
		}
	}
	return true
}

// outside says which address of a no certificate holds.
func outside(a *subjects.Announcement, where addresses) string {
	for _, x := range a.Addresses {
		if !slices.Contains(where, x) {
			return fmt.Sprintf("address %s is in no certificate of it", x)
		}
	}
	return ""
}

// clamp cuts weight and priority of a to bound, or to what the member has if
// that is more, and says so.
func clamp(had *announced, a *subjects.Announcement, bound subjects.Bound) (cut string) {
	if had != nil {
		bound.Weight = max(bound.Weight, had.weight)
		if had.priority > 0 {
			bound.Priority = min(bound.Priority, had.priority)
		}
	}
	weight, priority := bound.Clamp(a.Weight, a.Priority)
	switch {
	case weight < a.Weight:
		cut = fmt.Sprintf("weight %d is cut to %d, its certificate allows no more", a.Weight, weight)
	case priority != a.Priority:
		cut = fmt.Sprintf("priority %d is cut to %d, its certificate allows no better one", a.Priority, priority)
	}
	a.Weight, a.Priority = weight, priority
	return cut
}

// reject makes an event of what was refused of m's claims: once, and of other
// claims once in rejectEvery, or a member could fill the history with them.
func (t *Table) reject(m *member, why string) {
	if why == "" || why == m.rejected || t.now-m.rejectedAt < rejectEvery {
		return
	}
	m.rejected, m.rejectedAt = why, t.now
	t.event(subjects.EventRejected, m.key.role, m.key.node, why)
}

// Waiting is how many claims wait for an identity message: the caller has
// to ask brokers for it.
func (t *Table) Waiting() int {
	n := 0
	for _, p := range t.pending {
		if p.unknown && t.now-p.last <= t.missed() {
			n++
		}
	}
	return n
}

// retry looks again at the claims of node that wait.
func (t *Table) retry(node subjects.NodeID) {
	if len(t.pending) == 0 {
		return
	}
	t.retryWhere(func(k key) bool { return k.node == node })
}

// retryWhere takes in the announcements that wait and are still new enough.
func (t *Table) retryWhere(which func(key) bool) {
	var ks []key
	for k, p := range t.pending {
		if p.a != nil && t.now-p.last <= t.missed()+waitFor && which(k) {
			ks = append(ks, k)
		}
	}
	slices.SortFunc(ks, compareKeys)
	for _, k := range ks {
		p := t.pending[k]
		last := p.last
		_ = t.announce(p.a) // who said it is not there to be told
		if q := t.pending[k]; q == p {
			p.last = last // nothing new was heard
		}
	}
}

const waitFor = time.Second // an announcement that waited longer than for the next one is out of date

// dropPending forgets a claim whose process is gone.
func (t *Table) dropPending(node subjects.NodeID, boot string) {
	for k, p := range t.pending {
		if k.node == node && p.a != nil && p.a.Boot == boot {
			p.a = nil
		}
	}
}

func compareKeys(a, b key) int {
	return cmp.Or(cmp.Compare(a.role, b.role), cmp.Compare(a.node, b.node))
}
