package store

import (
	"net/netip"

	"thor/provisioning/allowance"
	"thor/provisioning/ngnpro"
)

// A party is the customer and the reseller that a record belongs to; 0 is none.
type party struct{ customer, reseller int }

// partyOf is the party that a record names.
func partyOf(customer, reseller *int) party { return party{or(customer, 0), or(reseller, 0)} }

// An authority decides what a viewer may see and do: to whom a record belongs, and
// what of it may change. All such decisions are its methods; their errors are
// ErrForbidden, or that what v does not see does not exist. The store's other
// methods ask before they write.
type authority struct {
	*tx
	v ngnpro.Viewer
}

func (t *tx) as(v ngnpro.Viewer) authority { return authority{t, v} }

// seen reports whether v may see and change what belongs to p. The condition visible
// says the same in SQL.
func (p party) seen(v ngnpro.Viewer) bool { return v.Sees(p.customer, p.reseller) }

// visible adds what v may see.
func (s *search) visible(v ngnpro.Viewer, customer, reseller string) {
	switch {
	case v.Admin:
	case v.Customer != 0:
		s.and(customer+" = ?", v.Customer)
	case v.Reseller != 0:
		s.and(reseller+" = ?", v.Reseller)
	default:
		s.and("1 = 0")
	}
}

// of adds what v may see, and the filters that all records have which belong to
// parties.
func (s *search) of(v ngnpro.Viewer, customer, reseller int) {
	s.visible(v, "customer_id", "reseller_id")
	s.equal("customer_id", customer)
	s.equal("reseller_id", reseller)
}

// owner finds out to whom a record shall belong for which v gave customer and
// reseller, and that belonged to was. It belongs to v's own party unless v may
// give it to another one.
func (a authority) owner(customer, reseller *int, was party) (party, error) {
	v := a.v
	is := party{or(customer, was.customer), or(reseller, was.reseller)}
	switch {
	case v.Admin:
		return a.admitted(is, customer != nil)
	case v.Customer != 0:
		is = party{orDefault(is.customer, v.Customer), is.reseller}
		if is.customer != v.Customer {
			return party{}, ngnpro.ErrForbidden.With("a customer's records belong to the customer")
		}
		full, err := a.admitted(party{customer: v.Customer}, true)
		if err == nil && is.reseller != 0 && is.reseller != full.reseller {
			return party{}, ngnpro.ErrForbidden.With("a customer's records belong to the customer's reseller")
		}
		return full, err
	case v.Reseller != 0:
		is = party{orDefault(is.customer, v.Reseller), orDefault(is.reseller, v.Reseller)}
		if is.reseller != v.Reseller {
			return party{}, ngnpro.ErrForbidden.With("a reseller's records belong to the reseller")
		}
		full, err := a.admitted(is, true)
		if err == nil && full.reseller != v.Reseller {
			return party{}, noCustomer(full.customer)
		}
		return full, err
	}
	return party{}, ngnpro.ErrForbidden
}

// admitted checks that customer and reseller exist and belong together. A
// customer brings its reseller, unless the reseller is named. The row is locked for
// writing, as credit does next: two transactions that share a lock and then write
// block each other.
func (a authority) admitted(p party, byCustomer bool) (party, error) {
	if p.customer != 0 {
		var r int
		found, err := a.row("SELECT reseller_id FROM customers WHERE id = ? FOR UPDATE", []any{p.customer}, []any{&r})
		switch {
		case err != nil:
			return party{}, err
		case !found:
			return party{}, noCustomer(p.customer)
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
		found, err := a.row("SELECT reseller_id FROM customers WHERE id = ? FOR UPDATE", []any{p.reseller}, []any{&r})
		if err != nil {
			return party{}, err
		}
		if !found || r != p.reseller {
			return party{}, ngnpro.ErrCustomerNotFound.With("there is no reseller %d", p.reseller)
		}
	}
	return p, nil
}

// noCustomer is the answer for a customer that does not exist or is not seen.
func noCustomer(id int) error { return ngnpro.ErrCustomerNotFound.With("there is no customer %d", id) }

// within checks that v may add a range: it takes no numbers away from outer, the
// range around it, if there is one. Outside of a range that v sees, its allowances
// have to have the prefix: the first range keeps all others out of its numbers.
func (a authority) within(outer *numberRange, prefix string) error {
	switch {
	case a.v.Admin || outer != nil && outer.ID.Prefix == prefix: // that one exists
		return nil
	case outer != nil && rangeTable.party(outer).seen(a.v):
		return nil
	case outer != nil:
		return ngnpro.ErrForbidden.With("the prefix is within another party's ENUM range")
	}
	as, err := a.allowances()
	if err != nil {
		return err
	}
	for _, x := range as {
		if !x.Numbers(prefix) {
			return ngnpro.ErrForbidden.With("this party may not add the ENUM range %s: %s does not have it", prefix, allowance.Ranges)
		}
	}
	return nil
}

// hasPeers checks that v is of a kind that may have trusted peers at all: every proxy
// takes their calls without a password, not those of one customer alone.
func (a authority) hasPeers() error {
	if !a.v.Admin && a.v.Reseller == 0 {
		return ngnpro.ErrForbidden.With("trusted peers are for administrators and resellers")
	}
	return nil
}

// hasZones checks that v may say that records are added to a zone at all: it is the
// network's.
func (a authority) hasZones() error {
	if !a.v.Admin {
		return ngnpro.ErrForbidden.With("the network's zone is an administrator's to add and to delete")
	}
	return nil
}

// changesPeer checks that v, which has peers, may make peer is of was. One that is
// new was blocked.
func (a authority) changesPeer(n netip.Prefix, was, is *ngnpro.TrustedPeer) error {
	widest := widestNetwork(n.Addr())
	switch {
	case a.v.Admin:
		return nil
	case n.Bits() < widest:
		return ngnpro.ErrForbidden.With("a network wider than /%d is for administrators", widest)
	case or(is.Transit, false) && !or(was.Transit, false):
		return ngnpro.ErrForbidden.With("transit is an administrator's to give")
	case or(was.Blocked, false) && !or(is.Blocked, false):
		return a.trusts(n)
	}
	return nil
}

// widestNetwork is the widest one, in bits, that others than administrators may have
// proxies trust: whatever comes from it is not authenticated.
func widestNetwork(a netip.Addr) int {
	if a.Is4() {
		return 24
	}
	return 48
}
