package nodeagent

import (
	"cmp"
	"maps"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"thor/nodeagent/weight"
	"thor/overlay"
	"thor/overlay/check"
	"thor/subjects"
)

// A role is announced as its checks say.
type role struct {
	agent *Agent
	name  subjects.Role
	log   zerolog.Logger
	group *check.Group
	// byProgram says that a program joins it.
	byProgram atomic.Bool
	// drainSignal is what its program gets when it is drained.
	drainSignal atomic.Value   // string
	member      overlay.Member // as configured; State and Reason are derived; guarded by the group
	rule        weight.Rule    // guarded by the group
	damper      weight.Damper  // guarded by the group

	// Guarded by the engine's Change.
	cfg     RoleConfig // its checks are those of the group, with their defaults
	refused bool       // the SDK did not take it: the same is to be tried again
}

func (a *Agent) newRole(rc RoleConfig, checks []*check.Check) *role {
	r := &role{agent: a, name: rc.Role, log: a.log.With().Str("role", string(rc.Role)).Logger()}
	r.configure(rc)
	r.group = a.engine.NewGroup(r, checks, r.log, string(rc.Role))
	return r
}

// configure sets what r is.
func (r *role) configure(rc RoleConfig) {
	r.cfg = rc
	r.byProgram.Store(rc.byProgram())
	r.drainSignal.Store(rc.DrainSignal)
	r.rule = rc.Rule
	r.member = overlay.Member{
		Role: rc.Role, Addresses: rc.Addresses, Priority: rc.Priority, Weight: rc.Weight, Version: rc.Version, Attrs: rc.Attrs,
	}
}

// Decide implements check.Announcer. Until the checks have decided a role stays as it
// is announced.
func (r *role) Decide(checks []*check.Check, now overlay.Member) (overlay.Member, bool) {
	cond, why := check.All(checks)
	if f := r.agent.fault(); f != "" && cond == check.Passing {
		cond, why = check.Failing, f // without what the agent needs no role is up
	}
	m := r.member
	m.State, m.Reason = cond.State(), subjects.Printable(why, subjects.MaxReason)
	if cond == check.Unknown {
		m.State, m.Reason = now.State, now.Reason
	}
	if r.byProgram.Load() {
		r.decide(&m, cond)
	}
	if m.State == "" { // the weight of the first announcement waits for every check
		return m, false
	}
	r.weigh(&m, checks)
	r.report(&m, checks)
	return m, true
}

// weigh lowers the weight of m to the least share that a check measures.
func (r *role) weigh(m *overlay.Member, checks []*check.Check) {
	least, measured := 100, false
	for _, c := range checks {
		if share, ok := c.Share(); ok {
			least, measured = min(least, share), true
		}
	}
	if !measured {
		r.damper = weight.Damper{}
		return
	}
	if share := r.damper.Next(r.rule, time.Now(), least); share < 100 {
		m.Weight = weight.Of(cmp.Or(m.Weight, subjects.DefaultWeight), share)
	}
}

// ReportAttr is the attribute that tells what checks would do that only report.
const ReportAttr = "report_only"

const maxReport = 256 // bytes of it

// report tells in m what the checks would do that only report, if there is room for it.
func (r *role) report(m *overlay.Member, checks []*check.Check) {
	whys := check.Reported(checks)
	if len(whys) == 0 || m.State == subjects.Leave {
		return
	}
	with := *m
	with.Attrs = maps.Clone(m.Attrs)
	if with.Attrs == nil {
		with.Attrs = make(subjects.Attrs)
	}
	with.Attrs[ReportAttr] = subjects.Printable("would be down: "+strings.Join(whys, "; "), maxReport)
	if r.agent.net.Allows(with) == nil {
		*m = with
	}
}

// Announced implements check.Announcer.
func (r *role) Announced(m, before overlay.Member) {
	if before.State == "" {
		r.log.Info().Str("state", string(m.State)).Str("reason", m.Reason).Msg("role announced")
	}
}
