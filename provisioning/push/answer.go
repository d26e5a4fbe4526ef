package push

import (
	"context"
	"errors"
	"slices"

	"thor/overlay"
	"thor/overlay/audit"
	"thor/overlay/records"
	"thor/overlay/subscriber"
	"thor/subjects"
)

// A requester is the role and the node that a request comes from. The broker has
// verified both.
type requester struct {
	role subjects.Role
	node subjects.NodeID
}

// A refusal is the error of a request that is not to be answered. All other errors
// are the store's.
type refusal struct {
	code subjects.ErrorCode
	text string
}

func (r *refusal) Error() string { return r.text }

// handle answers the requests of nodes in one of the roles cleared that end in verb
// with the data that answer returns.
func handle[Q any](p *Pusher, verb string, cleared []subjects.Role, parse func([]byte) (*Q, error), answer func(context.Context, requester, *Q) ([]byte, error)) {
	p.net.Handle(string(subjects.ProvisioningServer), verb, func(ctx context.Context, r *overlay.Request) *subjects.Reply {
		from := requester{r.SenderRole(), r.Sender()}
		if err := authorize(from, cleared, r); err != nil {
			return p.refuse(verb, from, err)
		}
		q, err := parse(r.Data)
		if err != nil {
			return p.refuse(verb, from, &refusal{subjects.ErrorBad, err.Error()})
		}
		data, err := answer(ctx, from, q)
		if err != nil {
			return p.refuse(verb, from, err)
		}
		p.metrics.answers.WithLabelValues(verb, "ok").Inc()
		return &subjects.Reply{V: subjects.Version, Data: data}
	})
}

// authorize refuses requests of roles that are not cleared. The broker lets a node
// publish only requests whose subject ends in a role of its own and its own name,
// and lets that node alone subscribe to its answers: the subject is the identity
// of the requester, the reply subject that of the receiver.
func authorize(from requester, cleared []subjects.Role, r *overlay.Request) error {
	switch {
	case from.role == "" || from.node == "":
		return &refusal{subjects.ErrorBad, "the subject does not name who asks"}
	case !slices.Contains(cleared, from.role):
		return &refusal{subjects.ErrorForbidden, "this role is not cleared for that"}
	case !r.Confidential():
		return &refusal{subjects.ErrorForbidden, "the answer would not reach the sender alone"}
	}
	return nil
}

// refuse answers with an error, which it counts and logs.
func (p *Pusher) refuse(verb string, from requester, err error) *subjects.Reply {
	var no *refusal
	if !errors.As(err, &no) {
		p.log.Debug().Err(err).Str("subject", verb).Msg("read the store for a node")
		no = &refusal{subjects.ErrorFailed, "the database does not answer"}
	}
	p.metrics.answers.WithLabelValues(verb, string(no.code)).Inc()
	e := p.log.Debug()
	if no.code == subjects.ErrorForbidden {
		e = p.log.Info()
		p.auditProfile(from, verb, audit.Refused, no.text)
	}
	e.Str("peer", string(from.node)).Str("peer_role", string(from.role)).Str("subject", verb).Str("reason", no.text).Msg("request refused")
	return &subjects.Reply{V: subjects.Version, Code: no.code, Text: no.text}
}

// auditProfile counts a profile that was given or refused.
func (p *Pusher) auditProfile(from requester, what, outcome, why string) {
	p.given.Add(audit.Given(audit.Profile, from.node, from.role, what, outcome, why))
}

// profile answers a request for a subscriber's profile.
func (p *Pusher) profile(ctx context.Context, from requester, q *subscriber.Request) ([]byte, error) {
	if q.Key != subscriber.Fold(q.Key) { // the store would find it: a node could try spellings until one is in its own share
		return nil, &refusal{subjects.ErrorBad, "keys are in lower case"}
	}
	if !p.mayHold(from.role, from.node, q.Key) {
		return nil, &refusal{subjects.ErrorForbidden, "another node is responsible for this subscriber"}
	}
	s, err := p.cfg.Store.Subscriber(ctx, q.Key)
	if err != nil {
		return nil, err
	}
	if s.Revision < q.Least {
		return nil, &refusal{subjects.ErrorBehind, "the database here is behind"}
	}
	s.V, s.Key = subjects.Version, q.Key
	b := s.Encode()
	if len(b) > subjects.MaxView {
		p.log.Error().Int("bytes", len(b)).Uint64("rev", s.Revision).Msg("a profile is too large to be sent")
		return nil, &refusal{subjects.ErrorFailed, "the profile is too large"}
	}
	p.auditProfile(from, q.Key, audit.OK, "")
	return b, nil
}

// changes answers a request for the changed keys that the requester holds.
func (p *Pusher) changes(ctx context.Context, from requester, q *subscriber.ChangesRequest) ([]byte, error) {
	c, err := p.cfg.Store.Changes(ctx, q.Since)
	if err != nil {
		return nil, err
	}
	out := subscriber.ChangedKeys{V: subjects.Version, Through: c.Through, All: c.All || len(c.Keys) > subscriber.MaxKeys, Keys: []string{}}
	for i, k := range c.Keys {
		if !out.All && p.mayHold(from.role, from.node, k) {
			out.Keys = append(out.Keys, k)
			out.Revisions = append(out.Revisions, c.Revisions[i])
		}
	}
	return out.Encode(), nil
}

// trusted answers a request for the Trust.
func (p *Pusher) trusted(ctx context.Context, _ requester, q *subscriber.TrustRequest) ([]byte, error) {
	t, err := p.trust.get(ctx, p.readTrust)
	if err != nil {
		return nil, err
	}
	if q.Have == t.Digest {
		t = &subscriber.Trust{V: subjects.Version, Digest: t.Digest, Same: true}
	}
	if t.MorePeers {
		p.log.Error().Int("peers", len(t.Peers)).Msg("too many trusted peers, proxies do not know all of them")
	}
	return t.Encode(), nil
}

// zoneRecords answers a name server's request for the provisioned records.
func (p *Pusher) zoneRecords(ctx context.Context, _ requester, q *records.Request) ([]byte, error) {
	l, err := p.records.get(ctx, p.cfg.Store.ZoneRecords)
	if err != nil {
		return nil, err
	}
	return l.Answer(q.Have).Encode(), nil
}
