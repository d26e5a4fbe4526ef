package store

import (
	"math"
	"slices"
	"strings"

	"thor/provisioning/allowance"
	"thor/provisioning/ngnpro"
)

// resellerOf is to whom a customer belongs that v adds for the given reseller; 0: it
// is a reseller itself.
func (a authority) resellerOf(given int) (int, error) {
	v := a.v
	switch {
	case v.Admin && given == 0:
		return 0, nil
	case v.Admin:
		p, err := a.admitted(party{reseller: given}, false)
		return p.reseller, err
	case v.Customer != 0 || v.Reseller == 0:
		return 0, ngnpro.ErrForbidden.With("a customer adds no customers")
	case given != 0 && given != v.Reseller:
		return 0, ngnpro.ErrForbidden.With("a reseller's customers belong to the reseller")
	}
	var active bool
	const q = "SELECT reseller_active FROM customers WHERE id = ? AND reseller_id = id LOCK IN SHARE MODE"
	if _, err := a.row(q, []any{v.Reseller}, []any{&active}); err != nil {
		return 0, err
	}
	if !active {
		return 0, ngnpro.ErrForbidden.With("the reseller is not active")
	}
	return v.Reseller, nil
}

// grants checks what of is gives more rights or money than was had. What is the
// same as before was only echoed.
func (a authority) grants(was, is *ngnpro.CustomerAccount) error {
	if i := or(is.Impersonate, *was.Impersonate); i != 0 && i != *was.Reseller && i != *was.ID {
		return ngnpro.ErrInvalid.With("impersonate is neither 0 nor the customer's reseller")
	}
	if a.v.Admin {
		return nil
	}
	own := *was.ID != 0 && *was.ID == *was.Reseller || a.v.Customer != 0 // no party grants to itself
	money := differs(was.Balance, is.Balance) || differs(was.Credit, is.Credit)
	rights := or(is.Impersonate, *was.Impersonate) != *was.Impersonate
	active := or(is.ResellerActive, *was.ResellerActive) != *was.ResellerActive
	if own && (money || rights) || active {
		return ngnpro.ErrForbidden.With("this party may not change its balance, credit or rights")
	}
	return nil
}

func differs(was, is *float64) bool { return is != nil && math.Abs(*is-*was) >= 0.0001 }

// deletesCustomer checks that v may delete a customer that it sees.
func (a authority) deletesCustomer(c *customer) error {
	if !a.v.Admin && (a.v.Customer != 0 || *c.ID == *c.Reseller) {
		return ngnpro.ErrForbidden.With("no party deletes itself")
	}
	return nil
}

// A level is what it takes to change a property: this level or a higher one.
type level int

const (
	ofCustomer level = 1 + iota
	ofReseller
	ofAdmin
)

// level is v's own.
func (a authority) level() level {
	switch {
	case a.v.Admin:
		return ofAdmin
	case a.v.Customer != 0:
		return ofCustomer
	}
	return ofReseller
}

// levelOf reads a property's permission. One that is not known is the highest.
func levelOf(permission string) level {
	switch strings.ToLower(permission) {
	case "", "customer":
		return ofCustomer
	case "reseller":
		return ofReseller
	}
	return ofAdmin
}

// needed is the level that it takes to set a property, whatever its permission.
func needed(name string, of party) level {
	credit, allowed := slices.Contains(ngnpro.Credits, name), slices.Contains(allowance.Names, name)
	switch {
	case (credit || allowed) && of.customer == of.reseller:
		return ofAdmin
	case credit || allowed || name == keepClearProperty:
		return ofReseller
	}
	return ofCustomer
}

// setsProperty checks that v may set a property of a party, which was was.
func (a authority) setsProperty(of party, was, is *ngnpro.CustomerProperty) error {
	if a.level() < max(levelOf(or(was.Permission, "")), levelOf(or(is.Permission, "")), needed(is.Name, of)) {
		return ngnpro.ErrForbidden.With("this party may not set one of the properties")
	}
	return nil
}
