package provisioning

import (
	"context"

	"thor/provisioning/ngnpro"
	"thor/provisioning/store"
)

func customerOperations(st *store.Store) []operation {
	account := record("account", (*ngnpro.CustomerAccount).Clean)
	id, customer := value[int]("id", nil), value[int]("customer", nil)
	properties := value("properties", func(ps *[]ngnpro.CustomerProperty) error { return ngnpro.CustomerProperties(*ps) })
	// A record without a number names no customer.
	number := value("id", func(id *int) error {
		if *id == 0 {
			return ngnpro.ErrInvalid
		}
		return nil
	})
	exists := keyed(func(a *ngnpro.CustomerAccount) int {
		if a.ID == nil {
			return 0
		}
		return *a.ID
	}, number, st.Customers.Get)
	find := func(resellers bool) func(context.Context, ngnpro.Viewer, *ngnpro.CustomerQuery) (int, []ngnpro.CustomerAccount, error) {
		return func(ctx context.Context, v ngnpro.Viewer, q *ngnpro.CustomerQuery) (int, []ngnpro.CustomerAccount, error) {
			return st.Customers.Find(ctx, v, q, resellers)
		}
	}
	accounts := func(total int, cs []ngnpro.CustomerAccount) ngnpro.CustomerAccounts {
		return ngnpro.CustomerAccounts{Total: total, Accounts: cs}
	}
	return []operation{
		creates("addAccount", record("account", (*ngnpro.CustomerAccount).CleanNew),
			func(ctx context.Context, v ngnpro.Viewer, a *ngnpro.CustomerAccount) (*ngnpro.CustomerAccount, store.Notices, error) {
				made, err := st.Customers.Add(ctx, v, a)
				return made, nil, err
			}),
		existing(exists, changes("updateAccount", account, noPush(st.Customers.Update))),
		changes("deleteAccount", id, noPush(st.Customers.Delete)),
		reads("getAccount", id, st.Customers.Get),
		lists("getCustomers", find(false), accounts),
		lists("getResellers", find(true), accounts),
		existing(named(number, st.Customers.Get), sets("setProperties", customer, properties, noPush2(st.Customers.SetProperties))),
		reads("getProperties", customer, st.Customers.Properties),
	}
}
