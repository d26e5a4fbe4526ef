package broker_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"thor/broker"
	"thor/broker/brokertest"
	"thor/identity"
	"thor/subjects"
)

// A manager hears what a certificate says before the first message of its
// connection, at its own broker and at another one.
func TestIdentityIsTheWordBeforeTheFirstMessage(t *testing.T) {
	t.Parallel()
	n := brokertest.New(t)
	ports := brokertest.Ports(t, 2)
	for i, p := range ports {
		n.Prepare(fmt.Sprintf("b%d", i+1), func(c *broker.Config) {
			c.ClusterListen, c.Routes = p, []string{"tls://" + ports[0], "tls://" + ports[1]}
		})
	}
	brokertest.StartAll(n.Brokers...)
	manager := n.Dial("m1", subjects.Manager)
	in := make(chan *nats.Msg, 10_000)
	for _, s := range []string{subjects.Identities, subjects.AllPresences} {
		if _, err := manager.ChanSubscribe(s, in); err != nil {
			t.Fatal(err)
		}
	}
	flush(t, manager)
	brokertest.Eventually(t, soon, "the other broker is heard", func() error {
		select {
		case m := <-in:
			if strings.HasSuffix(m.Subject, ".b2") {
				return nil
			}
		default:
		}
		return fmt.Errorf("not yet")
	})

	const rounds = 40
	go func() {
		for i := range rounds {
			nc, err := nats.Connect("tls://"+n.Brokers[i%2].Config.Listen, n.Options(fmt.Sprintf("n%d", i), "sip_proxy")...)
			if err != nil {
				t.Error(err)
				return
			}
			if err := nc.Publish(subjects.Presence("sip_proxy", subjects.NodeID(fmt.Sprintf("n%d", i))), []byte("x")); err != nil {
				t.Error(err)
			}
			_ = nc.Flush()
			nc.Close()
		}
	}()
	told := make(map[subjects.NodeID]bool)
	for heard := 0; heard < rounds; {
		var m *nats.Msg
		select {
		case m = <-in:
		case <-time.After(soon):
			t.Fatalf("heard %d of %d", heard, rounds)
		}
		if w, err := subjects.ParseIdentity(m.Subject, m.Data); err == nil {
			told[w.Node] = true
			continue
		}
		if _, node, err := subjects.ParsePresence(m.Subject); err == nil && string(m.Data) == "x" {
			if heard++; !told[node] {
				t.Errorf("%s spoke before its certificate was told", node)
			}
		}
	}
}

// What is told is what the certificate says, and it is told again to those who
// ask, also of connections that are gone.
func TestIdentitiesAreToldAgain(t *testing.T) {
	n := brokertest.Start(t)
	creds, err := identity.Load(n.Issue(identity.Request{
		Node: "n1", Roles: []subjects.Role{"sip_proxy", "media_relay"}, Addresses: n.Credentials("n1", "sip_proxy").Identity().Addresses,
		Bounds: map[subjects.Role]subjects.Bound{"sip_proxy": {Weight: 200}}, Site: "ams",
	}))
	if err != nil {
		t.Fatal(err)
	}
	gone := n.Brokers[0].Dial(brokertest.TLS(creds)...)
	flush(t, gone)
	gone.Close()
	manager := n.Dial("m1", subjects.Manager)
	words, err := manager.SubscribeSync(subjects.IdentityOf("b1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := manager.Publish(subjects.IdentityGet, nil); err != nil {
		t.Fatal(err)
	}
	var w *subjects.Identity
	for w == nil || w.Node != "n1" {
		m, err := words.NextMsg(soon)
		if err != nil {
			t.Fatal(err)
		}
		if w, err = subjects.ParseIdentity(m.Subject, m.Data); err != nil {
			t.Fatal(err)
		}
	}
	id := creds.Identity()
	if w.Broker != "b1" || w.Serial != id.Serial || w.Issuer != id.Issuer || !w.NotAfter.Equal(id.NotAfter) ||
		w.Site != "ams" || fmt.Sprint(w.Roles, w.Addresses, w.Bounds) != fmt.Sprint(id.Roles, id.Addresses, id.Bounds) {
		t.Errorf("told %+v, the certificate says %+v", w, id)
	}
}
