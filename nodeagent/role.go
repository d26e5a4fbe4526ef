package nodeagent

import (
	"sync/atomic"

	"github.com/rs/zerolog"

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
	return m, m.State != ""
}

// Announced implements check.Announcer.
func (r *role) Announced(m, before overlay.Member) {
	if before.State == "" {
		r.log.Info().Str("state", string(m.State)).Str("reason", m.Reason).Msg("role announced")
	}
}
