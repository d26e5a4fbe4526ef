package broker_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"thor/broker"
	"thor/broker/brokertest"
	"thor/subjects"
)

// limited is what the broker has counted of a limit.
func limited(t *testing.T, r *prometheus.Registry, limit string) float64 {
	t.Helper()
	got, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range got {
		for _, m := range f.Metric {
			if f.GetName() == "thor_broker_limited_total" && m.Label[0].GetValue() == limit {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// ending dials and returns a channel that is closed with the connection.
func ending(t *testing.T, n *brokertest.Net, node string, roles ...subjects.Role) (*nats.Conn, <-chan struct{}) {
	t.Helper()
	ended := make(chan struct{})
	nc := n.Brokers[0].Dial(append(n.Options(node, roles...), nats.Name("boot-"+node), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
		nats.ClosedHandler(func(*nats.Conn) { close(ended) }))...)
	return nc, ended
}

func TestFloodsAreCutByClass(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		class, subject string
		bytes          int
	}{
		{"announcement", "thor.role.media_relay.n1", 200},
		{"announcement", "thor.role.media_relay.n1", 7 << 10}, // by their bytes
		{"announcement", subjects.StatusGet, 0},
		{"request", "thor.node.p1.provisioning_server.subscriber.media_relay.n1", 100},
		{"request", "thor.node.p1.provisioning_server.subscriber.media_relay.n1", 60 << 10},
		{"answer", "_INBOX.n1.x", 100},
		{"answer", "_ANSWER.m1.n1.x", 200 << 10},
		{"notice", "thor.node.n2._.drain", 0}, // refused anyway: costs all the same
		{"other", "forbidden", 0},
		{"other", "thor.node.d1.thor_database.credentials.media_relay.n1", 200 << 10},
	} {
		t.Run(fmt.Sprintf("%s %d", c.subject, c.bytes), func(t *testing.T) {
			t.Parallel()
			n, r := brokertest.New(t), prometheus.NewRegistry()
			n.Add("b1", func(cfg *broker.Config) { cfg.Metrics = r })
			m := n.Dial("m1", subjects.Manager)
			gone, err := m.SubscribeSync(subjects.Disconnect)
			if err != nil {
				t.Fatal(err)
			}
			told, err := m.SubscribeSync(subjects.CutNode)
			if err != nil {
				t.Fatal(err)
			}
			flush(t, m)
			hostile, ended := ending(t, n, "n1", "media_relay")
			body := make([]byte, c.bytes)
			for end := time.Now().Add(10 * time.Second); ; {
				if err := hostile.Publish(c.subject, body); err != nil {
					break
				}
				if time.Now().After(end) {
					t.Fatal("it goes on for 10 s")
				}
			}
			<-ended
			if msg, err := gone.NextMsg(soon); err != nil || !strings.Contains(string(msg.Data), "boot-n1") {
				t.Error("managers do not hear of it", err)
			}
			if msg, err := told.NextMsg(soon); err != nil {
				t.Error("managers are not told why:", err)
			} else if x, err := subjects.ParseCut(msg.Data); err != nil || x.Node != "n1" || !strings.Contains(x.Reason, c.class) {
				t.Errorf("managers are told %+v, %v", x, err)
			}
			if got := limited(t, r, c.class); got != 1 {
				t.Errorf("%s counted %v times", c.class, got)
			}
		})
	}
}

func TestThreeCutsRefuseTheNodeAndNotItsNeighbour(t *testing.T) {
	t.Parallel()
	n := brokertest.Start(t)
	for range 3 {
		nc, ended := ending(t, n, "n1", "media_relay")
		if err := nc.Publish("thor.role.media_relay.n1", make([]byte, 20<<10)); err != nil {
			t.Fatal(err)
		}
		<-ended
	}
	brokertest.Eventually(t, soon, "the node is refused", func() error { // the cut is counted just after it
		if err := refusal(t, n.Brokers[0], n.Options("n1", "media_relay")...); err == nil || !strings.Contains(err.Error(), "refused for") {
			return fmt.Errorf("after three cuts: %v", err)
		}
		return nil
	})
	flush(t, n.Dial("n2", "media_relay"))
}

// What managers drop for its size ends the connection that sent it, and the
// limit of both is one.
func TestAnAnnouncementAboveItsReceiversLimitIsAViolation(t *testing.T) {
	t.Parallel()
	n := brokertest.Start(t)
	m := n.Dial("m1", subjects.Manager)
	told, err := m.SubscribeSync(subjects.CutNode)
	if err != nil {
		t.Fatal(err)
	}
	const presence = "thor.role.media_relay.n1"
	got, err := m.SubscribeSync(presence)
	if err != nil {
		t.Fatal(err)
	}
	flush(t, m)
	largest := []byte(`{"v":1,"node":"n1","role":"media_relay","addresses":["10.0.0.1"],"x":""}`)
	largest = bytes.Replace(largest, []byte(`""`), fmt.Appendf(nil, "%q", strings.Repeat("y", subjects.MaxAnnouncement-len(largest))), 1)
	good, _ := ending(t, n, "n1", "media_relay")
	msg := &nats.Msg{Subject: presence, Data: largest, Header: nats.Header{"Trace": []string{strings.Repeat("z", 1000)}}}
	if err := good.PublishMsg(msg); err != nil {
		t.Fatal(err)
	}
	flush(t, good)
	if r, err := got.NextMsg(soon); err != nil {
		t.Error(err)
	} else if _, err := subjects.ParseAnnouncement(presence, r.Data); err != nil {
		t.Errorf("the largest that passes is refused by managers: %v", err)
	}
	if _, err := subjects.ParseAnnouncement(presence, append(largest, ' ')); subjects.CodeOf(err) != subjects.CodeTooLarge {
		t.Errorf("one byte more is not refused for its size: %v", err)
	}
	for _, subject := range []string{presence, subjects.StatusGet} {
		nc, ended := ending(t, n, "n1", "media_relay")
		if err := nc.Publish(subject, append(largest, ' ')); err != nil {
			t.Fatal(err)
		}
		<-ended
		if r, err := told.NextMsg(soon); err != nil {
			t.Errorf("%s: managers are not told: %v", subject, err)
		} else if c, err := subjects.ParseCut(r.Data); err != nil || c.Node != "n1" || !strings.Contains(c.Reason, "announcement size") {
			t.Errorf("%s: managers are told %+v, %v", subject, c, err)
		}
	}
	flush(t, good)
	if r, err := got.NextMsg(10 * time.Millisecond); err == nil {
		t.Errorf("%d bytes passed", len(r.Data))
	}
}

// A process that floods with the certificate of a good member, on several
// connections one after the other and together, is cut off and at last refused.
// The member's own connection goes on.
func TestCutsSpareTheOtherConnectionsOfTheNode(t *testing.T) {
	t.Parallel()
	n := brokertest.Start(t)
	m := n.Dial("m1", subjects.Manager)
	const presence = "thor.role.media_relay.n1"
	got, err := m.SubscribeSync(presence)
	if err != nil {
		t.Fatal(err)
	}
	_ = got.SetPendingLimits(-1, -1)
	flush(t, m)
	good, ended := ending(t, n, "n1", "media_relay")
	refusedAt := make(chan struct{})
	go func() {
		defer close(refusedAt)
		var g sync.WaitGroup
		for range 3 {
			g.Go(func() {
				for {
					c, err := nats.Connect("tls://"+n.Brokers[0].Config.Listen, append(n.Options("n1", "media_relay"), nats.NoReconnect())...)
					if err != nil {
						return // refused
					}
					for !c.IsClosed() && c.Publish(presence, []byte("flood")) == nil {
					}
				}
			})
		}
		g.Wait()
	}()
	beats, refused := 0, false
	for end := time.Now().Add(10 * time.Second); ; {
		if err := good.Publish(presence, []byte("beat")); err != nil {
			t.Fatalf("beat %d: %v", beats, err)
		}
		flush(t, good)
		beats++
		if refused {
			break
		}
		select {
		case <-ended:
			t.Fatalf("the good connection ended after %d beats", beats)
		case <-refusedAt:
			refused = true
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(end) {
			t.Fatal("it floods for 10 s")
		}
	}
	flush(t, m)
	for beats > 0 {
		r, err := got.NextMsg(soon)
		if err != nil {
			t.Fatalf("%d beats have not come: %v", beats, err)
		}
		if string(r.Data) == "beat" {
			beats--
		}
	}
}

func TestTooLargeMessagesEndTheConnection(t *testing.T) {
	t.Parallel()
	n := brokertest.Start(t)
	nc, err := tls.Dial("tcp", n.Brokers[0].Config.Listen, n.Credentials("n1", "media_relay").ClientTLS())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = nc.Close() }()
	_ = nc.SetDeadline(time.Now().Add(soon))
	_, _ = nc.Write(fmt.Appendf(nil, "CONNECT {}\r\nPUB thor.node.n1.x.y 1048576\r\n%s", make([]byte, 1<<20)))
	all := make([]byte, 0, 4096)
	buf := make([]byte, 4096)
	for {
		k, err := nc.Read(buf)
		if all = append(all, buf[:k]...); err != nil {
			break
		}
	}
	if !strings.Contains(string(all), "maximum payload exceeded") {
		t.Errorf("%.300q", all)
	}
}

func TestAnswersGoToTheAskerOnly(t *testing.T) {
	t.Parallel()
	n := brokertest.Start(t)
	o := n.Dial("ops", subjects.Operator)
	seen, err := o.SubscribeSync("thor.node.>")
	if err != nil {
		t.Fatal(err)
	}
	flush(t, o)
	refused := make(chan error, 100)
	nc := n.Brokers[0].Dial(append(n.Options("n1", "sip_proxy"), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))...)
	const request = "thor.node.p1.provisioning_server.subscriber.sip_proxy.n1"
	for _, reply := range []string{
		"thor.role.sip_proxy.n2", "thor.crl", "thor.status", "thor.sys.revoked", "thor.node.n2._.drain", "_INBOX.n2.x", "_ANSWER.n2.thor_manager.x",
		"_JS.n2.x", "$JS.API.STREAM.DELETE.KV_thor_status", "$KV.thor_election.manager", "_INBOX.n1", "_INBOX.n1.*", "_INBOX.n1.>", "_INBOX.n1..x",
		"_INBOX.n1.x.", "_INBOX.n10.x", "_INBOX.>", "_inbox.n1.x", "x", "_R_.x", "$SYS.REQ.SERVER.PING", "_ANSWER.n1", "_JS",
	} {
		if err := nc.PublishRequest(request, reply, []byte("x")); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-refused:
			if !strings.Contains(err.Error(), "Permissions Violation for Publish with Reply of") || !strings.Contains(err.Error(), reply) {
				t.Errorf("%s: %v", reply, err)
			}
		case <-time.After(soon):
			t.Errorf("%s: no error", reply)
		}
	}
	for _, reply := range []string{"_INBOX.n1.x", "_ANSWER.n1.provisioning_server.x", "_JS.n1.x.y"} {
		if err := nc.PublishRequest(request, reply, []byte("x")); err != nil {
			t.Fatal(err)
		}
		if m, err := seen.NextMsg(soon); err != nil || m.Reply != reply {
			t.Errorf("%s: %v %v", reply, m, err)
		}
	}
	flush(t, nc, o)
	if m, err := seen.NextMsg(time.Millisecond); err == nil {
		t.Errorf("passed: reply %s", m.Reply)
	}
}

func TestTracesAreRefused(t *testing.T) {
	t.Parallel()
	n := brokertest.Start(t)
	inbox := "_INBOX.n1.trace"
	nc := n.Brokers[0].Dial(append(n.Options("n1", "sip_proxy"), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))...)
	trace, err := nc.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	m := nats.NewMsg("thor.role.sip_proxy.n1")
	m.Header.Set("Nats-Trace-Dest", inbox)
	if err := nc.PublishMsg(m); err != nil {
		t.Fatal(err)
	}
	flush(t, nc)
	if m, err := trace.NextMsg(100 * time.Millisecond); err == nil {
		t.Errorf("a trace: %s", m.Data)
	}
}

