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
func (t *tx) allowances(v ngnpro.Viewer) ([]allowance.Allowance, error) {
	ids := []int{v.Reseller}
	if v.Customer != 0 {
		var r int
		if _, err := t.row("SELECT reseller_id FROM customers WHERE id = ?", []any{v.Customer}, []any{&r}); err != nil {
			return nil, err
		}
		ids = []int{v.Customer, r}
	}
	var as []allowance.Allowance
	for _, id := range ids {
		a, err := t.allowanceOf(id)
		if err != nil {
			return nil, err
		}
		as = append(as, a)
	}
	return as, nil
}

// allowanceOf is what one party is allowed. What is kept in another form, by an
// earlier version or by hand, allows nothing.
func (t *tx) allowanceOf(id int) (allowance.Allowance, error) {
	values := make(map[string]string)
	const q = "SELECT name, value FROM customer_properties WHERE customer_id = ? AND name IN (?, ?, ?)"
	err := t.rows(q, []any{id, allowance.Domains, allowance.Groups, allowance.Peers}, func(r *sql.Rows) error {
		var name, value string
		err := r.Scan(&name, &value)
		values[name] = value
		return err
	})
	a, bad := allowance.Parse(values)
	if bad != nil {
		a = allowance.Allowance{}
	}
	return a, err
}

// mayClaim checks that v may add a domain for a party. A reserved one has to be
// in the allowance of the party's reseller, which administrators alone give, and of
// the customer if it acts; the network's own domain is an administrator's anyway.
func (t *tx) mayClaim(v ngnpro.Viewer, domain string, of party) error {
	why := allowance.Reserved(domain, t.cfg.Domain)
	if v.Admin && (why == "" || domain == t.cfg.Domain) {
		return nil
	}
	if v.Admin {
		v = ngnpro.Viewer{Reseller: of.reseller}
	}
	as, err := t.allowances(v)
	if err != nil {
		return err
	}
	for _, a := range as {
		if a.Claims(domain, why != "") {
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

// mayProfile checks that v may make profile is of was.
func (t *tx) mayProfile(v ngnpro.Viewer, was, is *profile) error {
	if v.Admin || slices.Equal(was.Groups, is.Groups) && was.limits() == is.limits() {
		return nil
	}
	as, err := t.allowances(v)
	if err != nil {
		return err
	}
	for _, a := range as {
		if g, ok := a.Changes(was.Groups, is.Groups); !ok {
			return ngnpro.ErrForbidden.With("this party may not give or take the group %s: %s does not have it", g, allowance.Groups)
		}
		if !a.Loosens(was.limits(), is.limits()) {
			return ngnpro.ErrForbidden.With("this party may not loosen quota, callLimit or prepaid: %s does not have %s", allowance.Groups, allowance.PSTN)
		}
	}
	return nil
}

// mayDelete checks that v may delete an account with the profile p.
func (t *tx) mayDelete(v ngnpro.Viewer, p *profile) error {
	if v.Admin || len(p.Groups) == 0 {
		return nil
	}
	as, err := t.allowances(v)
	if err != nil {
		return err
	}
	for _, a := range as {
		if g, ok := a.Deletes(p.Groups); !ok {
			return ngnpro.ErrForbidden.With("this party may not delete an account of the group %s: %s does not have it", g, allowance.Groups)
		}
	}
	return nil
}

// remember notes what bounds the calls of an account that v deletes: it counts when
// the account is made anew. An administrator may make it anew without.
func (t *tx) remember(v ngnpro.Viewer, a *accountRow) error {
	p := a.profile
	if v.Admin || p.limits() == (allowance.Limits{}) {
		return nil
	}
	const q = "INSERT INTO sip_accounts_former (username, domain, quota, call_limit, prepaid, change_date) VALUES (?, ?, ?, ?, ?, UTC_TIMESTAMP())" +
		" ON DUPLICATE KEY UPDATE quota = VALUES(quota), call_limit = VALUES(call_limit), prepaid = VALUES(prepaid), change_date = VALUES(change_date)"
	_, err := t.exec(q, a.id.Username, a.id.Domain, p.Quota, p.CallLimit, p.Prepaid)
	return err
}

// former is what bounded the account of that name before it was deleted. It is
// forgotten: the account that is added now has limits of its own.
func (t *tx) former(id ngnpro.SipID) (*profile, error) {
	p := &profile{}
	const q = "SELECT quota, call_limit, prepaid FROM sip_accounts_former WHERE username = ? AND domain = ? FOR UPDATE"
	found, err := t.row(q, []any{id.Username, id.Domain}, []any{&p.Quota, &p.CallLimit, &p.Prepaid})
	if err == nil && found {
		_, err = t.exec("DELETE FROM sip_accounts_former WHERE username = ? AND domain = ?", id.Username, id.Domain)
	}
	return p, err
}

// mayTransit checks that v may have a peer reach domains that are not served here.
func mayTransit(v ngnpro.Viewer, was, is bool) error {
	if is && !was && !v.Admin {
		return ngnpro.ErrForbidden.With("transit is an administrator's to give")
	}
	return nil
}

// mayTrust checks that v may have n trusted beside what its reseller has trusted
// already. Who adds for the same reseller waits.
func (t *tx) mayTrust(v ngnpro.Viewer, n netip.Prefix) error {
	if v.Admin {
		return nil
	}
	var locked int
	if _, err := t.row("SELECT id FROM customers WHERE id = ? FOR UPDATE", []any{v.Reseller}, []any{&locked}); err != nil {
		return err
	}
	a, err := t.allowanceOf(v.Reseller)
	if err != nil {
		return err
	}
	peers := []netip.Prefix{n}
	err = t.rows("SELECT ip FROM sip_trusted WHERE reseller_id = ? AND NOT blocked", []any{v.Reseller}, func(r *sql.Rows) error {
		ip := ""
		if err := r.Scan(&ip); err != nil {
			return err
		}
		if p, err := ngnpro.PeerNetwork(ip); err == nil && p != n {
			peers = append(peers, p)
		}
		return nil
	})
	if err == nil && (v.Reseller == 0 || !a.Trusts(peers)) {
		err = ngnpro.ErrForbidden.With("this party may not have more addresses trusted: %s does not allow them", allowance.Peers)
	}
	return err
}

// mayAllow checks that v gives a party no more than it has itself. Properties are
// the party's, by name, with what is set.
func (t *tx) mayAllow(v ngnpro.Viewer, of party, properties map[string]string) error {
	a, err := allowance.Parse(properties)
	if err != nil {
		return ngnpro.ErrInvalid.With("%s", err.Error())
	}
	if v.Admin {
		return nil
	}
	own, err := t.allowanceOf(of.reseller)
	if err != nil {
		return err
	}
	if name := a.Within(own); name != "" {
		return ngnpro.ErrForbidden.With("%s is more than the reseller has", name)
	}
	return nil
}
