package ngnpro

import (
	"crypto/rand"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // so that time zones are the same everywhere
)

// Defaults of records.
const (
	DefaultTimeout  = 35 // seconds
	DefaultTLD      = "e164.arpa"
	DefaultTTL      = 3600 // seconds
	DefaultPriority = 5    // of an ENUM mapping
)

// Clean folds and checks a domain.
func (d *SipDomain) Clean() error {
	for name, p := range map[string]*string{"domain.certificate": d.Certificate, "domain.private_key": d.PrivateKey} {
		if p != nil {
			if err := lines(name, *p, maxLines); err != nil {
				return err
			}
		}
	}
	return first(
		domain("domain.domain", &d.Domain), ids("domain.customer", d.Customer, "domain.reseller", d.Reseller),
		texts(maxText, "domain.match_ip_address", d.MatchIPAddress, "domain.match_sip_domain", d.MatchSIPDomain),
	)
}

// Domain folds and checks the name of a domain.
func Domain(name *string) error { return domain("domain", name) }

// Clean folds and checks an account; AutoIncrement is no name here.
func (a *SipAccount) Clean() error {
	return first(a.ID.clean("account.id"), a.clean())
}

// CleanNew is Clean for an account that is to be added: its user name may be
// AutoIncrement, and what it leaves open gets its default. Without a password
// nobody could use it: it gets one that nobody knows.
func (a *SipAccount) CleanNew() error {
	err := domain("account.id.domain", &a.ID.Domain)
	if strings.TrimSpace(a.ID.Username) != AutoIncrement {
		err = a.ID.clean("account.id")
	} else {
		a.ID.Username = AutoIncrement
	}
	if err := first(err, a.clean()); err != nil {
		return err
	}
	set(&a.Password, rand.Text())
	set(&a.Timeout, DefaultTimeout)
	return nil
}

func (a *SipAccount) clean() error {
	if a.Password != nil && *a.Password == "" {
		a.Password = nil
	}
	if err := password("account.password", a.Password); err != nil {
		return err
	}
	if a.Properties != nil {
		if err := properties("account.properties", *a.Properties); err != nil {
			return err
		}
	}
	return first(
		texts(maxName, "account.firstName", a.FirstName, "account.lastName", a.LastName, "account.region", a.Region,
			"account.rpid", a.RPID, "account.quickdialPrefix", a.QuickdialPrefix),
		email("account.email", a.Email), timezone("account.timezone", a.Timezone),
		ids("account.owner", a.Owner, "account.quota", a.Quota, "account.callLimit", a.CallLimit),
		within("account.timeout", a.Timeout, 1, 900),
		wordsIn("account.groups", a.Groups, maxName), a.cleanACL(), plain("account.rpid", a.RPID),
	)
}

// plain: what ends up in SIP headers holds nothing that could end them.
func plain(field string, p *string) error {
	if p != nil && strings.ContainsAny(*p, "\"<>\\") {
		return invalid(field, "holds a quote, a bracket or a backslash")
	}
	return nil
}

func (a *SipAccount) cleanACL() error {
	if a.ACL == nil {
		return nil
	}
	if len(*a.ACL) > maxList {
		return invalid("account.acl", "has more than %d items", maxList)
	}
	for i := range *a.ACL {
		e := &(*a.ACL)[i]
		p, err := network("account.acl", e.IP, e.Mask)
		if err != nil {
			return err
		}
		e.IP, e.Mask = p.Masked().Addr().String(), p.Bits()
		if err := texts(maxName, "account.acl.tag", e.Tag); err != nil {
			return err
		}
	}
	return nil
}

// password cleans a clear password or two digests with a colon between.
func password(field string, p *string) error {
	if p == nil {
		return nil
	}
	if ha1, ha1b, ok := Digests(*p); ok {
		*p = ha1 + ":" + ha1b
		return nil
	}
	return text(field, *p, 128)
}

// Digests takes a password of the form ha1:ha1b apart, in lower case.
func Digests(password string) (ha1, ha1b string, ok bool) {
	ha1, ha1b, ok = strings.Cut(strings.ToLower(password), ":")
	const hex = digits + "abcdef"
	ok = ok && len(ha1) == 32 && len(ha1b) == 32 && madeOf(ha1, hex) && madeOf(ha1b, hex)
	return ha1, ha1b, ok
}

func properties(field string, ps []Property) error {
	if len(ps) > maxList {
		return invalid(field, "has more than %d items", maxList)
	}
	seen := make(map[string]bool)
	for _, p := range ps {
		if p.Name == "" || seen[p.Name] {
			return invalid(field, "has one without a name, or a name twice")
		}
		seen[p.Name] = true
		if err := first(text(field, p.Name, maxName), lines(field, p.Value, maxInfo)); err != nil {
			return err
		}
	}
	return nil
}

