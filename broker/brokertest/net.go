package brokertest

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"thor/broker"
	"thor/identity"
	"thor/subjects"
)

// A Net is an authority and the brokers of one network on loopback. It is for
// one goroutine, that of the test.
type Net struct {
	Authority *identity.Authority
	Brokers   []*Server

	t     testing.TB
	dir   string
	names addresses
	files map[string]identity.Files
}

// A Server is one broker of a Net.
type Server struct {
	*broker.Broker
	Node        string
	Credentials *identity.Credentials
	Config      broker.Config // what Restart uses
	Stop        func()        // ends it gracefully and waits; safe to call twice

	net *Net
}

// Start returns a network of one standalone broker, "b1", that listens with TLS.
func Start(t testing.TB) *Net {
	t.Helper()
	n := New(t)
	n.Add("b1")
	return n
}

// Cluster returns a network of size brokers, "b1" and so on, whose JetStream
// can hold three copies of a bucket (or as many as there are brokers).
func Cluster(t testing.TB, size int) *Net {
	t.Helper()
	n := New(t)
	ports := Ports(t, 2*size)
	var routes []string
	for i := range size {
		routes = append(routes, "tls://"+ports[size+i])
	}
	for i := range size {
		n.Prepare(fmt.Sprintf("b%d", i+1), func(c *broker.Config) {
			c.Listen = ports[i]
			c.ClusterListen = ports[size+i]
			c.Routes = routes
		})
	}
	StartAll(n.Brokers...)
	n.AwaitJetStream(min(3, size))
	return n
}

// New returns a network without brokers.
func New(t testing.TB) *Net {
	t.Helper()
	n := &Net{t: t, dir: t.TempDir(), files: make(map[string]identity.Files)}
	var err error
	if n.Authority, err = identity.Init(filepath.Join(n.dir, "ca"), Domain, identity.InitOptions{}); err != nil {
		t.Fatal(err)
	}
	n.write("ca.crt", n.Authority.CertificatePEM())
	return n
}

// Ports reserves addresses on loopback that were free a moment ago.
func Ports(t testing.TB, n int) []string {
	t.Helper()
	var out []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		out = append(out, l.Addr().String())
	}
	return out
}

// Prepare adds a broker without starting it. edit may change its configuration,
// which by default is standalone on a port of its own and ends at once.
func (n *Net) Prepare(node string, edit ...func(*broker.Config)) *Server {
	n.t.Helper()
	s := &Server{Node: node, net: n, Credentials: n.Credentials(node, subjects.EventServer)}
	s.Config = broker.Config{
		Credentials: s.Credentials, Listen: Ports(n.t, 1)[0], StoreDir: filepath.Join(n.dir, "store-"+node),
		Version: "test", LameDuck: -1,
		Log: zerolog.New(zerolog.NewTestWriter(n.t)).Level(zerolog.InfoLevel),
	}
	for _, f := range edit {
		f(&s.Config)
	}
	n.Brokers = append(n.Brokers, s)
	return s
}

// Add prepares and starts a broker.
func (n *Net) Add(node string, edit ...func(*broker.Config)) *Server {
	n.t.Helper()
	s := n.Prepare(node, edit...)
	s.Start()
	return s
}

// Start starts a prepared or stopped broker, on the same ports and store as
// before, and returns when it is ready.
func (s *Server) Start() {
	s.net.t.Helper()
	StartAll(s)
}

// Make makes the Broker of a prepared server, for tests that change it before Begin.
func (s *Server) Make() {
	s.net.t.Helper()
	var err error
	if s.Broker, err = broker.New(s.Config); err != nil {
		s.net.t.Fatal(err)
	}
}

// Begin runs what Make made, and returns when it is ready.
func (s *Server) Begin() {
	s.net.t.Helper()
	var ready func()
	ready, s.Stop = launch(s.net.t, s.Broker)
	ready()
}

// StartAll starts brokers at the same time: a cluster that starts one by one
// takes longer to elect JetStream's leader.
func StartAll(servers ...*Server) {
	var ready []func()
	for _, s := range servers {
		s.net.t.Helper()
		s.Make()
		var r func()
		r, s.Stop = launch(s.net.t, s.Broker)
		ready = append(ready, r)
	}
	for _, r := range ready {
		r()
	}
}

