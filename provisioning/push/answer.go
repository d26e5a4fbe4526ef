package push

import (
	"context"
	"slices"
	"strings"

	"thor/overlay"
	"thor/overlay/audit"
	"thor/overlay/subscriber"
	"thor/subjects"
)

// A requester is the role and the node that a request comes from. The broker has
// verified both.
type requester struct {
	role subjects.Role
	node subjects.NodeID
}

// authorize refuses requests of roles that are not cleared. The broker lets a node
// publish only requests whose subject ends in a role of its own and its own name,
// and lets that node alone subscribe to its answers: the subject is the identity
// of the requester, the reply subject that of the receiver.
func (p *Pusher) authorize(verb string, r *overlay.Request) (requester, *subjects.Reply) {
	from := requester{r.SenderRole(), r.Sender()}
	switch {
	case from.role == "" || from.node == "":
		return from, p.refuse(verb, from, subjects.ErrorBad, "the subject does not name who asks")
	case !slices.Contains(p.cfg.Cleared, from.role):
		return from, p.refuse(verb, from, subjects.ErrorForbidden, "this role is not cleared for subscribers")
	case !r.Confidential():
		return from, p.refuse(verb, from, subjects.ErrorForbidden, "the answer would not reach the sender alone")
	}
	return from, nil
}

// refuse counts and logs a request that gets an error for an answer.
func (p *Pusher) refuse(verb string, from requester, code subjects.ErrorCode, text string) *subjects.Reply {
	p.metrics.answers.WithLabelValues(verb, string(code)).Inc()
	e := p.log.Debug()
	if code == subjects.ErrorForbidden {
		e = p.log.Info()
		p.auditProfile(from, verb, audit.Refused, text)
	}
	e.Str("peer", string(from.node)).Str("peer_role", string(from.role)).Str("subject", verb).Str("reason", text).Msg("request refused")
	return &subjects.Reply{V: subjects.Version, Code: code, Text: text}
}

// unavailable refuses a request because the store fails.
func (p *Pusher) unavailable(verb string, from requester, err error) *subjects.Reply {
	p.log.Debug().Err(err).Str("subject", verb).Msg("read the store for a node")
	return p.refuse(verb, from, subjects.ErrorFailed, "the database does not answer")
}

// answered counts a request that gets data for an answer.
func (p *Pusher) answered(verb string, data []byte) *subjects.Reply {
	p.metrics.answers.WithLabelValues(verb, "ok").Inc()
	return &subjects.Reply{V: subjects.Version, Data: data}
}

// auditProfile counts a profile that was given or refused.
func (p *Pusher) auditProfile(from requester, what, outcome, why string) {
	p.given.Add(audit.Given(audit.Profile, from.node, from.role, what, outcome, why))
}

// answerSubscriber answers a SubscriberRequest.
func (p *Pusher) answerSubscriber(ctx context.Context, r *overlay.Request) *subjects.Reply {
	const verb = subjects.VerbSubscriber
	from, refusal := p.authorize(verb, r)
	if refusal != nil {
		return refusal
	}
	q, err := subscriber.ParseRequest(r.Data)
	if err != nil {
		return p.refuse(verb, from, subjects.ErrorBad, err.Error())
	}
	if q.Key != strings.ToLower(q.Key) { // the store would find it: a node could try spellings until one is in its own share
		return p.refuse(verb, from, subjects.ErrorBad, "keys are in lower case")
	}
	if !p.mayHold(from.role, from.node, q.Key) {
		return p.refuse(verb, from, subjects.ErrorForbidden, "another node is responsible for this subscriber")
	}
	s, err := p.cfg.Store.Subscriber(ctx, q.Key)
	if err != nil {
		return p.unavailable(verb, from, err)
	}
	if s.Revision < q.Least {
		return p.refuse(verb, from, subjects.ErrorBehind, "the database here is behind")
	}
	s.V, s.Key = subjects.Version, q.Key
	b := s.Encode()
	if len(b) > subjects.MaxView {
		p.log.Error().Int("bytes", len(b)).Uint64("rev", s.Revision).Msg("a profile is too large to be sent")
		return p.refuse(verb, from, subjects.ErrorFailed, "the profile is too large")
	}
	p.auditProfile(from, q.Key, audit.OK, "")
	return p.answered(verb, b)
}

// answerChanges answers a ChangesRequest with the keys that the requester holds.
func (p *Pusher) answerChanges(ctx context.Context, r *overlay.Request) *subjects.Reply {
	const verb = subjects.VerbChanges
	from, refusal := p.authorize(verb, r)
	if refusal != nil {
		return refusal
	}
	q, err := subscriber.ParseChangesRequest(r.Data)
	if err != nil {
		return p.refuse(verb, from, subjects.ErrorBad, err.Error())
	}
	c, err := p.cfg.Store.Changes(ctx, q.Since)
	if err != nil {
		return p.unavailable(verb, from, err)
	}
	out := subscriber.ChangedKeys{V: subjects.Version, Through: c.Through, All: c.All || len(c.Keys) > subscriber.MaxKeys, Keys: []string{}}
	for i, k := range c.Keys {
		if !out.All && p.mayHold(from.role, from.node, k) {
			out.Keys = append(out.Keys, k)
			out.Revisions = append(out.Revisions, c.Revisions[i])
		}
	}
	return p.answered(verb, out.Encode())
}
