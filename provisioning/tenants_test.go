package provisioning_test

import (
	"encoding/xml"
	"fmt"
	"io"
	"net/http/httptest"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"thor/provisioning"
	"thor/provisioning/ngnpro"
)

// A party is a login that calls a server.
type party struct {
	t    *testing.T
	s    *provisioning.Server
	auth string
}

func as(t *testing.T, s *provisioning.Server, user, password string) *party {
	return &party{t, s, "<auth><username>" + user + "</username><password>" + password + "</password><admin>false</admin></auth>"}
}

// call returns the answer and the error code of a fault, 0 for none.
func (p *party) call(port, op, params string) (string, string) {
	body := strings.NewReplacer(":Sip", ":"+port, authBlock, p.auth).Replace(request(op, "$PARAMS"))
	r := httptest.NewRequest("POST", "/", strings.NewReader(strings.Replace(body, "$PARAMS", params, 1)))
	w := httptest.NewRecorder()
	p.s.ServeHTTP(w, r)
	if m := regexp.MustCompile(`<errorcode>(\d+)</errorcode>`).FindStringSubmatch(w.Body.String()); m != nil {
		return w.Body.String(), m[1]
	}
	if w.Code != 200 {
		return w.Body.String(), fmt.Sprint("status ", w.Code)
	}
	return w.Body.String(), "0"
}

func (p *party) must(port, op, params string) string {
	p.t.Helper()
	b, code := p.call(port, op, params)
	if code != "0" {
		p.t.Fatalf("%s.%s: %s", port, op, b)
	}
	return b
}

// is checks which fault an operation of another party's record is.
func (p *party) is(code, port, op, params string) {
	p.t.Helper()
	if b, have := p.call(port, op, params); have != code {
		p.t.Errorf("%s.%s %s: code %s, want %s\n%s", port, op, params, have, code, b)
	}
}

func realServer(t *testing.T) (*provisioning.Server, *party) {
	t.Helper()
	s := newServer(t, emptyStore(t))
	return s, &party{t, s, authBlock}
}

// made finds the number of the customer that was made.
func made(t *testing.T, answer string) string {
	t.Helper()
	m := regexp.MustCompile(`<id xsi:type="xsd:int">(\d+)</id>`).FindStringSubmatch(answer)
	if m == nil {
		t.Fatalf("no customer in %s", answer)
	}
	return m[1]
}

func sipIDOf(user, domain string) string {
	return "<username>" + user + "</username><domain>" + domain + "</domain>"
}

