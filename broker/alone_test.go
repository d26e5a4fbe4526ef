package broker_test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"thor/broker"
	"thor/broker/brokertest"
	"thor/subjects"
)

// greetingOf is the INFO with which a broker begins.
func greetingOf(t *testing.T, n *brokertest.Net, b *brokertest.Server) map[string]any {
	t.Helper()
	cfg := n.Credentials("looker", "sip_proxy").ClientTLS()
	cfg.ServerName = "127.0.0.1"
	c, err := tls.Dial("tcp", b.Config.Listen, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var info map[string]any
	if err := json.Unmarshal([]byte(strings.TrimPrefix(line, "INFO ")), &info); err != nil {
		t.Fatal(err)
	}
	return info
}

// A broker that lost its routes tells who listens, sends away who does not, keeps
// operators, takes who comes back, and is as before when the routes are back. The
// others do nothing of that.
func TestABrokerWithoutRoutesSendsItsClientsAway(t *testing.T) {
	t.Parallel()
	n := brokertest.Mesh(t, 3)
	alone, peer := n.Brokers[0], n.Brokers[1]
	plain := alone.Dial(n.Options("n1", "sip_proxy")...)
	elsewhere := peer.Dial(n.Options("n2", "sip_proxy")...)
	operator := alone.Dial(n.Options("ops", subjects.Operator)...)
	notices := make(chan *nats.Msg, 64)
	listener := alone.Dial(n.Options("n3", "sip_proxy")...)
	if _, err := listener.ChanSubscribe(subjects.AllBrokers, notices); err != nil {
		t.Fatal(err)
	}
	flush(t, listener)
	if info := greetingOf(t, n.Net, alone); info[subjects.InfoAlone] != nil || info["tls_required"] != true {
		t.Errorf("greeting %v", info)
	}

	n.Isolate(0, true)
	if m := heardOf(t, notices, "b1"); !m.Alone {
		t.Errorf("%+v", m)
	}
	brokertest.Eventually(t, soon, "a client that does not listen is sent away", func() error {
		if plain.IsConnected() {
			return errors.New("it is connected")
		}
		return nil
	})
	if got := greetingOf(t, n.Net, alone)[subjects.InfoAlone]; got != true {
		t.Errorf("greeting says %v", got)
	}
	if alone.AloneSince().IsZero() || !strings.Contains(strings.Join(alone.Degraded(), "\n"), "alone: no route") {
		t.Errorf("%v %q", alone.AloneSince(), alone.Degraded())
	}
	back := alone.Dial(n.Options("n1", "sip_proxy")...)
	flush(t, back)
	for name, nc := range map[string]*nats.Conn{"operator": operator, "listener": listener, "client of another broker": elsewhere, "client that came back": back} {
		if !nc.IsConnected() {
			t.Errorf("the connection of the %s has ended", name)
		}
	}
	if since := peer.AloneSince(); !since.IsZero() {
		t.Errorf("a broker with a route is alone since %v", since)
	}

	n.Isolate(0, false)
	for heardOf(t, notices, "b1").Alone {
	}
	if !alone.AloneSince().IsZero() {
		t.Error("alone with routes")
	}
	if got := greetingOf(t, n.Net, alone)[subjects.InfoAlone]; got != nil {
		t.Errorf("greeting says %v", got)
	}
	if !back.IsConnected() || !listener.IsConnected() {
		t.Error("a client was sent away after the routes came back")
	}
}

// heardOf is the next notice of a broker.
func heardOf(t *testing.T, notices <-chan *nats.Msg, name subjects.NodeID) *subjects.BrokerNotice {
	t.Helper()
	for end := time.After(30 * time.Second); ; {
		select {
		case m := <-notices:
			b, err := subjects.ParseBrokerNotice(m.Subject, m.Data)
			if err != nil {
				t.Fatal(err)
			}
			if b.Broker == name {
				return b
			}
		case <-end:
			t.Fatal("no notice")
		}
	}
}

// JetStream without its leader is degraded, and no reason to send clients away: a
// broker with one route is not alone.
func TestTheLossOfJetStreamsLeaderSendsNobodyAway(t *testing.T) {
	t.Parallel()
	n := brokertest.Cluster(t, 3)
	leader := -1
	for i, b := range n.Brokers {
		if b.Server().JetStreamIsLeader() {
			leader = i
		}
	}
	if leader < 0 {
		t.Fatal("no leader")
	}
	var left []*brokertest.Server
	var clients []*nats.Conn
	for i, b := range n.Brokers {
		if i != leader {
			left = append(left, b)
			for k := range 5 {
				clients = append(clients, b.Dial(n.Options(fmt.Sprintf("n%d-%d", i, k), "sip_proxy")...))
			}
		}
	}
	n.Brokers[leader].Stop()
	brokertest.Eventually(t, 40*time.Second, "another leader", func() error {
		leads := left[0].Server().JetStreamIsLeader() || left[1].Server().JetStreamIsLeader()
		for _, b := range left {
			if !b.AloneSince().IsZero() {
				t.Fatal("alone beside another broker")
			}
		}
		if left[0].JetStream() != broker.JetStreamOK || !leads {
			return errors.New(string(left[0].JetStream()))
		}
		return nil
	})
	for i, nc := range clients {
		if !nc.IsConnected() {
			t.Errorf("client %d was sent away", i)
		}
	}
}
