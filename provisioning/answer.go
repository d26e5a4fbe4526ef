package provisioning

import (
	"context"
	"slices"
	"strings"

	"thor/overlay"
	"thor/overlay/audit"
	"thor/subjects"
)

// An asker is who puts a question, as the broker vouches for.
type asker struct {
	role subjects.Role
	node subjects.NodeID
}

// refuse answers a question that is not answered.
func (l *Live) refuse(verb string, a asker, code subjects.ErrorCode, text string) *subjects.Reply {
	l.metrics.answers.WithLabelValues(verb, string(code)).Inc()
	e := l.log.Debug()
	if code == subjects.ErrorForbidden {
		e = l.log.Info()
	}
	if code == subjects.ErrorForbidden {
		l.audit(a, verb, audit.Refused, text)
	}
	e.Str("peer", string(a.node)).Str("peer_role", string(a.role)).Str("subject", verb).Str("reason", text).Msg("question refused")
	return &subjects.Reply{V: subjects.Version, Code: code, Text: text}
}

// audit counts a profile that was given or refused.
func (l *Live) audit(a asker, what, outcome, why string) {
	l.given.Add(audit.Given(audit.Profile, a.node, a.role, what, outcome, why))
}

// cleared finds out who asks, and refuses who may not. The broker lets a node
// publish only questions that end in a role of its own and its own name, and only
// that node subscribe to its answers: so the subject says who asks, and the reply
// subject who hears.
func (l *Live) cleared(verb string, r *overlay.Request) (asker, *subjects.Reply) {
	a := asker{r.SenderRole(), r.Sender()}
	switch {
	case a.role == "" || a.node == "":
		return a, l.refuse(verb, a, subjects.ErrorBad, "the subject does not name who asks")
	case !slices.Contains(l.cfg.Cleared, a.role):
		return a, l.refuse(verb, a, subjects.ErrorForbidden, "this role is not cleared for subscribers")
	case !r.Confidential():
		return a, l.refuse(verb, a, subjects.ErrorForbidden, "the answer would not reach the sender alone")
	}
	return a, nil
}

// giveSubscriber answers a SubscriberRequest.
func (l *Live) giveSubscriber(ctx context.Context, r *overlay.Request) *subjects.Reply {
	const verb = subjects.VerbSubscriber
	a, no := l.cleared(verb, r)
	if no != nil {
		return no
	}
	q, err := subjects.ParseSubscriberRequest(r.Data)
	if err != nil {
		return l.refuse(verb, a, subjects.ErrorBad, err.Error())
	}
	if q.Key != strings.ToLower(q.Key) { // the store would find it: a node could try spellings until one is in its own share
		return l.refuse(verb, a, subjects.ErrorBad, "keys are in lower case")
	}
	if !l.responsible(a.role, a.node, q.Key) {
		return l.refuse(verb, a, subjects.ErrorForbidden, "another node is responsible for this subscriber")
	}
	p, err := l.cfg.Store.Subscriber(ctx, q.Key)
	if err != nil {
		l.log.Debug().Err(err).Msg("read a subscriber for a node")
		return l.refuse(verb, a, subjects.ErrorFailed, "the database does not answer")
	}
	if p.Revision < q.Least {
		return l.refuse(verb, a, subjects.ErrorBehind, "the database here is behind")
	}
	p.V, p.Key = subjects.Version, q.Key
	b := p.Encode()
	if len(b) > subjects.MaxView {
		l.log.Error().Int("bytes", len(b)).Uint64("rev", p.Revision).Msg("a profile is too large to be sent")
		return l.refuse(verb, a, subjects.ErrorFailed, "the profile is too large")
	}
	l.metrics.answers.WithLabelValues(verb, "ok").Inc()
	l.audit(a, q.Key, audit.OK, "")
	return &subjects.Reply{V: subjects.Version, Data: b}
}

// giveChanges answers a ChangesRequest with the keys that are the asker's.
func (l *Live) giveChanges(ctx context.Context, r *overlay.Request) *subjects.Reply {
	const verb = subjects.VerbChanges
	a, no := l.cleared(verb, r)
	if no != nil {
		return no
	}
	q, err := subjects.ParseChangesRequest(r.Data)
	if err != nil {
		return l.refuse(verb, a, subjects.ErrorBad, err.Error())
	}
	c, err := l.cfg.Store.Changes(ctx, q.Since)
	if err != nil {
		l.log.Debug().Err(err).Msg("read the changes for a node")
		return l.refuse(verb, a, subjects.ErrorFailed, "the database does not answer")
	}
	out := subjects.ChangedKeys{V: subjects.Version, Through: c.Through, All: c.All || len(c.Keys) > subjects.MaxKeys, Keys: []string{}}
	for i, k := range c.Keys {
		if !out.All && l.responsible(a.role, a.node, k) {
			out.Keys = append(out.Keys, k)
			out.Revisions = append(out.Revisions, c.Revisions[i])
		}
	}
	l.metrics.answers.WithLabelValues(verb, "ok").Inc()
	return &subjects.Reply{V: subjects.Version, Data: out.Encode()}
}
