package broker_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"thor/broker"
	"thor/broker/brokertest"
	"thor/identity"
	"thor/manager/election"
	"thor/subjects"
)

// runError runs a broker that cannot start.
func runError(t *testing.T, c broker.Config) error {
	t.Helper()
	b, err := broker.New(c)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- b.Run(t.Context()) }()
	select {
	case err := <-done:
		return err
	case <-b.Ready():
		t.Fatal("it started")
	case <-time.After(soon):
		t.Fatal("Run neither starts nor fails")
	}
	return nil
}

func TestRunSaysInOneLineWhyItCannotStart(t *testing.T) {
	n := brokertest.New(t)
	used, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = used.Close() }()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	broken := t.TempDir()
	if err := os.WriteFile(filepath.Join(broken, "jetstream"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, say string
		edit      func(*broker.Config)
	}{
		{"client port in use", "address already in use", func(c *broker.Config) { c.Listen = used.Addr().String() }},
		{"cluster port in use", "address already in use", func(c *broker.Config) {
			c.ClusterListen, c.Routes = used.Addr().String(), []string{"tls://" + used.Addr().String(), "tls://127.0.0.2:6222"}
		}},
		{"no such address", "cannot assign", func(c *broker.Config) { c.Listen, c.Advertise = "192.0.2.1:4222", "127.0.0.1" }},
		{"store is a file", "store directory", func(c *broker.Config) { c.StoreDir = file }},
		{"store below a file", "store directory", func(c *broker.Config) { c.StoreDir = filepath.Join(file, "x") }},
		{"nats-server gives up", "storage directory", func(c *broker.Config) { c.StoreDir = broken }},
	} {
		err := runError(t, n.Prepare("b-"+strings.ReplaceAll(c.name, " ", "-"), c.edit).Config)
		if err == nil || !strings.Contains(err.Error(), c.say) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestConfigurationIsRefusedWithAReason(t *testing.T) {
	n := brokertest.New(t)
	creds := n.Credentials("b1", subjects.EventServer)
	good := broker.Config{Credentials: creds, Listen: "127.0.0.1:4222", StoreDir: t.TempDir()}
	cluster := func(c *broker.Config) {
		c.ClusterListen, c.Routes = "127.0.0.1:6222", []string{"tls://127.0.0.1:6222", "tls://127.0.0.2:6222"}
	}
	for _, c := range []struct {
		name, say string
		edit      func(*broker.Config)
	}{
		{"good", "", func(*broker.Config) {}},
		{"good cluster", "", cluster},
		{"good name", "", func(c *broker.Config) { c.Listen, c.Advertise = "0.0.0.0:4222", "b1.example.net" }},
		{"good address and port", "", func(c *broker.Config) { c.Listen, c.Advertise = "[::]:4222", "127.0.0.1:4333" }},
		{"no credentials", "no credentials", func(c *broker.Config) { c.Credentials = nil }},
		{"certificate of a node", "thor_eventserver", func(c *broker.Config) { c.Credentials = n.Credentials("n1", "sip_proxy") }},
		{"no store", "store directory", func(c *broker.Config) { c.StoreDir = "" }},
		{"no port", "listen: ", func(c *broker.Config) { c.Listen = "127.0.0.1" }},
		{"port 70000", "70000", func(c *broker.Config) { c.Listen = "127.0.0.1:70000" }},
		{"every address", "set advertise", func(c *broker.Config) { c.Listen = "0.0.0.0:4222" }},
		{"every address, short", "set advertise", func(c *broker.Config) { c.Listen = ":4222" }},
		{"every address advertised", "advertise: ", func(c *broker.Config) { c.Advertise = "0.0.0.0" }},
		{"foreign address", "192.0.2.1", func(c *broker.Config) { c.Listen = "192.0.2.1:4222" }},
		{"foreign advertised address", "192.0.2.1", func(c *broker.Config) { c.Advertise = "192.0.2.1" }},
		{"foreign advertised name", "b2.example.net", func(c *broker.Config) { c.Advertise = "b2.example.net:4222" }},
		{"nonsense advertised", "advertise: ", func(c *broker.Config) { c.Advertise = "tls://127.0.0.1:4222" }},
		{"foreign cluster address", "192.0.2.1", func(c *broker.Config) { cluster(c); c.ClusterAdvertise = "192.0.2.1" }},
		{"cluster without routes", "routes", func(c *broker.Config) { cluster(c); c.Routes = nil }},
		{"routes without cluster", "cluster_listen", func(c *broker.Config) { c.Routes = []string{"tls://127.0.0.1:6222"} }},
		{"cluster of one", "3 brokers", func(c *broker.Config) { cluster(c); c.Routes = c.Routes[:1] }},
		{"route in clear", "nats://", func(c *broker.Config) { cluster(c); c.Routes = []string{"nats://127.0.0.1:6222"} }},
		{"route with a password", "no broker", func(c *broker.Config) { cluster(c); c.Routes = []string{"tls://a:secret@127.0.0.1:6222"} }},
		{"route without port", "port", func(c *broker.Config) { cluster(c); c.Routes = []string{"tls://127.0.0.1"} }},
		{"foreign announced address", "192.0.2.1", func(c *broker.Config) { c.Addresses = []netip.Addr{netip.MustParseAddr("192.0.2.1")} }},
		{"priority", "Priority", func(c *broker.Config) { c.Priority = 70000 }},
		{"ping", "PingInterval", func(c *broker.Config) { c.PingInterval = time.Millisecond }},
		{"limit", "max_connections: -1 is less", func(c *broker.Config) { c.MaxConnections = -1 }},
	} {
		cfg := good
		c.edit(&cfg)
		_, err := broker.New(cfg)
		switch {
		case c.say == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.say != "" && (err == nil || !strings.Contains(err.Error(), c.say)):
			t.Errorf("%s: %v does not say %q", c.name, err, c.say)
		case err != nil && strings.Contains(err.Error(), "secret"):
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestBrokerAnnouncesItselfAndLeaves(t *testing.T) {
	brokertest.InBubble(t, func(t *testing.T, b *brokertest.B) {
		// A second broker of its own, that can be stopped before the bubble ends.
		id := b.Identity("b2", subjects.EventServer)
		second, err := broker.New(broker.Config{Identity: id, StoreDir: t.TempDir(), Version: "7", Priority: 3})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- second.Run(ctx) }()
		<-second.Ready()
		m, err := nats.Connect("", second.InProcess(b.Identity("m1", subjects.Manager)))
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		sub, err := m.SubscribeSync(subjects.AllPresences)
		if err != nil {
			t.Fatal(err)
		}
		flush(t, m)
		next := func() *subjects.Announcement {
			t.Helper()
			msg, err := sub.NextMsg(2 * time.Second)
			if err != nil {
				t.Fatal(err)
			}
			a, err := subjects.ParseAnnouncement(msg.Subject, msg.Data)
			if err != nil {
				t.Fatalf("%s: %v", msg.Data, err)
			}
			return a
		}
		one := next() // by now it follows the status
		tick := subjects.Tick{V: 1, Epoch: 4, Generation: 9, Manager: "m1", Time: time.Now(), Digest: strings.Repeat("0", 16), Counts: map[subjects.Role]int{}}
		if err := m.Publish(subjects.StatusTick, tick.Encode()); err != nil {
			t.Fatal(err)
		}
		two := next()
		if one.Node != "b2" || one.Role != subjects.EventServer || one.Version != "7" || one.Priority != 3 || one.Boot == "" || one.State != subjects.Up ||
			!strings.HasPrefix(one.Via, "b2#") || len(one.Addresses) != 2 || one.Attrs["jetstream"] != "ok" || one.Attrs["clients"] == "" {
			t.Errorf("%+v", one)
		}
		if two.Boot != one.Boot || two.Seq != one.Seq+1 {
			t.Errorf("after %d comes %d", one.Seq, two.Seq)
		}
		if two.Seen == nil || *two.Seen != tick.Mark() {
			t.Errorf("seen %v", two.Seen)
		}
		// The first delta of an epoch may be all that is told of it.
		delta := subjects.Diff(&subjects.Status{V: 1, Epoch: 4, Generation: 9}, &subjects.Status{V: 1, Epoch: 5, Generation: 12, Manager: "m1", Time: time.Now()})
		if err := m.Publish(subjects.StatusDelta, delta.Encode()); err != nil {
			t.Fatal(err)
		}
		if three := next(); three.Seen == nil || *three.Seen != delta.Mark() {
			t.Errorf("seen %v", three.Seen)
		}
		cancel()
		if last := next(); last.State != subjects.Leave {
			t.Errorf("last words: %+v", last)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := second.Run(t.Context()); err == nil {
			t.Error("Run worked twice")
		}
	})
}

func TestLameDuckTellsClientsAndDoesNotLookLikeTheirFailure(t *testing.T) {
	n := brokertest.New(t)
	b := n.Add("b1", func(c *broker.Config) { c.LameDuck = 400 * time.Millisecond })
	warned := make(chan struct{}, 1)
	nc := b.Dial(append(n.Options("n1", "sip_proxy"), nats.LameDuckModeHandler(func(*nats.Conn) { warned <- struct{}{} }))...)
	m := n.Dial("m1", subjects.Manager)
	sub, err := m.SubscribeSync(subjects.Disconnect)
	if err != nil {
		t.Fatal(err)
	}
	flush(t, nc, m)
	b.Stop()
	select {
	case <-warned:
	case <-time.After(soon):
		t.Fatal("no warning")
	}
	for {
		msg, err := sub.NextMsg(time.Millisecond)
		if err != nil {
			break // the manager's connection ended too, or nothing is left
		}
		if strings.Contains(string(msg.Data), `"n1"`) && !strings.Contains(string(msg.Data), `"reason":"Server Shutdown"`) {
			t.Errorf("event %s", msg.Data)
		}
	}
}

func TestJetStreamIsStartedAgain(t *testing.T) {
	t.Parallel()
	n := brokertest.Start(t)
	b := n.Brokers[0]
	bucket, err := election.OpenBucket(n.Dial("m1", subjects.Manager), subjects.ElectionBucket)
	if err != nil {
		t.Fatal(err)
	}
	n.AwaitJetStream(1)
	nc := n.Dial("n1", "sip_proxy")
	if err := b.Server().ShutdownJetStream(); err != nil { // what nats-server does when the disk is full
		t.Fatal(err)
	}
	brokertest.Eventually(t, soon, "JetStream back", func() error {
		if s := b.JetStream(); s != broker.JetStreamOK {
			return errors.New(string(s))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := bucket.Put(ctx, subjects.ElectionKey, []byte("x"))
		return err
	})
	flush(t, nc)
	// One answer per request: the old API must not answer beside the new one.
	o := n.Dial("ops", subjects.Operator)
	inbox := o.NewInbox()
	sub, err := o.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.PublishRequest("$JS.API.INFO", inbox, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := sub.NextMsg(soon); err != nil {
		t.Fatal(err)
	}
	flush(t, o)
	if m, err := sub.NextMsg(100 * time.Millisecond); err == nil {
		t.Errorf("a second answer: %s", m.Data)
	}
}

// No certificate makes a stream or a consumer, or empties one.
func TestStreamsAreMadeByBrokersAlone(t *testing.T) {
	n := brokertest.Start(t)
	n.AwaitJetStream(1)
	for _, role := range []subjects.Role{subjects.Manager, subjects.Operator, "sip_proxy"} {
		nc, v := dialStrict(t, n, "x1", role)
		for _, s := range []string{
			"STREAM.CREATE.KV_thor_status", "STREAM.UPDATE.KV_thor_status", "STREAM.PURGE.KV_thor_status", "STREAM.MSG.DELETE.KV_thor_status",
			"STREAM.CREATE.x", "STREAM.RESTORE.x", "STREAM.SNAPSHOT.KV_thor_status", "CONSUMER.CREATE.KV_thor_status", "CONSUMER.CREATE.KV_thor_status.x.$KV.thor_status.>",
			"CONSUMER.DURABLE.CREATE.KV_thor_status.x", "CONSUMER.MSG.NEXT.KV_thor_status.x", "DIRECT.GET.KV_thor_status",
		} {
			if err := nc.Publish("$JS.API."+s, []byte("{}")); err != nil {
				t.Fatal(err)
			}
			v.settle(t, nc)
			if !v.refused("publish", "$JS.API."+s) {
				t.Errorf("%s may %s", role, s)
			}
		}
	}
}

func TestMetricsCount(t *testing.T) {
	n := brokertest.New(t)
	r := prometheus.NewRegistry()
	b := n.Add("b1", func(c *broker.Config) { c.Metrics = r })
	n.Dial("n1", "sip_proxy")
	cert := n.Forge("n2", nil, nil)
	_ = refusal(t, b, n.Present(&cert)...)
	got, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	value := make(map[string]float64)
	for _, f := range got {
		for _, m := range f.Metric {
			value[f.GetName()] += m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	if value["thor_broker_messages_total"] < 1 || value["thor_broker_bytes_total"] < 1 || value["thor_broker_store_size_bytes"] < value["thor_broker_store_free_bytes"] ||
		value["thor_broker_store_free_bytes"] < 1 {
		t.Errorf("%v", value)
	}
	if value["thor_broker_clients_accepted_total"] != 2 || value["thor_broker_clients"] < 1 || value["thor_broker_jetstream_up"] != 1 ||
		value["thor_broker_certificate_expiry_timestamp_seconds"] < float64(time.Now().Unix()) {
		t.Errorf("%v", value)
	}
}

func TestIdentityWithoutCredentialsCannotListen(t *testing.T) {
	id := &identity.Identity{Domain: brokertest.Domain, Node: "b1", Roles: []subjects.Role{subjects.EventServer}}
	if _, err := broker.New(broker.Config{Identity: id, Listen: "127.0.0.1:0", StoreDir: t.TempDir()}); err == nil {
		t.Error("a port without TLS")
	}
}

func TestRunLeavesNoGoroutineBehind(t *testing.T) {
	before := goleak.IgnoreCurrent()
	n := brokertest.New(t)
	ports := brokertest.Ports(t, 2) // the second broker does not run
	b := n.Prepare("b1", func(c *broker.Config) {
		c.ClusterListen, c.Routes = ports[0], []string{"tls://" + ports[0], "tls://" + ports[1]}
	})
	b.Start()
	n.Dial("n1", "sip_proxy").Close()
	b.Stop()
	goleak.VerifyNone(t, before)
}
