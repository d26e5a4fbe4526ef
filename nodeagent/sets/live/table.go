package live

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"thor/nodeagent/sets"
	"thor/overlay"
	"thor/subjects"
)

const (
	pollEvery  = time.Second            // how soon a restart of Kamailio is noticed
	busyRetry  = 250 * time.Millisecond // after a refusal to reload again so soon
	retryFirst = 250 * time.Millisecond
	retryMost  = 5 * time.Second
	// busyMost is how long Kamailio may refuse to reload before that is a fault. The
	// longest of its own accord is 10 s, of the module rtpengine.
	busyMost = 15 * time.Second
)

// A table keeps one table of one Kamailio.
type table struct {
	*sets.Table
	ops     ops
	role    subjects.Role
	proxy   Proxy
	log     zerolog.Logger
	metrics *metrics

	// Of the goroutine in run.
	wanted  sets.Sets
	status  *subjects.Status // the last confirmed one, which wanted is by; nil: none yet
	written bool             // the file holds wanted
	ours    bool             // this run has written entries to the file
	loaded  sets.Sets        // what Kamailio holds; nil: not known
	up      string           // since when it runs; empty: not known
	next    time.Time        // no reload before
	since   time.Time        // when the status came that Kamailio does not follow yet; zero: it does
	wait    time.Duration
	stamped int64     // the second of the file's time at the last reload
	busy    time.Time // since when Kamailio refuses to reload so often; zero: it does not

	mu    sync.Mutex
	kept  []subjects.Role // without members: their sets stay
	fault string          // why the table is not in step
}

func newTable(t Target, d *sets.Table, log zerolog.Logger, m *metrics) *table {
	return &table{
		Table: d, ops: t.Proxy.ops(d.Kind), role: t.Role, proxy: t.Proxy, metrics: m,
		log: log.With().Str("role", string(t.Role)).Str("table", string(d.Kind)).Logger(),
	}
}

func (t *table) labels() []string { return []string{string(t.role), string(t.Kind)} }

// faults are what to tell of t, a line each.
func (t *table) faults() (out []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fault != "" {
		out = append(out, fmt.Sprintf("%s of the %s of %s: %s", t.Kind, t.proxy.Name(), t.role, t.fault))
	}
	for _, r := range t.kept {
		out = append(out, fmt.Sprintf("%s of the %s of %s: %s has no members, its set stays as it is", t.Kind, t.proxy.Name(), t.role, r))
	}
	return out
}

// run keeps the table until ctx ends.
func (t *table) run(ctx context.Context, views <-chan *overlay.View) {
	t.metrics.inStep.WithLabelValues(t.labels()...).Set(0)
	t.open()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case v, ok := <-views:
			if !ok {
				return
			}
			if !t.consider(v) {
				continue
			}
			if t.wait > 0 { // Kamailio does not answer: the timer tries again
				_ = t.flush() // and tells this error
				continue
			}
		case <-timer.C:
		}
		wait := t.step(ctx)
		if ctx.Err() != nil {
			return
		}
		timer.Reset(wait)
	}
}

// consider takes over what v says, if it says anything that counts, and reports whether
// there is something to do.
func (t *table) consider(v *overlay.View) bool {
	if v.Status == nil || v.Stale || v.FromDisk {
		return false
	}
	next, kept := t.Next(t.wanted, v.Status)
	t.keep(kept)
	known := t.status != nil
	t.status = v.Status
	if known && next.Equal(t.wanted) {
		return false
	}
	t.written = t.written && next.Equal(t.wanted)
	t.wanted = next
	if t.since.IsZero() {
		t.since = time.Now()
	}
	t.metrics.inStep.WithLabelValues(t.labels()...).Set(0)
	t.metrics.members.WithLabelValues(t.labels()...).Set(float64(next.Len()))
	return true
}

// keep notes the roles whose sets stay since they have no members.
func (t *table) keep(kept []subjects.Role) {
	t.mu.Lock()
	before := t.kept
	t.kept = kept
	t.mu.Unlock()
	for _, r := range kept {
		if !slices.Contains(before, r) {
			t.log.Warn().Str("of", string(r)).Msg("role without members, its set stays as it is")
		}
	}
}

// step does what is to be done, and returns how long to wait for the next.
func (t *table) step(ctx context.Context) time.Duration {
	if t.status == nil {
		return pollEvery
	}
	wait, err := t.push(ctx)
	switch {
	case err != nil && t.proxy.Busy(err):
		t.refused(err)
		return busyRetry
	case err != nil && ctx.Err() != nil:
		return 0
	case err != nil:
		t.loaded, t.up, t.busy = nil, "", time.Time{}
		t.failed(err)
		t.wait = min(max(2*t.wait, retryFirst), retryMost)
		return t.wait
	}
	t.wait = 0
	if wait > 0 {
		return wait
	}
	t.recovered()
	return pollEvery
}

