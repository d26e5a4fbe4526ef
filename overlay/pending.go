package overlay

import (
	"context"
	"sync"

	"github.com/nats-io/nats.go"

	"thor/subjects"
)

// pendingRequests are the requests of this process that wait for an answer. Each
// has a reply subject of its own, on which the broker lets only the answerer of
// that request publish: an answer belongs to the request whose reply subject it
// arrives on, and what arrives on any other subject is dropped. The zero value is
// ready.
type pendingRequests struct {
	mu      sync.Mutex
	byReply map[string]pendingRequest
}

type pendingRequest struct {
	subject string           // of the request
	answers chan<- *nats.Msg // for what arrives; what finds no room is lost
	refuse  context.CancelCauseFunc
}

// add makes a request of asker on subject, whose answers go to answers.
func (p *pendingRequests) add(ctx context.Context, asker subjects.NodeID, subject string, answers chan<- *nats.Msg) (*openRequest, error) {
	reply, err := subjects.NewAnswer(asker, subject)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byReply == nil {
		p.byReply = make(map[string]pendingRequest)
	}
	p.byReply[reply] = pendingRequest{subject, answers, cancel}
	return &openRequest{ctx: ctx, reply: reply, end: func() {
		p.mu.Lock()
		delete(p.byReply, reply)
		p.mu.Unlock()
		cancel(nil)
	}}, nil
}

// deliver hands an answer to the request that waits for it.
func (p *pendingRequests) deliver(m *nats.Msg) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r, ok := p.byReply[m.Subject]; ok {
		select {
		case r.answers <- m:
		default:
		}
	}
}

// refuse ends the requests on subject: the broker reports a refusal apart from
// the request, and only by its subject.
func (p *pendingRequests) refuse(subject string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.byReply {
		if r.subject == subject {
			r.refuse(ErrForbidden)
		}
	}
}

// An openRequest waits for answers until end is called. A nil one has no answers.
type openRequest struct {
	ctx   context.Context // ends with ErrForbidden when the broker refuses the request
	reply string          // the subject of its answers
	end   func()
}

// answeredBy reports whether m is an answer to r.
func (r *openRequest) answeredBy(m *nats.Msg) bool { return r != nil && m.Subject == r.reply }

// replace ends r and returns next.
func (r *openRequest) replace(next *openRequest) *openRequest {
	if r != nil {
		r.end()
	}
	return next
}

// unheard reports whether m is the broker's word that no subscriber received the request.
func unheard(m *nats.Msg) bool { return len(m.Data) == 0 && m.Header.Get("Status") == "503" }