func timezone(field string, p *string) error {
	if p == nil || *p == "" {
		return nil
	}
	if _, err := time.LoadLocation(*p); err != nil || *p == "Local" {
		return invalid(field, "is not a name of the time zone database, such as Europe/Amsterdam")
	}
	return nil
}

// Clean folds and checks an alias.
func (a *SipAlias) Clean() error {
	if err := first(a.ID.clean("alias.id"), a.Target.clean("alias.target"), ids("alias.owner", a.Owner)); err != nil {
		return err
	}
	if a.ID == a.Target {
		return invalid("alias.target", "is the alias itself")
	}
	return nil
}

// Clean checks diversions; empty ones are none.
func (d *CallDiversions) Clean() error {
	return first(
		diversion("diversions.FUNC", &d.All), diversion("diversions.FNOL", &d.NotOnline), diversion("diversions.FBUS", &d.Busy),
		diversion("diversions.FNOA", &d.NoAnswer), diversion("diversions.FUNV", &d.Unavailable),
	)
}

// Group cleans the name of a group.
func Group(name *string) error {
	*name = strings.TrimSpace(*name)
	if *name == "" {
		return invalid("group", "is missing")
	}
	return text("group", *name, maxName)
}

// BarringPrefixes cleans a list of prefixes of numbers.
func BarringPrefixes(ps []string) ([]string, error) {
	ps, err := words("prefixes", ps, 32)
	if err != nil {
		return nil, err
	}
	for _, p := range ps {
		if !madeOf(p, digits+"+*#") {
			return nil, invalid("prefixes", "has one that is not of digits, +, * and #")
		}
	}
	return ps, nil
}

// RejectMembers cleans a list of callers: SIP URIs, whose scheme may be missing.
func RejectMembers(ms []string) ([]string, error) {
	ms, err := words("members", ms, maxText)
	if err != nil {
		return nil, err
	}
	for i, m := range ms {
		if !strings.Contains(m, ":") {
			m = "sip:" + m
		}
		if ms[i], err = SIPURI("members", m); err != nil {
			return nil, err
		}
	}
	return ms, nil
}

// Clean checks rules; a temporary one without a duration is none.
func (r *AcceptRules) Clean() error {
	if len(r.Persistent) > 100 {
		return invalid("rules.persistent", "has more than 100 items")
	}
	for i := range r.Persistent {
		p := &r.Persistent[i]
		var err error
		if p.Groups, err = words("rules.persistent.groups", p.Groups, maxName); err != nil {
			return err
		}
		if err := first(
			clock("rules.persistent.start", &p.Start), clock("rules.persistent.stop", &p.Stop),
			within("rules.persistent.days", &p.Days, 0, 127),
		); err != nil {
			return err
		}
	}
	t := r.Temporary
	if t == nil || t.Duration == 0 {
		r.Temporary = nil
		return nil
	}
	var err error
	t.Groups, err = words("rules.temporary.groups", t.Groups, maxName)
	return first(err, within("rules.temporary.duration", &t.Duration, 1, 366*24*60))
}

// clock cleans a time of day, "HH:MM"; 24:00 is the end of the day.
func clock(field string, p *string) error {
	h, m, ok := strings.Cut(strings.TrimSpace(*p), ":")
	m, _, _ = strings.Cut(m, ":") // seconds
	hours, err1 := strconv.ParseUint(h, 10, 8)
	minutes, err2 := strconv.ParseUint(m, 10, 8)
	if !ok || err1 != nil || err2 != nil || minutes > 59 || hours > 24 || hours == 24 && minutes > 0 || len(h) > 2 || len(m) != 2 {
		return invalid(field, "is not a time of day, HH:MM")
	}
	*p = h + ":" + m
	if len(h) == 1 {
		*p = "0" + *p
	}
	return nil
}

// Clean checks an entry of the phonebook.
func (e *PhonebookEntry) Clean() error {
	return first(PhonebookURI(&e.URI), texts(maxName, "entry.name", &e.Name, "entry.group", &e.Group))
}

// PhonebookURI checks what names an entry of the phonebook: any URI, or a number.
func PhonebookURI(p *string) error {
	*p = strings.TrimSpace(*p)
	switch {
	case *p == "":
		return invalid("uri", "is missing")
	case len(*p) > maxText || !uriText(*p):
		return invalid("uri", "is longer than %d characters, or holds some that may not stand in a URI", maxText)
	}
	return nil
}
