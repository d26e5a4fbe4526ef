//go:build e2e

// Package e2e_test runs whole thor networks with real servers beside them and
// breaks them on purpose. It is slow, needs the Debian packages that .ci/run
// installs, and uses loopback addresses only.
package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/nats-io/nats.go"

	"thor/cmd/thor/internal/up"
	"thor/identity"
	"thor/overlay"
	"thor/subjects"
)

var thor string // the binary under test

func TestMain(m *testing.M) {
	if conf := os.Getenv(attackEnv); conf != "" {
		if err := runAttack(conf); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	dir, err := os.MkdirTemp("", "thor-e2e-")
	if err != nil {
		panic(err)
	}
	thor = filepath.Join(dir, "thor")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", thor, "thor/cmd/thor")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as it is packaged
	out, err := build.CombinedOutput()
	if err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// need fails, or skips outside CI, when a program is absent.
func need(t *testing.T, program, pkg string) string {
	t.Helper()
	p, err := exec.LookPath(program)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing: Debian package %s", program, pkg)
		}
		t.Skipf("%s is missing: Debian package %s", program, pkg)
	}
	return p
}

// eventually waits for a condition and says what it was when it does not come.
func eventually(t *testing.T, within time.Duration, what string, cond func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !cond() {
		if time.Since(began) > within {
			t.Fatalf("not within %s: %s", within, what)
		}
		<-time.After(5 * time.Millisecond)
	}
	took := time.Since(began)
	t.Logf("%6d ms  %s", took.Milliseconds(), what)
	return took
}

// network is a thor up under test.
type network struct {
	dir    string
	domain string
	said   string // file of what thor up told
	up     *exec.Cmd
	*up.Network
	view  *overlay.Node
	ready time.Duration // that thor up took
}

func freeDNSPort(t *testing.T) string {
	t.Helper()
	for range 50 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		p := l.Addr().(*net.TCPAddr).Port
		l.Close()
		if p < 65000 && free(p) && free(p+1) {
			return net.JoinHostPort("127.0.0.1", strconv.Itoa(p))
		}
	}
	t.Fatal("no two free ports in a row")
	return ""
}

func free(p int) bool {
	a := net.JoinHostPort("127.0.0.1", strconv.Itoa(p))
	u, err := net.ListenPacket("udp", a)
	if err != nil {
		return false
	}
	u.Close()
	l, err := net.Listen("tcp", a)
	if err != nil {
		return false
	}
	l.Close()
	return true
}

// startNetwork runs thor up and waits for its ready.
func startNetwork(t *testing.T, loopback string, args ...string) *network {
	t.Helper()
	n := &network{dir: t.TempDir(), domain: "thor.test"}
	n.launch(t, loopback, args...)
	return n
}

// launch runs thor up in the network's directory, and waits for its ready.
func (n *network) launch(t *testing.T, loopback string, args ...string) {
	t.Helper()
	args = append([]string{"up", "--dir", n.dir, "--loopback", loopback, "--dns", freeDNSPort(t), "--restart-after", "0"}, args...)
	n.up = exec.Command(thor, args...)
	n.said = filepath.Join(n.dir, "said")
	progress, err := os.Create(n.said)
	if err != nil {
		t.Fatal(err)
	}
	defer progress.Close()
	n.up.Stderr = progress
	stdout, err := n.up.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.up.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.stop(t) })
	lines := make(chan string, 64)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(stdout); s.Scan(); {
			lines <- s.Text()
		}
	}()
	began := time.Now()
	deadline := time.After(90 * time.Second)
	for {
		select {
		case l, ok := <-lines:
			if !ok {
				t.Fatal("thor up ended")
			}
			if strings.HasPrefix(l, "ready") {
				n.ready = time.Since(began)
				t.Logf("%6d ms  thor up is ready", n.ready.Milliseconds())
				go func() {
					for range lines {
					}
				}()
				n.reload(t)
				n.watch(t)
				return
			}
		case <-deadline:
			t.Fatal("thor up was not ready after 90 s")
		}
	}
}

func (n *network) stop(t *testing.T) {
	if t.Failed() {
		n.tails(t)
	}
	_ = n.up.Process.Signal(syscall.SIGTERM)
	done := make(chan struct{})
	go func() { _ = n.up.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(40 * time.Second):
		_ = n.up.Process.Kill()
		<-done
		t.Error("thor up did not end after SIGTERM")
	}
}

