package store

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"thor/provisioning/ngnpro"
)

// accounts are subscribers and their groups.
type accounts struct{ *backend }

// Add adds a SIP account.
func (s accounts) Add(ctx context.Context, v ngnpro.Viewer, a *ngnpro.SipAccount) (id ngnpro.SipID, ns Notices, err error) {
	auto := a.ID.Username == ngnpro.AutoIncrement
	err = s.write(ctx, "add account", func(t *tx) error {
		ns, id = nil, a.ID
		p, err := t.domainParty(v, id.Domain, auto)
		if err != nil {
			return err
		}
		settings, err := t.settings(p)
		if err != nil {
			return err
		}
		if err := t.credit(settings, "sip_credit", "SELECT COUNT(*) FROM sip_accounts_meta WHERE"); err != nil {
			return err
		}
		if auto {
			id, err = t.allocate(id.Domain)
		} else {
			err = t.claim(id)
		}
		if err != nil {
			return err
		}
		n := &accountRow{id: id, party: p, profile: &profile{Groups: []string{}}}
		n.apply(a, settings.keepsClear(t.cfg))
		was, err := t.as(v).former(id)
		if err != nil {
			return err
		}
		if err := t.as(v).changesProfile(was, n.profile); err != nil {
			return err
		}
		if err := t.insert(n); err != nil {
			return err
		}
		ns, err = t.bump(change{id, account})
		return err
	})
	return id, ns, err
}

// apply stores what is given.
func (s *accountRow) apply(a *ngnpro.SipAccount, keepClear bool) {
	accountTable.merge(s, &accountRow{first: a.FirstName, last: a.LastName, email: a.Email, owner: a.Owner})
	p := s.profile
	if a.Password != nil {
		p.setPassword(s.id, *a.Password, keepClear)
	}
	set(&p.Timezone, a.Timezone)
	set(&p.RPID, a.RPID)
	set(&p.Region, a.Region)
	set(&p.Quickdial, a.QuickdialPrefix)
	set(&p.Prepaid, a.Prepaid)
	set(&p.Quota, a.Quota)
	set(&p.CallLimit, a.CallLimit)
	set(&p.Timeout, a.Timeout)
	set(&p.Groups, a.Groups)
	if a.ACL != nil {
		p.ACL = nil
		for _, e := range *a.ACL {
			p.ACL = append(p.ACL, network(e))
		}
	}
	if a.Properties != nil {
		p.Properties = nil
		for _, x := range *a.Properties {
			p.Properties = append(p.Properties, property(x))
		}
	}
}

// domainParty is the party that a domain belongs to, which stays so until the
// transaction ends. A transaction that is going to write to the domain locks it for
// that at once: two that share a lock and then write block each other.
func (t *tx) domainParty(v ngnpro.Viewer, domain string, writes bool) (p party, err error) {
	q := "SELECT customer_id, reseller_id FROM sip_domains WHERE domain = ? LOCK IN SHARE MODE"
	if writes {
		q = "SELECT customer_id, reseller_id FROM sip_domains WHERE domain = ? FOR UPDATE"
	}
	found, err := t.row(q, []any{domain}, []any{&p.customer, &p.reseller})
	if err == nil && (!found || !p.seen(v)) {
		err = ngnpro.ErrDomainNotFound.With("there is no SIP domain %s", domain)
	}
	return p, err
}

// allocate claims the next number in a domain.
func (t *tx) allocate(domain string) (ngnpro.SipID, error) {
	for {
		r, err := t.exec("UPDATE sip_domains SET last_username = LAST_INSERT_ID(last_username + 1) WHERE domain = ?", domain)
		if err != nil {
			return ngnpro.SipID{}, err
		}
		n, err := r.LastInsertId()
		if err != nil {
			return ngnpro.SipID{}, err
		}
		id := ngnpro.SipID{Username: strconv.FormatInt(n, 10), Domain: domain}
		err = t.claim(id)
		if !ngnpro.ErrAccountExists.Is(err) && !ngnpro.ErrAliasExists.Is(err) {
			return id, err
		}
	}
}

// Update changes what is given.
func (s accounts) Update(ctx context.Context, v ngnpro.Viewer, a *ngnpro.SipAccount) (ns Notices, err error) {
	err = s.write(ctx, "update account", func(t *tx) error {
		ns, err = t.modify(v, a.ID, func(x *accountRow) error {
			keep := false
			if a.Password != nil {
				st, err := t.settings(x.party)
				if err != nil {
					return err
				}
				keep = st.keepsClear(t.cfg)
			}
			x.apply(a, keep)
			return nil
		})
		return err
	})
	return ns, err
}

// Delete deletes an account with its aliases, groups, diversions, mailbox
// and phonebook, be its profile readable or not.
func (s accounts) Delete(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID) (ns Notices, err error) {
	err = s.write(ctx, "delete account", func(t *tx) error {
		a, err := t.subscriber(v, id, forUpdate)
		if err != nil && !errors.Is(err, errProfile) {
			return err
		}
		if err == nil { // else it is not known what restricts it
			if err := t.as(v).deletesAccount(a.profile); err != nil {
				return err
			}
			if err := t.as(v).remember(a); err != nil {
				return err
			}
		}
		ns, err = t.remove(a)
		return err
	})
	return ns, err
}

