package provisioning

import (
	"errors"
	"slices"

	"thor/provisioning/ngnpro"
)

// A look tells whether the record that a call names is there for its party: an
// error of notFound if not. It is asked after the operation has refused its
// arguments, so a name may be as the client wrote it.
type look[I any] func(c *call, in *I) error

var notFound = []*ngnpro.Fault{
	ngnpro.ErrDomainNotFound, ngnpro.ErrAccountNotFound, ngnpro.ErrAliasNotFound, ngnpro.ErrPeerNotFound, ngnpro.ErrEntryNotFound,
	ngnpro.ErrVoicemailNotFound, ngnpro.ErrRangeNotFound, ngnpro.ErrNumberNotFound, ngnpro.ErrCustomerNotFound,
}

// existing is f for an operation that changes a record. Clients add a record when
// they hear that it is not there, so that answer goes before whatever is wrong
// with the rest of the arguments. It costs a call of the store only where f
// refuses them.
func existing[I, R any](there look[I], f func(*call, *I) (R, error)) func(*call, *I) (R, error) {
	return func(c *call, in *I) (R, error) {
		r, err := f(c, in)
		if !isFault(err, ngnpro.ErrInvalid) {
			return r, err
		}
		missing := there(c, in)
		if slices.ContainsFunc(notFound, func(f *ngnpro.Fault) bool { return errors.Is(missing, f) }) {
			err = missing
		}
		return r, err
	}
}

// existingDo is existing for an operation without a result.
func existingDo[I any](there look[I], f func(*call, *I) error) func(*call, *I) error {
	g := existing(there, func(c *call, in *I) (nothing, error) { return nothing{}, f(c, in) })
	return func(c *call, in *I) error {
		_, err := g(c, in)
		return err
	}
}

// found is what a store answers of a record that is asked for by name; nil if the
// name can be none, which is not for the store to judge.
func found[T any](name error, get func() (T, error)) error {
	if name != nil {
		return nil
	}
	_, err := get()
	return err
}

func (c *call) hasAccount(id ngnpro.SipID) error {
	return found(id.Clean(), func() (*ngnpro.SipAccount, error) { return c.cfg.Store.Accounts.Get(c.ctx, c.v, id) })
}

func (c *call) hasAlias(id ngnpro.SipID) error {
	return found(id.Clean(), func() (*ngnpro.SipAlias, error) { return c.cfg.Store.Aliases.Get(c.ctx, c.v, id) })
}

func (c *call) hasVoicemail(id ngnpro.SipID) error {
	return found(id.Clean(), func() (*ngnpro.VoicemailAccount, error) { return c.cfg.Store.Mailboxes.Get(c.ctx, c.v, id) })
}

func (c *call) hasNumber(id ngnpro.EnumID) error {
	return found(id.Clean(), func() (*ngnpro.EnumNumber, error) { return c.cfg.Store.Numbers.Get(c.ctx, c.v, id) })
}

func (c *call) hasCustomer(id int) error {
	var name error
	if id == 0 {
		name = ngnpro.ErrInvalid
	}
	return found(name, func() (*ngnpro.CustomerAccount, error) { return c.cfg.Store.Customers.Get(c.ctx, c.v, id) })
}

func (c *call) hasDomain(name string) error {
	err := ngnpro.Domain(&name)
	var q ngnpro.SipDomainQuery
	q.Filter.Domain = name
	return listed(err, func() (int, []ngnpro.SipDomain, error) { return c.cfg.Store.Domains.Find(c.ctx, c.v, &q) },
		func(d *ngnpro.SipDomain) bool { return d.Domain == name }, ngnpro.ErrDomainNotFound.With("there is no SIP domain %s", name))
}

func (c *call) hasPeer(ip string) error {
	err := ngnpro.PeerIP(&ip)
	var q ngnpro.TrustedPeerQuery
	q.Filter.IP = ip
	return listed(err, func() (int, []ngnpro.TrustedPeer, error) { return c.cfg.Store.Peers.Find(c.ctx, c.v, &q) },
		func(p *ngnpro.TrustedPeer) bool { return p.IP == ip }, ngnpro.ErrPeerNotFound)
}

func (c *call) hasRange(id ngnpro.EnumRangeID) error {
	err := id.Clean()
	var q ngnpro.EnumRangeQuery
	q.Filter.Prefix, q.Filter.TLD = id.Prefix, id.TLD
	return listed(err, func() (int, []ngnpro.EnumRange, error) { return c.cfg.Store.Ranges.Find(c.ctx, c.v, &q) },
		func(r *ngnpro.EnumRange) bool { return r.ID == id }, ngnpro.ErrRangeNotFound)
}

// hasEntry is about the account first.
func (c *call) hasEntry(id ngnpro.SipID, uri string) error {
	if err := c.hasAccount(id); err != nil || id.Clean() != nil {
		return err
	}
	err := ngnpro.PhonebookURI(&uri)
	return listed(err, func() (int, []ngnpro.PhonebookEntry, error) {
		es, err := c.cfg.Store.Phonebook.Find(c.ctx, c.v, id, &ngnpro.PhonebookEntry{URI: uri}, nil)
		return len(es), es, err
	}, func(e *ngnpro.PhonebookEntry) bool { return e.URI == uri }, ngnpro.ErrEntryNotFound)
}

// listed is found for a record that is only to be had in a list.
func listed[T any](name error, find func() (int, []T, error), is func(*T) bool, missing error) error {
	if name != nil {
		return nil
	}
	_, all, err := find()
	if err != nil {
		return err
	}
	for i := range all {
		if is(&all[i]) {
			return nil
		}
	}
	return missing
}
