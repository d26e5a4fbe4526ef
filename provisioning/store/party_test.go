package store_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"thor/provisioning/allowance"
	"thor/provisioning/ngnpro"
)

// customer adds a customer of a reseller, or a reseller if that is 0.
func (w *world) customer(name string, reseller int) int {
	w.t.Helper()
	c := &ngnpro.CustomerAccount{Username: &name, Password: new("pw-" + name), Reseller: &reseller, ResellerActive: new(reseller == 0)}
	n, err := w.Customers.Add(w.ctx, admin, c)
	w.ok(err)
	return *n.ID
}

// allow gives parties an allowance, as an administrator; empty is left as it is.
func (w *world) allow(domains, groups, peers string, parties ...int) {
	w.t.Helper()
	for _, id := range parties {
		for name, v := range map[string]string{allowance.Domains: domains, allowance.Groups: groups, allowance.Peers: peers} {
			if v != "" {
				w.ok(w.Customers.SetProperties(w.ctx, admin, id, []ngnpro.CustomerProperty{{Name: name, Value: v}}))
			}
		}
	}
}

func reseller(id int) ngnpro.Viewer { return ngnpro.Viewer{Reseller: id} }
func customer(id int) ngnpro.Viewer { return ngnpro.Viewer{Customer: id} }

func TestEverybodySeesTheirOwn(t *testing.T) {
	w := newWorld(t)
	r1, r2 := w.customer("r1", 0), w.customer("r2", 0)
	c1, c2 := w.customer("c1", r1), w.customer("c2", r1)
	w.allow("*.example", "", "", r1, r2, c1, c2)
	w.ok(w.Domains.Add(w.ctx, customer(c1), &ngnpro.SipDomain{Domain: "c1.example"}))
	w.ok(w.Domains.Add(w.ctx, reseller(r1), &ngnpro.SipDomain{Domain: "r1.example"}))
	w.ok(w.Domains.Add(w.ctx, reseller(r2), &ngnpro.SipDomain{Domain: "r2.example"}))
	w.ok(w.Domains.Add(w.ctx, admin, &ngnpro.SipDomain{Domain: "admin.example", Customer: &c2}))
	for v, want := range map[ngnpro.Viewer]int{admin: 4, reseller(r1): 3, reseller(r2): 1, customer(c1): 1, customer(c2): 1, {}: 0} {
		if total, ds, err := w.Domains.Find(w.ctx, v, &ngnpro.SipDomainQuery{}); err != nil || total != want || len(ds) != want {
			t.Errorf("%+v sees %d domains, %v, want %d", v, total, err, want)
		}
	}
	got, _, err := w.Accounts.Add(w.ctx, customer(c1), &ngnpro.SipAccount{ID: id("a@c1.example"), Password: new("p")})
	w.ok(err)
	if a := w.get(got.Key()); a.Customer != c1 || a.Reseller != r1 {
		t.Errorf("the account is of %d, %d", a.Customer, a.Reseller)
	}
	_, err = w.Aliases.Add(w.ctx, reseller(r1), &ngnpro.SipAlias{ID: id("b@r1.example"), Target: id("a@c1.example")})
	w.ok(err)
	for _, v := range []ngnpro.Viewer{customer(c2), reseller(r2), {}} {
		_, err := w.Accounts.Get(w.ctx, v, got)
		is(t, "get", err, ngnpro.ErrAccountNotFound)
		_, err = w.Accounts.Update(w.ctx, v, &ngnpro.SipAccount{ID: got, Password: new("stolen")})
		is(t, "update", err, ngnpro.ErrAccountNotFound)
		_, err = w.Accounts.Delete(w.ctx, v, got)
		is(t, "delete", err, ngnpro.ErrAccountNotFound)
		_, err = w.Accounts.AddToGroup(w.ctx, v, got, "free-pstn")
		is(t, "group", err, ngnpro.ErrAccountNotFound)
		_, _, err = w.Accounts.Add(w.ctx, v, &ngnpro.SipAccount{ID: id("x@c1.example"), Password: new("p")})
		is(t, "add", err, ngnpro.ErrDomainNotFound)
		is(t, "delete domain", w.Domains.Delete(w.ctx, v, "c1.example"), ngnpro.ErrDomainNotFound)
		_, err = w.Aliases.Get(w.ctx, v, id("b@r1.example"))
		is(t, "alias", err, ngnpro.ErrAliasNotFound)
		_, err = w.Mailboxes.Get(w.ctx, v, got)
		is(t, "voicemail", err, ngnpro.ErrVoicemailNotFound)
		if n, _, err := w.Accounts.Find(w.ctx, v, &ngnpro.SipQuery{}); err != nil || n != 0 {
			t.Errorf("%+v finds %d accounts, %v", v, n, err)
		}
	}
	is(t, "another's domain", w.Domains.Add(w.ctx, customer(c2), &ngnpro.SipDomain{Domain: "c1.example"}), ngnpro.ErrDomainExists)
	is(t, "for another customer", w.Domains.Add(w.ctx, customer(c2), &ngnpro.SipDomain{Domain: "x.example", Customer: &c1}), ngnpro.ErrForbidden)
	is(t, "for another's customer", w.Domains.Add(w.ctx, reseller(r2), &ngnpro.SipDomain{Domain: "x.example", Customer: &c1}), ngnpro.ErrCustomerNotFound)
	is(t, "for another reseller", w.Domains.Add(w.ctx, reseller(r2), &ngnpro.SipDomain{Domain: "x.example", Reseller: &r1}), ngnpro.ErrForbidden)
	is(t, "for nobody", w.Domains.Add(w.ctx, ngnpro.Viewer{}, &ngnpro.SipDomain{Domain: "x.example"}), ngnpro.ErrForbidden)
	w.check()
}

