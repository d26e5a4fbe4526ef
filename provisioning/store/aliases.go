package store

import (
	"context"

	"thor/provisioning/ngnpro"
)

// aliases are other addresses of subscribers.
type aliases struct{ *backend }

var aliasTable = newTable("sip_aliases", "",
	func(a *ngnpro.SipAlias) party { return party{a.Customer, a.Reseller} },
	func(a *ngnpro.SipAlias) []field {
		return []field{
			{"username", &a.ID.Username, key},
			{"domain", &a.ID.Domain, key},
			{"target_username", &a.Target.Username, kept},
			{"target_domain", &a.Target.Domain, kept},
			{"owner_id", &a.Owner, kept},
			{"customer_id", &a.Customer, fixed},
			{"reseller_id", &a.Reseller, fixed},
			{"change_date", &a.ChangeDate, changed},
		}
	})

// Add adds another address of an account.
func (s aliases) Add(ctx context.Context, v ngnpro.Viewer, a *ngnpro.SipAlias) (ns Notices, err error) {
	id, target := a.ID, a.Target
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
		if _, err := t.subscriber(v, target, forUpdate); err != nil {
			return err
		}
		if err := t.anotherAlias(target); err != nil {
			return err
		}
		n := ngnpro.SipAlias{ID: id, Target: target, Owner: a.Owner, Customer: p.customer, Reseller: p.reseller}
		if _, err := aliasTable.insert(t, &n); err != nil {
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
func (t *tx) alias(v ngnpro.Viewer, id ngnpro.SipID, l lock) (*ngnpro.SipAlias, error) {
	return aliasTable.get(t, v, l, ngnpro.ErrAliasNotFound.With("there is no SIP alias %s", id.Key()), id.Username, id.Domain)
}

// Update leads an alias elsewhere, or gives it to another owner.
func (s aliases) Update(ctx context.Context, v ngnpro.Viewer, a *ngnpro.SipAlias) (ns Notices, err error) {
	id, target := a.ID, a.Target
	err = s.write(ctx, "update alias", func(t *tx) error {
		old, err := t.alias(v, id, forUpdate)
		if err != nil {
			return err
		}
		if _, err := t.subscriber(v, target, forUpdate); err != nil {
			return err
		}
		if old.Target != target {
			if err := t.anotherAlias(target); err != nil {
				return err
			}
		}
		was := old.Target
		aliasTable.merge(old, a)
		old.Target = target
		if err := aliasTable.update(t, old); err != nil {
			return err
		}
		if err := t.projectAlias(id, target); err != nil {
			return err
		}
		ns, err = t.bump(change{id, alias}, change{target, account}, change{was, account})
		return err
	})
	return ns, err
}

// Delete deletes an alias.
func (s aliases) Delete(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID) (ns Notices, err error) {
	err = s.write(ctx, "delete alias", func(t *tx) error {
		old, err := t.alias(v, id, forUpdate)
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
		a, err = t.alias(v, id, unlocked)
		return err
	})
	return a, err
}

// Find lists aliases.
func (s aliases) Find(ctx context.Context, v ngnpro.Viewer, q *ngnpro.AliasQuery) (total int, as []ngnpro.SipAlias, err error) {
	var l search
	f := &q.Filter
	l.of(v, f.Customer, f.Reseller)
	l.like("username", f.AliasUsername)
	l.like("domain", f.AliasDomain)
	l.like("target_username", f.TargetUsername)
	l.like("target_domain", f.TargetDomain)
	l.equal("owner_id", f.Owner)
	l.sort(q.OrderBy, map[string]string{
		"changeDate": "change_date", "aliasUsername": "username", "aliasDomain": "domain",
		"targetUsername": "target_username", "targetDomain": "target_domain",
	}, "username, domain")
	l.part(q.Range)
	return list(ctx, s.backend, "find aliases", aliasTable, &l, asTheyAre)
}
