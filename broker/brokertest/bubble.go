// Package brokertest gives tests real brokers: in virtual time inside one
// process ([Bubble]), on loopback with TLS ([Start]), and as a cluster
// ([Cluster]). Everything is gone when the test ends.
//
// It is for tests only; it is the one package besides broker that may know
// nats-server.
package brokertest

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/nats-io/nats.go"

	"thor/broker"
	"thor/identity"
	"thor/subjects"
)

// Domain is the domain of every test network.
const Domain = "example.net"

// A B is a broker in virtual time, which only connections inside the process
// reach. The permissions are those of a certificate with the same names.
type B struct {
	Broker *broker.Broker
	t      testing.TB
	names  addresses
}

// Bubble runs f in virtual time (testing/synctest) with a fresh broker; dial
// returns a new connection of node with the permissions of roles. Connections
// and the broker end with the bubble. Bubbles cannot run in parallel.
func Bubble(t *testing.T, f func(t *testing.T, dial func(node string, roles ...subjects.Role) *nats.Conn)) {
	t.Helper()
	InBubble(t, func(t *testing.T, b *B) { f(t, b.Dial) })
}

// InBubble is Bubble for tests that need more than connections: options for a
// client of their own, or the broker.
func InBubble(t *testing.T, f func(t *testing.T, b *B)) {
	t.Helper()
	// The server's clock of access times selects on a channel of its package;
	// registered out here, it stays out of the bubble.
	ats.Register()
	defer ats.Unregister()
	emptyPools()       // of timers made outside
	defer emptyPools() // of timers made inside
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := &B{t: t}
		id := b.Identity("broker", subjects.EventServer)
		var err error
		b.Broker, err = broker.New(broker.Config{Identity: id, StoreDir: dir, Version: "test"})
		if err != nil {
			t.Fatal(err)
		}
		run(t, b.Broker)
		t.Cleanup(synctest.Wait) // nats-server leaves a stream's goroutine behind that is being made when it ends
		f(t, b)
	})
}

// emptyPools drops what sync.Pools hold: nats.go keeps timers in one, and a
// timer may not cross the wall of a bubble. A pool lets go at the second cycle.
func emptyPools() {
	runtime.GC()
	runtime.GC()
}

// Identity is who node is in this network. The first address is loopback's, the
// second is the node's own, in 10.0.0.0/16.
func (b *B) Identity(node string, roles ...subjects.Role) *identity.Identity {
	b.t.Helper()
	id, err := subjects.ParseNodeID(node)
	if err != nil {
		b.t.Fatal(err)
	}
	return &identity.Identity{
		Domain: Domain, Node: id, Roles: roles, Addresses: b.names.of(node), Serial: fmt.Sprintf("%02x", len(node)),
	}
}

// Options are those with which node connects. A client that has its own options
// takes these last; it is to name itself with its boot.
func (b *B) Options(node string, roles ...subjects.Role) []nats.Option {
	b.t.Helper()
	return []nats.Option{b.Broker.InProcess(b.Identity(node, roles...))}
}

// Dial returns a new connection of node, without reconnection and without a name.
func (b *B) Dial(node string, roles ...subjects.Role) *nats.Conn {
	b.t.Helper()
	return connect(b.t, "", append(b.Options(node, roles...), nats.NoReconnect())...)
}

func connect(t testing.TB, url string, o ...nats.Option) *nats.Conn {
	t.Helper()
	o = append([]nats.Option{nats.Timeout(10 * time.Second)}, o...)
	nc, err := nats.Connect(url, o...)
	// On a busy machine the server's first PING overtakes the answer to the client's.
	for range 5 {
		if err == nil || !strings.Contains(err.Error(), "got 'PING'") {
			break
		}
		nc, err = nats.Connect(url, o...)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// run starts b and waits until it is ready; the returned function ends it.
func run(t testing.TB, b *broker.Broker) (stop func()) {
	t.Helper()
	ready, stop := launch(t, b)
	ready()
	return stop
}

// launch starts b; ready waits for it, stop ends it.
func launch(t testing.TB, b *broker.Broker) (ready, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("broker: %v", err)
		}
	})
	t.Cleanup(stop)
	return func() {
		t.Helper()
		select {
		case <-b.Ready():
		case err := <-done:
			done <- nil
			t.Fatalf("broker did not start: %v", err)
		}
	}, stop
}

// addresses gives each node name its own address.
type addresses struct {
	mu    sync.Mutex
	known map[string]netip.Addr
}

func (a *addresses) of(node string) []netip.Addr {
	a.mu.Lock()
	defer a.mu.Unlock()
	own, ok := a.known[node]
	if !ok {
		n := len(a.known) + 1
		own = netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)})
		if a.known == nil {
			a.known = make(map[string]netip.Addr)
		}
		a.known[node] = own
	}
	return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), own}
}
