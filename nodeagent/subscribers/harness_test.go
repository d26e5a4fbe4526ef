package subscribers_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"thor/broker/brokertest"
	"thor/manager"
	"thor/nodeagent/subscribers"
	"thor/overlay"
	"thor/overlay/audit"
	"thor/overlay/lookup"
	"thor/overlay/records"
	"thor/overlay/subscriber"
	"thor/provisioning/push"
	"thor/subjects"
)

// A memory is the part of a store that nodes have to do with.
type memory struct {
	mu      sync.Mutex
	rows    map[string]*subscriber.Profile
	pending map[string]uint64
	last    uint64
	down    bool
	reads   map[string]int
	trust   subscriber.Trust
	serves  map[string]bool // domains of which an unknown key is an impostor
}

func newMemory() *memory {
	return &memory{rows: make(map[string]*subscriber.Profile), pending: make(map[string]uint64), reads: make(map[string]int)}
}

// change commits a change of key and returns its notices.
func (m *memory) change(key, ha1 string, deleted bool) []subscriber.Notice {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last++
	user, domain, _ := strings.Cut(key, "@")
	m.rows[key] = &subscriber.Profile{V: 1, Key: key, Revision: m.last, Deleted: deleted, Username: user, Domain: domain, HA1: ha1}
	m.pending[key] = m.last
	return []subscriber.Notice{{V: 1, Key: key, Revision: m.last, Deleted: deleted}}
}

func (m *memory) setDown(down bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = down
}

func (m *memory) waiting() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.pending)
}

func (m *memory) readsOf(key string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.reads[key]
}

var errDown = errors.New("the database is down")

func (m *memory) Subscriber(_ context.Context, key string) (*subscriber.Profile, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return nil, errDown
	}
	m.reads[key]++
	p := m.rows[key]
	if p == nil {
		return &subscriber.Profile{V: 1, Key: key, Deleted: true, Served: m.serves[key[strings.Index(key, "@")+1:]]}, nil
	}
	c := *p
	c.Served = c.Deleted && m.serves[c.Domain]
	return &c, nil
}

func (m *memory) Changes(_ context.Context, since uint64) (*subscriber.ChangedKeys, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return nil, errDown
	}
	c := &subscriber.ChangedKeys{V: 1, Through: m.last}
	for _, k := range slices.Sorted(maps.Keys(m.rows)) {
		if m.rows[k].Revision > since {
			c.Keys, c.Revisions = append(c.Keys, k), append(c.Revisions, m.rows[k].Revision)
		}
	}
	if len(c.Keys) > subscriber.MaxKeys {
		c.Keys, c.Revisions, c.All = nil, nil, true
	}
	return c, nil
}

func (m *memory) ZoneRecords(context.Context) (*records.List, error) {
	return &records.List{V: 1}, nil
}

func (m *memory) Trust(context.Context) (*subscriber.Trust, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return nil, errDown
	}
	t := m.trust
	t.V = 1
	return &t, nil
}

func (m *memory) Pending(_ context.Context, limit int) (ns []subscriber.Notice, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return nil, errDown
	}
	for _, k := range slices.SortedFunc(maps.Keys(m.pending), func(a, b string) int { return int(m.pending[a]) - int(m.pending[b]) }) {
		if len(ns) < limit {
			ns = append(ns, subscriber.Notice{V: 1, Key: k, Revision: m.pending[k], Deleted: m.rows[k].Deleted})
		}
	}
	return ns, nil
}

func (m *memory) Acknowledge(_ context.Context, ns []subscriber.Notice) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return errDown
	}
	for _, n := range ns {
		if m.pending[n.Key] <= n.Revision {
			delete(m.pending, n.Key)
		}
	}
	return nil
}

// A network is thor in a bubble: a broker, a manager, and what tests add.
type network struct {
	t     *testing.T
	b     *brokertest.B
	store *memory
	log   *buffer
	audit *buffer
}

// buffer keeps all logs.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// inBubble runs f with a broker and an active manager.
func inBubble(t *testing.T, f func(t *testing.T, n *network)) {
	t.Helper()
	brokertest.InBubble(t, func(t *testing.T, b *brokertest.B) {
		n := &network{t: t, b: b, store: newMemory(), log: &buffer{}, audit: &buffer{}}
		t.Cleanup(func() {
			if t.Failed() {
				t.Log(n.log)
			}
		})
		p := n.join("m1", subjects.Manager)
		m, err := manager.New(manager.Config{
			Overlay: p.node, Domain: brokertest.Domain, Addresses: p.node.Identity().Addresses,
			Lookup: map[subjects.Role]int{subjects.SIPProxy: 10}, Log: n.logger("m1"),
		})
		if err != nil {
			t.Fatal(err)
		}
		p.run(m.Run)
		n.within(20*time.Second, "a manager leads", m.Active)
		f(t, n)
	})
}

func (n *network) logger(node string) zerolog.Logger {
	return zerolog.New(n.log).Level(zerolog.DebugLevel).With().Str("at", node).Logger()
}

// within waits in virtual time.
func (n *network) within(d time.Duration, what string, cond func() bool) {
	n.t.Helper()
	for end := time.Now().Add(d); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			n.t.Fatalf("not within %s: %s", d, what)
		}
	}
}

// A peer is one process.
type peer struct {
	t       *testing.T
	name    subjects.NodeID
	node    *overlay.Node
	line    *line
	metrics *prometheus.Registry
	cache   *subscribers.Cache // of a proxy
	live    *push.Pusher       // of a provisioning server
	stop    func()             // gracefully
}