func TestNodeHasSoManyConnectionsAndSubscriptions(t *testing.T) {
	t.Parallel()
	n := brokertest.New(t)
	b := n.Add("b1", func(c *broker.Config) { c.NodeConnections, c.NodeSubscriptions = 4, 10 })
	var conns []*nats.Conn
	for range 4 {
		nc, _ := ending(t, n, "n1", "sip_proxy")
		conns = append(conns, nc)
	}
	if err := refusal(t, b, n.Options("n1", "sip_proxy")...); err == nil || !strings.Contains(err.Error(), "too many connections") {
		t.Errorf("connection 5: %v", err)
	}
	n.Dial("n2", "sip_proxy")
	conns[0].Close()
	brokertest.Eventually(t, soon, "a connection in place of one that ended", func() error {
		nc, err := nats.Connect("tls://"+b.Config.Listen, n.Options("n1", "sip_proxy")...)
		if err == nil {
			nc.Close()
		}
		return err
	})
	for i := range 10 {
		s, err := conns[1+i%2].SubscribeSync(fmt.Sprintf("_INBOX.n1.%d", i))
		if err != nil {
			t.Fatal(err)
		}
		flush(t, conns[1+i%2])
		if i == 0 { // makes room again
			_ = s.Unsubscribe()
		}
	}
	flush(t, conns[1:]...)
	if _, err := conns[3].SubscribeSync("_INBOX.n1.a"); err != nil {
		t.Fatal(err)
	}
	flush(t, conns[3])
	_, _ = conns[3].SubscribeSync("_INBOX.n1.b")
	brokertest.Eventually(t, soon, "the end of who subscribes too much", func() error {
		if !conns[3].IsClosed() {
			return errors.New("it lives")
		}
		return nil
	})
	_, _ = conns[1].SubscribeSync("_INBOX.n1.c") // what the ended one had counts no more
	flush(t, conns[1:3]...)
}

