package overlay_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"thor/broker/brokertest"
	"thor/identity"
	"thor/overlay"
	"thor/subjects"
)

// standing puts the brokers of a network in sites, one after the other.
func standing(n *brokertest.Net, sites ...subjects.Site) func(*subjects.Status) {
	return func(s *subjects.Status) {
		for i, b := range n.Brokers {
			host, port, _ := net.SplitHostPort(b.Config.Listen)
			s.Put(subjects.EventServer, subjects.Member{
				Node: subjects.NodeID(b.Node), Addresses: []netip.Addr{netip.MustParseAddr(host)}, State: subjects.Up, Weight: 100, Since: t0,
				Attrs: subjects.Attrs{subjects.AttrPort: port}, Site: sites[i],
			})
		}
	}
}

// A member goes to the broker of its site when that answers again, tells managers before that
// it moves, and stays there; one without a site, and one whose site has no broker, stay where
// they are. The names of the brokers say nothing of where they are: who greets is known.
func TestAMemberReturnsToTheBrokerOfItsSite(t *testing.T) {
	t.Parallel()
	n := brokertest.Mesh(t, 3)
	var urls []string
	for i, b := range n.Brokers {
		_, port, _ := net.SplitHostPort(b.Config.Listen)
		name := fmt.Sprintf("%c.example.org", 'x'+i)
		urls = append(urls, "tls://"+net.JoinHostPort(name, port))
		b.Stop()
		c, err := identity.Load(n.Issue(identity.Request{
			Node: subjects.NodeID(b.Node), Roles: []subjects.Role{subjects.EventServer}, Hosts: []string{name}, Addresses: b.Credentials.Identity().Addresses,
		}))
		if err != nil {
			t.Fatal(err)
		}
		b.Config.Credentials = c
	}
	brokertest.StartAll(n.Brokers...)
	f := ticking(t, n.Net, n.Brokers[0])
	s, _ := f.change(standing(n.Net, "fra", "ams", "lon"))
	heard := announcements(t, n.Brokers[2].Dial(n.Options("m2", subjects.Manager)...))
	n.Brokers[1].Stop()

	at := make(map[string]*overlay.Node)
	for node, site := range map[string]subjects.Site{"inams": "ams", "inpar": "par", "anywhere": ""} {
		cfg := tlsConfig(t, n.Net, node, "sip_proxy")
		cfg.Site, cfg.Brokers = site, urls
		cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			_, port, _ := net.SplitHostPort(address)
			return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
		}
		at[node], _ = run(t, cfg)
		mustJoin(t, at[node], overlay.Member{Role: "sip_proxy"})
	}
	for _, m := range at {
		ready(t, m)
		await(t, m, "the status", holds(s))
		if is := m.Conn().ConnectedServerName(); is == "b2" {
			t.Fatalf("%s is at %s, which has ended", m.ID(), is)
		}
	}
	n.Brokers[1].Start()
	home := at["inams"]
	brokertest.Eventually(t, 60*time.Second, "the return", func() error {
		if v := home.View(); !v.Connected || home.Conn().ConnectedServerName() != "b2" {
			return fmt.Errorf("it is at %q", home.Conn().ConnectedServerName())
		}
		return nil
	})
	var moves, there *subjects.Announcement
	for moves == nil || there == nil {
		switch a := next(t, heard, 20*time.Second); {
		case a.Node != "inams":
		case a.Moves:
			moves = a
		case strings.HasPrefix(a.Via, "b2#"):
			there = a
		}
	}
	if strings.HasPrefix(moves.Via, "b2#") || there.Boot != moves.Boot || there.Seq <= moves.Seq || there.State != subjects.Up {
		t.Errorf("it moves: %+v, there %+v", moves, there)
	}
	if v := home.View(); v.Connection != 2 {
		t.Errorf("it is home with connection %d", v.Connection)
	}
	for _, node := range []string{"inpar", "anywhere"} {
		if v := at[node].View(); v.Connection != 1 {
			t.Errorf("%s has connection %d", node, v.Connection)
		}
	}
}

// The broker of the site is the one that a process dials that knows a status from before.
func TestAProcessThatKnowsAStatusDialsItsSite(t *testing.T) {
	t.Parallel()
	n := brokertest.Mesh(t, 3)
	f := ticking(t, n.Net, n.Brokers[0])
	s, _ := f.change(standing(n.Net, "fra", "ams", "lon"))
	cfg := tlsConfig(t, n.Net, "n1", "sip_proxy")
	cfg.Site = "lon"
	m, stop := run(t, cfg)
	await(t, m, "the status", holds(s))
	stop() // the status is on disk now
	for range 4 {
		var first atomic.Pointer[string]
		cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			first.CompareAndSwap(nil, &address)
			return new(net.Dialer).DialContext(ctx, network, address)
		}
		m, stop = run(t, cfg)
		ready(t, m)
		if is := *first.Load(); is != n.Brokers[2].Config.Listen {
			t.Errorf("%s is dialled first", is)
		}
		stop()
	}
}
