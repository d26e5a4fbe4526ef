package election_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"thor/broker/brokertest"
	"thor/manager/election"
	"thor/subjects"
)

// A lab is a network of candidates in a bubble, and what they have done.
type lab struct {
	t *testing.T
	b *brokertest.B

	mu     sync.Mutex
	ended  map[string]bool // connections that brokers ended: nobody hears what is said on them
	all    []*candidate
	epochs []uint64 // of all terms, in the order in which they began
	starts int
	begun  chan struct{} // a term has begun
}

// A candidate is one manager's election with the least shell around it.
type candidate struct {
	name string
	lab  *lab
	conn *nats.Conn
	e    *election.Election
	stop func() // gives a term back, as a daemon that ends; safe to call twice

	rank    atomic.Int64
	deaf    atomic.Bool // hears of no DISCONNECT
	term    atomic.Pointer[election.Term]
	known   atomic.Pointer[subjects.Mark]
	ceiling atomic.Uint64 // as last kept
	onKeep  atomic.Pointer[func() error]
	absurd  atomic.Int64
	gate    gate
	listens time.Duration // before it campaigns
}

// inBubble runs f with a lab, and watches all the while that never two lead.
func inBubble(t *testing.T, f func(t *testing.T, l *lab)) {
	t.Helper()
	brokertest.InBubble(t, func(t *testing.T, b *brokertest.B) {
		l := &lab{t: t, b: b, ended: map[string]bool{}, begun: make(chan struct{}, 1)}
		if _, err := b.Dial("looker-on", subjects.Manager).Subscribe(subjects.Disconnect, func(m *nats.Msg) {
			_, via := parse(t, m)
			l.mu.Lock()
			defer l.mu.Unlock()
			l.ended[via] = true
		}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { l.watch(ctx) })
		defer func() { cancel(); wg.Wait() }()
		f(t, l)
		l.mu.Lock()
		defer l.mu.Unlock()
		for i := 1; i < len(l.epochs); i++ {
			if l.epochs[i] <= l.epochs[i-1] {
				t.Errorf("epochs do not rise: %v", l.epochs)
			}
		}
	})
}

// watch looks when a term begins, with which two can begin to lead, and each 20 ms,
// since a connection that is there again lets a holder be heard. More often, and looking
// is most of what a bubble costs.
func (l *lab) watch(ctx context.Context) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.begun:
			time.Sleep(time.Microsecond)
		case <-tick.C:
		}
		if who := l.leaders(); len(who) > 1 {
			time.Sleep(time.Microsecond) // all that happens at this instant has happened then
			if who = l.leaders(); len(who) > 1 {
				l.t.Errorf("two lead at %s: %v", time.Now().Format(time.StampMicro), names(who))
				return
			}
		}
	}
}

func (l *lab) leaders() (out []*candidate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.all {
		if c.leads() {
			out = append(out, c)
		}
	}
	return out
}

func names(cs []*candidate) (out []string) {
	for _, c := range cs {
		out = append(out, c.name)
	}
	return out
}

// start begins a candidate of that order.
func (l *lab) start(name string, rank int, edit ...func(*candidate)) *candidate {
	l.t.Helper()
	l.mu.Lock()
	l.starts++
	boot := fmt.Sprintf("%s-%d", name, l.starts)
	l.mu.Unlock()
	c := &candidate{name: name, lab: l}
	c.rank.Store(int64(rank))
	c.known.Store(l.newest()) // it listens before it campaigns
	for _, f := range edit {
		f(c)
	}
	var err error
	c.conn, err = nats.Connect("", append(l.b.Options(name, subjects.Manager), nats.Name(boot), nats.MaxReconnects(-1),
		nats.ReconnectWait(50*time.Millisecond), nats.ReconnectJitter(0, 0), nats.ReconnectBufSize(-1), c.gate.option)...)
	if err != nil {
		l.t.Fatal(err)
	}
	c.e = election.New(election.Config{
		Conn: c.conn, Node: subjects.NodeID(name), Boot: boot,
		Known: func() subjects.Mark { return *c.known.Load() },
		Order: func() int { return int(c.rank.Load()) },
		StoreEpoch: func(_, ceiling uint64) error {
			c.ceiling.Store(ceiling)
			if f := c.onKeep.Load(); f != nil {
				return (*f)()
			}
			return nil
		},
		Absurd: func(*subjects.BadMessage) { c.absurd.Add(1) },
		Log:    zerolog.New(zerolog.NewTestWriter(l.t)).With().Timestamp().Str("node", name).Logger(),
	})
	c.run()
	l.mu.Lock()
	l.all = append(l.all, c)
	l.mu.Unlock()
	return c
}

