package overlay

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"thor/overlay/pulse"
	"thor/subjects"
)

const (
	inboxSize  = 1024        // messages that wait for the loop; lost ones are repaired
	closeAfter = time.Second // how long Run waits for the connection's callbacks
)

// A loop is the goroutine of Run: it does what is due and handles what arrives.
// All messages share one channel, which keeps their order.
type loop struct {
	cfg       *Config
	log       *slog.Logger
	metrics   *metrics
	conn      *connection
	announcer *announcer
	responder *responder
	status    *statusFeed
	lists     *revocationLists
	mover     *mover
	working   *sync.WaitGroup // for the goroutines of the parts

	msgs    chan *nats.Msg
	wake    chan struct{} // holds one token: there is something to look at
	doubted atomic.Bool   // a fresh snapshot is wanted
	ready   chan struct{} // closed at the first connection

	answers      string // how the subjects of answers begin
	number       int    // of the connection that was set up last
	nextAnnounce time.Time
	pulse        pulse.Pulse        // of the connection
	asked        bool               // subscribed to managers asking for full announcements
	ticks        *nats.Subscription // to the tick and…
	deltas       *nats.Subscription // …the deltas of the whole status; nil: none
}

func newLoop(cfg *Config, id subjects.NodeID, log *slog.Logger, m *metrics, working *sync.WaitGroup) *loop {
	return &loop{
		cfg: cfg, log: log, metrics: m, working: working,
		msgs: make(chan *nats.Msg, inboxSize), wake: make(chan struct{}, 1), ready: make(chan struct{}),
		answers: strings.TrimSuffix(subjects.Answers(id), ">"),
	}
}

// kick makes the loop look at what changed.
func (l *loop) kick() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// load takes up what an earlier run left on disk.
func (l *loop) load() {
	if err := l.announcer.openStore(); err != nil {
		l.log.Error("state directory unusable; state will not survive a restart", cause(err))
		return
	}
	l.lists.load()
	l.status.load(l.cfg.identity().Domain)
}

// run returns when ctx ends, or with the error of impossible, or why the client library has
// given the connection up.
func (l *loop) run(ctx context.Context, impossible <-chan error) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	closed := l.conn.closed
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-impossible:
			return err
		case <-closed:
			if err := l.conn.givenUp(); err != nil && ctx.Err() == nil {
				return err
			}
			closed = nil
		case m := <-l.msgs:
			l.receive(ctx, m)
		case err := <-l.status.saver.done:
			l.status.saver.finished(err, time.Now())
		case url := <-l.mover.found:
			l.mover.looked(url, time.Now())
		case <-l.wake:
			l.follow(time.Now())
		case <-timer.C:
		}
		now := time.Now()
		l.step(ctx, now)
		timer.Reset(l.next().Sub(now))
	}
}

// step does what is due.
func (l *loop) step(ctx context.Context, now time.Time) {
	if l.status.online && !now.Before(l.nextAnnounce) {
		l.announce(now)
	}
	l.followWhole()
	l.status.advance(now)
	l.lists.advance(l.status.online, now)
	l.mover.advance(ctx, l.status.tracker.Many(), now)
	l.feel(now)
}

// feel asks a broker from which nothing comes for a sign of life, and ends the
// connection to one that gives none.
func (l *loop) feel(now time.Time) {
	c := l.conn.dialer.current()
	if c == nil { // nats.go dialled, as in tests that connect in process
		return
	}
	ask, dead := l.pulse.Advance(l.status.beat, c.heardAt(), now)
	if ask {
		nc := l.conn.state().nc
		patience := pulse.Patience(l.status.beat)
		l.working.Go(func() { _ = nc.FlushTimeout(patience) }) // Read sees the answer
	}
	if dead {
		c.giveUp()
	}
}

// next is when step has something to do, unless something happens before.
func (l *loop) next() time.Time {
	at := earliest(earliest(l.status.next(), l.mover.Next()), l.pulse.Next())
	if l.status.online {
		at = earliest(earliest(at, l.nextAnnounce), l.lists.nextAsk)
	}
	if at.IsZero() {
		at = time.Now().Add(time.Hour)
	}
	return at
}

// announce announces all roles and sets the time of the next announcement.
func (l *loop) announce(now time.Time) {
	l.announcer.announceAll()
	l.nextAnnounce = now.Add(l.beatIn())
}

// spread is the time to the next of what happens each d on average, a tenth more or
// less, so that what started together drifts apart. chance draws below its bound.
func spread(d time.Duration, chance func(time.Duration) time.Duration) time.Duration {
	return d - d/10 + chance(d/5)
}

