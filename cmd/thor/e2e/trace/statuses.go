package trace

import (
	"slices"

	"thor/subjects"
)

// oneManagerAnEpoch is I1: an epoch belongs to one manager, whatever told of it,
// and what observers accept never has an older epoch than what they accepted.
func (c *checker) oneManagerAnEpoch() {
	of := make(map[uint64]subjects.NodeID)
	one := func(at Moment, epoch uint64, manager subjects.NodeID) {
		if manager == "" || epoch == 0 {
			return
		}
		if other, known := of[epoch]; known && other != manager {
			c.fail(at, "I1", "epoch %d is told by %s and by %s", epoch, other, manager)
		}
		of[epoch] = manager
	}
	accepted := make(map[string]uint64)
	for _, l := range c.lines {
		switch {
		case l.Status != nil:
			one(l.At, l.Status.Epoch, l.Status.Manager)
			if l.Status.Epoch < accepted[l.Status.Observer] {
				c.fail(l.At, "I1", "%s accepts epoch %d after %d", l.Status.Observer, l.Status.Epoch, accepted[l.Status.Observer])
			}
			accepted[l.Status.Observer] = l.Status.Epoch
		case l.Heard != nil:
			one(l.At, l.Heard.Epoch, l.Heard.Manager)
		}
	}
}

// marksRise is I2: no observer goes back, across restarts; two statuses of one
// mark are the same; and an observer without a past is told the present.
func (c *checker) marksRise() {
	last := make(map[string]subjects.Mark)
	digests := make(map[subjects.Mark]string)
	serials := make(map[string]uint32)
	var told []publication // by time, rising
	for _, l := range c.lines {
		switch {
		case l.Status != nil:
			s := l.Status
			if last[s.Observer].After(s.Mark()) {
				c.fail(l.At, "I2", "%s goes back from %v to %v", s.Observer, last[s.Observer], s.Mark())
			}
			last[s.Observer] = s.Mark()
			if d, known := digests[s.Mark()]; known && d != s.Digest {
				c.fail(l.At, "I2", "two statuses have the mark %v", s.Mark())
			}
			digests[s.Mark()] = s.Digest
			if len(told) == 0 || s.Mark().After(told[len(told)-1].Mark()) {
				told = append(told, publication{l.At, s})
			}
		case l.Fresh != nil:
			if newer := oldNews(told, l, c.freshLimit(l)); newer != nil {
				c.fail(l.At, "I2", "an observer without a past is told %v, %v after %v was", l.Fresh.Mark(), l.At-newer.at, newer.Mark())
			}
		case l.DNS != nil && l.DNS.Type == "SOA" && l.DNS.Serial != 0:
			if d := l.DNS; int32(d.Serial-serials[d.Server]) < 0 && serials[d.Server] != 0 { // RFC 1982
				c.fail(l.At, "I2", "the serial of %s goes back from %d to %d", d.Server, serials[d.Server], d.Serial)
			}
			serials[l.DNS.Server] = l.DNS.Serial
		}
	}
}

// freshLimit is how old the news of a fresh observer may be.
func (c *checker) freshLimit(l Line) Moment {
	from := l.At - Moment(freshAloneWithin)
	if c.history.cutOff.touches(l.Fresh.Host, from, l.At, 0) {
		return Moment(freshAloneWithin)
	}
	return Moment(freshWithin)
}

// oldNews is the newest status that had been told so long before l and is newer than
// what l tells.
func oldNews(told []publication, l Line, before Moment) *publication {
	for _, p := range slices.Backward(told) {
		if p.at <= l.At-before {
			if p.Mark().After(l.Fresh.Mark()) {
				return &p
			}
			return nil
		}
	}
	return nil
}

// ownersAgree is I7: of one status all compute the same owners.
func (c *checker) ownersAgree() {
	hashes := make(map[subjects.Mark]*Owners)
	for _, l := range c.lines {
		if l.Owners == nil {
			continue
		}
		mark := subjects.Mark{Epoch: l.Owners.Epoch, Generation: l.Owners.Generation}
		if o := hashes[mark]; o != nil && o.Hash != l.Owners.Hash {
			c.fail(l.At, "I7", "%s and %s compute different owners at %v", o.Observer, l.Owners.Observer, mark)
		}
		hashes[mark] = l.Owners
	}
}

// certificatesAllow is I9: nothing is in a status that its node's certificate does
// not allow.
func (c *checker) certificatesAllow() {
	certs := make(map[subjects.NodeID]*Certified)
	for _, l := range c.lines {
		if l.Certified != nil {
			certs[l.Certified.Node] = l.Certified
		}
	}
	for _, p := range c.published {
		for _, m := range p.Members {
			cert := certs[m.Node]
			if cert == nil || !slices.Contains(cert.Roles, m.Role) {
				c.fail(p.at, "I9", "%s is shown as %s, which its certificate does not hold", m.Node, m.Role)
				continue
			}
			for _, a := range m.Addresses {
				if !slices.Contains(cert.Addresses, a) {
					c.fail(p.at, "I9", "%s is shown with %s, which its certificate does not hold", entry{m.Role, m.Node}, a)
				}
			}
		}
	}
}
