package store

import (
	"context"
	"slices"

	"thor/provisioning/allowance"
	"thor/provisioning/ngnpro"
)

// A property is a row of customer_properties.
type customerProperty struct {
	of int
	ngnpro.CustomerProperty
}

var propertyTable = newTable("customer_properties", "", nil, func(p *customerProperty) []field {
	return []field{
		{"customer_id", &p.of, key},
		{"name", &p.Name, key},
		{"category", &p.Category, kept},
		{"value", &p.Value, kept},
		{"permission", &p.Permission, kept},
	}
})

// setProperties sets the given properties and leaves others as they are.
func (t *tx) setProperties(v ngnpro.Viewer, of party, ps []ngnpro.CustomerProperty) error {
	if len(ps) == 0 {
		return nil
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
		n := p
		n.Category, n.Permission = new(or(p.Category, or(old.Category, ""))), new(or(p.Permission, or(old.Permission, "")))
		if had && n.Value == old.Value && *n.Category == *old.Category && *n.Permission == *old.Permission {
			continue // echoed
		}
		if err := t.as(v).setsProperty(of, &old, &n); err != nil {
			return err
		}
		values[p.Name] = p.Value
		allowed = allowed || slices.Contains(allowance.Names, p.Name)
		row := &customerProperty{of.customer, n}
		if had {
			err = propertyTable.update(t, row)
		} else {
			_, err = propertyTable.insert(t, row)
		}
		if err != nil {
			return err
		}
	}
	if allowed {
		return t.as(v).allows(of, values)
	}
	return nil
}

func (t *tx) properties(of int) (map[string]ngnpro.CustomerProperty, error) {
	m := make(map[string]ngnpro.CustomerProperty)
	return m, propertyTable.each(t, " WHERE customer_id = ?", []any{of}, func(p *customerProperty) { m[p.Name] = p.CustomerProperty })
}

// withProperties reads the properties of customers into them.
func (t *tx) withProperties(cs ...*ngnpro.CustomerAccount) error {
	if len(cs) == 0 {
		return nil
	}
	by := make(map[int]*ngnpro.CustomerAccount, len(cs))
	var ids []any
	for _, c := range cs {
		c.Properties, by[*c.ID] = &[]ngnpro.CustomerProperty{}, c
		ids = append(ids, *c.ID)
	}
	ids = powerOfTwo(ids)
	return propertyTable.each(t, " WHERE customer_id IN "+placeholders(len(ids))+" ORDER BY customer_id, name", ids, func(p *customerProperty) {
		*by[p.of].Properties = append(*by[p.of].Properties, p.CustomerProperty)
	})
}

// SetProperties sets the given properties of a customer.
func (s customers) SetProperties(ctx context.Context, v ngnpro.Viewer, customer int, ps []ngnpro.CustomerProperty) error {
	return s.write(ctx, "set properties", func(t *tx) error {
		c, err := t.customer(v, customer, forUpdate)
		if err != nil {
			return err
		}
		return t.setProperties(v, customerTable.party(c), ps)
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
