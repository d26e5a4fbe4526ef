package provisioning

import (
	"thor/provisioning/ngnpro"
)

func voicemailOperations() []operation {
	type in struct {
		Account ngnpro.VoicemailAccount `soap:"account"`
	}
	type messageIn struct {
		ID      ngnpro.SipID `soap:"sipId"`
		Message []byte       `soap:"message"`
	}
	return []operation{
		// The answer is the mailbox as it is now: clients want its number.
		get("addAccount", func(c *call, in *in) (*ngnpro.VoicemailAccount, error) {
			if err := in.Account.Clean(); err != nil {
				return nil, err
			}
			ns, err := c.cfg.Store.Mailboxes.Add(c.ctx, c.v, &in.Account)
			if err := c.pushed(ns, err); err != nil {
				return nil, err
			}
			if a, err := c.cfg.Store.Mailboxes.Get(c.ctx, c.v, in.Account.SipID); err == nil {
				return a, nil
			}
			return &in.Account, nil // it is made: no failure of a later step may deny that
		}),
		change("updateAccount", existing(func(c *call, in *in) error { return c.hasVoicemail(in.Account.SipID) }, func(c *call, in *in) (Notices, error) {
			if err := in.Account.Clean(); err != nil {
				return nil, err
			}
			return c.cfg.Store.Mailboxes.Update(c.ctx, c.v, &in.Account)
		})),
		change("deleteAccount", onAccount(func(c *call, id ngnpro.SipID) (Notices, error) {
			return c.cfg.Store.Mailboxes.Delete(c.ctx, c.v, id)
		})),
		get("getAccount", onAccount(func(c *call, id ngnpro.SipID) (*ngnpro.VoicemailAccount, error) {
			return c.cfg.Store.Mailboxes.Get(c.ctx, c.v, id)
		})),
		do("setAnnouncement", existingDo(func(c *call, in *messageIn) error { return c.hasVoicemail(in.ID) }, func(c *call, in *messageIn) error {
			if err := in.ID.Clean(); err != nil {
				return err
			}
			return c.cfg.Store.Mailboxes.SetAnnouncement(c.ctx, c.v, in.ID, in.Message)
		})),
	}
}

func enumOperations() []operation {
	type rangeIn struct {
		Range ngnpro.EnumRange `soap:"range"`
	}
	type rangeIDIn struct {
		Range ngnpro.EnumRangeID `soap:"range"`
	}
	type numberIn struct {
		Number ngnpro.EnumNumber `soap:"number"`
	}
	type numberIDIn struct {
		ID ngnpro.EnumID `soap:"enumId"`
	}
	return []operation{
		do("addRange", func(c *call, in *rangeIn) error {
			if err := in.Range.CleanNew(); err != nil {
				return err
			}
			return c.cfg.Store.Ranges.Add(c.ctx, c.v, &in.Range)
		}),
		do("updateRange", existingDo(func(c *call, in *rangeIn) error { return c.hasRange(in.Range.ID) }, func(c *call, in *rangeIn) error {
			if err := in.Range.Clean(); err != nil {
				return err
			}
			return c.cfg.Store.Ranges.Update(c.ctx, c.v, &in.Range)
		})),
		do("deleteRange", func(c *call, in *rangeIDIn) error {
			if err := in.Range.Clean(); err != nil {
				return err
			}
			return c.cfg.Store.Ranges.Delete(c.ctx, c.v, in.Range)
		}),
		get("getRanges", func(c *call, in *queryIn[ngnpro.EnumRangeQuery]) (r ngnpro.EnumRanges, err error) {
			if err := in.Query.Clean(); err != nil {
				return r, err
			}
			r.Total, r.Ranges, err = c.cfg.Store.Ranges.Find(c.ctx, c.v, &in.Query)
			return r, err
		}),
		do("addNumber", func(c *call, in *numberIn) error {
			if err := in.Number.Clean(); err != nil {
				return err
			}
			return c.cfg.Store.Numbers.Add(c.ctx, c.v, &in.Number)
		}),
		do("updateNumber", existingDo(func(c *call, in *numberIn) error { return c.hasNumber(in.Number.ID) }, func(c *call, in *numberIn) error {
			if err := in.Number.Clean(); err != nil {
				return err
			}
			return c.cfg.Store.Numbers.Update(c.ctx, c.v, &in.Number)
		})),
		do("deleteNumber", func(c *call, in *numberIDIn) error {
			if err := in.ID.Clean(); err != nil {
				return err
			}
			return c.cfg.Store.Numbers.Delete(c.ctx, c.v, in.ID)
		}),
		get("getNumber", func(c *call, in *numberIDIn) (*ngnpro.EnumNumber, error) {
			if err := in.ID.Clean(); err != nil {
				return nil, err
			}
			return c.cfg.Store.Numbers.Get(c.ctx, c.v, in.ID)
		}),
		get("getNumbers", func(c *call, in *queryIn[ngnpro.EnumNumberQuery]) (r ngnpro.EnumNumbers, err error) {
			if err := in.Query.Clean(); err != nil {
				return r, err
			}
			r.Total, r.Numbers, err = c.cfg.Store.Numbers.Find(c.ctx, c.v, &in.Query)
			return r, err
		}),
	}
}

func customerOperations() []operation {
	type in struct {
		Account ngnpro.CustomerAccount `soap:"account"`
	}
	type idIn struct {
		ID int `soap:"id"`
	}
	type propertiesIn struct {
		Customer   int                       `soap:"customer"`
		Properties []ngnpro.CustomerProperty `soap:"properties"`
	}
	type customerIn struct {
		Customer int `soap:"customer"`
	}
	find := func(name string, resellers bool) operation {
		return get(name, func(c *call, in *queryIn[ngnpro.CustomerQuery]) (r ngnpro.CustomerAccounts, err error) {
			if err := in.Query.Clean(); err != nil {
				return r, err
			}
			r.Total, r.Accounts, err = c.cfg.Store.Customers.Find(c.ctx, c.v, &in.Query, resellers)
			return r, err
		})
	}
	return []operation{
		get("addAccount", func(c *call, in *in) (*ngnpro.CustomerAccount, error) {
			if err := in.Account.CleanNew(); err != nil {
				return nil, err
			}
			return c.cfg.Store.Customers.Add(c.ctx, c.v, &in.Account)
		}),
		do("updateAccount", existingDo(func(c *call, in *in) error { return c.hasCustomer(value(in.Account.ID)) }, func(c *call, in *in) error {
			if err := in.Account.Clean(); err != nil {
				return err
			}
			return c.cfg.Store.Customers.Update(c.ctx, c.v, &in.Account)
		})),
		do("deleteAccount", func(c *call, in *idIn) error {
			return c.cfg.Store.Customers.Delete(c.ctx, c.v, in.ID)
		}),
		get("getAccount", func(c *call, in *idIn) (*ngnpro.CustomerAccount, error) {
			return c.cfg.Store.Customers.Get(c.ctx, c.v, in.ID)
		}),
		find("getCustomers", false),
		find("getResellers", true),
		do("setProperties", existingDo(func(c *call, in *propertiesIn) error { return c.hasCustomer(in.Customer) }, func(c *call, in *propertiesIn) error {
			if err := ngnpro.CustomerProperties(in.Properties); err != nil {
				return err
			}
			return c.cfg.Store.Customers.SetProperties(c.ctx, c.v, in.Customer, in.Properties)
		})),
		get("getProperties", func(c *call, in *customerIn) ([]ngnpro.CustomerProperty, error) {
			return c.cfg.Store.Customers.Properties(c.ctx, c.v, in.Customer)
		}),
	}
}
