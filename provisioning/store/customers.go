package store

import (
	"context"

	"thor/provisioning/login"
	"thor/provisioning/ngnpro"
)

// customers are the parties to whom records belong.
type customers struct{ *backend }

// A customer is a row of customers.
type customer struct {
	ngnpro.CustomerAccount
	hash *string // of the password
}

var customerTable = newTable("customers", "",
	func(c *customer) party { return partyOf(c.ID, c.Reseller) },
	func(c *customer) []field {
		return []field{
			{"id", &c.ID, use{key: true}},
			{"reseller_id", &c.Reseller, fixed},
			{"impersonate", &c.Impersonate, kept},
			{"reseller_active", &c.ResellerActive, kept},
			{"balance", &c.Balance, kept},
			{"credit", &c.Credit, kept},
			{"username", &c.Username, kept},
			{"password_hash", &c.hash, kept},
			{"company_code", &c.CompanyCode, kept},
			{"first_name", &c.FirstName, kept},
			{"last_name", &c.LastName, kept},
			{"organization", &c.Organization, kept},
			{"tel", &c.Tel, kept},
			{"fax", &c.Fax, kept},
			{"sip", &c.SIP, kept},
			{"enum", &c.Enum, kept},
			{"mobile", &c.Mobile, kept},
			{"email", &c.Email, kept},
			{"web", &c.Web, kept},
			{"address", &c.Address, kept},
			{"postcode", &c.Postcode, kept},
			{"city", &c.City, kept},
			{"state", &c.State, kept},
			{"country", &c.Country, kept},
			{"timezone", &c.Timezone, kept},
			{"language", &c.Language, kept},
			{"vat_number", &c.VATNumber, kept},
			{"bank_account", &c.BankAccount, kept},
			{"billing_email", &c.BillingEmail, kept},
			{"billing_address", &c.BillingAddress, kept},
			{"change_date", new(string), changed},
		}
	})

// customerRow is what a client gives of a customer, with the hash of its password.
func customerRow(c *ngnpro.CustomerAccount) (*customer, error) {
	r := &customer{CustomerAccount: *c}
	r.Password, r.Properties = nil, nil
	if p := or(c.Password, ""); p != "" {
		hash, err := login.HashPassword(p)
		if err != nil {
			return nil, ngnpro.ErrInvalid.With("password cannot be hashed")
		}
		r.hash = &hash
	}
	return r, nil
}

// customer reads a customer that v sees.
func (t *tx) customer(v ngnpro.Viewer, id int, l lock) (*customer, error) {
	return customerTable.get(t, v, l, noCustomer(id), id)
}

// Credentials finds the party of a user name, and the hash of its password.
func (s customers) Credentials(ctx context.Context, username string) (c *ngnpro.CustomerAccount, hash string, err error) {
	err = s.look(ctx, "log in", func(t *tx) error {
		r, err := customerTable.one(t, "username = ?", username)
		if err == nil && r == nil {
			err = ngnpro.ErrCustomerNotFound
		}
		if err == nil {
			c, hash = &r.CustomerAccount, *r.hash
		}
		return err
	})
	return c, hash, err
}

// Add adds a customer, or a reseller if an administrator names none that it
// belongs to.
func (s customers) Add(ctx context.Context, v ngnpro.Viewer, c *ngnpro.CustomerAccount) (n *ngnpro.CustomerAccount, err error) {
	given, err := customerRow(c)
	if err != nil {
		return nil, err
	}
	err = s.write(ctx, "add customer", func(t *tx) error {
		reseller, err := t.as(v).resellerOf(or(c.Reseller, 0))
		if err != nil {
			return err
		}
		fresh := &customer{CustomerAccount: ngnpro.CustomerAccount{
			ID: new(0), Reseller: &reseller, Impersonate: new(0), ResellerActive: new(false), Balance: new(0.0), Credit: new(0.0),
		}}
		if err := t.as(v).grants(&fresh.CustomerAccount, c); err != nil {
			return err
		}
		customerTable.merge(fresh, given)
		if *fresh.ID, err = t.insertCustomer(fresh); err != nil {
			return err
		}
		of := party{*fresh.ID, orDefault(reseller, *fresh.ID)}
		if err := t.setProperties(v, of, or(c.Properties, nil)); err != nil {
			return err
		}
		r, err := t.customer(ngnpro.Viewer{Admin: true}, *fresh.ID, unlocked)
		if err != nil {
			return err
		}
		n = &r.CustomerAccount
		return t.withProperties(n)
	})
	return n, err
}

// insertCustomer adds a row; one without a reseller is a reseller.
func (t *tx) insertCustomer(c *customer) (int, error) {
	id, err := customerTable.insert(t, c)
	if duplicate(err) {
		return 0, ngnpro.ErrCustomerExists
	}
	if err == nil && *c.Reseller == 0 {
		_, err = t.exec("UPDATE customers SET reseller_id = id WHERE id = ?", id)
	}
	return int(id), err
}

