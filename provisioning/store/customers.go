package store

import (
	"context"
	"database/sql"
	"math"

	"thor/provisioning/login"
	"thor/provisioning/ngnpro"
)

// customers are the parties to whom records belong.
type customers struct{ *backend }

// Add adds a customer, or a reseller if an administrator names none that
// it belongs to.
func (s customers) Add(ctx context.Context, v ngnpro.Viewer, c *ngnpro.CustomerAccount) (n *ngnpro.CustomerAccount, err error) {
	if err := checkCustomer(c); err != nil {
		return nil, err
	}
	if c.Username == nil || or(c.Password, "") == "" {
		return nil, ngnpro.ErrInvalid.With("username or password is missing")
	}
	hash, err := login.HashPassword(*c.Password)
	if err != nil {
		return nil, ngnpro.ErrInvalid.With("password cannot be hashed")
	}
	err = s.write(ctx, "add customer", func(t *tx) error {
		reseller, err := t.resellerOf(v, or(c.Reseller, 0))
		if err != nil {
			return err
		}
		fresh := &ngnpro.CustomerAccount{
			ID: new(0), Reseller: &reseller, Impersonate: new(0), ResellerActive: new(false), Balance: new(0.0), Credit: new(0.0),
		}
		if err := mayGrant(v, fresh, c); err != nil {
			return err
		}
		mergeCustomer(fresh, c)
		id, err := t.insertCustomer(fresh, hash)
		if err != nil {
			return err
		}
		if reseller == 0 {
			reseller = id
		}
		if err := t.setProperties(v, party{id, reseller}, or(c.Properties, nil)); err != nil {
			return err
		}
		n, err = t.customer(ngnpro.Viewer{Admin: true}, id, false)
		if err != nil {
			return err
		}
		return t.withProperties(n)
	})
	return n, err
}

// resellerOf is to whom a new customer belongs; 0: it is a reseller itself.
func (t *tx) resellerOf(v ngnpro.Viewer, given int) (int, error) {
	switch {
	case v.Admin && given == 0:
		return 0, nil
	case v.Admin:
		p, err := t.admitted(party{reseller: given}, false)
		return p.reseller, err
	case v.Customer != 0 || v.Reseller == 0:
		return 0, ngnpro.ErrForbidden.With("a customer adds no customers")
	case given != 0 && given != v.Reseller:
		return 0, ngnpro.ErrForbidden.With("a reseller's customers belong to the reseller")
	}
	var active bool
	const q = "SELECT reseller_active FROM customers WHERE id = ? AND reseller_id = id LOCK IN SHARE MODE"
	if _, err := t.row(q, []any{v.Reseller}, []any{&active}); err != nil {
		return 0, err
	}
	if !active {
		return 0, ngnpro.ErrForbidden.With("the reseller is not active")
	}
	return v.Reseller, nil
}

// mayGrant checks what of is gives more rights or money than was had. What is
// the same as before was only echoed.
func mayGrant(v ngnpro.Viewer, was, is *ngnpro.CustomerAccount) error {
	if i := or(is.Impersonate, *was.Impersonate); i != 0 && i != *was.Reseller && i != *was.ID {
		return ngnpro.ErrInvalid.With("impersonate is neither 0 nor the customer's reseller")
	}
	if v.Admin {
		return nil
	}
	own := *was.ID != 0 && *was.ID == *was.Reseller || v.Customer != 0 // nobody grants himself
	money := differs(was.Balance, is.Balance) || differs(was.Credit, is.Credit)
	rights := or(is.Impersonate, *was.Impersonate) != *was.Impersonate
	active := or(is.ResellerActive, *was.ResellerActive) != *was.ResellerActive
	if own && (money || rights) || active {
		return ngnpro.ErrForbidden.With("this party may not change its balance, credit or rights")
	}
	return nil
}

func differs(was, is *float64) bool { return is != nil && math.Abs(*is-*was) >= 0.0001 }

// mergeCustomer stores what is given, all but id and reseller.
func mergeCustomer(c, given *ngnpro.CustomerAccount) {
	set(c.Impersonate, given.Impersonate)
	set(c.ResellerActive, given.ResellerActive)
	set(c.Balance, given.Balance)
	set(c.Credit, given.Credit)
	for _, f := range customerFields {
		if *f.at(given) != nil {
			*f.at(c) = *f.at(given)
		}
	}
}

// customerValues are the columns after the id, in the order of customerColumns.
func customerValues(c *ngnpro.CustomerAccount) []any {
	vs := []any{*c.Reseller, *c.Impersonate, *c.ResellerActive, *c.Balance, *c.Credit}
	for _, f := range customerFields {
		vs = append(vs, or(*f.at(c), ""))
	}
	return vs
}

