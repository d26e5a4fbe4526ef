package overlay_test

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"thor/broker/brokertest"
	"thor/overlay"
	"thor/subjects"
)

// A cord is the cable to the brokers: once it is held, nothing comes from those that
// are connected, and nothing ends.
type cord struct {
	mu   sync.Mutex
	held []chan struct{} // one for each connection
}

type corded struct {
	net.Conn
	held, closed chan struct{}
	once         sync.Once
}

func (c *cord) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	x := &corded{Conn: conn, held: make(chan struct{}), closed: make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = append(c.held, x.held)
	return x, nil
}

func (c *cord) hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range c.held {
		close(h)
	}
	c.held = nil
}

func (c *corded) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	select {
	case <-c.held:
		<-c.closed
		return 0, net.ErrClosed
	default:
		return n, err
	}
}

func (c *corded) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// The pings of nats.go would take 45 s for it; pulse takes 3 s.
func TestABrokerThatStandsStillIsLeft(t *testing.T) {
	brokers := brokertest.Start(t)
	brokers.Add("b2")
	heard := make(chan *subjects.Announcement, 1000)
	for _, b := range brokers.Brokers {
		hear(t, b.Dial(brokers.Options("m1", subjects.Manager)...), heard)
	}
	var cable cord
	var log lines
	cfg := tlsConfig(t, brokers, "n1", "sip_proxy")
	cfg.Dial, cfg.Log = cable.dial, slog.New(slog.NewTextHandler(&log, nil))
	n, _ := run(t, cfg)
	mustJoin(t, n, overlay.Member{Role: "sip_proxy"})
	was, _, _ := strings.Cut(next(t, heard, 20*time.Second).Via, "#")
	cable.hold()
	for began := time.Now(); ; {
		if time.Since(began) > 30*time.Second {
			t.Fatal("the broker is not left within 30 s")
		}
		a := next(t, heard, 20*time.Second)
		if now, _, _ := strings.Cut(a.Via, "#"); now != was {
			break
		}
	}
	if log.count("stale connection") != 1 {
		t.Errorf("the log does not say why:\n%s", &log)
	}
}
