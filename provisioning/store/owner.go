package store

import "thor/provisioning/ngnpro"

// A party is whom a record belongs to; 0 is nobody.
type party struct{ customer, reseller int }

// partyOf is the party that a record names.
func partyOf(customer, reseller *int) party { return party{or(customer, 0), or(reseller, 0)} }

// seen reports whether v may see what belongs to p.
func (p party) seen(v ngnpro.Viewer) bool { return v.Sees(p.customer, p.reseller) }

// owner finds out to whom a record shall belong for which v gave customer and
// reseller, and that belonged to was. It belongs to v's own party unless v may
// give it to another one.
func (t *tx) owner(v ngnpro.Viewer, customer, reseller *int, was party) (party, error) {
	is := party{or(customer, was.customer), or(reseller, was.reseller)}
	switch {
	case v.Admin:
		return t.admitted(is, customer != nil)
	case v.Customer != 0:
		is = party{orDefault(is.customer, v.Customer), is.reseller}
		if is.customer != v.Customer {
			return party{}, ngnpro.ErrForbidden.With("a customer's records belong to the customer")
		}
		full, err := t.admitted(party{customer: v.Customer}, true)
		if err == nil && is.reseller != 0 && is.reseller != full.reseller {
			return party{}, ngnpro.ErrForbidden.With("a customer's records belong to the customer's reseller")
		}
		return full, err
	case v.Reseller != 0:
		is = party{orDefault(is.customer, v.Reseller), orDefault(is.reseller, v.Reseller)}
		if is.reseller != v.Reseller {
			return party{}, ngnpro.ErrForbidden.With("a reseller's records belong to the reseller")
		}
		full, err := t.admitted(is, true)
		if err == nil && full.reseller != v.Reseller {
			return party{}, ngnpro.ErrCustomerNotFound
		}
		return full, err
	}
	return party{}, ngnpro.ErrForbidden
}

// admitted checks that customer and reseller exist and belong together. A
// customer brings its reseller, unless the reseller is named. The row is locked as
// credit does it next: of two that share it neither could.
func (t *tx) admitted(p party, byCustomer bool) (party, error) {
	if p.customer != 0 {
		var r int
		found, err := t.row("SELECT reseller_id FROM customers WHERE id = ? FOR UPDATE", []any{p.customer}, []any{&r})
		switch {
		case err != nil:
			return party{}, err
		case !found:
			return party{}, ngnpro.ErrCustomerNotFound.With("there is no customer %d", p.customer)
		case p.reseller == 0 || p.reseller != r && byCustomer:
			p.reseller = r
		}
		if p.reseller != r {
			return party{}, ngnpro.ErrInvalid.With("customer %d is of another reseller", p.customer)
		}
		return p, nil
	}
	if p.reseller != 0 {
		var r int
		found, err := t.row("SELECT reseller_id FROM customers WHERE id = ? FOR UPDATE", []any{p.reseller}, []any{&r})
		if err != nil {
			return party{}, err
		}
		if !found || r != p.reseller {
			return party{}, ngnpro.ErrCustomerNotFound.With("there is no reseller %d", p.reseller)
		}
	}
	return p, nil
}
