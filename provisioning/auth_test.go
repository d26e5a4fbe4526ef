package provisioning_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"thor/provisioning"
)

func TestChangedCustomerHasToLogInAgain(t *testing.T) {
	s := newServer(t, populated(t))
	read := func(password string) string {
		return answerTo(t, s, loginBlock("customer1", password, ""), "Sip", "getAccount", aliceID)
	}
	if got := read("pw-customer1"); got != "" {
		t.Fatalf("not logged in: %s", got)
	}
	change := `<account><id>102</id><reseller>101</reseller><username>customer1</username><password>new</password></account>`
	if got := answerTo(t, s, authBlock, "Customer", "updateAccount", change); got != "" {
		t.Fatal(got)
	}
	if got := read("pw-customer1"); got != "1" {
		t.Errorf("the old password: %q", got)
	}
	if got := read("new"); got != "" {
		t.Errorf("the new password: %s", got)
	}
}

// The kind of caller is checked before existence, after the form.
func TestTrustedPeersAreNotForCustomers(t *testing.T) {
	s := newServer(t, populated(t))
	for _, op := range []string{"addTrustedPeer", "updateTrustedPeer"} {
		for params, code := range map[string]string{"<peer><ip>192.0.2.1</ip></peer>": "2", "<peer><ip>nonsense</ip></peer>": "3"} {
			if got := answerTo(t, s, loginBlock("customer1", "pw-customer1", ""), "Sip", op, params); got != code {
				t.Errorf("%s by a customer: %q, want %s", op, got, code)
			}
		}
	}
	if got := answerTo(t, s, loginBlock("reseller1", "pw-reseller1", ""), "Sip", "updateTrustedPeer", "<peer><ip>192.0.2.1</ip></peer>"); got != "1040" {
		t.Errorf("updateTrustedPeer by a reseller: %q", got)
	}
}

func TestRefusedLoginsAreCounted(t *testing.T) {
	cfg := config(t, populated(t))
	registry := prometheus.NewRegistry()
	cfg.Metrics = registry
	s, err := provisioning.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	tries := 0.0
	for ; !limited(t, s); tries++ {
		if tries > 30 {
			t.Fatal("wrong passwords are not limited")
		}
	}
	counts := make(map[string]float64)
	fs, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fs {
		for _, m := range f.GetMetric() {
			if f.GetName() == "thor_provisioning_refused_logins_total" {
				counts[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	if counts["wrong"] != tries+1 || counts["limited"] != 1 {
		t.Errorf("counted after %v tries: %v", tries, counts)
	}
}

// limited makes a wrong login.
func limited(t *testing.T, s *provisioning.Server) bool {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("POST", "/", strings.NewReader(strings.Replace(request("getAccount", aliceID), "s3cret", "wrong", 1))))
	if !strings.Contains(w.Body.String(), "<errorcode>1</errorcode>") {
		t.Fatal(w.Body)
	}
	return strings.Contains(w.Body.String(), "too many wrong passwords")
}
