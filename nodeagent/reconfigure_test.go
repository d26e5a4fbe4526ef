package nodeagent

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"thor/overlay/check"
	"thor/subjects"
)

// running is an agent that runs; end ends it and waits.
func running(t *testing.T, n *fakeNet, roles ...RoleConfig) (a *Agent, end func()) {
	t.Helper()
	a, err := newAgent(Config{Roles: roles, Metrics: prometheus.NewRegistry()}, n, (*CheckConfig).prober)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	synctest.Wait()
	return a, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func reconfigure(t *testing.T, a *Agent, roles ...RoleConfig) {
	t.Helper()
	if err := a.Reconfigure(roles); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

func TestReconfigureAddsAndRemovesRolesWithoutTouchingTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNet()
		n.ID.Roles = append(n.ID.Roles, "voicemail_server")
		a, end := running(t, n, RoleConfig{Role: "sip_proxy"}, RoleConfig{Role: "media_relay"})
		time.Sleep(time.Second)
		reconfigure(t, a, RoleConfig{Role: "voicemail_server"}, RoleConfig{Role: "sip_proxy"})
		time.Sleep(time.Second)
		n.expect(t, "0s sip_proxy up", "0s media_relay up", "1s media_relay leave", "1s voicemail_server up")
		if s := a.Status(); len(s) != 2 || s[0].Role != "voicemail_server" || s[1].Role != "sip_proxy" {
			t.Errorf("status %v", s)
		}
		end()
		if got := strings.Join(n.Lines()[4:], "\n"); !strings.Contains(got, "2s sip_proxy leave") || !strings.Contains(got, "2s voicemail_server leave") || strings.Contains(got, "media_relay") {
			t.Errorf("at the end: %s", got)
		}
	})
}

func TestReconfigureChangesWhatARoleSaysInOneAnnouncement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNet()
		n.ID.Addresses = append(n.ID.Addresses, netip.MustParseAddr("192.0.2.1"))
		a, end := running(t, n, RoleConfig{Role: "sip_proxy", Priority: 7, Attrs: subjects.Attrs{"a": "1"}})
		defer end()
		next := RoleConfig{Role: "sip_proxy", Addresses: n.ID.Addresses[1:], Priority: 9, Weight: 50, Version: "2", Attrs: subjects.Attrs{"a": "2"}}
		reconfigure(t, a, next)
		n.expect(t, "0s sip_proxy up", "0s sip_proxy up")
		m := n.Member("sip_proxy")
		if m.Priority != 9 || m.Weight != 50 || m.Version != "2" || m.Attrs["a"] != "2" || m.Addresses[0].String() != "192.0.2.1" || m.State != subjects.Up {
			t.Errorf("announced %+v", m)
		}
		reconfigure(t, a, next)
		n.expect(t, "0s sip_proxy up", "0s sip_proxy up")
	})
}

func TestAChangedCheckKeepsTheRoleAsItIsUntilItHasDecided(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNet()
		old := CheckConfig{Kind: TCP, Target: "127.0.0.1:1"}
		kept := CheckConfig{Kind: TCP, Target: "127.0.0.1:2"}
		p, q := &fakeProbe{}, &fakeProbe{}
		a, err := newAgent(Config{Roles: []RoleConfig{{Role: "sip_proxy", Checks: []CheckConfig{old, kept}}}}, n, asking(n, p, q))
		if err != nil {
			t.Fatal(err)
		}
		a.newProber = (*CheckConfig).prober
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		time.Sleep(time.Second)
		// The new check's service is dead: nothing listens on the port.
		reconfigure(t, a, RoleConfig{Role: "sip_proxy", Checks: []CheckConfig{kept, {Kind: Command, Command: []string{"/bin/false"}}}})
		if p.closed != 1 || q.closed != 0 {
			t.Errorf("closed the old check %d times and the kept one %d times", p.closed, q.closed)
		}
		asked := len(p.asked)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if len(p.asked) != asked || len(q.asked) < 3 {
			t.Errorf("the old check was asked %d times more, the kept one %d times", len(p.asked)-asked, len(q.asked))
		}
		said := n.Lines()
		last := said[len(said)-1]
		if !strings.Contains(last, "sip_proxy down: command /bin/false") {
			t.Errorf("announced %q", last)
		}
		// Without the failing check the role is up at once.
		reconfigure(t, a, RoleConfig{Role: "sip_proxy", Checks: []CheckConfig{kept}})
		if m := n.Member("sip_proxy"); m.State != subjects.Up || m.Reason != "" {
			t.Errorf("announced %+v", m)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if q.closed != 1 {
			t.Errorf("closed the kept check %d times", q.closed)
		}
	})
}

func TestABadReconfigurationChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNet()
		a, end := running(t, n, RoleConfig{Role: "sip_proxy"})
		for _, roles := range [][]RoleConfig{
			nil,
			{{Role: "media_relay"}, {Role: "xcap_server"}},
			{{Role: "media_relay", Checks: []CheckConfig{{Kind: "ping"}}}},
			{{Role: "sip_proxy", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.9")}}},
		} {
			if err := a.Reconfigure(roles); err == nil || !strings.HasPrefix(err.Error(), "nodeagent: ") {
				t.Errorf("%v: %v", roles, err)
			}
		}
		n.expect(t, "0s sip_proxy up")
		end()
		if err := a.Reconfigure([]RoleConfig{{Role: "media_relay"}}); err == nil {
			t.Error("reconfigured after its end")
		}
		n.expect(t, "0s sip_proxy up", "0s sip_proxy leave")
	})
}

// What the SDK refuses is an error, and is tried again.
func TestAChangeThatTheSDKRefusesIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNet()
		a, end := running(t, n, RoleConfig{Role: "sip_proxy"})
		defer end()
		next := RoleConfig{Role: "sip_proxy", Priority: 9}
		deny := errors.New("announcement of 9000 bytes")
		n.Refuse(deny)
		if err := a.Reconfigure([]RoleConfig{next}); !errors.Is(err, deny) || !strings.Contains(err.Error(), "sip_proxy") {
			t.Errorf("the error is %v", err)
		}
		n.Refuse(nil)
		reconfigure(t, a, next)
		if m := n.Member("sip_proxy"); m.Priority != 9 {
			t.Errorf("announced %+v", m)
		}
	})
}

// A new check knows nothing yet: until then the role is what it was.
func TestStatusIsWhatIsAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNet()
		a, end := running(t, n, RoleConfig{Role: "sip_proxy"})
		defer end()
		slow := CheckConfig{Kind: Command, Command: []string{"/bin/true"}, Timing: check.Timing{Interval: time.Hour, Timeout: time.Minute}, Counts: check.Counts{Rise: 2}}
		if err := a.Reconfigure([]RoleConfig{{Role: "sip_proxy", Checks: []CheckConfig{slow}}}); err != nil {
			t.Fatal(err)
		}
		if s := a.Status(); s[0].State != subjects.Up {
			t.Errorf("announced up, and the status is %+v", s)
		}
		n.SetDrained(true)
		if s := a.Status(); s[0].State != subjects.Draining || s[0].Reason == "" {
			t.Errorf("announced draining, and the status is %+v", s)
		}
	})
}

func TestReconfigureBeforeRunIsWhatRunAnnounces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNet()
		a, err := newAgent(Config{Roles: []RoleConfig{{Role: "sip_proxy"}}}, n, (*CheckConfig).prober)
		if err != nil {
			t.Fatal(err)
		}
		reconfigure(t, a, RoleConfig{Role: "media_relay", Priority: 3})
		reconfigure(t, a, RoleConfig{Role: "media_relay", Priority: 4})
		n.expect(t)
		runFor(t, a, time.Second)
		n.expect(t, "0s media_relay up", "1s media_relay leave")
		if m := n.Member("media_relay"); m.Priority != 4 {
			t.Errorf("announced %+v", m)
		}
	})
}

func TestReadyComesWhenTheRolesThatRemainAreAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNet()
		slow := CheckConfig{Kind: TCP, Target: "127.0.0.1:1", Timing: check.Timing{Interval: time.Hour, Timeout: time.Hour}}
		a, err := newAgent(Config{Roles: []RoleConfig{{Role: "sip_proxy", Checks: []CheckConfig{slow}}, {Role: "media_relay"}}}, n, asking(n, &fakeProbe{takes: 30 * time.Minute}))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		defer func() { cancel(); <-done }()
		synctest.Wait()
		if ready(a) {
			t.Error("ready before its check decided")
		}
		reconfigure(t, a, RoleConfig{Role: "media_relay"})
		if !ready(a) {
			t.Error("not ready though all its roles are announced")
		}
	})
}
