package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"thor/overlay/connlimit"
)

// steady is a part that is ready.
type steady struct{}

func (steady) Run(ctx context.Context) error { <-ctx.Done(); return nil }

func (steady) Ready() <-chan struct{} {
	ready := make(chan struct{})
	close(ready)
	return ready
}

// Idle connections to metrics and health by the thousand, from several addresses,
// do not add up in the process, nor keep away who asks.
func TestIdleConnectionsToMetricsMakeRoom(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{metrics: prometheus.NewRegistry()}
	d.metrics.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "one"}))
	ctx, cancel := context.WithCancel(t.Context())
	var g errgroup.Group
	d.serveHTTP(ctx, &g, l, steady{})
	defer func() {
		cancel()
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
	}()

	const many = 9000
	held := make([]net.Conn, 0, many)
	defer func() {
		for _, c := range held {
			_ = c.Close()
		}
	}()
	for i := range many {
		from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i%4))}}
		c, err := from.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		held = append(held, c)
		if i%3 == 0 { // one that has asked before is idle too
			_, _ = io.WriteString(c, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n") // closed by now, perhaps
		}
	}
	client := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for _, path := range []string{"/metrics", "/livez", "/readyz"} {
		r, err := client.Get("http://" + l.Addr().String() + path)
		if err != nil {
			t.Fatalf("beside %d idle connections: %v", many, err)
		}
		b, err := io.ReadAll(r.Body)
		_ = r.Body.Close()
		if err != nil || r.StatusCode != 200 || path == "/metrics" && !strings.Contains(string(b), "one 0") {
			t.Errorf("%s: %d %q %v", path, r.StatusCode, b, err)
		}
	}
	open := many
	for end := time.Now().Add(20 * time.Second); open > connlimit.Pages && time.Now().Before(end); { // the kernel may have some yet
		open = 0
		for _, c := range held {
			_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
			for {
				_, err := c.Read(make([]byte, 512))
				if errors.Is(err, os.ErrDeadlineExceeded) {
					open++
				}
				if err != nil {
					break
				}
			}
		}
	}
	if open > connlimit.Pages {
		t.Errorf("%d of %d idle connections are open", open, many)
	}
}
