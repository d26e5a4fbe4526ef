package broker

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"

	"thor/identity"
	"thor/subjects"
)

// The kernel keeps silent connections to itself: who speaks is accepted before
// those that came earlier and said nothing.
func TestSilentConnectionsStayInTheKernel(t *testing.T) {
	port := func(l net.Listener) uint16 { return uint16(l.Addr().(*net.TCPAddr).Port) }
	for name, open := range map[string]func() (net.Listener, error){
		"client port": func() (net.Listener, error) { return listen("127.0.0.1:0") },
		"cluster port": func() (net.Listener, error) {
			l, err := net.Listen("tcp", "127.0.0.1:0") // as nats-server opens it
			if err == nil {
				err = deferListener(port(l))
			}
			return l, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := open()
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			var last net.Conn
			for range 100 {
				if last, err = net.Dial("tcp", l.Addr().String()); err != nil {
					t.Fatal(err)
				}
				defer last.Close()
			}
			if _, err := last.Write([]byte{recordHandshake}); err != nil {
				t.Fatal(err)
			}
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if got, want := c.RemoteAddr().String(), last.LocalAddr().String(); got != want {
				t.Errorf("accepted %s, which said nothing, before %s", got, want)
			}
		})
	}
	if err := deferListener(1); err == nil || !strings.Contains(err.Error(), "no such listener") {
		t.Errorf("a port that is not open: %v", err)
	}
}

// A source whose connections come and go in silence leaves nothing behind.
func TestAdmissionForgetsThoseWhoLeft(t *testing.T) {
	a, from := newAdmission(100, 50, 8), netip.MustParseAddr("192.0.2.1")
	enter := func() *waiter {
		c, far := net.Pipe()
		_ = far.Close()
		w, _ := a.enter(c, from)
		return w
	}
	stays := enter()
	for range 10_000 {
		a.leave(enter())
	}
	if n := len(stays.src.silent); n > 50 {
		t.Errorf("%d are remembered, 1 waits", n)
	}
	if a.size() != 1 {
		t.Errorf("%d wait", a.size())
	}
}

// Who is told why it is refused, which takes as long as it likes, keeps no turn
// from the others of its source.
func TestHandshakesThatAreOverGiveTheirTurnBack(t *testing.T) {
	a, from := newAdmission(100, 50, sourceTurns), netip.MustParseAddr("192.0.2.1") // one turn for each source
	refused, _ := a.enter(nil, from)
	good, _ := a.enter(nil, from)
	if err := a.begin(t.Context(), refused, nil); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.begin(ended, good, nil); err == nil {
		t.Fatal("a second handshake is under way")
	}
	a.finish(refused)
	if err := a.begin(t.Context(), good, nil); err != nil {
		t.Fatal(err)
	}
	a.leave(refused)
	a.leave(good)
	if len(a.turns) != 0 || a.size() != 0 {
		t.Errorf("%d turns are taken, %d wait", len(a.turns), a.size())
	}
}

// What a hand-over of subscribers needs is not lent to those who have none: a
// burst that is permitted costs brokers as much as one that is not.
func TestOnlyNodesWithSubscribersMayAskAndAnswerMuch(t *testing.T) {
	of := func(roles ...subjects.Role) rates { return *ratesOf(&identity.Identity{Node: "n1", Roles: roles}) }
	low, proxy := of(subjects.MediaRelay), of(subjects.MediaRelay, subjects.SIPProxy)
	for _, class := range []traffic{requests, answers, notices} {
		if l, p := low[class].messages, proxy[class].messages; l > 100 || p < 500 {
			t.Errorf("%s: %v messages a second of a media relay, %v of a proxy", class, l, p)
		}
	}
	if n := of(subjects.ProvisioningServer)[notices].messages; n < 1000 {
		t.Errorf("a provisioning server tells %v changes a second", n)
	}
}

// What one certificate of a low role may send at once, through three brokers, is
// less than a broker lets wait for one slow reader: no manager is cut off for it.
func TestAllThatALowRoleSendsAtOnceIsLittle(t *testing.T) {
	pending := Config{}.withDefaults().MaxPending
	low := *ratesOf(&identity.Identity{Node: "n1", Roles: []subjects.Role{subjects.MediaRelay}})
	if sum := 3 * nodeShare * (low[announcements].most() + low[answers].most()); int64(sum) > pending {
		t.Errorf("%.1f MiB to a manager", sum/(1<<20))
	}
	if sum := nodeShare * (low[announcements].most() + low[requests].most() + low[answers].most() + low[others].most()); int64(sum) > pending {
		t.Errorf("%.1f MiB to one broker", sum/(1<<20))
	}
}
