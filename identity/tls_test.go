package identity_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"thor/identity"
	"thor/subjects"
)

// handshake connects two configurations and returns what each side thinks of
// it. In TLS 1.3 a client is content before the server has judged it, so each
// side also sends a byte and reads the other's.
//
//lint:ignore ST1008 two errors, one of each side, and what was seen
func handshake(t *testing.T, client, server *tls.Config) (clientErr, serverErr error, seen tls.ConnectionState) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer l.Close()
	cp, err := net.Dial("tcp", l.Addr().String())
	check(t, err)
	sp, err := l.Accept()
	check(t, err)
	deadline := time.Now().Add(20 * time.Second) // a hang must fail, not last
	check(t, cp.SetDeadline(deadline))
	check(t, sp.SetDeadline(deadline))
	s := tls.Server(sp, server)
	done := make(chan error, 1)
	go func() {
		defer sp.Close()
		err := s.Handshake()
		if err == nil {
			_, err = s.Read(make([]byte, 1))
		}
		if err == nil {
			_, err = s.Write([]byte{1})
		}
		done <- err
	}()
	c := tls.Client(cp, client)
	_, clientErr = c.Write([]byte{1})
	if clientErr == nil {
		_, clientErr = c.Read(make([]byte, 1))
	}
	cp.Close()
	serverErr = <-done
	return clientErr, serverErr, s.ConnectionState()
}

// called is a client configuration as a library makes it for one host.
func called(c *tls.Config, host string) *tls.Config {
	c = c.Clone()
	c.ServerName = host
	return c
}

const brokerRole = subjects.EventServer

func TestNodeAndBrokerKnowEachOther(t *testing.T) {
	a := newAuthority(t)
	broker, node := credentials(t, a, "ev1", brokerRole), credentials(t, a, "gw1", "sip_proxy")
	for _, host := range []string{"127.0.0.1", "ev1.example.net"} {
		cerr, serr, cs := handshake(t, called(node.ClientTLS(), host), broker.ServerTLS())
		if cerr != nil || serr != nil {
			t.Fatalf("%s: %v, %v", host, cerr, serr)
		}
		id, err := broker.Verify(cs)
		check(t, err)
		if id.Node != "gw1" || cs.Version != tls.VersionTLS13 {
			t.Errorf("%+v, TLS %x", id, cs.Version)
		}
		if _, err := broker.VerifyBroker(cs); !errors.Is(err, identity.ErrNotBroker) {
			t.Error(err)
		}
		if _, err := broker.Check(cs.PeerCertificates, x509.ExtKeyUsageClientAuth); err != nil {
			t.Error(err)
		}
	}
}

