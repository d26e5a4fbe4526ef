package check_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"thor/overlay"
	"thor/overlay/check"
	"thor/overlay/check/checktest"
	"thor/subjects"
)

// service is a Prober that answers err.
type service struct{ err error }

func (s *service) Probe(context.Context) error { return s.err }
func (s *service) Close()                      {}

// announcer announces a weight, and the state that all checks have together.
type announcer struct {
	weight int
	said   []string
}

func (a *announcer) Decide(cs []*check.Check, now overlay.Member) (overlay.Member, bool) {
	cond, why := check.All(cs)
	m := overlay.Member{Role: "sip_proxy", Weight: a.weight, State: cond.State(), Reason: why}
	if cond == check.Unknown {
		m.State, m.Reason = now.State, now.Reason
	}
	return m, m.State != ""
}

func (a *announcer) Announced(m, before overlay.Member) {
	a.said = append(a.said, string(before.State)+">"+string(m.State))
}

var names = check.Names{
	Check: "check", Probes: prometheus.CounterOpts{Name: "probes"}, Took: prometheus.GaugeOpts{Name: "took"}, Up: prometheus.GaugeOpts{Name: "up"},
	CheckLabels: []string{"role", "check"}, GroupLabels: []string{"role"},
}

// bench is an engine with one group of one check, whose service may change.
type bench struct {
	*check.Engine
	net   *checktest.Net
	group *check.Group
	says  *announcer
	check *check.Check
	at    *service
	reg   *prometheus.Registry
}

func newBench(t *testing.T, checks ...*check.Check) *bench {
	t.Helper()
	b := &bench{net: checktest.New("n1", "sip_proxy"), says: &announcer{weight: 1}, at: &service{}, reg: prometheus.NewRegistry()}
	var err error
	if b.Engine, err = check.NewEngine(check.Config{Agent: "test", Network: b.net, Names: names, Metrics: b.reg}); err != nil {
		t.Fatal(err)
	}
	b.check = newCheck("first", b.at)
	b.group = b.NewGroup(b.says, append([]*check.Check{b.check}, checks...), zerolog.Nop(), "sip_proxy")
	b.use(t, b.group)
	return b
}

func newCheck(name string, s *service) *check.Check {
	return check.New(name, check.Timing{}, check.Counts{}, s, "sip_proxy", name)
}

func (b *bench) use(t *testing.T, gs ...*check.Group) {
	t.Helper()
	if err := b.Change(func(bool) error { return b.Use(gs) }); err != nil {
		t.Error(err)
	}
}

// start runs the engine until the test ends.
func (b *bench) start(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
}

// pass lets time pass.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (b *bench) expect(t *testing.T, want ...string) {
	t.Helper()
	if got := b.net.Lines(); !slices.Equal(got, want) {
		t.Errorf("announced\n got %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

// A change that the SDK refuses leaves what was announced, and later results are
// announced with it.
func TestRefusedChangeStaysOutOfLaterAnnouncements(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start(t)
		no := errors.New("too big")
		b.net.Refuse(no)
		err := b.Change(func(bool) error {
			return b.group.Replace(b.group.Checks(), func() func() {
				b.says.weight = 9
				return func() { b.says.weight = 1 }
			})
		})
		if !errors.Is(err, no) {
			t.Errorf("the error is %v", err)
		}
		b.net.Refuse(nil)
		b.at.err = errors.New("x")
		pass(5 * time.Second)
		b.expect(t, "0s sip_proxy up", "3s sip_proxy down: first: failed")
		if w := b.net.Member("sip_proxy").Weight; w != 1 {
			t.Errorf("announced with weight %d", w)
		}
		if want := []string{">up", "up>down"}; !slices.Equal(b.says.said, want) {
			t.Errorf("told %q", b.says.said)
		}
	})
}

// A check that asks the same in another rhythm goes on from what is known.
func TestInheritedResultsCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.at.err = errors.New("x")
		b.start(t)
		pass(time.Second)
		rare := check.New("first", check.Timing{Interval: time.Hour}, check.Counts{Rise: 1}, b.at, "sip_proxy", "first")
		if err := b.Change(func(bool) error {
			return b.group.Replace([]*check.Check{rare}, func() func() { rare.Inherit(b.check); b.at.err = nil; return func() {} })
		}); err != nil {
			t.Error(err)
		}
		pass(0)
		b.expect(t, "0s sip_proxy down: first: failed", "1s sip_proxy down: first: failed", "1s sip_proxy up")
	})
}

// What is gone is no longer counted, and a group that is gone leaves.
func TestGoneChecksAndGroupsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		second := newCheck("second", &service{})
		b := newBench(t, second)
		b.start(t)
		series := func() (out []string) {
			fs, err := b.reg.Gather()
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range fs {
				for _, m := range f.GetMetric() {
					s := f.GetName()
					for _, l := range m.GetLabel() {
						s += " " + l.GetValue()
					}
					out = append(out, s)
				}
			}
			return out
		}
		if n := len(series()); n != 5 {
			t.Errorf("%d series: %q", n, series())
		}
		if err := b.Change(func(bool) error {
			return b.group.Replace([]*check.Check{second}, func() func() { return func() {} })
		}); err != nil {
			t.Error(err)
		}
		if want := []string{"probes second ok sip_proxy", "took second sip_proxy", "up sip_proxy"}; !slices.Equal(series(), want) {
			t.Errorf("%q", series())
		}
		b.use(t)
		if s := series(); len(s) != 0 {
			t.Errorf("%q", s)
		}
		if lines := b.net.Lines(); lines[len(lines)-1] != "0s sip_proxy leave" {
			t.Errorf("%q", lines)
		}
		if s, _ := b.group.Status(); s != "" {
			t.Errorf("status %s", s)
		}
	})
}

// A report tells the condition, and what the newest probe found beside it.
func TestReportsTellConditionAndNewestProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		if r := b.group.Reports("sip_proxy"); len(r) != 1 || r[0] != (subjects.CheckReport{Role: "sip_proxy", Name: "first", State: subjects.CheckUnknown}) {
			t.Errorf("before the first probe: %+v", r)
		}
		b.start(t)
		pass(500 * time.Millisecond)
		if r := b.group.Reports("sip_proxy")[0]; r.State != subjects.CheckPassing || r.Fault != "" || r.AgoMS != 500 {
			t.Errorf("passing: %+v", r)
		}
		b.at.err = errors.New("x")
		pass(2 * time.Second)
		if r := b.group.Reports("sip_proxy")[0]; r.State != subjects.CheckPassing || r.Fault != "first: failed" || r.Reason != "" {
			t.Errorf("after one failure: %+v", r)
		}
		pass(5 * time.Second)
		if r := b.group.Reports("sip_proxy")[0]; r.State != subjects.CheckFailing || r.Reason != "first: failed" {
			t.Errorf("failing: %+v", r)
		}
	})
}
