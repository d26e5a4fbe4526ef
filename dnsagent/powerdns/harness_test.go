package powerdns_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"thor/dbagent/location"
	"thor/dnsagent/powerdns"
	"thor/dnsagent/powerdns/plan"
	"thor/dnsagent/zone"
	"thor/provisioning/store/mariadbtest"
	"thor/subjects"
)

func TestMain(m *testing.M) {
	code := m.Run()
	mariadbtest.StopShared()
	os.Exit(code)
}

// patience bounds a wait.
const patience = 20 * time.Second

// schemaFile is where Debian's package pdns-backend-mysql has the tables.
const schemaFile = "/usr/share/pdns-backend-mysql/schema/schema.mysql.sql"

// schema is the text of the tables, or of none where the package is not installed:
// the test is skipped there, and fails if the environment says CI=true.
func schema(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile(schemaFile)
	if err == nil {
		return string(b)
	}
	if os.Getenv("CI") == "true" {
		t.Fatal(err)
	}
	t.Skip("the tables are not here (Debian package pdns-backend-mysql)")
	return ""
}

// A database is one with the tables of PowerDNS.
type database struct {
	*mariadbtest.Server
	dsn location.DSN
}

func newDatabase(t testing.TB, s *mariadbtest.Server) *database {
	t.Helper()
	text := schema(t)
	d := &database{s, s.Schema()}
	d.exec(text)
	return d
}

// exec executes statements in the database as root.
func (d *database) exec(sql string) { d.SQL("USE " + d.dsn.Name() + "; " + sql) }

// rows is what a statement returns.
func (d *database) rows(sql string) string { return d.Rows("USE " + d.dsn.Name() + "; " + sql) }

// A pdns is a real PowerDNS that reads a database.
type pdns struct {
	t      testing.TB
	dir    string
	addr   netip.AddrPort
	conf   string
	cmd    *exec.Cmd
	ended  chan struct{}
	output lines
}

// startPDNS runs a PowerDNS with the caches that it has by default. more are
// further lines of its configuration.
func startPDNS(t testing.TB, d *database, more ...string) *pdns {
	t.Helper()
	program := ""
	for _, p := range []string{"/usr/sbin/pdns_server", "/usr/local/sbin/pdns_server"} {
		if _, err := os.Stat(p); err == nil {
			program = p
		}
	}
	if program == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("pdns_server is not installed (Debian package pdns-server)")
		}
		t.Skip("pdns_server is not installed (Debian package pdns-server)")
	}
	dir, err := os.MkdirTemp("", "pdns") // a path that a socket's address has room for
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := &pdns{t: t, dir: dir, addr: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(freePort(t)))}
	host, port, _ := net.SplitHostPort(d.Addr())
	conf := append([]string{
		"launch=gmysql", "gmysql-host=" + host, "gmysql-port=" + port, "gmysql-dbname=" + d.dsn.Name(), "gmysql-user=" + d.dsn.User(),
		"gmysql-password=" + mariadbtest.Password, "gmysql-dnssec=yes", "local-address=" + p.addr.Addr().String(), fmt.Sprintf("local-port=%d", p.addr.Port()),
		"socket-dir=" + dir, "security-poll-suffix=", "receiver-threads=1", "distributor-threads=1", "webserver=no",
	}, more...)
	if err := os.WriteFile(filepath.Join(dir, "pdns.conf"), []byte(strings.Join(conf, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.conf = program
	p.start()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("PowerDNS: %s", p.said())
		}
	})
	return p
}

func (p *pdns) socket() string { return filepath.Join(p.dir, "pdns.controlsocket") }

// start starts it, and waits until it answers anything.
func (p *pdns) start() {
	p.t.Helper()
	cmd := exec.Command(p.conf, "--config-dir="+p.dir, "--guardian=no", "--daemon=no", "--disable-syslog", "--write-pid=no")
	cmd.Stdout, cmd.Stderr = &p.output, &p.output
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.cmd, p.ended = cmd, make(chan struct{})
	go func(ended chan struct{}) { _ = cmd.Wait(); close(ended) }(p.ended)
	eventually(p.t, "PowerDNS answers", func() error {
		select {
		case <-p.ended:
			p.t.Fatalf("PowerDNS ended: %s", p.said())
		default:
		}
		_, err := p.ask("example.net.", dns.TypeSOA)
		return err
	})
}

// said is what it has logged.
func (p *pdns) said() string { return p.output.String() }

