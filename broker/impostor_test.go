package broker_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"thor/broker"
	"thor/broker/brokertest"
	"thor/subjects"
)

// An impostor listens where a broker is configured, with certificates nobody
// signed for him: he gets nothing, and the routes of the others stay.
func TestImpostorDoesNotDisturbTheCluster(t *testing.T) {
	t.Parallel()
	n, foreign := brokertest.New(t), brokertest.New(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ports := append(brokertest.Ports(t, 2), l.Addr().String())
	for i := range 2 {
		n.Prepare(fmt.Sprintf("b%d", i+1), func(c *broker.Config) {
			c.ClusterListen, c.Routes = ports[i], []string{"tls://" + ports[0], "tls://" + ports[1], "tls://" + ports[2]}
		})
	}
	heard := make(chan string, 100)
	done := make(chan struct{})
	go impersonate(l, func() tls.Certificate { return foreign.Forge("b3", []subjects.Role{subjects.EventServer}, nil) }, heard, done)
	t.Cleanup(func() { _ = l.Close(); <-done })
	b1 := n.Brokers[0]
	brokertest.StartAll(n.Brokers...)
	brokertest.Eventually(t, soon, "b1 connected with b2", func() error {
		if got := strings.Join(b1.Peers(), " "); got != "b2" {
			return fmt.Errorf("it is with %q", got)
		}
		return nil
	})
	var ids []uint64
	for range 6 { // some seconds: several rounds of what looks after routes
		if said := <-heard; said != "" {
			t.Errorf("the impostor was told %q", said)
		}
		if ids == nil {
			ids = routeIDs(t, b1)
		}
	}
	// The pool of routes may not have been complete at first.
	now := routeIDs(t, b1)
	if len(ids) == 0 || slices.ContainsFunc(ids, func(id uint64) bool { return !slices.Contains(now, id) }) {
		t.Errorf("routes were cut: %v, then %v", ids, now)
	}
}

func routeIDs(t *testing.T, b *brokertest.Server) (ids []uint64) {
	t.Helper()
	z, err := b.Server().Routez(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range z.Routes {
		ids = append(ids, r.Rid)
	}
	return ids
}

func impersonate(l net.Listener, cert func() tls.Certificate, heard chan<- string, done chan<- struct{}) {
	defer close(done)
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		s := tls.Server(c, &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert()}, ClientAuth: tls.RequestClientCert})
		buf := make([]byte, 64)
		k, _ := s.Read(buf)
		_ = s.Close()
		select {
		case heard <- string(buf[:k]):
		default:
		}
	}
}
