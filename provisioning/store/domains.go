package store

import (
	"context"
	"database/sql"

	"thor/provisioning/ngnpro"
)

// domains are SIP domains.
type domains struct{ *backend }

var domainTable = newTable("sip_domains", "",
	func(d *ngnpro.SipDomain) party { return partyOf(d.Customer, d.Reseller) },
	func(d *ngnpro.SipDomain) []field {
		return []field{
			{"domain", &d.Domain, key},
			{"customer_id", &d.Customer, kept},
			{"reseller_id", &d.Reseller, kept},
			{"certificate", &d.Certificate, orNull},
			{"private_key", &d.PrivateKey, orNull},
			{"match_ip_address", &d.MatchIPAddress, kept},
			{"match_sip_domain", &d.MatchSIPDomain, kept},
			{"verify_cert", &d.VerifyCert, kept},
			{"require_cert", &d.RequireCert, kept},
			{"change_date", &d.ChangeDate, changed},
		}
	})

// Add adds a SIP domain.
func (s domains) Add(ctx context.Context, v ngnpro.Viewer, d *ngnpro.SipDomain) error {
	name := d.Domain
	return s.write(ctx, "add domain", func(t *tx) error {
		p, err := t.as(v).owner(d.Customer, d.Reseller, party{})
		if err != nil {
			return err
		}
		var taken bool
		if _, err := t.row("SELECT EXISTS(SELECT 1 FROM sip_domains WHERE domain = ?)", []any{name}, []any{&taken}); err != nil {
			return err
		}
		if taken {
			return ngnpro.ErrDomainExists.With("the SIP domain %s exists already", name)
		}
		if err := t.as(v).claims(name, p); err != nil {
			return err
		}
		n := *d
		n.Customer, n.Reseller = &p.customer, &p.reseller
		if _, err := domainTable.insert(t, &n); err != nil {
			if duplicate(err) {
				return ngnpro.ErrDomainExists.With("the SIP domain %s exists already", name)
			}
			return err
		}
		return t.projectDomain(name)
	})
}

// domain reads a domain that v sees.
func (t *tx) domain(v ngnpro.Viewer, name string, l lock) (*ngnpro.SipDomain, error) {
	return domainTable.get(t, v, l, ngnpro.ErrDomainNotFound.With("there is no SIP domain %s", name), name)
}

// Update changes what is given. Customer and reseller of what is in the
// domain follow.
func (s domains) Update(ctx context.Context, v ngnpro.Viewer, d *ngnpro.SipDomain) (ns Notices, err error) {
	name := d.Domain
	err = s.write(ctx, "update domain", func(t *tx) error {
		ns = nil
		o, err := t.domain(v, name, forUpdate)
		if err != nil {
			return err
		}
		was := domainTable.party(o)
		is, err := t.as(v).owner(d.Customer, d.Reseller, was)
		if err != nil {
			return err
		}
		domainTable.merge(o, d)
		o.Customer, o.Reseller = &is.customer, &is.reseller
		if err := domainTable.update(t, o); err != nil {
			return err
		}
		if is == was {
			return nil
		}
		ns, err = t.moveDomain(name, is)
		return err
	})
	return ns, err
}

// moveDomain gives all that is in a domain to another party.
func (t *tx) moveDomain(name string, to party) (Notices, error) {
	if err := t.each([]any{to.customer, to.reseller, name},
		"UPDATE sip_accounts_meta SET customer_id = ?, reseller_id = ?, change_date = UTC_TIMESTAMP() WHERE domain = ?",
		"UPDATE sip_aliases SET customer_id = ?, reseller_id = ?, change_date = UTC_TIMESTAMP() WHERE domain = ?"); err != nil {
		return nil, err
	}
	return t.bumpDomain(name)
}

// Delete deletes a domain that has no accounts and no aliases.
func (s domains) Delete(ctx context.Context, v ngnpro.Viewer, name string) error {
	return s.write(ctx, "delete domain", func(t *tx) error {
		if _, err := t.domain(v, name, forUpdate); err != nil {
			return err
		}
		const used = "SELECT EXISTS(SELECT 1 FROM sip_accounts_meta WHERE domain = ?) OR EXISTS(SELECT 1 FROM sip_aliases WHERE domain = ?)"
		var is bool
		if _, err := t.row(used, []any{name, name}, []any{&is}); err != nil {
			return err
		}
		if is {
			return ngnpro.ErrDomainNotEmpty.With("accounts or aliases are left in the SIP domain %s", name)
		}
		return t.each([]any{name}, "DELETE FROM sip_domains WHERE domain = ?", "DELETE FROM domain WHERE domain = ?")
	})
}

// Get is one domain.
func (s domains) Get(ctx context.Context, v ngnpro.Viewer, name string) (d *ngnpro.SipDomain, err error) {
	err = s.look(ctx, "get domain", func(t *tx) error {
		d, err = t.domain(v, name, unlocked)
		return err
	})
	return d, err
}

// Find lists domains.
func (s domains) Find(ctx context.Context, v ngnpro.Viewer, q *ngnpro.SipDomainQuery) (total int, ds []ngnpro.SipDomain, err error) {
	var l search
	l.of(v, q.Filter.Customer, q.Filter.Reseller)
	l.like("domain", q.Filter.Domain)
	l.sort(q.OrderBy, map[string]string{"changeDate": "change_date", "domain": "domain"}, "domain")
	l.part(q.Range)
	return list(ctx, s.backend, "find domains", domainTable, &l, asTheyAre)
}

// CountAccounts counts the accounts of each domain that has any.
func (s domains) CountAccounts(ctx context.Context) (counts map[string]int, err error) {
	err = s.look(ctx, "count accounts", func(t *tx) error {
		counts = make(map[string]int)
		return t.rows("SELECT domain, COUNT(*) FROM sip_accounts_meta GROUP BY domain", nil, func(r *sql.Rows) error {
			var d string
			var n int
			err := r.Scan(&d, &n)
			counts[d] = n
			return err
		})
	})
	return counts, err
}