// tails shows the last lines of every process's log.
func (n *network) tails(t *testing.T) {
	logs, _ := filepath.Glob(filepath.Join(n.dir, "*", "log"))
	for _, l := range append(logs, n.said) {
		b, _ := os.ReadFile(l)
		lines := strings.Split(strings.TrimSpace(string(b)), "\n")
		t.Logf("--- %s\n%s", l, strings.Join(lines[max(0, len(lines)-12):], "\n"))
	}
}

func (n *network) reload(t *testing.T) {
	t.Helper()
	d, err := up.ReadNetwork(filepath.Join(n.dir, up.NetworkFile))
	if err != nil {
		t.Fatal(err)
	}
	n.Network = d
}

// connect is a connection of its own with a certificate, until end is called.
func (n *network) connect(t *testing.T, cert, key string) (node *overlay.Node, end func()) {
	t.Helper()
	creds, err := identity.Load(identity.Files{Cert: cert, Key: key, CA: n.Operator.CA})
	if err != nil {
		t.Fatal(err)
	}
	node, err = overlay.New(overlay.Config{Credentials: creds, Brokers: n.Brokers})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = node.Run(ctx) }()
	end = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(end)
	return node, end
}

// watch follows the status with the operator's certificate.
func (n *network) watch(t *testing.T) {
	t.Helper()
	n.view, _ = n.connect(t, n.Operator.Cert, n.Operator.Key)
	eventually(t, 10*time.Second, "a status", func() bool { return n.status() != nil })
}

// hasAddress reports whether both name servers answer name with address.
func (n *network) hasAddress(name, address string) bool {
	for _, s := range n.DNS {
		if has, err := answersWith(s, name, address); err != nil || !has {
			return false
		}
	}
	return true
}

// answersWith asks one name server.
func answersWith(server, name, address string) (bool, error) {
	var q dns.Msg
	q.SetQuestion(name, dns.TypeA)
	a, _, err := (&dns.Client{Timeout: time.Second}).Exchange(&q, server)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(a.Answer, func(rr dns.RR) bool {
		x, ok := rr.(*dns.A)
		return ok && x.A.String() == address
	}), nil
}

func (n *network) status() *subjects.Status { return n.view.View().Status }

func (n *network) pid(t *testing.T, name string) int {
	t.Helper()
	n.reload(t)
	i := slices.IndexFunc(n.Processes, func(p up.Process) bool { return p.Name == name })
	if i < 0 || n.Processes[i].PID == 0 {
		t.Fatalf("%s does not run", name)
	}
	return n.Processes[i].PID
}

func (n *network) runs(t *testing.T, name string) bool {
	t.Helper()
	n.reload(t)
	return slices.ContainsFunc(n.Processes, func(p up.Process) bool { return p.Name == name && p.PID != 0 })
}

