package broker_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"thor/broker"
	"thor/broker/brokertest"
	"thor/identity"
	"thor/subjects"
)

const soon = 20 * time.Second // far longer than anything here takes

// refusal dials and returns why the broker let nobody in.
func refusal(t *testing.T, s *brokertest.Server, o ...nats.Option) error {
	t.Helper()
	nc, err := nats.Connect(s.ClientURL(), append([]nats.Option{nats.NoReconnect(), nats.Timeout(soon)}, o...)...)
	if err == nil {
		nc.Close()
		return nil
	}
	return err
}

func TestOnlyAGoodCertificateOpensTheClientPort(t *testing.T) {
	n := brokertest.Start(t)
	b := n.Brokers[0]
	proxy := []subjects.Role{"sip_proxy"}
	other := brokertest.New(t)
	spiffe := func(s string) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			u, err := url.Parse(s)
			if err != nil {
				t.Fatal(err)
			}
			c.URIs = []*url.URL{u}
		}
	}
	subject := func(rdns ...pkix.RelativeDistinguishedNameSET) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			var err error
			if c.RawSubject, err = asn1.Marshal(pkix.RDNSequence(rdns)); err != nil {
				t.Fatal(err)
			}
		}
	}
	o := func(v string) pkix.RelativeDistinguishedNameSET {
		return pkix.RelativeDistinguishedNameSET{{Type: []int{2, 5, 4, 10}, Value: v}}
	}
	ou := func(v ...string) (s pkix.RelativeDistinguishedNameSET) {
		for _, v := range v {
			s = append(s, pkix.AttributeTypeAndValue{Type: []int{2, 5, 4, 11}, Value: v})
		}
		return s
	}
	for _, c := range []struct {
		name  string
		roles []subjects.Role
		node  string
		edit  func(*x509.Certificate)
		ok    bool
	}{
		{"good", proxy, "n1", nil, true},
		{"no role", nil, "n1", nil, false},
		{"node *", proxy, "*", nil, false},
		{"node >", proxy, "n1", spiffe("spiffe://" + brokertest.Domain + "/node/>"), false},
		{"node with a dot", proxy, "a.b", nil, false},
		{"node in capitals", proxy, "N1", nil, false},
		{"node of a service", proxy, "sip-proxy", nil, false},
		{"role *", []subjects.Role{"*"}, "n1", nil, false},
		{"role with a dot", []subjects.Role{"sip_proxy.n2"}, "n1", nil, false},
		{"unknown thor_ role", []subjects.Role{"thor_god"}, "n1", nil, false},
		{"two roles in one RDN", proxy, "n1", subject(o(brokertest.Domain), ou("sip_proxy", "thor_manager")), false},
		{"other O", proxy, "n1", subject(o("example.org"), ou("sip_proxy")), false},
		{"other domain", proxy, "n1", func(c *x509.Certificate) {
			spiffe("spiffe://example.org/node/n1")(c)
			subject(o("example.org"), ou("sip_proxy"))(c)
		}, false},
		{"no URI", proxy, "n1", func(c *x509.Certificate) { c.URIs = nil }, false},
		{"two URIs", proxy, "n1", func(c *x509.Certificate) { c.URIs = append(c.URIs, c.URIs[0]) }, false},
		{"expired", proxy, "n1", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) }, false},
		{"not yet valid", proxy, "n1", func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }, false},
		{"for servers only", proxy, "n1", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }, false},
		{"authority", proxy, "n1", func(c *x509.Certificate) { c.BasicConstraintsValid, c.IsCA = true, true }, false},
	} {
		cert := n.Forge(c.node, c.roles, c.edit)
		if err := refusal(t, b, n.Present(&cert)...); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	foreign := other.Forge("n1", proxy, nil)
	if err := refusal(t, b, n.Present(&foreign)...); err == nil {
		t.Error("a certificate of another authority of the same name was let in")
	}
	if err := refusal(t, b, n.Present(nil)...); err == nil {
		t.Error("nobody without a certificate should be let in")
	}
	good := n.Forge("n1", proxy, nil)
	err := refusal(t, b, n.Present(&good, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 })...)
	if err == nil {
		t.Error("TLS 1.2 was let in")
	}
	if err := refusal(t, b, nats.Token("x"), nats.Timeout(200*time.Millisecond)); err == nil {
		t.Error("a client without TLS was let in")
	}
}

