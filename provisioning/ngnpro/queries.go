package ngnpro

// A Range is a part of a list. Count 0 or absent is all that is left, at most
// MaxCount.
type Range struct {
	Start int `soap:"start"`
	Count int `soap:"count"`
}

// MaxCount is the greatest number of records in one answer.
const MaxCount = 1000

// An OrderBy sorts a list. An attribute that the list does not sort by is an
// invalid argument; absent means the record's key, ascending.
type OrderBy struct {
	Attribute string `soap:"attribute"`
	Direction string `soap:"direction"` // "ASC" or "DESC"; empty is ASC
}

// Filters: an empty string and 0 mean "any". In strings % and _ are wildcards,
// as in SQL's LIKE.

// A SipDomainQuery sorts by changeDate, domain.
type SipDomainQuery struct {
	Filter struct {
		Domain   string `soap:"domain"`
		Customer int    `soap:"customer"`
		Reseller int    `soap:"reseller"`
	} `soap:"filter"`
	OrderBy *OrderBy `soap:"orderBy"`
	Range   *Range   `soap:"range"`
}

// A SipQuery sorts by changeDate, username, domain.
type SipQuery struct {
	Filter struct {
		Username  string   `soap:"username"`
		Domain    string   `soap:"domain"`
		FirstName string   `soap:"firstName"`
		LastName  string   `soap:"lastName"`
		Email     string   `soap:"email"`
		Owner     int      `soap:"owner"`
		Customer  int      `soap:"customer"`
		Reseller  int      `soap:"reseller"`
		Groups    []string `soap:"groups"` // in all of them; empty items do not count
	} `soap:"filter"`
	OrderBy *OrderBy `soap:"orderBy"`
	Range   *Range   `soap:"range"`
}

// An AliasQuery sorts by changeDate and the first four of its filter.
type AliasQuery struct {
	Filter struct {
		AliasUsername  string `soap:"aliasUsername"`
		AliasDomain    string `soap:"aliasDomain"`
		TargetUsername string `soap:"targetUsername"`
		TargetDomain   string `soap:"targetDomain"`
		Owner          int    `soap:"owner"`
		Customer       int    `soap:"customer"`
		Reseller       int    `soap:"reseller"`
	} `soap:"filter"`
	OrderBy *OrderBy `soap:"orderBy"`
	Range   *Range   `soap:"range"`
}

// A TrustedPeerQuery sorts by changeDate, ip, description.
type TrustedPeerQuery struct {
	Filter struct {
		IP          string `soap:"ip"`
		Description string `soap:"description"`
		Tenant      string `soap:"tenant"`
		Tags        string `soap:"tags"`
		BillingID   string `soap:"billingId"`
		MSTeams     *bool  `soap:"msteams"`
		Blocked     *bool  `soap:"blocked"`
		Customer    int    `soap:"customer"`
		Reseller    int    `soap:"reseller"`
	} `soap:"filter"`
	OrderBy *OrderBy `soap:"orderBy"`
	Range   *Range   `soap:"range"`
}

// An EnumRangeQuery sorts by changeDate, prefix, tld.
type EnumRangeQuery struct {
	Filter struct {
		Prefix   string `soap:"prefix"`
		TLD      string `soap:"tld"`
		Info     string `soap:"info"`
		Customer int    `soap:"customer"`
		Reseller int    `soap:"reseller"`
	} `soap:"filter"`
	OrderBy *OrderBy `soap:"orderBy"`
	Range   *Range   `soap:"range"`
}

// An EnumNumberQuery sorts by changeDate, number, tld.
type EnumNumberQuery struct {
	Filter struct {
		Number   string `soap:"number"`
		TLD      string `soap:"tld"`
		Type     string `soap:"type"`
		MapTo    string `soap:"mapto"`
		Owner    int    `soap:"owner"`
		Customer int    `soap:"customer"`
		Reseller int    `soap:"reseller"`
	} `soap:"filter"`
	OrderBy *OrderBy `soap:"orderBy"`
	Range   *Range   `soap:"range"`
}

// A CustomerQuery sorts by id, username, firstName, lastName, organization,
// email, changeDate.
type CustomerQuery struct {
	Filter struct {
		ID           int    `soap:"id"`
		Customer     int    `soap:"customer"` // the same as ID, which some clients send
		Reseller     int    `soap:"reseller"`
		Username     string `soap:"username"`
		FirstName    string `soap:"firstName"`
		LastName     string `soap:"lastName"`
		Organization string `soap:"organization"`
		Email        string `soap:"email"`
		Tel          string `soap:"tel"`
	} `soap:"filter"`
	OrderBy *OrderBy `soap:"orderBy"`
	Range   *Range   `soap:"range"`
}
