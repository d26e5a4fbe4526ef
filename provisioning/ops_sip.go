package provisioning

import (
	"slices"

	"thor/provisioning/ngnpro"
)

func sipOperations() []operation {
	return slices.Concat(domainOperations(), accountOperations(), aliasOperations(), screeningOperations(), peerOperations(),
		[]operation{get("getSipDeviceLocations", deviceLocations)})
}

func domainOperations() []operation {
	type in struct {
		Domain ngnpro.SipDomain `soap:"domain"`
	}
	type nameIn struct {
		Domain string `soap:"domain"`
	}
	return []operation{
		do("addDomain", func(c *call, in *in) error {
			if err := in.Domain.Clean(); err != nil {
				return err
			}
			return c.cfg.Store.Domains.Add(c.ctx, c.v, &in.Domain)
		}),
		change("updateDomain", existing(func(c *call, in *in) error { return c.hasDomain(in.Domain.Domain) }, func(c *call, in *in) (Notices, error) {
			if err := in.Domain.Clean(); err != nil {
				return nil, err
			}
			return c.cfg.Store.Domains.Update(c.ctx, c.v, &in.Domain)
		})),
		do("deleteDomain", func(c *call, in *nameIn) error {
			if err := ngnpro.Domain(&in.Domain); err != nil {
				return err
			}
			return c.cfg.Store.Domains.Delete(c.ctx, c.v, in.Domain)
		}),
		get("getDomains", func(c *call, in *queryIn[ngnpro.SipDomainQuery]) (r ngnpro.SipDomains, err error) {
			if err := in.Query.Clean(); err != nil {
				return r, err
			}
			r.Total, r.Domains, err = c.cfg.Store.Domains.Find(c.ctx, c.v, &in.Query)
			return r, err
		}),
	}
}

func accountOperations() []operation {
	type in struct {
		Account ngnpro.SipAccount `soap:"account"`
	}
	type groupIn struct {
		ID    ngnpro.SipID `soap:"sipId"`
		Group string       `soap:"group"`
	}
	inGroup := func(name string, f func(*call, *groupIn) (Notices, error)) operation {
		return change(name, existing(func(c *call, in *groupIn) error { return c.hasAccount(in.ID) }, func(c *call, in *groupIn) (Notices, error) {
			if err := in.ID.Clean(); err != nil {
				return nil, err
			}
			if err := ngnpro.Group(&in.Group); err != nil {
				return nil, err
			}
			return f(c, in)
		}))
	}
	return []operation{
		get("addAccount", func(c *call, in *in) (ngnpro.SipID, error) {
			if err := in.Account.CleanNew(); err != nil {
				return ngnpro.SipID{}, err
			}
			id, ns, err := c.cfg.Store.Accounts.Add(c.ctx, c.v, &in.Account)
			return id, c.pushed(ns, err)
		}),
		change("updateAccount", existing(func(c *call, in *in) error { return c.hasAccount(in.Account.ID) }, func(c *call, in *in) (Notices, error) {
			if err := in.Account.Clean(); err != nil {
				return nil, err
			}
			return c.cfg.Store.Accounts.Update(c.ctx, c.v, &in.Account)
		})),
		change("deleteAccount", onAccount(func(c *call, id ngnpro.SipID) (Notices, error) {
			return c.cfg.Store.Accounts.Delete(c.ctx, c.v, id)
		})),
		get("getAccount", onAccount(func(c *call, id ngnpro.SipID) (*ngnpro.SipAccount, error) {
			return c.cfg.Store.Accounts.Get(c.ctx, c.v, id)
		})),
		get("getAccounts", func(c *call, in *queryIn[ngnpro.SipQuery]) (r ngnpro.SipAccounts, err error) {
			if err := in.Query.Clean(); err != nil {
				return r, err
			}
			r.Total, r.Accounts, err = c.cfg.Store.Accounts.Find(c.ctx, c.v, &in.Query)
			return r, err
		}),
		inGroup("addToGroup", func(c *call, in *groupIn) (Notices, error) {
			return c.cfg.Store.Accounts.AddToGroup(c.ctx, c.v, in.ID, in.Group)
		}),
		inGroup("removeFromGroup", func(c *call, in *groupIn) (Notices, error) {
			return c.cfg.Store.Accounts.RemoveFromGroup(c.ctx, c.v, in.ID, in.Group)
		}),
		get("getGroups", onAccount(func(c *call, id ngnpro.SipID) ([]string, error) {
			return c.cfg.Store.Accounts.Groups(c.ctx, c.v, id)
		})),
	}
}

