package ngnpro_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"thor/provisioning/ngnpro"
)

func ptr[T any](v T) *T { return &v }

type cleaner interface{ Clean() error }

// refused: each is bad, for the field that the error has to name.
func TestBadRecordsAreRefused(t *testing.T) {
	id := ngnpro.SipID{Username: "alice", Domain: "example.com"}
	account := func(change func(*ngnpro.SipAccount)) cleaner {
		a := &ngnpro.SipAccount{ID: id}
		change(a)
		return a
	}
	rules := func(start, stop string, days int) cleaner {
		return &ngnpro.AcceptRules{Persistent: []ngnpro.AcceptRule{{Start: start, Stop: stop, Days: days}}}
	}
	mapping := func(m ngnpro.EnumMapping) cleaner {
		return &ngnpro.EnumNumber{ID: ngnpro.EnumID{Number: "31201234567"}, Mappings: &[]ngnpro.EnumMapping{m}}
	}
	for _, c := range []struct {
		record cleaner
		field  string
	}{
		{&ngnpro.SipID{Domain: "example.com"}, "username"},
		{&ngnpro.SipID{Username: "a@b", Domain: "example.com"}, "username"},
		{&ngnpro.SipID{Username: "a b", Domain: "example.com"}, "username"},
		{&ngnpro.SipID{Username: "a\r\nb", Domain: "example.com"}, "username"},
		{&ngnpro.SipID{Username: "a\x00", Domain: "example.com"}, "username"},
		{&ngnpro.SipID{Username: "аlice", Domain: "example.com"}, "username"}, // Cyrillic
		{&ngnpro.SipID{Username: strings.Repeat("a", 65), Domain: "example.com"}, "username"},
		{&ngnpro.SipID{Username: ngnpro.AutoIncrement, Domain: "example.com"}, "username"},
		{&ngnpro.SipID{Username: "a"}, "domain"},
		{&ngnpro.SipID{Username: "a", Domain: "exa mple.com"}, "domain"},
		{&ngnpro.SipID{Username: "a", Domain: "-example.com"}, "domain"},
		{&ngnpro.SipID{Username: "a", Domain: "example..com"}, "domain"},
		{&ngnpro.SipID{Username: "a", Domain: "exämple.com"}, "domain"},
		{&ngnpro.SipID{Username: "a", Domain: "%.com"}, "domain"},
		{&ngnpro.SipID{Username: "a", Domain: strings.Repeat("a", 61) + ".com"}, "domain"},
		{&ngnpro.SipID{Username: "a", Domain: "127.1"}, "domain"},
		{&ngnpro.SipID{Username: "a", Domain: "0x7f.1"}, "domain"},
		{&ngnpro.SipID{Username: "a", Domain: "1.2.3"}, "domain"},
		{&ngnpro.SipID{Username: "a", Domain: "1"}, "domain"},
		{&ngnpro.SipID{Username: "a", Domain: "2130706433"}, "domain"},
		{&ngnpro.SipID{Username: "a", Domain: "0x7f000001"}, "domain"},
		{&ngnpro.SipID{Username: "a", Domain: "example.7"}, "domain"},
		{&ngnpro.SipID{Username: "a", Domain: "example.0x1f"}, "domain"},
		{&ngnpro.SipID{Username: "a", Domain: "example.0x"}, "domain"},
		{&ngnpro.SipID{Username: "a", Domain: "192.0.2.01"}, "domain"},
		{&ngnpro.SipID{Username: "a", Domain: "192.0.2.256"}, "domain"},
		{&ngnpro.SipID{Username: "a", Domain: "1.2.3.4.5"}, "domain"},
		{&ngnpro.SipDomain{Domain: "127.1"}, "domain"},
		{&ngnpro.CallDiversions{Busy: ptr("sip:bob@0x7f.1")}, "FBUS"},
		{account(func(a *ngnpro.SipAccount) { a.Email = ptr("a@127.1") }), "email"},
		{account(func(a *ngnpro.SipAccount) { a.Timeout = ptr(0) }), "timeout"},
		{account(func(a *ngnpro.SipAccount) { a.Timeout = ptr(901) }), "timeout"},
		{account(func(a *ngnpro.SipAccount) { a.Quota = ptr(-1) }), "quota"},
		{account(func(a *ngnpro.SipAccount) { a.CallLimit = ptr(-5) }), "callLimit"},
		{account(func(a *ngnpro.SipAccount) { a.Timezone = ptr("Mars/Olympus") }), "timezone"},
		{account(func(a *ngnpro.SipAccount) { a.Timezone = ptr("../../etc/passwd") }), "timezone"},
		{account(func(a *ngnpro.SipAccount) { a.Timezone = ptr("Local") }), "timezone"},
		{account(func(a *ngnpro.SipAccount) { a.Email = ptr("not an address") }), "email"},
		{account(func(a *ngnpro.SipAccount) { a.Email = ptr("a@b\nBcc: x") }), "email"},
		{account(func(a *ngnpro.SipAccount) { a.FirstName = ptr("a\r\nb") }), "firstName"},
		{account(func(a *ngnpro.SipAccount) { a.FirstName = ptr(strings.Repeat("é", 65)) }), "firstName"},
		{account(func(a *ngnpro.SipAccount) { a.FirstName = ptr("\u202egnp.exe") }), "firstName"},
		{account(func(a *ngnpro.SipAccount) { a.LastName = ptr("\xff") }), "lastName"},
		{account(func(a *ngnpro.SipAccount) { a.RPID = ptr(`"x" <sip:a@b>`) }), "rpid"},
		{account(func(a *ngnpro.SipAccount) { a.Password = ptr("a\nb") }), "password"},
		{account(func(a *ngnpro.SipAccount) { a.Groups = &[]string{"a\nb"} }), "groups"},
		{account(func(a *ngnpro.SipAccount) { a.ACL = &[]ngnpro.ACLEntry{{IP: "10.0.0.256"}} }), "acl"},
		{account(func(a *ngnpro.SipAccount) { a.ACL = &[]ngnpro.ACLEntry{{IP: "10.0.0.1", Mask: 33}} }), "acl"},
		{account(func(a *ngnpro.SipAccount) { a.ACL = &[]ngnpro.ACLEntry{{IP: "fe80::1%eth0", Mask: 64}} }), "acl"},
		{account(func(a *ngnpro.SipAccount) { a.Properties = &[]ngnpro.Property{{Name: "x"}, {Name: "x"}} }), "properties"},
		{account(func(a *ngnpro.SipAccount) { a.Properties = &[]ngnpro.Property{{Value: "x"}} }), "properties"},
		{&ngnpro.SipDomain{Domain: "a b"}, "domain"},
		{&ngnpro.SipDomain{Domain: "example.com", Customer: ptr(-1)}, "customer"},
		{&ngnpro.SipDomain{Domain: "example.com", Certificate: ptr("a\x00b")}, "certificate"},
		{&ngnpro.SipAlias{ID: id, Target: id}, "target"},
		{&ngnpro.SipAlias{ID: id}, "target"},
		{&ngnpro.CallDiversions{Busy: ptr("bob")}, "FBUS"},
		{&ngnpro.CallDiversions{NoAnswer: ptr("tel:+31")}, "FNOA"},
		{&ngnpro.CallDiversions{Unavailable: ptr("<something>")}, "FUNV"},
		{&ngnpro.CallDiversions{NotOnline: ptr("sip:a@[::1")}, "FNOL"},
		{rules("25:00", "10:00", 1), "start"},
		{rules("10:60", "10:00", 1), "start"},
		{rules("", "10:00", 1), "start"},
		{rules("-1:00", "10:00", 1), "start"},
		{rules("10:00", "24:01", 1), "stop"},
		{rules("10:00", "11:00", 128), "days"},
		{&ngnpro.AcceptRules{Temporary: &ngnpro.TemporaryAccept{Duration: -1}}, "duration"},
		{&ngnpro.PhonebookEntry{}, "uri"},
		{&ngnpro.PhonebookEntry{URI: "sip:a@b c"}, "uri"},
		{&ngnpro.TrustedPeer{IP: "host.example.com"}, "ip"},
		{&ngnpro.TrustedPeer{IP: "192.0.2.0/33"}, "ip"},
		{&ngnpro.TrustedPeer{IP: "192.0.2.1", Strip: ptr(-1)}, "strip"},
		{&ngnpro.VoicemailAccount{SipID: id, Password: ptr(strings.Repeat("1", 33))}, "password"},
		{&ngnpro.EnumRange{ID: ngnpro.EnumRangeID{Prefix: "31a"}}, "prefix"},
		{&ngnpro.EnumRange{ID: ngnpro.EnumRangeID{Prefix: "31"}, TTL: ptr(-1)}, "ttl"},
		{&ngnpro.EnumRange{ID: ngnpro.EnumRangeID{Prefix: "31"}, MinDigits: ptr(12), MaxDigits: ptr(11)}, "minDigits"},
		{&ngnpro.EnumRange{ID: ngnpro.EnumRangeID{Prefix: "31"}, Nameservers: &[]string{"a b"}}, "nameservers"},
		{&ngnpro.EnumNumber{}, "number"},
		{mapping(ngnpro.EnumMapping{Type: "", MapTo: "sip:a@b"}), "type"},
		{mapping(ngnpro.EnumMapping{Type: "sip", MapTo: ""}), "mapto"},
		{mapping(ngnpro.EnumMapping{Type: "sip", MapTo: "sip:a@b\"!"}), "mapto"},
		{mapping(ngnpro.EnumMapping{Type: "sip", MapTo: "sip:a@b", Priority: ptr(70000)}), "priority"},
		{&ngnpro.CustomerAccount{Username: ptr("")}, "username"},
		{&ngnpro.CustomerAccount{Username: ptr("a'b")}, "username"},
		{&ngnpro.CustomerAccount{Password: ptr(strings.Repeat("x", 73))}, "password"},
		{&ngnpro.CustomerAccount{Email: ptr("x")}, "email"},
		{&ngnpro.CustomerAccount{Reseller: ptr(-1)}, "reseller"},
		{&ngnpro.SipQuery{Range: &ngnpro.Range{Start: -1}}, "range"},
		{&ngnpro.SipQuery{OrderBy: &ngnpro.OrderBy{Attribute: "password"}}, "orderBy"},
		{&ngnpro.SipQuery{OrderBy: &ngnpro.OrderBy{Attribute: "username", Direction: "up"}}, "direction"},
	} {
		err := c.record.Clean()
		if !errors.Is(err, ngnpro.ErrInvalid) || !strings.Contains(err.Error(), c.field) {
			t.Errorf("%+v: %v, want an error about %s", c.record, err, c.field)
		}
	}
}

