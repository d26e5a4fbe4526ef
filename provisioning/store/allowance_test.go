package store_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"thor/provisioning/allowance"
	"thor/provisioning/ngnpro"
	"thor/provisioning/store"
)

func (w *world) grant(v ngnpro.Viewer, of int, name, value string) error {
	ps := []ngnpro.CustomerProperty{{Name: name, Value: value}}
	w.ok(ngnpro.CustomerProperties(ps))
	return w.Customers.SetProperties(w.ctx, v, of, ps)
}

// Without an allowance nothing is claimed, granted or trusted.
func TestWithoutAnAllowanceNothingIsClaimedGrantedOrTrusted(t *testing.T) {
	w := newWorld(t, func(c *store.Config) { c.Domain = "net.example.org" })
	r := w.customer("r", 0)
	c := w.customer("c", r)
	w.ok(w.Domains.Add(w.ctx, admin, &ngnpro.SipDomain{Domain: "c.example", Customer: &c}))
	for _, v := range []ngnpro.Viewer{customer(c), reseller(r)} {
		for _, d := range []string{"com", "free.example", "net.example.org", "node1.net.example.org", "192.0.2.1"} {
			is(t, fmt.Sprintf("%v adds %s", v, d), w.Domains.Add(w.ctx, v, &ngnpro.SipDomain{Domain: d}), ngnpro.ErrForbidden)
		}
		_, _, err := w.Accounts.Add(w.ctx, v, &ngnpro.SipAccount{ID: id("x@c.example"), Password: new("p"), Groups: &[]string{"free-pstn"}, Quota: new(0)})
		is(t, "an account in free-pstn", err, ngnpro.ErrForbidden)
	}
	w.account("a@c.example")
	a := id("a@c.example")
	_, err := w.Accounts.AddToGroup(w.ctx, customer(c), a, "free-pstn")
	is(t, "into free-pstn", err, ngnpro.ErrForbidden)
	_, err = w.Accounts.Update(w.ctx, customer(c), &ngnpro.SipAccount{ID: a, Groups: &[]string{"free-pstn"}})
	is(t, "into free-pstn by an update", err, ngnpro.ErrForbidden)
	_, err = w.Accounts.Update(w.ctx, admin, &ngnpro.SipAccount{ID: a, Groups: &[]string{"free-pstn", "blocked"}, Quota: new(50)})
	w.ok(err)
	_, err = w.Accounts.Update(w.ctx, customer(c), &ngnpro.SipAccount{ID: a, Groups: &[]string{"free-pstn", "blocked", "voicemail"}, Quota: new(50), FirstName: new("A")})
	w.ok(err) // what is had is echoed, what concerns the subscriber alone is added
	_, err = w.Accounts.Update(w.ctx, customer(c), &ngnpro.SipAccount{ID: a, Quota: new(0)})
	is(t, "without a quota", err, ngnpro.ErrForbidden)
	_, err = w.Accounts.RemoveFromGroup(w.ctx, customer(c), a, "blocked")
	is(t, "not blocked any more", err, ngnpro.ErrForbidden)
	_, err = w.Accounts.Delete(w.ctx, customer(c), a)
	is(t, "deleted, to be made anew", err, ngnpro.ErrForbidden)
	_, err = w.Accounts.Update(w.ctx, customer(c), &ngnpro.SipAccount{ID: a, Quota: new(40)})
	w.ok(err)
	is(t, "a peer", w.Peers.Add(w.ctx, reseller(r), &ngnpro.TrustedPeer{IP: "192.0.2.1"}), ngnpro.ErrForbidden)
	w.ok(w.Peers.Add(w.ctx, reseller(r), &ngnpro.TrustedPeer{IP: "192.0.2.1", Blocked: new(true)}))
	is(t, "transit", w.Peers.Update(w.ctx, reseller(r), &ngnpro.TrustedPeer{IP: "192.0.2.1", Transit: new(true)}), ngnpro.ErrForbidden)
	is(t, "transit at once", w.Peers.Add(w.ctx, reseller(r), &ngnpro.TrustedPeer{IP: "192.0.2.2", Blocked: new(true), Transit: new(true)}), ngnpro.ErrForbidden)
	is(t, "unblocked", w.Peers.Update(w.ctx, reseller(r), &ngnpro.TrustedPeer{IP: "192.0.2.1", Blocked: new(false)}), ngnpro.ErrForbidden)
	w.check()
}