// follow acts on what the callbacks of the connection reported, and keeps the
// subscriptions to what is to be answered.
func (l *loop) follow(now time.Time) {
	if l.doubted.Swap(false) {
		l.status.tracker.Doubt(now)
	}
	link := l.conn.state()
	fresh, first := link.up && link.number != l.number, l.number == 0
	l.status.setLink(link, now)
	l.mover.follow(link, fresh, now)
	if !link.up {
		l.pulse.Disconnected()
		return
	}
	if fresh {
		l.pulse.Connected(now)
	}
	if l.conn.refusesRole.Load() {
		l.status.refuseRoles(now)
	}
	l.number = link.number
	if first {
		l.subscribe(link.nc)
	}
	if fresh {
		l.lists.ask(now)
		l.announcer.clearErrors()
		l.announce(now)
	}
	l.responder.subscribe(link.nc, l.msgs)
	if first {
		if err := link.nc.FlushTimeout(time.Second); err != nil {
			l.log.Debug("flush", cause(err)) // the connection is going; the next one knows the subscriptions
		}
		close(l.ready)
	}
}

// subscribe subscribes to the status, to notices of brokers and to revocation lists.
func (l *loop) subscribe(nc *nats.Conn) {
	want := []string{subjects.AllBrokers}
	for _, r := range l.cfg.Roles {
		want = append(want, subjects.ChangesOf(r))
	}
	if len(l.cfg.Roles) > 0 {
		want = append(want, subjects.RolesTick)
	}
	l.followWhole()
	if l.cfg.Credentials != nil {
		want = append(want, subjects.AllCRLs)
	}
	for _, s := range want {
		if _, err := nc.ChanSubscribe(s, l.msgs); err != nil {
			l.log.Error("subscribe", cause(err), slog.String("subject", s))
		}
	}
}

// followWhole subscribes to the tick and the deltas of the whole status while they are
// wanted: by who follows some roles only while their own do not come.
func (l *loop) followWhole() {
	if t := l.status.tracker; l.status.online {
		l.deltas = l.want(t.Wide(), l.deltas, subjects.StatusDelta)
		l.ticks = l.want(t.WantsTicks(), l.ticks, subjects.StatusTick)
	}
}

// want begins or ends a subscription, nil for none.
func (l *loop) want(wanted bool, have *nats.Subscription, subject string) *nats.Subscription {
	switch {
	case wanted == (have != nil):
		return have
	case !wanted:
		_ = have.Unsubscribe() // fails only when the connection is closed
		return nil
	}
	sub, err := l.conn.state().nc.ChanSubscribe(subject, l.msgs)
	if err != nil {
		l.log.Error("subscribe", cause(err), slog.String("subject", subject))
	}
	return sub
}

// receive handles one message of any subscription.
func (l *loop) receive(ctx context.Context, m *nats.Msg) {
	var err error
	switch {
	case m.Subject == subjects.StatusTick, m.Subject == subjects.RolesTick, m.Subject == subjects.StatusDelta, subjects.ChangedRole(m.Subject) != "":
		now := time.Now()
		if err = l.status.receive(m, now); err == nil && (m.Subject == subjects.StatusTick || m.Subject == subjects.RolesTick) {
			l.mover.Tick(now)
			l.followBeat()
		}
	case l.askedFor(m):
		l.announcer.announceFull(time.Now())
	case subjects.IsBroker(m.Subject):
		err = l.conn.notice(m)
	case strings.HasPrefix(m.Subject, subjects.PublishCRL("")), l.lists.query.answeredBy(m):
		l.lists.receive(m)
	case strings.HasPrefix(m.Subject, l.answers):
		err = l.status.receive(m, time.Now())
	default:
		err = l.responder.serve(ctx, m)
	}
	if err != nil {
		l.drop(m.Subject, err)
	}
}

// drop counts a message that was refused and logs the first for each reason.
func (l *loop) drop(subject string, err error) {
	code := subjects.CodeOf(err)
	l.metrics.drop(code)
	if l.conn.once("drop " + string(code)) {
		l.log.Error("message refused", cause(err), slog.String("subject", subjects.Printable(subject, 200)))
	}
}

// end waits for the goroutines of the parts, writes the status and closes the
// connection.
func (l *loop) end() {
	l.conn.leave()
	l.working.Wait()
	l.status.saver.flush(l.status.tracker.Full())
	l.status.shown.close()
	l.conn.close()
	l.status.setLink(l.conn.state(), time.Now())
}
