package membership_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"thor/subjects"
)

// liar has a good certificate and claims an address that is not in it.
const liar = "liar"

// renew gives p its next certificate, which is for another address; the ones
// before go on to be good.
func (w *world) renew(p *proc) {
	a := address(p.node).As4()
	a[1] = byte(p.certified)
	p.addresses = []netip.Addr{netip.AddrFrom4(a)}
	p.certificate = certificate(p.node, p.certified, p.roles, p.addresses)
	p.certified++
}

func certificate(node string, number int, roles []subjects.Role, addresses []netip.Addr) subjects.Identity {
	return subjects.Identity{
		V: 1, Node: subjects.NodeID(node), Serial: fmt.Sprintf("%x", fmt.Sprint(node, ".", number)), NotAfter: t0.Add(24 * time.Hour),
		Roles: roles, Addresses: addresses,
	}
}

// tell lets b publish what a certificate says, if it is of a version that does.
func (w *world) tell(b *simBroker, c subjects.Identity) {
	if b.words == nil {
		return
	}
	c.Broker = subjects.NodeID(b.name)
	b.words[c.Serial] = c
	w.carry(b, w.word(c))
}

func (w *world) word(c subjects.Identity) message {
	return func(o *observer) {
		b := c // the table keeps it
		o.table.Identity(&b, false, w.clock())
	}
}

// ask lets o ask all brokers for all that they know of certificates.
func (w *world) ask(o *observer) {
	if o.cut || o.paused {
		return
	}
	o.asked = w.now
	for _, b := range w.brokers {
		if !b.sound() {
			continue
		}
		for _, serial := range slices.Sorted(maps.Keys(b.words)) {
			do := w.word(b.words[serial])
			w.after(w.between(1, 20), func() {
				switch {
				case o.cut:
				case o.paused:
					o.held = append(o.held, do)
				default:
					do(o)
					w.check(o)
					w.arm(o)
				}
			})
		}
	}
}

// lie lets the liar announce itself for as long as the simulation lasts, through
// a broker that has told what its certificate says. Where a broker of another
// version runs, claims stand as before.
func (w *world) lie() {
	if w.mixed {
		return
	}
	c := certificate(liar, 0, []subjects.Role{"sip_proxy"}, []netip.Addr{address(liar)})
	for _, b := range w.brokers {
		w.tell(b, c)
	}
	seq := uint64(0)
	var again func()
	again = func() {
		seq++
		b := w.brokers[w.rng.IntN(len(w.brokers))]
		w.tell(b, c)
		a := subjects.Announcement{
			V: 1, Node: liar, Role: "sip_proxy", Boot: "l", Seq: seq, Weight: 65535,
			Addresses: []netip.Addr{netip.MustParseAddr([]string{"127.0.0.1", "169.254.169.254", "198.51.100.7"}[w.rng.IntN(3)])},
		}
		w.carry(b, func(o *observer) {
			x := a
			_ = o.table.Announce(&x, w.clock()) // refused, or it waits
		})
		w.after(w.between(200, 1200), again)
	}
	again()
}
