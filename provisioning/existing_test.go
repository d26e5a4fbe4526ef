package provisioning_test

import (
	"fmt"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"thor/provisioning"
	"thor/provisioning/ngnpro"
)

// answerTo is the code of the fault that an operation ends with, "" for none.
func answerTo(t *testing.T, s *provisioning.Server, auth, port, op, params string) string {
	t.Helper()
	r := httptest.NewRequest("POST", "/", strings.NewReader(`<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Header>`+auth+`</e:Header><e:Body><n:`+
		op+` xmlns:n="urn:AGProjects:NGNPro:`+port+`">`+params+`</n:`+op+`></e:Body></e:Envelope>`))
	r.Header.Set("Content-Type", "text/xml")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	code := regexp.MustCompile(`<errorcode>(\d+)<`).FindStringSubmatch(w.Body.String())
	if code == nil {
		if w.Code != 200 {
			t.Fatalf("%s.%s: %d %s", port, op, w.Code, w.Body)
		}
		return ""
	}
	return code[1]
}

// A client that changes a record that does not exist learns that, whatever else is
// wrong with its arguments: it adds the record then.
func TestAChangeOfWhatIsNotThereIsNotFoundWhateverElseIsWrong(t *testing.T) {
	f := populated(t)
	s := newServer(t, f)
	ctx, admin := t.Context(), ngnpro.Viewer{Admin: true}
	alice := ngnpro.SipID{Username: "alice", Domain: "example.com"}
	owner := new(102) // customer1, of reseller 101
	_, err1 := f.Aliases.Add(ctx, admin, &ngnpro.SipAlias{ID: ngnpro.SipID{Username: "9001", Domain: "example.com"}, Target: alice})
	err2 := f.Peers.Add(ctx, admin, &ngnpro.TrustedPeer{IP: "192.0.2.1", Customer: owner})
	_, err3 := f.Mailboxes.Add(ctx, admin, &ngnpro.VoicemailAccount{SipID: alice})
	err4 := f.Ranges.Add(ctx, admin, &ngnpro.EnumRange{ID: ngnpro.EnumRangeID{Prefix: "3120", TLD: "e164.arpa"}})
	err5 := f.Numbers.Add(ctx, admin, &ngnpro.EnumNumber{ID: ngnpro.EnumID{Number: "31201", TLD: "e164.arpa"}})
	_, err6 := f.Phonebook.Add(ctx, admin, alice, &ngnpro.PhonebookEntry{URI: "sip:c@example.com"})
	for _, err := range []error{err1, err2, err3, err4, err5, err6} {
		if err != nil {
			t.Fatal(err)
		}
	}
	long := strings.Repeat("x", 300)
	sip := func(user, domain string) string {
		return "<username>" + user + "</username><domain>" + domain + "</domain>"
	}
	on := func(user, domain string) string { return "<sipId>" + sip(user, domain) + "</sipId>" }
	for _, c := range []struct {
		port, op       string
		params         string // %s is what names the record
		there, missing string
		code           string
	}{
		{"Sip", "updateAccount", "<account><id>%s</id><email>not an address</email></account>", sip("alice", "example.com"), sip("missing", "example.com"), "1010"},
		{"Sip", "updateAccount", "<account><email>not an address</email><id>%s</id></account>", sip("Alice", "EXAMPLE.com"), sip("MisSing", "example.org"), "1010"},
		{"Sip", "updateAccount", "<account><id>%s</id><timeout>9999</timeout></account>", sip("alice", "example.com"), sip("missing", "example.com"), "1010"},
		{"Sip", "updateDomain", "<domain><domain>%s</domain><match_sip_domain>" + long + "</match_sip_domain></domain>", "example.com", "example.org", "1000"},
		{"Sip", "updateAlias", "<alias><id>%s</id><target>" + sip("not a user", "example.com") + "</target></alias>", sip("9001", "example.com"), sip("9002", "example.com"), "1020"},
		{"Sip", "updateTrustedPeer", "<peer><ip>%s</ip><strip>99</strip></peer>", "192.0.2.1", "192.0.2.2", "1040"},
		{"Sip", "addToGroup", "%s<group>" + long + "</group>", on("alice", "example.com"), on("missing", "example.com"), "1010"},
		{"Sip", "removeFromGroup", "%s<group></group>", on("alice", "example.com"), on("missing", "example.com"), "1010"},
		{"Sip", "setCallDiversions", "%s<diversions><FUNC>gopher://x</FUNC></diversions>", on("alice", "example.com"), on("missing", "example.com"), "1010"},
		{"Sip", "setBarringPrefixes", "%s<prefixes><item>abc</item></prefixes>", on("alice", "example.com"), on("missing", "example.com"), "1010"},
		{"Sip", "setRejectMembers", "%s<members><item>gopher://x</item></members>", on("alice", "example.com"), on("missing", "example.com"), "1010"},
		{"Sip", "setAcceptRules", "%s<rules><temporary><duration>-1</duration></temporary></rules>", on("alice", "example.com"), on("missing", "example.com"), "1010"},
		{"Sip", "addPhonebookEntry", "%s<entry><uri></uri></entry>", on("alice", "example.com"), on("missing", "example.com"), "1010"},
		{"Sip", "updatePhonebookEntry", "%s<entry><uri>sip:c@example.com</uri><name>" + long + "</name></entry>", on("alice", "example.com"), on("missing", "example.com"), "1010"},
		{"Sip", "updatePhonebookEntry", on("alice", "example.com") + "<entry><uri>%s</uri><name>" + long + "</name></entry>", "sip:c@example.com", "sip:d@example.com", "1050"},
		{"Sip", "deletePhonebookEntry", "%s<uri></uri>", on("alice", "example.com"), on("missing", "example.com"), "1010"},
		{"Voicemail", "updateAccount", "<account>%s<email>not an address</email></account>", on("alice", "example.com"), on("missing", "example.com"), "2000"},
		{"Enum", "updateRange", "<range><id><prefix>%s</prefix></id><ttl>-1</ttl></range>", "3120", "+3121", "3000"},
		{"Enum", "updateNumber", "<number><id><number>%s</number></id><mappings><item><type></type></item></mappings></number>", "+31201", "31202", "3002"},
		{"Customer", "updateAccount", "<account><id>%s</id><email>not an address</email></account>", "102", "9999", "5000"},
		{"Customer", "setProperties", "<customer>%s</customer><properties><item><name></name></item></properties>", "102", "9999", "5000"},
	} {
		for name, want := range map[string]string{c.missing: c.code, c.there: "3"} {
			if got := answerTo(t, s, authBlock, c.port, c.op, fmt.Sprintf(c.params, name)); got != want {
				t.Errorf("%s.%s of %s: %q, want %s", c.port, c.op, name, got, want)
			}
		}
	}
	// A name that can be no record's is what is wrong.
	if got := answerTo(t, s, authBlock, "Sip", "updateAccount", "<account><id>"+sip("a b", "example.com")+"</id></account>"); got != "3" {
		t.Errorf("a name that can be none: %s", got)
	}
	// A store that fails is not a record that is missing.
	s = newServer(t, unusedStore(t))
	if got := answerTo(t, s, authBlock, "Sip", "updateAccount", "<account><id>"+sip("missing", "example.com")+"</id><email>not an address</email></account>"); got != "3" {
		t.Errorf("a store that fails: %s", got)
	}
}

// What a party does not see is not there for it, whatever it sends.
func TestBadContentDoesNotTellWhatExistsElsewhere(t *testing.T) {
	s := newServer(t, populated(t))
	auth := "<auth><username>customer1</username><password>pw-customer1</password></auth>"
	for domain, want := range map[string]string{"example.com": "3", "example.net": "1010"} {
		params := "<account><id><username>alice</username><domain>" + domain + "</domain></id><email>not an address</email></account>"
		if got := answerTo(t, s, auth, "Sip", "updateAccount", params); got != want {
			t.Errorf("alice@%s: %q, want %s", domain, got, want)
		}
	}
}
