package store

import (
	"context"
	"database/sql"
	"errors"

	"thor/provisioning/ngnpro"
)

// aliases are other addresses of subscribers.
type aliases struct{ *backend }

const aliasColumns = "username, domain, target_username, target_domain, owner_id, customer_id, reseller_id, change_date"

func scanAlias(scan func(...any) error) (*ngnpro.SipAlias, error) {
	a := &ngnpro.SipAlias{Owner: new(int)}
	err := scan(&a.ID.Username, &a.ID.Domain, &a.Target.Username, &a.Target.Domain, a.Owner, &a.Customer, &a.Reseller, &a.ChangeDate)
	return a, err
}

func checkAlias(a *ngnpro.SipAlias) (id, target ngnpro.SipID, err error) {
	var c check
	id, target = foldID(a.ID), foldID(a.Target)
	c.id("id", id)
	c.id("target", target)
	c.number("owner", a.Owner, 0, maxNumber)
	return id, target, c.err
}

// Add adds another address of an account.
func (s aliases) Add(ctx context.Context, v ngnpro.Viewer, a *ngnpro.SipAlias) (ns Notices, err error) {
	id, target, err := checkAlias(a)
	if err != nil {
		return nil, err
	}
	err = s.write(ctx, "add alias", func(t *tx) error {
		p, err := t.domainParty(v, id.Domain, false)
		if err != nil {
			return err
		}
		st, err := t.settings(p)
		if err != nil {
			return err
		}
		if err := t.credit(st, "sip_alias_credit", "SELECT COUNT(*) FROM sip_aliases WHERE"); err != nil {
			return err
		}
		if err := t.claim(id); err != nil {
			return err
		}
		if _, err := t.subscriber(v, target, true); err != nil {
			return err
		}
		if err := t.anotherAlias(target); err != nil {
			return err
		}
		const insert = "INSERT INTO sip_aliases (username, domain, target_username, target_domain, owner_id, customer_id, reseller_id, change_date)" +
			" VALUES (?, ?, ?, ?, ?, ?, ?, UTC_TIMESTAMP())"
		if _, err := t.exec(insert, id.Username, id.Domain, target.Username, target.Domain, or(a.Owner, 0), p.customer, p.reseller); err != nil {
			return err
		}
		if err := t.projectAlias(id, target); err != nil {
			return err
		}
		ns, err = t.bump(change{id, alias}, change{target, account})
		return err
	})
	return ns, err
}

// anotherAlias fails if an account, which is locked, has all the aliases it may
// have.
func (t *tx) anotherAlias(target ngnpro.SipID) error {
	const q = "SELECT COUNT(*) FROM sip_aliases WHERE target_username = ? AND target_domain = ?"
	n := 0
	if _, err := t.row(q, []any{target.Username, target.Domain}, []any{&n}); err != nil {
		return err
	}
	if n >= maxAliases {
		return ngnpro.ErrLimit.With("an account has at most %d aliases", maxAliases)
	}
	return nil
}

// alias reads an alias that v sees.
func (t *tx) alias(v ngnpro.Viewer, id ngnpro.SipID, locked bool) (*ngnpro.SipAlias, error) {
	const q = "SELECT " + aliasColumns + " FROM sip_aliases WHERE username = ? AND domain = ?"
	query := q
	if locked {
		query = q + " FOR UPDATE"
	}
	a, err := scanAlias(t.q.QueryRowContext(t.ctx, query, id.Username, id.Domain).Scan)
	if errors.Is(err, sql.ErrNoRows) || err == nil && !v.Sees(a.Customer, a.Reseller) {
		return nil, ngnpro.ErrAliasNotFound.With("there is no SIP alias %s", id.Key())
	}
	return a, err
}

// Update leads an alias elsewhere, or gives it to another owner.
func (s aliases) Update(ctx context.Context, v ngnpro.Viewer, a *ngnpro.SipAlias) (ns Notices, err error) {
	id, target, err := checkAlias(a)
	if err != nil {
		return nil, err
	}
	err = s.write(ctx, "update alias", func(t *tx) error {
		old, err := t.alias(v, id, true)
		if err != nil {
			return err
		}
		if _, err := t.subscriber(v, target, true); err != nil {
			return err
		}
		if old.Target != target {
			if err := t.anotherAlias(target); err != nil {
				return err
			}
		}
		const update = "UPDATE sip_aliases SET target_username = ?, target_domain = ?, owner_id = ?, change_date = UTC_TIMESTAMP()" +
			" WHERE username = ? AND domain = ?"
		if _, err := t.exec(update, target.Username, target.Domain, or(a.Owner, *old.Owner), id.Username, id.Domain); err != nil {
			return err
		}
		if err := t.projectAlias(id, target); err != nil {
			return err
		}
		ns, err = t.bump(change{id, alias}, change{target, account}, change{old.Target, account})
		return err
	})
	return ns, err
}

// Delete deletes an alias.
func (s aliases) Delete(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID) (ns Notices, err error) {
	id = foldID(id)
	err = s.write(ctx, "delete alias", func(t *tx) error {
		old, err := t.alias(v, id, true)
		if err != nil {
			return err
		}
		if err := t.each([]any{id.Username, id.Domain},
			"DELETE FROM sip_aliases WHERE username = ? AND domain = ?",
			"DELETE FROM dbaliases WHERE alias_username = ? AND alias_domain = ?"); err != nil {
			return err
		}
		ns, err = t.bump(change{id, deleted}, change{old.Target, account})
		return err
	})
	return ns, err
}

// Get is one alias.
func (s aliases) Get(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID) (a *ngnpro.SipAlias, err error) {
	err = s.look(ctx, "get alias", func(t *tx) error {
		a, err = t.alias(v, foldID(id), false)
		return err
	})
	return a, err
}

// Find lists aliases.
func (s aliases) Find(ctx context.Context, v ngnpro.Viewer, q *ngnpro.AliasQuery) (total int, as []ngnpro.SipAlias, err error) {
	var l list
	f := &q.Filter
	l.visible(v, "customer_id", "reseller_id")
	l.like("username", "filter.aliasUsername", fold(f.AliasUsername))
	l.like("domain", "filter.aliasDomain", fold(f.AliasDomain))
	l.like("target_username", "filter.targetUsername", fold(f.TargetUsername))
	l.like("target_domain", "filter.targetDomain", fold(f.TargetDomain))
	l.equal("owner_id", f.Owner)
	l.equal("customer_id", f.Customer)
	l.equal("reseller_id", f.Reseller)
	l.sort(q.OrderBy, map[string]string{
		"changeDate": "change_date", "aliasUsername": "username", "aliasDomain": "domain",
		"targetUsername": "target_username", "targetDomain": "target_domain",
	}, "username, domain")
	l.part(q.Range)
	err = s.snapshot(ctx, "find aliases", func(t *tx) error {
		as = nil
		total, err = t.find(&l, aliasColumns, "sip_aliases", func(r *sql.Rows) error {
			a, err := scanAlias(r.Scan)
			as = append(as, *a)
			return err
		})
		return err
	})
	return total, as, err
}
