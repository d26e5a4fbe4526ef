package ngnpro_test

import (
	"errors"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"thor/provisioning/ngnpro"
)

var alice = ngnpro.SipID{Username: "alice", Domain: "example.com"}

// valid are records of all types, each new and with nothing but its key.
var valid = map[string]func() cleaner{
	"domain":  func() cleaner { return &ngnpro.SipDomain{Domain: "example.com"} },
	"account": func() cleaner { return &ngnpro.SipAccount{ID: alice} },
	"ACL entry": func() cleaner {
		return &ngnpro.SipAccount{ID: alice, ACL: &[]ngnpro.ACLEntry{{IP: "192.0.2.1"}}}
	},
	"property": func() cleaner { return &ngnpro.SipAccount{ID: alice, Properties: &[]ngnpro.Property{{Name: "x"}}} },
	"alias": func() cleaner {
		return &ngnpro.SipAlias{ID: ngnpro.SipID{Username: "a", Domain: "b"}, Target: alice}
	},
	"entry":     func() cleaner { return &ngnpro.PhonebookEntry{URI: "sip:a@b"} },
	"peer":      func() cleaner { return &ngnpro.TrustedPeer{IP: "192.0.2.1"} },
	"voicemail": func() cleaner { return &ngnpro.VoicemailAccount{SipID: alice} },
	"range":     func() cleaner { return &ngnpro.EnumRange{ID: ngnpro.EnumRangeID{Prefix: "31"}} },
	"number":    func() cleaner { return &ngnpro.EnumNumber{ID: ngnpro.EnumID{Number: "31"}} },
	"mapping": func() cleaner {
		return &ngnpro.EnumNumber{ID: ngnpro.EnumID{Number: "31"}, Mappings: &[]ngnpro.EnumMapping{{Type: "sip", MapTo: "sip:a@b"}}}
	},
	"customer": func() cleaner { return &ngnpro.CustomerAccount{} },
	"customer property": func() cleaner {
		return &ngnpro.CustomerAccount{Properties: &[]ngnpro.CustomerProperty{{Name: "x"}}}
	},
}

// ruled visits the fields with a rule, by their places in the record.
func ruled(v reflect.Value, visit func(f reflect.StructField, v reflect.Value)) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			ruled(v.Elem(), visit)
		}
	case reflect.Slice:
		for i := range v.Len() {
			ruled(v.Index(i), visit)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.Tag.Get("rule") != "" {
				visit(f, v.Field(i))
			} else {
				ruled(v.Field(i), visit)
			}
		}
	}
}

func put(v reflect.Value, x any) {
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	v.Set(reflect.ValueOf(x))
}

