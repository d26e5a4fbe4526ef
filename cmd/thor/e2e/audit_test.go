//go:build e2e

package e2e_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// An auditEntry is a line of an audit log.
type auditEntry struct{ Node, Daemon, Who, Act, What, From, Outcome, Detail string }

// audited are the entries of all processes of the network, and of its authority.
func (n *network) audited(t *testing.T) (out []auditEntry, text string) {
	t.Helper()
	logs, _ := filepath.Glob(filepath.Join(n.dir, "*", "audit.log"))
	for _, l := range logs {
		b, err := os.ReadFile(l)
		if err != nil {
			t.Fatal(err)
		}
		text += string(b)
		for line := range strings.Lines(string(b)) {
			var e auditEntry
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Errorf("%s: %v: %s", l, err, line)
			}
			out = append(out, e)
		}
	}
	return out, text
}

// Every operator act on a whole network leaves its entry, and no secret does.
func TestOperatorActsAreAudited(t *testing.T) {
	need(t, "mariadbd", "mariadb-server")
	const canary = "c4n4ry-s3cret"
	n := startNetwork(t, "127.98", "--nodes", "3")
	c := n.soap(t)
	c.must(t, "Sip", "addDomain", "<domain><domain>example.com</domain></domain>")
	for _, user := range []string{"alice", "bob", "carol", "dave"} {
		c.must(t, "Sip", "addAccount", account(user, "example.com", "<password>"+canary+"</password>"))
	}
	if _, err := c.call("Sip", "deleteAccount", sipID("nobody", "example.com")); err == nil {
		t.Error("an account that is not there was deleted")
	}
	n.run(t, "drain", "node2")
	n.run(t, "resume", "node2", "--role", "sip_proxy")
	n.run(t, "ca", "renew", "dns1")
	if err := syscall.Kill(n.pid(t, "dns1"), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	n.run(t, "ca", "revoke", "node3")
	for _, want := range []auditEntry{
		{"provisioning1", "provisioning", "admin (administrator)", "soap", "Sip.addAccount alice@example.com", "127.", "ok", ""},
		{"provisioning1", "provisioning", "admin (administrator)", "soap", "Sip.deleteAccount nobody@example.com", "127.", "1010 ", ""},
		{"provisioning1", "provisioning", "node", "profile", "@example.com", "sip_proxy", "ok", ""},
		{"database1", "database", "provisioning1", "credentials", "127.98.13.1:", "provisioning_server", "ok", ""},
		{"node2", "node", "operator", "drain", "all roles of node2", "", "ok", ""},
		{"node2", "node", "operator", "resume", "sip_proxy of node2", "", "ok", ""},
		{"dns1", "dns", "local", "reload", filepath.Join(n.dir, "dns1", "thor.toml"), "", "ok", "changed: []"},
		{"", "ca", "", "renew", "node dns1 serial ", "", "ok", ""},
		{"", "ca", "", "revoke", "node3", "", "ok", ""},
		{"broker1", "broker", "", "revoke", "revocation list: ", "", "ok", ""},
		{"broker2", "broker", "", "revoke", "revocation list: ", "", "ok", ""},
		{"broker3", "broker", "", "revoke", "revocation list: ", "", "ok", ""},
	} {
		eventually(t, 20*time.Second, "an entry of "+want.Act+" "+want.What, func() bool {
			all, _ := n.audited(t)
			return slices.ContainsFunc(all, func(e auditEntry) bool {
				return e.Node == want.Node && e.Daemon == want.Daemon && strings.HasPrefix(e.Who, want.Who) && e.Act == want.Act &&
					strings.Contains(e.What, want.What) && strings.HasPrefix(e.From, want.From) && strings.HasPrefix(e.Outcome, want.Outcome) &&
					strings.Contains(e.Detail, want.Detail)
			})
		})
	}
	_, text := n.audited(t)
	password, err := os.ReadFile(n.SOAP.PasswordFile)
	if err != nil {
		t.Fatal(err)
	}
	database, err := os.ReadFile(filepath.Join(n.dir, "database1", "password"))
	if err != nil {
		t.Fatal(err)
	}
	for what, secret := range map[string]string{"subscriber": canary, "administrator": strings.TrimSpace(string(password)), "database": strings.TrimSpace(string(database))} {
		if secret == "" || strings.Contains(text, secret) {
			t.Errorf("the password of the %s is in an audit log", what)
		}
	}

	// A run that crashed with more nodes leaves nothing in the status of the next.
	n.control(t, "stop", "node3")
	if err := n.up.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = n.up.Wait() // killed
	n.launch(t, "127.98", "--nodes", "1")
	st := n.soap(t).must(t, "Network", "getStatus", "")
	if !strings.Contains(st, `"node1"`) || strings.Contains(st, `"node2"`) {
		t.Errorf("ready, and the status is %s", st)
	}
}
