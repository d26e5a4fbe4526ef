package store_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"thor/provisioning/ngnpro"
)

// owned is a kind of record that belongs to parties: it makes one with a number for
// an owner, and the acts that need it to be seen.
type owned struct {
	name    string
	missing *ngnpro.Fault
	add     func(n, customer, reseller int) error
	get     func(v ngnpro.Viewer, n int) error
	listed  func(v ngnpro.Viewer, n int) (int, error)
	update  func(v ngnpro.Viewer, n int) error
	remove  func(v ngnpro.Viewer, n int) error
}

func count[T any](n int, _ []T, err error) (int, error) { return n, err }
func fault[T any](_ T, err error) error                 { return err }

// ownedKinds are all of them.
func (w *world) ownedKinds() []owned {
	host := func(n int) string { return fmt.Sprintf("n%d.example", n) }
	in := func(n int) ngnpro.SipID { return id("u@" + host(n)) }
	of := func(customer, reseller int) (*int, *int) { return &customer, &reseller }
	domain := func(n, customer, reseller int) error {
		d := &ngnpro.SipDomain{Domain: host(n)}
		d.Customer, d.Reseller = of(customer, reseller)
		return w.Domains.Add(w.ctx, admin, d)
	}
	address := func(n int) string { return fmt.Sprintf("192.0.2.%d", n) }
	figures := func(n int) string { return fmt.Sprintf("49%d", 1000+n) }
	return []owned{
		{
			"domain", ngnpro.ErrDomainNotFound, domain,
			func(v ngnpro.Viewer, n int) error { return fault(w.Domains.Get(w.ctx, v, host(n))) },
			func(v ngnpro.Viewer, n int) (int, error) {
				var q ngnpro.SipDomainQuery
				q.Filter.Domain = host(n)
				return count(w.Domains.Find(w.ctx, v, &q))
			},
			func(v ngnpro.Viewer, n int) error {
				return only(w.Domains.Update(w.ctx, v, &ngnpro.SipDomain{Domain: host(n), VerifyCert: new(true)}))
			},
			func(v ngnpro.Viewer, n int) error { return w.Domains.Delete(w.ctx, v, host(n)) },
		},
		{
			"account", ngnpro.ErrAccountNotFound,
			func(n, customer, reseller int) error {
				if err := domain(n, customer, reseller); err != nil {
					return err
				}
				_, _, err := w.Accounts.Add(w.ctx, admin, &ngnpro.SipAccount{ID: in(n), Password: new("p")})
				return err
			},
			func(v ngnpro.Viewer, n int) error { return fault(w.Accounts.Get(w.ctx, v, in(n))) },
			func(v ngnpro.Viewer, n int) (int, error) {
				var q ngnpro.SipQuery
				q.Filter.Domain = host(n)
				return count(w.Accounts.Find(w.ctx, v, &q))
			},
			func(v ngnpro.Viewer, n int) error {
				return only(w.Accounts.Update(w.ctx, v, &ngnpro.SipAccount{ID: in(n), FirstName: new("A")}))
			},
			func(v ngnpro.Viewer, n int) error { return only(w.Accounts.Delete(w.ctx, v, in(n))) },
		},
		{
			"alias", ngnpro.ErrAliasNotFound,
			func(n, customer, reseller int) error {
				if err := domain(n, customer, reseller); err != nil {
					return err
				}
				return only(w.Aliases.Add(w.ctx, admin, &ngnpro.SipAlias{ID: in(n), Target: id("target@d.example")}))
			},
			func(v ngnpro.Viewer, n int) error { return fault(w.Aliases.Get(w.ctx, v, in(n))) },
			func(v ngnpro.Viewer, n int) (int, error) {
				var q ngnpro.AliasQuery
				q.Filter.AliasDomain = host(n)
				return count(w.Aliases.Find(w.ctx, v, &q))
			},
			func(v ngnpro.Viewer, n int) error {
				err := only(w.Aliases.Update(w.ctx, v, &ngnpro.SipAlias{ID: in(n), Target: id("target@d.example")}))
				if errors.Is(err, ngnpro.ErrAccountNotFound) { // the alias is seen, its target belongs to nobody
					return nil
				}
				return err
			},
			func(v ngnpro.Viewer, n int) error { return only(w.Aliases.Delete(w.ctx, v, in(n))) },
		},
		{
			"trusted peer", ngnpro.ErrPeerNotFound,
			func(n, customer, reseller int) error {
				p := &ngnpro.TrustedPeer{IP: address(n)}
				p.Customer, p.Reseller = of(customer, reseller)
				return w.Peers.Add(w.ctx, admin, p)
			},
			func(v ngnpro.Viewer, n int) error { return fault(w.Peers.Get(w.ctx, v, address(n))) },
			func(v ngnpro.Viewer, n int) (int, error) {
				var q ngnpro.TrustedPeerQuery
				q.Filter.IP = address(n)
				return count(w.Peers.Find(w.ctx, v, &q))
			},
			func(v ngnpro.Viewer, n int) error {
				err := w.Peers.Update(w.ctx, v, &ngnpro.TrustedPeer{IP: address(n), Strip: new(1)})
				if v.Reseller == 0 && errors.Is(err, ngnpro.ErrForbidden) { // not of a kind that changes one, seen or not
					return fault(w.Peers.Get(w.ctx, v, address(n)))
				}
				return err
			},
			func(v ngnpro.Viewer, n int) error { return w.Peers.Delete(w.ctx, v, address(n)) },
		},
		{
			"ENUM range", ngnpro.ErrRangeNotFound,
			func(n, customer, reseller int) error {
				r := &ngnpro.EnumRange{ID: prefix(figures(n))}
				r.Customer, r.Reseller = of(customer, reseller)
				return w.Ranges.Add(w.ctx, admin, r)
			},
			func(v ngnpro.Viewer, n int) error { return fault(w.Ranges.Get(w.ctx, v, prefix(figures(n)))) },
			func(v ngnpro.Viewer, n int) (int, error) {
				var q ngnpro.EnumRangeQuery
				q.Filter.Prefix = figures(n)
				return count(w.Ranges.Find(w.ctx, v, &q))
			},
			func(v ngnpro.Viewer, n int) error {
				return w.Ranges.Update(w.ctx, v, &ngnpro.EnumRange{ID: prefix(figures(n)), Info: new("x")})
			},
			func(v ngnpro.Viewer, n int) error { return w.Ranges.Delete(w.ctx, v, prefix(figures(n))) },
		},
		{
			"ENUM number", ngnpro.ErrNumberNotFound,
			func(n, customer, reseller int) error {
				r := &ngnpro.EnumRange{ID: prefix("1" + figures(n))}
				r.Customer, r.Reseller = of(customer, reseller)
				if err := w.Ranges.Add(w.ctx, admin, r); err != nil {
					return err
				}
				return w.Numbers.Add(w.ctx, admin, &ngnpro.EnumNumber{ID: phone("1" + figures(n) + "0")})
			},
			func(v ngnpro.Viewer, n int) error { return fault(w.Numbers.Get(w.ctx, v, phone("1"+figures(n)+"0"))) },
			func(v ngnpro.Viewer, n int) (int, error) {
				var q ngnpro.EnumNumberQuery
				q.Filter.Number = "1" + figures(n) + "0"
				return count(w.Numbers.Find(w.ctx, v, &q))
			},
			func(v ngnpro.Viewer, n int) error {
				return w.Numbers.Update(w.ctx, v, &ngnpro.EnumNumber{ID: phone("1" + figures(n) + "0"), Info: new("x")})
			},
			func(v ngnpro.Viewer, n int) error { return w.Numbers.Delete(w.ctx, v, phone("1"+figures(n)+"0")) },
		},
	}
}

