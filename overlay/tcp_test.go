package overlay_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"go.uber.org/goleak"

	"thor/broker/brokertest"
	"thor/identity"
	"thor/overlay"
	"thor/subjects"
)

// tlsConfig is that of a node which dials all brokers of net.
func tlsConfig(t testing.TB, net *brokertest.Net, node string, roles ...subjects.Role) overlay.Config {
	return overlay.Config{
		Credentials: net.Credentials(node, roles...), Brokers: net.URLs(), StateDir: t.TempDir(), Log: testLog(t),
	}
}

// lines is a log to look into.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), s)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestMemberMovesToAnotherBrokerAndAnnouncesItselfThere(t *testing.T) {
	net := brokertest.Start(t)
	net.Add("b2")
	heard := make(chan *subjects.Announcement, 1000)
	for _, b := range net.Brokers {
		hear(t, b.Dial(net.Options("m1", subjects.Manager)...), heard)
	}
	n, _ := run(t, tlsConfig(t, net, "n1", "sip_proxy"))
	mustJoin(t, n, overlay.Member{Role: "sip_proxy"})
	first := next(t, heard, 20*time.Second)
	name, _, _ := strings.Cut(first.Via, "#")
	other := net.Brokers[0]
	for _, b := range net.Brokers {
		if b.Node == name {
			b.Stop()
		} else {
			other = b
		}
	}
	for {
		a := next(t, heard, 20*time.Second)
		if strings.HasPrefix(a.Via, other.Node+"#") {
			if a.Seq <= first.Seq || a.Boot != first.Boot {
				t.Errorf("%s after %s", a.Encode(), first.Encode())
			}
			break
		}
	}
}

