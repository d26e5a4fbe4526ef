package kamailio

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"thor/nodeagent/registrar"
	"thor/nodeagent/rpc"
	"thor/overlay"
	"thor/overlay/subscriber"
	"thor/subjects"
)

const patience = 20 * time.Second

func needs(t *testing.T, program, pkg string) string {
	t.Helper()
	p, err := exec.LookPath(program)
	if err == nil {
		return p
	}
	text := fmt.Sprintf("%s is not installed (Debian package %s)", program, pkg)
	if os.Getenv("CI") == "true" {
		t.Fatal(text)
	}
	t.Skip(text)
	return ""
}

const config = `#!KAMAILIO
debug=1
log_stderror=yes
children=1
tcp_children=2
auto_aliases=no
dns=no
rev_dns=no
tcp_accept_no_cl=yes
tcp_conn_wq_max=16777216
mpath="%s/"
listen=udp:%s
listen=tcp:%s
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "xhttp.so"
loadmodule "jsonrpcs.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "nathelper.so"
modparam("jsonrpcs", "transport", 1)
modparam("usrloc", "use_domain", 1)
modparam("nathelper|registrar", "received_avp", "$avp(s:rcv)")
request_route {
  if ($rm == "REGISTER") {
    if (nat_uac_test("1")) { fix_nated_register(); }
    save("location");
    exit;
  }
  sl_send_reply("405", "Method Not Allowed");
}
event_route[xhttp:request] {
  if ($hu == "/RPC") { jsonrpc_dispatch(); exit; }
  xhttp_reply("404", "Not Found", "text/plain", "");
}
`

// start runs a real Kamailio that lets everybody register.
func start(t *testing.T, addr string) {
	t.Helper()
	startWith(t, addr, config)
}

func startWith(t *testing.T, addr, config string) {
	t.Helper()
	program := needs(t, "kamailio", "kamailio")
	modules, err := filepath.Glob("/usr/lib*/*/kamailio/modules/xhttp.so")
	if err != nil || len(modules) == 0 {
		t.Skip("no Kamailio modules (Debian package kamailio)")
	}
	dir := t.TempDir()
	cfg := filepath.Join(dir, "kamailio.cfg")
	if err := os.WriteFile(cfg, fmt.Appendf(nil, config, filepath.Dir(modules[0]), addr, addr), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := exec.Command(program, "-f", cfg, "-DD", "-E", "-m", "64", "-M", "8", "-Y", dir, "-w", dir, "-P", filepath.Join(dir, "pid"))
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-done
		if t.Failed() {
			t.Logf("kamailio:\n%s", out.Bytes())
		}
	})
}

// A phone is a SIP client that registers.
type phone struct {
	t    *testing.T
	conn net.Conn
	seq  int
}

func newPhone(t *testing.T, addr string) *phone {
	t.Helper()
	c, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &phone{t: t, conn: c}
}

func (p *phone) register(aor, contact, agent string, expires int) {
	p.t.Helper()
	p.seq++
	q := fmt.Sprintf("REGISTER sip:example.net SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bKthor%d\r\nMax-Forwards: 70\r\n"+
		"From: <sip:%s>;tag=a%d\r\nTo: <sip:%s>\r\nCall-ID: %d@thor\r\nCSeq: %d REGISTER\r\nContact: <%s>\r\nUser-Agent: %s\r\nExpires: %d\r\nContent-Length: 0\r\n\r\n",
		p.conn.LocalAddr(), p.seq, aor, p.seq, aor, p.seq, p.seq, contact, agent, expires)
	for end := time.Now().Add(patience); time.Now().Before(end); { // it may be starting
		_, _ = p.conn.Write([]byte(q)) // refused while it starts
		_ = p.conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		b := make([]byte, 4096)
		if n, err := p.conn.Read(b); err == nil && strings.HasPrefix(string(b[:n]), "SIP/2.0 200") {
			return
		}
	}
	p.t.Fatalf("%s is not registered", aor)
}

// A desk calls what a node would be asked.
type desk map[string]func(context.Context, *overlay.Request) *subjects.Reply

func (d desk) Handle(role, verb string, h func(context.Context, *overlay.Request) *subjects.Reply) {
	d[role+"."+verb] = h
}

func (d desk) locations(t *testing.T, keys ...string) map[string][]subscriber.Contact {
	t.Helper()
	q := subscriber.LocationsRequest{V: 1, Keys: keys}
	r := d["_.locations"](t.Context(), &overlay.Request{Data: q.Encode()})
	l, err := subscriber.ParseLocations(r.Data)
	if err != nil || r.Code != "" {
		t.Fatalf("%+v %v", r, err)
	}
	return l.Contacts
}