// Who sees a record may read, list, change and delete it; to all others it does not
// exist.
func TestWhoSeesARecordMayActOnIt(t *testing.T) {
	w := newWorld(t)
	w.domain("d.example")
	w.account("target@d.example")
	r1, r2 := w.customer("r1", 0), w.customer("r2", 0)
	c1, c2, c3 := w.customer("c1", r1), w.customer("c2", r1), w.customer("c3", r2)
	type owner struct {
		name               string
		customer, reseller int
	}
	owners := []owner{{"customer 1", c1, r1}, {"customer 2", c2, r1}, {"reseller 1", r1, r1}, {"reseller 2", r2, r2}, {"customer 3", c3, r2}, {"nobody", 0, 0}}
	viewers := []struct {
		name string
		v    ngnpro.Viewer
		sees string // a letter for each owner: y or -
	}{
		{"administrator", admin, "yyyyyy"},
		{"reseller 1", reseller(r1), "yyy---"},
		{"reseller 2", reseller(r2), "---yy-"},
		{"customer 1", customer(c1), "y-----"},
		{"customer 3", customer(c3), "----y-"},
		{"nobody", ngnpro.Viewer{}, "------"},
	}
	n := 0
	for _, k := range w.ownedKinds() {
		for i, o := range owners {
			for _, viewer := range viewers {
				n++
				w.ok(k.add(n, o.customer, o.reseller))
				what := fmt.Sprintf("%s of %s, by %s", k.name, o.name, viewer.name)
				seen := viewer.sees[i] == 'y'
				check := func(act string, err error) {
					t.Helper()
					if seen && err != nil || !seen && !errors.Is(err, k.missing) {
						t.Errorf("%s %s: %v", act, what, err)
					}
				}
				check("get", k.get(viewer.v, n))
				if total, err := k.listed(viewer.v, n); err != nil || (total == 1) != seen {
					t.Errorf("list %s: %d, %v", what, total, err)
				}
				check("update", k.update(viewer.v, n))
				check("delete", k.remove(viewer.v, n))
			}
		}
	}
	w.check()
}