// Each level gives of what it has, to the level below.
func TestAllowancesComeFromTheLevelAbove(t *testing.T) {
	w := newWorld(t)
	r := w.customer("r", 0)
	c := w.customer("c", r)
	for _, name := range allowance.Names {
		is(t, name+" by the reseller for itself", w.grant(reseller(r), r, name, "1"), ngnpro.ErrForbidden)
		is(t, name+" by the customer for itself", w.grant(customer(c), c, name, "1"), ngnpro.ErrForbidden)
	}
	is(t, "more than the reseller has", w.grant(reseller(r), c, allowance.Domains, "a.example"), ngnpro.ErrForbidden)
	is(t, "no domain", w.grant(admin, r, allowance.Domains, "not/a/domain"), ngnpro.ErrInvalid)
	w.allow("*.example", "free-pstn", "4", r)
	w.ok(w.grant(reseller(r), c, allowance.Domains, "a.example"))
	w.ok(w.grant(reseller(r), c, allowance.Groups, "free-pstn"))
	is(t, "another group", w.grant(reseller(r), c, allowance.Groups, "free-pstn,trunking"), ngnpro.ErrForbidden)
	w.ok(w.Domains.Add(w.ctx, customer(c), &ngnpro.SipDomain{Domain: "a.example"}))
	is(t, "another domain", w.Domains.Add(w.ctx, customer(c), &ngnpro.SipDomain{Domain: "b.example"}), ngnpro.ErrForbidden)
	w.ok(w.Domains.Add(w.ctx, reseller(r), &ngnpro.SipDomain{Domain: "b.example", Customer: &c}))
	_, _, err := w.Accounts.Add(w.ctx, customer(c), &ngnpro.SipAccount{ID: id("x@a.example"), Password: new("p"), Groups: &[]string{"free-pstn"}})
	w.ok(err)
	// What the reseller loses its customers lose; what there is stays.
	w.ok(w.grant(admin, r, allowance.Groups, ""))
	_, _, err = w.Accounts.Add(w.ctx, customer(c), &ngnpro.SipAccount{ID: id("y@a.example"), Password: new("p"), Groups: &[]string{"free-pstn"}})
	is(t, "after the reseller lost it", err, ngnpro.ErrForbidden)
	_, err = w.Accounts.Update(w.ctx, customer(c), &ngnpro.SipAccount{ID: id("x@a.example"), Groups: &[]string{"free-pstn"}, LastName: new("X")})
	w.ok(err)
	w.check()
}

// Reserved names are nobody's but by an administrator's word, name by name.
func TestReservedDomainsTakeAnAdministratorsWord(t *testing.T) {
	w := newWorld(t, func(c *store.Config) { c.Domain = "net.example.org" })
	r := w.customer("r", 0)
	w.allow("*", "", "", r)
	for _, d := range []string{"com", "node1.net.example.org", "192.0.2.1"} {
		is(t, d+" of nobody", w.Domains.Add(w.ctx, admin, &ngnpro.SipDomain{Domain: d}), ngnpro.ErrForbidden)
		is(t, d+" of a reseller", w.Domains.Add(w.ctx, admin, &ngnpro.SipDomain{Domain: d, Reseller: &r}), ngnpro.ErrForbidden)
		is(t, d+" by a reseller", w.Domains.Add(w.ctx, reseller(r), &ngnpro.SipDomain{Domain: d}), ngnpro.ErrForbidden)
	}
	is(t, "the network's by a reseller", w.Domains.Add(w.ctx, reseller(r), &ngnpro.SipDomain{Domain: "net.example.org"}), ngnpro.ErrForbidden)
	w.ok(w.Domains.Add(w.ctx, admin, &ngnpro.SipDomain{Domain: "net.example.org"}))
	w.allow("* com 192.0.2.1", "", "", r)
	w.ok(w.Domains.Add(w.ctx, admin, &ngnpro.SipDomain{Domain: "com", Reseller: &r}))
	w.ok(w.Domains.Add(w.ctx, reseller(r), &ngnpro.SipDomain{Domain: "192.0.2.1"}))
}

