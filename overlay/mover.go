package overlay

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"thor/overlay/roam"
	"thor/subjects"
)

const (
	lookTime  = 6 * time.Second
	lookAtOn  = 4               // brokers that are looked at beside each other
	probeTime = 4 * time.Second // for the answers to CONNECT
)

// A mover leaves the broker for a better one. Its methods are the loop's; looking
// at other brokers is done by a goroutine.
type mover struct {
	roam.Roamer
	conn    *connection
	log     *slog.Logger
	mark    func() subjects.Mark // of the status held
	working *sync.WaitGroup      // for the goroutine
	found   chan string          // the URL of a better broker, "" for none; room for one
	from    link                 // the connection when the newest look began
}

// follow notes the state of the connection. fresh: it is a new one.
func (m *mover) follow(l link, fresh bool, now time.Time) {
	switch {
	case !l.up:
		m.Disconnected()
	case fresh || !m.Up():
		m.Connected(l.alone, now)
		m.Stray(len(m.conn.dialer.homes()) > 0, now)
	default:
		m.Notice(l.alone, now)
	}
}

// sited takes what a new status says of where the brokers are.
func (m *mover) sited(s *subjects.Status, now time.Time) {
	d := m.conn.dialer
	if s == nil || m.conn.cfg.site() == "" {
		return
	}
	d.sited(s.Roles[subjects.EventServer])
	if m.Up() {
		m.Stray(len(d.homes()) > 0, now)
	}
}

// advance looks for a better broker if that is due.
func (m *mover) advance(ctx context.Context, many bool, now time.Time) {
	if !m.Advance(many, now) {
		return
	}
	d := m.conn.dialer
	urls := d.others()
	if m.Homing() {
		urls = nil
		if stay := m.conn.cfg.Stay; stay == nil || !stay() {
			urls = d.homes() // not the same four each time
			rand.Shuffle(len(urls), func(i, j int) { urls[i], urls[j] = urls[j], urls[i] })
		}
	}
	if len(urls) == 0 {
		m.Looked(false, now)
		return
	}
	homing := m.Homing()
	alone, mark := m.Alone() && !homing, m.mark()
	m.from = m.conn.state()
	m.working.Go(func() {
		look, cancel := context.WithTimeout(ctx, lookTime)
		defer cancel()
		better := d.better(look, urls[:min(len(urls), lookAtOn)], func(ctx context.Context, url string) bool {
			if alone { // what is not alone is better
				return d.serves(ctx, url)
			}
			if homing && !d.isHome(ctx, url) {
				return false
			}
			return m.conn.ticks(ctx, url, mark)
		})
		if better != "" && !alone {
			select {
			case <-ctx.Done():
			case <-time.After(roam.Settle):
			}
		}
		m.found <- better
	})
}

// looked takes the result of a look, and leaves for the broker that it found if that is
// still better than the own one.
func (m *mover) looked(url string, now time.Time) {
	l := m.from
	if url == "" || !m.Better() || !l.lasts(m.conn.state()) {
		m.Looked(false, now)
		return
	}
	m.Looked(true, now)
	m.log.Info("leaving the broker for another", slog.String("peer", l.via), slog.String("broker", url), slog.Bool("alone", m.Alone()))
	m.conn.dialer.leaveFor(url)
	m.working.Go(func() { m.conn.reconnect(l.nc) })
}

// better is the first of the brokers that is good, "" if none is.
func (d *dialer) better(ctx context.Context, urls []string, good func(context.Context, string) bool) string {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan string, len(urls))
	for _, u := range urls {
		go func() {
			if !good(ctx, u) {
				u = ""
			}
			results <- u
		}()
	}
	found := ""
	for range urls { // all have ended when this returns
		if u := <-results; u != "" && found == "" {
			found = u
			cancel()
		}
	}
	return found
}

// serves reports whether a broker greets and is not alone.
func (d *dialer) serves(ctx context.Context, url string) bool {
	c, err := d.reach(ctx, url, func() {})
	if err != nil {
		return false
	}
	_ = c.Close()
	return !c.alone
}

var errAlone = errors.New("the broker is alone")

// A probe dials one broker, unless it is alone.
type probe struct {
	d   *dialer
	ctx context.Context
	url string
}

func (p probe) SkipTLSHandshake() bool { return true }

func (p probe) Dial(_, _ string) (net.Conn, error) {
	c, err := p.d.reach(p.ctx, p.url, func() {})
	if err != nil {
		return nil, err
	}
	if c.alone {
		_ = c.Close()
		return nil, errAlone
	}
	return c, nil
}

// ticks reports whether the manager is heard through a broker: a tick that is not
// older than mark. The connection has no name: its end tells nothing of a member.
func (c *connection) ticks(ctx context.Context, url string, mark subjects.Mark) bool {
	opts := append(c.secure(), nats.SetCustomDialer(probe{c.dialer, ctx, url}), nats.NoReconnect(), nats.Timeout(probeTime))
	nc, err := nats.Connect(anyBroker, opts...)
	if err != nil {
		return false
	}
	defer nc.Close()
	sub, err := nc.SubscribeSync(subjects.StatusTick)
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, roam.TickWait)
	defer cancel()
	for {
		msg, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return false
		}
		if k, err := subjects.ParseTick(msg.Data); err == nil && !mark.After(k.Mark()) {
			return true
		}
	}
}