// To whom a new record belongs for which a party names a customer and a reseller.
func TestToWhomANewRecordBelongs(t *testing.T) {
	w := newWorld(t)
	r1, r2 := w.customer("r1", 0), w.customer("r2", 0)
	c1, c2, c3 := w.customer("c1", r1), w.customer("c2", r1), w.customer("c3", r2)
	w.allow("*.example", "", "", r1, r2, c1, c2, c3)
	none := (*int)(nil)
	for i, c := range []struct {
		v                  ngnpro.Viewer
		customer, reseller *int
		want               [2]int
		fault              *ngnpro.Fault
	}{
		{admin, none, none, [2]int{0, 0}, nil},
		{admin, &c1, none, [2]int{c1, r1}, nil},
		{admin, none, &r1, [2]int{0, r1}, nil},
		{admin, &c1, &r2, [2]int{c1, r1}, nil}, // a customer brings its reseller
		{admin, none, &c1, [2]int{}, ngnpro.ErrCustomerNotFound},
		{admin, new(999), none, [2]int{}, ngnpro.ErrCustomerNotFound},
		{reseller(r1), none, none, [2]int{r1, r1}, nil},
		{reseller(r1), &c1, none, [2]int{c1, r1}, nil},
		{reseller(r1), &c3, none, [2]int{}, ngnpro.ErrCustomerNotFound},
		{reseller(r1), new(999), none, [2]int{}, ngnpro.ErrCustomerNotFound},
		{reseller(r1), none, &r2, [2]int{}, ngnpro.ErrForbidden},
		{customer(c1), none, none, [2]int{c1, r1}, nil},
		{customer(c1), &c2, none, [2]int{}, ngnpro.ErrForbidden},
		{customer(c1), none, &r2, [2]int{}, ngnpro.ErrForbidden},
		{ngnpro.Viewer{}, none, none, [2]int{}, ngnpro.ErrForbidden},
	} {
		name := fmt.Sprintf("n%d.example", i)
		err := w.Domains.Add(w.ctx, c.v, &ngnpro.SipDomain{Domain: name, Customer: c.customer, Reseller: c.reseller})
		if c.fault != nil {
			is(t, fmt.Sprintf("case %d", i), err, c.fault)
			if c.customer != nil && c.fault == ngnpro.ErrCustomerNotFound && !strings.HasSuffix(err.Error(), fmt.Sprintf("there is no customer %d", *c.customer)) {
				t.Errorf("case %d tells that the customer is another party's: %v", i, err)
			}
			continue
		}
		w.ok(err)
		d, err := w.Domains.Get(w.ctx, admin, name)
		w.ok(err)
		if got := [2]int{*d.Customer, *d.Reseller}; got != c.want {
			t.Errorf("case %d: it belongs to %v, want %v", i, got, c.want)
		}
	}
}

