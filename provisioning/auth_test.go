package provisioning_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"thor/provisioning"
	"thor/provisioning/ngnpro"
)

// login posts a call with credentials from an address and reports the answer's body.
func login(s *provisioning.Server, from, user, password, rest string) string {
	body := `<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Header><auth><username>` + user + `</username><password>` + password +
		`</password>` + rest + `</auth></e:Header><e:Body><n:getAccount xmlns:n="urn:AGProjects:NGNPro:Sip">` + aliceID +
		`</n:getAccount></e:Body></e:Envelope>`
	r := httptest.NewRequest("POST", "/", strings.NewReader(body))
	r.RemoteAddr = from + ":40000"
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Body.String()
}

func newServer(t *testing.T, f *fakeStore) *provisioning.Server {
	t.Helper()
	s, err := provisioning.New(config(t, f.records()))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestChangedCustomerHasToLogInAgain(t *testing.T) {
	f := populated(t)
	s := newServer(t, f)
	if !strings.Contains(login(s, "192.0.2.1", "customer1", "pw-customer1", ""), "Alice") {
		t.Fatal("not logged in")
	}
	body := strings.ReplaceAll(request("updateAccount", `<account><id>102</id><reseller>101</reseller><username>customer1</username><password>new</password></account>`), ":Sip", ":Customer")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("POST", "/", strings.NewReader(body)))
	if w.Code != 200 {
		t.Fatal(w.Body)
	}
	if strings.Contains(login(s, "192.0.2.1", "customer1", "pw-customer1", ""), "Alice") {
		t.Error("the old password still works")
	}
	if !strings.Contains(login(s, "192.0.2.1", "customer1", "new", ""), "Alice") {
		t.Error("the new password does not work")
	}
}

func TestWrongPasswordsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := populated(t)
		s := newServer(t, f)
		for range 30 {
			login(s, "192.0.2.1", "customer1", "wrong", "")
		}
		if f.logins > 11 {
			t.Errorf("the store was asked %d times", f.logins)
		}
		limited := func(from, user, pw string) bool { return !strings.Contains(login(s, from, user, pw, ""), "Alice") }
		if !limited("192.0.2.1", "customer1", "pw-customer1") {
			t.Error("the right password ends the limit: then it is none")
		}
		if limited("192.0.2.2", "customer1", "pw-customer1") || limited("192.0.2.1", "reseller1", "pw-reseller1") {
			t.Error("another address or another user is limited too")
		}
		time.Sleep(time.Minute)
		if limited("192.0.2.1", "customer1", "pw-customer1") {
			t.Error("still limited after a minute")
		}
	})
}

// MySQL compares without the blanks at the end: each spelling would have a limit
// of its own.
func TestNamesWithBlanksAreNobody(t *testing.T) {
	f := populated(t)
	s := newServer(t, f)
	for _, user := range []string{"customer1 ", "customer1  ", " customer1", "customer1\t"} {
		login(s, "192.0.2.1", user, "pw-customer1", "")
	}
	if f.logins > 0 {
		t.Errorf("the store was asked %d times", f.logins)
	}
}

func TestOneAddressTryingManyUsersIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := populated(t)
		s := newServer(t, f)
		s.OnCheck(func([]byte) {})
		for i := range 300 {
			login(s, fmt.Sprintf("[2001:db8::%x]", i+1), fmt.Sprintf("user%d", i), "wrong", "") // of one /64
		}
		if f.logins > 101 {
			t.Errorf("the store was asked %d times", f.logins)
		}
	})
}

func TestAdministratorsAreLimitedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, populated(t))
		s.OnCheck(func([]byte) {})
		for range 11 {
			login(s, "192.0.2.1", adminUser, "guess", "<admin>true</admin>")
		}
		if b := login(s, "192.0.2.1", adminUser, "guess", "<admin>true</admin>"); !strings.Contains(b, "too many") {
			t.Error(b)
		}
	})
}

func TestNewAdministratorsEndTheOldOnes(t *testing.T) {
	s := newServer(t, populated(t))
	if err := s.SetAdmins([]provisioning.Admin{{User: "root", Password: "one"}, {User: "ops", Password: "two"}}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		user, pw, rest string
		want           bool
	}{
		{adminUser, "s3cret &amp; &lt;sûre&gt;", "<admin>true</admin>", false},
		{"root", "one", "<admin>true</admin>", true},
		{"ops", "two", "<admin>1</admin>", true},
		{"ops", "two", "", true},
		{"ops", "one", "<admin>true</admin>", false},
		{"root", "", "<admin>true</admin>", false},
		{"", "", "<admin>true</admin>", false},
		{"ops", "two", "<admin>perhaps</admin>", false},
	} {
		if ok := strings.Contains(login(s, "192.0.2.1", c.user, c.pw, c.rest), "Alice"); ok != c.want {
			t.Errorf("%+v: %v", c, ok)
		}
	}
}

func TestCustomersHaveNobodyTrusted(t *testing.T) {
	s := newServer(t, populated(t))
	call := func(op, user string) string {
		auth := "<auth><username>" + user + "</username><password>pw-" + user + "</password></auth>"
		body := strings.Replace(request(op, "<peer><ip>192.0.2.1</ip></peer>"), authBlock, auth, 1)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest("POST", "/", strings.NewReader(body)))
		return w.Body.String()
	}
	for _, op := range []string{"addTrustedPeer", "updateTrustedPeer"} {
		if b := call(op, "customer1"); !strings.Contains(b, "<errorcode>2</errorcode>") {
			t.Errorf("%s by a customer: %s", op, b)
		}
		if b := call(op, "reseller1"); strings.Contains(b, "Fault") {
			t.Errorf("%s by a reseller: %s", op, b)
		}
	}
}

func TestPasswordsThatWaitAreNoOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		cfg := config(t, populated(t).records())
		cfg.Store.Customers = slowLogin{cfg.Store.Customers}
		cfg.Log = zerolog.New(&log)
		s, err := provisioning.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		var g sync.WaitGroup
		for i := range 8 {
			g.Go(func() {
				login(s, fmt.Sprintf("192.0.2.%d", i), "customer1", "pw-customer1", "")
			})
		}
		g.Wait()
		if strings.Contains(log.String(), "the store fails") {
			t.Errorf("%s", log.String())
		}
	})
}

// slowLogin takes long for a name, whoever waits.
type slowLogin struct{ provisioning.Customers }

func (s slowLogin) Credentials(ctx context.Context, user string) (*ngnpro.CustomerAccount, string, error) {
	time.Sleep(time.Minute)
	return s.Customers.Credentials(context.WithoutCancel(ctx), user)
}

func TestNoWSDLBeforeTheAddressIsKnown(t *testing.T) {
	w := httptest.NewRecorder()
	newServer(t, populated(t)).ServeHTTP(w, httptest.NewRequest("GET", "/wsdl", nil))
	if w.Code != 503 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
