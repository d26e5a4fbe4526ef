package examine

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"thor/cmd/thor/internal/config"
	"thor/identity"
	"thor/subjects"
)

const head = `[network]
domain = "example.net"
brokers = ["tls://192.0.2.1:4222"]
certificate = "n1.crt"
key = "n1.key"
ca = "ca/ca.crt"
state = "state"
`

// host makes a directory with an authority, and a certificate of n1 with roles
// and the address 192.0.2.10.
func host(t *testing.T, roles ...subjects.Role) (dir string) {
	t.Helper()
	dir = t.TempDir()
	a, err := identity.Init(filepath.Join(dir, "ca"), "example.net", identity.InitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := a.Issue(identity.Request{
		Node: "n1", Roles: roles, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.10")}, Validity: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "n1.crt"), string(cert))
	write(t, filepath.Join(dir, "n1.key"), string(key))
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// config1 writes a configuration beside the certificate.
func config1(t *testing.T, dir, text string) (path string) {
	t.Helper()
	path = filepath.Join(dir, "thor.toml")
	write(t, path, head+text)
	return path
}

// told are the problems as key: text.
func told(ps config.Problems) (out []string) {
	for _, p := range ps {
		out = append(out, p.Key+": "+p.Text)
	}
	return out
}

func TestWhatTheCertificateDoesNotAllowIsFound(t *testing.T) {
	dir := host(t, subjects.SIPProxy, subjects.Manager)
	for text, want := range map[string][]string{
		"[manager]\n": nil,
		"[manager]\naddresses = [\"192.0.2.11\"]\n":     {"manager: the certificate of n1 does not hold the address 192.0.2.11: issue one with --ip 192.0.2.11"},
		"[dns]\nlisten = [\"192.0.2.10:53\"]\n":         {"dns: the certificate of n1 does not carry the role thor_dnsmanager: issue one with --role thor_dnsmanager"},
		"[node]\n[[node.role]]\nrole = \"sip_proxy\"\n": nil,
		"[node]\n[[node.role]]\nrole = \"media_relay\"\n": {
			"node.role[0]: not in the certificate of n1, which holds [sip_proxy thor_manager]",
		},
		"[database]\nuri = \"mysql://thor@192.0.2.10/thor\"\n": {
			"database: the certificate of n1 does not carry the role thor_database: issue one with --role thor_database",
		},
		"[broker]\nlisten = \"192.0.2.10:4222\"\n": {
			"broker: the certificate of n1 does not carry the role thor_eventserver: issue one with --role thor_eventserver",
		},
	} {
		r := All(config1(t, dir, text))
		if got := told(r.Problems); !slices.Equal(got, want) {
			t.Errorf("%s\n got %q\nwant %q", text, got, want)
		}
		if r.File == nil || r.Credentials == nil {
			t.Errorf("%s: the file or its credentials are missing", text)
		}
	}
}

// The mistakes of another daemon's section are told apart: they are no reason
// to refuse the file.
func TestOtherSectionsAreNoReasonToRefuseAFile(t *testing.T) {
	path := config1(t, host(t, subjects.Manager), "[manager]\n[dns]\nlisten = [\"nowhere\"]\n")
	r := Daemon(path, "manager", nil)
	if len(r.Problems) > 0 || len(r.Others) != 1 || r.Others[0].Key != "dns.listen[0]" {
		t.Errorf("%q, others %q", told(r.Problems), told(r.Others))
	}
	if r := Daemon(path, "dns", nil); len(r.Problems) != 2 || len(r.Others) > 0 {
		t.Errorf("for dns: %q, others %q", told(r.Problems), told(r.Others))
	}
	if r := Daemon(path, "broker", nil); len(r.Problems) != 1 || r.Problems[0].Text != "has no [broker] section" {
		t.Errorf("for broker: %q", told(r.Problems))
	}
}

func TestFilesThatCannotBeReadAreFoundAtTheirKeys(t *testing.T) {
	dir := host(t, subjects.SIPProxy, subjects.Database, subjects.ProvisioningServer)
	path := config1(t, dir, `[[node.role]]
role = "sip_proxy"
[[node.role.check]]
kind = "http"
target = "https://127.0.0.1/"
ca = "absent.crt"
[[node.role.check]]
kind = "register"
target = "127.0.0.1:5060"
account = "probe@example.net"
password_file = "absent"
[database]
uri = "mysql://thor@192.0.2.10/thor"
password_file = "absent"
[provisioning]
listen = "192.0.2.10:9200"
admin = "admin"
admin_password_file = "absent"
`)
	for section, want := range map[string][]string{
		"":             {"node.role[0].check[0].ca", "node.role[0].check[1].password_file", "database.password_file", "provisioning.admin_password_file"},
		"node":         {"node.role[0].check[0].ca"},
		"database":     nil, // it may come
		"provisioning": {"provisioning.admin_password_file"},
	} {
		var keys []string
		for _, p := range Daemon(path, section, nil).Problems {
			keys = append(keys, p.Key)
		}
		if !slices.Equal(keys, want) {
			t.Errorf("[%s]: %q, want %q", section, keys, want)
		}
	}
	for name, key := range map[string]string{"n1.crt": "network.certificate", "n1.key": "network.key", "ca/ca.crt": "network.ca"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), "no certificate")
		r := Daemon(path, "node", nil)
		if len(r.Problems) == 0 || r.Problems[0].Key != key || r.Credentials != nil {
			t.Errorf("%s: %q", name, told(r.Problems))
		}
		write(t, filepath.Join(dir, name), string(b))
	}
}

// What the file itself has a problem with is not told a second time by the
// package behind the section; the decision needs no files.
func TestAProblemIsToldOnce(t *testing.T) {
	f, known := config.Examine(config1(t, t.TempDir(), "[manager]\ndead = \"-3s\"\n[dns]\nlisten = [\"192.0.2.10:53\"]\nttl = \"-1s\"\n"))
	if f == nil || len(known) == 0 {
		t.Fatalf("%v", known)
	}
	unread := config.Problems{f.Problem("dns.ttl", "again"), f.Problem("network.ca", "not there")}
	got := told(problems(&input{file: f, known: known, unread: unread}))
	if len(got) != len(known)+1 || !slices.Contains(got, "network.ca: not there") || strings.Contains(strings.Join(got, "\n"), "again") {
		t.Errorf("%q\nof %q", got, told(known))
	}
	if !slices.Equal(told(unread), []string{"dns.ttl: again", "network.ca: not there"}) || len(known) != len(got)-1 {
		t.Error("the input was changed")
	}
}

func TestOneDomain(t *testing.T) {
	dir := host(t, subjects.Manager)
	path := filepath.Join(dir, "thor.toml")
	write(t, path, strings.Replace(head, "example.net", "example.org", 1)+"[manager]\n")
	want := `network.domain: is "example.org", but the certificate is for "example.net"`
	if got := told(All(path).Problems); !slices.Equal(got, []string{want}) {
		t.Errorf("%q", got)
	}
	held := All(config1(t, dir, "[manager]\n")).Credentials
	write(t, path, strings.Replace(head, "n1.crt", "absent.crt", 1)+"[manager]\n")
	if r := Daemon(path, "manager", held); len(r.Problems) > 0 {
		t.Errorf("with the credentials in use: %q", told(r.Problems))
	}
}

func TestNoFile(t *testing.T) {
	r := All(filepath.Join(t.TempDir(), "absent.toml"))
	if r.File != nil || len(r.Problems) != 1 || r.Problems[0].Text != "no such file" {
		t.Errorf("%+v", r)
	}
}
