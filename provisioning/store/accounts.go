package store

import (
	"context"
	"database/sql"
	"errors"
	"net/netip"
	"slices"
	"strconv"

	"thor/provisioning/ngnpro"
)

// accounts are subscribers and their groups.
type accounts struct{ *backend }

const (
	autoincrement  = "<autoincrement>"
	defaultTimeout = 35 // seconds without an answer
	maxTimeout     = 900
)

// Add adds a SIP account.
func (s accounts) Add(ctx context.Context, v ngnpro.Viewer, a *ngnpro.SipAccount) (id ngnpro.SipID, ns Notices, err error) {
	auto := a.ID.Username == autoincrement
	given := foldID(a.ID)
	if err := checkNew(a, given, auto); err != nil {
		return id, nil, err
	}
	err = s.write(ctx, "add account", func(t *tx) error {
		ns, id = nil, given
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
		n := &accountRow{id: id, party: p, profile: &profile{Timeout: defaultTimeout, Groups: []string{}}}
		n.apply(a, settings.keepsClear(t.cfg))
		was, err := t.former(id)
		if err != nil {
			return err
		}
		if err := t.mayProfile(v, was, n.profile); err != nil {
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

func checkNew(a *ngnpro.SipAccount, id ngnpro.SipID, auto bool) error {
	var c check
	if auto {
		c.domain("id.domain", id.Domain)
	} else {
		c.id("id", id)
	}
	password := or(a.Password, "")
	if password == "" {
		c.fail("password is missing")
	}
	if _, _, is := digests(password); is && auto {
		c.fail("password has to be clear: its digests depend on the user name")
	}
	c.account(a)
	return c.err
}

// account checks all but the id.
func (c *check) account(a *ngnpro.SipAccount) {
	c.opt("password", a.Password, maxPassword)
	c.line("password", or(a.Password, ""))
	c.opt("firstName", a.FirstName, maxName)
	c.opt("lastName", a.LastName, maxName)
	c.opt("email", a.Email, maxURI)
	c.opt("timezone", a.Timezone, maxName)
	c.opt("rpid", a.RPID, maxLabel)
	c.opt("region", a.Region, maxName)
	c.opt("quickdialPrefix", a.QuickdialPrefix, maxName)
	c.number("owner", a.Owner, 0, maxNumber)
	c.number("quota", a.Quota, 0, maxNumber)
	c.number("callLimit", a.CallLimit, 0, maxNumber)
	if or(a.Timeout, 0) != 0 {
		c.number("timeout", a.Timeout, 1, maxTimeout)
	}
	for _, g := range or(a.Groups, nil) {
		c.group(g)
	}
	c.count("groups", len(or(a.Groups, nil)))
	c.count("acl", len(or(a.ACL, nil)))
	for _, e := range or(a.ACL, nil) {
		addr, err := netip.ParseAddr(e.IP)
		if err != nil || addr.Zone() != "" || e.Mask < 0 || e.Mask > addr.BitLen() {
			c.fail("acl has an item that is not a network")
		}
		c.opt("acl.tag", e.Tag, maxName)
	}
	c.count("properties", len(or(a.Properties, nil)))
	for _, p := range or(a.Properties, nil) {
		c.word("properties.name", p.Name, maxLabel)
		c.text("properties.value", p.Value, maxInfo)
	}
}

// group is the name of a group, "" is none and allowed in a list.
func (c *check) group(g string) {
	c.text("group", g, maxName)
	c.line("group", g)
}

// apply stores what is given.
func (s *accountRow) apply(a *ngnpro.SipAccount, keepClear bool) {
	set(&s.first, a.FirstName)
	set(&s.last, a.LastName)
	set(&s.email, a.Email)
	set(&s.owner, a.Owner)
	p := s.profile
	if password := or(a.Password, ""); password != "" {
		p.setPassword(s.id, password, keepClear)
	}
	set(&p.Timezone, a.Timezone)
	set(&p.RPID, a.RPID)
	set(&p.Region, a.Region)
	set(&p.Quickdial, a.QuickdialPrefix)
	set(&p.Prepaid, a.Prepaid)
	set(&p.Quota, a.Quota)
	set(&p.CallLimit, a.CallLimit)
	if n := or(a.Timeout, 0); n != 0 {
		p.Timeout = n
	}
	if a.Groups != nil {
		p.Groups = groupSet(*a.Groups)
	}
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

// groupSet is sorted, without empty names and doubles.
func groupSet(gs []string) []string {
	gs = slices.DeleteFunc(slices.Clone(gs), func(g string) bool { return g == "" })
	slices.Sort(gs)
	return append([]string{}, slices.Compact(gs)...)
}

// domainParty is whom a domain belongs to; until the transaction ends the domain
// stays, and stays theirs. Whoever is going to write to it says so: of two that
// share it neither could.
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
	var c check
	if c.account(a); c.err != nil {
		return nil, c.err
	}
	err = s.write(ctx, "update account", func(t *tx) error {
		ns, err = t.modify(v, foldID(a.ID), func(x *accountRow) error {
			keep := false
			if or(a.Password, "") != "" {
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
		a, err := t.subscriber(v, foldID(id), true)
		if err != nil && !errors.Is(err, errProfile) {
			return err
		}
		if err == nil { // else it is not known what restricts it
			if err := t.mayDelete(v, a.profile); err != nil {
				return err
			}
			if err := t.remember(v, a); err != nil {
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
		x, err := t.subscriber(v, foldID(id), false)
		if err == nil {
			a = x.record()
		}
		return err
	})
	return a, err
}

// record is the account as clients see it.
func (s *accountRow) record() *ngnpro.SipAccount {
	p := s.profile
	a := &ngnpro.SipAccount{
		ID: s.id, FirstName: &s.first, LastName: &s.last, Email: &s.email, Owner: &s.owner, Customer: s.party.customer, Reseller: s.party.reseller,
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
	var l list
	f := &q.Filter
	l.visible(v, "m.customer_id", "m.reseller_id")
	l.like("m.username", "filter.username", fold(f.Username))
	l.like("m.domain", "filter.domain", fold(f.Domain))
	l.like("m.first_name", "filter.firstName", f.FirstName)
	l.like("m.last_name", "filter.lastName", f.LastName)
	l.like("m.email", "filter.email", f.Email)
	l.equal("m.owner_id", f.Owner)
	l.equal("m.customer_id", f.Customer)
	l.equal("m.reseller_id", f.Reseller)
	l.broken.count("filter.groups", len(f.Groups))
	for _, g := range f.Groups {
		l.broken.group(g)
		if g != "" {
			l.and("EXISTS (SELECT 1 FROM grp g WHERE g.username = m.username AND g.domain = m.domain AND g.grp = ?)", g)
		}
	}
	l.sort(q.OrderBy, map[string]string{"changeDate": "m.change_date", "username": "m.username", "domain": "m.domain"}, "m.username, m.domain")
	l.part(q.Range)
	err = s.snapshot(ctx, "find accounts", func(t *tx) error {
		as = nil
		total, err = t.find(&l, subscriberColumns, subscriberTables, func(r *sql.Rows) error {
			a, err := scanSubscriber(r.Scan)
			if errors.Is(err, errProfile) { // the others are not to blame
				s.log.Error().Err(err).Msg("account left out of a list")
				return nil
			}
			if err == nil {
				as = append(as, *a.record())
			}
			return err
		})
		return err
	})
	return total, as, err
}

// AddToGroup puts an account into a group.
func (s accounts) AddToGroup(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID, group string) (ns Notices, err error) {
	var c check
	c.word("group", group, maxName)
	if c.err != nil {
		return nil, c.err
	}
	err = s.write(ctx, "add to group", func(t *tx) error {
		ns, err = t.modify(v, foldID(id), func(x *accountRow) error {
			if slices.Contains(x.profile.Groups, group) {
				return ngnpro.ErrInGroup
			}
			if c.count("groups", len(x.profile.Groups)+1); c.err != nil {
				return c.err
			}
			x.profile.Groups = groupSet(append(slices.Clone(x.profile.Groups), group))
			return nil
		})
		return err
	})
	return ns, err
}

// RemoveFromGroup takes an account out of a group.
func (s accounts) RemoveFromGroup(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID, group string) (ns Notices, err error) {
	err = s.write(ctx, "remove from group", func(t *tx) error {
		ns, err = t.modify(v, foldID(id), func(x *accountRow) error {
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
