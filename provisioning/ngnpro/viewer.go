package ngnpro

// A Viewer is on whose behalf a call is made: what it may see and change. The
// zero value sees nothing.
type Viewer struct {
	Admin    bool // sees everything
	Reseller int  // of a reseller: sees the records of this reseller
	Customer int  // of a customer: sees the records of this customer alone
}

// Sees reports whether v may see and change a record of customer and reseller.
func (v Viewer) Sees(customer, reseller int) bool {
	switch {
	case v.Admin:
		return true
	case v.Customer != 0:
		return v.Customer == customer
	}
	return v.Reseller != 0 && v.Reseller == reseller
}