func TestRecordsAreBroughtIntoOneForm(t *testing.T) {
	for _, c := range []struct {
		record cleaner
		want   string // part of its JSON afterwards
	}{
		{&ngnpro.SipID{Username: " Alice ", Domain: "Example.COM."}, `{"Username":"alice","Domain":"example.com"}`},
		{&ngnpro.SipID{Username: "*31", Domain: "localhost"}, `"*31"`},
		{&ngnpro.SipID{Username: "31-20_x.y+z~!", Domain: "192.0.2.1"}, `"192.0.2.1"`},
		{&ngnpro.SipAccount{ID: ngnpro.SipID{Username: "a", Domain: "b"}, Groups: &[]string{"x", "", "y", "x"}}, `"Groups":["x","y"]`},
		{
			&ngnpro.SipAccount{ID: ngnpro.SipID{Username: "a", Domain: "b"}, ACL: &[]ngnpro.ACLEntry{{IP: "10.1.2.3", Mask: 8}, {IP: "10.1.2.3"}, {IP: "0.0.0.0"}, {IP: "2001:DB8::1", Mask: 32}}},
			`"ACL":[{"IP":"10.0.0.0","Mask":8,"Tag":null},{"IP":"10.1.2.3","Mask":32,"Tag":null},{"IP":"0.0.0.0","Mask":0,"Tag":null},{"IP":"2001:db8::","Mask":32,"Tag":null}]`,
		},
		{&ngnpro.SipAccount{ID: ngnpro.SipID{Username: "a", Domain: "b"}, Password: ptr("")}, `"Password":null`},
		{
			&ngnpro.SipAccount{ID: ngnpro.SipID{Username: "a", Domain: "b"}, Password: ptr("0123456789ABCDEF0123456789abcdef:FFFFffffFFFFffffFFFFffffFFFFffff")},
			`"Password":"0123456789abcdef0123456789abcdef:ffffffffffffffffffffffffffffffff"`,
		},
		{&ngnpro.SipAccount{ID: ngnpro.SipID{Username: "a", Domain: "b"}, Timezone: ptr("Europe/Amsterdam"), Timeout: ptr(900), FirstName: ptr(" Zoë\u00a0X ")}, "\"Zoë\u00a0X\""},
		{
			&ngnpro.CallDiversions{All: ptr("SIP:Bob@Example.COM:5060;transport=TLS"), Busy: ptr("voice-mailbox"), NoAnswer: ptr(" <VOICE-MAILBOX> "), NotOnline: ptr(""), Unavailable: ptr("<sip:x@y>")},
			`{"All":"sip:Bob@example.com:5060;transport=TLS","NotOnline":null,"Busy":"\u003cvoice-mailbox\u003e","NoAnswer":"\u003cvoice-mailbox\u003e","Unavailable":"sip:x@y"}`,
		},
		{&ngnpro.CallDiversions{All: ptr("sips:[2001:DB8::1]:5061")}, `"sips:[2001:db8::1]:5061"`},
		{&ngnpro.CallDiversions{All: ptr("sip:a%20b@example.com?subject=x")}, `"sip:a%20b@example.com?subject=x"`},
		{
			&ngnpro.AcceptRules{Persistent: []ngnpro.AcceptRule{{Start: "8:05", Stop: "24:00", Days: 127}}, Temporary: &ngnpro.TemporaryAccept{}},
			`{"Persistent":[{"Start":"08:05","Stop":"24:00","Groups":[],"Days":127}],"Temporary":null}`,
		},
		{&ngnpro.TrustedPeer{IP: " ::ffff:192.0.2.1 "}, `"IP":"192.0.2.1"`},
		{&ngnpro.TrustedPeer{IP: "192.0.2.77/24"}, `"IP":"192.0.2.0/24"`},
		{&ngnpro.EnumID{Number: "+31201234567"}, `{"Number":"31201234567","TLD":"e164.arpa"}`},
		{&ngnpro.EnumNumber{ID: ngnpro.EnumID{Number: "1"}, Mappings: &[]ngnpro.EnumMapping{{Type: "SIP", MapTo: "sip:a@b"}}}, `"Type":"sip","MapTo":"sip:a@b","Priority":5,"TTL":3600`},
		{&ngnpro.SipQuery{OrderBy: &ngnpro.OrderBy{Attribute: "changeDate", Direction: "desc"}, Range: &ngnpro.Range{Count: 5000}}, `"OrderBy":{"Attribute":"changeDate","Direction":"DESC"},"Range":{"Start":0,"Count":1000}`},
		{&ngnpro.SipQuery{OrderBy: &ngnpro.OrderBy{Direction: "DESC"}}, `"OrderBy":null`},
		{&ngnpro.TrustedPeerQuery{}, `"MSTeams":null`},
	} {
		if err := c.record.Clean(); err != nil {
			t.Errorf("%+v: %v", c.record, err)
			continue
		}
		if b, _ := json.Marshal(c.record); !strings.Contains(string(b), c.want) {
			t.Errorf("%s, want %s", b, c.want)
		}
		first, _ := json.Marshal(c.record)
		if err := c.record.Clean(); err != nil {
			t.Errorf("cleaned twice: %v", err)
		}
		if again, _ := json.Marshal(c.record); string(again) != string(first) {
			t.Errorf("cleaned twice: %s, before %s", again, first)
		}
	}
}

