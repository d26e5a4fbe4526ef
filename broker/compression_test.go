package broker_test

import (
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"thor/broker"
	"thor/broker/brokertest"
)

// late passes what comes to the returned address on to to, and back, each byte d later.
func late(t *testing.T, to string, d time.Duration) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			a, err := l.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", to)
			if err != nil {
				_ = a.Close()
				continue
			}
			go delay(a, b, d)
			go delay(b, a, d)
		}
	}()
	return l.Addr().String()
}

// delay copies from one connection to the other until one ends, and ends both.
func delay(to, from net.Conn, d time.Duration) {
	type chunk struct {
		data []byte
		due  time.Time
	}
	waiting := make(chan chunk, 1024)
	go func() {
		defer func() { _ = to.Close() }()
		for c := range waiting {
			time.Sleep(time.Until(c.due))
			if _, err := to.Write(c.data); err != nil {
				_ = from.Close()
			}
		}
	}()
	defer close(waiting)
	for {
		buf := make([]byte, 32<<10)
		n, err := from.Read(buf)
		waiting <- chunk{buf[:n], time.Now().Add(d)}
		if err != nil {
			if err != io.EOF {
				_ = from.Close()
			}
			return
		}
	}
}

// compressions are how the routes of b are compressed.
func compressions(t *testing.T, b *brokertest.Server) (out []string) {
	t.Helper()
	z, err := b.Server().Routez(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range z.Routes {
		out = append(out, r.Compression)
	}
	return out
}

// Routes are compressed where both brokers say so, by their round trip.
func TestRoutesAreCompressedByTheirRoundTrip(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		delay    time.Duration
		compress []string // brokers that say so
		want     []string
	}{
		// On a machine that is busy a round trip within it takes longer.
		{"a building", 0, []string{"b1", "b2"}, []string{"s2_uncompressed", "s2_fast"}},
		{"two sites", 60 * time.Millisecond, []string{"b1", "b2"}, []string{"s2_best"}},
		{"two sites, one broker says so", 60 * time.Millisecond, []string{"b2"}, []string{"off"}},
		{"two sites, none says so", 60 * time.Millisecond, nil, []string{"off"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n := brokertest.New(t)
			ports := brokertest.Ports(t, 3) // nothing listens at the third one
			way := ports[1]
			if c.delay > 0 {
				way = late(t, ports[1], c.delay)
			}
			for i, routes := range [][]string{{ports[0], way}, {ports[1], ports[2]}} {
				name := fmt.Sprintf("b%d", i+1)
				n.Prepare(name, func(x *broker.Config) {
					x.ClusterListen, x.Routes = ports[i], []string{"tls://" + routes[0], "tls://" + routes[1]}
					x.CompressRoutes = slices.Contains(c.compress, name)
				})
			}
			brokertest.StartAll(n.Brokers...)
			for _, b := range n.Brokers {
				brokertest.Eventually(t, soon, "the routes are compressed as wanted", func() error {
					got := compressions(t, b)
					if len(got) == 0 || slices.ContainsFunc(got, func(mode string) bool { return !slices.Contains(c.want, mode) }) {
						return fmt.Errorf("they are %v, not all of %v", got, c.want)
					}
					return nil
				})
			}
		})
	}
}
