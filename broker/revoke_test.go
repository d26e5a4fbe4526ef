package broker_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"thor/broker"
	"thor/broker/brokertest"
	"thor/identity"
	"thor/subjects"
)

func revoke(t *testing.T, n *brokertest.Net, node string) []byte {
	t.Helper()
	der, err := n.Authority.Revoke(node)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func closed(t *testing.T, what string, ch chan nats.Status) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(soon):
		t.Fatal(what + " still lives")
	}
}

// publishList sends a list as an operator and returns the broker's answer.
func publishList(t *testing.T, o *nats.Conn, der []byte) *subjects.Reply {
	t.Helper()
	m, err := o.Request(subjects.PublishCRL("ops"), der, soon)
	if err != nil {
		t.Fatal(err)
	}
	r, err := subjects.ParseReply(m.Data)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRevocationEndsLiveConnectionsAndOutlivesARestart(t *testing.T) {
	n := brokertest.Start(t)
	b := n.Brokers[0]
	manager := n.Dial("m1", subjects.Manager)
	notices, err := manager.SubscribeSync(subjects.RevokedNode)
	if err != nil {
		t.Fatal(err)
	}
	flush(t, manager)
	stolen := b.Dial(append(n.Options("n1", "sip_proxy"), nats.Name("boot-1"))...)
	good := n.Dial("n2", "sip_proxy")
	end := stolen.StatusChanged(nats.CLOSED)
	operator := n.Dial("ops", subjects.Operator)

	der := revoke(t, n, "n1")
	if r := publishList(t, operator, der); r.Code != "" {
		t.Fatalf("%s: %s", r.Code, r.Text)
	}
	closed(t, "the revoked node", end)
	m, err := notices.NextMsg(soon)
	if err != nil {
		t.Fatal(err)
	}
	r, err := subjects.ParseRevoked(m.Data)
	if err != nil || r.Node != "n1" || r.Boot != "boot-1" || r.Serial != n.Credentials("n1", "sip_proxy").Identity().Serial {
		t.Errorf("notice %+v, %v", r, err)
	}
	if err := refusal(t, b, n.Options("n1", "sip_proxy")...); err == nil {
		t.Error("the revoked node is back")
	}
	flush(t, good, manager)
	if r := publishList(t, operator, der); r.Code != "" {
		t.Errorf("the same list again: %s", r.Text)
	}

	b.Stop()
	// As a new process would: nothing is left but the store.
	fresh := n.Prepare("b1-again", func(c *broker.Config) { c.Listen, c.StoreDir = b.Config.Listen, b.Config.StoreDir })
	fresh.Start()
	if err := refusal(t, fresh, n.Options("n1", "sip_proxy")...); err == nil {
		t.Error("the revoked node is back after a restart")
	}
	if err := refusal(t, fresh, n.Options("n2", "sip_proxy")...); err != nil {
		t.Errorf("the good node: %v", err)
	}
}

// An operator's reply subject does not lend him the broker's voice.
func TestRevocationAnswersGoToInboxesOnly(t *testing.T) {
	n := brokertest.Start(t)
	operator := n.Dial("ops", subjects.Operator)
	n.Files("n1", "sip_proxy")
	der := revoke(t, n, "n1")
	if r := publishList(t, operator, der); r.Code != "" {
		t.Fatal(r.Text)
	}
	heard, err := operator.SubscribeSync(subjects.AllViews)
	if err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{subjects.CRLGet, subjects.PublishCRL("ops")} {
		if err := operator.PublishRequest(subject, "thor.role.sip_proxy", der); err != nil {
			t.Fatal(err)
		}
	}
	if m, err := operator.Request(subjects.CRLGet, nil, soon); err != nil || len(m.Data) == 0 { // after these
		t.Fatal(err)
	}
	publishList(t, operator, der)
	if m, err := heard.NextMsg(100 * time.Millisecond); err == nil {
		t.Errorf("the broker said %q on %s", m.Data, m.Subject)
	}
}

func TestListsThatAreNotOursAreRefused(t *testing.T) {
	n, other := brokertest.Start(t), brokertest.New(t)
	operator := n.Dial("ops", subjects.Operator)
	victim := n.Dial("n1", "sip_proxy")
	other.Files("n1", "sip_proxy")
	older, err := n.Authority.CRL()
	if err != nil {
		t.Fatal(err)
	}
	n.Files("n3", "sip_proxy")
	if r := publishList(t, operator, revoke(t, n, "n3")); r.Code != "" {
		t.Fatal(r.Text)
	}
	for _, c := range []struct {
		name string
		data []byte
		code subjects.ErrorCode
	}{
		{"another authority's", revoke(t, other, "n1"), subjects.ErrorBad},
		{"garbage", []byte("garbage"), subjects.ErrorBad},
		{"nothing", nil, subjects.ErrorBad},
		{"an older one", older, subjects.ErrorFailed},
	} {
		if r := publishList(t, operator, c.data); r.Code != c.code {
			t.Errorf("%s: %q %s", c.name, r.Code, r.Text)
		}
	}
	flush(t, victim)
}

func TestRevocationListFileIsRead(t *testing.T) {
	t.Parallel()
	n := brokertest.New(t)
	file := filepath.Join(t.TempDir(), "crl.pem")
	b := n.Add("b1", func(c *broker.Config) { c.CRLFile = file })
	nc := n.Dial("n1", "sip_proxy")
	end := nc.StatusChanged(nats.CLOSED)
	if err := os.WriteFile(file, []byte("half a f"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file+".new", revoke(t, n, "n1"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	closed(t, "the revoked node", end)
	b.Stop()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	b.Start()
	if err := refusal(t, b, n.Options("n1", "sip_proxy")...); err == nil {
		t.Error("removing the file took the revocation back")
	}
}

func TestDamagedStoreOfListsDoesNotStopABroker(t *testing.T) {
	n := brokertest.New(t)
	b := n.Prepare("b1")
	if err := os.MkdirAll(b.Config.StoreDir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.Config.StoreDir, "revocations.pem"), []byte("\x00\x01"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.Start()
	n.Dial("n1", "sip_proxy")
}

// In a cluster a list reaches every broker, also one that comes later, and a
// revoked broker is out: its routes end and stay away.
func TestRevocationInACluster(t *testing.T) {
	t.Parallel()
	n := brokertest.New(t)
	ports := brokertest.Ports(t, 3)
	var routes []string
	for _, p := range ports {
		routes = append(routes, "tls://"+p)
	}
	for i, p := range ports {
		n.Prepare(fmt.Sprintf("b%d", i+1), func(c *broker.Config) { c.ClusterListen, c.Routes = p, routes })
	}
	b1, b2, b3 := n.Brokers[0], n.Brokers[1], n.Brokers[2]
	b1.Start()
	b2.Start()
	peers := func(b *brokertest.Server, want ...string) {
		t.Helper()
		brokertest.Eventually(t, soon, b.Node+" connected with "+strings.Join(want, " "), func() error {
			if got := b.Peers(); strings.Join(got, " ") != strings.Join(want, " ") {
				return fmt.Errorf("it is with %q", got)
			}
			return nil
		})
	}
	peers(b1, "b2")
	onB2 := b2.Dial(n.Options("n1", "sip_proxy")...)
	end := onB2.StatusChanged(nats.CLOSED)
	operator := n.Dial("ops", subjects.Operator)
	if r := publishList(t, operator, revoke(t, n, "n1")); r.Code != "" {
		t.Fatal(r.Text)
	}
	closed(t, "the revoked node at the other broker", end)

	b3.Start()
	peers(b1, "b2", "b3")
	brokertest.Eventually(t, soon, "a late broker refuses the node", func() error {
		if refusal(t, b3, n.Options("n1", "sip_proxy")...) == nil {
			return errors.New("it let the node in")
		}
		return nil
	})
	brokertest.Eventually(t, soon, "a late broker stores the list", func() error {
		_, err := os.Stat(filepath.Join(b3.Config.StoreDir, "revocations.pem"))
		return err
	})

	manager := n.Dial("m1", subjects.Manager)
	notices, err := manager.SubscribeSync(subjects.RevokedNode)
	if err != nil {
		t.Fatal(err)
	}
	flush(t, manager)
	if r := publishList(t, operator, revoke(t, n, "b3")); r.Code != "" {
		t.Fatal(r.Text)
	}
	m, err := notices.NextMsg(soon)
	if err != nil || !strings.Contains(string(m.Data), `"b3"`) {
		t.Errorf("notice %v %v", m, err)
	}
	peers(b1, "b2")
	peers(b2, "b1")
	// b3 goes on trying; what it says must not arrive.
	good := b3.Dial(n.Options("n2", "sip_proxy")...)
	heard, err := manager.SubscribeSync(subjects.AllPresences)
	if err != nil {
		t.Fatal(err)
	}
	flush(t, manager)
	if err := good.Publish(subjects.Presence("sip_proxy", "n2"), []byte("x")); err != nil {
		t.Fatal(err)
	}
	flush(t, good)
	for range 6 { // some seconds of announcements of the others
		m, err := heard.NextMsg(soon)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(m.Subject, ".n2") || strings.HasSuffix(m.Subject, ".b3") {
			t.Errorf("heard %s through a revoked broker", m.Subject)
		}
	}
	peers(b1, "b2")
}

func TestRouteEndsWithTheCertificate(t *testing.T) {
	t.Parallel()
	n := brokertest.New(t)
	ports := brokertest.Ports(t, 2)
	for i, p := range ports {
		n.Prepare(fmt.Sprintf("b%d", i+1), func(c *broker.Config) {
			c.ClusterListen, c.Routes = p, []string{"tls://" + ports[0], "tls://" + ports[1]}
		})
	}
	b1, b2 := n.Brokers[0], n.Brokers[1]
	short, err := identity.Load(n.Issue(identity.Request{
		Node: "b2", Roles: []subjects.Role{subjects.EventServer}, Validity: 4 * time.Second, NotBefore: time.Now(),
		Addresses: b2.Credentials.Identity().Addresses,
	}))
	if err != nil {
		t.Fatal(err)
	}
	b2.Config.Credentials = short
	brokertest.StartAll(b1, b2)
	peers := func(want string) {
		t.Helper()
		brokertest.Eventually(t, soon, "b1 connected with "+want, func() error {
			if got := strings.Join(b1.Peers(), " "); got != want {
				return fmt.Errorf("it is with %q", got)
			}
			return nil
		})
	}
	peers("b2")
	peers("")
	if time.Now().Before(short.Identity().NotAfter) {
		t.Error("ended before its time")
	}
}

// A revocation list is much larger than the question for it.
func TestListsAreNotSentWithoutEnd(t *testing.T) {
	t.Parallel()
	n := brokertest.Start(t)
	n.Credentials("bad", "sip_proxy")
	if r := publishList(t, n.Dial("ops", subjects.Operator), revoke(t, n, "bad")); r.Code != "" {
		t.Fatal(r.Text)
	}
	ask := func(nc *nats.Conn, node subjects.NodeID, times int) (answers int) {
		got, err := nc.SubscribeSync(subjects.Answers(node))
		if err != nil {
			t.Fatal(err)
		}
		for i := range times {
			reply := fmt.Sprintf("_ANSWER.%s.thor_eventserver.%d", node, i)
			if err := nc.PublishRequest(subjects.AskCRL(node), reply, nil); err != nil {
				t.Fatal(err)
			}
		}
		flush(t, nc)
		for {
			if _, err := got.NextMsg(500 * time.Millisecond); err != nil {
				return answers
			}
			answers++
		}
	}
	if got := ask(n.Dial("n1", "media_relay"), "n1", 500); got < 1 || got > 20 {
		t.Errorf("%d answers to 500 questions", got)
	}
	if got := ask(n.Dial("n2", "media_relay"), "n2", 3); got != 3 {
		t.Errorf("%d answers to 3 questions of another node", got)
	}
}