func TestClientRefusesWhatIsNotItsBroker(t *testing.T) {
	a := newAuthority(t)
	foreign, err := identity.Init(t.TempDir(), "example.com", identity.InitOptions{})
	check(t, err)
	// Any authority of ours may have put serverAuth into a node's certificate.
	ca := newTestCA(t, "ca", nil)
	s := goodSpec()
	s.template.ExtKeyUsage = append(s.template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	s.names = append(s.names, ip("127.0.0.1"))
	leaf, key := ca.sign(t, s)
	impostor := load(t, writeFiles(t, pemOf(leaf), keyPEM(t, key), pemOf(ca.cert)))
	f := issueFiles(t, a, request("gw1", "sip_proxy"))
	check(t, os.WriteFile(f.CA, append(a.CertificatePEM(), pemOf(ca.cert)...), 0o644))
	node := load(t, f)
	wrongHost := func(err error) bool { var h x509.HostnameError; return errors.As(err, &h) }
	unknown := func(err error) bool { var u x509.UnknownAuthorityError; return errors.As(err, &u) }
	wrongUse := func(err error) bool {
		var i x509.CertificateInvalidError
		return errors.As(err, &i) && i.Reason == x509.IncompatibleUsage
	}
	notBroker := func(err error) bool { return errors.Is(err, identity.ErrNotBroker) }
	for name, c := range map[string]struct {
		creds *identity.Credentials
		host  string
		is    func(error) bool
	}{
		"another address":     {credentials(t, a, "ev1", brokerRole), "127.0.0.2", wrongHost},
		"another name":        {credentials(t, a, "ev1", brokerRole), "ev2.example.net", wrongHost},
		"a node as broker":    {credentials(t, a, "gw2", "sip_proxy"), "127.0.0.1", wrongUse},
		"a server, no broker": {impostor, "127.0.0.1", notBroker},
		"another authority":   {credentials(t, newAuthority(t), "ev1", brokerRole), "127.0.0.1", unknown},
		"another domain":      {credentials(t, foreign, "ev1", brokerRole), "127.0.0.1", unknown},
	} {
		t.Run(name, func(t *testing.T) {
			if cerr, _, _ := handshake(t, called(node.ClientTLS(), c.host), c.creds.ServerTLS()); cerr == nil || !c.is(cerr) {
				t.Errorf("got %v", cerr)
			}
		})
	}
}

func TestServerRefusesBadClients(t *testing.T) {
	ca := newTestCA(t, "ca", nil)
	s := goodSpec()
	s.subject = [][]atv{o(domain), ou("thor_eventserver")}
	s.names = []san{uri("spiffe://example.net/node/ev1"), ip("127.0.0.1")}
	s.template.ExtKeyUsage = append(s.template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	leaf, key := ca.sign(t, s)
	broker := load(t, writeFiles(t, pemOf(leaf), keyPEM(t, key), pemOf(ca.cert)))
	good, goodKey := ca.sign(t, goodSpec())
	_, serr, _ := handshake(t, plainClient(goodKey, good), broker.ServerTLS())
	check(t, serr)

	type client struct {
		name string
		want error
		cfg  *tls.Config
	}
	var cases []client
	for _, b := range bad {
		s := goodSpec()
		b.edit(s)
		if s.public != nil {
			continue // nobody holds that key
		}
		leaf, key := ca.sign(t, s)
		want := b.want
		if b.name == "server only" || b.name == "SHA-1 signature" {
			want = nil // crypto/tls is first
		}
		cases = append(cases, client{b.name, want, plainClient(key, leaf)})
	}
	long := append([]*x509.Certificate{good}, slices.Repeat([]*x509.Certificate{ca.cert}, 99)...)
	other := newTestCA(t, "ca", nil) // of the same name
	stranger, strangerKey := other.sign(t, goodSpec())
	s = goodSpec()
	s.subject[0] = o("example.com")
	s.names[0] = uri("spiffe://example.com/node/gw1")
	foreign, foreignKey := ca.sign(t, s)
	s = goodSpec()
	s.template.NotAfter = time.Now().Add(-time.Minute)
	expired, expiredKey := ca.sign(t, s)
	s = goodSpec()
	s.template.NotBefore = time.Now().Add(time.Minute)
	early, earlyKey := ca.sign(t, s)
	tls12 := plainClient(goodKey, good)
	tls12.MaxVersion = tls.VersionTLS12
	cases = append(cases,
		client{"100 certificates", identity.ErrChainTooLong, plainClient(goodKey, long...)},
		client{"another domain", identity.ErrForeignDomain, plainClient(foreignKey, foreign)},
		client{"another authority", nil, plainClient(strangerKey, stranger)},
		client{"expired", nil, plainClient(expiredKey, expired)},
		client{"not yet valid", nil, plainClient(earlyKey, early)},
		client{"no certificate", nil, &tls.Config{InsecureSkipVerify: true}},
		client{"TLS 1.2", nil, tls12},
	)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			cerr, serr, _ := handshake(t, c.cfg, broker.ServerTLS())
			if serr == nil || cerr == nil || c.want != nil && !errors.Is(serr, c.want) {
				t.Errorf("server %v, client %v; want %v", serr, cerr, c.want)
			}
		})
	}
}

// plainClient presents a chain and asks nothing of the server.
func plainClient(key any, chain ...*x509.Certificate) *tls.Config {
	c := tls.Certificate{PrivateKey: key}
	for _, x := range chain {
		c.Certificate = append(c.Certificate, x.Raw)
	}
	return &tls.Config{
		InsecureSkipVerify:   true,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c, nil },
	}
}

