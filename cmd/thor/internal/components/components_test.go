package components_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"thor/cmd/thor/internal/components"
	"thor/cmd/thor/internal/config"
	"thor/identity"
	"thor/overlay/subscriber"
	"thor/subjects"
)

// parse is a file with [network] and text, which may name files that are not there.
func parse(t *testing.T, text string) *config.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "thor.toml")
	head := "[network]\ndomain = \"example.net\"\nbrokers = [\"tls://192.0.2.1:4222\"]\ncertificate = \"c\"\nkey = \"k\"\nca = \"a\"\nstate = \"s\"\n"
	if err := os.WriteFile(path, []byte(head+text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

var (
	own   = netip.MustParseAddr("192.0.2.1")
	other = netip.MustParseAddr("192.0.2.2")
	id    = &identity.Identity{Node: "n1", Domain: "example.net", Addresses: []netip.Addr{own}}
)

func keys(ps config.Problems) (out []string) {
	for _, p := range ps {
		out = append(out, p.Key)
	}
	return out
}

func TestRolesOfANode(t *testing.T) {
	f := parse(t, `[node.subscribers]
[[node.role]]
role = "sip_proxy"
attrs = {note = "x"}
[[node.role.check]]
kind = "http"
target = "https://192.0.2.1/"
ca = "absent.crt"
interval = "3s"
[[node.role]]
role = "media_relay"
addresses = ["192.0.2.2"]
weight = 50
`)
	for range 2 { // what is made of a file does not change it
		roles, ps := components.NodeRoles(f, id)
		if got := keys(ps); !slices.Equal(got, []string{"node.role[0].check[0].ca"}) {
			t.Errorf("problems at %q", got)
		}
		proxy, relay := roles[0], roles[1]
		if proxy.Role != subjects.SIPProxy || !slices.Equal(proxy.Addresses, id.Addresses) || proxy.Attrs["note"] != "x" ||
			proxy.Attrs[subscriber.Attr] != "cached" || proxy.Checks[0].Interval != 3*time.Second {
			t.Errorf("%+v", proxy)
		}
		if relay.Role != subjects.MediaRelay || !slices.Equal(relay.Addresses, []netip.Addr{other}) || relay.Weight != 50 || relay.Attrs[subscriber.Attr] != "" {
			t.Errorf("%+v", relay)
		}
		if f.Node.Roles[0].Attrs[subscriber.Attr] != "" {
			t.Error("the file was changed")
		}
	}
	f.Node.Subscribers = nil
	if roles, _ := components.NodeRoles(f, nil); roles[0].Attrs[subscriber.Attr] != "" || roles[0].Addresses != nil {
		t.Errorf("without subscribers and certificate: %+v", roles[0])
	}
}

func TestCandidatesTakeWhatTheSectionSays(t *testing.T) {
	f := parse(t, `[database]
priority = 20
[[database.candidate]]
uri = "mysql://thor@192.0.2.1/thor"
[[database.candidate]]
uri = "mysql://thor@192.0.2.2/thor"
priority = 30
addresses = ["192.0.2.2"]
ca = "absent.crt"
`)
	dc, at, ps := components.Databases(f, id)
	if !slices.Equal(at, []string{"database.candidate[0]", "database.candidate[1]"}) || !slices.Equal(keys(ps), []string{"database.candidate[1].ca"}) {
		t.Errorf("at %q, problems at %q", at, keys(ps))
	}
	a, b := dc.Databases[0], dc.Databases[1]
	if a.Priority != 20 || b.Priority != 30 || !slices.Equal(a.Addresses, id.Addresses) || !slices.Equal(b.Addresses, []netip.Addr{other}) {
		t.Errorf("%+v\n%+v", a, b)
	}
}

func TestFilesOfCertificates(t *testing.T) {
	dir := t.TempDir()
	a, err := identity.Init(filepath.Join(dir, "ca"), "example.net", identity.InitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, b []byte, mode os.FileMode) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cert, key, err := a.Issue(identity.Request{Node: "n1", Roles: []subjects.Role{subjects.SIPProxy}, Addresses: id.Addresses, Validity: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	_, foreign, err := a.Issue(identity.Request{Node: "n2", Roles: []subjects.Role{subjects.SIPProxy}, Addresses: id.Addresses, Validity: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	crt := write("n1.crt", cert, 0o644)
	if p, err := components.Roots(""); p != nil || err != nil {
		t.Errorf("no file: %v, %v", p, err)
	}
	if p, err := components.Roots(crt); p == nil || err != nil {
		t.Errorf("a certificate: %v", err)
	}
	if _, err := components.Roots(write("text", []byte("x"), 0o644)); err == nil || !strings.Contains(err.Error(), "no certificate in PEM") {
		t.Errorf("no certificate: %v", err)
	}
	if _, err := components.KeyPair(crt, write("n1.key", key, 0o600)); err != nil {
		t.Error(err)
	}
	for want, file := range map[string]string{
		"can be read by others": write("open.key", key, 0o644), "does not match": write("n2.key", foreign, 0o600), "does not exist": filepath.Join(dir, "none"),
	} {
		if _, err := components.KeyPair(crt, file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// Peers find the control port in the announcements of every role that says no other.
func TestTheControlPortIsAnnounced(t *testing.T) {
	const roles = "\n[[node.role]]\nrole = \"sip_proxy\"\n[[node.role.check]]\nkind = \"sip\"\ntarget = \"127.0.0.1:5060\"\n" +
		"[[node.role]]\nrole = \"xcap_server\"\nattrs = {control_port = 1234, note = \"x\"}\n[[node.role.check]]\nkind = \"sip\"\ntarget = \"127.0.0.1:5070\"\n"
	for control, want := range map[string][]string{
		"":                        {"", "1234"},
		"control = \":9503\"":     {"9503", "1234"},
		"control = \"[::]:9504\"": {"9504", "1234"},
	} {
		rs, ps := components.NodeRoles(parse(t, "[node]\n"+control+roles), id)
		if len(ps) > 0 || len(rs) != 2 {
			t.Fatalf("%v %v", rs, ps)
		}
		for i, r := range rs {
			if got := r.Attrs["control_port"]; got != want[i] {
				t.Errorf("%q: %s announces %q, not %q", control, r.Role, got, want[i])
			}
		}
		if rs[1].Attrs["note"] != "x" {
			t.Errorf("%q: other attributes are lost: %v", control, rs[1].Attrs)
		}
	}
}
