package powerdns

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"thor/dnsagent/powerdns/plan"
	"thor/dnsagent/zone"
	"thor/overlay/setting"
	"thor/subjects"
)

// Times of the writer. The database keeps a silent session for idleSessions of its
// comparisons, and at least 15 s: after that another agent can have the lock.
const (
	idleSessions = 3
	leastIdle    = 15 * time.Second
	standbyPoll  = time.Second
	awaitPoll    = 10 * time.Millisecond // for another agent to write what this one knows already
	awaitFor     = 2 * time.Second
	retryFirst   = 100 * time.Millisecond
	retryMost    = 2 * time.Second
	retryRefused = 5 * time.Second // what an operator has to change
	retryHostile = time.Minute
)

// A Writer keeps the rows of one zone in a database.
type Writer struct {
	cfg     Config
	log     zerolog.Logger
	metrics *metrics
	server  *server
	changed chan struct{} // has room for one

	mu      sync.Mutex
	offered offer
	state   state
}

// An offer is the newest zone.
type offer struct {
	zone      *zone.Zone // nil: none yet
	confirmed bool
	since     time.Time // when the first zone was offered that the database lacks; zero: it lacks none
}

// New checks cfg. It does no I/O.
func New(cfg Config) (*Writer, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	setting.Fill(&cfg)
	cfg.Domain = strings.ToLower(strings.TrimSuffix(cfg.Domain, "."))
	w := &Writer{
		cfg: cfg, changed: make(chan struct{}, 1), state: state{standing: connecting},
		log: cfg.Log.With().Str("comp", "powerdns").Str("database", cfg.DSN.Address()+"/"+cfg.DSN.Name()).Logger(),
	}
	var err error
	if w.metrics, err = newMetrics(cfg.Metrics, w); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	w.server = newServer(&w.cfg, w.log, w.metrics, w.poke)
	return w, nil
}

// Offer hands over the zone that is served now. It never waits. confirmed says that
// its status is the present one. The zone of a later call takes the place of one
// that is not written yet.
func (w *Writer) Offer(z *zone.Zone, confirmed bool) {
	w.mu.Lock()
	if z != w.offered.zone && w.offered.since.IsZero() {
		w.offered.since = time.Now()
	}
	w.offered.zone, w.offered.confirmed = z, confirmed
	w.mu.Unlock()
	w.poke()
}

func (w *Writer) poke() {
	select {
	case w.changed <- struct{}{}:
	default: // it looks for the newest anyway
	}
}

func (w *Writer) newest() offer {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.offered
}

// Run keeps the database until ctx ends, which is the only end. It can be called
// once.
func (w *Writer) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { w.keep(ctx); return nil })
	g.Go(func() error { w.server.run(ctx); return nil })
	return g.Wait()
}

// keep makes one session after the other.
func (w *Writer) keep(ctx context.Context) {
	pause := retryFirst
	for ctx.Err() == nil {
		began := time.Now()
		err := w.session(ctx)
		if ctx.Err() != nil {
			return
		}
		w.failed(err)
		if time.Since(began) > retryMost {
			pause = retryFirst
		}
		var r *refusal
		wait := pause
		switch {
		case errors.As(err, &r):
			wait = retryRefused
		case errors.Is(err, errHostile), errors.Is(err, errInternal):
			wait = retryHostile
		}
		if !sleep(ctx, wait) {
			return
		}
		pause = min(2*pause, retryMost)
	}
}

var errInternal = errors.New("internal error of this name server")

