package dbagent

import (
	"context"
	"errors"
	"slices"
	"strings"

	"thor/dbagent/location"
	"thor/overlay"
	"thor/overlay/audit"
	"thor/subjects"
)

// credentials answers a request for the whole location of the announced
// database. The broker lets a node publish only requests that end in a role of
// its own and its own name, and subscribe only to its own inbox: so who asks is
// known by the subject, and who hears the answer by the inbox.
func (a *Agent) credentials(_ context.Context, r *overlay.Request) *subjects.Reply {
	role, asker, err := parseAsker(r.Subject)
	log := a.log.With().Str("peer", string(asker)).Str("peer_role", string(role)).Logger()
	refuse := func(code subjects.ErrorCode, text string) *subjects.Reply {
		a.metrics.answered(string(code))
		log.Info().Str("reason", text).Msg("database password refused")
		outcome := audit.Refused
		if code == subjects.ErrorFailed {
			outcome = audit.Failed
		}
		a.refused.Add(granted(asker, role, "", outcome, text))
		return &subjects.Reply{V: subjects.Version, Code: code, Text: text}
	}
	switch {
	case err != nil:
		return refuse(subjects.ErrorBad, err.Error())
	case !a.isCleared(role):
		return refuse(subjects.ErrorForbidden, "this role is not cleared for the database")
	case !strings.HasPrefix(r.Reply, subjects.InboxPrefix(asker)+"."):
		return refuse(subjects.ErrorForbidden, "the answer would go to somebody else's inbox")
	}
	c := a.announcedNow()
	if c == nil {
		return refuse(subjects.ErrorFailed, "no database is announced yet")
	}
	d, err := c.prober.dsn()
	if err != nil {
		return refuse(subjects.ErrorFailed, passwordText)
	}
	a.metrics.answered("ok")
	log.Info().Str("database", c.label).Msg("database password given")
	a.audit.Write(granted(asker, role, c.label, audit.OK, ""))
	return &subjects.Reply{V: subjects.Version, Data: location.EncodeCredentials(d, c.cfg.Mode)}
}

// granted is the audit entry of a request for the password.
func granted(asker subjects.NodeID, role subjects.Role, database, outcome, why string) audit.Entry {
	return audit.Entry{Who: string(asker), Act: audit.Credentials, What: database, From: string(role), Outcome: outcome, Detail: why}
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

// parseAsker takes the last two tokens of a credentials subject.
func parseAsker(subject string) (subjects.Role, subjects.NodeID, error) {
	bad := errors.New("not a subject of a request for credentials")
	t := strings.Split(subject, ".")
	if len(t) != 7 || t[0] != "thor" || t[1] != "node" || t[3] != string(subjects.Database) || t[4] != verbCredentials {
		return "", "", bad
	}
	role, err := subjects.ParseRole(t[5])
	if err != nil {
		return "", "", bad
	}
	asker, err := subjects.ParseNodeID(t[6])
	if err != nil {
		return "", "", bad
	}
	return role, asker, nil
}
