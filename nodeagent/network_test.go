package nodeagent_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"thor/broker/brokertest"
	"thor/nodeagent"
	"thor/overlay"
	"thor/overlay/check"
	"thor/subjects"
)

const patience = 20 * time.Second

// running runs something until stop.
func running(t *testing.T, what string, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// heard waits for an announcement of role in the state, with the reason.
func heard(t *testing.T, sub *nats.Subscription, role subjects.Role, state subjects.State, reason string) *subjects.Announcement {
	t.Helper()
	last := "nothing"
	for end := time.Now().Add(patience); time.Now().Before(end); {
		m, err := sub.NextMsg(time.Until(end))
		if err != nil {
			break
		}
		a, err := subjects.ParseAnnouncement(m.Subject, m.Data)
		if err != nil {
			t.Fatal(err)
		}
		if a.Role == role {
			last = fmt.Sprintf("%s %q", a.State, a.Reason)
			if a.State == state && a.Reason == reason {
				return a
			}
		}
	}
	t.Fatalf("%s %q was not announced as %s; the last was %s", state, reason, role, last)
	return nil
}

func TestTheNetworkHearsHowTheServicesAre(t *testing.T) {
	net := brokertest.Start(t)
	sub, err := net.Dial("m1", subjects.Manager).SubscribeSync(subjects.AllPresences)
	if err != nil {
		t.Fatal(err)
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		t.Fatal(err)
	}
	addr, stopSIP := responder(t, "127.0.91.6:0")
	on, err := overlay.New(overlay.Config{
		Credentials: net.Credentials("node1", "sip_proxy", "media_relay"), Brokers: net.URLs(), StateDir: t.TempDir(), Beat: 200 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	agent, err := nodeagent.New(nodeagent.Config{Overlay: on, Roles: []nodeagent.RoleConfig{
		{Role: "sip_proxy", Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Priority: 5, Checks: []nodeagent.CheckConfig{
			{Kind: nodeagent.SIP, Target: addr, Timing: check.Timing{Interval: 100 * time.Millisecond}},
			{Kind: nodeagent.SIP, Transport: "tcp", Target: addr, Timing: check.Timing{Interval: 100 * time.Millisecond}},
		}},
		{Role: "media_relay"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	running(t, "overlay", on.Run)
	stop := running(t, "agent", agent.Run)

	if a := heard(t, sub, "sip_proxy", subjects.Up, ""); len(a.Addresses) != 1 || a.Priority != 5 || a.Plain() {
		t.Errorf("announced %+v", a)
	}
	heard(t, sub, "media_relay", subjects.Up, "")
	stopSIP()
	heard(t, sub, "sip_proxy", subjects.Down, "sip options udp "+addr+": connection refused")
	heard(t, sub, "media_relay", subjects.Up, "")
	_, stopSIP = responder(t, addr)
	heard(t, sub, "sip_proxy", subjects.Up, "")
	if err := agent.Drain(); err != nil {
		t.Error(err)
	}
	heard(t, sub, "sip_proxy", subjects.Draining, "drained by an operator")
	stopSIP()
	for range 2 {
		heard(t, sub, "media_relay", subjects.Draining, "drained by an operator")
	}
	if err := agent.Resume(); err != nil {
		t.Error(err)
	}
	heard(t, sub, "sip_proxy", subjects.Down, "sip options udp "+addr+": connection refused")
	stop()
	gone := make(map[subjects.Role]bool)
	for len(gone) < 2 {
		m, err := sub.NextMsg(patience)
		if err != nil {
			t.Fatalf("only %v left: %v", gone, err)
		}
		a, err := subjects.ParseAnnouncement(m.Subject, m.Data)
		if err != nil {
			t.Fatal(err)
		}
		if a.State == subjects.Leave {
			gone[a.Role] = true
		}
	}
}

func TestNewRefusesWhatTheCertificateDoesNotHold(t *testing.T) {
	net := brokertest.New(t)
	on, err := overlay.New(overlay.Config{Credentials: net.Credentials("node1", "sip_proxy"), Brokers: []string{"tls://127.0.0.1:4222"}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = nodeagent.New(nodeagent.Config{Overlay: on, Roles: []nodeagent.RoleConfig{{Role: "sip_proxy", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.7")}}}})
	if err == nil || !strings.HasPrefix(err.Error(), "nodeagent: role sip_proxy: address 192.0.2.7 is not in the certificate of node1") || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v", err)
	}
}
