package overlay

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"thor/subjects"
)

const (
	tcpTimeout   = 3 * time.Second
	greetTimeout = 12 * time.Second // TLS and the greeting: thousands of members may come at once
	maxGreeting  = 32 << 10
)

// A dialer connects to one of the brokers, for nats.go, until its ctx ends. The
// address that nats.go names does not matter: nats.go would dial one broker after
// the other, and wait for each that is cut off.
type dialer struct {
	ctx     context.Context
	brokers *brokerList
	tcp     func(ctx context.Context, network, address string) (net.Conn, error)
	tls     func() *tls.Config // nil: in clear
	failed  func(error)        // an attempt failed

	mu     sync.Mutex
	near   neighbourhood
	list   []string // that brokers gave last
	stale  bool     // all of list failed
	newest *greetedConn
	prefer string // the URL to dial first, once
}

// A greetedConn is a connection to a broker that has sent its greeting, which
// nats.go reads again.
type greetedConn struct {
	net.Conn
	url   string
	name  subjects.NodeID // of the broker, as it says; "": it does not
	alone bool
	rest  io.Reader // the greeting, and what came with it

	began time.Time
	heard atomic.Int64 // when something was read last: ns after began
	given atomic.Bool  // up: the broker does not answer
}

// Read is that of nats.go alone.
func (c *greetedConn) Read(p []byte) (int, error) {
	n, err := c.rest.Read(p)
	if n > 0 {
		c.heard.Store(int64(time.Since(c.began)))
	}
	if err != nil && c.given.Load() {
		err = nats.ErrStaleConnection
	}
	return n, err
}

// heardAt is when something was read from the broker last.
func (c *greetedConn) heardAt() time.Time { return c.began.Add(time.Duration(c.heard.Load())) }

// giveUp ends the connection since the broker does not answer.
func (c *greetedConn) giveUp() {
	c.given.Store(true)
	_ = c.Close() // it is closed whatever Close returns
}

// SkipTLSHandshake tells nats.go that Dial has made the handshake.
func (d *dialer) SkipTLSHandshake() bool { return true }

// Dial makes d a nats.CustomDialer.
func (d *dialer) Dial(_, _ string) (net.Conn, error) {
	urls, err := d.order()
	if err != nil {
		d.failed(err)
		return nil, err
	}
	c, err := d.race(urls)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stale = err != nil
	if err != nil {
		return nil, err
	}
	d.newest = c
	return c, nil
}

// order is the list of brokers in the order in which to dial them: the preferred
// one first, then that of the own machine and those of the own site, the one that was left
// or lost last.
func (d *dialer) order() ([]string, error) {
	d.mu.Lock()
	list, stale := d.list, d.stale
	d.mu.Unlock()
	if len(list) == 0 || stale {
		fresh, err := d.brokers.resolve(d.ctx)
		if err != nil && len(list) == 0 {
			return nil, err
		}
		if err == nil {
			list = fresh
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.list = list
	first := d.prefer
	d.prefer = ""
	urls := slices.Clone(list)
	rand.Shuffle(len(urls), func(i, j int) { urls[i], urls[j] = urls[j], urls[i] })
	near := d.near.of(list)
	rank := func(u string) int {
		switch {
		case u == first:
			return -1
		case d.newest != nil && u == d.newest.url:
			return int(elsewhere) + 1
		}
		return int(near[u])
	}
	slices.SortStableFunc(urls, func(a, b string) int { return rank(a) - rank(b) })
	return urls, nil
}

// homes are the brokers that are nearer than the one that Dial returned last, or may be.
func (d *dialer) homes() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.newest == nil {
		return nil
	}
	return d.near.nearer(d.list, d.newest.url)
}

// sited takes the brokers of the newest status, which says where they are.
func (d *dialer) sited(brokers []subjects.Member) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.near.brokers = brokers
}

// isHome reports whether a broker is nearer than the one that Dial returned last. One that
// has not greeted yet is asked for its name first.
func (d *dialer) isHome(ctx context.Context, address string) bool {
	d.mu.Lock()
	_, known := d.near.names[address]
	d.mu.Unlock()
	if !known && !d.serves(ctx, address) {
		return false
	}
	return slices.Contains(d.homes(), address)
}

var errSilent = errors.New("no broker greets")

// An outcome is what became of a runner.
type outcome struct {
	i     int
	state runnerState
	conn  *greetedConn // of one that greeted
	err   error        // of one that lost
}

