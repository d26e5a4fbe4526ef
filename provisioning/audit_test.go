package provisioning_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"thor/overlay/audit"
)

// A change is in the audit log before the client has its answer; a read is not,
// and no password ever is.
func TestWritesAreAuditedAndTheirSecretsAreNot(t *testing.T) {
	const canary = "c4n4ryPW"
	var log bytes.Buffer
	cfg := config(t, populated(t))
	cfg.Audit = audit.To(&log)
	s := start(t, cfg)
	customer := strings.NewReplacer("<username>"+adminUser, "<username>customer1", authBlock, loginBlock("customer1", "pw-customer1", ""))
	account := func(user string) string {
		return "<account><id><username>" + user + "</username><domain>example.com</domain></id><password>" + canary + "</password><email>" + user + "@example.org</email></account>"
	}
	alice := "<account><id><username>alice</username><domain>example.com</domain></id><password>" + canary + "</password></account>"
	for _, body := range []string{
		request("getAccount", aliceID),
		request("addAccount", account("bob")),
		request("addAccount", account("bob")),
		customer.Replace(request("updateAccount", alice)),
		strings.Replace(request("deleteAccount", aliceID), authBlock, loginBlock(adminUser, adminPassword, "102"), 1),
		strings.Replace(request("deleteAccount", aliceID), authBlock, loginBlock(adminUser, "wrong "+canary, ""), 1),
	} {
		s.post(t, strings.NewReader(body))
	}
	want := []string{
		"admin (administrator)|Sip.addAccount bob@example.com|ok",
		"admin (administrator)|Sip.addAccount bob@example.com|1011 SipAccountAlreadyExists",
		"customer1 (customer 102)|Sip.updateAccount alice@example.com|ok",
		"admin as customer 102|Sip.deleteAccount alice@example.com|ok",
	}
	var got []string
	for line := range bytes.Lines(log.Bytes()) {
		var e struct{ Who, Act, What, From, Outcome string }
		if err := json.Unmarshal(line, &e); err != nil || e.Act != audit.SOAP || e.From != "127.0.0.1" {
			t.Errorf("%s: %v", line, err)
		}
		got = append(got, e.Who+"|"+e.What+"|"+e.Outcome)
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if strings.Contains(log.String(), canary) {
		t.Errorf("a password is in the log:\n%s", log.String())
	}
}

// loginBlock is the auth header of another login.
func loginBlock(user, password, impersonate string) string {
	b := strings.NewReplacer("&", "&amp;", "<", "&lt;").Replace
	if impersonate != "" {
		impersonate = "<impersonate>" + impersonate + "</impersonate>"
	}
	return `<a:auth xmlns:a="urn:AGProjects:NGNPro"><username>` + b(user) + `</username><password>` + b(password) + `</password>` + impersonate + `</a:auth>`
}