func TestCertificateDecidesWhatMayBeJoined(t *testing.T) {
	net := brokertest.Start(t)
	n, _ := run(t, tlsConfig(t, net, "n1", "sip_proxy", subjects.Monitor))
	for name, c := range map[string]struct {
		m    overlay.Member
		want string
	}{
		"role":              {overlay.Member{Role: "media_relay"}, "media_relay"},
		"operator":          {overlay.Member{Role: subjects.Operator}, "thor_operator"},
		"address":           {overlay.Member{Role: "sip_proxy", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}, "192.0.2.1"},
		"one good, one bad": {overlay.Member{Role: "sip_proxy", Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.9")}}, "192.0.2.9"},
	} {
		if _, err := n.Join(c.m); !errors.Is(err, overlay.ErrNotCertified) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, m := range map[string]overlay.Member{
		"no role":   {},
		"bad role":  {Role: "A B"},
		"priority":  {Role: "sip_proxy", Priority: 70000},
		"weight":    {Role: "sip_proxy", Weight: -1},
		"attribute": {Role: "sip_proxy", Attrs: subjects.Attrs{"Bad Name": "x"}},
		"value":     {Role: "sip_proxy", Attrs: subjects.Attrs{"a": "\x1b[2J"}},
		"state":     {Role: "sip_proxy", State: "dancing"},
		"leave":     {Role: "sip_proxy", State: subjects.Leave},
		"suspect":   {Role: "sip_proxy", State: subjects.Suspect},
		"too long":  {Role: "sip_proxy", Attrs: longAttrs()},
	} {
		if _, err := n.Join(m); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func longAttrs() subjects.Attrs {
	a := subjects.Attrs{}
	for i := range subjects.MaxAttrs {
		a[fmt.Sprintf("a%d", i)] = strings.Repeat("é", subjects.MaxAttrValue/2)
	}
	return a
}

// A certificate that got a role since the connection was made does not help it:
// the refusal is told, and the next connection uses the new certificate.
func TestRefusedAnnouncementIsToldAndARenewedCertificateIsUsed(t *testing.T) {
	net := brokertest.Start(t)
	as := announcements(t, net.Dial("m1", subjects.Manager))
	cfg := tlsConfig(t, net, "n1", "sip_proxy")
	var log lines
	cfg.Log = slog.New(slog.NewJSONHandler(&log, nil))
	files := net.Issue(identity.Request{Node: "n1", Roles: []subjects.Role{"sip_proxy"}, Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})
	var err error
	if cfg.Credentials, err = identity.Load(files); err != nil {
		t.Fatal(err)
	}
	n, _ := run(t, cfg)
	ready(t, n)
	more := net.Issue(identity.Request{Node: "n1", Roles: []subjects.Role{"media_relay", "sip_proxy"}, Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})
	for from, to := range map[string]string{more.Cert: files.Cert, more.Key: files.Key} {
		b, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := cfg.Credentials.Reload(); err != nil {
		t.Fatal(err)
	}
	m := mustJoin(t, n, overlay.Member{Role: "media_relay"})
	nextState(t, as, "media_relay", subjects.Up)
	brokertest.Eventually(t, 10*time.Second, "no error any more", m.Err)
	if log.count("does not permit") != 1 {
		t.Errorf("log:\n%s", &log)
	}
}

func TestRevokedNodeKeepsTryingQuietlyAndComesBackWithANewCertificate(t *testing.T) {
	net := brokertest.Start(t)
	cfg := tlsConfig(t, net, "n1", "sip_proxy")
	var log lines
	cfg.Log = slog.New(slog.NewJSONHandler(&log, nil))
	n, _ := run(t, cfg)
	ready(t, n)
	crl, err := net.Authority.Revoke("n1")
	if err != nil {
		t.Fatal(err)
	}
	op := net.Dial("op", subjects.Operator)
	if err := op.Publish(subjects.PublishCRL("op"), crl); err != nil {
		t.Fatal(err)
	}
	is := func(up bool) func() error {
		return func() error {
			if n.Connected() != up {
				return fmt.Errorf("connected: %v", !up)
			}
			return nil
		}
	}
	brokertest.Eventually(t, 10*time.Second, "end of the connection", is(false))
	await(t, n, "a view that says so", func(v *overlay.View) bool { return !v.Connected })
	brokertest.Eventually(t, 10*time.Second, "one line", func() error {
		if log.count("no broker accepts") != 1 {
			return errors.New(log.String())
		}
		return nil
	})
	fresh := net.Issue(identity.Request{Node: "n1", Roles: []subjects.Role{"sip_proxy"}, Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})
	old := net.Files("n1", "sip_proxy")
	for from, to := range map[string]string{fresh.Cert: old.Cert, fresh.Key: old.Key} {
		b, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := cfg.Credentials.Reload(); err != nil {
		t.Fatal(err)
	}
	brokertest.Eventually(t, 20*time.Second, "the new certificate in use", is(true))
	if log.count("no broker accepts") != 1 || log.count("connected to broker") != 2 {
		t.Errorf("log:\n%s", &log)
	}
	if !strings.Contains(log.String(), "certificate") {
		t.Errorf("the line does not say why:\n%s", &log)
	}
}

func TestStatusOnDiskIsServedWithoutAnyBroker(t *testing.T) {
	net := brokertest.Start(t)
	f := newManager(t, net.Dial("m1", subjects.Manager))
	s, _ := f.change(join("sip_proxy", "n1", "n2"))
	cfg := tlsConfig(t, net, "n9", "media_relay")
	n, stop := run(t, cfg)
	await(t, n, "first status", holds(s))
	s, d := f.change(join("sip_proxy", "n3"))
	f.delta(d)
	await(t, n, "second status", holds(s))
	stop() // writes what the last second left unwritten
	net.Brokers[0].Stop()

	n, stop = run(t, cfg)
	v := await(t, n, "status of the disk", func(v *overlay.View) bool { return v.Status != nil })
	if !holds(s)(v) || !v.FromDisk || !v.Stale || v.Connected {
		t.Errorf("%+v", v)
	}
	stop()

	if err := os.WriteFile(filepath.Join(cfg.StateDir, "status.json"), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	var log lines
	cfg.Log = slog.New(slog.NewJSONHandler(&log, nil))
	n, _ = run(t, cfg)
	v = await(t, n, "older copy", func(v *overlay.View) bool { return v.Status != nil })
	if s.Mark().After(v.Mark()) != true || log.count("saved status refused") != 1 {
		t.Errorf("%v\n%s", v.Mark(), &log)
	}
	net.Brokers[0].Start()
	f = newManager(t, net.Dial("m1", subjects.Manager))
	f.mu.Lock()
	f.status = s
	f.mu.Unlock()
	v = await(t, n, "status of the network", holds(s))
	if v.FromDisk || v.Stale {
		t.Errorf("%+v", v)
	}
}

func TestUnreachableBrokersAreToldOnceAndTriedOn(t *testing.T) {
	ports := brokertest.Ports(t, 2)
	net := brokertest.New(t)
	b := net.Prepare("b1")
	cfg := tlsConfig(t, net, "n1", "sip_proxy")
	cfg.Brokers = append(cfg.Brokers, "tls://"+ports[0], "tls://"+ports[1])
	var log lines
	cfg.Log = slog.New(slog.NewJSONHandler(&log, nil))
	n, _ := run(t, cfg)
	brokertest.Eventually(t, 10*time.Second, "one line", func() error {
		if log.count("no broker accepts") != 1 {
			return errors.New(log.String())
		}
		return nil
	})
	if !strings.Contains(log.String(), "refused") {
		t.Errorf("the line does not say why:\n%s", &log)
	}
	b.Start()
	ready(t, n)
	if log.count("\n") != 2 {
		t.Errorf("log:\n%s", &log)
	}
	if n.Conn() == nil || len(n.Conn().Servers()) != 1 || len(n.Conn().DiscoveredServers()) != 0 {
		t.Error("nats.go has a list of its own")
	}
}

// Whoever answers at a broker's address but is none is refused, though our
// authority signed its certificate.
func TestNodeThatPlaysBrokerIsRefused(t *testing.T) {
	other := brokertest.Start(t) // of the same domain by another authority
	net := brokertest.New(t)
	cfg := tlsConfig(t, net, "n1", "sip_proxy")
	cfg.Brokers = other.URLs()
	var log lines
	cfg.Log = slog.New(slog.NewJSONHandler(&log, nil))
	n, _ := run(t, cfg)
	brokertest.Eventually(t, 10*time.Second, "a refusal", func() error {
		if log.count("no broker accepts") != 1 || !strings.Contains(log.String(), "authority") {
			return errors.New(log.String())
		}
		return nil
	})
	if n.Connected() {
		t.Error("connected")
	}
}

// The end is not held up by a broker that accepts connections and says nothing.
func TestRunEndsSoonWhileABrokerIsFrozen(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	accepted := make(chan net.Conn, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- c
		}
	}()
	cfg := tlsConfig(t, brokertest.New(t), "n1", "sip_proxy")
	cfg.Brokers = []string{"tls://" + l.Addr().String()}
	n, stop := run(t, cfg)
	mustJoin(t, n, overlay.Member{Role: "sip_proxy"})
	c := <-accepted
	defer func() { _ = c.Close() }()
	ended := make(chan struct{})
	go func() {
		stop()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(15 * time.Second):
		t.Fatal("Run does not end")
	}
}

func TestNodeLeavesNoGoroutineBehind(t *testing.T) {
	net := brokertest.Start(t)
	f := newManager(t, net.Dial("m1", subjects.Manager))
	s, _ := f.change(join("sip_proxy", "n1"))
	before := goleak.IgnoreCurrent()
	n, stop := run(t, tlsConfig(t, net, "n1", "sip_proxy"))
	mustJoin(t, n, overlay.Member{Role: "sip_proxy"})
	await(t, n, "status", holds(s))
	ctx, cancel := context.WithCancel(t.Context())
	n.Watch(ctx)
	n.Handle(subjects.Agent, "x", func(ctx context.Context, _ *overlay.Request) *subjects.Reply { <-ctx.Done(); return nil })
	op := net.Dial("op", subjects.Operator)
	for range 20 {
		if err := op.Publish(subjects.AgentRequest("n1", "x"), nil); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	cancel()
	op.Close()
	goleak.VerifyNone(t, before, goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*Server).startGoRoutine.func1"))
}

func TestMetricsTellTheState(t *testing.T) {
	net := brokertest.Start(t)
	f := newManager(t, net.Dial("m1", subjects.Manager))
	s, _ := f.change(join("sip_proxy", "n1"))
	cfg := tlsConfig(t, net, "n1", "sip_proxy")
	reg := prometheus.NewRegistry()
	cfg.Metrics = reg
	n, _ := run(t, cfg)
	mustJoin(t, n, overlay.Member{Role: "sip_proxy"})
	await(t, n, "status", holds(s))
	f.send(bad())
	for name, want := range map[string]float64{
		"connected": 1, "dropped_total": 1, "repairs_total": 1, "status_epoch": 1, "status_generation": 2,
	} {
		brokertest.Eventually(t, 10*time.Second, name, func() error {
			if got := metric(t, reg, "thor_overlay_"+name); got != want {
				return fmt.Errorf("%v, want %v", got, want)
			}
			return nil
		})
	}
	if metric(t, reg, "thor_overlay_beats_total") < 1 || !(metric(t, reg, "thor_overlay_status_age_seconds") >= 0) {
		t.Error("no beats, or no age")
	}
	if at := n.Confirmed(); at.IsZero() || at.After(time.Now()) {
		t.Errorf("confirmed at %v", at)
	}
	if _, err := overlay.New(cfg); err == nil {
		t.Error("a second Node took the same registerer")
	}
}

// metric is the sum over the labels of a counter or gauge.
func metric(t testing.TB, reg *prometheus.Registry, name string) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

func TestConfigThatCannotWorkIsRefused(t *testing.T) {
	c := brokertest.New(t).Credentials("n1", "sip_proxy")
	id := c.Identity()
	inAms := *id
	inAms.Site = "ams"
	brokers := []string{"tls://127.0.0.1:4222"}
	for name, cfg := range map[string]overlay.Config{
		"nothing":        {},
		"no credentials": {Brokers: brokers},
		"both":           {Credentials: c, Identity: id, Brokers: brokers},
		"malformed site": {Credentials: c, Brokers: brokers, Site: "no site"},
		"other site":     {Identity: &inAms, Brokers: brokers, Site: "fra"},
		"no brokers":     {Credentials: c},
		"beat":           {Credentials: c, Brokers: brokers, Beat: -1},
		"long beat":      {Credentials: c, Brokers: brokers, Beat: time.Hour},
		"stale":          {Credentials: c, Brokers: brokers, StaleAfter: time.Millisecond},
		"boot":           {Credentials: c, Brokers: brokers, Boot: "a b"},
		"long boot":      {Credentials: c, Brokers: brokers, Boot: strings.Repeat("a", 65)},
		"plain":          {Credentials: c, Brokers: []string{"nats://127.0.0.1:4222"}},
		"no scheme":      {Credentials: c, Brokers: []string{"127.0.0.1:4222"}},
		"no port":        {Credentials: c, Brokers: []string{"tls://127.0.0.1"}},
		"port 0":         {Credentials: c, Brokers: []string{"tls://127.0.0.1:0"}},
		"port 70000":     {Credentials: c, Brokers: []string{"tls://127.0.0.1:70000"}},
		"no host":        {Credentials: c, Brokers: []string{"tls://:4222"}},
		"user":           {Credentials: c, Brokers: []string{"tls://me:secret@127.0.0.1:4222"}},
		"path":           {Credentials: c, Brokers: []string{"tls://127.0.0.1:4222/x"}},
		"two in one":     {Credentials: c, Brokers: []string{"tls://127.0.0.1:4222,tls://127.0.0.1:4223"}},
		"empty":          {Credentials: c, Brokers: []string{""}},
		"srv empty":      {Credentials: c, Brokers: []string{"srv:"}},
		"srv and more":   {Credentials: c, Brokers: []string{"srv:example.net", "tls://127.0.0.1:4222"}},
		"srv URL":        {Credentials: c, Brokers: []string{"srv://example.net"}},
	} {
		_, err := overlay.New(cfg)
		if err == nil {
			t.Errorf("%s was accepted", name)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
