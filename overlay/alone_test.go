package overlay_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"thor/broker/brokertest"
	"thor/overlay"
	"thor/subjects"
)

// A resident is a process that connects to one broker first, and may go to all.
type resident struct {
	*overlay.Node
	roams atomic.Bool  // it may dial all
	dials atomic.Int32 // since then
}

func settle(t *testing.T, n *brokertest.Net, name string, at *brokertest.Server) *resident {
	t.Helper()
	r := &resident{}
	cfg := tlsConfig(t, n, name, "sip_proxy")
	cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if !r.roams.Load() && address != at.Config.Listen {
			return nil, errors.New("not yet")
		}
		if r.roams.Load() {
			r.dials.Add(1)
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	r.Node, _ = run(t, cfg)
	ready(t, r.Node)
	r.roams.Store(true)
	return r
}

func (r *resident) broker() string {
	if nc := r.Conn(); nc != nil && r.Connected() {
		return nc.ConnectedServerName()
	}
	return ""
}

// ticking is a manager that is heard through one broker.
func ticking(t *testing.T, n *brokertest.Net, at *brokertest.Server) *fakeManager {
	t.Helper()
	f := newManager(t, at.Dial(n.Options("m1", subjects.Manager)...))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				f.tick()
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return f
}

// Members leave a broker that has lost its routes, by themselves; members
// elsewhere stay where they are.
func TestMembersLeaveABrokerThatIsCutOff(t *testing.T) {
	t.Parallel()
	n := brokertest.Mesh(t, 3)
	ticking(t, n.Net, n.Brokers[1])
	var there, elsewhere []*resident
	for i := range 4 {
		there = append(there, settle(t, n.Net, fmt.Sprintf("n%d", i), n.Brokers[0]))
	}
	for i := range 2 {
		elsewhere = append(elsewhere, settle(t, n.Net, fmt.Sprintf("e%d", i), n.Brokers[1+i]))
	}
	for _, r := range append(there, elsewhere...) {
		await(t, r.Node, "a current status", func(v *overlay.View) bool { return v.Status != nil && !v.Stale })
	}
	n.Isolate(0, true)
	for _, r := range there {
		brokertest.Eventually(t, 40*time.Second, string(r.ID())+" goes to another broker", func() error {
			if b := r.broker(); b != "b2" && b != "b3" {
				return fmt.Errorf("it is at %q", b)
			}
			return nil
		})
		if r.View().BrokerAlone {
			t.Errorf("%s says that its new broker is alone", r.ID())
		}
	}
	for i, r := range elsewhere {
		if got := r.View().Connection; got != 1 || r.broker() != n.Brokers[1+i].Node {
			t.Errorf("%s is at %s, connection %d", r.ID(), r.broker(), got)
		}
	}
}

// Members of the only broker that is left stay connected to it, though it is alone
// and no manager is heard.
func TestMembersStayAtTheLastBroker(t *testing.T) {
	t.Parallel()
	n := brokertest.Cluster(t, 3)
	var there []*resident
	for i := range 3 {
		there = append(there, settle(t, n, fmt.Sprintf("n%d", i), n.Brokers[0]))
	}
	n.Brokers[1].Stop()
	n.Brokers[2].Stop()
	for _, r := range there {
		await(t, r.Node, "its broker is alone", func(v *overlay.View) bool { return v.BrokerAlone })
		brokertest.Eventually(t, 60*time.Second, string(r.ID())+" looked for another broker twice", func() error {
			if d := r.dials.Load(); d < 3 { // each look dials two
				return fmt.Errorf("%d connections tried", d)
			}
			return nil
		})
	}
	for _, r := range there {
		if v := r.View(); !v.Connected || v.Connection != 1 {
			t.Errorf("%s: connected %v, connection %d", r.ID(), v.Connected, v.Connection)
		}
	}
	// Who has no connection yet gets one, though it is alone.
	late := settle(t, n, "late", n.Brokers[0])
	if v := await(t, late.Node, "connected", func(v *overlay.View) bool { return v.Connected }); !v.BrokerAlone {
		t.Errorf("%+v", v)
	}
}

// With all routes cut there is no better broker: all stay connected.
func TestMembersStayConnectedWhenAllRoutesAreCut(t *testing.T) {
	t.Parallel()
	n := brokertest.Mesh(t, 3)
	var all []*resident
	for i := range 6 {
		all = append(all, settle(t, n.Net, fmt.Sprintf("n%d", i), n.Brokers[i%3]))
	}
	for i := range n.Brokers {
		n.Isolate(i, true)
	}
	for _, b := range n.Brokers {
		brokertest.Eventually(t, 30*time.Second, b.Node+" is alone", func() error {
			if b.AloneSince().IsZero() {
				return errors.New("it is not")
			}
			return nil
		})
	}
	for _, r := range all {
		await(t, r.Node, "at a broker that is alone", func(v *overlay.View) bool { return v.Connected && v.BrokerAlone })
	}
	before := make([]int, len(all))
	for i, r := range all {
		before[i] = r.View().Connection
		r.dials.Store(0)
	}
	for i, r := range all {
		brokertest.Eventually(t, 60*time.Second, string(r.ID())+" looked again", func() error {
			if d := r.dials.Load(); d < 4 {
				return fmt.Errorf("%d connections tried", d)
			}
			return nil
		})
		if v := r.View(); !v.Connected || v.Connection != before[i] || v.Connection > 3 {
			t.Errorf("%s: connected %v, connection %d after %d", r.ID(), v.Connected, v.Connection, before[i])
		}
	}
}
