package nodeagent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"thor/overlay/check"
	"thor/overlay/check/checktest"
	"thor/subjects"
)

var local = netip.MustParseAddr("127.0.0.1")

// fakeNet also writes down what is drained.
type fakeNet struct {
	*checktest.Net
	calls []string
}

func newFakeNet() *fakeNet {
	return &fakeNet{Net: checktest.New("n1", "sip_proxy", "media_relay")}
}

func (n *fakeNet) Drain(r subjects.Role) error {
	n.calls = append(n.calls, "drain "+string(r))
	n.SetDrained(true)
	return nil
}

func (n *fakeNet) Resume(r subjects.Role) error {
	n.calls = append(n.calls, "resume "+string(r))
	n.SetDrained(false)
	return nil
}

func (n *fakeNet) expect(t *testing.T, want ...string) {
	t.Helper()
	if said := n.Lines(); !slices.Equal(said, want) {
		t.Errorf("announced\n got %s\nwant %s", strings.Join(said, "\n     "), strings.Join(want, "\n     "))
	}
}

// fakeProbe is a service that dies and comes back at set times.
type fakeProbe struct {
	start    time.Time
	dead     []span
	freezes  bool          // dead means no answer instead of a refusal
	takes    time.Duration // of an answer
	closed   int
	asked    []time.Duration
	pretends error
}

type span struct{ from, to time.Duration }

func (p *fakeProbe) Name() string { return "fake" }
func (p *fakeProbe) Close()       { p.closed++ }

func (p *fakeProbe) Probe(ctx context.Context) error {
	at := time.Since(p.start)
	p.asked = append(p.asked, at)
	if p.pretends != nil {
		return p.pretends
	}
	dead := slices.ContainsFunc(p.dead, func(s span) bool { return at >= s.from && at < s.to })
	if dead && !p.freezes {
		return &check.Fault{Text: "connection refused"}
	}
	wait := p.takes
	if dead {
		wait = time.Hour
	}
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// agentWith makes an agent of one role per list of probes.
func agentWith(t *testing.T, n *fakeNet, cc CheckConfig, probes ...[]*fakeProbe) *Agent {
	t.Helper()
	cc.Kind, cc.Target = TCP, "127.0.0.1:1"
	var cfg Config
	cfg.Metrics = prometheus.NewRegistry()
	for i, ps := range probes {
		rc := RoleConfig{Role: n.ID.Roles[i], Priority: 7}
		for range ps {
			rc.Checks = append(rc.Checks, cc)
		}
		cfg.Roles = append(cfg.Roles, rc)
	}
	a, err := newAgent(cfg, n, asking(n, slices.Concat(probes...)...))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// asking makes the checks of an agent ask probes, in the order in which they are made.
func asking(n *fakeNet, probes ...*fakeProbe) func(*CheckConfig) (prober, error) {
	return func(*CheckConfig) (prober, error) {
		p := probes[0]
		probes = probes[1:]
		p.start = n.Start
		return p, nil
	}
}

func runFor(t *testing.T, a *Agent, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := a.Run(ctx); err != nil {
		t.Errorf("run: %v", err)
	}
}

func ready(a *Agent) bool {
	select {
	case <-a.Ready():
		return true
	default:
		return false
	}
}

func TestARefusingServiceIsDownAfterOneAndAHalfIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNet()
		p := &fakeProbe{dead: []span{{1001 * time.Millisecond, 3100 * time.Millisecond}}}
		a := agentWith(t, n, CheckConfig{Timing: check.Timing{Interval: 500 * time.Millisecond}}, []*fakeProbe{p})
		runFor(t, a, 10*time.Second)
		n.expect(t,
			"0s sip_proxy up",
			"1.75s sip_proxy down: fake: connection refused",
			"3.5s sip_proxy up",
			"10s sip_proxy leave")
		if p.closed != 1 {
			t.Errorf("closed %d times", p.closed)
		}
	})
}

func TestAFrozenServiceIsDownWithinFallIntervalsAndATimeout(t *testing.T) {
	for _, c := range []CheckConfig{
		{Timing: check.Timing{Interval: 500 * time.Millisecond, Timeout: 500 * time.Millisecond}, Counts: check.Counts{Fall: 2}},
		{Timing: check.Timing{Interval: 500 * time.Millisecond, Timeout: 100 * time.Millisecond}, Counts: check.Counts{Fall: 2}},
		{Timing: check.Timing{Interval: 2 * time.Second, Timeout: time.Second}, Counts: check.Counts{Fall: 2}},
		{Timing: check.Timing{Interval: 100 * time.Millisecond}, Counts: check.Counts{Fall: 1}},
		{Timing: check.Timing{Interval: time.Second, Timeout: 900 * time.Millisecond}, Counts: check.Counts{Fall: 5}},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := c.withDefaults()
			bound := time.Duration(c.Fall)*c.Interval + c.Timeout
			for phase := time.Duration(0); phase < c.Interval; phase += c.Interval / 7 {
				n := newFakeNet()
				died := 3*c.Interval + phase
				p := &fakeProbe{dead: []span{{died, time.Hour}}, freezes: true, takes: time.Millisecond}
				runFor(t, agentWith(t, n, c, []*fakeProbe{p}), died+bound+time.Nanosecond)
				if said := n.Lines(); len(said) != 3 || !strings.HasSuffix(said[1], "down: fake: no answer") {
					t.Errorf("%v, dead at %v: %q", c, died, said)
				}
			}
		})
	}
}

func TestALostProbeChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNet()
		p := &fakeProbe{dead: []span{{1900 * time.Millisecond, 2100 * time.Millisecond}, {5900 * time.Millisecond, 6100 * time.Millisecond}}, freezes: true}
		runFor(t, agentWith(t, n, CheckConfig{}, []*fakeProbe{p}), 9500*time.Millisecond)
		n.expect(t, "0s sip_proxy up", "9.5s sip_proxy leave")
		want := []time.Duration{0, 2000, 3000, 5000, 7000, 9000}
		for i := range want {
			want[i] *= time.Millisecond
		}
		if !slices.Equal(p.asked, want) {
			t.Errorf("asked at %v", p.asked)
		}
	})
}

func TestARoleIsAnnouncedOnlyWhenItsChecksHaveDecided(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNet()
		slow := &fakeProbe{takes: 800 * time.Millisecond}
		a := agentWith(t, n, CheckConfig{}, []*fakeProbe{{}, slow}, []*fakeProbe{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		synctest.Wait()
		n.expect(t, "0s media_relay up")
		if s := a.Status(); ready(a) || s[0].State != "" || s[1].State != subjects.Up {
			t.Errorf("early: ready %v, %v", ready(a), s)
		}
		time.Sleep(time.Second)
		n.expect(t, "0s media_relay up", "800ms sip_proxy up")
		if !ready(a) {
			t.Error("not ready after all roles were announced")
		}
		if m := n.Member("sip_proxy"); m.Priority != 7 {
			t.Errorf("announced as %+v", m)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestAServiceThatNeverAnsweredIsAnnouncedDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNet()
		a := agentWith(t, n, CheckConfig{Counts: check.Counts{Rise: 3}}, []*fakeProbe{{dead: []span{{0, 3 * time.Second}}}})
		runFor(t, a, 10*time.Second)
		n.expect(t, "0s sip_proxy down: fake: connection refused", "6s sip_proxy up", "10s sip_proxy leave")
		if !ready(a) {
			t.Error("not ready")
		}
	})
}

func TestALastingFaultIsOneChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNet()
		p := &fakeProbe{pretends: fmt.Errorf("read udp 127.0.0.1:%d->127.0.0.1:5060: %w", 41234, context.DeadlineExceeded)}
		runFor(t, agentWith(t, n, CheckConfig{}, []*fakeProbe{p}), time.Minute)
		n.expect(t, "0s sip_proxy down: fake: no answer", "1m0s sip_proxy leave")
	})
}

func TestAnOperatorsDrainShowsInTheStatusAndNotInWhatIsAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNet()
		a := agentWith(t, n, CheckConfig{}, []*fakeProbe{{}})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		synctest.Wait()
		if err := a.Drain(); err != nil {
			t.Error(err)
		}
		if s := a.Status(); s[0].State != subjects.Draining || s[0].Reason == "" {
			t.Errorf("drained: %v", s)
		}
		if err := a.Resume(); err != nil {
			t.Error(err)
		}
		if s := a.Status(); s[0].State != subjects.Up || s[0].Reason != "" {
			t.Errorf("resumed: %v", s)
		}
		if !slices.Equal(n.calls, []string{"drain _", "resume _"}) {
			t.Errorf("calls: %q", n.calls)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestRunEndsWithTheReasonWhenARoleIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNet()
		deny := errors.New("join as sip_proxy: role sip_proxy of n1: not in the certificate")
		n.Refuse(deny)
		a := agentWith(t, n, CheckConfig{}, []*fakeProbe{{}})
		err := a.Run(t.Context())
		if err == nil || !errors.Is(err, deny) {
			t.Errorf("run: %v", err)
		}
		if err := a.Run(t.Context()); err == nil {
			t.Error("ran twice")
		}
	})
}

func TestNewSaysWhatTheCertificateLacks(t *testing.T) {
	n := newFakeNet()
	_, err := newAgent(Config{Roles: []RoleConfig{
		{Role: "sip_proxy", Addresses: []netip.Addr{local, netip.MustParseAddr("192.0.2.9")}},
		{Role: "xcap_server"},
		{Role: "sip_proxy"},
	}}, n, (*CheckConfig).prober)
	if err == nil {
		t.Fatal("accepted")
	}
	want := []string{
		"nodeagent: role sip_proxy: address 192.0.2.9 is not in the certificate of n1, which holds [127.0.0.1]",
		"nodeagent: role xcap_server: not in the certificate of n1, which holds [sip_proxy media_relay]",
		"nodeagent: role sip_proxy: role: sip_proxy is there twice",
	}
	if got := strings.Split(err.Error(), "\n"); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if _, err := newAgent(Config{}, n, (*CheckConfig).prober); err == nil {
		t.Error("an agent without roles was accepted")
	}
	if _, err := New(Config{}); err == nil {
		t.Error("an agent without a network was accepted")
	}
}
