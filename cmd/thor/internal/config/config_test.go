package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"thor/cmd/thor/internal/config"
)

const network = `[network]
domain = "example.net"
brokers = ["tls://192.0.2.1:4222"]
certificate = "n.crt"
key = "n.key"
ca = "ca.crt"
state = "state"
`

func write(t *testing.T, text string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), "thor.toml")
	rewrite(t, p, text)
	return p
}

func rewrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDefaultsAndRelativePaths(t *testing.T) {
	p := write(t, network+`
[[node.role]]
role = "sip_proxy"
attrs = { control_port = 25061, site = "ams" }
[[node.role.check]]
kind = "sip"
target = "192.0.2.1:5060"
interval = "500ms"
`)
	f, err := config.Load(p)
	if err != nil {
		t.Fatal(err)
	}
	c := f.Node.Roles[0].Checks[0]
	if c.Timeout != 500*time.Millisecond || c.Rise != 2 || c.Fall != 2 {
		t.Errorf("check defaults: %+v", c)
	}
	if f.Network.Cert != filepath.Join(filepath.Dir(p), "n.crt") {
		t.Errorf("certificate %q", f.Network.Cert)
	}
	if f.Node.Roles[0].Attrs["control_port"] != "25061" {
		t.Errorf("attrs %v", f.Node.Roles[0].Attrs)
	}
}

func TestAllProblemsAreReportedAtOnceWithTheirLine(t *testing.T) {
	p := write(t, network+`http = "127.0.0.1:70000"
colour = "blue"

[[node.role]]
role = "sip_proxy"
priority = "ten"

[[node.role]]
role = "Sip Proxy"
weight = -1
  [[node.role.check]]
  kind = "sip"
  target = "192.0.2.1"
  interval = 2
  [[node.role.check]]
  kind = "snmp"

[dns]
listen = ["127.0.0.1:0"]
slice = 9
addresses = ["nowhere"]
[manager]
dead = "-3s"
grace = "5 parsecs"
`)
	_, err := config.Load(p)
	var ps config.Problems
	if !errors.As(err, &ps) {
		t.Fatalf("got %v", err)
	}
	got := make(map[string]int)
	for _, x := range ps {
		got[x.Key] = x.Line
	}
	for key, line := range map[string]int{
		"network.http": 8, "network.colour": 9,
		"node.role[0].priority":          13,
		"node.role[1].role":              16,
		"node.role[1].weight":            17,
		"node.role[1].check[0].target":   20,
		"node.role[1].check[0].interval": 21,
		"node.role[1].check[1].kind":     23,
		"dns.listen[0]":                  26,
		"dns.slice":                      27,
		"dns.addresses[0]":               28,
		"manager.dead":                   30,
		"manager.grace":                  31,
	} {
		if got[key] != line {
			t.Errorf("%s: line %d, want %d", key, got[key], line)
		}
	}
	if len(ps) != 13 {
		t.Errorf("%d problems:\n%v", len(ps), err)
	}
	for l := range strings.SplitSeq(err.Error(), "\n") {
		if !strings.HasPrefix(l, p+":") {
			t.Errorf("line without a place: %s", l)
		}
	}
}

func TestAProblemInAListPointsAtItsOwnLine(t *testing.T) {
	_, ps := config.Examine(write(t, network+`
[dns]
listen = [ # both families
  "127.0.0.1:53",
  # and this
  "[::1]:0", "nowhere",
]
`))
	if len(ps) != 2 || ps[0].Line != 13 || ps[0].Key != "dns.listen[1]" || ps[1].Line != 13 || ps[1].Key != "dns.listen[2]" {
		t.Error(ps)
	}
}

func TestFilesThatCannotBeReadSayWhy(t *testing.T) {
	dir := t.TempDir()
	loop := filepath.Join(dir, "loop")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	big := filepath.Join(dir, "big")
	if err := os.WriteFile(big, make([]byte, config.MaxSize+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "absent"):      "no such file",
		dir:                               "is a directory",
		loop:                              "symbolic links",
		big:                               "larger than",
		write(t, "  \n"):                  "is empty",
		write(t, "\xef\xbb\xbf[network]"): "byte order mark",
		write(t, "[network\n"):            ":1: ",
		write(t, "[network]\ndomain = \"a\"\ndomain = \"b\"\n"): ":3",
		write(t, network): "no daemon's section",
	} {
		_, err := config.Load(path)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", filepath.Base(path), err, want)
		}
	}
}

func TestTypoGetsASuggestion(t *testing.T) {
	_, err := config.Load(write(t, strings.Replace(network, "domain", "domian", 1)+"[manager]\n"))
	if err == nil || !strings.Contains(err.Error(), `did you mean "domain"`) {
		t.Errorf("got %v", err)
	}
}

func TestEnvironmentOverridesTheFile(t *testing.T) {
	t.Setenv("THOR_BROKERS", "tls://192.0.2.7:4222,tls://192.0.2.8:4222")
	f, err := config.Load(write(t, network+"[manager]\n"))
	if err != nil || len(f.Network.Brokers) != 2 {
		t.Fatalf("%v %v", f, err)
	}
}

// The unit of the node agent names the socket that it hands over: in the
// environment, and only a key in the file counts before that.
func TestKeysThatTheEnvironmentSets(t *testing.T) {
	t.Setenv("THOR_SOCKET", "/run/x/node.sock")
	for keys, want := range map[string]string{"": "/run/x/node.sock", "socket = \"\"\n": "", "socket = \"/run/y.sock\"\n": "/run/y.sock"} {
		f, ps := config.Examine(write(t, network+"[node]\n"+keys))
		if f == nil || f.Node.Socket != want {
			t.Errorf("%q: %+v, %v", keys, f, ps)
		}
	}
}

