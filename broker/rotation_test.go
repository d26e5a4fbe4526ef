package broker_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"thor/broker/brokertest"
	"thor/identity"
	"thor/subjects"
)

// A rotation is a live network whose authority is to be replaced.
type rotation struct {
	t       *testing.T
	net     *brokertest.Net
	next    *identity.Authority
	creds   map[string]*identity.Credentials
	files   map[string]identity.Files
	members []*beating
	routes  [][]uint64

	mu    sync.Mutex
	ended []string             // names of the connections whose end managers heard of
	beats map[string]time.Time // when a member was last heard
}

// A beating is a member that announces itself.
type beating struct {
	node  string
	conn  *nats.Conn
	state chan nats.Status // anything else than connected
}

// TestAuthorityIsReplacedUnderLoad does what the manual says: the new authority
// beside the old one everywhere, new certificates for all, the old one out.
func TestAuthorityIsReplacedUnderLoad(t *testing.T) {
	t.Parallel()
	r := newRotation(t)
	caFile := r.files["b1"].CA // that of all
	stale, err := identity.Load(r.copied("n1"))
	if err != nil {
		t.Fatal(err)
	}
	r.steady("before")

	r.write(caFile, slices.Concat(r.net.Authority.CertificatePEM(), r.next.CertificatePEM()))
	r.reload()
	r.steady("both authorities")

	for node := range r.files {
		r.reissue(node)
	}
	r.steady("new certificates")

	r.write(caFile, r.next.CertificatePEM())
	r.reload()
	for _, b := range r.net.Brokers {
		brokertest.Eventually(t, soon, b.Node+" looks after its connections", func() error {
			if n := b.Spared(); n < 2 { // its members
				return fmt.Errorf("it spares %d", n)
			}
			return nil
		})
	}
	r.steady("the new authority alone")

	// From here on the old one counts for nothing, on either side.
	for _, b := range r.net.Brokers {
		if err := refusal(t, b, brokertest.TLS(stale)...); err == nil {
			t.Errorf("%s lets a certificate of the old authority in", b.Node)
		}
		nc := b.Dial(brokertest.TLS(r.creds["n1"])...)
		if s, err := nc.TLSConnectionState(); err != nil || s.PeerCertificates[0].CheckSignatureFrom(r.next.Certificate()) != nil {
			t.Errorf("%s shows a certificate of another authority: %v", b.Node, err)
		}
		nc.Close()
	}
	r.steady("after attempts")
	b3 := r.net.Brokers[2]
	b3.Stop()
	b3.Start()
	brokertest.Eventually(t, soon, "b3 makes its routes with new certificates", func() error {
		if got := strings.Join(b3.Peers(), " "); got != "b1 b2" {
			return fmt.Errorf("it is with %q", got)
		}
		return nil
	})
}

// A live connection does not outlive the departure of its authority for ever.
func TestConnectionsOfADepartedAuthorityEndLater(t *testing.T) {
	t.Parallel()
	r := newRotation(t)
	for _, b := range r.net.Brokers {
		b.Distrust(-time.Second) // at once
	}
	r.write(r.files["b1"].CA, slices.Concat(r.net.Authority.CertificatePEM(), r.next.CertificatePEM()))
	r.reload()
	for node := range r.files {
		r.reissue(node)
	}
	fresh := r.net.Brokers[0].Dial(append(brokertest.TLS(r.creds["n2"]), nats.Name("fresh"))...)
	r.write(r.files["b1"].CA, r.next.CertificatePEM())
	r.reload()
	for _, m := range r.members {
		brokertest.Eventually(t, 15*time.Second, m.node+" is ended", func() error {
			if m.conn.IsConnected() {
				return errors.New("it is connected")
			}
			return nil
		})
	}
	if !fresh.IsConnected() {
		t.Error("a connection of the new authority was ended as well")
	}
	brokertest.Eventually(t, soon, "the routes are back", func() error {
		for _, b := range r.net.Brokers {
			if got := b.Peers(); len(got) != 2 {
				return fmt.Errorf("%s is with %q", b.Node, got)
			}
		}
		return nil
	})
}