func TestTenantsCannotReachEachOther(t *testing.T) {
	s, admin := realServer(t)
	customer := func(name, more string) string {
		return made(t, admin.must("Customer", "addAccount", "<account><username>"+name+"</username><password>pw</password>"+more+"</account>"))
	}
	r1 := customer("reseller1", "<resellerActive>1</resellerActive>")
	c1 := customer("customer1", "<reseller>"+r1+"</reseller>")
	r2 := customer("reseller2", "<resellerActive>1</resellerActive>")
	c2 := customer("customer2", "<reseller>"+r2+"</reseller>")
	for d, owner := range map[string][2]string{"one.example": {c1, r1}, "two.example": {c2, r2}} {
		admin.must("Sip", "addDomain", "<domain><domain>"+d+"</domain><customer>"+owner[0]+"</customer><reseller>"+owner[1]+"</reseller></domain>")
		admin.must("Sip", "addAccount", "<account><id>"+sipIDOf("alice", d)+"</id><password>secret-"+d+"</password></account>")
		admin.must("Sip", "addAlias", "<alias><id>"+sipIDOf("9001", d)+"</id><target>"+sipIDOf("alice", d)+"</target></alias>")
		admin.must("Voicemail", "addAccount", "<account><sipId>"+sipIDOf("alice", d)+"</sipId><password>1234</password></account>")
	}
	before := admin.must("Sip", "getAccounts", "<query/>")
	for _, user := range []string{"reseller2", "customer2"} {
		p := as(t, s, user, "pw")
		id, own := "<sipId>"+sipIDOf("alice", "one.example")+"</sipId>", "<sipId>"+sipIDOf("alice", "two.example")+"</sipId>"
		p.must("Sip", "getAccount", own)
		for _, c := range [][4]string{
			{"1010", "Sip", "getAccount", id},
			{"1010", "Sip", "getGroups", id},
			{"1010", "Sip", "updateAccount", "<account><id>" + sipIDOf("alice", "one.example") + "</id><password>mine</password></account>"},
			{"1010", "Sip", "deleteAccount", id},
			{"1010", "Sip", "addToGroup", id + "<group>x</group>"},
			{"1010", "Sip", "setCallDiversions", id + "<diversions><FUNC>sip:me@two.example</FUNC></diversions>"},
			{"1010", "Sip", "getCallDiversions", id},
			{"1010", "Sip", "setBarringPrefixes", id + "<prefixes>1</prefixes>"},
			{"1010", "Sip", "addPhonebookEntry", id + "<entry><uri>sip:x@y</uri></entry>"},
			{"1010", "Sip", "addAlias", "<alias><id>" + sipIDOf("9002", "two.example") + "</id><target>" + sipIDOf("alice", "one.example") + "</target></alias>"},
			{"1020", "Sip", "getAlias", "<id>" + sipIDOf("9001", "one.example") + "</id>"},
			{"1020", "Sip", "deleteAlias", "<id>" + sipIDOf("9001", "one.example") + "</id>"},
			{"1000", "Sip", "addAccount", "<account><id>" + sipIDOf("bob", "one.example") + "</id><password>x</password></account>"},
			{"1000", "Sip", "updateDomain", "<domain><domain>one.example</domain></domain>"},
			{"1000", "Sip", "deleteDomain", "<domain>one.example</domain>"},
			{"2000", "Voicemail", "getAccount", id},
			{"2000", "Voicemail", "deleteAccount", id},
			{"5000", "Customer", "getAccount", "<id>" + c1 + "</id>"},
			{"5000", "Customer", "updateAccount", "<account><id>" + c1 + "</id><username>customer1</username><password>mine</password></account>"},
			{"5000", "Customer", "deleteAccount", "<id>" + r1 + "</id>"},
			{"5000", "Customer", "setProperties", "<customer>" + c1 + "</customer><properties><name>a</name><value>b</value></properties>"},
		} {
			p.is(c[0], c[1], c[2], c[3])
		}
		for _, list := range []string{"getDomains", "getAccounts", "getAliases"} {
			if b := p.must("Sip", list, "<query><filter><domain>%</domain><aliasDomain>%</aliasDomain></filter></query>"); strings.Contains(b, "one.example") {
				t.Errorf("%s sees in %s: %s", user, list, b)
			}
		}
		if b := p.must("Customer", "getCustomers", "<query/>"); strings.Contains(b, "customer1") {
			t.Errorf("%s sees %s", user, b)
		}
		p.auth = strings.Replace(p.auth, "</auth>", "<impersonate>"+c1+"</impersonate></auth>", 1)
		p.is("2", "Sip", "getAccount", id)
	}
	// No party gives rights to itself.
	own := as(t, s, "customer1", "pw")
	for _, more := range []string{
		"<impersonate>" + r1 + "</impersonate>", "<reseller>" + r2 + "</reseller>", "<reseller>" + c1 + "</reseller>", "<balance>1000</balance>", "<credit>1000</credit>",
	} {
		_, code := own.call("Customer", "updateAccount", "<account><id>"+c1+"</id><username>customer1</username>"+more+"</account>")
		if b := admin.must("Customer", "getAccount", "<id>"+c1+"</id>"); code == "0" && strings.Contains(b, ">1000<") ||
			!strings.Contains(b, `<reseller xsi:type="xsd:int">`+r1+`</reseller>`) || !strings.Contains(b, `<impersonate xsi:type="xsd:int">0</impersonate>`) {
			t.Errorf("customer1 made itself: code %s, %s: %s", code, more, b)
		}
	}
	if b := own.must("Customer", "getCustomers", "<query/>"); strings.Contains(b, "customer2") || strings.Count(b, "<username") != 1 {
		t.Errorf("customer1 sees %s", b)
	}
	if after := admin.must("Sip", "getAccounts", "<query/>"); after != before {
		t.Errorf("something changed: %s\n%s", before, after)
	}
	if b := as(t, s, "customer1", "pw").must("Sip", "getAccount", "<sipId>"+sipIDOf("alice", "one.example")+"</sipId>"); !strings.Contains(b, "secret-one.example") {
		t.Error(b)
	}
}

