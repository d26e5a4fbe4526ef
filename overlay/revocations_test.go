package overlay_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"thor/broker"
	"thor/broker/brokertest"
	"thor/identity"
	"thor/overlay"
	"thor/subjects"
)

// A member leaves a broker whose certificate is revoked, goes to another one and
// never dials the first again, after a restart of its process neither.
func TestMembersLeaveARevokedBroker(t *testing.T) {
	n := brokertest.New(t)
	ports := brokertest.Ports(t, 2)
	for i, p := range ports {
		n.Prepare(fmt.Sprintf("b%d", i+1), func(c *broker.Config) {
			c.ClusterListen, c.Routes = p, []string{"tls://" + ports[0], "tls://" + ports[1]}
		})
	}
	brokertest.StartAll(n.Brokers...)
	n.AwaitJetStream(1) // its leader is elected over the route, on which the list travels too
	stolen, good := n.Brokers[0], n.Brokers[1]
	dir := t.TempDir()
	start := func(brokers ...*brokertest.Server) (*overlay.Node, func()) {
		c, err := identity.Load(n.Files("n1", "sip_proxy"))
		if err != nil {
			t.Fatal(err)
		}
		var urls []string
		for _, b := range brokers {
			urls = append(urls, "tls://"+b.Config.Listen)
		}
		return run(t, overlay.Config{Credentials: c, Brokers: urls, StateDir: dir})
	}
	o, stop := start(stolen)
	<-o.Ready()
	der, err := n.Authority.Revoke("b1")
	if err != nil {
		t.Fatal(err)
	}
	ops := good.Dial(n.Options("ops", subjects.Operator)...)
	if err := ops.Publish(subjects.PublishCRL("ops"), der); err != nil {
		t.Fatal(err)
	}
	brokertest.Eventually(t, 10*time.Second, "the member refuses the broker", func() error {
		if err := o.ConnectError(); o.Connected() || !errors.Is(err, identity.ErrRevoked) {
			return fmt.Errorf("connected %v, %v", o.Connected(), err)
		}
		_, err := os.Stat(filepath.Join(dir, "revocations.pem"))
		return err
	})
	stop()

	o, stop = start(stolen)
	brokertest.Eventually(t, 10*time.Second, "a new process refuses the broker", func() error {
		if err := o.ConnectError(); !errors.Is(err, identity.ErrRevoked) {
			return fmt.Errorf("connected %v, %v", o.Connected(), err)
		}
		return nil
	})
	stop()

	o, _ = start(stolen, good)
	<-o.Ready()
	if name := o.Conn().ConnectedServerName(); name != "b2" {
		t.Errorf("connected to %s", name)
	}
}

// A member that was away when a list was published has it from its next connection on.
func TestMembersAskForListsThatTheyMissed(t *testing.T) {
	n := brokertest.Start(t)
	n.Files("n9", "sip_proxy")
	der, err := n.Authority.Revoke("n9")
	if err != nil {
		t.Fatal(err)
	}
	ops := n.Dial("ops", subjects.Operator)
	if err := ops.Publish(subjects.PublishCRL("ops"), der); err != nil {
		t.Fatal(err)
	}
	if err := ops.Flush(); err != nil {
		t.Fatal(err)
	}
	c, err := identity.Load(n.Files("n1", "sip_proxy"))
	if err != nil {
		t.Fatal(err)
	}
	o, _ := run(t, overlay.Config{Credentials: c, Brokers: n.URLs()})
	serial := n.Credentials("n9", "sip_proxy").Identity()
	brokertest.Eventually(t, 10*time.Second, "the list", func() error {
		if !o.Revocations().Serial(serial.Serial, serial.Issuer) {
			return errors.New("not held")
		}
		return nil
	})
}
