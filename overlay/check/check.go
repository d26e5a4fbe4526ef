package check

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"thor/overlay/setting"
	"thor/subjects"
)

// A Prober asks one service whether it works.
type Prober interface {
	// Probe asks once. ctx carries the timeout. nil means that the service works; the
	// error is for Explain. It is never called twice at a time.
	Probe(ctx context.Context) error
	// Close ends what the prober holds between two probes. It follows the last Probe.
	Close()
}

// A Measurer is a Prober that finds how much of its usual work the service should get.
type Measurer interface {
	Prober
	// Share is what the last Probe that passed found, in percent from 0 to 100. ok is false
	// where it found nothing.
	Share() (percent int, ok bool)
}

// A Check is one probe that is made again and again.
type Check struct {
	name       string
	labels     []string
	timing     Timing
	counts     Counts
	prober     Prober
	reportOnly bool
	health     health // guarded by the group's mu
	share      int    // of the newest probe that found one, as measured says; guarded by the group's mu
	measured   bool
	newest     probed // guarded by the group's mu

	stop  context.CancelFunc // ends it; nil before it began; guarded by the engine's change
	ended chan struct{}      // closed when it has
}

// probed is what the newest probe found.
type probed struct {
	fault string // empty: it passed
	took  time.Duration
	ended time.Time // zero: there was none yet
}

// New makes a check. Its name says what is asked of which service and stands before a
// fault; labels are its values of Names.CheckLabels.
func New(name string, t Timing, n Counts, p Prober, labels ...string) *Check {
	setting.Fill(&t)
	setting.Fill(&n)
	return &Check{name: name, labels: labels, timing: t, counts: n, prober: p, health: health{rise: n.Rise, fall: n.Fall}}
}

// ReportOnly makes c one that tells what it finds and decides nothing. It is called before
// the group of c is made.
func (c *Check) ReportOnly() { c.reportOnly = true }

// Share is how much of its usual work the service should get, in percent; ok is false
// where nothing was measured. It is for Decide.
func (c *Check) Share() (percent int, ok bool) { return c.share, c.measured && !c.reportOnly }

// Condition is what the probes say together, and why it fails. It is for Decide.
func (c *Check) Condition() (Condition, string) { return c.health.now, c.health.reason }

// Inherit makes what o has found so far c's own, since both ask the same. It is for
// the function that Replace is given.
func (c *Check) Inherit(o *Check) {
	c.health, c.share, c.measured, c.newest = o.health, o.share, o.measured, o.newest
	c.health.rise, c.health.fall = c.counts.Rise, c.counts.Fall
}

// All is the condition of several checks of which all must pass. The reason is that
// of the first that fails. No checks at all pass: the service is checked elsewhere. Those
// that only report are left out.
func All(checks []*Check) (Condition, string) {
	all := Passing
	for _, c := range checks {
		if c.reportOnly {
			continue
		}
		switch now, why := c.Condition(); now {
		case Failing:
			return Failing, why
		case Unknown:
			all = Unknown
		}
	}
	return all, ""
}

// Reported are the reasons of the checks that fail and only report.
func Reported(checks []*Check) (whys []string) {
	for _, c := range checks {
		if now, why := c.Condition(); c.reportOnly && now == Failing {
			whys = append(whys, why)
		}
	}
	return whys
}

// report is how c stands at now, for role. The caller holds the group's mu.
func (c *Check) report(role subjects.Role, now time.Time) subjects.CheckReport {
	r := subjects.CheckReport{Role: role, Name: c.name, State: c.health.now.word(), Reason: c.health.reason, ReportOnly: c.reportOnly}
	if !c.newest.ended.IsZero() {
		r.Fault = c.newest.fault
		r.TookMS = float64(c.newest.took.Microseconds()) / 1000
		r.AgoMS = max(0, now.Sub(c.newest.ended).Milliseconds())
	}
	return r
}

// watch probes until ctx ends and hands each result to observe, which tells whether
// it speaks against what is announced. Then the next probe follows after half the
// interval, so that the decision falls within Fall × Interval + Timeout.
func (c *Check) watch(ctx context.Context, observe func(f *Fault, took time.Duration) (pending bool, err error)) error {
	defer c.prober.Close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		began := time.Now()
		f := c.ask(ctx)
		if ctx.Err() != nil {
			return nil // a probe cut short says nothing
		}
		pending, err := observe(f, time.Since(began))
		if err != nil {
			return err
		}
		wait := c.timing.Interval
		if pending {
			wait /= 2
		}
		timer.Reset(max(0, wait-time.Since(began)))
	}
}

// ask probes once, within the timeout. nil means that the service works.
func (c *Check) ask(ctx context.Context) *Fault {
	ctx, cancel := context.WithTimeout(ctx, c.timing.Timeout)
	defer cancel()
	err := c.prober.Probe(ctx)
	if err == nil {
		return nil
	}
	f := Explain(err)
	return &Fault{Text: c.name + ": " + f.Text, Cause: f.Cause}
}

// observe takes the result of a probe, and logs a change.
func (c *Check) observe(f *Fault, took time.Duration, log *zerolog.Logger, n *Names) {
	text := ""
	if f != nil {
		text = f.Text
		log.Debug().Err(f.Cause).Str("reason", text).Int64("took_ms", took.Milliseconds()).Msg(n.Check + " failed")
	}
	if m, ok := c.prober.(Measurer); ok && f == nil {
		if share, found := m.Share(); found {
			c.share, c.measured = min(max(share, 0), 100), true
		}
	}
	c.newest = probed{text, took, time.Now()}
	before := c.health.now
	if !c.health.observe(text) {
		return
	}
	last := len(n.CheckLabels) - 1
	e := log.Info()
	if c.reportOnly {
		e.Bool("report_only", true)
	}
	switch {
	case f != nil:
		e.Str("reason", text).Msg(n.Check + " fails")
	case before == Failing:
		e.Str(n.CheckLabels[last], c.labels[last]).Msg(n.Check + " passes again")
	default:
		e.Str(n.CheckLabels[last], c.labels[last]).Msg(n.Check + " passes")
	}
}