// Every rule of every record takes what is on its limit and refuses what is beyond.
func TestEveryRuleHasItsLimit(t *testing.T) {
	tried := 0
	for name, fresh := range valid {
		var rules []reflect.StructField
		ruled(reflect.ValueOf(fresh()), func(f reflect.StructField, _ reflect.Value) { rules = append(rules, f) })
		for _, rule := range rules {
			words := strings.Fields(rule.Tag.Get("rule"))
			var good, bad []any
			switch words[0] {
			case "text", "header", "lines":
				n, err := strconv.Atoi(words[1])
				if err != nil {
					t.Fatal(err)
				}
				good, bad = []any{"", strings.Repeat("é", n)}, []any{strings.Repeat("é", n+1), "\xff", "a\x00b", "\u202eb"}
				if words[0] == "text" || words[0] == "header" {
					bad = append(bad, "a\nb")
				}
				if words[0] == "header" {
					bad = append(bad, `"x"`, "<", `\`)
				}
				if rule.Name == "Name" && name != "entry" && name != "voicemail" {
					good = good[1:] // a property has one
				}
			case "number":
				low, high := 0, 1<<31-1
				if len(words) == 3 {
					low, _ = strconv.Atoi(words[1])
					high, _ = strconv.Atoi(words[2])
				}
				good, bad = []any{low, high}, []any{low - 1, high + 1}
			case "email":
				good, bad = []any{"", "a@b", strings.Repeat("a", 250) + "@b.cd"}, []any{"a", "a@", "@b", "a@b@c", "a b@c", strings.Repeat("a", 251) + "@b.cd"}
			case "timezone":
				good, bad = []any{"", "Europe/Amsterdam"}, []any{"Local", "Mars/Olympus", "../x"}
			default:
				t.Fatalf("%s: this test does not know the rule %q", name, words[0])
			}
			for i, x := range append(good, bad...) {
				r := fresh()
				ruled(reflect.ValueOf(r), func(f reflect.StructField, v reflect.Value) {
					if f.Name == rule.Name && f.Tag == rule.Tag {
						put(v, x)
					}
				})
				err := r.Clean()
				wire, _, _ := strings.Cut(rule.Tag.Get("soap"), ",")
				if refused := errors.Is(err, ngnpro.ErrInvalid) && strings.Contains(err.Error(), wire); refused != (i >= len(good)) || !refused && err != nil {
					t.Errorf("%s.%s %.40q: %v", name, wire, x, err)
				}
				tried++
			}
		}
	}
	if tried < 300 {
		t.Errorf("only %d values were tried: this test has lost the rules", tried)
	}
}

func TestListsAreSortedAndLimited(t *testing.T) {
	groups := func(gs []string) ([]string, error) { return ngnpro.Groups(gs) }
	servers := func(ns []string) ([]string, error) {
		r := &ngnpro.EnumRange{ID: ngnpro.EnumRangeID{Prefix: "31"}, Nameservers: &ns}
		err := r.Clean()
		return *r.Nameservers, err
	}
	for _, c := range []struct {
		name     string
		clean    func([]string) ([]string, error)
		in, want string // with | between
		most     int
		item     func(i int) string
		bad      []string
	}{
		{"groups", groups, "quota|| a |quota|B", "B|a|quota", 100, strconv.Itoa, []string{"a\nb", strings.Repeat("x", 65)}},
		{"prefixes", ngnpro.BarringPrefixes, "0900|| 00 |00|+|*#", "*#|+|00|0900", 100, strconv.Itoa, []string{"a", "0 0", strings.Repeat("0", 33)}},
		{
			"members", ngnpro.RejectMembers, "b@c||sip:a@B|SIP:b@C|sips:x@y", "sip:a@b|sip:b@c|sips:x@y", 100,
			func(i int) string { return strconv.Itoa(i) + "@b" },
			[]string{"tel:1", "sip:@b", "sip:a b@c", "@"},
		},
		{"nameservers", servers, "Ns2.example.||ns1.example|ns2.example", "ns2.example|ns1.example", 10, func(i int) string { return "ns" + strconv.Itoa(i) }, []string{"a b", "-x"}},
	} {
		got, err := c.clean(strings.Split(c.in, "|"))
		if err != nil || strings.Join(got, "|") != c.want {
			t.Errorf("%s: %q, %v, want %q", c.name, got, err, c.want)
		}
		var many []string
		for i := range c.most + 1 {
			many = append(many, c.item(i))
		}
		if _, err := c.clean(append([]string{}, many[1:]...)); err != nil {
			t.Errorf("%s: %d items: %v", c.name, c.most, err)
		}
		if _, err := c.clean(many); !errors.Is(err, ngnpro.ErrInvalid) {
			t.Errorf("%s: %d items: %v", c.name, c.most+1, err)
		}
		for _, b := range c.bad {
			if _, err := c.clean([]string{b}); !errors.Is(err, ngnpro.ErrInvalid) {
				t.Errorf("%s: %q: %v", c.name, b, err)
			}
		}
	}
}

// All lists of an account together are less than a node may be sent.
func TestAnAccountIsLimitedAsAWhole(t *testing.T) {
	var ps []ngnpro.Property
	for i := range 100 {
		ps = append(ps, ngnpro.Property{Name: strconv.Itoa(i), Value: strings.Repeat("x", 512)})
	}
	part := ps[:60]
	if err := (&ngnpro.SipAccount{ID: alice, Properties: &part}).Clean(); err != nil {
		t.Error(err)
	}
	if err := (&ngnpro.SipAccount{ID: alice, Properties: &ps}).Clean(); !errors.Is(err, ngnpro.ErrInvalid) {
		t.Errorf("50 KiB of properties: %v", err)
	}
	rules := &ngnpro.AcceptRules{}
	for range 100 {
		r := ngnpro.AcceptRule{Start: "00:00", Stop: "24:00"}
		for i := range 10 {
			r.Groups = append(r.Groups, strings.Repeat("x", 60)+strconv.Itoa(i))
		}
		rules.Persistent = append(rules.Persistent, r)
	}
	if err := rules.Clean(); !errors.Is(err, ngnpro.ErrInvalid) {
		t.Errorf("60 KiB of rules: %v", err)
	}
}

func TestNamesAndKeysAreBroughtIntoOneForm(t *testing.T) {
	for _, c := range []struct {
		clean    func(*string) error
		in, want string // empty: refused
	}{
		{ngnpro.Domain, " Example.COM. ", "example.com"},
		{ngnpro.Domain, "\u212aelvin.example", ""}, // a letter that Unicode folds to k
		{ngnpro.Domain, "", ""},
		{ngnpro.Group, " free-pstn ", "free-pstn"},
		{ngnpro.Group, "  ", ""},
		{ngnpro.Group, strings.Repeat("x", 65), ""},
		{ngnpro.PhonebookURI, " +31 ", "+31"},
		{ngnpro.PhonebookURI, "a b", ""},
		{ngnpro.PhonebookURI, strings.Repeat("x", 256), ""},
		{ngnpro.PeerIP, "192.0.2.1/32", "192.0.2.1"},
		{ngnpro.PeerIP, "2001:DB8::/32", "2001:db8::/32"},
		{ngnpro.PeerIP, "2001:db8::1/128", "2001:db8::1"},
		{ngnpro.PeerIP, "::ffff:192.0.2.9/120", "192.0.2.0/24"},
		{ngnpro.PeerIP, "::ffff:192.0.2.9/90", ""},
		{ngnpro.PeerIP, "fe80::1%eth0", ""},
		{ngnpro.PeerIP, "0.0.0.0/0", "0.0.0.0/0"},
	} {
		s := c.in
		err := c.clean(&s)
		if c.want == "" && !errors.Is(err, ngnpro.ErrInvalid) || c.want != "" && (err != nil || s != c.want) {
			t.Errorf("%q becomes %q, %v, want %q", c.in, s, err, c.want)
		}
	}
}

func TestWhatANewRecordLeavesOpenGetsItsDefault(t *testing.T) {
	r := &ngnpro.EnumRange{ID: ngnpro.EnumRangeID{Prefix: "+31"}, MinDigits: ptr(9)}
	if err := r.CleanNew(); err != nil || *r.TTL != ngnpro.DefaultTTL || r.ID.TLD != ngnpro.DefaultTLD || r.MaxDigits != nil {
		t.Errorf("%+v, %v", r, err)
	}
	r.MaxDigits = ptr(0) // as a read has it: no limit
	if err := r.Clean(); err != nil {
		t.Error(err)
	}
	a := &ngnpro.SipAccount{ID: ngnpro.SipID{Username: ngnpro.AutoIncrement, Domain: "d"}, Password: ptr(strings.Repeat("a", 32) + ":" + strings.Repeat("b", 32))}
	if err := a.CleanNew(); !errors.Is(err, ngnpro.ErrInvalid) {
		t.Errorf("digests for a user name that is not known yet: %v", err)
	}
	n := &ngnpro.EnumNumber{ID: ngnpro.EnumID{Number: "31"}, Mappings: &[]ngnpro.EnumMapping{{Type: "SIP", MapTo: "sip:a@b"}, {Type: "tel", MapTo: "tel:1", Priority: ptr(1)}}}
	if err := n.Clean(); err != nil || (*n.Mappings)[0].Type != "tel" || *(*n.Mappings)[1].Priority != ngnpro.DefaultPriority {
		t.Errorf("%+v, %v", n.Mappings, err)
	}
}

func TestCustomersAndTheirProperties(t *testing.T) {
	c := &ngnpro.CustomerAccount{Balance: ptr(1.23456), Credit: ptr(-0.00001), Properties: &[]ngnpro.CustomerProperty{{Name: "z"}, {Name: " a "}}}
	if err := c.Clean(); err != nil || *c.Balance != 1.2346 || 1 / *c.Credit < 0 || (*c.Properties)[0].Name != "a" {
		t.Errorf("%v %v %v %+v", err, *c.Balance, *c.Credit, c.Properties)
	}
	for _, bad := range []*ngnpro.CustomerAccount{
		{Balance: ptr(1e11)},
		{Credit: ptr(-1e11)},
		{Properties: &[]ngnpro.CustomerProperty{{Name: "sip_credit", Value: "many"}}},
		{Properties: &[]ngnpro.CustomerProperty{{Name: "sip_credit", Value: "-1"}}},
		{Properties: &[]ngnpro.CustomerProperty{{Name: "a"}, {Name: "a "}}},
		{Properties: &[]ngnpro.CustomerProperty{{Name: " "}}},
	} {
		if err := bad.Clean(); !errors.Is(err, ngnpro.ErrInvalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestQueriesAreBroughtIntoOneForm(t *testing.T) {
	p := &ngnpro.TrustedPeerQuery{}
	p.Filter.IP = " 2001:DB8::01"
	e := &ngnpro.EnumNumberQuery{}
	e.Filter.Number, e.Filter.Type = "+31%", " SIP"
	a := &ngnpro.AliasQuery{}
	a.Filter.AliasUsername = "A\u212a%"
	f := &ngnpro.PhonebookEntry{URI: " sip:% "}
	for what, err := range map[string]error{"peers": p.Clean(), "numbers": e.Clean(), "aliases": a.Clean(), "entries": f.CleanFilter()} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if p.Filter.IP != "2001:db8::1" || e.Filter.Number != "31%" || e.Filter.Type != "sip" || a.Filter.AliasUsername != "a\u212a%" || f.URI != "sip:%" {
		t.Errorf("%q %q %q %q %q", p.Filter.IP, e.Filter.Number, e.Filter.Type, a.Filter.AliasUsername, f.URI)
	}
	r := &ngnpro.Range{Count: 5000}
	if err := r.Clean(); err != nil || r.Count != ngnpro.MaxCount {
		t.Errorf("%+v, %v", r, err)
	}
	if err := (*ngnpro.Range)(nil).Clean(); err != nil {
		t.Error(err)
	}
}