func (n *network) kill9(t *testing.T, name string) {
	t.Helper()
	if err := syscall.Kill(n.pid(t, name), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

func (n *network) control(t *testing.T, verb string, names ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	if _, err := up.Control(ctx, n.dir, verb, names); err != nil {
		t.Fatalf("thor up %s %v: %v", verb, names, err)
	}
}

// knock makes a TLS handshake with a certificate and waits for the first word of
// the broker: with TLS 1.3 it refuses only after the client believes itself
// connected.
func knock(creds *identity.Credentials, broker string) error {
	u, err := url.Parse(broker)
	if err != nil {
		return err
	}
	c, err := (&net.Dialer{Timeout: 3 * time.Second}).Dial("tcp", u.Host)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(3 * time.Second))
	cfg := creds.ClientTLS()
	cfg.ServerName = u.Hostname()
	s := tls.Client(c, cfg)
	if err := s.Handshake(); err != nil {
		return err
	}
	_, err = s.Read(make([]byte, 1))
	return err
}

// isRefusal reports whether err is the broker's answer to a bad certificate, and
// not one of the many ways to reach no broker.
func isRefusal(err error) bool {
	return err != nil && strings.Contains(err.Error(), "remote error: tls: bad certificate")
}

// run runs a thor command against the network and returns its output.
func (n *network) run(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(thor, args...)
	cmd.Env = append(os.Environ(), "THOR_DIR="+n.dir, "THOR_CA_DIR="+filepath.Join(n.dir, "ca"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil && cmd.ProcessState.ExitCode() != 3 {
		t.Fatalf("thor %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

// resolver asks all name servers all the time and remembers what they said.
type resolver struct {
	name      string
	servers   []string
	types     []uint16 // asked in turn
	every     time.Duration
	addresses map[string]string // of the nodes that may be in an answer
	stop      chan struct{}
	wg        sync.WaitGroup

	queries atomic.Int64
	mu      sync.Mutex
	keep    []string // nodes that must be in every SRV answer
	last    map[asked][]string
	serials map[string]uint32 // of each server, the newest
	faults  []string
}

// asked is what a server is asked.
type asked struct {
	server string
	qtype  uint16
}

// resolve starts asking each server 20 times a second for SRV and A in turn, and
// as often for the serial of the zone, which must not go back.
func (n *network) resolve(t *testing.T) *resolver {
	return n.resolveEvery(t, 50*time.Millisecond, dns.TypeSRV, dns.TypeA)
}

func (n *network) resolveEvery(t *testing.T, every time.Duration, types ...uint16) *resolver {
	t.Helper()
	r := newResolver(n.domain, n.DNS, every, types...)
	certs, _ := filepath.Glob(filepath.Join(n.dir, "node*", "node.crt")) // the pattern is good
	for _, c := range certs {
		id := n.credentials(t, filepath.Base(filepath.Dir(c))).Identity()
		r.addresses[string(id.Node)] = id.Addresses[0].String()
	}
	for _, s := range r.servers {
		r.wg.Go(func() { r.ask(s, r.types...) })
		r.wg.Go(func() { r.ask(s, dns.TypeSOA) })
	}
	t.Cleanup(r.end)
	return r
}

func newResolver(domain string, servers []string, every time.Duration, types ...uint16) *resolver {
	return &resolver{
		name: domain + ".", servers: servers, types: types, every: every, stop: make(chan struct{}),
		addresses: make(map[string]string), last: make(map[asked][]string), serials: make(map[string]uint32),
	}
}

func (r *resolver) end() {
	select {
	case <-r.stop:
	default:
		close(r.stop)
	}
	r.wg.Wait()
}

func (r *resolver) ask(server string, types ...uint16) {
	c := dns.Client{Timeout: 2 * time.Second}
	tick := time.NewTicker(r.every)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-r.stop:
			return
		case <-tick.C:
		}
		var q dns.Msg
		switch qtype := types[i%len(types)]; qtype {
		case dns.TypeSRV:
			q.SetQuestion("_sip._udp."+r.name, qtype)
		case dns.TypeA:
			q.SetQuestion("proxy."+r.name, qtype)
		default:
			q.SetQuestion(r.name, qtype)
		}
		a, _, err := c.Exchange(&q, server)
		r.queries.Add(1)
		r.note(server, &q, a, err)
	}
}

func (r *resolver) note(server string, q, a *dns.Msg, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fault := func(format string, args ...any) {
		r.faults = append(r.faults, fmt.Sprintf("%s %s %s: ", time.Now().Format("15:04:05.000"), server, q.Question[0].String())+fmt.Sprintf(format, args...))
	}
	if err != nil {
		fault("%v", err)
		return
	}
	if a.Rcode != dns.RcodeSuccess || len(a.Answer) == 0 {
		fault("%s with %d answers", dns.RcodeToString[a.Rcode], len(a.Answer))
		return
	}
	var got []string
	for _, rr := range a.Answer {
		switch rr := rr.(type) {
		case *dns.SRV:
			host, _, _ := strings.Cut(rr.Target, ".")
			got = append(got, host)
		case *dns.A:
			got = append(got, rr.A.String())
		case *dns.SOA:
			if before, known := r.serials[server]; known && rr.Serial < before {
				fault("the serial went back from %d to %d", before, rr.Serial)
			}
			r.serials[server] = rr.Serial
			return
		}
	}
	slices.Sort(got)
	qtype := q.Question[0].Qtype
	r.last[asked{server, qtype}] = got
	for _, node := range r.keep {
		if qtype == dns.TypeSRV && !slices.Contains(got, node) {
			fault("%s is not among %v", node, got)
		}
	}
}

// must names the nodes that have to be in every SRV answer from now on.
func (r *resolver) must(nodes ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keep = nodes
}

// everywhere reports whether every server's last answers hold exactly nodes, and
// their addresses.
func (r *resolver) everywhere(nodes ...string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	var addresses []string
	for _, n := range nodes {
		addresses = append(addresses, r.addresses[n])
	}
	slices.Sort(addresses)
	want := map[uint16][]string{dns.TypeSRV: nodes, dns.TypeA: addresses}
	for _, s := range r.servers {
		for _, qtype := range r.types {
			if !slices.Equal(r.last[asked{s, qtype}], want[qtype]) {
				return false
			}
		}
	}
	return true
}

func (r *resolver) failures() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.faults)
}

// forget drops the faults of one server: it was cut off on purpose.
func (r *resolver) forget(server string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = slices.DeleteFunc(r.faults, func(f string) bool { return strings.Contains(f, " "+server+" ") })
}

// recorder checks that (epoch, generation) never goes back, and that chosen
// members never vanish. It hears the SDK, and the bus itself, since the SDK drops
// what is old.
type recorder struct {
	mu      sync.Mutex
	faults  []string
	keep    []entry // that must be up now
	last    subjects.Mark
	heard   subjects.Mark
	via     map[subjects.NodeID]string // broker of each SIP proxy
	updates int
	raw     int
}

func (n *network) record(t *testing.T, opts ...nats.Option) *recorder {
	t.Helper()
	r := &recorder{via: make(map[subjects.NodeID]string)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for v := range n.view.Watch(ctx) {
			r.note(v.Status)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	n.listen(t, r, opts...)
	return r
}

// listen gives r what is said on the bus, over a connection of its own.
func (n *network) listen(t *testing.T, r *recorder, opts ...nats.Option) {
	t.Helper()
	creds, err := identity.Load(identity.Files{Cert: n.Operator.Cert, Key: n.Operator.Key, CA: n.Operator.CA})
	if err != nil {
		t.Fatal(err)
	}
	opts = append([]nats.Option{
		nats.Secure(creds.ClientTLS()), nats.ClientTLSConfig(nil, creds.RootCAs), nats.TLSHandshakeFirst(),
		nats.MaxReconnects(-1), nats.ReconnectWait(200 * time.Millisecond), nats.IgnoreDiscoveredServers(),
	}, opts...)
	nc, err := nats.Connect(strings.Join(n.Brokers, ","), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	for _, subject := range []string{subjects.StatusTick, subjects.StatusDelta, subjects.Presence(subjects.SIPProxy, "*")} {
		if _, err := nc.Subscribe(subject, r.hear); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

func (r *recorder) hear(m *nats.Msg) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var mark subjects.Mark
	switch m.Subject {
	case subjects.StatusTick:
		t, err := subjects.ParseTick(m.Data)
		if err != nil {
			r.faults = append(r.faults, fmt.Sprintf("%s: %v", m.Subject, err))
			return
		}
		mark = t.Mark()
	case subjects.StatusDelta:
		d, err := subjects.ParseDelta(m.Data)
		if err != nil {
			r.faults = append(r.faults, fmt.Sprintf("%s: %v", m.Subject, err))
			return
		}
		mark = d.Mark()
	default:
		if a, err := subjects.ParseAnnouncement(m.Subject, m.Data); err == nil {
			r.via[a.Node], _, _ = strings.Cut(a.Via, "#")
		}
		return
	}
	if r.heard.After(mark) {
		r.faults = append(r.faults, fmt.Sprintf("%s went back from %v to %v", m.Subject, r.heard, mark))
	}
	r.heard = mark
	r.raw++
}

// busiest is the broker with the most SIP proxies connected to it.
func (r *recorder) busiest() (broker string, members int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	count := make(map[string]int)
	for _, b := range r.via {
		count[b]++
	}
	for b, n := range count {
		if n > members || n == members && b < broker {
			broker, members = b, n
		}
	}
	return broker, members
}

func (r *recorder) note(s *subjects.Status) {
	if s == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last.After(s.Mark()) {
		r.faults = append(r.faults, fmt.Sprintf("status went back from %v to %v", r.last, s.Mark()))
	}
	r.last = s.Mark()
	r.updates++
	for _, k := range r.keep {
		if m := s.Member(k.role, k.node); m == nil || m.State != subjects.Up {
			r.faults = append(r.faults, fmt.Sprintf("%s of %s vanished at %v", k.role, k.node, s.Mark()))
		}
	}
}

// An entry is one line of the status.
type entry struct {
	role subjects.Role
	node subjects.NodeID
}

// must names the SIP proxies that have to be up from now on.
func (r *recorder) must(nodes ...string) {
	var keep []entry
	for _, n := range nodes {
		keep = append(keep, entry{subjects.SIPProxy, subjects.NodeID(n)})
	}
	r.mustBe(keep)
}

func (r *recorder) mustBe(keep []entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keep = keep
}

func (r *recorder) failures() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.faults)
}