func TestBrokerSaysNothingInClear(t *testing.T) {
	n := brokertest.Start(t)
	c, err := net.Dial("tcp", n.Brokers[0].Config.Listen)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Write([]byte("CONNECT {}\r\nPING\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(soon)); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if strings.Contains(string(got), "INFO") || strings.Contains(string(got), "PONG") {
		t.Errorf("%q, %v", got, err)
	}
}

func TestInProcessNeedsTheToken(t *testing.T) {
	brokertest.InBubble(t, func(t *testing.T, b *brokertest.B) {
		for _, o := range []nats.Option{nats.Token(""), nats.Token("guess"), nats.UserInfo("n1", "x")} {
			if nc, err := nats.Connect("", nats.InProcessServer(b.Broker.Server()), o, nats.NoReconnect()); err == nil {
				nc.Close()
				t.Error("let in without the token")
			}
		}
		b.Dial("n1", "sip_proxy")
	})
}

func TestInProcessConnectionCannotBeTheBroker(t *testing.T) {
	n := brokertest.Start(t)
	v := &violations{seen: make(map[string]bool), marks: make(chan string, 1)}
	id := n.Credentials("b1", subjects.EventServer).Identity()
	nc, err := nats.Connect("", n.Brokers[0].InProcess(id), nats.ErrorHandler(v.handler))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if err := nc.Publish(subjects.RevokedNode, nil); err != nil {
		t.Fatal(err)
	}
	v.settle(t, nc)
	if !v.refused("publish", subjects.RevokedNode) {
		t.Error("a certificate of a broker gives the rights of the broker itself")
	}
}

func TestRouteNeedsTheCertificateOfABroker(t *testing.T) {
	n := brokertest.New(t)
	p := brokertest.Ports(t, 2) // the second broker does not run
	b := n.Add("b1", func(c *broker.Config) { c.ClusterListen, c.Routes = p[0], []string{"tls://" + p[0], "tls://" + p[1]} })
	other := brokertest.New(t)
	both := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	good := n.Forge("b2", []subjects.Role{subjects.EventServer}, nil)
	node := n.Forge("n1", []subjects.Role{"sip_proxy", subjects.Manager, subjects.Operator}, func(c *x509.Certificate) { c.ExtKeyUsage = both })
	foreign := other.Forge("b2", []subjects.Role{subjects.EventServer}, nil)
	domain := n.Forge("b2", []subjects.Role{subjects.EventServer}, func(c *x509.Certificate) {
		c.URIs[0].Host = "example.org"
		c.RawSubject, _ = asn1.Marshal(pkix.RDNSequence{{{Type: []int{2, 5, 4, 10}, Value: "example.org"}}, {{Type: []int{2, 5, 4, 11}, Value: "thor_eventserver"}}})
	})
	for _, c := range []struct {
		name string
		cert *tls.Certificate
		ok   bool
	}{{"broker", &good, true}, {"node", &node, false}, {"other authority", &foreign, false}, {"other domain", &domain, false}, {"nobody", nil, false}} {
		if got := routeTalks(t, b.Config.ClusterListen, c.cert, tls.VersionTLS13); got != c.ok {
			t.Errorf("%s: the cluster port talks: %v", c.name, got)
		}
	}
	if routeTalks(t, b.Config.ClusterListen, &good, tls.VersionTLS12) {
		t.Error("the cluster port speaks TLS 1.2")
	}
}

// routeTalks reports whether the cluster port says anything after the handshake.
func routeTalks(t *testing.T, addr string, cert *tls.Certificate, version uint16) bool {
	t.Helper()
	cfg := &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version}
	if cert != nil {
		cfg.Certificates = []tls.Certificate{*cert}
	}
	c, err := tls.Dial("tcp", addr, cfg)
	if err != nil {
		return false
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(soon)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("CONNECT {\"verbose\":false}\r\n")); err != nil {
		return false
	}
	buf := make([]byte, 5)
	_, err = io.ReadFull(c, buf)
	return err == nil && string(buf) == "INFO "
}