func TestADomainTakesItsAccountsAlong(t *testing.T) {
	w := newWorld(t)
	r := w.customer("r", 0)
	c := w.customer("c", r)
	w.domain("d.example")
	w.domain("other.example")
	w.account("a@d.example")
	w.account("o@other.example")
	w.alias("x@d.example", "o@other.example")
	before, err := w.Pushes.Changes(w.ctx, 0)
	w.ok(err)
	ns, err := w.Domains.Update(w.ctx, admin, &ngnpro.SipDomain{Domain: "d.example", Customer: &c, MatchIPAddress: new("192.0.2.1")})
	w.ok(err)
	if len(ns) != 2 || ns[0].Key != "a@d.example" || ns[1].Key != "x@d.example" || ns[0].Revision <= before.Through {
		t.Errorf("concerns %v", ns)
	}
	if x, err := w.Pushes.Subscriber(w.ctx, "a@d.example"); err != nil || x.Customer != c || x.Reseller != r {
		t.Errorf("%+v, %v", x, err)
	}
	ns, err = w.Domains.Update(w.ctx, reseller(r), &ngnpro.SipDomain{Domain: "d.example", PrivateKey: new("PEM"), VerifyCert: new(true)})
	w.ok(err)
	if len(ns) != 0 {
		t.Errorf("a certificate concerns %v", ns)
	}
	_, ds, err := w.Domains.Find(w.ctx, customer(c), &ngnpro.SipDomainQuery{})
	w.ok(err)
	if d := ds[0]; *d.PrivateKey != "PEM" || !*d.VerifyCert || *d.MatchIPAddress != "192.0.2.1" || *d.Customer != c || d.ChangeDate == "" {
		t.Errorf("%+v", d)
	}
	counts, err := w.Domains.CountAccounts(w.ctx)
	w.ok(err)
	if len(counts) != 2 || counts["d.example"] != 1 {
		t.Errorf("counts %v", counts)
	}
	w.check()
}