func TestRegistrationsOfARealKamailio(t *testing.T) {
	const addr = "127.0.91.9:25070"
	start(t, addr)
	p := newPhone(t, addr)
	p.register("alice@one.example.net", "sip:alice@192.168.7.7:5071;transport=udp", `Thor "test" 1`, 600)
	p.register("alice@one.example.net", "sip:alice@[2001:db8::7]:5072", "other", 300)
	p.register("bob@one.example.net", "sip:bob@"+p.conn.LocalAddr().String(), "x", 600)
	p.register("carol@two.example.net", "sip:carol@192.168.7.8", "x", 600)
	p.register("dave@two.example.net", "sip:dave@192.168.7.9", "x", 600)
	p.register("dave@two.example.net", "sip:dave@192.168.7.9", "x", 0)

	c, err := NewClient("http://"+addr+"/RPC", nil)
	if err != nil {
		t.Fatal(err)
	}
	d := make(desk)
	a := registrar.Handle(d, map[subjects.Role]registrar.Source{"sip_proxy": c}, zerolog.Nop())
	t.Cleanup(a.Close)
	r := d["_.statistics"](t.Context(), &overlay.Request{})
	s, err := subscriber.ParseStatistics(r.Data)
	want := map[subjects.Role]subscriber.RoleStatistics{"sip_proxy": {subscriber.OnlineAccounts: {"one.example.net": 2, "two.example.net": 1}}}
	if err != nil || !reflect.DeepEqual(s.Roles, want) {
		t.Errorf("statistics %+v %v", s, err)
	}
	got := d.locations(t, "alice@one.example.net", "nobody@one.example.net", "dave@two.example.net", "bob@one.example.net")
	if len(got) != 2 || len(got["alice@one.example.net"]) != 2 || len(got["bob@one.example.net"]) != 1 {
		t.Fatalf("locations %+v", got)
	}
	for _, c := range got["alice@one.example.net"] {
		switch c.Address {
		case "192.168.7.7":
			if c.Port != 5071 || c.Transport != "udp" || c.UserAgent != `Thor "test" 1` || c.Expires < 500 || c.PublicAddress != "127.0.0.1" || c.PublicPort == 0 {
				t.Errorf("%+v", c)
			}
		case "2001:db8::7":
			if c.Port != 5072 || c.Transport != "udp" || c.UserAgent != "other" || c.Expires > 300 {
				t.Errorf("%+v", c)
			}
		default:
			t.Errorf("%+v", c)
		}
	}
	if _, err := c.Contacts(t.Context(), "bob@one.example.net"); err != nil {
		t.Error(err)
	}
	if err := c.call(t.Context(), nil, "no.such"); rpc.Refused(err) == nil {
		t.Errorf("an unknown method: %v", err)
	}
}

func TestASilentKamailioCostsItsAnswerOnly(t *testing.T) {
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	c, err := NewClient(dead.URL+"/RPC", nil)
	if err != nil {
		t.Fatal(err)
	}
	d := make(desk)
	registrar.Handle(d, map[subjects.Role]registrar.Source{"sip_proxy": c}, zerolog.Nop())
	s, err := subscriber.ParseStatistics(d["_.statistics"](t.Context(), &overlay.Request{}).Data)
	if err != nil || len(s.Roles) != 0 {
		t.Errorf("statistics %+v %v", s, err)
	}
	q := subscriber.LocationsRequest{V: 1, Keys: []string{"a@b"}}
	if r := d["_.locations"](t.Context(), &overlay.Request{Data: q.Encode()}); r.Code != subjects.ErrorFailed {
		t.Errorf("locations %+v", r)
	}
	if r := d["_.locations"](t.Context(), &overlay.Request{Data: []byte("x")}); r.Code != subjects.ErrorBad {
		t.Errorf("locations %+v", r)
	}
}

func TestAnswersThatAreNoAnswer(t *testing.T) {
	body := ""
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }))
	t.Cleanup(srv.Close)
	c, err := NewClient(srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, body = range []string{"", "x", `{}`, `[]`, `{"result":3}`, `{"error":{"code":500,"message":"AOR not loaded"}}`} {
		if _, err := c.Online(t.Context()); err == nil {
			t.Errorf("%q counts", body)
		}
		if cs, err := c.Contacts(t.Context(), "a@b"); err == nil {
			t.Errorf("%q gives %v", body, cs)
		}
	}
}

func TestAnotherKamailioTakesOver(t *testing.T) {
	online := func(domain string) *Client {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintf(w, `{"result":{"Domains":[{"Domain":{"Domain":"location","AoRs":[{"AoR":"a@%s"}]}}]}}`, domain)
		}))
		t.Cleanup(srv.Close)
		c, err := NewClient(srv.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	d := make(desk)
	a := registrar.Handle(d, nil, zerolog.Nop())
	t.Cleanup(a.Close)
	for _, domain := range []string{"one.example.net", "two.example.net"} {
		a.Use(map[subjects.Role]registrar.Source{"sip_proxy": online(domain)})
		s, err := subscriber.ParseStatistics(d["_.statistics"](t.Context(), &overlay.Request{}).Data)
		if err != nil || s.Roles["sip_proxy"][subscriber.OnlineAccounts][domain] != 1 {
			t.Errorf("%s: %+v %v", domain, s, err)
		}
	}
}