func TestRoutesAreBetweenBrokersOnly(t *testing.T) {
	a := newAuthority(t)
	ev1, ev2 := credentials(t, a, "ev1", brokerRole), credentials(t, a, "ev2", brokerRole)
	node := credentials(t, a, "gw1", "sip_proxy")
	for _, host := range []string{"127.0.0.1", "ev2.example.net"} {
		if cerr, serr, _ := handshake(t, called(ev1.RouteTLS(), host), ev2.RouteTLS()); cerr != nil || serr != nil {
			t.Errorf("%s: %v, %v", host, cerr, serr)
		}
	}
	if cerr, _, _ := handshake(t, called(ev1.RouteTLS(), "ev3.example.net"), ev2.RouteTLS()); !errors.Is(cerr, identity.ErrHost) {
		t.Errorf("another name: %v", cerr)
	}
	if _, serr, _ := handshake(t, called(node.RouteTLS(), "127.0.0.1"), ev2.RouteTLS()); !errors.Is(serr, identity.ErrNotBroker) {
		t.Errorf("a node calls: %v", serr)
	}
	if cerr, _, _ := handshake(t, called(ev1.RouteTLS(), "127.0.0.1"), node.RouteTLS()); !errors.Is(cerr, identity.ErrUntrusted) {
		t.Errorf("a node without serverAuth accepts: %v", cerr)
	}
	stranger := credentials(t, newAuthority(t), "ev3", brokerRole)
	if cerr, _, _ := handshake(t, called(ev1.RouteTLS(), "127.0.0.1"), stranger.RouteTLS()); !errors.Is(cerr, identity.ErrUntrusted) {
		t.Errorf("a broker of another authority accepts: %v", cerr)
	}
	if _, serr, _ := handshake(t, called(stranger.RouteTLS(), "127.0.0.1"), ev1.RouteTLS()); serr == nil {
		t.Error("a broker of another authority calls and is taken")
	}
}

func TestRevokedCertificatesAreRefusedOnBothEnds(t *testing.T) {
	a := newAuthority(t)
	ev1, ev2 := credentials(t, a, "ev1", brokerRole), credentials(t, a, "ev2", brokerRole)
	node := credentials(t, a, "gw1", "sip_proxy")
	_, _, live := handshake(t, called(node.ClientTLS(), "127.0.0.1"), ev1.ServerTLS())
	for _, who := range []string{"gw1", "ev2"} {
		crl, err := a.Revoke(who)
		check(t, err)
		for _, c := range []*identity.Credentials{ev1, node} {
			_, err = c.Revocations().Update(crl, c.Authorities())
			check(t, err)
		}
	}
	if _, err := ev1.Verify(live); !errors.Is(err, identity.ErrRevoked) {
		t.Errorf("live connection: %v", err)
	}
	if _, err := ev1.Check(live.PeerCertificates, x509.ExtKeyUsageClientAuth); !errors.Is(err, identity.ErrRevoked) {
		t.Errorf("live connection, from the start: %v", err)
	}
	if _, serr, _ := handshake(t, called(node.ClientTLS(), "127.0.0.1"), ev1.ServerTLS()); !errors.Is(serr, identity.ErrRevoked) {
		t.Errorf("revoked node: %v", serr)
	}
	if cerr, _, _ := handshake(t, called(node.ClientTLS(), "127.0.0.1"), ev2.ServerTLS()); !errors.Is(cerr, identity.ErrRevoked) {
		t.Errorf("revoked broker: %v", cerr)
	}
	if cerr, _, _ := handshake(t, called(ev1.RouteTLS(), "127.0.0.1"), ev2.RouteTLS()); !errors.Is(cerr, identity.ErrRevoked) {
		t.Errorf("route to a revoked broker: %v", cerr)
	}
	if _, serr, _ := handshake(t, called(ev2.RouteTLS(), "127.0.0.1"), ev1.RouteTLS()); !errors.Is(serr, identity.ErrRevoked) {
		t.Errorf("route from a revoked broker: %v", serr)
	}
}

func TestNoSessionIsResumed(t *testing.T) {
	a := newAuthority(t)
	ev1, node := credentials(t, a, "ev1", brokerRole), credentials(t, a, "gw1", "sip_proxy")
	client, server := called(node.ClientTLS(), "127.0.0.1"), ev1.ServerTLS()
	client.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	for range 3 {
		cerr, serr, cs := handshake(t, client, server)
		if cerr != nil || serr != nil || cs.DidResume {
			t.Fatalf("%v, %v, resumed %v", cerr, serr, cs.DidResume)
		}
	}
}