func TestExamineGivesTheFileWithItsProblems(t *testing.T) {
	f, ps := config.Examine(write(t, network+"[dns]\nlisten = [\"127.0.0.1:53\"]\nslice = 9\nnope = 1\n"))
	if f == nil || f.DNS.Server.Zone.TTL.Role != 10*time.Second || len(ps) != 2 {
		t.Fatalf("%v, %v", f, ps)
	}
	for key, want := range map[string]bool{"dns.slice": true, "dns.slice.x": true, "dns.slices": false, "dns": false, "dns.ttl": false} {
		if ps.Has(key) != want {
			t.Errorf("Has(%s) is not %v", key, want)
		}
	}
	if f, ps := config.Examine(write(t, "[")); f != nil || len(ps) != 1 {
		t.Errorf("no TOML: %v, %v", f, ps)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(network + "[manager]\n")
	f.Add("[[node.role]]\nrole='x'\n[[node.role.check]]\nkind='sip'\n[node.role.attrs]\na=1")
	f.Fuzz(func(t *testing.T, s string) {
		p := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(p, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
		if c, err := config.Load(p); (c == nil) == (err == nil) {
			t.Errorf("config %v, error %v", c, err)
		}
	})
}

func TestProvisioningSection(t *testing.T) {
	p := write(t, network+`
[provisioning]
admin = "admin"
admin_password_file = "secret"
[provisioning.database]
uri = "mysql://thor@192.0.2.1/thor"
`)
	f, err := config.Load(p)
	if err != nil {
		t.Fatal(err)
	}
	c := f.Provisioning
	if c.Server.Listen != ":9200" || c.Store.Proxy != "kamailio" || c.Store.ForgetPasswords || c.Push.Cleared != nil ||
		c.AdminPasswordFile != filepath.Join(filepath.Dir(p), "secret") || f.Listens()["provisioning.listen"] != ":9200" {
		t.Errorf("%+v", c)
	}
	_, err = config.Load(write(t, network+`
[provisioning]
listen = "9200"
url = "http://ngnpro.example.net"
admin = "admin"
tls_key = "x"
cleared = ["Sip Proxy"]
proxy = "asterisk"
[provisioning.database]
user = "thor"
`))
	var ps config.Problems
	if !errors.As(err, &ps) {
		t.Fatal(err)
	}
	for _, want := range []string{
		":10: provisioning.listen: ", ":11: provisioning.url: ", ":12: provisioning.admin: stands without", ":13: provisioning.tls_key: stands without",
		":14: provisioning.cleared[0]: ", ":15: provisioning.proxy: ", ":16: provisioning.database.uri: is missing", ":17: provisioning.database.user: unknown key",
	} {
		if !strings.Contains(ps.Error(), want) {
			t.Errorf("no problem %s in\n%v", want, ps)
		}
	}
}

func TestSubscribersAreGivenOnLoopbackOnly(t *testing.T) {
	const role = "[[node.role]]\nrole = \"sip_proxy\"\nkamailio = \"http://127.0.0.1:5060/RPC\"\n"
	f, err := config.Load(write(t, network+"[node.subscribers]\n"+role))
	if err != nil {
		t.Fatal(err)
	}
	if s := f.Node.Subscribers; s.Max != 100_000 || s.Grace != time.Minute {
		t.Errorf("defaults: %+v", s)
	}
	for key, text := range map[string]string{
		"node.http":                   "[node]\nhttp = \"192.0.2.1:9501\"\n[node.subscribers]\n" + role,
		"node.subscribers":            "[node.subscribers]\n[[node.role]]\nrole = \"media_relay\"\n",
		"node.subscribers.max":        "[node.subscribers]\nmax = -1\n" + role,
		"node.subscribers.grace":      "[node.subscribers]\ngrace = \"10ms\"\n" + role,
		"node.role[0].check[0].full":  "[node.subscribers]\n" + role + "[[node.role.check]]\nkind = \"kamailio\"\nfull = 100\n",
		"node.role[0].check[0].weigh": "[node.subscribers]\n" + role + "[[node.role.check]]\nkind = \"command\"\ncommand = [\"/bin/true\"]\nweigh = true\n",
		"node.role[0].kamailio":       "[[node.role]]\nrole = \"sip_proxy\"\nkamailio = \"127.0.0.1:5060\"\n",
		"node.subscribers.maximum":    "[node.subscribers]\nmaximum = 1\n" + role,
	} {
		_, err := config.Load(write(t, network+text))
		var ps config.Problems
		if !errors.As(err, &ps) || !ps.Has(key) {
			t.Errorf("%s: %v", key, err)
		}
	}
	if _, err := config.Load(write(t, network+"[node]\nhttp = \"192.0.2.1:9501\"\n"+role)); err != nil {
		t.Errorf("without subscribers: %v", err)
	}
	f, err = config.Load(write(t, network+"[node.subscribers]\n"+role+"[[node.role.check]]\nkind = \"kamailio\"\nfull = 100\nreport_only = true\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c := f.Node.Roles[0].Checks[0]; c.Target != "http://127.0.0.1:5060/RPC" {
		t.Errorf("a check of the role's Kamailio asks %q", c.Target)
	}
}