// run is what a manager does with its election.
func (c *candidate) run() {
	t := c.lab.t
	if _, err := c.conn.Subscribe(subjects.Disconnect, c.disconnect); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		time.Sleep(c.listens)
		if err := c.e.Run(ctx); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	})
	wg.Go(func() {
		for {
			select {
			case x := <-c.e.Terms():
				c.lab.began(x.Epoch)
				c.term.Store(x)
				select {
				case c.lab.begun <- struct{}{}:
				default:
				}
			case <-ctx.Done():
				if x := c.term.Load(); x != nil {
					x.StepDown()
				}
				return
			}
		}
	})
	c.stop = sync.OnceFunc(func() { cancel(); wg.Wait(); c.conn.Close() })
	t.Cleanup(c.stop)
}

// newest is the mark that a status of the newest term has.
func (l *lab) newest() *subjects.Mark {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.epochs); n > 0 {
		return &subjects.Mark{Epoch: l.epochs[n-1]}
	}
	return &subjects.Mark{}
}

func (l *lab) began(epoch uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epochs = append(l.epochs, epoch)
	for _, c := range l.all { // as a status tells everybody
		if k := (subjects.Mark{Epoch: epoch}); k.After(*c.known.Load()) {
			c.known.Store(&k)
		}
	}
}

func (c *candidate) disconnect(m *nats.Msg) {
	if boot, via := parse(c.lab.t, m); !c.deaf.Load() {
		c.e.Disconnected(boot, via)
	}
}

func parse(t testing.TB, m *nats.Msg) (boot, via string) {
	var e struct {
		Server struct{ Name string }
		Client struct {
			ID   uint64
			Name string
		}
	}
	if err := json.Unmarshal(m.Data, &e); err != nil {
		t.Error(err)
	}
	return e.Client.Name, fmt.Sprintf("%s#%d", e.Server.Name, e.Client.ID)
}

// leads reports whether c would publish now, and be heard.
func (c *candidate) leads() bool {
	x := c.term.Load()
	return x != nil && x.Valid(time.Now()) && c.conn.IsConnected() && !c.lab.ended[c.via()]
}

func (c *candidate) via() string {
	cid, err := c.conn.GetClientID()
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%s#%d", c.conn.ConnectedServerName(), cid)
}

// kill is what a kill does to the connection; the process's own belief lives on.
func (c *candidate) kill() { c.conn.Close() }

// soon waits until one of cs leads, and returns it and how long that took.
func (l *lab) soon(most time.Duration, cs ...*candidate) (*candidate, time.Duration) {
	l.t.Helper()
	for from := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		synctest.Wait()
		for _, c := range l.leaders() {
			if slices.Contains(cs, c) {
				return c, time.Since(from)
			}
		}
		if time.Since(from) > most {
			l.t.Fatalf("none of %v leads within %v", names(cs), most)
		}
	}
}

// operator is JetStream for an operator, who may delete the bucket, and the
// bucket for a hand that writes the lease with a manager's certificate.
func (l *lab) operator() (del jetstream.JetStream, put *election.Bucket) {
	l.t.Helper()
	del, err := jetstream.New(l.b.Dial("op", subjects.Operator))
	if err != nil {
		l.t.Fatal(err)
	}
	put, err = election.OpenBucket(l.b.Dial("hand", subjects.Manager), subjects.ElectionBucket)
	if err != nil {
		l.t.Fatal(err)
	}
	return del, put
}

// A gate lets a connection's words in, or keeps them waiting: the other way
// stays open, so that requests are carried out whose answers do not come.
type gate struct {
	mu   sync.Mutex
	shut chan struct{} // closed when it opens; nil: it is open
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut == nil {
		g.shut = make(chan struct{})
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut != nil {
		close(g.shut)
		g.shut = nil
	}
}

func (g *gate) pass() {
	g.mu.Lock()
	c := g.shut
	g.mu.Unlock()
	if c != nil {
		<-c
	}
}

func (g *gate) option(o *nats.Options) error {
	o.InProcessServer = gatedServer{o.InProcessServer, g}
	return nil
}

type gatedServer struct {
	nats.InProcessConnProvider
	gate *gate
}

func (s gatedServer) InProcessConn() (net.Conn, error) {
	c, err := s.InProcessConnProvider.InProcessConn()
	return gatedConn{c, s.gate}, err
}

type gatedConn struct {
	net.Conn
	gate *gate
}

func (c gatedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.gate.pass()
	return n, err
}