func newRotation(t *testing.T) *rotation {
	t.Helper()
	n := brokertest.Cluster(t, 3)
	next, err := identity.Init(filepath.Join(t.TempDir(), "next"), brokertest.Domain, identity.InitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r := &rotation{
		t: t, net: n, next: next, beats: map[string]time.Time{},
		creds: map[string]*identity.Credentials{}, files: map[string]identity.Files{},
	}
	for _, b := range n.Brokers {
		r.creds[b.Node], r.files[b.Node] = b.Credentials, n.Files(b.Node, subjects.EventServer)
	}
	listener := n.Dial("m1", subjects.Manager)
	for subject, h := range map[string]nats.MsgHandler{
		subjects.Disconnect: func(m *nats.Msg) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.ended = append(r.ended, string(m.Data))
		},
		subjects.AllPresences: func(m *nats.Msg) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.beats[m.Subject] = time.Now()
		},
	} {
		if _, err := listener.Subscribe(subject, h); err != nil {
			t.Fatal(err)
		}
	}
	flush(t, listener)
	for i := range 6 {
		node := fmt.Sprintf("n%d", i+1)
		f := n.Issue(identity.Request{
			Node: subjects.NodeID(node), Roles: []subjects.Role{"sip_proxy"}, Addresses: n.Credentials(node, "sip_proxy").Identity().Addresses,
		})
		c, err := identity.Load(f)
		if err != nil {
			t.Fatal(err)
		}
		r.creds[node], r.files[node] = c, f
		m := &beating{node: node, conn: n.Brokers[i%3].Dial(append(brokertest.TLS(c), nats.Name("boot-"+node))...)}
		m.state = m.conn.StatusChanged(nats.CLOSED, nats.DISCONNECTED, nats.RECONNECTING)
		r.members = append(r.members, m)
	}
	for _, b := range n.Brokers {
		r.routes = append(r.routes, routeIDs(t, b))
	}
	return r
}

// steady finds that all members are heard, and that no connection has ended.
func (r *rotation) steady(when string) {
	r.t.Helper()
	for _, m := range r.members {
		if err := m.conn.Publish(subjects.Presence("sip_proxy", subjects.NodeID(m.node)), []byte("x")); err != nil {
			r.t.Errorf("%s: %s: %v", when, m.node, err)
		}
	}
	from := time.Now()
	for _, m := range r.members {
		flush(r.t, m.conn)
		subject := subjects.Presence("sip_proxy", subjects.NodeID(m.node))
		brokertest.Eventually(r.t, soon, when+": "+m.node+" is heard", func() error {
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.beats[subject].Before(from.Add(-time.Second)) {
				return errors.New("it is not")
			}
			return nil
		})
		select {
		case s := <-m.state:
			r.t.Errorf("%s: the connection of %s is %v", when, m.node, s)
		default:
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.ended {
		if strings.Contains(e, `"boot-`) {
			r.t.Errorf("%s: a manager heard of the end of %s", when, e)
		}
	}
	for i, b := range r.net.Brokers {
		if now := routeIDs(r.t, b); !sameIDs(now, r.routes[i]) {
			r.t.Errorf("%s: the routes of %s were %v, are %v", when, b.Node, r.routes[i], now)
		}
	}
}

func sameIDs(a, b []uint64) bool {
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

func (r *rotation) reload() {
	r.t.Helper()
	for node, c := range r.creds {
		if err := c.Reload(); err != nil {
			r.t.Fatalf("%s: %v", node, err)
		}
	}
}

// reissue gives node a certificate of the new authority.
func (r *rotation) reissue(node string) {
	r.t.Helper()
	id := r.creds[node].Identity()
	cert, key, err := r.next.Issue(identity.Request{Node: id.Node, Roles: slices.Clone(id.Roles), Addresses: id.Addresses})
	if err != nil {
		r.t.Fatal(err)
	}
	r.write(r.files[node].Cert, cert)
	r.write(r.files[node].Key, key)
	if err := r.creds[node].Reload(); err != nil {
		r.t.Fatal(err)
	}
}

// copied are copies of node's files, with their authority.
func (r *rotation) copied(node string) identity.Files {
	r.t.Helper()
	dir := r.t.TempDir()
	f := r.files[node]
	for _, p := range []*string{&f.Cert, &f.Key, &f.CA} {
		to := filepath.Join(dir, filepath.Base(*p))
		copyFile(r.t, *p, to)
		*p = to
	}
	return f
}

func (r *rotation) write(path string, data []byte) {
	r.t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		r.t.Fatal(err)
	}
}