func TestVisibleAccountsAreThoseOfTheParty(t *testing.T) {
	w := newWorld(t)
	r := w.customer("r", 0)
	c := w.customer("c", r)
	other := w.customer("other", 0)
	w.domain("d.example")
	w.domain("e.example")
	_, err := w.Domains.Update(w.ctx, admin, &ngnpro.SipDomain{Domain: "d.example", Customer: &c, Reseller: &r})
	w.ok(err)
	w.account("a@d.example")
	w.account("a@e.example")
	ids := []ngnpro.SipID{id("a@e.example"), id("b@d.example"), id("a@d.example"), id("a@d.example")}
	for name, x := range map[string]struct {
		v    ngnpro.Viewer
		want int
	}{"admin": {admin, 4}, "reseller": {reseller(r), 2}, "customer": {customer(c), 2}, "other": {reseller(other), 0}, "none": {ngnpro.Viewer{}, 0}} {
		seen, err := w.Accounts.Visible(w.ctx, x.v, ids)
		if w.ok(err); len(seen) != x.want || x.want == 2 && (seen[0] != ids[2] || seen[1] != ids[2]) {
			t.Errorf("%s sees %v", name, seen)
		}
	}
}

func TestResellersAndCustomers(t *testing.T) {
	w := newWorld(t)
	r := w.customer("r", 0)
	c := w.customer("c", r)
	add := func(v ngnpro.Viewer, change func(*ngnpro.CustomerAccount)) error {
		a := &ngnpro.CustomerAccount{Username: new("new"), Password: new("p")}
		change(a)
		_, err := w.Customers.Add(w.ctx, v, a)
		return err
	}
	nothing := func(*ngnpro.CustomerAccount) {}
	is(t, "a customer's customer", add(customer(c), nothing), ngnpro.ErrForbidden)
	is(t, "user name twice", add(admin, func(a *ngnpro.CustomerAccount) { a.Username = new("c") }), ngnpro.ErrCustomerExists)
	is(t, "of a customer", add(admin, func(a *ngnpro.CustomerAccount) { a.Reseller = &c }), ngnpro.ErrCustomerNotFound)
	is(t, "active by itself", add(reseller(r), func(a *ngnpro.CustomerAccount) { a.ResellerActive = new(true) }), ngnpro.ErrForbidden)
	is(t, "impersonating a stranger", add(admin, func(a *ngnpro.CustomerAccount) { a.Reseller, a.Impersonate = &r, new(r+77) }), ngnpro.ErrInvalid)
	w.ok(w.Customers.Update(w.ctx, admin, &ngnpro.CustomerAccount{ID: &r, ResellerActive: new(false)}))
	is(t, "reseller not active", add(reseller(r), nothing), ngnpro.ErrForbidden)
	w.ok(w.Customers.Update(w.ctx, admin, &ngnpro.CustomerAccount{ID: &r, ResellerActive: new(true)}))
	w.ok(add(reseller(r), func(a *ngnpro.CustomerAccount) { a.Impersonate, a.Credit, a.City = &r, new(12.5), new("Haarlem") }))

	total, cs, err := w.Customers.Find(w.ctx, reseller(r), &ngnpro.CustomerQuery{}, false)
	w.ok(err)
	if total != 2 || *cs[1].Username != "new" || *cs[1].Credit != 12.5 || *cs[1].City != "Haarlem" || *cs[1].Reseller != r || cs[1].Password != nil {
		t.Errorf("%d customers, %+v", total, cs)
	}
	if total, cs, err := w.Customers.Find(w.ctx, admin, &ngnpro.CustomerQuery{}, true); err != nil || total != 1 || *cs[0].ID != r {
		t.Errorf("%d resellers, %v", total, err)
	}
	// What is echoed does no harm; what is raised is refused.
	got, err := w.Customers.Get(w.ctx, customer(c), c)
	w.ok(err)
	got.Tel = new("+31")
	w.ok(w.Customers.Update(w.ctx, customer(c), got))
	for what, f := range map[string]func(*ngnpro.CustomerAccount){
		"impersonate": func(a *ngnpro.CustomerAccount) { a.Impersonate = &r }, "credit": func(a *ngnpro.CustomerAccount) { a.Credit = new(1e6) },
		"balance": func(a *ngnpro.CustomerAccount) { a.Balance = new(1.0) }, "active": func(a *ngnpro.CustomerAccount) { a.ResellerActive = new(true) },
	} {
		a := &ngnpro.CustomerAccount{ID: &c}
		f(a)
		is(t, what, w.Customers.Update(w.ctx, customer(c), a), ngnpro.ErrForbidden)
		a.ID = &r
		is(t, "reseller's "+what, w.Customers.Update(w.ctx, customer(c), a), ngnpro.ErrCustomerNotFound)
	}
	is(t, "reseller's own credit", w.Customers.Update(w.ctx, reseller(r), &ngnpro.CustomerAccount{ID: &r, Credit: new(5.0)}), ngnpro.ErrForbidden)
	is(t, "another reseller", w.Customers.Update(w.ctx, admin, &ngnpro.CustomerAccount{ID: &c, Reseller: new(99)}), ngnpro.ErrInvalid)

	w.allow("c.example", "", "", r, c)
	w.ok(w.Domains.Add(w.ctx, customer(c), &ngnpro.SipDomain{Domain: "c.example"}))
	is(t, "in use", w.Customers.Delete(w.ctx, admin, c), ngnpro.ErrCustomerInUse)
	is(t, "reseller in use", w.Customers.Delete(w.ctx, admin, r), ngnpro.ErrCustomerInUse)
	is(t, "oneself", w.Customers.Delete(w.ctx, customer(c), c), ngnpro.ErrForbidden)
	w.ok(w.Domains.Delete(w.ctx, admin, "c.example"))
	w.ok(w.Customers.Delete(w.ctx, reseller(r), c))
	_, err = w.Customers.Get(w.ctx, admin, c)
	is(t, "gone", err, ngnpro.ErrCustomerNotFound)
}