// AwaitJetStream waits until the brokers have made the managers' buckets and the
// history, with so many copies that are current.
func (n *Net) AwaitJetStream(copies int) {
	n.t.Helper()
	o := n.Dial("waiting-operator", subjects.Operator)
	defer o.Close()
	js, err := jetstream.New(o)
	if err != nil {
		n.t.Fatal(err)
	}
	for _, name := range []string{subjects.BucketStream(subjects.ElectionBucket), subjects.BucketStream(subjects.StatusBucket), subjects.HistoryStream} {
		Eventually(n.t, 30*time.Second, fmt.Sprintf("the stream %s in %d copies", name, copies), func() error {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			s, err := js.Stream(ctx, name)
			if err != nil {
				return err
			}
			have := 1
			if c := s.CachedInfo().Cluster; c != nil {
				for _, r := range c.Replicas {
					if r.Current {
						have++
					}
				}
			}
			if have < copies {
				return fmt.Errorf("%d current copies", have)
			}
			return nil
		})
	}
}

// URLs are those of all brokers, for clients.
func (n *Net) URLs() []string {
	var out []string
	for _, s := range n.Brokers {
		out = append(out, "tls://"+s.Config.Listen)
	}
	return out
}

// Files issues a certificate for node and returns the files, the same for the
// same arguments: addresses are 127.0.0.1 and one of its own in 10.0.0.0/16.
func (n *Net) Files(node string, roles ...subjects.Role) identity.Files {
	n.t.Helper()
	key := fmt.Sprint(node, roles)
	f, ok := n.files[key]
	if !ok {
		f = n.Issue(identity.Request{Node: subjects.NodeID(node), Roles: slices.Clone(roles), Addresses: n.names.of(node)})
		n.files[key] = f
	}
	return f
}

// Issue makes new files for any request.
func (n *Net) Issue(r identity.Request) identity.Files {
	n.t.Helper()
	cert, key, err := n.Authority.Issue(r)
	if err != nil {
		n.t.Fatal(err)
	}
	name := fmt.Sprintf("%s-%d", r.Node, len(n.files))
	for i := 0; ; i++ {
		if _, err := os.Stat(filepath.Join(n.dir, fmt.Sprintf("%s-%d.crt", name, i))); err != nil {
			name = fmt.Sprintf("%s-%d", name, i)
			break
		}
	}
	return identity.Files{Cert: n.write(name+".crt", cert), Key: n.write(name+".key", key), CA: filepath.Join(n.dir, "ca.crt")}
}

// Credentials are those of Files, loaded.
func (n *Net) Credentials(node string, roles ...subjects.Role) *identity.Credentials {
	n.t.Helper()
	c, err := identity.Load(n.Files(node, roles...))
	if err != nil {
		n.t.Fatal(err)
	}
	return c
}

// Options are those with which node connects with TLS.
func (n *Net) Options(node string, roles ...subjects.Role) []nats.Option {
	n.t.Helper()
	return TLS(n.Credentials(node, roles...))
}

// TLS are the options of a connection with these credentials.
func TLS(c *identity.Credentials) []nats.Option {
	return []nats.Option{
		nats.Secure(c.ClientTLS()), nats.ClientTLSConfig(nil, c.RootCAs), nats.TLSHandshakeFirst(),
		nats.CustomInboxPrefix(subjects.InboxPrefix(c.Identity().Node)), nats.NoReconnect(),
	}
}

// Dial returns a new connection of node to the first broker, without
// reconnection and without a name; it is closed when the test ends.
func (n *Net) Dial(node string, roles ...subjects.Role) *nats.Conn {
	n.t.Helper()
	return n.Brokers[0].Dial(n.Options(node, roles...)...)
}

// Dial returns a new connection to this broker.
func (s *Server) Dial(o ...nats.Option) *nats.Conn {
	s.net.t.Helper()
	return connect(s.net.t, "tls://"+s.Config.Listen, o...)
}

func (n *Net) write(name string, data []byte) string {
	n.t.Helper()
	path := filepath.Join(n.dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		n.t.Fatal(err)
	}
	return path
}

// Eventually calls f until it returns nil, or fails the test after d with what
// and f's last error.
func Eventually(t testing.TB, d time.Duration, what string, f func() error) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(d); ; <-tick.C {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v: %v", what, d, err)
		}
	}
}
