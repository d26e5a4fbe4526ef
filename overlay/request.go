package overlay

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"thor/subjects"
)

// Errors of requests, for callers that tell an operator what to do about it.
var (
	ErrNotConnected = errors.New("not connected to a broker")
	ErrNoResponders = errors.New("nobody answers to this subject")
	ErrForbidden    = errors.New("the certificate does not permit this subject")
)

const (
	askTimeout    = 5 * time.Second // of Ask, when its ctx has no deadline
	handleTimeout = 4 * time.Second // of one handler: the asker waits for askTimeout
	handleAtOnce  = 256             // requests under way, of those that take time and of the others; more are told to come back
	maxReplies    = 10_000          // that AskAll collects
	repliesAtOnce = 1024            // that may arrive before AskAll reads them
)

// A Request is what another member asks of this process.
type Request struct {
	Subject string
	Data    []byte
	Reply   string // subject of the answer, empty when none is wanted
}

// Sender is the node that asks, as the subject names it: the broker has checked
// it against the certificate. Empty where the subject names none.
func (r *Request) Sender() subjects.NodeID { return r.parsed().Sender }

// SenderRole is the role in which the sender asks, empty where the subject names none.
func (r *Request) SenderRole() subjects.Role { return r.parsed().SenderRole }

func (r *Request) parsed() subjects.RequestSubject {
	s, _ := subjects.ParseRequest(r.Subject) // what is no request has no sender
	return s
}

// Confidential reports whether the answer reaches the sender alone, so that it
// may hold a secret.
func (r *Request) Confidential() bool { return subjects.Confidential(r.Reply, r.Sender()) }

type handler func(context.Context, *Request) *subjects.Reply

// Handle answers requests to thor.node.<node>.<role>.<verb>, and to subjects
// that continue with further tokens, by h; role may be subjects.Agent. It may be
// called before or during Run; the last one for a verb wins, except that drain,
// resume and duplicate stay the SDK's own. h runs in a goroutine of its own,
// several at once, with a ctx that ends with Run or after 4 s. A nil reply
// answers nothing. A verb of [subjects.NeedsSender] reaches h only from a named
// sender; an h of another verb that changes something must check [Request.Sender].
func (n *Node) Handle(role, verb string, h func(context.Context, *Request) *subjects.Reply) {
	_, err := subjects.ParseRole(role)
	if (err != nil && role != subjects.Agent) || strings.ContainsAny(verb, " \t\r\n") || strings.Contains("."+verb+".", "..") {
		n.log.Error().Str("role", subjects.Printable(role, 70)).Str("verb", subjects.Printable(verb, 70)).Msg("no such subject to handle")
		return
	}
	if verb == subjects.VerbDrain || verb == subjects.VerbResume || verb == subjects.VerbDuplicate {
		n.log.Error().Str("role", role).Str("verb", verb).Msg("this verb is answered by the SDK")
		return
	}
	s := subjects.Request(n.id, subjects.Role(role), verb)
	n.mu.Lock()
	n.handlers[s] = h
	if !strings.HasSuffix(s, ">") {
		n.handlers[s+".>"] = h
	}
	n.mu.Unlock()
	n.kick()
}

// wanted are the request subjects to subscribe to, with their handlers.
func (n *Node) wanted() map[string]handler {
	n.mu.Lock()
	defer n.mu.Unlock()
	w := make(map[string]handler, len(n.handlers)+4+6*len(n.members))
	for s, h := range n.handlers {
		w[s] = h
	}
	own := func(role subjects.Role, verb string, h handler) {
		s := subjects.Request(n.id, role, verb)
		w[s], w[s+".*"] = h, h // without a sender to be refused with a reason
	}
	own(subjects.Agent, subjects.VerbDrain, n.drainHandler(subjects.Agent, true))
	own(subjects.Agent, subjects.VerbResume, n.drainHandler(subjects.Agent, false))
	for r := range n.members {
		if !n.Identity().Has(r) {
			continue // the broker would refuse it: a renewed certificate may have the role
		}
		own(r, subjects.VerbDrain, n.drainHandler(r, true))
		own(r, subjects.VerbResume, n.drainHandler(r, false))
		own(r, subjects.VerbDuplicate, n.duplicateHandler(r))
	}
	return w
}