func (p *pdns) kill() {
	if p.cmd != nil {
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// ask asks by TCP, so that no answer is cut.
func (p *pdns) ask(name string, qtype uint16) (*dns.Msg, error) {
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
	c := &dns.Client{Net: "tcp", Timeout: time.Second}
	r, _, err := c.Exchange(m, p.addr.String())
	return r, err
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// eventually waits until f returns nil.
func eventually(t testing.TB, what string, f func() error) {
	t.Helper()
	within(t, patience, what, f)
}

func within(t testing.TB, d time.Duration, what string, f func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not within %v: %v", what, d, err)
		}
	}
}

// A writer under test.
type writer struct {
	*powerdns.Writer
	log    *lines
	reg    *prometheus.Registry
	cancel context.CancelFunc
	ended  chan struct{}
}

// lines are a log that may be read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// run runs a writer for example.net until the test ends.
func run(t testing.TB, d *database, change func(*powerdns.Config)) *writer {
	t.Helper()
	w := &writer{log: &lines{}, reg: prometheus.NewRegistry(), ended: make(chan struct{})}
	cfg := powerdns.Config{
		DSN: d.dsn, Domain: "example.net", Mode: plan.Lua, Verify: time.Second, Log: zerolog.New(w.log), Metrics: w.reg,
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if w.Writer, err = powerdns.New(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	go func() {
		defer close(w.ended)
		if err := w.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	t.Cleanup(func() {
		w.stop()
		if t.Failed() {
			t.Logf("log: %s", w.log)
		}
		if strings.Contains(w.log.String(), mariadbtest.Password) {
			t.Error("the password is in the log")
		}
	})
	return w
}

func (w *writer) stop() { w.cancel(); <-w.ended }

// beside has the writer look after p.
func beside(p *pdns) func(*powerdns.Config) {
	return func(c *powerdns.Config) { c.Control, c.Server = p.socket(), p.addr }
}

// A network is a status that changes, and the zones of it.
type network struct {
	t       testing.TB
	cfg     zone.Config
	builder *zone.Builder
	status  *subjects.Status
}

func newNetwork(t testing.TB, change func(*zone.Config)) *network {
	t.Helper()
	cfg := zone.DefaultConfig("example.net")
	if change != nil {
		change(&cfg)
	}
	b, err := zone.NewBuilder(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &network{t, cfg, b, &subjects.Status{V: subjects.Version, Domain: "example.net", Epoch: 1, Generation: 1}}
}

// put makes a node with an address a member.
func (n *network) put(role subjects.Role, node string, weight int, addrs ...string) {
	m := subjects.Member{Node: subjects.NodeID(node), State: subjects.Up, Weight: weight}
	for _, a := range addrs {
		m.Addresses = append(m.Addresses, netip.MustParseAddr(a))
	}
	n.status.Put(role, m)
}

// zone is the zone of the next generation.
func (n *network) zone() *zone.Zone {
	n.t.Helper()
	n.status.Generation++
	z, err := n.builder.Build(n.status)
	if err != nil {
		n.t.Fatal(err)
	}
	return z
}

// has is an error unless PowerDNS answers with the serial.
func (p *pdns) has(serial uint32) error {
	r, err := p.ask("example.net.", dns.TypeSOA)
	if err != nil {
		return err
	}
	for _, rr := range r.Answer {
		if soa, ok := rr.(*dns.SOA); ok {
			if soa.Serial == serial {
				return nil
			}
			return fmt.Errorf("serial %d, want %d", soa.Serial, serial)
		}
	}
	return errors.New(dns.RcodeToString[r.Rcode])
}

// A relay passes bytes on to a server, until it is cut: then it passes nothing, and
// closes nothing.
type relay struct {
	l    net.Listener
	dead chan struct{}
}

func proxyTo(t testing.TB, to string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{l, make(chan struct{})}
	done := make(chan struct{})
	t.Cleanup(func() { _ = l.Close(); close(done) })
	pass := func(from, to net.Conn) {
		b := make([]byte, 32<<10)
		for {
			n, err := from.Read(b)
			select {
			case <-r.dead:
				return
			default:
			}
			if err != nil {
				_ = to.Close()
				return
			}
			if _, err := to.Write(b[:n]); err != nil {
				_ = from.Close()
				return
			}
		}
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s, err := net.Dial("tcp", to)
			if err != nil {
				_ = c.Close()
				continue
			}
			go func() { <-done; _ = c.Close(); _ = s.Close() }()
			go pass(c, s)
			go pass(s, c)
		}
	}()
	return r
}

func (r *relay) addr() string { return r.l.Addr().String() }
func (r *relay) cut()         { close(r.dead); _ = r.l.Close() }
