package store

import (
	"context"
	"database/sql"
	"errors"

	"thor/provisioning/ngnpro"
)

// domains are SIP domains.
type domains struct{ *backend }

const domainColumns = "domain, customer_id, reseller_id, certificate, private_key, match_ip_address, match_sip_domain, verify_cert, require_cert, change_date"

func scanDomain(scan func(...any) error) (*ngnpro.SipDomain, error) {
	d := &ngnpro.SipDomain{
		Customer: new(int), Reseller: new(int), MatchIPAddress: new(string), MatchSIPDomain: new(string),
		VerifyCert: new(bool), RequireCert: new(bool),
	}
	err := scan(&d.Domain, d.Customer, d.Reseller, &d.Certificate, &d.PrivateKey, d.MatchIPAddress, d.MatchSIPDomain,
		d.VerifyCert, d.RequireCert, &d.ChangeDate)
	return d, err
}

func checkDomain(d *ngnpro.SipDomain) (name string, err error) {
	var c check
	name = fold(d.Domain)
	c.domain("domain", name)
	c.opt("certificate", d.Certificate, maxPEM)
	c.opt("private_key", d.PrivateKey, maxPEM)
	c.opt("match_ip_address", d.MatchIPAddress, maxURI)
	c.opt("match_sip_domain", d.MatchSIPDomain, maxURI)
	return name, c.err
}

// Add adds a SIP domain.
func (s domains) Add(ctx context.Context, v ngnpro.Viewer, d *ngnpro.SipDomain) error {
	name, err := checkDomain(d)
	if err != nil {
		return err
	}
	return s.write(ctx, "add domain", func(t *tx) error {
		p, err := t.owner(v, d.Customer, d.Reseller, party{})
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
		if err := t.mayClaim(v, name, p); err != nil {
			return err
		}
		const insert = "INSERT INTO sip_domains (domain, customer_id, reseller_id, certificate, private_key, match_ip_address, match_sip_domain," +
			" verify_cert, require_cert, change_date) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, UTC_TIMESTAMP())"
		if _, err := t.exec(insert, name, p.customer, p.reseller, d.Certificate, d.PrivateKey, or(d.MatchIPAddress, ""), or(d.MatchSIPDomain, ""),
			or(d.VerifyCert, false), or(d.RequireCert, false)); err != nil {
			if duplicate(err) {
				return ngnpro.ErrDomainExists.With("the SIP domain %s exists already", name)
			}
			return err
		}
		return t.projectDomain(name)
	})
}

// domain reads and locks a domain that v sees.
func (t *tx) domain(v ngnpro.Viewer, name string) (*ngnpro.SipDomain, error) {
	row := t.q.QueryRowContext(t.ctx, "SELECT "+domainColumns+" FROM sip_domains WHERE domain = ? FOR UPDATE", name)
	d, err := scanDomain(row.Scan)
	if errors.Is(err, sql.ErrNoRows) || err == nil && !v.Sees(*d.Customer, *d.Reseller) {
		return nil, ngnpro.ErrDomainNotFound.With("there is no SIP domain %s", name)
	}
	return d, err
}

// Update changes what is given. Customer and reseller of what is in the
// domain follow.
func (s domains) Update(ctx context.Context, v ngnpro.Viewer, d *ngnpro.SipDomain) (ns Notices, err error) {
	name, err := checkDomain(d)
	if err != nil {
		return nil, err
	}
	err = s.write(ctx, "update domain", func(t *tx) error {
		ns = nil
		o, err := t.domain(v, name)
		if err != nil {
			return err
		}
		was := party{*o.Customer, *o.Reseller}
		is, err := t.owner(v, d.Customer, d.Reseller, was)
		if err != nil {
			return err
		}
		replace(&o.Certificate, d.Certificate)
		replace(&o.PrivateKey, d.PrivateKey)
		const update = "UPDATE sip_domains SET customer_id = ?, reseller_id = ?, certificate = ?, private_key = ?, match_ip_address = ?," +
			" match_sip_domain = ?, verify_cert = ?, require_cert = ?, change_date = UTC_TIMESTAMP() WHERE domain = ?"
		if _, err := t.exec(update, is.customer, is.reseller, o.Certificate, o.PrivateKey, or(d.MatchIPAddress, *o.MatchIPAddress),
			or(d.MatchSIPDomain, *o.MatchSIPDomain), or(d.VerifyCert, *o.VerifyCert), or(d.RequireCert, *o.RequireCert), name); err != nil {
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

// replace stores what is given; empty is none.
func replace(dst **string, given *string) {
	if given == nil {
		return
	}
	*dst = given
	if *given == "" {
		*dst = nil
	}
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
func (s domains) Delete(ctx context.Context, v ngnpro.Viewer, domain string) error {
	name := fold(domain)
	return s.write(ctx, "delete domain", func(t *tx) error {
		if _, err := t.domain(v, name); err != nil {
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

// Find lists domains.
func (s domains) Find(ctx context.Context, v ngnpro.Viewer, q *ngnpro.SipDomainQuery) (total int, ds []ngnpro.SipDomain, err error) {
	var l list
	l.visible(v, "customer_id", "reseller_id")
	l.like("domain", "filter.domain", fold(q.Filter.Domain))
	l.equal("customer_id", q.Filter.Customer)
	l.equal("reseller_id", q.Filter.Reseller)
	l.sort(q.OrderBy, map[string]string{"changeDate": "change_date", "domain": "domain"}, "domain")
	l.part(q.Range)
	err = s.snapshot(ctx, "find domains", func(t *tx) error {
		ds = nil
		total, err = t.find(&l, domainColumns, "sip_domains", func(r *sql.Rows) error {
			d, err := scanDomain(r.Scan)
			ds = append(ds, *d)
			return err
		})
		return err
	})
	return total, ds, err
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
