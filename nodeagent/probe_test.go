package nodeagent

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"thor/nodeagent/datagram"
	"thor/overlay/check"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// timeout of probes that are meant to fail by it, and bound of those that are not.
const (
	soon  = 300 * time.Millisecond
	never = 10 * time.Second
)

func proberOf(t *testing.T, c CheckConfig) prober {
	t.Helper()
	c = c.withDefaults()
	if faults := c.faults(); len(faults) > 0 {
		t.Fatal(faults)
	}
	p, err := c.prober()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// faultOf asks once and returns the fault's text, "" for alive.
func faultOf(t *testing.T, p prober, timeout time.Duration) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	if err := p.Probe(ctx); err != nil {
		return check.Explain(err).Text
	}
	return ""
}

// askTwice wants the same text of both probes; one is enough where it is slow.
func askTwice(t *testing.T, p prober, want string) {
	t.Helper()
	timeout := never
	if want == check.NoAnswer || want == datagram.NoValidAnswer {
		timeout = soon
	}
	for range 2 {
		if got := faultOf(t, p, timeout); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if timeout == soon {
			return
		}
	}
}

// udpServer answers each datagram with what answer makes of it, in that order.
func udpServer(t *testing.T, answer func(q string) []string) string {
	t.Helper()
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 65536)
		for {
			n, from, err := l.ReadFrom(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue
			}
			for _, a := range answer(string(buf[:n])) {
				_, _ = l.WriteTo([]byte(a), from)
			}
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.LocalAddr().String()
}

// tcpServer hands each connection to serve.
func tcpServer(t *testing.T, cfg *tls.Config, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if cfg != nil {
		l = tls.NewListener(l, cfg)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serve(c)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

// freePort is an address that nobody listens on, and that no other test is
// given meanwhile: they use 127.0.0.1.
func freePort(t *testing.T, network string) string {
	t.Helper()
	if network == "udp" {
		l, err := net.ListenPacket("udp", "127.0.91.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return l.LocalAddr().String()
	}
	l, err := net.Listen("tcp", "127.0.91.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), never)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not within %v: %s", never, what)
		}
	}
}

func TestTheEndOfTheAgentEndsAProbeAtOnce(t *testing.T) {
	silent := udpServer(t, func(string) []string { return nil })
	hold := tcpServer(t, nil, func(c net.Conn) { _, _ = bufio.NewReader(c).ReadString(0) })
	for _, cc := range []CheckConfig{
		{Kind: SIP, Target: silent},
		{Kind: RTPEngine, Target: silent},
		{Kind: Register, Target: silent, Account: "probe@example.net"},
		{Kind: Call, Target: silent, Account: "probe@example.net", Callee: "echo@example.net"},
		{Kind: Call, Transport: "tcp", Target: hold, Account: "probe@example.net", Callee: "echo@example.net"},
		{Kind: SIP, Transport: "tcp", Target: hold},
		{Kind: SIP, Transport: "tls", Target: hold},
		{Kind: HTTP, Target: "http://" + hold + "/"},
		{Kind: Command, Command: []string{"/bin/sleep", "600"}},
	} {
		p := proberOf(t, cc)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		done := make(chan error, 1)
		go func() { done <- p.Probe(ctx) }()
		cancel()
		select {
		case err := <-done:
			if err == nil {
				t.Errorf("%s: alive", p.Name())
			}
		case <-time.After(never):
			t.Fatalf("%s: does not end", p.Name())
		}
	}
}

// contextOf is a context that the test can end before its cleanups run.
func contextOf(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithCancel(context.Background())
}
