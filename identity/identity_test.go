package identity_test

import (
	//lint:ignore SA1019 a key of a kind that must be refused
	"crypto/dsa"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"thor/identity"
	"thor/subjects"
)

func TestFromCertificateReadsTheWholeForm(t *testing.T) {
	s := goodSpec()
	s.names = append(s.names, san{2, "GW1.example.net"}, san{2, "*.example.net"})
	leaf, _ := newTestCA(t, "ca", nil).sign(t, s)
	id, err := identity.FromCertificate(leaf)
	check(t, err)
	want := []subjects.Role{"media_relay", "sip_proxy"}
	if id.Domain != domain || id.Node != "gw1" || !slices.Equal(id.Roles, want) || id.Serial != "0abc" {
		t.Errorf("got %+v", id)
	}
	if !slices.Equal(id.Hosts, []string{"gw1.example.net"}) {
		t.Errorf("hosts %q", id.Hosts)
	}
	if !id.Has("sip_proxy") || id.Has("voicemail_server") {
		t.Error("Has disagrees with the roles")
	}
	for addr, may := range map[string]bool{"192.0.2.10": true, "2001:db8::10": true, "192.0.2.11": false, "::ffff:192.0.2.10": false} {
		if id.MayUse(netip.MustParseAddr(addr)) != may {
			t.Errorf("MayUse(%s) is %v", addr, !may)
		}
	}
}

