package ngnpro

import (
	"cmp"
	"slices"
	"strings"

	"thor/overlay/subscriber"
)

// Defaults of telephone numbers.
const (
	defaultTLD      = "e164.arpa"
	defaultTTL      = 3600 // seconds
	defaultPriority = 5    // of a mapping
)

// An EnumRangeID names a range of telephone numbers.
type EnumRangeID struct {
	Prefix string `soap:"prefix"` // digits
	TLD    string `soap:"tld"`    // default "e164.arpa"
}

// An EnumRange is a range of telephone numbers that may be mapped.
type EnumRange struct {
	ID          EnumRangeID `soap:"id"`
	TTL         *int        `soap:"ttl" rule:"number"` // seconds; default 3600
	MinDigits   *int        `soap:"minDigits" rule:"number 0 32"`
	MaxDigits   *int        `soap:"maxDigits" rule:"number 0 32"` // 0: no limit
	Size        *int        `soap:"size" rule:"number"`           // numbers it may hold; 0: no limit
	Nameservers *[]string   `soap:"nameservers"`
	Used        int         `soap:"used,ro"`
	Serial      int         `soap:"serial,ro"`
	Customer    *int        `soap:"customer" rule:"number"`
	Reseller    *int        `soap:"reseller" rule:"number"`
	Info        *string     `soap:"info" rule:"lines 1024"`
	ChangeDate  string      `soap:"changeDate,ro"`
}

// Clean folds and checks the name of a range.
func (id *EnumRangeID) Clean() error { return first(e164("range.prefix", &id.Prefix), tld(&id.TLD)) }

// maxNameservers of a range.
const maxNameservers = 10

// Clean checks a range.
func (r *EnumRange) Clean() error {
	if r.Nameservers != nil {
		ns, err := words("range.nameservers", *r.Nameservers, maxText)
		if err != nil {
			return err
		}
		for i := range ns {
			if err := host("range.nameservers", &ns[i]); err != nil {
				return err
			}
		}
		if ns, err = words("range.nameservers", ns, maxName); len(ns) > maxNameservers || err != nil {
			return invalid("range.nameservers", "has more than %d items", maxNameservers)
		}
		r.Nameservers = &ns
	}
	return first(r.ID.Clean(), fields("range", r), r.Ordered())
}

// Ordered checks that the least number of digits is not above the greatest, as
// far as both are given.
func (r *EnumRange) Ordered() error {
	if r.MinDigits != nil && r.MaxDigits != nil && *r.MaxDigits != 0 && *r.MinDigits > *r.MaxDigits {
		return invalid("range.minDigits", "is greater than maxDigits")
	}
	return nil
}

// CleanNew is Clean, and what a new range leaves open gets its default.
func (r *EnumRange) CleanNew() error {
	set(&r.TTL, defaultTTL)
	return r.Clean()
}

// An EnumID names a telephone number.
type EnumID struct {
	Number string `soap:"number"` // digits
	TLD    string `soap:"tld"`    // default "e164.arpa"
}

// An EnumNumber is a telephone number with where it leads.
type EnumNumber struct {
	ID         EnumID         `soap:"id"`
	Owner      *int           `soap:"owner" rule:"number"`
	Info       *string        `soap:"info" rule:"lines 1024"`
	Mappings   *[]EnumMapping `soap:"mappings"` // an update replaces the list
	Customer   int            `soap:"customer,ro"`
	Reseller   int            `soap:"reseller,ro"`
	ChangeDate string         `soap:"changeDate,ro"`
}

// An EnumMapping is one service of a number.
type EnumMapping struct {
	ID       *int   `soap:"id"` // assigned by the server
	Type     string `soap:"type"`
	MapTo    string `soap:"mapto"`
	Priority *int   `soap:"priority" rule:"number 0 65535"` // default 5
	TTL      *int   `soap:"ttl" rule:"number"`              // seconds; default 3600
}

// Clean folds and checks the name of a number.
func (id *EnumID) Clean() error { return first(e164("enumId.number", &id.Number), tld(&id.TLD)) }

// Clean checks a number; what a mapping leaves open gets its default, and they
// are sorted by priority.
func (n *EnumNumber) Clean() error {
	if err := first(n.ID.Clean(), fields("number", n)); err != nil || n.Mappings == nil {
		return err
	}
	ms := *n.Mappings
	if len(ms) > maxList {
		return invalid("number.mappings", "has more than %d items", maxList)
	}
	for i := range ms {
		if err := ms[i].clean(); err != nil {
			return err
		}
	}
	slices.SortStableFunc(ms, func(a, b EnumMapping) int { return cmp.Compare(*a.Priority, *b.Priority) })
	return nil
}

func (m *EnumMapping) clean() error {
	m.Type, m.MapTo = subscriber.Fold(strings.TrimSpace(m.Type)), strings.TrimSpace(m.MapTo)
	set(&m.TTL, defaultTTL)
	set(&m.Priority, defaultPriority)
	switch {
	case m.Type == "" || len(m.Type) > maxName || !madeOf(m.Type, letters+digits+":-+*"):
		return invalid("number.mappings.type", "is not a service such as sip, mailto or web:http")
	case m.MapTo == "" || len(m.MapTo) > maxText || !uriText(m.MapTo):
		return invalid("number.mappings.mapto", "is missing, too long or holds characters that may not stand in a URI")
	}
	return fields("number.mappings", m)
}

// e164 strips what people write around the digits of a telephone number.
func e164(field string, p *string) error {
	*p = strings.TrimPrefix(strings.TrimSpace(*p), "+")
	if *p == "" || len(*p) > 32 || !madeOf(*p, digits) {
		return invalid(field, "is not 1 to 32 digits")
	}
	return nil
}

func tld(p *string) error {
	if strings.TrimSpace(*p) == "" {
		*p = defaultTLD
	}
	return host("tld", p)
}