// Customers and resellers as records: who sees one may read and change it, and only
// its reseller or an administrator deletes it.
func TestWhoMayActOnAParty(t *testing.T) {
	w := newWorld(t)
	r1, r2 := w.customer("r1", 0), w.customer("r2", 0)
	c1, c3 := w.customer("c1", r1), w.customer("c3", r2)
	parties := []int{c1, r1, r2, c3}
	for _, viewer := range []struct {
		v                ngnpro.Viewer
		sees, mayDelete  string // a letter for each party
		mayAdd, mayGrant bool
	}{
		{ngnpro.Viewer{}, "----", "----", false, false},
		{customer(c1), "y---", "----", false, false},
		{customer(c3), "---y", "----", false, false},
		{reseller(r1), "yy--", "y---", true, true},
		{admin, "yyyy", "y--y", true, true}, // resellers are in use
	} {
		for i, id := range parties {
			_, err := w.Customers.Get(w.ctx, viewer.v, id)
			seen := viewer.sees[i] == 'y'
			if seen != (err == nil) || !seen && !errors.Is(err, ngnpro.ErrCustomerNotFound) {
				t.Errorf("%+v reads party %d: %v", viewer.v, id, err)
			}
			err = w.Customers.Update(w.ctx, viewer.v, &ngnpro.CustomerAccount{ID: &id, City: new("Haarlem")})
			if seen != (err == nil) {
				t.Errorf("%+v changes party %d: %v", viewer.v, id, err)
			}
			credit := viewer.mayGrant && seen && (viewer.v.Admin || id != viewer.v.Reseller)
			err = w.Customers.Update(w.ctx, viewer.v, &ngnpro.CustomerAccount{ID: &id, Credit: new(float64(i) + float64(viewer.v.Reseller)/8 + 3)})
			if credit != (err == nil) {
				t.Errorf("%+v grants to party %d: %v", viewer.v, id, err)
			}
		}
		made, err := w.Customers.Add(w.ctx, viewer.v, &ngnpro.CustomerAccount{Username: new(fmt.Sprintf("made by %+v", viewer.v)), Password: new("p"), Reseller: &r1})
		if viewer.mayAdd != (err == nil) {
			t.Errorf("%+v adds a customer: %v", viewer.v, err)
		} else if err == nil {
			w.ok(w.Customers.Delete(w.ctx, viewer.v, *made.ID))
		}
		for i, id := range parties {
			if err := w.Customers.Delete(w.ctx, viewer.v, id); (viewer.mayDelete[i] == 'y') != (err == nil) {
				t.Errorf("%+v deletes party %d: %v", viewer.v, id, err)
			} else if err == nil {
				parties[i] = w.customer(fmt.Sprintf("again %d by %+v", id, viewer.v), map[int]int{0: r1, 3: r2}[i])
			}
		}
	}
}
