package overlay

import (
	"cmp"
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"thor/subjects"
)

const (
	handleTimeout = 4 * time.Second // of one handler: the asker waits for askTimeout
	handleAtOnce  = 256             // requests under way, of those that take time and of the others; more are told to come back
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

// A responder answers requests to this node.
type responder struct {
	id      subjects.NodeID
	log     *slog.Logger
	conn    *connection
	builtin *builtin
	working *sync.WaitGroup // for the handlers that run
	slots   chan struct{}   // one token for each request under way
	quick   chan struct{}   // the same, for those that wait for no other process
	changed func()          // there is another handler

	mu       sync.Mutex
	handlers map[string]handler // by subject

	routes map[string]route // by subject subscribed to; of the loop alone
}

// route is a subscription to requests.
type route struct {
	sub     *nats.Subscription
	handler handler
}

// handle adds a handler, see Node.Handle.
func (p *responder) handle(role, verb string, h handler) {
	_, err := subjects.ParseRole(role)
	if (err != nil && role != subjects.Agent) || strings.ContainsAny(verb, " \t\r\n") || strings.Contains("."+verb+".", "..") {
		p.log.Error("no such subject to handle", slog.String("role", subjects.Printable(role, 70)), slog.String("verb", subjects.Printable(verb, 70)))
		return
	}
	if isBuiltin(verb) {
		p.log.Error("this verb is answered by the SDK", slog.String("role", role), slog.String("verb", verb))
		return
	}
	s := subjects.Request(p.id, subjects.Role(role), verb)
	p.mu.Lock()
	p.handlers[s] = h
	if !strings.HasSuffix(s, ">") {
		p.handlers[s+".>"] = h
	}
	p.mu.Unlock()
	p.changed()
}

// subscribe makes the subscriptions those of the handlers that there are; messages
// go to msgs.
func (p *responder) subscribe(nc *nats.Conn, msgs chan *nats.Msg) {
	want := p.builtin.handlers()
	p.mu.Lock()
	for s, h := range p.handlers {
		if want[s] == nil {
			want[s] = h
		}
	}
	p.mu.Unlock()
	for s, r := range p.routes {
		if want[s] == nil {
			_ = r.sub.Unsubscribe() // fails only when the connection is closed
			delete(p.routes, s)
		}
	}
	for s, h := range want {
		r := p.routes[s]
		if r.sub == nil {
			sub, err := nc.ChanSubscribe(s, msgs)
			if err != nil {
				p.log.Error("subscribe", cause(err), slog.String("subject", s))
				continue
			}
			r.sub = sub
		}
		r.handler = h
		p.routes[s] = r
	}
}

// serve starts the handler of one request. The error is what is wrong with it.
func (p *responder) serve(ctx context.Context, m *nats.Msg) error {
	h := p.routes[m.Sub.Subject].handler
	if h == nil {
		return nil // unsubscribed while it was on its way
	}
	from, err := subjects.ParseRequest(m.Subject)
	if err != nil {
		return &subjects.BadMessage{Code: subjects.CodeName, Detail: err.Error()}
	}
	if m.Reply != "" {
		if err := subjects.CheckReply(m.Subject, m.Reply); err != nil {
			return err
		}
	}
	if from.Sender == "" && subjects.NeedsSender(from.Verb) {
		p.answer(m, &subjects.Reply{Code: subjects.ErrorForbidden, Text: "this verb changes something: append the sender's node to the subject"})
		return nil
	}
	slots := p.slots
	if isBuiltin(from.Verb) || from.Verb == subjects.VerbLookup {
		slots = p.quick // an operator must be able to drain a node whose other handlers all wait for another process
	}
	select {
	case slots <- struct{}{}:
	default:
		p.answer(m, &subjects.Reply{Code: subjects.ErrorFailed, Text: "too many requests at once"})
		return nil
	}
	p.working.Go(func() {
		defer func() { <-slots }()
		ctx, cancel := context.WithTimeout(ctx, handleTimeout)
		defer cancel()
		p.answer(m, h(ctx, &Request{Subject: m.Subject, Data: m.Data, Reply: m.Reply}))
	})
	return nil
}

func (p *responder) answer(m *nats.Msg, r *subjects.Reply) {
	l := p.conn.state()
	if r == nil || m.Reply == "" || !l.up {
		return
	}
	answer := *r
	answer.V = cmp.Or(r.V, subjects.Version)
	if err := l.nc.Publish(m.Reply, answer.Encode()); err != nil {
		p.log.Debug("answer", cause(err), slog.String("subject", m.Subject))
	}
}
