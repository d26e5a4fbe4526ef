package identity

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"maps"
	"slices"
	"testing"

	"thor/subjects"
)

func TestSubjectThatIsWrittenIsReadAgain(t *testing.T) {
	b := bounds{"sip_proxy": {Weight: 200, Priority: 5}, "media_relay": {Priority: 7}}
	der, err := subjectDER("example.net", []subjects.Role{"sip_proxy", "media_relay"}, b, "", "gw1")
	if err != nil {
		t.Fatal(err)
	}
	u, err := parseSubject(der, "example.net")
	if err != nil || !slices.Equal(u.roles, []subjects.Role{"media_relay", "sip_proxy"}) || !maps.Equal(u.bounds, b) {
		t.Errorf("%+v, %v", u, err)
	}
}

// FuzzParseNames holds the parser against that of the standard library: what it
// accepts, the other reads as the same names in the same order.
func FuzzParseNames(f *testing.F) {
	one, _ := subjectDER("example.net", []subjects.Role{"sip_proxy"}, bounds{"sip_proxy": {Weight: 9}}, "", "gw1")
	multi, _ := asn1.Marshal(pkix.Name{Organization: []string{"example.net"}, OrganizationalUnit: []string{"a", "b"}}.ToRDNSequence())
	f.Add(one)
	f.Add(multi)
	f.Add([]byte{0x30, 0})
	f.Add([]byte{0x30, 2, 0x31, 0})
	f.Fuzz(func(t *testing.T, der []byte) {
		names, err := parseNames(der)
		if err != nil {
			return
		}
		var seq pkix.RDNSequence
		if rest, err := asn1.Unmarshal(der, &seq); err != nil || len(rest) > 0 || len(seq) != len(names) {
			t.Fatalf("%v: the other parser reads %v, %v", names, seq, err)
		}
		for i, rdn := range seq {
			if len(rdn) != 1 || !rdn[0].Type.Equal(names[i].oid) || rdn[0].Value != names[i].value {
				t.Errorf("name %d: %v and %v", i, rdn, names[i])
			}
		}
		u, err := parseSubject(der, "example.net")
		if err == nil && len(u.roles) == 0 {
			t.Error("accepted without a role")
		}
		if err == nil && u.bounds.check(u.roles) != nil {
			t.Errorf("accepted with the bounds %v of %v", u.bounds, u.roles)
		}
	})
}
