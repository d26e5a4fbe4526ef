package ngnpro

import (
	"slices"
	"strings"
)

// clean checks what all queries have. fold are filters that are kept in lower
// case, others are those that are not.
func clean(o **OrderBy, r *Range, attributes []string, fold, others []*string) error {
	for i, p := range slices.Concat(fold, others) {
		*p = strings.TrimSpace(*p)
		if i < len(fold) {
			*p = strings.ToLower(*p)
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

// Clean folds and checks a query.
func (q *SipDomainQuery) Clean() error {
	return clean(&q.OrderBy, q.Range, []string{"changeDate", "domain"}, []*string{&q.Filter.Domain}, nil)
}

// Clean folds and checks a query; empty groups are none.
func (q *SipQuery) Clean() error {
	f := &q.Filter
	var err error
	if f.Groups, err = words("query.filter.groups", f.Groups, maxName); err != nil {
		return err
	}
	return clean(&q.OrderBy, q.Range, []string{"changeDate", "username", "domain"},
		[]*string{&f.Username, &f.Domain}, []*string{&f.FirstName, &f.LastName, &f.Email})
}

// Clean folds and checks a query.
func (q *AliasQuery) Clean() error {
	f := &q.Filter
	return clean(&q.OrderBy, q.Range, []string{"changeDate", "aliasUsername", "aliasDomain", "targetUsername", "targetDomain"},
		[]*string{&f.AliasUsername, &f.AliasDomain, &f.TargetUsername, &f.TargetDomain}, nil)
}

// Clean checks a query. Clients send every filter always: false is any, as 0 is.
func (q *TrustedPeerQuery) Clean() error {
	f := &q.Filter
	for _, p := range []**bool{&f.MSTeams, &f.Blocked} {
		if *p != nil && !**p {
			*p = nil
		}
	}
	return clean(&q.OrderBy, q.Range, []string{"changeDate", "ip", "description"}, nil,
		[]*string{&f.IP, &f.Description, &f.Tenant, &f.Tags, &f.BillingID})
}

// Clean folds and checks a query.
func (q *EnumRangeQuery) Clean() error {
	f := &q.Filter
	f.Prefix = strings.TrimPrefix(strings.TrimSpace(f.Prefix), "+")
	return clean(&q.OrderBy, q.Range, []string{"changeDate", "prefix", "tld"}, []*string{&f.TLD}, []*string{&f.Prefix, &f.Info})
}

// Clean folds and checks a query.
func (q *EnumNumberQuery) Clean() error {
	f := &q.Filter
	f.Number = strings.TrimPrefix(strings.TrimSpace(f.Number), "+")
	return clean(&q.OrderBy, q.Range, []string{"changeDate", "number", "tld"}, []*string{&f.TLD, &f.Type}, []*string{&f.Number, &f.MapTo})
}

// Clean checks a query.
func (q *CustomerQuery) Clean() error {
	f := &q.Filter
	return clean(&q.OrderBy, q.Range, []string{"changeDate", "id", "username", "firstName", "lastName", "organization", "email"}, nil,
		[]*string{&f.Username, &f.FirstName, &f.LastName, &f.Organization, &f.Email, &f.Tel})
}

// Clean checks a part of a list; nil is all of it.
func (r *Range) Clean() error { return clean(new(*OrderBy), r, nil, nil, nil) }

// CleanFilter checks an entry that entries are compared with: all may be empty.
func (e *PhonebookEntry) CleanFilter() error {
	return clean(new(*OrderBy), nil, nil, nil, []*string{&e.URI, &e.Name, &e.Group})
}
