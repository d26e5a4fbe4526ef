package membership

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"thor/subjects"
)

// Facts are what brokers said of certificates, by node. Together the live ones
// of a node say what it may claim, whichever broker told them and whichever
// connection they came with: a certificate is live until it expires or is
// revoked.

const (
	maxFacts      = 64               // certificates remembered of one node; those that end first go
	factMargin    = 5 * time.Minute  // after its end a certificate still counts: clocks of hosts differ
	sweepEvery    = 10 * time.Minute // expired facts are dropped
	forgetPending = time.Minute      // of a claim that is heard no more
	identityWait  = 2 * time.Second  // brokers that tell identities have done so by then
	settleTime    = time.Second      // a claim is refused when another broker had this long to tell of a certificate that allows it
)

// A fact is what one certificate says.
type fact struct {
	*subjects.Identity
	revoked bool
}

func (f *fact) live(now time.Time) bool { return !f.revoked && now.Before(f.NotAfter.Add(factMargin)) }

func (f *fact) names(r subjects.Role) bool { return slices.Contains(f.Roles, r) }

// Identity takes in an identity message about a certificate, or one kept from
// before. revoked says that the certificate is revoked by now. The message must
// have passed Check and belongs to the table from now on.
func (t *Table) Identity(w *subjects.Identity, revoked bool, now time.Time) {
	t.enter(now)
	t.identityHeard = true
	fs := t.facts[w.Node]
	i := slices.IndexFunc(fs, func(f *fact) bool { return f.Serial == w.Serial && f.Issuer == w.Issuer })
	if i < 0 {
		t.factsRevision++
		if len(fs) >= maxFacts {
			fs = dropFact(fs)
		}
		fs = append(fs, &fact{Identity: w})
		i = len(fs) - 1
		t.facts[w.Node] = fs
	} else {
		w.Broker = fs[i].Broker // who told first: the same certificate says the same everywhere
		if w.Site == "" {
			w.Site = fs[i].Site // a broker of a version without sites tells of the certificate too
		}
		if !sameWord(fs[i].Identity, w) {
			t.factsRevision++
		}
		fs[i].Identity = w
	}
	if revoked {
		t.revokeFact(fs[i])
	}
	t.retry(w.Node)
	t.placeAgain(w.Node)
	if n := t.nodes[w.Node]; n != nil && t.strict && !t.compareDue {
		t.compare(n)
	}
	t.flush()
}

func sameWord(a, b *subjects.Identity) bool {
	return a.NotAfter.Equal(b.NotAfter) && slices.Equal(a.Roles, b.Roles) && slices.Equal(a.Addresses, b.Addresses) && maps.Equal(a.Bounds, b.Bounds) && a.Site == b.Site
}

// dropFact makes room for one more: the one that ends first goes.
func dropFact(fs []*fact) []*fact {
	first := 0
	for i, f := range fs {
		if f.NotAfter.Before(fs[first].NotAfter) {
			first = i
		}
	}
	return slices.Delete(fs, first, first+1)
}

// Identities are the messages about certificates that have not expired, by node
// and serial, to be kept and given to another table. Revoked ones are among
// them. FactsRevision rises when they change.
func (t *Table) Identities() []*subjects.Identity {
	var out []*subjects.Identity
	for _, fs := range t.facts {
		for _, f := range fs {
			if t.wall.Before(f.NotAfter.Add(factMargin)) {
				out = append(out, f.Identity)
			}
		}
	}
	slices.SortFunc(out, (*subjects.Identity).Compare)
	return out
}

// FactsRevision rises with each change of Identities, but not when one expires.
func (t *Table) FactsRevision() uint64 { return t.factsRevision }

// RevokeCertificates takes out the members whose certificate is revoked, at
// once, whether they are connected or dead, and even as the last of a role: a
// member goes if a revoked certificate of its node names its role and no live
// one does. revoked is asked for each certificate known. In the first two
// seconds of a table, and after Blind, it may not know a certificate that is
// live: then members that may be alive go at the end of these.
func (t *Table) RevokeCertificates(revoked func(*subjects.Identity) bool, now time.Time) {
	t.enter(now)
	for _, node := range slices.Sorted(maps.Keys(t.facts)) {
		for _, f := range t.facts[node] {
			if !f.revoked && revoked(f.Identity) {
				t.revokeFact(f)
				t.placeAgain(node)
			}
		}
	}
	t.flush()
}

func (t *Table) revokeFact(f *fact) {
	if f.revoked {
		return
	}
	f.revoked = true
	t.withRevoked[f.Node] = true
	t.sweepDue = true
	t.sweep()
}

// sweep takes out the members whose certificates are all revoked, also those that a former status
// lists, whose manager may not have known of the revocation. A member that may be alive gets
// the time in which this table hears of all certificates.
func (t *Table) sweep() {
	t.sweepDue = t.now < t.identitiesKnownAt
	for _, node := range slices.Sorted(maps.Keys(t.withRevoked)) {
		t.sweepNode(node)
	}
}

