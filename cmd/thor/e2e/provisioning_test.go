//go:build e2e

package e2e_test

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"thor/subjects"
)

// soapClient calls the provisioning server of a network as its administrator.
type soapClient struct {
	url, auth string
	http      *http.Client
}

func (n *network) soap(t testing.TB) *soapClient {
	t.Helper()
	if n.SOAP == nil {
		t.Fatal("network.json names no provisioning server")
	}
	password, err := os.ReadFile(n.SOAP.PasswordFile)
	if err != nil {
		t.Fatal(err)
	}
	return &soapClient{
		url: n.SOAP.URL, http: n.client(t, 20*time.Second),
		auth: fmt.Sprintf("<auth><username>%s</username><password>%s</password><admin>true</admin></auth>", n.SOAP.User, bytes.TrimSpace(password)),
	}
}

// call returns the body of the answer; a fault is an error.
func (c *soapClient) call(port, op, params string) (string, error) {
	body := `<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Header>` + c.auth + `</e:Header><e:Body><n:` + op +
		` xmlns:n="urn:AGProjects:NGNPro:` + port + `">` + params + `</n:` + op + `></e:Body></e:Envelope>`
	resp, err := c.http.Post(c.url, "text/xml; charset=utf-8", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %d %s", op, resp.StatusCode, b)
	}
	return string(b), err
}

// must calls and returns the result as text.
func (c *soapClient) must(t *testing.T, port, op, params string) string {
	t.Helper()
	b, err := c.call(port, op, params)
	if err != nil {
		t.Fatal(err)
	}
	var env struct {
		Body struct {
			Any struct {
				Return string `xml:"return"`
			} `xml:",any"`
		} `xml:"Body"`
	}
	if err := xml.Unmarshal([]byte(b), &env); err != nil {
		t.Fatal(err)
	}
	return env.Body.Any.Return
}

func account(name, domain, more string) string {
	return fmt.Sprintf("<account><id><username>%s</username><domain>%s</domain></id>%s</account>", name, domain, more)
}

func sipID(name, domain string) string {
	return fmt.Sprintf("<sipId><username>%s</username><domain>%s</domain></sipId>", name, domain)
}

// The provisioning server of a whole network, with a client of another
// project, while the server and its database die and come back.
func TestProvisioning(t *testing.T) {
	need(t, "mariadbd", "mariadb-server")
	php := need(t, "php", "php-cli")
	n := startNetwork(t, "127.92", "--nodes", "2")
	password, err := os.ReadFile(n.SOAP.PasswordFile)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(php, "../../../provisioning/testdata/interop/all.php", strings.TrimSuffix(n.SOAP.URL, "/"), n.Operator.CA,
		n.SOAP.User, strings.TrimSpace(string(password)), "plain", n.domain).CombinedOutput()
	if err != nil || !bytes.HasPrefix(out, []byte("ok ")) {
		t.Fatalf("%v: %s", err, out)
	}
	c := n.soap(t)
	if st := c.must(t, "Network", "getStatus", ""); !strings.Contains(st, `"node2":{"ip":"127.92.20.2","roles":["sip_proxy"]`) {
		t.Errorf("status %s", st)
	}
	c.must(t, "Sip", "addDomain", "<domain><domain>example.com</domain></domain>")
	c.must(t, "Sip", "addAccount", account("alice", "example.com", "<password>x</password>"))

	rotatePassword(t, n, c)
	c = n.soap(t)

	pid := n.pid(t, "mariadb")
	freeze := func(s syscall.Signal) {
		if err := syscall.Kill(pid, s); err != nil {
			t.Fatal(err)
		}
	}
	freeze(syscall.SIGSTOP)
	c.unavailable(t, "frozen", "frozen1")
	c.unavailable(t, "frozen", "frozen2") // on what is a new connection by now
	freeze(syscall.SIGCONT)
	n.back(t, c)
	n.kill9(t, "mariadb")
	c.unavailable(t, "dead", "dead1")
	n.control(t, "start", "mariadb")
	n.back(t, c)
	for _, user := range []string{"frozen1", "frozen2", "dead1"} { // all of it or, as the fault says, nothing
		c.must(t, "Sip", "addAccount", account(user, "example.com", "<password>x</password>"))
	}

	n.kill9(t, "provisioning1")
	eventually(t, 10*time.Second, "the dead server has left the network, or is suspect", func() bool {
		m := n.status().Member(subjects.ProvisioningServer, "provisioning1")
		return m == nil || m.State != subjects.Up
	})
	n.control(t, "start", "provisioning1")
	eventually(t, 30*time.Second, "it serves again", func() bool {
		_, err := c.call("Sip", "getAccount", sipID("alice", "example.com"))
		return err == nil
	})
	eventually(t, 30*time.Second, "it is a member again", func() bool {
		m := n.status().Member(subjects.ProvisioningServer, "provisioning1")
		return m != nil && m.State == subjects.Up && m.Attrs["port"] != ""
	})
}

// unavailable calls while the database is so: the fault that says it comes
// within 5 s.
func (c *soapClient) unavailable(t *testing.T, so, user string) {
	t.Helper()
	began := time.Now()
	_, err := c.call("Sip", "addAccount", account(user, "example.com", "<password>x</password>"))
	took := time.Since(began)
	if err == nil || !strings.Contains(err.Error(), "<errorcode>4</errorcode>") || took > 5*time.Second {
		t.Errorf("with a %s database, after %s: %v", so, took, err)
	}
	t.Logf("%6d ms  a fault from a %s database", took.Milliseconds(), so)
}

// back waits until the account of before is read again.
func (n *network) back(t *testing.T, c *soapClient) {
	t.Helper()
	eventually(t, 30*time.Second, "the account is there again", func() bool {
		b, err := c.call("Sip", "getAccount", sipID("alice", "example.com"))
		return err == nil && strings.Contains(b, "alice")
	})
}

// rotatePassword changes the administrator's password by SIGHUP; c has the old one.
func rotatePassword(t *testing.T, n *network, c *soapClient) {
	t.Helper()
	hup := func(password string, mode os.FileMode) {
		if err := os.WriteFile(n.SOAP.PasswordFile, []byte(password), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(n.SOAP.PasswordFile, mode); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(n.pid(t, "provisioning1"), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	hup("another\n", 0o644) // others may read it: refused
	log := func() string {
		b, _ := os.ReadFile(filepath.Join(n.dir, "provisioning1", "log"))
		return string(b)
	}
	eventually(t, 5*time.Second, "a password that others may read is refused", func() bool { return strings.Contains(log(), "chmod 600") })
	c.must(t, "Sip", "getAccount", sipID("alice", "example.com"))
	hup("another\n", 0o600)
	eventually(t, 5*time.Second, "the new password is in use", func() bool {
		_, err := n.soap(t).call("Sip", "getAccount", sipID("alice", "example.com"))
		return err == nil
	})
	if _, err := c.call("Sip", "getAccount", sipID("alice", "example.com")); err == nil || !strings.Contains(err.Error(), "<errorcode>1</errorcode>") {
		t.Errorf("the old password: %v", err)
	}
	for _, secret := range []string{"another", strings.TrimSuffix(strings.SplitN(c.auth, "<password>", 2)[1], "</password><admin>true</admin></auth>")} {
		if strings.Contains(log(), secret) {
			t.Errorf("a password is in the log")
		}
	}
}
