package provisioning

import (
	"slices"

	"thor/provisioning/ngnpro"
)

func screeningOperations() []operation {
	return slices.Concat(callOperations(), phonebookOperations())
}

func callOperations() []operation {
	type diversionsIn struct {
		ID         ngnpro.SipID          `soap:"sipId"`
		Diversions ngnpro.CallDiversions `soap:"diversions"`
	}
	type prefixesIn struct {
		ID       ngnpro.SipID `soap:"sipId"`
		Prefixes []string     `soap:"prefixes"`
	}
	type membersIn struct {
		ID      ngnpro.SipID `soap:"sipId"`
		Members []string     `soap:"members"`
	}
	type rulesIn struct {
		ID    ngnpro.SipID       `soap:"sipId"`
		Rules ngnpro.AcceptRules `soap:"rules"`
	}
	return []operation{
		change("setCallDiversions", existing(func(c *call, in *diversionsIn) error { return c.hasAccount(in.ID) }, func(c *call, in *diversionsIn) (Notices, error) {
			if err := cleaned(&in.ID, &in.Diversions); err != nil {
				return nil, err
			}
			return c.cfg.Store.Screening.SetCallDiversions(c.ctx, c.v, in.ID, &in.Diversions)
		})),
		get("getCallDiversions", onAccount(func(c *call, id ngnpro.SipID) (*ngnpro.CallDiversions, error) {
			return c.cfg.Store.Screening.CallDiversions(c.ctx, c.v, id)
		})),
		change("setBarringPrefixes", existing(func(c *call, in *prefixesIn) error { return c.hasAccount(in.ID) }, func(c *call, in *prefixesIn) (Notices, error) {
			ps, err := ngnpro.BarringPrefixes(in.Prefixes)
			if err := cleaned(&in.ID); err != nil {
				return nil, err
			}
			if err != nil {
				return nil, err
			}
			return c.cfg.Store.Screening.SetBarringPrefixes(c.ctx, c.v, in.ID, ps)
		})),
		get("getBarringPrefixes", onAccount(func(c *call, id ngnpro.SipID) ([]string, error) {
			return c.cfg.Store.Screening.BarringPrefixes(c.ctx, c.v, id)
		})),
		change("setRejectMembers", existing(func(c *call, in *membersIn) error { return c.hasAccount(in.ID) }, func(c *call, in *membersIn) (Notices, error) {
			ms, err := ngnpro.RejectMembers(in.Members)
			if err := cleaned(&in.ID); err != nil {
				return nil, err
			}
			if err != nil {
				return nil, err
			}
			return c.cfg.Store.Screening.SetRejectMembers(c.ctx, c.v, in.ID, ms)
		})),
		get("getRejectMembers", onAccount(func(c *call, id ngnpro.SipID) ([]string, error) {
			return c.cfg.Store.Screening.RejectMembers(c.ctx, c.v, id)
		})),
		change("setAcceptRules", existing(func(c *call, in *rulesIn) error { return c.hasAccount(in.ID) }, func(c *call, in *rulesIn) (Notices, error) {
			if err := cleaned(&in.ID, &in.Rules); err != nil {
				return nil, err
			}
			return c.cfg.Store.Screening.SetAcceptRules(c.ctx, c.v, in.ID, &in.Rules)
		})),
		get("getAcceptRules", onAccount(func(c *call, id ngnpro.SipID) (r ngnpro.AcceptRulesState, err error) {
			rules, groups, err := c.cfg.Store.Screening.AcceptRules(c.ctx, c.v, id)
			if err != nil {
				return r, err
			}
			return ngnpro.AcceptRulesState{Rules: *rules, NonEmptyGroups: groups}, nil
		})),
	}
}

// cleaned cleans parameters in turn.
func cleaned(ps ...interface{ Clean() error }) error {
	for _, p := range ps {
		if err := p.Clean(); err != nil {
			return err
		}
	}
	return nil
}

func phonebookOperations() []operation {
	type entryIn struct {
		ID    ngnpro.SipID          `soap:"sipId"`
		Entry ngnpro.PhonebookEntry `soap:"entry"`
	}
	type uriIn struct {
		ID  ngnpro.SipID `soap:"sipId"`
		URI string       `soap:"uri"`
	}
	type matchIn struct {
		ID    ngnpro.SipID          `soap:"sipId"`
		Match ngnpro.PhonebookEntry `soap:"match"`
		Range *ngnpro.Range         `soap:"range"`
	}
	return []operation{
		change("addPhonebookEntry", existing(func(c *call, in *entryIn) error { return c.hasAccount(in.ID) }, func(c *call, in *entryIn) (Notices, error) {
			if err := cleaned(&in.ID, &in.Entry); err != nil {
				return nil, err
			}
			return c.cfg.Store.Phonebook.Add(c.ctx, c.v, in.ID, &in.Entry)
		})),
		change("updatePhonebookEntry", existing(func(c *call, in *entryIn) error { return c.hasEntry(in.ID, in.Entry.URI) }, func(c *call, in *entryIn) (Notices, error) {
			if err := cleaned(&in.ID, &in.Entry); err != nil {
				return nil, err
			}
			return c.cfg.Store.Phonebook.Update(c.ctx, c.v, in.ID, &in.Entry)
		})),
		change("deletePhonebookEntry", existing(func(c *call, in *uriIn) error { return c.hasAccount(in.ID) }, func(c *call, in *uriIn) (Notices, error) {
			if err := cleaned(&in.ID); err != nil {
				return nil, err
			}
			if err := ngnpro.PhonebookURI(&in.URI); err != nil {
				return nil, err
			}
			return c.cfg.Store.Phonebook.Delete(c.ctx, c.v, in.ID, in.URI)
		})),
		get("getPhonebookEntries", func(c *call, in *matchIn) (r ngnpro.PhonebookEntries, err error) {
			if err := cleaned(&in.ID, in.Range); err != nil {
				return r, err
			}
			if err := in.Match.CleanFilter(); err != nil {
				return r, err
			}
			r.Entries, err = c.cfg.Store.Phonebook.Find(c.ctx, c.v, in.ID, &in.Match, in.Range)
			return r, err
		}),
	}
}
