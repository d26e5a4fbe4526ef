package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"thor/cmd/thor/internal/config"
	"thor/identity"
	"thor/overlay/audit"
	"thor/subjects"
)

// restingDaemon is one that does not run, with a certificate of all roles that daemons
// have. body is its file below [network].
func restingDaemon(t *testing.T, ca *identity.Authority, section, body string) *daemon {
	t.Helper()
	dir := t.TempDir()
	cert, key, err := ca.Issue(identity.Request{
		Node: "n1", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")},
		Roles: []subjects.Role{subjects.EventServer, subjects.Manager, subjects.DNSManager, subjects.Database, subjects.ProvisioningServer, subjects.SIPProxy, subjects.Monitor},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"n1.crt": cert, "n1.key": key, "ca.crt": ca.CertificatePEM(),
		"thor.toml": []byte("[network]\ndomain = \"example.net\"\nbrokers = [\"tls://192.0.2.1:4222\"]\ncertificate = \"n1.crt\"\nkey = \"n1.key\"\nca = \"ca.crt\"\nstate = \"state\"\n" + body),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := config.Load(filepath.Join(dir, "thor.toml"))
	if err != nil {
		t.Fatal(err)
	}
	creds, err := identity.Load(identity.Files{Cert: f.Network.Cert, Key: f.Network.Key, CA: f.Network.CA})
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{section: section, file: f, creds: creds, audit: new(audit.Log)}
	d.measure()
	return d
}

// testAuthority makes certificates of example.net.
func testAuthority(t *testing.T) *identity.Authority {
	t.Helper()
	ca, err := identity.Init(filepath.Join(t.TempDir(), "ca"), "example.net", identity.InitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// observed is a manager, whose file says more, and its log.
func observed(t *testing.T, more string) (*daemon, *bytes.Buffer) {
	t.Helper()
	var said bytes.Buffer
	d := restingDaemon(t, testAuthority(t), "manager", "[manager]\n"+more)
	d.log = zerolog.New(&said)
	return d, &said
}

func page(t *testing.T, h http.Handler, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

// starting is a part that is not ready yet.
type starting struct{ steady }

func (starting) Ready() <-chan struct{} { return make(chan struct{}) }

func TestPagesOfADaemon(t *testing.T) {
	d, _ := observed(t, "")
	d.health = func() []string { return []string{"<i>lost</i>"} }
	h := d.pages(steady{})
	for path, want := range map[string]string{
		"/":        "Ready, degraded:</strong></p>\n<ul><li>&lt;i&gt;lost&lt;/i&gt;</li></ul>",
		"/readyz":  `{"ready":true,"reasons":["\u003ci\u003elost\u003c/i\u003e"]}`,
		"/livez":   `{"ready":true,"reasons":[]}`,
		"/metrics": `thor_build_info{daemon="manager",goversion="go1.`,
	} {
		if code, body := page(t, h, path); code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	if _, body := page(t, h, "/"); !strings.Contains(body, "<h1>thor manager</h1>\n<p>Node n1 of example.net") {
		t.Errorf("%s", body)
	}
	if code, body := page(t, d.pages(starting{}), "/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, `{"ready":false,"reasons":["starting"]}`) {
		t.Errorf("%d %s", code, body)
	}
	if code, _ := page(t, h, "/etc"); code != http.StatusNotFound {
		t.Errorf("a page that there is not: %d", code)
	}
}

// Two daemons of one kind on a machine that name no addresses: the second works, and
// has its metrics as soon as the first is gone. A configured address must be free.
func TestADefaultAddressThatIsTakenDoesNotEndADaemon(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := taken.Addr().String()

	d, _ := observed(t, "http = \""+address+"\"\n")
	var g errgroup.Group
	if err := d.observe(t.Context(), &g, steady{}); err == nil || !strings.Contains(d.locate(err).Error(), "manager.http: listen tcp "+address) {
		t.Errorf("of the file: %v", err)
	}

	d, said := observed(t, "")
	d.file.Manager.HTTP = address // as if it were the default
	ctx, cancel := context.WithCancel(t.Context())
	defer func() {
		cancel()
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
	}()
	if err := d.observe(ctx, &g, steady{}); err != nil || !strings.Contains(said.String(), "the default address is taken") {
		t.Errorf("the default: %v, %s", err, said)
	}
	taken.Close()
	d.serveLater(ctx, &g, address, time.Millisecond, steady{})
	r, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if b, _ := io.ReadAll(r.Body); !strings.Contains(string(b), "thor_ready 1\n") || !strings.Contains(string(b), "thor_degraded_reasons 0\n") {
		t.Errorf("%s", b)
	}
}