// race dials the brokers until one greets. The others' connections are closed.
func (d *dialer) race(urls []string) (*greetedConn, error) {
	ctx, cancel := context.WithCancel(d.ctx)
	var dialling sync.WaitGroup
	outcomes := make(chan outcome)
	conns := make([]*greetedConn, len(urls))
	winner := -1
	fault := errSilent
	defer func() {
		cancel()
		go func() { dialling.Wait(); close(outcomes) }()
		for o := range outcomes {
			if o.conn != nil {
				_ = o.conn.Close()
			}
		}
		for i, c := range conns {
			if c != nil && i != winner {
				_ = c.Close()
			}
		}
	}()
	r := newRace(len(urls), time.Now())
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		start, next, end := r.advance(time.Now())
		switch {
		case end == noneWon:
			return nil, fault
		case end != undecided:
			winner = int(end)
			return conns[winner], nil
		}
		for _, i := range start {
			dialling.Go(func() { d.run(ctx, i, urls[i], outcomes) })
		}
		t.Reset(time.Until(next))
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-t.C:
		case o := <-outcomes:
			r.note(o.i, o.state, time.Now())
			switch {
			case o.conn != nil:
				conns[o.i] = o.conn
				if !o.conn.alone {
					winner = o.i
					return o.conn, nil
				}
			case o.err != nil:
				fault = o.err
				d.failed(o.err)
			}
		}
	}
}

// run dials one broker and tells of it.
func (d *dialer) run(ctx context.Context, i int, address string, out chan<- outcome) {
	tell := func(o outcome) {
		select {
		case out <- o:
		case <-ctx.Done():
			if o.conn != nil {
				_ = o.conn.Close()
			}
		}
	}
	c, err := d.reach(ctx, address, func() { tell(outcome{i: i, state: accepted}) })
	if err != nil {
		tell(outcome{i: i, state: lost, err: err})
		return
	}
	tell(outcome{i: i, state: greeted, conn: c})
}

// reach connects to one broker and reads its greeting; up is called once it has
// accepted.
func (d *dialer) reach(ctx context.Context, address string, up func()) (*greetedConn, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("not a URL")
	}
	tcp, cancel := context.WithTimeout(ctx, tcpTimeout)
	c, err := d.tcp(tcp, "tcp", u.Host)
	cancel()
	if err != nil {
		return nil, err
	}
	up()
	ctx, cancel = context.WithTimeout(ctx, greetTimeout)
	defer cancel()
	unhook := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer unhook()
	if d.tls != nil {
		cfg := d.tls()
		cfg.ServerName = u.Hostname()
		c = tls.Client(c, cfg)
	}
	g, err := greeting(c)
	if err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("%s: %w", u.Host, err)
	}
	g.url = address
	d.mu.Lock()
	d.near.greeted(address, g.name)
	d.mu.Unlock()
	return g, nil
}

// greeting reads the INFO with which a broker begins.
func greeting(c net.Conn) (*greetedConn, error) {
	r := bufio.NewReaderSize(c, maxGreeting)
	line, err := r.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	_, body, ok := bytes.Cut(line, []byte("INFO "))
	var info map[string]json.RawMessage
	if !ok || json.Unmarshal(body, &info) != nil {
		return nil, errors.New("no greeting of a broker")
	}
	ahead, _ := r.Peek(r.Buffered())
	g := &greetedConn{Conn: c, alone: string(info[subjects.InfoAlone]) == "true", began: time.Now()}
	_ = json.Unmarshal(info["server_name"], &g.name) // "" stays where it is none
	g.rest = io.MultiReader(bytes.NewReader(slices.Concat(line, ahead)), c)
	return g, nil
}

// leaveFor makes the next Dial begin with url.
func (d *dialer) leaveFor(url string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.prefer = url
}

// others are the brokers but the one that Dial returned last, in random order, but for two
// that are near, which come first.
func (d *dialer) others() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.newest == nil {
		return nil
	}
	out := slices.DeleteFunc(slices.Clone(d.list), func(u string) bool { return u == d.newest.url })
	rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	near := d.near.of(d.list)
	slices.SortStableFunc(out, func(a, b string) int { return int(near[a]) - int(near[b]) })
	if rest := out[min(len(out), lookAtOn/2):]; len(rest) > 0 { // all of a site may be cut off together
		rand.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
	}
	return out
}

// current is the connection that Dial returned last, nil before.
func (d *dialer) current() *greetedConn {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.newest
}

// abort ends what nats.go waits for on the newest connection.
func (d *dialer) abort() {
	if c := d.current(); c != nil {
		_ = c.Close() // it is closed whatever Close returns
	}
}
