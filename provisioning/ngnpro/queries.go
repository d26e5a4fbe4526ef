package ngnpro

import (
	"slices"
	"strings"

	"thor/overlay/subscriber"
)

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

// Clean folds and checks a query.
func (q *SipDomainQuery) Clean() error {
	return cleanQuery(&q.OrderBy, q.Range, []string{"changeDate", "domain"}, []*string{&q.Filter.Domain}, nil)
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

// Clean folds and checks a query; empty groups are none.
func (q *SipQuery) Clean() error {
	f := &q.Filter
	var err error
	if f.Groups, err = words("query.filter.groups", f.Groups, maxName); err != nil {
		return err
	}
	return cleanQuery(&q.OrderBy, q.Range, []string{"changeDate", "username", "domain"},
		[]*string{&f.Username, &f.Domain}, []*string{&f.FirstName, &f.LastName, &f.Email})
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

// Clean folds and checks a query.
func (q *AliasQuery) Clean() error {
	f := &q.Filter
	return cleanQuery(&q.OrderBy, q.Range, []string{"changeDate", "aliasUsername", "aliasDomain", "targetUsername", "targetDomain"},
		[]*string{&f.AliasUsername, &f.AliasDomain, &f.TargetUsername, &f.TargetDomain}, nil)
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

// Clean checks a query. Clients send every filter always: false is any, as 0 is.
func (q *TrustedPeerQuery) Clean() error {
	f := &q.Filter
	for _, p := range []**bool{&f.MSTeams, &f.Blocked} {
		if *p != nil && !**p {
			*p = nil
		}
	}
	if ip := f.IP; PeerIP(&ip) == nil {
		f.IP = ip
	}
	return cleanQuery(&q.OrderBy, q.Range, []string{"changeDate", "ip", "description"}, nil,
		[]*string{&f.IP, &f.Description, &f.Tenant, &f.Tags, &f.BillingID})
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

// Clean folds and checks a query.
func (q *EnumRangeQuery) Clean() error {
	f := &q.Filter
	f.Prefix = strings.TrimPrefix(strings.TrimSpace(f.Prefix), "+")
	return cleanQuery(&q.OrderBy, q.Range, []string{"changeDate", "prefix", "tld"}, []*string{&f.TLD}, []*string{&f.Prefix, &f.Info})
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

// Clean folds and checks a query.
func (q *EnumNumberQuery) Clean() error {
	f := &q.Filter
	f.Number = strings.TrimPrefix(strings.TrimSpace(f.Number), "+")
	return cleanQuery(&q.OrderBy, q.Range, []string{"changeDate", "number", "tld"}, []*string{&f.TLD, &f.Type}, []*string{&f.Number, &f.MapTo})
}

// A DnsZoneQuery sorts by changeDate, name.
type DnsZoneQuery struct {
	Filter struct {
		Name     string `soap:"name"`
		Info     string `soap:"info"`
		Customer int    `soap:"customer"`
		Reseller int    `soap:"reseller"`
	} `soap:"filter"`
	OrderBy *OrderBy `soap:"orderBy"`
	Range   *Range   `soap:"range"`
}

// Clean folds and checks a query.
func (q *DnsZoneQuery) Clean() error {
	return cleanQuery(&q.OrderBy, q.Range, []string{"changeDate", "name"}, []*string{&q.Filter.Name}, []*string{&q.Filter.Info})
}

// A DnsRecordQuery sorts by changeDate, type, name.
type DnsRecordQuery struct {
	Filter struct {
		ID       int    `soap:"id"`
		Zone     string `soap:"zone"`
		Name     string `soap:"name"`
		Type     string `soap:"type"`
		Value    string `soap:"value"`
		Owner    int    `soap:"owner"`
		Customer int    `soap:"customer"`
		Reseller int    `soap:"reseller"`
	} `soap:"filter"`
	OrderBy *OrderBy `soap:"orderBy"`
	Range   *Range   `soap:"range"`
}

// Clean folds and checks a query.
func (q *DnsRecordQuery) Clean() error {
	f := &q.Filter
	f.Type = strings.ToUpper(strings.TrimSpace(f.Type))
	return cleanQuery(&q.OrderBy, q.Range, []string{"changeDate", "type", "name"}, []*string{&f.Zone, &f.Name}, []*string{&f.Type, &f.Value})
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

// Clean checks a query.
func (q *CustomerQuery) Clean() error {
	f := &q.Filter
	return cleanQuery(&q.OrderBy, q.Range, []string{"changeDate", "id", "username", "firstName", "lastName", "organization", "email"}, nil,
		[]*string{&f.Username, &f.FirstName, &f.LastName, &f.Organization, &f.Email, &f.Tel})
}

// cleanQuery checks what all queries have. folded are filters that are kept in lower
// case, others are those that are not.
func cleanQuery(o **OrderBy, r *Range, attributes []string, folded, others []*string) error {
	for i, p := range slices.Concat(folded, others) {
		*p = strings.TrimSpace(*p)
		if i < len(folded) {
			*p = subscriber.Fold(*p)
		}
		if err := text("query.filter", *p, maxText); err != nil {
			return err
		}
	}
	if r != nil {
		if r.Start < 0 || r.Count < 0 {
			return invalid("query.range", "is negative")
		}
		if r.Count > MaxCount {
			r.Count = MaxCount
		}
	}
	if *o == nil {
		return nil
	}
	if (*o).Attribute == "" {
		*o = nil
		return nil
	}
	(*o).Direction = strings.ToUpper(strings.TrimSpace((*o).Direction))
	switch {
	case !slices.Contains(attributes, (*o).Attribute):
		return invalid("query.orderBy.attribute", "is none of %s", strings.Join(attributes, ", "))
	case !slices.Contains([]string{"", "ASC", "DESC"}, (*o).Direction):
		return invalid("query.orderBy.direction", "is not ASC or DESC")
	}
	return nil
}

// Clean checks a part of a list; nil is all of it.
func (r *Range) Clean() error { return cleanQuery(new(*OrderBy), r, nil, nil, nil) }

// CleanFilter checks an entry that entries are compared with: all may be empty.
func (e *PhonebookEntry) CleanFilter() error {
	return cleanQuery(new(*OrderBy), nil, nil, nil, []*string{&e.URI, &e.Name, &e.Group})
}
