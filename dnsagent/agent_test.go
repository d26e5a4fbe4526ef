package dnsagent

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"thor/dnsagent/zone"
	"thor/overlay"
	"thor/subjects"
)

func TestMain(m *testing.M) {
	var err error
	switch os.Getenv(benchRole) {
	case "server":
		err = benchServer(os.Getenv("THOR_BENCH_DNS_PORT"))
	case "junk":
		err = benchJunk(os.Getenv("THOR_BENCH_DNS_PORT"), strings.Split(os.Getenv("THOR_BENCH_DNS_KINDS"), ","))
	default:
		goleak.VerifyTestMain(m)
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// A fakeSource hands out the views that a test sends.
type fakeSource chan *overlay.View

func (f fakeSource) Watch(ctx context.Context) <-chan *overlay.View {
	out := make(chan *overlay.View)
	go func() {
		defer close(out)
		for {
			select {
			case v := <-f:
				select {
				case out <- v:
				case <-ctx.Done():
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

func network2009(t testing.TB) *subjects.Status {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("zone", "testdata", "sipthor-2009.json"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := subjects.ParseStatus(b)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// eventually waits for a condition that another goroutine brings about.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("still not so: %s", what)
		}
	}
}

// A server is a running agent.
type server struct {
	*Agent
	views fakeSource
	addr  string
	reg   *prometheus.Registry
}

func config(reg prometheus.Registerer, views fakeSource) Config {
	return Config{
		Zone: zone.DefaultConfig("sipthor.net"), Listen: []string{"127.0.0.1:0"}, Source: views, NSID: "node01", Metrics: reg,
	}
}

// start runs an agent until the test ends, with s as its status unless nil.
func start(t testing.TB, s *subjects.Status, change func(*Config)) *server {
	t.Helper()
	return startAs(t, s, change, func(*Agent) {})
}

// startAs is start, with a change of the agent before it runs.
func startAs(t testing.TB, s *subjects.Status, change func(*Config), prepare func(*Agent)) *server {
	t.Helper()
	reg, views := prometheus.NewRegistry(), make(fakeSource)
	cfg := config(reg, views)
	if test, ok := t.(*testing.T); ok {
		cfg.Log = zerolog.New(zerolog.NewTestWriter(test))
	}
	if change != nil {
		change(&cfg)
	}
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	a.wait = 0
	if s != nil {
		a.wait = time.Minute
	}
	prepare(a)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	srv := &server{Agent: a, views: views, reg: reg}
	if s != nil {
		srv.show(t, s, nil)
	}
	select {
	case <-a.Ready():
	case err := <-done:
		done <- nil
		t.Fatal(err)
	}
	srv.addr = a.Addresses()[0].String()
	return srv
}

// show sends a view of s and waits until it was taken.
func (s *server) show(t testing.TB, st *subjects.Status, change func(*overlay.View)) {
	t.Helper()
	v := &overlay.View{Status: st, Received: time.Now(), Connected: true}
	if change != nil {
		change(v)
	}
	s.views <- v
	s.views <- v // Watch hands on the second only after follow took the first
	s.views <- v
}

// value is the sum of the samples of a metric that have all these label values.
func (s *server) value(t testing.TB, name string, labels ...string) float64 {
	t.Helper()
	families, err := s.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			have := make(map[string]bool)
			for _, l := range m.GetLabel() {
				have[l.GetValue()] = true
			}
			if f.GetName() == name && !slices.ContainsFunc(labels, func(l string) bool { return !have[l] }) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// ask exchanges one question by the library's client.
func (s *server) ask(t testing.TB, proto, name, qtype string) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(name), dns.StringToType[qtype])
	c := &dns.Client{Net: proto, Timeout: 10 * time.Second}
	r, _, err := c.Exchange(m, s.addr)
	if err != nil {
		t.Fatalf("%s %s %s: %v", proto, name, qtype, err)
	}
	return r
}

func addresses(rrs []dns.RR) map[string]bool {
	out := make(map[string]bool)
	for _, rr := range rrs {
		if a, ok := rr.(*dns.A); ok {
			out[a.A.String()] = true
		}
	}
	return out
}

func TestThreeProxiesOf2009AnswerOverUDPAndTCP(t *testing.T) {
	s := start(t, network2009(t), nil)
	for _, proto := range []string{"udp", "tcp"} {
		for range 20 {
			r := s.ask(t, proto, "proxy.sipthor.net", "A")
			if got := addresses(r.Answer); len(r.Answer) != 3 || !got["81.23.228.129"] || !got["81.23.228.150"] || !got["85.17.186.6"] {
				t.Fatalf("%s: %v", proto, r)
			}
			r = s.ask(t, proto, "_sip._udp.sipthor.net", "SRV")
			if len(r.Answer) != 3 || len(addresses(r.Extra)) != 3 || !r.Authoritative || r.Truncated {
				t.Fatalf("%s: %v", proto, r)
			}
		}
	}
	for _, qtype := range []string{"A", "SRV"} {
		for _, proto := range []string{"udp", "tcp"} {
			if got := s.value(t, "thor_dns_queries_total", qtype, "NOERROR", proto); got != 20 {
				t.Errorf("%v questions for %s over %s counted, want 20", got, qtype, proto)
			}
		}
	}
	if got := s.value(t, "thor_dns_zone_serial"); got != 20090920 {
		t.Errorf("serial gauge %v", got)
	}
	if r := s.Report(); *r != (subjects.ZoneReport{Serial: 20090920, Digest: s.ZoneDigest(), Answered: 80}) {
		t.Errorf("report %+v", *r)
	}
}

func TestBeforeTheFirstStatusTheZoneFailsForNow(t *testing.T) {
	s := start(t, nil, nil)
	for name, want := range map[string]int{
		"proxy.sipthor.net": dns.RcodeServerFailure, "SIPTHOR.net": dns.RcodeServerFailure, "example.org": dns.RcodeRefused,
	} {
		if r := s.ask(t, "udp", name, "A"); r.Rcode != want || r.Authoritative {
			t.Errorf("%s: %v", name, r)
		}
	}
	s.show(t, nil, nil) // a view that knows nothing
	if r := s.ask(t, "udp", "proxy.sipthor.net", "A"); r.Rcode != dns.RcodeServerFailure {
		t.Errorf("a view without status: %v", r)
	}
	if age := s.metrics.age(time.Now()); !math.IsNaN(age) {
		t.Errorf("age of no status: %v", age)
	}
	if r := s.Report(); r.Serial != 0 || r.AgeMS != 0 {
		t.Errorf("report without a zone: %+v", *r)
	}
	s.show(t, network2009(t), func(v *overlay.View) { v.FromDisk, v.Stale, v.Connected = true, true, false })
	if r := s.ask(t, "udp", "proxy.sipthor.net", "A"); len(r.Answer) != 3 {
		t.Errorf("status from disk is not served: %v", r)
	}
}

func TestOnlyNewerStatusesReplaceTheZone(t *testing.T) {
	s := start(t, network2009(t), nil)
	next := network2009(t)
	next.Generation++
	next.Remove(subjects.SIPProxy, "node02")
	s.show(t, next, nil)
	serial := func() uint32 { return s.ask(t, "udp", "sipthor.net", "SOA").Answer[0].(*dns.SOA).Serial }
	if got := serial(); got != 20090921 {
		t.Fatalf("serial %d after a newer status", got)
	}
	foreign := network2009(t)
	foreign.Domain, foreign.Generation = "example.org", 99999999
	deposed := network2009(t)
	deposed.Epoch, deposed.Generation = 2, 99999999
	for what, old := range map[string]*subjects.Status{"an older": network2009(t), "a foreign": foreign, "a deposed manager's": deposed} {
		s.show(t, old, nil)
		if got := serial(); got != 20090921 {
			t.Errorf("serial %d after %s status", got, what)
		}
	}
	if r := s.ask(t, "udp", "proxy.sipthor.net", "A"); len(r.Answer) != 2 {
		t.Errorf("%v", r)
	}
	next = next.Clone()
	next.Epoch, next.Generation = 4, 20090930
	s.show(t, next, nil)
	if got := serial(); got != 20090930 {
		t.Errorf("serial %d after a newer epoch", got)
	}
}

func TestZoneOutlivesEverythingElse(t *testing.T) {
	s := start(t, network2009(t), nil)
	if age := s.metrics.age(time.Now()); age != 0 {
		t.Errorf("age of a confirmed status: %v", age)
	}
	s.show(t, network2009(t), func(v *overlay.View) { v.Stale, v.Connected = true, false })
	if r := s.ask(t, "udp", "proxy.sipthor.net", "A"); len(r.Answer) != 3 {
		t.Errorf("stale: %v", r)
	}
	if age := s.metrics.age(time.Now().Add(time.Hour)); age < 3600 {
		t.Errorf("age an hour after the last confirmation: %v", age)
	}
	s.show(t, network2009(t), nil)
	if age := s.metrics.age(time.Now().Add(time.Hour)); age != 0 {
		t.Errorf("age after recovery: %v", age)
	}
}

func TestAnswersAreNeverEmptyWhileMembersServe(t *testing.T) {
	s := start(t, network2009(t), nil)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { // statuses come as fast as they can
		defer close(stopped)
		st := network2009(t)
		for i := 0; ; i++ {
			st = st.Clone()
			st.Generation++
			m := subjects.Member{Node: "extra", State: subjects.Up, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.9")}}
			if i%2 == 0 {
				st.Put(subjects.SIPProxy, m)
			} else {
				st.Remove(subjects.SIPProxy, "extra")
			}
			select {
			case s.views <- &overlay.View{Status: st}:
			case <-stop:
				return
			}
		}
	}()
	for range 300 {
		r := s.ask(t, "udp", "_sip._tcp.sipthor.net", "SRV")
		if n := len(r.Answer); n < 3 || n > 4 || len(addresses(r.Extra)) == 0 {
			t.Errorf("%v", r)
			break
		}
	}
	close(stop)
	<-stopped
}

func TestQuestionsAskedAtTheStartWaitForTheFirstStatus(t *testing.T) {
	// A port that is free now, for a name server that does not answer yet.
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	_ = free.Close()
	views := make(fakeSource)
	cfg := config(nil, views)
	cfg.Listen = []string{addr}
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	a.wait = time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	var c net.Conn
	eventually(t, "the socket is open", func() bool { c, err = net.Dial("tcp", addr); return err == nil })
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	early := conn{c, "tcp"}
	early.send(t, packet(0, [4]uint16{1}, soaQuestion()))
	views <- &overlay.View{Status: network2009(t), FromDisk: true, Stale: true}
	if m := parsed(t, early.receive(t)); len(m.Answer) != 1 {
		t.Errorf("the early question got %v", m)
	}
}

func TestUsedPortIsOneClearError(t *testing.T) {
	for _, proto := range []string{"udp", "tcp"} {
		var addr string
		if proto == "udp" {
			c, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			addr = c.LocalAddr().String()
		} else {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			addr = l.Addr().String()
		}
		cfg := config(nil, make(fakeSource))
		cfg.Listen = []string{"127.0.0.1:0", addr}
		a, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		err = a.Run(t.Context())
		want := fmt.Sprintf("dns: %s %s is taken by another program: stop it or listen elsewhere: address already in use", proto, addr)
		if err == nil || err.Error() != want || !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("%v, want %s", err, want)
		}
		select {
		case <-a.Ready():
			t.Error("ready without its sockets")
		default:
		}
	}
}

func TestAddressOfAnotherHostIsOneClearError(t *testing.T) {
	cfg := config(nil, make(fakeSource))
	cfg.Listen = []string{"192.0.2.1:0"}
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "no address of this host") {
		t.Errorf("%v", err)
	}
}

func TestRunIsForOnce(t *testing.T) {
	s := start(t, nil, nil)
	if err := s.Run(t.Context()); err == nil {
		t.Error("a second Run was let")
	}
}

func TestNewReportsEveryProblemAtOnce(t *testing.T) {
	_, err := New(Config{
		Zone: zone.Config{Domain: "no_domain", Slice: 9}, Listen: []string{"127.0.0.1", "127.0.0.1:99999", "127.0.0.1:53"},
		NSID: strings.Repeat("x", 65), UDPSize: 100, PerClient: -1, RateLimit: -1, RateExempt: []string{"192.0.2.1"},
	})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"no_domain", "slice: 9", `"127.0.0.1"`, `:99999"`, "no source", "NSID: of 65", "UDPSize: 100", "PerClient: -1", "rate_limit: -1", `"192.0.2.1" is no network`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing from:\n%v", want, err)
		}
	}
	if _, err := New(Config{Zone: zone.DefaultConfig("sipthor.net"), Source: make(fakeSource)}); err == nil {
		t.Error("nowhere to listen was accepted")
	}
	reg := prometheus.NewRegistry()
	if _, err := New(config(reg, make(fakeSource))); err != nil {
		t.Fatal(err)
	}
	if _, err := New(config(reg, make(fakeSource))); err == nil {
		t.Error("two agents share a registerer")
	}
}

func TestOverlayNodeIsASource(t *testing.T) { var _ Source = (*overlay.Node)(nil) }