// certain reports whether no certificate that this table does not know can be
// what m lives by: m is dead, or all certificates are known. While brokers of
// two versions run, a member that beats may use one that is told by none.
func (t *Table) certain(m *member) bool {
	return m.cause != alive || t.now >= t.identitiesKnownAt && (t.identitiesEnforced() || m.adopted || t.now-m.last > t.missed())
}

func (t *Table) sweepNode(id subjects.NodeID) {
	n, reported := t.nodes[id], false
	if n != nil {
		for _, m := range n.members {
			if !m.listed || !t.onlyRevoked(m.key) || !t.certain(m) {
				continue
			}
			if !reported {
				t.event(subjects.EventRevoked, "", id, "the certificate was revoked")
				reported = true
			}
			t.removeRevoked(m)
		}
	}
	for k := range t.pending {
		if k.node == id && t.onlyRevoked(k) {
			delete(t.pending, k)
		}
	}
	t.revokeLosses(id)
	if t.departed[id] != nil && t.certificates(id) == 0 { // its address is no longer published
		t.expire(id)
	}
	if reported && t.certificates(id) == 0 {
		n.bareAfter = t.now + revokedHold
	}
}

// removeRevoked takes m out since its certificate is revoked.
func (t *Table) removeRevoked(m *member) {
	m.cause = revoked
	m.closed = closed{}
	m.adopted = false
	m.damping.restart()
	t.undamp(m)
	t.detach(m)
	t.remove(m)
	t.arm(m)
}

// certificates counts the live ones of node.
func (t *Table) certificates(node subjects.NodeID) (n int) {
	for _, f := range t.facts[node] {
		if f.live(t.wall) {
			n++
		}
	}
	return n
}

// onlyRevoked reports whether a certificate for k is known to be revoked, and none
// is known to be live.
func (t *Table) onlyRevoked(k key) bool {
	bad := false
	for _, f := range t.facts[k.node] {
		if !f.names(k.role) {
			continue
		}
		if f.live(t.wall) {
			return false
		}
		bad = bad || f.revoked
	}
	return bad
}

// allowed is what the live certificates of k's node let it claim; known is
// false if none of them names the role.
func (t *Table) allowed(k key) (addresses []netip.Addr, bound subjects.Bound, known bool) {
	for _, f := range t.facts[k.node] {
		if !f.live(t.wall) {
			continue
		}
		addresses = append(addresses, f.Addresses...)
		if !f.names(k.role) {
			continue
		}
		b := f.Bounds[k.role].Of(k.role)
		if known {
			b = bound.Union(b)
		}
		bound, known = b, true
	}
	return addresses, bound, known
}

// identitiesEnforced reports whether members are held to their certificates: some broker
// tells identities, and none is in the status that does not. While brokers of
// two versions run, a member may be connected to one that tells nothing.
func (t *Table) identitiesEnforced() bool {
	some := t.identityHeard
	if r := t.roles[subjects.EventServer]; r != nil {
		for _, m := range r.list {
			if m.announced.attrs[subjects.AttrIdentity] == "" {
				return false
			}
			some = true
		}
	}
	return some
}

// tidy drops what has expired.
func (t *Table) tidy() {
	if t.now < t.tidied+sweepEvery {
		return
	}
	t.tidied = t.now
	for _, node := range slices.Sorted(maps.Keys(t.facts)) {
		fs := t.facts[node]
		had := len(fs)
		fs = slices.DeleteFunc(fs, func(f *fact) bool { return !t.wall.Before(f.NotAfter.Add(factMargin)) })
		if t.facts[node] = fs; len(fs) == 0 {
			delete(t.facts, node)
		}
		if !slices.ContainsFunc(fs, func(f *fact) bool { return f.revoked }) {
			delete(t.withRevoked, node)
		}
		if len(fs) < had {
			t.placeAgain(node)
		}
	}
	maps.DeleteFunc(t.pending, func(_ key, p *pending) bool { return t.now-p.last > forgetPending })
}

// certify does what time brings with certificates.
func (t *Table) certify() {
	if strict := t.identitiesEnforced(); strict != t.strict {
		t.strict, t.sweepDue = strict, true
	}
	if t.sweepDue {
		t.sweep()
	}
	if t.compareDue && t.strict && t.now >= t.identitiesKnownAt+settleTime {
		t.compareDue = false
		for _, id := range slices.Sorted(maps.Keys(t.nodes)) {
			t.compare(t.nodes[id])
		}
	}
	if !t.strict && len(t.pending) > 0 {
		t.retryWhere(func(k key) bool { return t.now-t.pending[k].since >= identityWait })
	}
	t.tidy()
	t.flush()
}
