package ngnpro

import (
	"crypto/rand"
	"slices"
	"strings"

	"thor/overlay/subscriber"
)

// A SipID names a subscriber or an alias. Both parts are folded to lower case.
type SipID struct {
	Username string `soap:"username"`
	Domain   string `soap:"domain"`
}

// Key is "username@domain": what the lookup hashes.
func (id SipID) Key() string { return id.Username + "@" + id.Domain }

// AutoIncrement is the user name that lets the server choose one.
const AutoIncrement = "<autoincrement>"

// Clean folds and checks the name of a subscriber.
func (id *SipID) Clean() error { return id.clean("sipId") }

func (id *SipID) clean(field string) error {
	id.Username = subscriber.Fold(strings.TrimSpace(id.Username))
	switch {
	case id.Username == "":
		return invalid(field+".username", "is missing")
	case len(id.Username) > maxName || !madeOf(id.Username, userSet):
		return invalid(field+".username", "is not 1 to %d letters, digits and signs that need no escape in a SIP URI", maxName)
	}
	return host(field+".domain", &id.Domain)
}

// A SipAccount is a subscriber.
type SipAccount struct {
	ID SipID `soap:"id"`
	// Password is the clear password, or two MD5 digests in hex with a colon
	// between: of user:domain:password and of user@domain:domain:password.
	Password        *string     `soap:"password"`
	FirstName       *string     `soap:"firstName" rule:"text 64"`
	LastName        *string     `soap:"lastName" rule:"text 64"`
	Email           *string     `soap:"email" rule:"email"`
	Timezone        *string     `soap:"timezone" rule:"timezone"` // of the tz database
	Owner           *int        `soap:"owner" rule:"number"`
	Customer        int         `soap:"customer,ro"`
	Reseller        int         `soap:"reseller,ro"`
	RPID            *string     `soap:"rpid" rule:"header 64"` // caller id towards the PSTN
	Groups          *[]string   `soap:"groups"`
	Prepaid         *bool       `soap:"prepaid"`
	Quota           *int        `soap:"quota" rule:"number"`
	CallLimit       *int        `soap:"callLimit" rule:"number"`
	ACL             *[]ACLEntry `soap:"acl"`
	Region          *string     `soap:"region" rule:"text 64"`
	QuickdialPrefix *string     `soap:"quickdialPrefix" rule:"text 64"`
	Timeout         *int        `soap:"timeout" rule:"number 1 900"` // no-answer time in seconds, 1 to 900; default 35
	Properties      *[]Property `soap:"properties"`
	CreateDate      string      `soap:"createDate,ro"`
	ChangeDate      string      `soap:"changeDate,ro"`
}

// An ACLEntry is a network from which an account may register and call.
type ACLEntry struct {
	IP   string  `soap:"ip"`
	Mask int     `soap:"mask"` // prefix length
	Tag  *string `soap:"tag" rule:"text 64"`
}

// A Property is a name and a value that are kept with an account.
type Property struct {
	Name  string `soap:"name" rule:"text 64"`
	Value string `soap:"value" rule:"lines 1024"`
}

// defaultTimeout of an account, in seconds.
const defaultTimeout = 35

// maxAccount bounds groups, networks and properties of an account together, in
// bytes of JSON: all that a node is sent of an account is less than 128 KiB.
const maxAccount = 48 << 10

// Clean folds and checks an account; AutoIncrement is no name here.
func (a *SipAccount) Clean() error { return first(a.ID.clean("account.id"), a.clean()) }

// CleanNew is Clean for an account that is to be added: its user name may be
// AutoIncrement, and what it leaves open gets its default. Without a password it
// gets a random one, which the client sees by getAccount.
func (a *SipAccount) CleanNew() error {
	a.ID.Username = strings.TrimSpace(a.ID.Username)
	named := a.ID.clean
	if a.ID.Username == AutoIncrement {
		named = func(field string) error { return host(field+".domain", &a.ID.Domain) }
	}
	if err := first(named("account.id"), a.clean()); err != nil {
		return err
	}
	if a.Password != nil && a.ID.Username == AutoIncrement {
		if _, _, is := Digests(*a.Password); is {
			return invalid("account.password", "has to be clear: its digests depend on the user name")
		}
	}
	set(&a.Password, rand.Text())
	set(&a.Timeout, defaultTimeout)
	return nil
}

func (a *SipAccount) clean() error {
	a.Password = given(a.Password)
	if a.Groups != nil {
		gs, err := Groups(*a.Groups)
		if err != nil {
			return err
		}
		a.Groups = &gs
	}
	return first(
		fields("account", a), password("account.password", a.Password), a.cleanACL(), a.cleanProperties(),
		within("account", maxAccount, a.Groups, a.ACL, a.Properties),
	)
}

// Groups cleans the groups that an account is in: sorted, without empty names
// and doubles.
func Groups(gs []string) ([]string, error) {
	gs, err := words("account.groups", gs, maxName)
	slices.Sort(gs)
	return gs, err
}

// Group cleans the name of a group.
func Group(name *string) error {
	if *name = strings.TrimSpace(*name); *name == "" {
		return invalid("group", "is missing")
	}
	return text("group", *name, maxName)
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
		if err := fields("account.acl", e); err != nil {
			return err
		}
	}
	return nil
}

func (a *SipAccount) cleanProperties() error {
	if a.Properties == nil {
		return nil
	}
	if len(*a.Properties) > maxList {
		return invalid("account.properties", "has more than %d items", maxList)
	}
	seen := make(map[string]bool)
	for i := range *a.Properties {
		p := &(*a.Properties)[i]
		if err := fields("account.properties", p); err != nil {
			return err
		}
		if p.Name == "" || seen[p.Name] {
			return invalid("account.properties", "has one without a name, or a name twice")
		}
		seen[p.Name] = true
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
	ha1, ha1b, ok = strings.Cut(subscriber.Fold(password), ":")
	const hex = digits + "abcdef"
	ok = ok && len(ha1) == 32 && len(ha1b) == 32 && madeOf(ha1, hex) && madeOf(ha1b, hex)
	return ha1, ha1b, ok
}