const (
	insertCustomer = "INSERT INTO customers (reseller_id, impersonate, reseller_active, balance, credit, username, company_code, first_name, last_name," +
		" organization, tel, fax, sip, enum, mobile, email, web, address, postcode, city, state, country, timezone, language, vat_number," +
		" bank_account, billing_email, billing_address, password_hash, change_date)" +
		" VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, UTC_TIMESTAMP())"
	updateCustomer = "UPDATE customers SET reseller_id = ?, impersonate = ?, reseller_active = ?, balance = ?, credit = ?, username = ?, company_code = ?," +
		" first_name = ?, last_name = ?, organization = ?, tel = ?, fax = ?, sip = ?, enum = ?, mobile = ?, email = ?, web = ?, address = ?," +
		" postcode = ?, city = ?, state = ?, country = ?, timezone = ?, language = ?, vat_number = ?, bank_account = ?, billing_email = ?," +
		" billing_address = ?, change_date = UTC_TIMESTAMP() WHERE id = ?"
)

func (t *tx) insertCustomer(c *ngnpro.CustomerAccount, hash string) (int, error) {
	r, err := t.exec(insertCustomer, append(customerValues(c), hash)...)
	if duplicate(err) {
		return 0, ngnpro.ErrCustomerExists
	}
	if err != nil {
		return 0, err
	}
	id, err := r.LastInsertId()
	if err != nil || *c.Reseller != 0 {
		return int(id), err
	}
	_, err = t.exec("UPDATE customers SET reseller_id = id WHERE id = ?", id)
	return int(id), err
}

// Update changes what is given. A customer stays with its reseller.
func (s customers) Update(ctx context.Context, v ngnpro.Viewer, c *ngnpro.CustomerAccount) error {
	if err := checkCustomer(c); err != nil {
		return err
	}
	hash := ""
	if p := or(c.Password, ""); p != "" {
		var err error
		if hash, err = login.HashPassword(p); err != nil {
			return ngnpro.ErrInvalid.With("password cannot be hashed")
		}
	}
	return s.write(ctx, "update customer", func(t *tx) error {
		was, err := t.customer(v, or(c.ID, 0), true)
		if err != nil {
			return err
		}
		if r := or(c.Reseller, 0); r != 0 && r != *was.Reseller {
			return ngnpro.ErrInvalid.With("a customer stays with its reseller")
		}
		if err := mayGrant(v, was, c); err != nil {
			return err
		}
		mergeCustomer(was, c)
		if _, err := t.exec(updateCustomer, append(customerValues(was), *was.ID)...); err != nil {
			if duplicate(err) {
				return ngnpro.ErrCustomerExists
			}
			return err
		}
		if hash != "" {
			if _, err := t.exec("UPDATE customers SET password_hash = ? WHERE id = ?", hash, *was.ID); err != nil {
				return err
			}
		}
		return t.setProperties(v, party{*was.ID, *was.Reseller}, or(c.Properties, nil))
	})
}

// Delete deletes a customer to whom nothing belongs.
func (s customers) Delete(ctx context.Context, v ngnpro.Viewer, id int) error {
	return s.write(ctx, "delete customer", func(t *tx) error {
		c, err := t.customer(v, id, true)
		if err != nil {
			return err
		}
		if !v.Admin && (v.Customer != 0 || *c.ID == *c.Reseller) {
			return ngnpro.ErrForbidden.With("nobody deletes himself")
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
		if c, err = t.customer(v, id, false); err != nil {
			return err
		}
		return t.withProperties(c)
	})
	return c, err
}

// Find lists resellers, or customers that are none.
func (s customers) Find(ctx context.Context, v ngnpro.Viewer, q *ngnpro.CustomerQuery, resellers bool) (total int, cs []ngnpro.CustomerAccount, err error) {
	var l list
	f := &q.Filter
	l.visible(v, "c.id", "c.reseller_id")
	if resellers {
		l.and("c.id = c.reseller_id")
	} else {
		l.and("c.id <> c.reseller_id")
	}
	l.equal("c.id", f.ID)
	l.equal("c.id", f.Customer)
	l.equal("c.reseller_id", f.Reseller)
	l.like("c.username", "filter.username", f.Username)
	l.like("c.first_name", "filter.firstName", f.FirstName)
	l.like("c.last_name", "filter.lastName", f.LastName)
	l.like("c.organization", "filter.organization", f.Organization)
	l.like("c.email", "filter.email", f.Email)
	l.like("c.tel", "filter.tel", f.Tel)
	l.sort(q.OrderBy, map[string]string{
		"id": "c.id", "username": "c.username", "firstName": "c.first_name", "lastName": "c.last_name", "organization": "c.organization",
		"email": "c.email", "changeDate": "c.change_date",
	}, "c.id")
	l.part(q.Range)
	err = s.snapshot(ctx, "find customers", func(t *tx) error {
		cs = nil
		total, err = t.find(&l, customerColumns, "customers c", func(r *sql.Rows) error {
			c, err := scanCustomer(r.Scan)
			cs = append(cs, *c)
			return err
		})
		if err != nil {
			return err
		}
		ps := make([]*ngnpro.CustomerAccount, len(cs))
		for i := range cs {
			ps[i] = &cs[i]
		}
		return t.withProperties(ps...)
	})
	return total, cs, err
}