// onAccount is an operation with a subscriber's name as its only parameter.
func onAccount[R any](f func(*call, ngnpro.SipID) (R, error)) func(*call, *sipIDIn) (R, error) {
	return func(c *call, in *sipIDIn) (r R, err error) {
		if err := in.ID.Clean(); err != nil {
			return r, err
		}
		return f(c, in.ID)
	}
}

func aliasOperations() []operation {
	type in struct {
		Alias ngnpro.SipAlias `soap:"alias"`
	}
	type idIn struct {
		ID ngnpro.SipID `soap:"id"`
	}
	return []operation{
		change("addAlias", func(c *call, in *in) (Notices, error) {
			if err := in.Alias.Clean(); err != nil {
				return nil, err
			}
			return c.cfg.Store.Aliases.Add(c.ctx, c.v, &in.Alias)
		}),
		change("updateAlias", existing(func(c *call, in *in) error { return c.hasAlias(in.Alias.ID) }, func(c *call, in *in) (Notices, error) {
			if err := in.Alias.Clean(); err != nil {
				return nil, err
			}
			return c.cfg.Store.Aliases.Update(c.ctx, c.v, &in.Alias)
		})),
		change("deleteAlias", func(c *call, in *idIn) (Notices, error) {
			if err := in.ID.Clean(); err != nil {
				return nil, err
			}
			return c.cfg.Store.Aliases.Delete(c.ctx, c.v, in.ID)
		}),
		get("getAlias", func(c *call, in *idIn) (*ngnpro.SipAlias, error) {
			if err := in.ID.Clean(); err != nil {
				return nil, err
			}
			return c.cfg.Store.Aliases.Get(c.ctx, c.v, in.ID)
		}),
		get("getAliases", func(c *call, in *queryIn[ngnpro.AliasQuery]) (r ngnpro.SipAliases, err error) {
			if err := in.Query.Clean(); err != nil {
				return r, err
			}
			r.Total, r.Aliases, err = c.cfg.Store.Aliases.Find(c.ctx, c.v, &in.Query)
			return r, err
		}),
	}
}

func peerOperations() []operation {
	type in struct {
		Peer ngnpro.TrustedPeer `soap:"peer"`
	}
	type ipIn struct {
		IP string `soap:"ip"`
	}
	return []operation{
		do("addTrustedPeer", func(c *call, in *in) error {
			if err := c.mayTrust(); err != nil {
				return err
			}
			if err := in.Peer.Clean(); err != nil {
				return err
			}
			return c.cfg.Store.Peers.Add(c.ctx, c.v, &in.Peer)
		}),
		do("updateTrustedPeer", existingDo(func(c *call, in *in) error { return c.hasPeer(in.Peer.IP) }, func(c *call, in *in) error {
			if err := c.mayTrust(); err != nil {
				return err
			}
			if err := in.Peer.Clean(); err != nil {
				return err
			}
			return c.cfg.Store.Peers.Update(c.ctx, c.v, &in.Peer)
		})),
		do("deleteTrustedPeer", func(c *call, in *ipIn) error {
			if err := ngnpro.PeerIP(&in.IP); err != nil {
				return err
			}
			return c.cfg.Store.Peers.Delete(c.ctx, c.v, in.IP)
		}),
		get("getTrustedPeers", func(c *call, in *queryIn[ngnpro.TrustedPeerQuery]) (r ngnpro.TrustedPeers, err error) {
			if err := in.Query.Clean(); err != nil {
				return r, err
			}
			r.Total, r.Peers, err = c.cfg.Store.Peers.Find(c.ctx, c.v, &in.Query)
			return r, err
		}),
	}
}

// mayTrust refuses customers: every proxy takes calls from a trusted peer without
// a password, not those of one customer alone.
func (c *call) mayTrust() error {
	if !c.v.Admin && c.v.Reseller == 0 {
		return ngnpro.ErrForbidden.With("trusted peers are for administrators and resellers")
	}
	return nil
}
