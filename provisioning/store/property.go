package store

import (
	"context"
	"database/sql"
	"slices"
	"strconv"
	"strings"

	"thor/provisioning/allowance"
	"thor/provisioning/ngnpro"
)

// credits are the properties that limit how many records there may be.
var credits = []string{"sip_credit", "sip_alias_credit", "enum_range_credit", "enum_number_credit", "dns_zone_credit", "email_credit"}

// A rank is who may change a property: whoever has it or a higher one.
type rank int

const (
	ofCustomer rank = 1 + iota
	ofReseller
	ofAdmin
)

// rankOf reads a property's permission. One that is not known is the highest.
func rankOf(permission string) rank {
	switch strings.ToLower(permission) {
	case "", "customer":
		return ofCustomer
	case "reseller":
		return ofReseller
	}
	return ofAdmin
}

// rankOfViewer is v's own.
func rankOfViewer(v ngnpro.Viewer) rank {
	switch {
	case v.Admin:
		return ofAdmin
	case v.Customer != 0:
		return ofCustomer
	}
	return ofReseller
}

// needed is the rank that it takes to set a property, whatever its permission.
func needed(name string, of party) rank {
	for _, c := range credits {
		if c == name && of.customer == of.reseller {
			return ofAdmin
		}
		if c == name {
			return ofReseller
		}
	}
	switch {
	case slices.Contains(allowance.Names, name) && of.customer == of.reseller:
		return ofAdmin
	case slices.Contains(allowance.Names, name), name == keepClearProperty:
		return ofReseller
	}
	return ofCustomer
}

func checkProperties(ps []ngnpro.CustomerProperty) error {
	var c check
	c.count("properties", len(ps))
	for _, p := range ps {
		c.word("properties.name", p.Name, maxName)
		if strings.TrimSpace(p.Name) != p.Name { // the database takes it for the name without the blanks
			c.fail("properties.name begins or ends with a blank")
		}
		c.opt("properties.category", p.Category, maxName)
		c.text("properties.value", p.Value, maxInfo)
		c.opt("properties.permission", p.Permission, 32)
		for _, name := range credits {
			if n, err := strconv.Atoi(p.Value); p.Name == name && p.Value != "" && (err != nil || n < 0 || n > maxNumber) {
				c.fail("%s is not a number of records", name)
			}
		}
	}
	return c.err
}

// setProperties sets the given properties and leaves others as they are.
func (t *tx) setProperties(v ngnpro.Viewer, of party, ps []ngnpro.CustomerProperty) error {
	if len(ps) == 0 {
		return nil
	}
	if err := checkProperties(ps); err != nil {
		return err
	}
	was, err := t.properties(of.customer)
	if err != nil {
		return err
	}
	allowed, values := false, make(map[string]string)
	for name, p := range was {
		values[name] = p.Value
	}
	for _, p := range ps {
		old, had := was[p.Name]
		n := ngnpro.CustomerProperty{
			Name: p.Name, Value: p.Value, Category: new(or(p.Category, or(old.Category, ""))), Permission: new(or(p.Permission, or(old.Permission, ""))),
		}
		if had && n.Value == old.Value && *n.Category == *old.Category && *n.Permission == *old.Permission {
			continue // echoed
		}
		if rankOfViewer(v) < max(rankOf(or(old.Permission, "")), rankOf(*n.Permission), needed(p.Name, of)) {
			return ngnpro.ErrForbidden.With("this party may not set one of the properties")
		}
		values[p.Name] = p.Value
		allowed = allowed || slices.Contains(allowance.Names, p.Name)
		const q = "INSERT INTO customer_properties (customer_id, name, category, value, permission) VALUES (?, ?, ?, ?, ?)" +
			" ON DUPLICATE KEY UPDATE category = VALUES(category), value = VALUES(value), permission = VALUES(permission)"
		if _, err := t.exec(q, of.customer, n.Name, *n.Category, n.Value, *n.Permission); err != nil {
			return err
		}
	}
	if allowed {
		return t.mayAllow(v, of, values)
	}
	return nil
}

func (t *tx) properties(customer int) (map[string]ngnpro.CustomerProperty, error) {
	m := make(map[string]ngnpro.CustomerProperty)
	const q = "SELECT name, category, value, permission FROM customer_properties WHERE customer_id = ?"
	return m, t.rows(q, []any{customer}, func(r *sql.Rows) error {
		p := ngnpro.CustomerProperty{Category: new(string), Permission: new(string)}
		err := r.Scan(&p.Name, p.Category, &p.Value, p.Permission)
		m[p.Name] = p
		return err
	})
}

// withProperties reads the properties of customers into them.
func (t *tx) withProperties(cs ...*ngnpro.CustomerAccount) error {
	if len(cs) == 0 {
		return nil
	}
	by := make(map[int]*ngnpro.CustomerAccount, len(cs))
	n := 1
	for n < len(cs) {
		n *= 2 // few different statements
	}
	args := make([]any, n)
	for i := range args {
		c := cs[min(i, len(cs)-1)]
		c.Properties = &[]ngnpro.CustomerProperty{}
		by[*c.ID], args[i] = c, *c.ID
	}
	q := "SELECT customer_id, name, category, value, permission FROM customer_properties WHERE customer_id IN (?" + strings.Repeat(", ?", n-1) +
		") ORDER BY customer_id, name"
	return t.rows(q, args, func(r *sql.Rows) error {
		var id int
		p := ngnpro.CustomerProperty{Category: new(string), Permission: new(string)}
		err := r.Scan(&id, &p.Name, p.Category, &p.Value, p.Permission)
		if c := by[id]; c != nil {
			*c.Properties = append(*c.Properties, p)
		}
		return err
	})
}

// SetProperties sets the given properties of a customer.
func (s customers) SetProperties(ctx context.Context, v ngnpro.Viewer, customer int, ps []ngnpro.CustomerProperty) error {
	return s.write(ctx, "set properties", func(t *tx) error {
		c, err := t.customer(v, customer, true)
		if err != nil {
			return err
		}
		return t.setProperties(v, party{*c.ID, *c.Reseller}, ps)
	})
}

// Properties are the properties of a customer, by name.
func (s customers) Properties(ctx context.Context, v ngnpro.Viewer, customer int) ([]ngnpro.CustomerProperty, error) {
	c, err := s.Get(ctx, v, customer)
	if err != nil {
		return nil, err
	}
	return *c.Properties, nil
}
