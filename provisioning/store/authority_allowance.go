package store

import (
	"database/sql"
	"net/netip"
	"slices"

	"thor/provisioning/allowance"
	"thor/provisioning/ngnpro"
)

// allowances are what v is allowed: a reseller's own, or a customer's and its
// reseller's, which both have to allow. An administrator has none and needs none.
func (a authority) allowances() ([]allowance.Allowance, error) {
	ids := []int{a.v.Reseller}
	if a.v.Customer != 0 {
		var r int
		if _, err := a.row("SELECT reseller_id FROM customers WHERE id = ?", []any{a.v.Customer}, []any{&r}); err != nil {
			return nil, err
		}
		ids = []int{a.v.Customer, r}
	}
	var as []allowance.Allowance
	for _, id := range ids {
		x, err := a.allowanceOf(id)
		if err != nil {
			return nil, err
		}
		as = append(as, x)
	}
	return as, nil
}

// allowanceOf is what one party is allowed. What is kept in another form, by an
// earlier version or by hand, allows nothing.
func (a authority) allowanceOf(id int) (allowance.Allowance, error) {
	values := make(map[string]string)
	const q = "SELECT name, value FROM customer_properties WHERE customer_id = ? AND name IN (?, ?, ?, ?)"
	err := a.rows(q, []any{id, allowance.Domains, allowance.Groups, allowance.Peers, allowance.Ranges}, func(r *sql.Rows) error {
		var name, value string
		err := r.Scan(&name, &value)
		values[name] = value
		return err
	})
	x, bad := allowance.Parse(values)
	if bad != nil {
		x = allowance.Allowance{}
	}
	return x, err
}

// claims checks that v may add a domain for a party. A reserved one has to be
// in the allowance of the party's reseller, which administrators alone give, and of
// the customer if it acts; the network's own domain is an administrator's anyway.
func (a authority) claims(domain string, of party) error {
	why := allowance.Reserved(domain, a.cfg.Domain)
	if a.v.Admin && (why == "" || domain == a.cfg.Domain) {
		return nil
	}
	if a.v.Admin {
		a.v = ngnpro.Viewer{Reseller: of.reseller}
	}
	as, err := a.allowances()
	if err != nil {
		return err
	}
	for _, x := range as {
		if x.Claims(domain, why != "") {
			continue
		}
		if why != "" {
			return ngnpro.ErrForbidden.With("the SIP domain %s is reserved, %s: an administrator has to name it in the reseller's %s", domain, why, allowance.Domains)
		}
		return ngnpro.ErrForbidden.With("this party may not add the SIP domain %s: %s does not have it", domain, allowance.Domains)
	}
	return nil
}

// limits are what bounds the account's calls.
func (p *profile) limits() allowance.Limits {
	return allowance.Limits{Quota: p.Quota, CallLimit: p.CallLimit, Prepaid: p.Prepaid}
}

// changesProfile checks that v may make profile is of was.
func (a authority) changesProfile(was, is *profile) error {
	if a.v.Admin || slices.Equal(was.Groups, is.Groups) && was.limits() == is.limits() {
		return nil
	}
	as, err := a.allowances()
	if err != nil {
		return err
	}
	for _, x := range as {
		if g, ok := x.Changes(was.Groups, is.Groups); !ok {
			return ngnpro.ErrForbidden.With("this party may not give or take the group %s: %s does not have it", g, allowance.Groups)
		}
		if !x.Loosens(was.limits(), is.limits()) {
			return ngnpro.ErrForbidden.With("this party may not loosen quota, callLimit or prepaid: %s does not have %s", allowance.Groups, allowance.PSTN)
		}
	}
	return nil
}

// deletesAccount checks that v may delete an account with the profile p.
func (a authority) deletesAccount(p *profile) error {
	if a.v.Admin || len(p.Groups) == 0 {
		return nil
	}
	as, err := a.allowances()
	if err != nil {
		return err
	}
	for _, x := range as {
		if g, ok := x.Deletes(p.Groups); !ok {
			return ngnpro.ErrForbidden.With("this party may not delete an account of the group %s: %s does not have it", g, allowance.Groups)
		}
	}
	return nil
}

// remember notes what bounds the calls of an account that is deleted: it counts when
// the account is made anew. An administrator may make it anew without.
func (a authority) remember(x *accountRow) error {
	p := x.profile
	if a.v.Admin || p.limits() == (allowance.Limits{}) {
		return nil
	}
	const q = "INSERT INTO sip_accounts_former (username, domain, quota, call_limit, prepaid, change_date) VALUES (?, ?, ?, ?, ?, UTC_TIMESTAMP())" +
		" ON DUPLICATE KEY UPDATE quota = VALUES(quota), call_limit = VALUES(call_limit), prepaid = VALUES(prepaid), change_date = VALUES(change_date)"
	_, err := a.exec(q, x.id.Username, x.id.Domain, p.Quota, p.CallLimit, p.Prepaid)
	return err
}

// former is what bounded the account of that name before it was deleted. It is
// forgotten: the account that is added now has limits of its own.
func (a authority) former(id ngnpro.SipID) (*profile, error) {
	p := &profile{}
	const q = "SELECT quota, call_limit, prepaid FROM sip_accounts_former WHERE username = ? AND domain = ? FOR UPDATE"
	found, err := a.row(q, []any{id.Username, id.Domain}, []any{&p.Quota, &p.CallLimit, &p.Prepaid})
	if err == nil && found {
		_, err = a.exec("DELETE FROM sip_accounts_former WHERE username = ? AND domain = ?", id.Username, id.Domain)
	}
	return p, err
}

// trusts checks that v, a reseller, may have n trusted beside what its reseller has trusted
// already. Other transactions that add for the same reseller wait.
func (a authority) trusts(n netip.Prefix) error {
	var locked int
	if _, err := a.row("SELECT id FROM customers WHERE id = ? FOR UPDATE", []any{a.v.Reseller}, []any{&locked}); err != nil {
		return err
	}
	x, err := a.allowanceOf(a.v.Reseller)
	if err != nil {
		return err
	}
	peers := []netip.Prefix{n}
	err = a.rows("SELECT ip FROM sip_trusted WHERE reseller_id = ? AND NOT blocked", []any{a.v.Reseller}, func(r *sql.Rows) error {
		ip := ""
		if err := r.Scan(&ip); err != nil {
			return err
		}
		if p, err := ngnpro.PeerNetwork(ip); err == nil && p != n {
			peers = append(peers, p)
		}
		return nil
	})
	if err == nil && !x.Trusts(peers) {
		err = ngnpro.ErrForbidden.With("this party may not have more addresses trusted: %s does not allow them", allowance.Peers)
	}
	return err
}

// allows checks that v gives a party no more than it has itself. Properties are
// the party's, by name, with what is set.
func (a authority) allows(of party, properties map[string]string) error {
	x, err := allowance.Parse(properties)
	if err != nil {
		return ngnpro.ErrInvalid.With("%s", err.Error())
	}
	if a.v.Admin {
		return nil
	}
	own, err := a.allowanceOf(of.reseller)
	if err != nil {
		return err
	}
	if name := x.Within(own); name != "" {
		return ngnpro.ErrForbidden.With("%s is more than the reseller has", name)
	}
	return nil
}