// bad is every fault of a leaf's form, each with the error that names it.
var bad = []struct {
	name string
	want error
	edit func(*spec)
}{
	{"no URI", identity.ErrNoURI, func(s *spec) { s.names = s.names[1:] }},
	{"no names at all", identity.ErrNoURI, func(s *spec) { s.names = nil }},
	{"two URIs", identity.ErrManyURIs, func(s *spec) { s.names = append(s.names, uri("https://example.net/")) }},
	{"the URI twice", identity.ErrManyURIs, func(s *spec) { s.names = append(s.names, s.names[0]) }},
	{"https URI", identity.ErrURIScheme, setURI("https://example.net/node/gw1")},
	{"scheme in capitals", identity.ErrURIScheme, setURI("SPIFFE://example.net/node/gw1")},
	{"no trust domain", identity.ErrURIForm, setURI("spiffe:///node/gw1")},
	{"trust domain with port", identity.ErrURIForm, setURI("spiffe://example.net:1/node/gw1")},
	{"trust domain with user", identity.ErrURIForm, setURI("spiffe://a@example.net/node/gw1")},
	{"trust domain in capitals", identity.ErrURIForm, setURI("spiffe://Example.net/node/gw1")},
	{"trust domain is an address", identity.ErrDomain, setURI("spiffe://192.0.2.1/node/gw1")},
	{"trust domain too long", identity.ErrDomain, setURI("spiffe://" + strings.Repeat("a.", 95) + "net/node/gw1")},
	{"trust domain only", identity.ErrURIForm, setURI("spiffe://example.net")},
	{"another path", identity.ErrURIForm, setURI("spiffe://example.net/service/gw1")},
	{"longer path", identity.ErrNode, setURI("spiffe://example.net/node/gw1/x")},
	{"final slash", identity.ErrNode, setURI("spiffe://example.net/node/gw1/")},
	{"query", identity.ErrNode, setURI("spiffe://example.net/node/gw1?a=b")},
	{"percent sign", identity.ErrNode, setURI("spiffe://example.net/node/gw%31")},
	{"no node", identity.ErrNode, setURI("spiffe://example.net/node/")},
	{"node is a wildcard", identity.ErrNode, setURI("spiffe://example.net/node/*")},
	{"node in capitals", identity.ErrNode, setURI("spiffe://example.net/node/GW1")},
	{"node is a service of the zone", identity.ErrNode, setURI("spiffe://example.net/node/proxy")},
	{"node is its role's host name", identity.ErrNode, func(s *spec) {
		s.subject = [][]atv{o(domain), ou("my_thing")}
		s.names[0] = uri("spiffe://example.net/node/my-thing")
	}},
	{"no O", identity.ErrNoOrganization, func(s *spec) { s.subject = s.subject[1:] }},
	{"empty subject", identity.ErrNoOrganization, func(s *spec) { s.subject = nil }},
	{"L beyond ASCII", identity.ErrSite, func(s *spec) { s.subject = append(s.subject, place("Zürich")) }},
	{"L in capitals", identity.ErrSite, func(s *spec) { s.subject = append(s.subject, place("AMS")) }},
	{"empty L", identity.ErrSite, func(s *spec) { s.subject = append(s.subject, place("")) }},
	{"two L", identity.ErrManySites, func(s *spec) { s.subject = append(s.subject, place("ams"), place("ams")) }},
	{"two O", identity.ErrManyOrganizations, func(s *spec) { s.subject = append(s.subject, o(domain)) }},
	{"O of another domain", identity.ErrOrganization, func(s *spec) { s.subject[0] = o("example.com") }},
	{"O in capitals", identity.ErrOrganization, func(s *spec) { s.subject[0] = o("Example.net") }},
	{"O with blanks", identity.ErrOrganization, func(s *spec) { s.subject[0] = o(domain + " ") }},
	{"no role", identity.ErrNoRole, func(s *spec) { s.subject = [][]atv{o(domain), cn("gw1")} }},
	{"role in capitals", identity.ErrRole, addUnit("SIP_Proxy")},
	{"role with a hyphen", identity.ErrRole, addUnit("sip-proxy")},
	{"role is a wildcard", identity.ErrRole, addUnit("*")},
	{"role of two tokens", identity.ErrRole, addUnit("a.b")},
	{"role is empty", identity.ErrRole, addUnit("")},
	{"role too long", identity.ErrRole, addUnit(strings.Repeat("a", 64))},
	{"unknown role of ours", identity.ErrReservedRole, addUnit("thor_root")},
	{"17 roles", identity.ErrManyRoles, func(s *spec) {
		for i := range 15 {
			s.subject = append(s.subject, ou(fmt.Sprintf("role_%d", i)))
		}
	}},
	{"a role twice", identity.ErrDuplicateRole, addUnit("sip_proxy")},
	{"bound without number", identity.ErrBound, addUnit("sip_proxy:weight")},
	{"bound of nothing", identity.ErrBound, addUnit("sip_proxy:")},
	{"bound without role", identity.ErrBound, addUnit(":weight:200")},
	{"bound of all roles", identity.ErrBound, addUnit("weight:200")},
	{"bound of an unknown kind", identity.ErrBound, addUnit("sip_proxy:Weight:200")},
	{"bound with more", identity.ErrBound, addUnit("sip_proxy:weight:200:1")},
	{"bound of 0", identity.ErrBound, addUnit("sip_proxy:weight:0")},
	{"bound above the range", identity.ErrBound, addUnit("sip_proxy:weight:65536")},
	{"bound with a sign", identity.ErrBound, addUnit("sip_proxy:weight:-200")},
	{"bound with a zero before it", identity.ErrBound, addUnit("sip_proxy:weight:0200")},
	{"bound with a blank", identity.ErrBound, addUnit("sip_proxy:weight: 200")},
	{"bound of a role in capitals", identity.ErrBound, addUnit("SIP_proxy:weight:200")},
	{"bound of an unknown role of ours", identity.ErrBound, addUnit("thor_root:weight:200")},
	{"bound of a role it lacks", identity.ErrBoundRole, addUnit("voicemail_server:weight:200")},
	{"bound too long for an OU", identity.ErrBound, func(s *spec) {
		r := strings.Repeat("a", 60)
		addUnit(r)(s)
		addUnit(r + ":weight:200")(s)
	}},
	{"a bound twice", identity.ErrDuplicateBound, func(s *spec) {
		addUnit("sip_proxy:weight:200")(s)
		addUnit("sip_proxy:weight:200")(s)
	}},
	{"look-alike in a bound", identity.ErrNonASCII, addUnit("sip_proxy:weight:20\u0660")},
	{"OU=a+OU=b", identity.ErrMultiValued, func(s *spec) {
		s.subject = append(s.subject, append(ou("aa"), ou("bb")...))
	}},
	{"CN and OU in one RDN", identity.ErrMultiValued, func(s *spec) { s.subject = append(s.subject, append(cn("x"), ou("bb")...)) }},
	{"an RDN without value", identity.ErrMultiValued, func(s *spec) { s.subject = append(s.subject, nil) }},
	{"escaped comma in OU", identity.ErrSeparator, addUnit("a,OU=b")},
	{"escaped plus in OU", identity.ErrSeparator, addUnit("a+b")},
	{"slash in O", identity.ErrSeparator, func(s *spec) { s.subject[0] = o("example.net/OU=a") }},
	{"NUL in CN", identity.ErrControl, func(s *spec) { s.subject[3] = cn("gw1\x00.evil") }},
	{"NUL in OU", identity.ErrControl, addUnit("sip\x00")},
	{"newline in O", identity.ErrControl, func(s *spec) { s.subject[0] = o("example.net\n") }},
	{"terminal escape in L", identity.ErrControl, func(s *spec) {
		s.subject = append(s.subject, []atv{{[]int{2, 5, 4, 7}, asn1.TagUTF8String, "\x1b[2J"}})
	}},
	{"right-to-left override in CN", identity.ErrControl, func(s *spec) { s.subject[3] = cn("gw\u202e1") }},
	{"Cyrillic look-alike in OU", identity.ErrNonASCII, addUnit("medi\u0430_relay2")},
	{"Cyrillic look-alike in O", identity.ErrNonASCII, func(s *spec) { s.subject[0] = o("ex\u0430mple.net") }},
	{"look-alike in CN", identity.ErrNonASCII, func(s *spec) { s.subject[3] = cn("gw\uff11") }},
	{"OU as BMPString", identity.ErrSubject, func(s *spec) {
		s.subject = append(s.subject, []atv{{[]int{2, 5, 4, 11}, asn1.TagBMPString, "\x00a\x00b"}})
	}},
	{"CA:TRUE", identity.ErrAuthorityLeaf, func(s *spec) { s.template.IsCA = true }},
	{"may sign certificates", identity.ErrAuthorityLeaf, func(s *spec) { s.template.KeyUsage |= x509.KeyUsageCertSign }},
	{"may sign revocation lists", identity.ErrAuthorityLeaf, func(s *spec) { s.template.KeyUsage |= x509.KeyUsageCRLSign }},
	{"key for encipherment only", identity.ErrKeyUsage, func(s *spec) { s.template.KeyUsage = x509.KeyUsageKeyEncipherment }},
	{"no extended key usage", identity.ErrClientAuth, func(s *spec) { s.template.ExtKeyUsage = nil }},
	{"server only", identity.ErrClientAuth, func(s *spec) { s.template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }},
	{"any usage", identity.ErrClientAuth, func(s *spec) { s.template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }},
	{"broker without serverAuth", identity.ErrServerAuth, addUnit("thor_eventserver")},
	{"SHA-1 signature", identity.ErrWeakSignature, func(s *spec) { s.template.SignatureAlgorithm = x509.ECDSAWithSHA1 }},
	{"RSA of 1024 bits", identity.ErrWeakKey, func(s *spec) { s.public = rsaPublic(1024) }},
	{"RSA of 16384 bits", identity.ErrWeakKey, func(s *spec) { s.public = rsaPublic(16384) }},
	{"curve P-224", identity.ErrWeakKey, func(s *spec) { s.public = p224() }},
	{"address 0.0.0.0", identity.ErrAddress, addIP("0.0.0.0")},
	{"address ::", identity.ErrAddress, addIP("::")},
	{"IPv4 multicast", identity.ErrAddress, addIP("224.0.0.1")},
	{"IPv6 multicast", identity.ErrAddress, addIP("ff02::1")},
	{"broadcast", identity.ErrAddress, addIP("255.255.255.255")},
	{"IPv4 in IPv6", identity.ErrAddress, addIP("::ffff:192.0.2.1")},
	{"an address twice", identity.ErrAddress, addIP("192.0.2.10")},
	{"33 addresses", identity.ErrManyAddresses, func(s *spec) {
		for i := range 31 {
			addIP(fmt.Sprintf("192.0.2.%d", 100+i))(s)
		}
	}},
}