func TestConnectionEndsWithItsCertificate(t *testing.T) {
	t.Parallel()
	n := brokertest.Start(t)
	cert := n.Forge("n1", []subjects.Role{"sip_proxy"}, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(2 * time.Second) })
	nc := n.Brokers[0].Dial(append(n.Present(&cert), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))...)
	select {
	case <-nc.StatusChanged(nats.CLOSED):
	case <-time.After(soon):
		t.Fatal("the connection outlives its certificate")
	}
	if time.Now().Before(cert.Leaf.NotAfter) {
		t.Error("ended before its time")
	}
}

func TestRotationKeepsConnectionsAndShowsTheNewCertificate(t *testing.T) {
	n := brokertest.New(t)
	b := n.Prepare("b1")
	files := n.Files("b1", subjects.EventServer)
	var err error
	if b.Credentials, err = identity.Load(files); err != nil {
		t.Fatal(err)
	}
	b.Config.Credentials = b.Credentials
	b.Start()
	nc := n.Dial("n1", "sip_proxy")
	ended := nc.StatusChanged(nats.CLOSED, nats.DISCONNECTED, nats.RECONNECTING)
	before := n.Dial("n2", "sip_proxy")
	old := serial(t, before)

	next := n.Issue(identity.Request{Node: "b1", Roles: []subjects.Role{subjects.EventServer}, Addresses: b.Credentials.Identity().Addresses})
	copyFile(t, next.Cert, files.Cert)
	copyFile(t, next.Key, files.Key)
	if err := b.Credentials.Reload(); err != nil {
		t.Fatal(err)
	}
	if got := serial(t, n.Dial("n3", "sip_proxy")); got == old {
		t.Errorf("new handshakes still show serial %s", got)
	}
	flush(t, nc, before)
	select {
	case s := <-ended:
		t.Errorf("a connection changed to %v", s)
	default:
	}
}

func serial(t *testing.T, nc *nats.Conn) string {
	t.Helper()
	s, err := nc.TLSConnectionState()
	if err != nil {
		t.Fatal(err)
	}
	return s.PeerCertificates[0].SerialNumber.Text(16)
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// ReloadOptions ends every client that a custom authenticator has let in.
func TestServerIsNeverReloaded(t *testing.T) {
	call := regexp.MustCompile(`\.(ReloadOptions|Reload)\(`)
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if m := call.Find(b); m != nil {
			t.Errorf("%s calls %s", f, m)
		}
	}
}

func TestManagerHearsOfEndedConnectionsByNodeAndBoot(t *testing.T) {
	n := brokertest.Start(t)
	m := n.Dial("m1", subjects.Manager)
	sub, err := m.SubscribeSync(subjects.Disconnect)
	if err != nil {
		t.Fatal(err)
	}
	flush(t, m)
	nc := n.Brokers[0].Dial(append(n.Options("n1", "sip_proxy"), nats.Name("boot-7"))...)
	cid, err := nc.GetClientID()
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
	for {
		msg, err := sub.NextMsg(soon)
		if err != nil {
			t.Fatal(err)
		}
		var e server.DisconnectEventMsg
		if err := json.Unmarshal(msg.Data, &e); err != nil {
			t.Fatal(err)
		}
		if e.Client.User != "n1" {
			continue
		}
		if e.Client.Name != "boot-7" || e.Client.ID != cid || e.Server.Name != "b1" || e.Client.Account != broker.AccountMembers {
			t.Errorf("event %+v of %s", e.Client, e.Server.Name)
		}
		return
	}
}

func TestFrozenClientIsFoundByPings(t *testing.T) {
	n := brokertest.New(t)
	b := n.Add("b1", func(c *broker.Config) { c.PingInterval = 100 * time.Millisecond })
	m := n.Dial("m1", subjects.Manager)
	sub, err := m.SubscribeSync(subjects.Disconnect)
	if err != nil {
		t.Fatal(err)
	}
	flush(t, m)
	c, err := tls.Dial("tcp", b.Config.Listen, n.Credentials("n1", "sip_proxy").ClientTLS())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	// It connects and says no more, and its socket stays open.
	if _, err := c.Write([]byte("CONNECT {\"verbose\":false,\"name\":\"frozen\"}\r\nPING\r\n")); err != nil {
		t.Fatal(err)
	}
	msg, err := sub.NextMsg(soon)
	if err != nil {
		t.Fatal(err)
	}
	var e server.DisconnectEventMsg
	if err := json.Unmarshal(msg.Data, &e); err != nil {
		t.Fatal(err)
	}
	if e.Reason != server.StaleConnection.String() || e.Client.Name != "frozen" || e.Client.User != "n1" {
		t.Errorf("%s: %+v", e.Reason, e.Client)
	}
}

