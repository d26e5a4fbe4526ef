package overlay

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
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
	handleTimeout = 4 * time.Second // of one handler; brokers take no answer after 5 s
	handleAtOnce  = 256             // requests under way, of those that take time and of the others; more are told to come back
	maxReplies    = 10_000          // that AskAll collects
)

// A Request is what somebody asks of this process. The broker has checked that
// the sender may use Subject, so tokens that name the sender can be believed.
type Request struct {
	Subject string
	Data    []byte
	Reply   string // subject of the answer, empty when none is wanted
}

type handler func(context.Context, *Request) *subjects.Reply

// Handle answers requests to thor.node.<node>.<role>.<verb>, and to subjects
// that continue with further tokens, by h; role may be subjects.Agent. It may be
// called before or during Run; the last one for a verb wins, except that drain,
// resume and duplicate stay the SDK's own. h runs in a goroutine of its own,
// several at once, with a ctx that ends with Run or after 4 s. A nil reply
// answers nothing.
func (n *Node) Handle(role, verb string, h func(context.Context, *Request) *subjects.Reply) {
	_, err := subjects.ParseRole(role)
	if (err != nil && role != subjects.Agent) || strings.ContainsAny(verb, " \t\r\n") || strings.Contains("."+verb+".", "..") {
		n.log.Error().Str("role", subjects.Printable(role, 70)).Str("verb", subjects.Printable(verb, 70)).Msg("no such subject to handle")
		return
	}
	if verb == VerbDrain || verb == VerbResume || verb == VerbDuplicate {
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
	w := make(map[string]handler, len(n.handlers)+2+3*len(n.members))
	for s, h := range n.handlers {
		w[s] = h
	}
	w[subjects.AgentRequest(n.id, VerbDrain)] = n.drainHandler(subjects.Agent, true)
	w[subjects.AgentRequest(n.id, VerbResume)] = n.drainHandler(subjects.Agent, false)
	for r := range n.members {
		w[subjects.Request(n.id, r, VerbDrain)] = n.drainHandler(r, true)
		w[subjects.Request(n.id, r, VerbResume)] = n.drainHandler(r, false)
		w[subjects.Request(n.id, r, VerbDuplicate)] = n.duplicateHandler(r)
	}
	return w
}

// serve starts the handler of one request.
func (n *Node) serve(ctx context.Context, m *nats.Msg) {
	h := n.routes[m.Sub.Subject].handler
	if h == nil {
		return // unsubscribed while it was on its way
	}
	// The broker permits an answer to any subject that a request names, so a
	// request could make us write where only we may.
	if m.Reply != "" && !strings.HasPrefix(m.Reply, "_INBOX.") {
		n.drop(m.Subject, &subjects.BadMessage{Code: subjects.CodeForeign, Detail: "the reply subject is no inbox"})
		return
	}
	slots := n.slotsOf(m.Sub.Subject)
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

// slotsOf is where a request to subject waits for its turn. What is answered from
// this process alone has slots of its own: an operator must be able to drain a
// node whose other handlers all wait for somebody.
func (n *Node) slotsOf(subject string) chan struct{} {
	tokens := strings.SplitN(subject, ".", 6) // thor.node.<node>.<role>.<verb>
	if len(tokens) >= 5 {
		switch tokens[4] {
		case VerbDrain, VerbResume, VerbDuplicate, subjects.VerbLookup:
			return n.quick
		}
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
	l := n.link.state()
	if !l.up {
		return nil, fmt.Errorf("ask %s: %w", subject, ErrNotConnected)
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, askTimeout)
		defer cancel()
	}
	ctx, done := n.asks.add(ctx, subject)
	defer done()
	m, err := l.nc.RequestWithContext(ctx, subject, data)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", subject, askError(ctx, err))
	}
	r, err := subjects.ParseReply(m.Data)
	if err != nil {
		n.metrics.drop(subjects.CodeOf(err))
		return nil, fmt.Errorf("ask %s: answer: %w", subject, err)
	}
	return r, nil
}

// AskAll sends a request and returns all answers that come within wait, in the
// order in which they come; there may be none. Answers that are malformed are
// left out.
func (n *Node) AskAll(ctx context.Context, subject string, data []byte, wait time.Duration) ([]*subjects.Reply, error) {
	l := n.link.state()
	if !l.up {
		return nil, fmt.Errorf("ask %s: %w", subject, ErrNotConnected)
	}
	ctx, done := n.asks.add(ctx, subject)
	defer done()
	inbox := l.nc.NewInbox()
	sub, err := l.nc.SubscribeSync(inbox)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", subject, err)
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only when the connection is closed
	if err := l.nc.PublishRequest(subject, inbox, data); err != nil {
		return nil, fmt.Errorf("ask %s: %w", subject, askError(ctx, err))
	}
	until, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	var replies []*subjects.Reply
	for len(replies) < maxReplies {
		m, err := sub.NextMsgWithContext(until)
		if err != nil {
			if ctx.Err() == nil && until.Err() != nil {
				return replies, nil
			}
			return replies, fmt.Errorf("ask %s: %w", subject, askError(ctx, err))
		}
		r, err := subjects.ParseReply(m.Data)
		if err != nil {
			n.metrics.drop(subjects.CodeOf(err))
			continue
		}
		replies = append(replies, r)
	}
	return replies, nil
}

// askError says what an error of the client library means here.
func askError(ctx context.Context, err error) error {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, ErrForbidden):
		return ErrForbidden
	case errors.Is(err, nats.ErrNoResponders):
		return ErrNoResponders
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrDisconnected):
		return ErrNotConnected
	}
	return err
}

// asks are the questions under way. A broker tells of a refused question apart
// from it, and only by subject, so that without this the asker would wait for
// nothing. The zero value is ready.
type asks struct {
	mu   sync.Mutex
	next int
	open map[int]openAsk
}

type openAsk struct {
	subject string
	cancel  context.CancelCauseFunc
}

func (a *asks) add(ctx context.Context, subject string) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open == nil {
		a.open = make(map[int]openAsk)
	}
	a.next++
	id := a.next
	a.open[id] = openAsk{subject, cancel}
	return ctx, func() {
		a.mu.Lock()
		delete(a.open, id)
		a.mu.Unlock()
		cancel(nil)
	}
}

func (a *asks) refuse(subject string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, o := range a.open {
		if o.subject == subject {
			o.cancel(ErrForbidden)
		}
	}
}