func setURI(u string) func(*spec)  { return func(s *spec) { s.names[0] = uri(u) } }
func addUnit(r string) func(*spec) { return func(s *spec) { s.subject = append(s.subject, ou(r)) } }
func addIP(a string) func(*spec)   { return func(s *spec) { s.names = append(s.names, ip(a)) } }

func rsaPublic(bits uint) *rsa.PublicKey {
	n := new(big.Int).Lsh(big.NewInt(1), bits-1)
	return &rsa.PublicKey{N: n.Add(n, big.NewInt(1)), E: 65537}
}

func p224() *ecdsa.PublicKey {
	k, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return &k.PublicKey
}

func TestEachFaultOfALeafHasItsOwnError(t *testing.T) {
	ca := newTestCA(t, "ca", nil)
	for _, c := range bad {
		t.Run(c.name, func(t *testing.T) {
			s := goodSpec()
			c.edit(s)
			leaf, _ := ca.sign(t, s)
			id, err := identity.FromCertificate(leaf)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %+v, %v; want %v", id, err, c.want)
			}
			for _, r := range err.Error() {
				if r < ' ' || r > '~' {
					t.Errorf("error holds %q: %s", r, err)
				}
			}
		})
	}
}

func TestGoodVariationsOfALeafAreAccepted(t *testing.T) {
	ca := newTestCA(t, "ca", nil)
	for name, edit := range map[string]func(*spec){
		"16 roles": func(s *spec) {
			for i := range 14 {
				addUnit(fmt.Sprintf("role_%d", i))(s)
			}
		},
		"no address":   func(s *spec) { s.names = s.names[:1] },
		"no key usage": func(s *spec) { s.template.KeyUsage = 0 },
		"no CN":        func(s *spec) { s.subject = s.subject[:3] },
		"state beyond ASCII": func(s *spec) {
			s.subject = append(s.subject, []atv{{[]int{2, 5, 4, 8}, asn1.TagUTF8String, "Zürich"}})
		},
		"site":                 func(s *spec) { s.subject = append(s.subject, place("ams-1")) },
		"O as PrintableString": func(s *spec) { s.subject[0][0].tag = asn1.TagPrintableString },
		"server use too": func(s *spec) {
			s.template.ExtKeyUsage = append(s.template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
			addUnit("thor_eventserver")(s)
		},
		"other kinds of names": func(s *spec) { s.names = append(s.names, san{1, "ops@example.net"}, san{2, "gw1.example.net"}) },
		"loopback":             addIP("127.0.0.1"),
		"bounds": func(s *spec) {
			addUnit("sip_proxy:weight:200")(s)
			addUnit("sip_proxy:priority:5")(s)
			addUnit("media_relay:weight:65535")(s)
		},
		"domain of one label": func(s *spec) { s.subject[0] = o("lab"); setURI("spiffe://lab/node/gw1")(s) },
		"RSA of 2048 bits":    func(s *spec) { s.public = rsaPublic(2048) },
		"out of date":         func(s *spec) { s.template.NotAfter = s.template.NotBefore.Add(time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			s := goodSpec()
			edit(s)
			leaf, _ := ca.sign(t, s)
			if _, err := identity.FromCertificate(leaf); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestNoCertificateAndUnknownKeysAreRefused(t *testing.T) {
	if _, err := identity.FromCertificate(nil); !errors.Is(err, identity.ErrNoCertificate) {
		t.Error(err)
	}
	leaf, _ := newTestCA(t, "ca", nil).sign(t, goodSpec())
	leaf.PublicKey = &dsa.PublicKey{}
	if _, err := identity.FromCertificate(leaf); !errors.Is(err, identity.ErrWeakKey) {
		t.Error(err)
	}
}

func TestSubjectWithBytesBeyondTypesAndValuesIsRefused(t *testing.T) {
	leaf, _ := newTestCA(t, "ca", nil).sign(t, goodSpec())
	type extra struct {
		Type asn1.ObjectIdentifier
		Name string `asn1:"utf8"`
		More string `asn1:"utf8"`
	}
	type extraSET []extra
	der, err := asn1.Marshal([]extraSET{{{asn1.ObjectIdentifier{2, 5, 4, 10}, domain, "sip_proxy"}}})
	check(t, err)
	for name, raw := range map[string][]byte{
		"third field": der, "trailing bytes": append(slices.Clone(leaf.RawSubject), 0, 0), "truncated": leaf.RawSubject[:9], "empty": {},
	} {
		leaf.RawSubject = raw
		if _, err := identity.FromCertificate(leaf); !errors.Is(err, identity.ErrSubject) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTimeErrorsNameTheDates(t *testing.T) {
	from := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	id := &identity.Identity{NotBefore: from, NotAfter: from.AddDate(0, 1, 0)}
	check(t, id.ValidAt(from))
	check(t, id.ValidAt(id.NotAfter))
	for _, c := range []struct {
		now  time.Time
		want error
		text string
	}{
		{from.Add(-time.Second), identity.ErrNotYetValid, "2026-11-01 00:00:00"},
		{from.AddDate(0, 2, 0), identity.ErrExpired, "2026-12-01 00:00:00"},
	} {
		if err := id.ValidAt(c.now); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("at %s: %v", c.now, err)
		}
	}
}

func FuzzFromCertificate(f *testing.F) {
	ca := newTestCA(f, "ca", nil)
	add := func(edit func(*spec)) {
		s := goodSpec()
		edit(s)
		leaf, _ := ca.sign(f, s)
		f.Add(leaf.Raw)
	}
	add(func(*spec) {})
	for _, c := range bad {
		add(c.edit)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		leaf, err := x509.ParseCertificate(der)
		if err != nil {
			return
		}
		id, err := identity.FromCertificate(leaf)
		if err != nil {
			return
		}
		if _, err := subjects.ParseNodeID(string(id.Node)); err != nil {
			t.Error(err)
		}
		if len(id.Roles) == 0 || len(id.Roles) > subjects.MaxRoles || !slices.IsSorted(id.Roles) {
			t.Errorf("roles %q", id.Roles)
		}
		for _, r := range id.Roles {
			if _, err := subjects.ParseRole(string(r)); err != nil {
				t.Error(err)
			}
		}
		if err := identity.CheckDomain(id.Domain); err != nil || leaf.IsCA && leaf.BasicConstraintsValid {
			t.Errorf("%+v: %v", id, err)
		}
	})
}

// place is an L.
func place(s string) []atv { return []atv{{[]int{2, 5, 4, 7}, asn1.TagUTF8String, s}} }