// session works on one connection until it fails.
func (w *Writer) session(ctx context.Context) (err error) {
	defer func() { // the name server goes on, whatever a database makes of the driver
		if r := recover(); r != nil {
			w.log.Error().Str("stack", string(debug.Stack())).Msg("panic")
			err = fmt.Errorf("%w: panic: %v", errInternal, r)
		}
	}()
	s, err := open(ctx, &w.cfg, max(idleSessions*w.cfg.Verify, leastIdle))
	if err != nil {
		return err
	}
	defer s.close()
	d := &draws{seed: rand.Uint64()}
	var laterSince time.Time // since when the rows are of a later status than a confirmed one
	for {
		wait, err := w.step(ctx, s, d, &laterSince)
		if err != nil {
			return err
		}
		select {
		case <-w.changed:
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
	}
}

// step does what is to be done now, and tells when to look again.
func (w *Writer) step(ctx context.Context, s *session, d *draws, laterSince *time.Time) (time.Duration, error) {
	o := w.newest()
	if o.zone == nil { // it has nothing to write: the lock is for an agent that has
		return w.standBy(ctx, s, o)
	}
	if err := bounded(ctx, s.lock); err != nil {
		return 0, err
	}
	if !s.locked {
		*laterSince = time.Time{}
		return w.standBy(ctx, s, o)
	}
	now := time.Now()
	mode := w.mode()
	set, redraw := d.rows(o.zone, mode, now)
	if w.cfg.Mode == plan.Lua {
		set = withProbe(set, w.cfg.Domain)
	}
	due := s.compared.Add(w.cfg.Verify)
	j := &job{zone: o.zone, set: set, lua: w.cfg.Mode == plan.Lua, confirmed: o.confirmed}
	// What is new goes first; all rows are compared after that.
	j.whole = !now.Before(due) && o.zone == s.zone
	if !laterSince.IsZero() {
		j.laterFor = now.Sub(*laterSince)
	}
	r, err := s.pass(ctx, j, w.cfg.Kind)
	if err != nil {
		return 0, err
	}
	if r.rowsLater {
		w.isBehind()
		if !o.confirmed { // it may not write, however long it waits: another agent may
			*laterSince = time.Time{}
			return standbyPoll, bounded(ctx, s.unlock)
		}
		if laterSince.IsZero() {
			*laterSince = now
		}
		return standbyPoll, nil
	}
	*laterSince = time.Time{}
	if s.zone = o.zone; r.whole {
		s.compared = now
	}
	w.wrote(o, r, set, mode, now)
	if !o.confirmed { // another agent may know better
		if err := bounded(ctx, s.unlock); err != nil {
			return 0, err
		}
	}
	wait := max(time.Until(s.compared.Add(w.cfg.Verify)), 0)
	if redraw > 0 {
		wait = min(wait, redraw)
	}
	return wait, nil
}

// mode is how sets are drawn from now.
func (w *Writer) mode() plan.Mode {
	if w.server.luaFails() || w.luaForbidden() {
		return plan.Rotate
	}
	return w.cfg.Mode
}

// standBy sees what another agent has written.
func (w *Writer) standBy(ctx context.Context, s *session, o offer) (time.Duration, error) {
	var content, serial string
	err := bounded(ctx, func(ctx context.Context) (err error) {
		content, serial, err = s.written(ctx, w.cfg.Domain)
		return err
	})
	if err != nil {
		return 0, err
	}
	if o.zone == nil && content == "" { // no agent has written yet
		w.became(connecting)
		return standbyPoll, nil
	}
	m, digest := parseMark(content)
	waiting := w.stands(o, m, digest, serial)
	if waiting > 0 && waiting < awaitFor {
		return awaitPoll, nil
	}
	return standbyPoll, nil
}

// bounded calls f with the time of one statement.
func bounded(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return f(ctx)
}

// draws are the rows of the newest zone, and when they are to be drawn anew.
type draws struct {
	seed uint64
	at   time.Time // of the seed
	zone *zone.Zone
	mode plan.Mode
	set  *plan.Set
}

// rows are those of z, and how long they may stay; 0: for ever.
func (d *draws) rows(z *zone.Zone, mode plan.Mode, now time.Time) (set *plan.Set, stay time.Duration) {
	old := d.set != nil && d.set.Redraw > 0 && now.Sub(d.at) >= d.set.Redraw
	if old || d.at.IsZero() {
		d.seed, d.at = rand.Uint64(), now
	}
	if old || z != d.zone || mode != d.mode || d.set == nil {
		d.set, d.zone, d.mode = plan.Rows(z, mode, d.seed), z, mode
	}
	if d.set.Redraw > 0 {
		stay = max(d.at.Add(d.set.Redraw).Sub(now), time.Millisecond)
	}
	return d.set, stay
}

// sleep reports whether d passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// later reports whether the zone of o is newer than rows of m and digest.
func (o offer) later(m subjects.Mark, digest string) bool {
	return o.zone != nil && (o.zone.Mark().After(m) || o.zone.Mark() == m && o.zone.Digest() != digest)
}