func TestFalseInAFilterIsAny(t *testing.T) {
	q := &ngnpro.TrustedPeerQuery{}
	q.Filter.MSTeams, q.Filter.Blocked = ptr(false), ptr(true)
	if err := q.Clean(); err != nil || q.Filter.MSTeams != nil || q.Filter.Blocked == nil {
		t.Errorf("%v %+v", err, q.Filter)
	}
}

func TestNewAccountGetsDefaults(t *testing.T) {
	a := &ngnpro.SipAccount{ID: ngnpro.SipID{Username: " <autoincrement> ", Domain: "Example.com"}}
	if err := a.CleanNew(); err != nil {
		t.Fatal(err)
	}
	if a.ID.Username != ngnpro.AutoIncrement || a.ID.Domain != "example.com" || *a.Timeout != 35 || len(*a.Password) < 20 {
		t.Errorf("%+v", a)
	}
	b := &ngnpro.SipAccount{ID: ngnpro.SipID{Username: "x", Domain: "example.com"}, Password: ptr("pw"), Timeout: ptr(10)}
	if err := b.CleanNew(); err != nil || *b.Password != "pw" || *b.Timeout != 10 {
		t.Errorf("%v %+v", err, b)
	}
}

func TestNewCustomerNeedsNameAndPassword(t *testing.T) {
	for _, c := range []ngnpro.CustomerAccount{{}, {Username: ptr("x")}, {Password: ptr("x")}, {Username: ptr("x"), Password: ptr("")}} {
		if err := c.CleanNew(); !errors.Is(err, ngnpro.ErrInvalid) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestErrorsRepeatNoSecret(t *testing.T) {
	for _, r := range []cleaner{
		&ngnpro.SipAccount{ID: ngnpro.SipID{Username: "a", Domain: "b"}, Password: ptr("hunter2\n")},
		&ngnpro.VoicemailAccount{SipID: ngnpro.SipID{Username: "a", Domain: "b"}, Password: ptr("hunter2\n")},
		&ngnpro.CustomerAccount{Password: ptr("hunter2\n")},
	} {
		if err := r.Clean(); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v", err)
		}
	}
}

func FuzzSIPURI(f *testing.F) {
	for _, s := range []string{"sip:a@b", "sips:[::1]:5061;x=y", "sip:a%20b@c?d", "sip:@", "sip:a@b@c", "sip:%00@b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ngnpro.SIPURI("uri", s)
		if err != nil {
			return
		}
		if strings.ContainsAny(u, " \r\n\t\"<>\x00") || !strings.HasPrefix(u, "sip:") && !strings.HasPrefix(u, "sips:") {
			t.Errorf("%q is accepted as %q", s, u)
		}
		if again, err := ngnpro.SIPURI("uri", u); err != nil || again != u {
			t.Errorf("%q becomes %q, %v", u, again, err)
		}
	})
}

func TestHosts(t *testing.T) {
	for _, s := range []string{"example.com", "x", "7.example", "0x7f.example", "a1", "1a", "0xg", "x.1-1", "192.0.2.1", "_sip._udp.example"} {
		if !ngnpro.IsHost(s) {
			t.Errorf("%s is no host", s)
		}
	}
	for _, s := range []string{"", ".", "a.", ".a", "a..b", "A", "-a", "a-", "1.2", "0x1", "192.0.2.1.1", "192.0.02.1"} {
		if ngnpro.IsHost(s) {
			t.Errorf("%s is a host", s)
		}
	}
}