// The rotation in three steps, each side at a time of its own: both authorities
// everywhere, new leaves, the old authority gone. The configurations are made
// once, before it begins.
func TestAuthorityChangesWithoutANewConfiguration(t *testing.T) {
	oldCA, newCA := newAuthority(t), newAuthority(t)
	both := append(oldCA.CertificatePEM(), newCA.CertificatePEM()...)
	files := map[string]identity.Files{}
	creds := map[string]*identity.Credentials{}
	for node, role := range map[string]subjects.Role{"ev1": brokerRole, "ev2": brokerRole, "gw1": "sip_proxy"} {
		files[node] = issueFiles(t, oldCA, request(node, role))
		creds[node] = load(t, files[node])
	}
	server, route1, route2, client := creds["ev1"].ServerTLS(), creds["ev1"].RouteTLS(), creds["ev2"].RouteTLS(), creds["gw1"].ClientTLS()
	meet := func(step string) {
		t.Helper()
		c := called(client, "127.0.0.1")
		c.RootCAs, _ = creds["gw1"].RootCAs() // as nats.go does at each attempt
		if cerr, serr, _ := handshake(t, c, server); cerr != nil || serr != nil {
			t.Fatalf("%s: %v, %v", step, cerr, serr)
		}
		if cerr, serr, _ := handshake(t, called(route1, "127.0.0.1"), route2); cerr != nil || serr != nil {
			t.Fatalf("%s: route: %v, %v", step, cerr, serr)
		}
	}
	change := func(step string, edit func(f identity.Files, id *identity.Identity)) {
		t.Helper()
		for _, node := range []string{"ev1", "gw1", "ev2"} {
			edit(files[node], creds[node].Identity())
			check(t, creds[node].Reload())
			meet(step + " on " + node)
		}
	}
	meet("before")
	change("both authorities", func(f identity.Files, _ *identity.Identity) { check(t, os.WriteFile(f.CA, both, 0o644)) })
	change("new leaf", func(f identity.Files, id *identity.Identity) {
		cert, key, err := newCA.Issue(request(string(id.Node), id.Roles...))
		check(t, err)
		check(t, os.WriteFile(f.Cert, cert, 0o644))
		check(t, os.WriteFile(f.Key, key, 0o600))
	})
	_, _, live := handshake(t, plainClientOf(t, oldCA, "gw9"), server)
	change("old authority gone", func(f identity.Files, _ *identity.Identity) {
		check(t, os.WriteFile(f.CA, newCA.CertificatePEM(), 0o644))
	})
	if _, err := creds["ev1"].Check(live.PeerCertificates, x509.ExtKeyUsageClientAuth); !errors.Is(err, identity.ErrUntrusted) {
		t.Errorf("a live connection under the old authority: %v", err)
	}
	if _, serr, _ := handshake(t, plainClientOf(t, oldCA, "gw9"), server); serr == nil {
		t.Error("the old authority still lets in")
	}
}

func plainClientOf(t *testing.T, a *identity.Authority, node string) *tls.Config {
	t.Helper()
	c := credentials(t, a, node, "sip_proxy").Certificate()
	return plainClient(c.PrivateKey, c.Leaf)
}

func TestCheckRefusesAnEmptyAndALongChain(t *testing.T) {
	a := newAuthority(t)
	ev1 := credentials(t, a, "ev1", brokerRole)
	if _, err := ev1.Check(nil, x509.ExtKeyUsageClientAuth); !errors.Is(err, identity.ErrNoCertificate) {
		t.Error(err)
	}
	if _, err := ev1.Verify(tls.ConnectionState{PeerCertificates: []*x509.Certificate{ev1.Certificate().Leaf}}); !errors.Is(err, identity.ErrNoCertificate) {
		t.Errorf("unverified chain: %v", err)
	}
	if _, err := ev1.Check(slices.Repeat([]*x509.Certificate{ev1.Certificate().Leaf}, 6), x509.ExtKeyUsageClientAuth); !errors.Is(err, identity.ErrChainTooLong) {
		t.Error(err)
	}
}

func TestRevokedIntermediateTakesItsLeavesAlong(t *testing.T) {
	root := newTestCA(t, "root", nil)
	mid := newTestCA(t, "mid", root, func(c *x509.Certificate) { c.SerialNumber = serial(77) })
	leaf, key := mid.sign(t, goodSpec())
	c := load(t, writeFiles(t, pemOf(leaf, mid.cert), keyPEM(t, key), pemOf(root.cert)))
	chain := []*x509.Certificate{leaf, mid.cert}
	_, err := c.Check(chain, x509.ExtKeyUsageClientAuth)
	check(t, err)
	_, err = c.Revocations().Update(root.crl(t, 1, 77), c.Authorities())
	check(t, err)
	if _, err := c.Check(chain, x509.ExtKeyUsageClientAuth); !errors.Is(err, identity.ErrRevoked) {
		t.Error(err)
	}
}

func TestAddressesOfARequestAreTheOnesCertified(t *testing.T) {
	r := request("gw1", "sip_proxy")
	r.Addresses = []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")}
	c := load(t, issueFiles(t, newAuthority(t), r))
	if !c.Identity().MayUse(r.Addresses[0]) || !c.Identity().MayUse(r.Addresses[1]) || len(c.Identity().Addresses) != 2 {
		t.Errorf("%v", c.Identity().Addresses)
	}
}