// Get is one account.
func (s accounts) Get(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID) (a *ngnpro.SipAccount, err error) {
	err = s.look(ctx, "get account", func(t *tx) error {
		x, err := t.subscriber(v, id, unlocked)
		if err == nil {
			a = x.record()
		}
		return err
	})
	return a, err
}

// Visible are those of ids that v sees, in their order. An administrator sees all
// names, whether or not there are accounts.
func (s accounts) Visible(ctx context.Context, v ngnpro.Viewer, ids []ngnpro.SipID) (seen []ngnpro.SipID, err error) {
	if v.Admin || len(ids) == 0 {
		return ids, nil
	}
	err = s.snapshot(ctx, "find visible accounts", func(t *tx) error {
		seen = nil
		for _, id := range ids {
			var l search
			l.and("username = ? AND domain = ?", id.Username, id.Domain)
			l.visible(v, "customer_id", "reseller_id")
			var one int
			found, err := t.row("SELECT 1 FROM sip_accounts_meta"+l.where.String(), l.args, []any{&one})
			if err != nil {
				return err
			}
			if found {
				seen = append(seen, id)
			}
		}
		return nil
	})
	return seen, err
}

// record is the account as clients see it.
func (s *accountRow) record() *ngnpro.SipAccount {
	p := s.profile
	a := &ngnpro.SipAccount{
		ID: s.id, FirstName: s.first, LastName: s.last, Email: s.email, Owner: s.owner, Customer: s.party.customer, Reseller: s.party.reseller,
		CreateDate: s.created, ChangeDate: s.changed, Timezone: &p.Timezone, RPID: &p.RPID, Region: &p.Region, QuickdialPrefix: &p.Quickdial,
		Prepaid: &p.Prepaid, Quota: &p.Quota, CallLimit: &p.CallLimit, Timeout: &p.Timeout, Groups: &p.Groups,
		ACL: new([]ngnpro.ACLEntry), Properties: new([]ngnpro.Property),
	}
	if p.Password != "" {
		a.Password = &p.Password
	}
	for _, e := range p.ACL {
		*a.ACL = append(*a.ACL, ngnpro.ACLEntry(e))
	}
	for _, x := range p.Properties {
		*a.Properties = append(*a.Properties, ngnpro.Property(x))
	}
	return a
}

// Find lists accounts.
func (s accounts) Find(ctx context.Context, v ngnpro.Viewer, q *ngnpro.SipQuery) (total int, as []ngnpro.SipAccount, err error) {
	var l search
	f := &q.Filter
	l.of(v, f.Customer, f.Reseller)
	l.like("username", f.Username)
	l.like("domain", f.Domain)
	l.like("first_name", f.FirstName)
	l.like("last_name", f.LastName)
	l.like("email", f.Email)
	l.equal("owner_id", f.Owner)
	for _, g := range f.Groups {
		l.and("EXISTS (SELECT 1 FROM grp g WHERE g.username = sip_accounts_meta.username AND g.domain = sip_accounts_meta.domain AND g.grp = ?)", g)
	}
	l.sort(q.OrderBy, map[string]string{"changeDate": "change_date", "username": "username", "domain": "domain"}, "username, domain")
	l.part(q.Range)
	return list(ctx, s.backend, "find accounts", accountTable, &l, func(_ *tx, rows []*accountRow) (as []ngnpro.SipAccount, err error) {
		for _, x := range rows {
			if err := x.parse(); err != nil { // the others are not to blame
				s.log.Error().Err(err).Msg("account left out of a list")
				continue
			}
			as = append(as, *x.record())
		}
		return as, nil
	})
}

// AddToGroup puts an account into a group.
func (s accounts) AddToGroup(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID, group string) (ns Notices, err error) {
	err = s.write(ctx, "add to group", func(t *tx) error {
		ns, err = t.modify(v, id, func(x *accountRow) error {
			if slices.Contains(x.profile.Groups, group) {
				return ngnpro.ErrInGroup
			}
			if x.profile.Groups, err = ngnpro.Groups(append(slices.Clone(x.profile.Groups), group)); err != nil {
				return err
			}
			return nil
		})
		return err
	})
	return ns, err
}

// RemoveFromGroup takes an account out of a group.
func (s accounts) RemoveFromGroup(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID, group string) (ns Notices, err error) {
	err = s.write(ctx, "remove from group", func(t *tx) error {
		ns, err = t.modify(v, id, func(x *accountRow) error {
			if !slices.Contains(x.profile.Groups, group) {
				return ngnpro.ErrNotInGroup
			}
			x.profile.Groups = slices.DeleteFunc(slices.Clone(x.profile.Groups), func(g string) bool { return g == group })
			return nil
		})
		return err
	})
	return ns, err
}

// Groups are the groups of an account.
func (s accounts) Groups(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID) (gs []string, err error) {
	a, err := s.Get(ctx, v, id)
	if err != nil {
		return nil, err
	}
	return *a.Groups, nil
}
