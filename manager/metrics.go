package manager

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"thor/manager/membership"
	"thor/subjects"
)

// metrics exist in any case and are registered if there is a registerer.
type metrics struct {
	members       *prometheus.GaugeVec
	expected      *prometheus.GaugeVec
	changes       *prometheus.CounterVec
	active        prometheus.Gauge
	elections     prometheus.Counter
	takeOver      prometheus.Histogram
	epoch         *prometheus.GaugeVec // without labels: it has no value on a standby
	generation    *prometheus.GaugeVec // as epoch
	announcements prometheus.Counter
	rejected      *prometheus.CounterVec
	dropped       prometheus.Counter
	crowded       prometheus.Counter
	unanswered    prometheus.Counter
	late          prometheus.Counter
	unrecorded    prometheus.Gauge
	gaps          prometheus.Counter
	guard         *prometheus.GaugeVec
	guarded       map[string]bool        // of guard, which show 1
	shown         map[subjects.Role]bool // of members
}

func newMetrics(r prometheus.Registerer) *metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	m := &metrics{
		shown:     make(map[subjects.Role]bool),
		members:   prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "thor_members", Help: "Members in the status this manager published."}, []string{"role", "state"}),
		expected:  prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "thor_members_expected", Help: "Members that a role should have: those in it, lost and held, and at least as many as are configured."}, []string{"role"}),
		changes:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "thor_member_changes_total", Help: "Members that joined and left, by cause, while this manager was the active one."}, []string{"role", "cause"}),
		active:    gauge("thor_manager_active", "1 while this manager is the active one."),
		elections: prometheus.NewCounter(prometheus.CounterOpts{Name: "thor_elections_total", Help: "Times this manager became the active one."}),
		takeOver: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "thor_takeover_seconds", Help: "Time from the last word of the active manager before until this one became the active one.",
			Buckets: []float64{0.25, 0.5, 1, 1.5, 2, 3, 5, 8, 12, 20, 30, 60},
		}),
		epoch:         prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "thor_status_epoch", Help: "Epoch of the status this manager published last; the active manager alone has it."}, nil),
		generation:    prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "thor_status_generation", Help: "Generation of the status this manager published last; the active manager alone has it."}, nil),
		announcements: prometheus.NewCounter(prometheus.CounterOpts{Name: "thor_announcements_total", Help: "Announcements heard."}),
		rejected:      prometheus.NewCounterVec(prometheus.CounterOpts{Name: "thor_rejected_total", Help: "Messages dropped, by reason."}, []string{"code"}),
		dropped:       prometheus.NewCounter(prometheus.CounterOpts{Name: "thor_missed_total", Help: "Messages not taken in because there were too many at once."}),
		crowded:       prometheus.NewCounter(prometheus.CounterOpts{Name: "thor_crowded_total", Help: "Announcements dropped because their node sent many more."}),
		unanswered:    prometheus.NewCounter(prometheus.CounterOpts{Name: "thor_snapshot_unanswered_total", Help: "Requests for the snapshot dropped because their node asked too often."}),
		late:          prometheus.NewCounter(prometheus.CounterOpts{Name: "thor_snapshot_late_total", Help: "Requests for the snapshot dropped because those who asked had given up, or too many waited."}),
		unrecorded:    gauge("thor_history_waiting", "Records that wait for the history to be written."),
		gaps:          prometheus.NewCounter(prometheus.CounterOpts{Name: "thor_history_missing_total", Help: "Records that are missing in the history, since too many waited."}),
		guard:         prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "thor_guard_active", Help: "1 while a guard holds removals back."}, []string{"guard"}),
	}
	if r != nil {
		r.MustRegister(m.members, m.expected, m.changes, m.active, m.elections, m.takeOver, m.epoch, m.generation, m.announcements, m.rejected, m.dropped, m.crowded, m.unanswered, m.late, m.unrecorded, m.gaps, m.guard)
	}
	return m
}

func (m *metrics) show(s *subjects.Status) {
	m.epoch.WithLabelValues().Set(float64(s.Epoch))
	m.generation.WithLabelValues().Set(float64(s.Generation))
	m.members.Reset()
	m.expected.Reset()
	floor := s.Expected()
	for r := range floor {
		m.showRole(r)
	}
	total := make(map[subjects.Role]int)
	count := func(r subjects.Role, state subjects.State) {
		m.showRole(r)
		m.members.WithLabelValues(string(r), string(state)).Inc()
		total[r]++
	}
	for r, ms := range s.Roles {
		for i := range ms {
			count(r, ms[i].State)
		}
	}
	for _, l := range s.Lost {
		count(l.Role, subjects.StateLost)
	}
	for _, h := range s.Held {
		count(h.Role, subjects.StateHeld)
	}
	for r := range m.shown {
		m.showRole(r).Set(float64(max(total[r], floor[r])))
	}
}

// showRole gives each state of r a value, 0 at first: an alert on a state needs it
// before there is one. A role that was shown once stays.
func (m *metrics) showRole(r subjects.Role) prometheus.Gauge {
	m.shown[r] = true
	for _, state := range []subjects.State{subjects.Up, subjects.Suspect, subjects.Draining, subjects.StateLost, subjects.StateHeld} {
		m.members.WithLabelValues(string(r), string(state))
	}
	return m.expected.WithLabelValues(string(r))
}

// change counts a join or leave.
func (m *metrics) change(e *subjects.Event) {
	if e.Kind == subjects.EventJoin || e.Kind == subjects.EventLeave {
		m.changes.WithLabelValues(string(e.Role), string(e.Cause)).Inc()
	}
}

// elected counts a leadership that begins now; heard is the last word of the manager
// before, zero if none was heard.
func (m *metrics) elected(heard, now time.Time) {
	m.active.Set(1)
	m.elections.Inc()
	if !heard.IsZero() {
		m.takeOver.Observe(now.Sub(heard).Seconds())
	}
}

// standby takes back what only the active manager shows.
func (m *metrics) standby() {
	m.active.Set(0)
	m.epoch.Reset()
	m.generation.Reset()
	m.members.Reset()
	m.expected.Reset()
	m.guards(nil)
}

// guards shows which guards are active; the gauges of the others go.
func (m *metrics) guards(gs []membership.Guard) {
	now := make(map[string]bool, len(gs))
	for _, g := range gs {
		now[string(g.Name)] = true
	}
	for name := range now {
		if !m.guarded[name] {
			m.guard.WithLabelValues(name).Set(1)
		}
	}
	for name := range m.guarded {
		if !now[name] {
			m.guard.DeleteLabelValues(name)
		}
	}
	m.guarded = now
}