// silent opens connections that say nothing, from some addresses, until stop.
func silent(t *testing.T, addr string, want int) (opened func() int, stop func()) {
	t.Helper()
	var mu sync.Mutex
	var all []net.Conn
	done := make(chan struct{})
	var g sync.WaitGroup
	for i := range 4 { // not from 127.0.0.1: a broker started later has reserved its port there
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i))}, Timeout: time.Second}
		g.Go(func() {
			for {
				mu.Lock()
				n := len(all)
				mu.Unlock()
				select {
				case <-done:
					return
				default:
				}
				if n >= want {
					return
				}
				c, err := d.Dial("tcp", addr)
				if err != nil {
					continue
				}
				mu.Lock()
				all = append(all, c)
				mu.Unlock()
			}
		})
	}
	return func() int { mu.Lock(); defer mu.Unlock(); return len(all) }, func() {
		close(done)
		g.Wait()
		for _, c := range all {
			_ = c.Close()
		}
	}
}

func TestSilentConnectionsLeaveRoomForGoodOnes(t *testing.T) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil || l.Max < 20_000 {
		t.Skipf("%d descriptors, %v", l.Max, err)
	}
	n, r := brokertest.New(t), prometheus.NewRegistry()
	p := brokertest.Ports(t, 2)
	routes := []string{"tls://" + p[0], "tls://" + p[1]}
	b := n.Prepare("b1", func(c *broker.Config) { c.ClusterListen, c.Routes, c.Metrics = p[0], routes, r })
	other := n.Prepare("b2", func(c *broker.Config) { c.ClusterListen, c.Routes = p[1], routes })
	b.Start()
	for _, addr := range []string{b.Config.Listen, p[0]} {
		opened, stop := silent(t, addr, 6000)
		defer stop()
		brokertest.Eventually(t, 30*time.Second, "2,000 silent connections", func() error {
			if n := opened(); n < 2000 {
				return fmt.Errorf("%d", n)
			}
			return nil
		})
	}
	flush(t, n.Dial("n1", "sip_proxy"))
	other.Start()
	brokertest.Eventually(t, soon, "a route", func() error {
		if got := b.Peers(); len(got) != 1 {
			return fmt.Errorf("routes to %v", got)
		}
		return nil
	})
	for _, limit := range []string{"silent", "route"} {
		brokertest.Eventually(t, soon, "limit "+limit, func() error {
			if limited(t, r, limit) == 0 {
				return errors.New("none cut")
			}
			return nil
		})
	}
	if got := b.Peers(); len(got) != 1 {
		t.Errorf("routes to %v", got)
	}
}

func TestThousandMembersBehindOneAddressComeBack(t *testing.T) {
	if testing.Short() {
		t.Skip("1,000 TLS handshakes")
	}
	n := brokertest.New(t)
	b := n.Add("b1")
	creds := n.Credentials("m1", subjects.Manager) // exempt from the limit of a node
	errs := make(chan error, 1000)
	for range 1000 {
		go func() {
			c, err := tls.DialWithDialer(&net.Dialer{Timeout: 30 * time.Second}, "tcp", b.Config.Listen, creds.ClientTLS())
			if err == nil {
				_ = c.SetDeadline(time.Now().Add(30 * time.Second))
				_, err = c.Read(make([]byte, 5)) // INFO
				_ = c.Close()
			}
			errs <- err
		}()
	}
	for range 1000 {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
}