// Update changes what is given. A customer stays with its reseller.
func (s customers) Update(ctx context.Context, v ngnpro.Viewer, c *ngnpro.CustomerAccount) error {
	given, err := customerRow(c)
	if err != nil {
		return err
	}
	return s.write(ctx, "update customer", func(t *tx) error {
		was, err := t.customer(v, or(c.ID, 0), forUpdate)
		if err != nil {
			return err
		}
		if r := or(c.Reseller, 0); r != 0 && r != *was.Reseller {
			return ngnpro.ErrInvalid.With("a customer stays with its reseller")
		}
		if err := t.as(v).grants(&was.CustomerAccount, c); err != nil {
			return err
		}
		customerTable.merge(was, given)
		if err := customerTable.update(t, was); err != nil {
			if duplicate(err) {
				return ngnpro.ErrCustomerExists
			}
			return err
		}
		return t.setProperties(v, customerTable.party(was), or(c.Properties, nil))
	})
}

// Delete deletes a customer to whom nothing belongs.
func (s customers) Delete(ctx context.Context, v ngnpro.Viewer, id int) error {
	return s.write(ctx, "delete customer", func(t *tx) error {
		c, err := t.customer(v, id, forUpdate)
		if err != nil {
			return err
		}
		if err := t.as(v).deletesCustomer(c); err != nil {
			return err
		}
		var used bool
		if _, err := t.row(customerUsed, []any{id, id, id, id, id, id, id, id, id, id, id, id, id, id}, []any{&used}); err != nil {
			return err
		}
		if used {
			return ngnpro.ErrCustomerInUse.With("records still belong to customer %d", id)
		}
		_, err = t.exec("DELETE FROM customers WHERE id = ?", id) // and its properties, by their foreign key
		return err
	})
}

const customerUsed = "SELECT EXISTS(SELECT 1 FROM sip_domains WHERE customer_id = ? OR reseller_id = ?)" +
	" OR EXISTS(SELECT 1 FROM sip_accounts_meta WHERE customer_id = ? OR reseller_id = ?)" +
	" OR EXISTS(SELECT 1 FROM sip_aliases WHERE customer_id = ? OR reseller_id = ?)" +
	" OR EXISTS(SELECT 1 FROM sip_trusted WHERE customer_id = ? OR reseller_id = ?)" +
	" OR EXISTS(SELECT 1 FROM enum_ranges WHERE customer_id = ? OR reseller_id = ?)" +
	" OR EXISTS(SELECT 1 FROM enum_numbers WHERE customer_id = ? OR reseller_id = ?)" +
	" OR EXISTS(SELECT 1 FROM customers WHERE reseller_id = ? AND id <> ?)"

// Get is one customer.
func (s customers) Get(ctx context.Context, v ngnpro.Viewer, id int) (c *ngnpro.CustomerAccount, err error) {
	err = s.snapshot(ctx, "get customer", func(t *tx) error {
		r, err := t.customer(v, id, unlocked)
		if err != nil {
			return err
		}
		c = &r.CustomerAccount
		return t.withProperties(c)
	})
	return c, err
}

// Find lists resellers, or customers that are none.
func (s customers) Find(ctx context.Context, v ngnpro.Viewer, q *ngnpro.CustomerQuery, resellers bool) (total int, cs []ngnpro.CustomerAccount, err error) {
	var l search
	f := &q.Filter
	l.visible(v, "id", "reseller_id")
	if resellers {
		l.and("id = reseller_id")
	} else {
		l.and("id <> reseller_id")
	}
	l.equal("id", f.ID)
	l.equal("id", f.Customer)
	l.equal("reseller_id", f.Reseller)
	l.like("username", f.Username)
	l.like("first_name", f.FirstName)
	l.like("last_name", f.LastName)
	l.like("organization", f.Organization)
	l.like("email", f.Email)
	l.like("tel", f.Tel)
	l.sort(q.OrderBy, map[string]string{
		"id": "id", "username": "username", "firstName": "first_name", "lastName": "last_name", "organization": "organization",
		"email": "email", "changeDate": "change_date",
	}, "id")
	l.part(q.Range)
	return list(ctx, s.backend, "find customers", customerTable, &l, func(t *tx, rows []*customer) (cs []ngnpro.CustomerAccount, err error) {
		ps := make([]*ngnpro.CustomerAccount, len(rows))
		for i, r := range rows {
			ps[i] = &r.CustomerAccount
		}
		err = t.withProperties(ps...)
		for _, p := range ps {
			cs = append(cs, *p)
		}
		return cs, err
	})
}