func TestConnectionsAndSubscriptionsAreLimited(t *testing.T) {
	n := brokertest.New(t)
	b := n.Add("b1", func(c *broker.Config) { c.MaxConnections, c.MaxSubscriptions = 2, 3 })
	one := n.Dial("n1", "sip_proxy")
	n.Dial("n2", "sip_proxy")
	if err := refusal(t, b, n.Options("n3", "sip_proxy")...); err == nil {
		t.Error("a third connection")
	}
	ended := one.StatusChanged(nats.CLOSED)
	for range 4 {
		if _, err := one.SubscribeSync(subjects.AllViews); err != nil {
			t.Fatal(err)
		}
	}
	_ = one.Flush()
	if !errors.Is(one.LastError(), nats.ErrMaxSubscriptionsExceeded) {
		select {
		case <-ended:
		default:
			t.Errorf("a fourth subscription: %v", one.LastError())
		}
	}
}

func TestInProcessRefusesBadNames(t *testing.T) {
	brokertest.InBubble(t, func(t *testing.T, b *brokertest.B) {
		for _, id := range []*identity.Identity{{Node: "*", Roles: []subjects.Role{"sip_proxy"}}, {Node: "n1", Roles: []subjects.Role{">"}}, {}} {
			if nc, err := nats.Connect("", b.Broker.InProcess(id)); err == nil {
				nc.Close()
				t.Errorf("%q as %q is connected", id.Node, id.Roles)
			}
		}
	})
}

func TestUserNameIsTheNodeWhateverTheClientSays(t *testing.T) {
	n := brokertest.Start(t)
	nc := n.Brokers[0].Dial(append(n.Options("n1", "sip_proxy"), nats.UserInfo("m1", "x"))...)
	cid, err := nc.GetClientID()
	if err != nil {
		t.Fatal(err)
	}
	z, err := n.Brokers[0].Server().Connz(&server.ConnzOptions{CID: cid, Username: true})
	if err != nil || len(z.Conns) != 1 || z.Conns[0].AuthorizedUser != "n1" {
		t.Errorf("%v %s", err, fmt.Sprint(z))
	}
}

// nats-server names a client after a key that it shows, in the events by which managers know whose connection ended.
func TestOnlyTheCertificateNamesAClient(t *testing.T) {
	n := brokertest.Start(t)
	m := n.Dial("m1", subjects.Manager)
	sub, err := m.SubscribeSync(subjects.Disconnect)
	if err != nil {
		t.Fatal(err)
	}
	flush(t, m)
	c, err := tls.Dial("tcp", n.Brokers[0].Config.Listen, n.Credentials("n1", "sip_proxy").ClientTLS())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(c, "CONNECT {\"verbose\":false,\"name\":\"victim-boot\",\"nkey\":\"victim\"}\r\nPING\r\n"); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(soon))
	for r := bufio.NewReader(c); ; {
		line, err := r.ReadString('\n')
		if strings.HasPrefix(line, "-ERR 'Authorization Violation'") {
			break
		}
		if err != nil || strings.HasPrefix(line, "PONG") {
			t.Errorf("a client with a key: %q, %v", line, err)
			break
		}
	}
	_ = c.Close()
	n.Dial("last", "sip_proxy").Close()
	for user := ""; user != "last"; {
		msg, err := sub.NextMsg(soon)
		if err != nil {
			t.Fatal(err)
		}
		var e server.DisconnectEventMsg
		if err := json.Unmarshal(msg.Data, &e); err != nil {
			t.Fatal(err)
		}
		if user = e.Client.User; user == "victim" {
			t.Errorf("the end of a connection of n1 counts as one of %s, %s", user, e.Client.Name)
		}
	}
}