// A line lets tests cut a connection to the broker.
type line struct {
	inner nats.InProcessConnProvider
	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

func (l *line) InProcessConn() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return nil, errors.New("cut off")
	}
	c, err := l.inner.InProcessConn()
	if err == nil {
		l.conns = append(l.conns, c)
	}
	return c, err
}

func (l *line) set(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = cut
	for _, c := range l.conns {
		if cut {
			_ = c.Close()
		}
	}
}

func (n *network) join(name string, roles ...subjects.Role) *peer {
	n.t.Helper()
	p := &peer{t: n.t, name: subjects.NodeID(name), line: &line{}, metrics: prometheus.NewRegistry()}
	opts := append(n.b.Options(name, roles...), func(o *nats.Options) error {
		p.line.inner, o.InProcessServer = o.InProcessServer, p.line
		return nil
	})
	var err error
	p.node, err = overlay.New(overlay.Config{Identity: n.b.Identity(name, roles...), Options: opts, StateDir: n.t.TempDir(), Log: slog.New(zerolog.NewSlogHandler(n.logger(name))), Metrics: p.metrics})
	if err != nil {
		n.t.Fatal(err)
	}
	return p
}

// run runs parts on the peer's connection.
func (p *peer) run(parts ...func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	netCtx, endNet := context.WithCancel(context.Background())
	var g, all sync.WaitGroup
	all.Go(func() {
		if err := p.node.Run(netCtx); err != nil {
			p.t.Errorf("%s: overlay: %v", p.name, err)
		}
	})
	for _, run := range parts {
		g.Go(func() {
			if err := run(ctx); err != nil {
				p.t.Errorf("%s: %v", p.name, err)
			}
		})
	}
	p.stop = sync.OnceFunc(func() { cancel(); g.Wait(); endNet(); all.Wait() })
	p.t.Cleanup(p.stop)
}

// kill ends the peer without a goodbye: it is never heard again.
func (p *peer) kill() {
	p.line.set(true)
	p.stop()
}

func (p *peer) member(role subjects.Role, attrs subjects.Attrs) {
	p.t.Helper()
	if _, err := p.node.Join(overlay.Member{Role: role, Addresses: p.node.Identity().Addresses[1:], Attrs: attrs}); err != nil {
		p.t.Fatal(err)
	}
}

// proxy starts a node with a cache.
func (n *network) proxy(name string, edit ...func(*subscribers.Config)) *peer {
	n.t.Helper()
	p := n.join(name, subjects.SIPProxy)
	cfg := subscribers.Config{Overlay: p.node, Log: n.logger(name), Metrics: p.metrics}
	for _, f := range edit {
		f(&cfg)
	}
	var err error
	if p.cache, err = subscribers.New(cfg); err != nil {
		n.t.Fatal(err)
	}
	p.member(subjects.SIPProxy, subjects.Attrs{subscriber.Attr: "1"})
	p.run(p.cache.Run)
	return p
}

// server starts a provisioning server.
func (n *network) server(name string) *peer {
	n.t.Helper()
	p := n.join(name, subjects.ProvisioningServer)
	var err error
	p.live, err = push.New(push.Config{Overlay: p.node, Store: n.store, Log: n.logger(name), Metrics: p.metrics, Audit: audit.To(n.audit)})
	if err != nil {
		n.t.Fatal(err)
	}
	p.member(subjects.ProvisioningServer, nil)
	p.run(p.live.Run)
	return p
}

// settled waits until the peers know that these are the proxies.
func (n *network) settled(peers []*peer, proxies ...string) {
	n.t.Helper()
	n.within(30*time.Second, fmt.Sprintf("the proxies are %v", proxies), func() bool {
		for _, p := range peers {
			s := p.node.View().Status
			if s == nil || len(s.Roles[subjects.SIPProxy]) != len(proxies) || p.cache == nil && p.live == nil {
				return false
			}
			for _, name := range proxies {
				if s.Member(subjects.SIPProxy, subjects.NodeID(name)) == nil {
					return false
				}
			}
		}
		return true
	})
	time.Sleep(100 * time.Millisecond) // tables are made aside
	synctest.Wait()
}

// at is where p's lookup serves key.
func (p *peer) at(key string) lookup.Assignment {
	p.t.Helper()
	l, _, err := p.node.Lookup(subjects.SIPProxy, key)
	if err != nil {
		p.t.Fatal(err)
	}
	return l
}

// keyOf finds a key whose owner and heir are these; "" is anybody.
func (p *peer) keyOf(owner, heir string) string {
	p.t.Helper()
	for i := range 10_000 {
		k := fmt.Sprintf("user%d@example.net", i)
		l := p.at(k)
		if (owner == "" || string(l.Owner()) == owner) && (heir == "" || string(l.Heir()) == heir) {
			return k
		}
	}
	p.t.Fatalf("no key of %s and %s", owner, heir)
	return ""
}

// get reads key as a script would: the status, the header and the body.
func (p *peer) get(path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.RemoteAddr = "127.0.0.1:4711"
	p.cache.Handler().ServeHTTP(w, r)
	return w
}

// ha1 is what p says the digest of key is: "404" and the like if it says none,
// with a "?" if it is stale.
func (p *peer) ha1(key string) string {
	w := p.get("/subscriber/" + key + "/ha1")
	out := w.Body.String()
	if w.Code != http.StatusOK {
		out = fmt.Sprint(w.Code)
	}
	if w.Header().Get(subscribers.HeaderStale) != "" {
		out += "?"
	}
	return out
}