func TestCredentials(t *testing.T) {
	w := newWorld(t)
	const name = "r'; DROP TABLE customers; --"
	r := w.customer(name, 0)
	matches := func(password string) bool {
		t.Helper()
		c, hash, err := w.Customers.Credentials(w.ctx, name)
		w.ok(err)
		if *c.ID != r || c.Password != nil {
			t.Errorf("%+v", c)
		}
		return bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) == nil
	}
	if !matches("pw-"+name) || matches("wrong") {
		t.Error("the hash is not the password's")
	}
	for _, x := range []string{"nobody", "", "R'; DROP TABLE customers; --"} {
		_, _, err := w.Customers.Credentials(w.ctx, x)
		is(t, "credentials of "+x, err, ngnpro.ErrCustomerNotFound)
	}
	w.ok(w.Customers.Update(w.ctx, admin, &ngnpro.CustomerAccount{ID: &r, Password: new("other")}))
	if matches("pw-"+name) || !matches("other") {
		t.Error("the hash is not the new password's")
	}
	if got := w.rows("SELECT LEFT(password_hash, 4), LENGTH(password_hash) FROM customers"); got != "$2a$\t60" {
		t.Errorf("kept as %q", got)
	}
}

func TestCreditsLimit(t *testing.T) {
	w := newWorld(t)
	r := w.customer("r", 0)
	c := w.customer("c", r)
	set := func(v ngnpro.Viewer, of int, name, value, permission string) error {
		return w.Customers.SetProperties(w.ctx, v, of, []ngnpro.CustomerProperty{{Name: name, Value: value, Category: new("credit"), Permission: &permission}})
	}
	w.ok(set(reseller(r), c, "sip_credit", "1", "reseller"))
	w.ok(set(reseller(r), c, "sip_alias_credit", "1", "customer"))
	w.ok(set(admin, r, "enum_range_credit", "1", "admin"))
	w.ok(set(admin, r, "enum_number_credit", "1", "admin"))
	is(t, "by the customer", set(customer(c), c, "sip_credit", "99", "customer"), ngnpro.ErrForbidden)
	is(t, "by the customer, as allowed by a mistake", set(customer(c), c, "sip_alias_credit", "99", "customer"), ngnpro.ErrForbidden)
	is(t, "by the reseller for itself", set(reseller(r), r, "sip_credit", "99", ""), ngnpro.ErrForbidden)
	w.ok(set(customer(c), c, "colour", "blue", ""))
	w.allow("c.example", "", "", r, c)
	ps, err := w.Customers.Properties(w.ctx, customer(c), c)
	w.ok(err)
	if len(ps) != 4 || ps[0].Name != "colour" {
		t.Errorf("properties %+v", ps)
	}
	w.ok(w.Customers.SetProperties(w.ctx, customer(c), c, ps)) // echoed
	w.ok(w.grant(admin, r, allowance.Ranges, "*"))
	w.ok(w.grant(reseller(r), c, allowance.Ranges, "31"))

	w.ok(w.Domains.Add(w.ctx, customer(c), &ngnpro.SipDomain{Domain: "c.example"}))
	w.account("a@c.example")
	_, _, err = w.Accounts.Add(w.ctx, admin, &ngnpro.SipAccount{ID: id("b@c.example"), Password: new("p")})
	is(t, "a second account", err, ngnpro.ErrLimit)
	w.alias("x@c.example", "a@c.example")
	_, err = w.Aliases.Add(w.ctx, customer(c), &ngnpro.SipAlias{ID: id("y@c.example"), Target: id("a@c.example")})
	is(t, "a second alias", err, ngnpro.ErrLimit)
	w.ok(w.Ranges.Add(w.ctx, customer(c), &ngnpro.EnumRange{ID: prefix("31")}))
	is(t, "a second range of the reseller's", w.Ranges.Add(w.ctx, reseller(r), &ngnpro.EnumRange{ID: prefix("32")}), ngnpro.ErrLimit)
	w.ok(w.Numbers.Add(w.ctx, customer(c), &ngnpro.EnumNumber{ID: phone("3120")}))
	is(t, "a second number", w.Numbers.Add(w.ctx, customer(c), &ngnpro.EnumNumber{ID: phone("3121")}), ngnpro.ErrLimit)
	_, err = w.Accounts.Delete(w.ctx, customer(c), id("a@c.example"))
	w.ok(err)
	w.account("b@c.example")

	w.ok(set(reseller(r), r, "store_clear_text_passwords", "0", ""))
	_, err = w.Accounts.Update(w.ctx, customer(c), &ngnpro.SipAccount{ID: id("b@c.example"), Password: new("p2")})
	w.ok(err)
	if w.get("b@c.example").Password != nil {
		t.Error("the reseller's wish about passwords was ignored")
	}
	w.check()
}

func TestRangesOfOnePartyAtOnce(t *testing.T) {
	w := newWorld(t)
	r := w.customer("r", 0)
	w.ok(w.Customers.SetProperties(w.ctx, admin, r, []ngnpro.CustomerProperty{{Name: "enum_range_credit", Value: "60", Category: new("credit"), Permission: new("admin")}}))
	w.ok(w.grant(admin, r, allowance.Ranges, "1"))
	var wg sync.WaitGroup
	var added, refused atomic.Int32
	for c := range 16 {
		wg.Go(func() {
			for i := range 4 {
				err := w.Ranges.Add(w.ctx, reseller(r), &ngnpro.EnumRange{ID: ngnpro.EnumRangeID{Prefix: fmt.Sprintf("1%02d%d", c, i)}})
				switch {
				case err == nil:
					added.Add(1)
				case errors.Is(err, ngnpro.ErrLimit):
					refused.Add(1)
				default:
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if added.Load() != 60 || refused.Load() != 4 {
		t.Errorf("%d added, %d refused, of 64 with a credit of 60", added.Load(), refused.Load())
	}
}