var hostile = []string{
	`'; DROP TABLE sip_accounts_meta; -- `, `" OR ""="`, `\`, `\'; --`, "`x`", `%`, `_`, `1; SELECT SLEEP(9)`, `*/ UNION SELECT 1 /*`, `${jndi:x}`,
	`<b>&amp;</b>`, "\u202e", "a\nb", "\t", "\u00a0", "e\u0301", "\U0001f3b6", strings.Repeat("x", 70), strings.Repeat("é", 2000), "",
}

// fields yields a message for each text of a record, in which that text is s.
func fields(rt reflect.Type, s string) (names, params []string) {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder takes everything
	for i := range rt.NumField() {
		f := rt.Field(i)
		name, option, _ := strings.Cut(f.Tag.Get("soap"), ",")
		if ft := f.Type; option == "" && (ft.Kind() == reflect.String || ft.Kind() == reflect.Pointer && ft.Elem().Kind() == reflect.String) {
			names = append(names, name)
			params = append(params, "<"+name+">"+b.String()+"</"+name+">")
		}
	}
	return names, params
}

// Whatever stands in a text: the call is refused as invalid, or the text is kept
// as it is. It is never a failure of the database.
func TestHostileTextsAreRefusedOrKept(t *testing.T) {
	_, admin := realServer(t)
	admin.must("Sip", "addDomain", "<domain><domain>example.com</domain></domain>")
	admin.must("Sip", "addAccount", "<account><id>"+sipIDOf("alice", "example.com")+"</id><password>x</password></account>")
	customer := made(t, admin.must("Customer", "addAccount", "<account><username>c</username><password>pw</password></account>"))
	id := "<sipId>" + sipIDOf("alice", "example.com") + "</sipId>"
	admin.must("Voicemail", "addAccount", "<account>"+id+"<password>1</password></account>")
	kept, refused := 0, 0
	for _, c := range []struct {
		record                        reflect.Type
		port, op, outer, key, get, of string
	}{
		{reflect.TypeFor[ngnpro.SipAccount](), "Sip", "updateAccount", "account", "<id>" + sipIDOf("alice", "example.com") + "</id>", "getAccount", id},
		{reflect.TypeFor[ngnpro.SipDomain](), "Sip", "updateDomain", "domain", "<domain>example.com</domain>", "getDomains", ""},
		{reflect.TypeFor[ngnpro.VoicemailAccount](), "Voicemail", "updateAccount", "account", id, "getAccount", id},
		{reflect.TypeFor[ngnpro.CustomerAccount](), "Customer", "updateAccount", "account", "<id>" + customer + "</id>", "getAccount", "<id>" + customer + "</id>"},
	} {
		for _, s := range hostile {
			names, params := fields(c.record, s)
			for i, name := range names {
				if strings.Contains(c.key, "<"+name+">") || c.port == "Customer" && (name == "username" || name == "password") {
					continue
				}
				b, code := admin.call(c.port, c.op, "<"+c.outer+">"+c.key+params[i]+"</"+c.outer+">")
				switch code {
				case "0":
					kept++
					got := texts(t, admin.must(c.port, c.get, c.of))
					if trimmed := strings.TrimSpace(s); trimmed != "" && !strings.Contains(got, "\x00"+trimmed+"\x00") && !strings.Contains(got, "\x00"+s+"\x00") {
						t.Errorf("%s.%s = %q is not kept", c.op, name, s)
					}
				case "3":
					refused++
				default:
					t.Errorf("%s.%s = %q: %s", c.op, name, s, b)
				}
			}
		}
	}
	if kept < 100 || refused < 100 {
		t.Errorf("%d kept, %d refused", kept, refused)
	}
	for _, s := range hostile {
		names, params := fields(reflect.TypeOf(ngnpro.SipQuery{}.Filter), s)
		for i := range names {
			if b, code := admin.call("Sip", "getAccounts", "<query><filter>"+params[i]+"</filter></query>"); code != "0" && code != "3" {
				t.Errorf("filter %s %q: %s", names[i], s, b)
			}
		}
	}
	admin.must("Sip", "getAccount", id)
}

// texts are all texts of an answer, each between NULs.
func texts(t *testing.T, s string) string {
	t.Helper()
	var b strings.Builder
	b.WriteByte(0)
	d := xml.NewDecoder(strings.NewReader(s))
	for {
		tok, err := d.Token()
		if err == io.EOF {
			return b.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		if c, ok := tok.(xml.CharData); ok {
			b.Write(c)
			b.WriteByte(0)
		}
	}
}