func TestPeersOfAResellerCountInSum(t *testing.T) {
	w := newWorld(t)
	r := w.customer("r", 0)
	c := w.customer("c", r)
	w.ok(w.Peers.Add(w.ctx, admin, &ngnpro.TrustedPeer{IP: "203.0.113.9", Reseller: &r})) // counts as well
	w.allow("", "", "8", r)
	var wg sync.WaitGroup
	var added atomic.Int32
	for i := range 12 {
		wg.Go(func() {
			p := &ngnpro.TrustedPeer{IP: fmt.Sprintf("192.0.2.%d", i)}
			if i%2 == 0 {
				p.Customer = &c // of a customer of its own
			}
			switch err := w.Peers.Add(w.ctx, reseller(r), p); {
			case err == nil:
				added.Add(1)
			case !errors.Is(err, ngnpro.ErrForbidden):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if added.Load() != 7 {
		t.Errorf("%d addresses were added to one, 8 are allowed", added.Load())
	}
	w.ok(w.Peers.Update(w.ctx, reseller(r), &ngnpro.TrustedPeer{IP: "203.0.113.9", Strip: new(1)}))
	w.check()
}

// The database compares names without the blanks at their end: a name with one
// must not be a way around what the name without it takes.
func TestAPropertyHasOneName(t *testing.T) {
	w := newWorld(t)
	r := w.customer("r", 0)
	c := w.customer("c", r)
	w.allow("*.example", "", "1", r)
	w.ok(w.grant(reseller(r), c, allowance.Domains, "a.example"))
	for _, blank := range []string{" ", "  ", "\u00a0"} {
		is(t, "by the customer for itself", w.grant(customer(c), c, allowance.Domains+blank, "*.example"), ngnpro.ErrForbidden)
		is(t, "by the reseller for itself", w.grant(reseller(r), r, allowance.Peers+blank, "65536"), ngnpro.ErrForbidden)
	}
	is(t, "another domain", w.Domains.Add(w.ctx, customer(c), &ngnpro.SipDomain{Domain: "b.example"}), ngnpro.ErrForbidden)
	w.ok(w.Peers.Add(w.ctx, reseller(r), &ngnpro.TrustedPeer{IP: "192.0.2.1"}))
	is(t, "another peer", w.Peers.Add(w.ctx, reseller(r), &ngnpro.TrustedPeer{IP: "192.0.2.2"}), ngnpro.ErrForbidden)
}

// An account that is deleted and made anew is bounded as it was, unless who makes
// it may loosen that.
func TestAnAccountMadeAnewIsBoundedAsBefore(t *testing.T) {
	w := newWorld(t)
	r := w.customer("r", 0)
	c := w.customer("c", r)
	w.ok(w.Domains.Add(w.ctx, admin, &ngnpro.SipDomain{Domain: "c.example", Customer: &c}))
	a := id("a@c.example")
	bounded := func(quota, calls int, prepaid bool) *ngnpro.SipAccount {
		return &ngnpro.SipAccount{ID: a, Password: new("p"), Quota: &quota, CallLimit: &calls, Prepaid: &prepaid}
	}
	add := func(v ngnpro.Viewer, x *ngnpro.SipAccount) error {
		_, _, err := w.Accounts.Add(w.ctx, v, x)
		return err
	}
	w.ok(add(admin, bounded(50, 2, true)))
	for _, v := range []ngnpro.Viewer{customer(c), reseller(r)} {
		_, err := w.Accounts.Delete(w.ctx, v, a)
		w.ok(err)
		for _, x := range []*ngnpro.SipAccount{
			{ID: a, Password: new("p")}, bounded(0, 2, true), bounded(51, 2, true), bounded(50, 0, true), bounded(50, 3, true), bounded(50, 2, false),
		} {
			is(t, fmt.Sprintf("%+v makes it anew with more", v), add(v, x), ngnpro.ErrForbidden)
		}
		w.ok(add(v, bounded(50, 2, true)))
		_, err = w.Accounts.Update(w.ctx, v, &ngnpro.SipAccount{ID: a, Quota: new(0)})
		is(t, "more, by an update", err, ngnpro.ErrForbidden)
	}
	_, err := w.Accounts.Delete(w.ctx, customer(c), a)
	w.ok(err)
	w.ok(add(admin, bounded(0, 0, false))) // who may
	_, err = w.Accounts.Delete(w.ctx, customer(c), a)
	w.ok(err)
	w.ok(add(customer(c), bounded(0, 0, false))) // nothing bounded it at last
	_, err = w.Accounts.Update(w.ctx, customer(c), bounded(7, 0, false))
	w.ok(err)
	_, err = w.Accounts.Delete(w.ctx, admin, a) // what an administrator deletes is forgotten
	w.ok(err)
	w.ok(add(customer(c), bounded(0, 0, false)))
	w.check()
}

// Who adds the range of a short prefix first would keep all others out of its
// numbers, and could map them.
func TestRangesAreAddedWithinTheAllowance(t *testing.T) {
	w := newWorld(t)
	r := w.customer("r", 0)
	c := w.customer("c", r)
	add := func(v ngnpro.Viewer, p string) error {
		return w.Ranges.Add(w.ctx, v, &ngnpro.EnumRange{ID: prefix(p)})
	}
	is(t, "a customer without", add(customer(c), "3"), ngnpro.ErrForbidden)
	is(t, "a reseller without", add(reseller(r), "43"), ngnpro.ErrForbidden)
	is(t, "no prefix", w.grant(admin, r, allowance.Ranges, "+43"), ngnpro.ErrInvalid)
	w.ok(w.grant(admin, r, allowance.Ranges, "4312, 4399"))
	is(t, "more than the reseller has", w.grant(reseller(r), c, allowance.Ranges, "431"), ngnpro.ErrForbidden)
	w.ok(w.grant(reseller(r), c, allowance.Ranges, "43125"))
	is(t, "beside it", add(customer(c), "43126"), ngnpro.ErrForbidden)
	is(t, "around it", add(customer(c), "4312"), ngnpro.ErrForbidden)
	w.ok(add(customer(c), "43125"))
	w.ok(add(reseller(r), "43991"))
	// What the reseller loses its customers lose; a range that there is goes on.
	w.ok(w.grant(admin, r, allowance.Ranges, ""))
	is(t, "lost", add(reseller(r), "43992"), ngnpro.ErrForbidden)
	w.ok(add(customer(c), "431251")) // within its own
	w.ok(add(admin, "3"))
}