// serve starts the handler of one request.
func (n *Node) serve(ctx context.Context, m *nats.Msg) {
	h := n.routes[m.Sub.Subject].handler
	if h == nil {
		return // unsubscribed while it was on its way
	}
	from, err := subjects.ParseRequest(m.Subject)
	if err != nil {
		n.drop(m.Subject, &subjects.BadMessage{Code: subjects.CodeName, Detail: err.Error()})
		return
	}
	if m.Reply != "" {
		if err := subjects.CheckReply(m.Subject, m.Reply); err != nil {
			n.drop(m.Subject, err)
			return
		}
	}
	if from.Sender == "" && subjects.NeedsSender(from.Verb) {
		n.answer(m, &subjects.Reply{V: subjects.Version, Code: subjects.ErrorForbidden, Text: "this verb changes something: append the sender's node to the subject"})
		return
	}
	slots := n.slotsOf(from.Verb)
	select {
	case slots <- struct{}{}:
	default:
		n.answer(m, &subjects.Reply{V: subjects.Version, Code: subjects.ErrorFailed, Text: "too many requests at once"})
		return
	}
	n.working.Go(func() {
		defer func() { <-slots }()
		ctx, cancel := context.WithTimeout(ctx, handleTimeout)
		defer cancel()
		n.answer(m, h(ctx, &Request{Subject: m.Subject, Data: m.Data, Reply: m.Reply}))
	})
}

// slotsOf is where a request with this verb waits for its turn. What is answered
// from this process alone has slots of its own: an operator must be able to drain
// a node whose other handlers all wait for another process.
func (n *Node) slotsOf(verb string) chan struct{} {
	switch verb {
	case subjects.VerbDrain, subjects.VerbResume, subjects.VerbDuplicate, subjects.VerbLookup:
		return n.quick
	}
	return n.slots
}

func (n *Node) answer(m *nats.Msg, r *subjects.Reply) {
	l := n.link.state()
	if r == nil || m.Reply == "" || !l.up {
		return
	}
	if err := l.nc.Publish(m.Reply, r.Encode()); err != nil {
		n.log.Debug().Err(err).Str("subject", m.Subject).Msg("answer")
	}
}

// Ask sends a request and returns the first answer, which may itself report a
// failure by its Code. Without a deadline in ctx it waits 5 s. The error wraps
// ErrNotConnected, ErrNoResponders or ErrForbidden where that is the reason.
func (n *Node) Ask(ctx context.Context, subject string, data []byte) (*subjects.Reply, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, askTimeout)
		defer cancel()
	}
	answers := make(chan *nats.Msg, 1)
	ctx, end, err := n.sendRequest(ctx, subject, data, answers)
	if err != nil {
		return nil, err
	}
	defer end()
	r, err := n.nextReply(ctx, answers)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", subject, askError(ctx, err))
	}
	return r, nil
}

// AskAll sends a request and returns all answers that come within wait, in the
// order in which they come; there may be none. Answers that are malformed are
// left out.
func (n *Node) AskAll(ctx context.Context, subject string, data []byte, wait time.Duration) ([]*subjects.Reply, error) {
	answers := make(chan *nats.Msg, repliesAtOnce)
	ctx, end, err := n.sendRequest(ctx, subject, data, answers)
	if err != nil {
		return nil, err
	}
	defer end()
	until, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	var replies []*subjects.Reply
	for len(replies) < maxReplies {
		r, err := n.nextReply(until, answers)
		switch {
		case err == nil:
			replies = append(replies, r)
		case ctx.Err() == nil && until.Err() != nil:
			return replies, nil
		case errors.Is(err, errMalformed):
		default:
			return replies, fmt.Errorf("ask %s: %w", subject, askError(ctx, err))
		}
	}
	return replies, nil
}

// sendRequest sends a request whose answers go to answers until end is called.
func (n *Node) sendRequest(ctx context.Context, subject string, data []byte, answers chan<- *nats.Msg) (_ context.Context, end func(), err error) {
	l := n.link.state()
	if !l.up {
		return nil, nil, fmt.Errorf("ask %s: %w", subject, ErrNotConnected)
	}
	ctx, reply, end, err := n.asks.add(ctx, n.id, subject, answers)
	if err == nil {
		err = l.nc.PublishRequest(subject, reply, data)
	}
	if err != nil {
		end()
		return nil, nil, fmt.Errorf("ask %s: %w", subject, askError(ctx, err))
	}
	return ctx, end, nil
}

var errMalformed = errors.New("malformed answer")

func (n *Node) nextReply(ctx context.Context, answers <-chan *nats.Msg) (*subjects.Reply, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case m := <-answers:
		if unheard(m) {
			return nil, ErrNoResponders
		}
		r, err := subjects.ParseReply(m.Data)
		if err != nil {
			n.metrics.drop(subjects.CodeOf(err))
			return nil, fmt.Errorf("%w: %w", errMalformed, err)
		}
		return r, nil
	}
}

// askError says what an error of the client library means here.
func askError(ctx context.Context, err error) error {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, ErrForbidden):
		return ErrForbidden
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrDisconnected):
		return ErrNotConnected
	}
	return err
}
