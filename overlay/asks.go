package overlay

import (
	"context"
	"sync"

	"github.com/nats-io/nats.go"

	"thor/subjects"
)

// asks are the requests of this process that wait for an answer. Each has a
// reply subject of its own, on which the broker lets only the answerer of that
// request publish: an answer is known by the whole subject on which it arrives,
// and what arrives on any other subject is dropped. The zero value is ready.
type asks struct {
	mu   sync.Mutex
	open map[string]*openAsk // by reply subject
}

type openAsk struct {
	subject string           // of the request
	answers chan<- *nats.Msg // for what arrives; what finds no room is lost
	refused context.CancelCauseFunc
}

// add opens a request of asker on subject; its answers go to answers. ctx ends
// with ErrForbidden when the broker refuses the request: the broker tells of
// that apart from it, and only by subject. end must be called.
func (a *asks) add(ctx context.Context, asker subjects.NodeID, subject string, answers chan<- *nats.Msg) (_ context.Context, reply string, end func(), err error) {
	reply, err = subjects.NewAnswer(asker, subject)
	if err != nil {
		return ctx, "", func() {}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open == nil {
		a.open = make(map[string]*openAsk)
	}
	a.open[reply] = &openAsk{subject, answers, cancel}
	return ctx, reply, func() {
		a.mu.Lock()
		delete(a.open, reply)
		a.mu.Unlock()
		cancel(nil)
	}, nil
}

// deliver hands an answer to the request that waits for it.
func (a *asks) deliver(m *nats.Msg) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if o := a.open[m.Subject]; o != nil {
		select {
		case o.answers <- m:
		default:
		}
	}
}

func (a *asks) refuse(subject string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, o := range a.open {
		if o.subject == subject {
			o.refused(ErrForbidden)
		}
	}
}

// unheard reports whether m is the broker's word that no subscriber received the request.
func unheard(m *nats.Msg) bool { return len(m.Data) == 0 && m.Header.Get("Status") == "503" }