// push brings Kamailio to what is wanted; wait is not zero if that is to go on later.
func (t *table) push(ctx context.Context) (wait time.Duration, err error) {
	if err := t.flush(); err != nil {
		return 0, err
	}
	if err := t.watchRestart(ctx); err != nil {
		return 0, err
	}
	if err := t.flush(); err != nil { // again, if Kamailio is another
		return 0, err
	}
	if t.wanted.Len() == 0 {
		return 0, nil // an empty file empties the set, and Kamailio says nothing
	}
	c := sets.Change{Reload: true}
	if t.loaded != nil {
		c = t.Compare(t.loaded, t.wanted)
	}
	early := time.Until(t.next)
	if !c.Reload || early > 0 {
		if err := t.tell(ctx, c.States); err != nil {
			return 0, err
		}
	}
	switch {
	case !c.Reload:
		return 0, nil
	case early > 0:
		return early, nil
	}
	return 0, t.reload(ctx)
}

// watchRestart forgets what Kamailio and the file hold if Kamailio was started anew, or
// after a failure.
func (t *table) watchRestart(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	up, err := t.proxy.UpSince(ctx)
	if err != nil {
		return err
	}
	if up != t.up {
		if t.up != "" {
			t.log.Info().Str("since", up).Msg(t.proxy.Name() + " was restarted, telling it again")
		}
		t.up, t.loaded, t.written = up, nil, false
	}
	return nil
}

// tell tells single states.
func (t *table) tell(ctx context.Context, states []sets.StateChange) error {
	if t.ops.set == nil {
		return nil
	}
	for _, s := range states {
		ctx, cancel := context.WithTimeout(ctx, patience)
		err := t.ops.set(ctx, s)
		cancel()
		if err != nil {
			return fmt.Errorf("state of %s: %w", s.Address, err)
		}
		t.loaded.Apply(s)
		t.metrics.states.WithLabelValues(t.labels()...).Inc()
	}
	return nil
}

// reload has Kamailio read the file, and looks whether it holds what stands there.
func (t *table) reload(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, t.ops.patience)
	defer cancel()
	if err := t.stamp(); err != nil {
		return err
	}
	if err := t.ops.reload(ctx); err != nil {
		return err
	}
	t.busy = time.Time{}
	t.next = time.Now().Add(t.ops.space)
	t.metrics.reloads.WithLabelValues(t.labels()...).Inc()
	has, err := t.ops.list(ctx)
	if err != nil {
		return err
	}
	if n := t.wanted.Missing(has); n > 0 {
		t.written = false
		return fmt.Errorf("%d of %d entries are missing after the reload: %s reads another file than %s, or refuses lines (its log says which)", n, t.wanted.Len(), t.proxy.Name(), t.File)
	}
	if n := has.Missing(t.wanted); n > 0 {
		t.written = false
		return fmt.Errorf("%d entries that are not wanted are there after the reload: %s was just reloading, or reads another file than %s", n, t.proxy.Name(), t.File)
	}
	t.loaded = t.wanted.Clone()
	if !t.ops.stateless {
		return nil
	}
	t.loaded.TakeStates(has)
	return t.tell(ctx, t.Compare(t.loaded, t.wanted).States)
}

// refused notes that Kamailio does not reload now. That passes, and is a fault only if it
// does not, or if there is one already, which it takes the place of.
func (t *table) refused(err error) {
	if t.busy.IsZero() {
		t.busy = time.Now()
		t.log.Info().Err(err).Msg(t.proxy.Name() + " refuses to reload so often, retrying")
	}
	if t.fault != "" || time.Since(t.busy) >= busyMost {
		t.failed(err)
	}
}

// failed notes why t is not in step: one line for each reason, until it is again.
func (t *table) failed(err error) {
	text := subjects.Printable(strings.TrimPrefix(err.Error(), strings.ToLower(t.proxy.Name())+" "), 300)
	t.mu.Lock()
	was := t.fault
	t.fault = text
	t.mu.Unlock()
	t.metrics.failures.WithLabelValues(t.labels()...).Inc()
	t.metrics.inStep.WithLabelValues(t.labels()...).Set(0)
	if was == "" {
		t.log.Error().Str("reason", text).Msg("sets cannot be changed, retrying")
	}
}

// recovered notes that Kamailio holds what is wanted.
func (t *table) recovered() {
	t.mu.Lock()
	was := t.fault
	t.fault = ""
	t.mu.Unlock()
	t.busy = time.Time{}
	t.metrics.inStep.WithLabelValues(t.labels()...).Set(1)
	if was != "" {
		t.log.Info().Msg("sets can be changed again")
	}
	if !t.since.IsZero() && t.wanted.Len() > 0 {
		t.metrics.took.WithLabelValues(t.labels()...).Observe(time.Since(t.since).Seconds())
		t.log.Info().Int("members", t.wanted.Len()).Int64("took_ms", time.Since(t.since).Milliseconds()).Msg("sets changed")
		t.since = time.Time{}
	}
}
