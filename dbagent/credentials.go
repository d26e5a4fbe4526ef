package dbagent

import (
	"context"
	"slices"

	"thor/dbagent/location"
	"thor/overlay"
	"thor/overlay/audit"
	"thor/subjects"
)

// credentials answers a request for the whole location of the announced
// database. The broker lets a node publish only requests that end in a role of
// its own and its own name, and only that node subscribe to its answers: so the
// subject says who asks, and the reply subject who hears.
func (a *Agent) credentials(_ context.Context, r *overlay.Request) *subjects.Reply {
	role, asker := r.SenderRole(), r.Sender()
	log := a.log.With().Str("peer", string(asker)).Str("peer_role", string(role)).Logger()
	refuse := func(code subjects.ErrorCode, text string) *subjects.Reply {
		a.requests.WithLabelValues(string(code)).Inc()
		log.Info().Str("reason", text).Msg("database password refused")
		outcome := audit.Refused
		if code == subjects.ErrorFailed {
			outcome = audit.Failed
		}
		a.refused.Add(audit.Given(audit.Credentials, asker, role, "", outcome, text))
		return &subjects.Reply{V: subjects.Version, Code: code, Text: text}
	}
	switch {
	case role == "" || asker == "":
		return refuse(subjects.ErrorBad, "not a subject of a request for credentials")
	case !a.isCleared(role):
		return refuse(subjects.ErrorForbidden, "this role is not cleared for the database")
	case !r.Confidential():
		return refuse(subjects.ErrorForbidden, "the answer would not reach the sender alone")
	}
	c := a.announcedNow()
	if c == nil {
		return refuse(subjects.ErrorFailed, "no database is announced yet")
	}
	d, err := c.prober.dsn()
	if err != nil {
		return refuse(subjects.ErrorFailed, passwordText)
	}
	a.requests.WithLabelValues("ok").Inc()
	log.Info().Str("database", c.label).Msg("database password given")
	a.audit.Write(audit.Given(audit.Credentials, asker, role, c.label, audit.OK, ""))
	return &subjects.Reply{V: subjects.Version, Data: location.EncodeCredentials(d, c.cfg.Mode)}
}

func (a *Agent) isCleared(role subjects.Role) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Contains(a.cleared, role)
}

func (a *Agent) announcedNow() *candidate {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.shown
}
