package manager

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"thor/overlay"
	"thor/overlay/audit"
	"thor/subjects"
)

// An order is something for the loop to do, since it owns the core.
type order func(now time.Time)

// handleDecisions answers what operators decide. The active manager alone obeys.
func (m *Manager) handleDecisions() {
	m.handle(subjects.VerbForget, m.forget)
	m.handle(subjects.VerbConfirm, m.guardDecision(audit.Confirm, m.core.ConfirmFailed))
	m.handle(subjects.VerbHold, m.guardDecision(audit.Hold, m.core.HoldFailed))
}

// handle has the loop answer the requests with this verb: decide runs there.
func (m *Manager) handle(verb string, decide func(*overlay.Request, time.Time) *subjects.Reply) {
	m.cfg.Overlay.Handle(string(subjects.Manager), verb, func(ctx context.Context, r *overlay.Request) *subjects.Reply {
		done := make(chan *subjects.Reply, 1)
		late := &subjects.Reply{Code: subjects.ErrorBehind, Text: "this manager is busy or ends"}
		select {
		case m.orders <- func(now time.Time) {
			if ctx.Err() != nil { // it was told that nothing happened
				return
			}
			if !m.active.Load() {
				done <- &subjects.Reply{Code: subjects.ErrorBehind, Text: "this manager is not the active one"}
				return
			}
			done <- decide(r, now)
		}:
		case <-ctx.Done():
			return late
		}
		select {
		case reply := <-done:
			return reply
		case <-ctx.Done():
			return late
		}
	})
}

func (m *Manager) forget(r *overlay.Request, now time.Time) *subjects.Reply {
	q, err := subjects.ParseForgetRequest(r.Data)
	if err != nil {
		return &subjects.Reply{Code: subjects.ErrorBad, Text: err.Error()}
	}
	roles, err := m.core.Forget(q, r.Sender(), now)
	m.audit(r, audit.Forget, audit.Member(cmp.Or(q.Role, "all roles"), q.Node), err)
	if err != nil {
		return &subjects.Reply{Code: subjects.ErrorFailed, Text: err.Error()}
	}
	return withData(subjects.ForgetReply{V: subjects.Version, Roles: roles})
}

func (m *Manager) guardDecision(act string, decide func(subjects.Role, time.Time) int) func(*overlay.Request, time.Time) *subjects.Reply {
	return func(r *overlay.Request, now time.Time) *subjects.Reply {
		q, err := subjects.ParseGuardRequest(r.Data)
		if err != nil {
			return &subjects.Reply{Code: subjects.ErrorBad, Text: err.Error()}
		}
		n := decide(q.Role, now)
		m.audit(r, act, fmt.Sprintf("%d failed members of %s", n, cmp.Or(string(q.Role), "all roles")), nil)
		return withData(subjects.GuardReply{V: subjects.Version, Members: n})
	}
}

// audit writes the entry of what r asked for.
func (m *Manager) audit(r *overlay.Request, act, what string, err error) {
	e := audit.Entry{Who: string(r.Sender()), Act: act, What: what, From: string(r.Sender()), Outcome: audit.OK}
	if err != nil {
		e.Outcome, e.Detail = audit.Refused, err.Error()
	}
	m.cfg.Audit.Write(e)
}

func withData(data any) *subjects.Reply {
	b, err := json.Marshal(data)
	if err != nil {
		panic("manager: encode a reply: " + err.Error()) // names and numbers always encode
	}
	return &subjects.Reply{Data: b}
}
