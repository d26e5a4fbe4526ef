package overlay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"thor/subjects"
)

// Errors of requests, for callers that tell an operator what to do about it.
var (
	ErrNotConnected = errors.New("not connected to a broker")
	ErrNoResponders = errors.New("no responders on this subject")
	ErrForbidden    = errors.New("the certificate does not permit this subject")
)

const (
	askTimeout    = 5 * time.Second // of Ask, when its ctx has no deadline
	maxReplies    = 10_000          // that AskAll collects
	repliesAtOnce = 1024            // that may arrive before AskAll reads them
)

// A requester sends the requests of this process.
type requester struct {
	id      subjects.NodeID
	conn    *connection
	metrics *metrics
	pending pendingRequests
}

// send sends a request whose answers go to answers.
func (q *requester) send(ctx context.Context, subject string, data []byte, answers chan<- *nats.Msg) (*openRequest, error) {
	l := q.conn.state()
	if !l.up {
		return nil, fmt.Errorf("ask %s: %w", subject, ErrNotConnected)
	}
	r, err := q.pending.add(ctx, q.id, subject, answers)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", subject, err)
	}
	if err := l.nc.PublishRequest(subject, r.reply, data); err != nil {
		err = askError(r.ctx, err)
		r.end()
		return nil, fmt.Errorf("ask %s: %w", subject, err)
	}
	return r, nil
}

func (q *requester) ask(ctx context.Context, subject string, data []byte) (*subjects.Reply, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, askTimeout)
		defer cancel()
	}
	answers := make(chan *nats.Msg, 1)
	r, err := q.send(ctx, subject, data, answers)
	if err != nil {
		return nil, err
	}
	defer r.end()
	reply, err := q.next(r.ctx, answers)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", subject, askError(r.ctx, err))
	}
	return reply, nil
}

func (q *requester) askAll(ctx context.Context, subject string, data []byte, wait time.Duration) ([]*subjects.Reply, error) {
	answers := make(chan *nats.Msg, repliesAtOnce)
	r, err := q.send(ctx, subject, data, answers)
	if err != nil {
		return nil, err
	}
	defer r.end()
	until, cancel := context.WithTimeout(r.ctx, wait)
	defer cancel()
	var replies []*subjects.Reply
	for len(replies) < maxReplies {
		reply, err := q.next(until, answers)
		switch {
		case err == nil:
			replies = append(replies, reply)
		case r.ctx.Err() == nil && until.Err() != nil:
			return replies, nil
		case errors.Is(err, errMalformed):
		default:
			return replies, fmt.Errorf("ask %s: %w", subject, askError(r.ctx, err))
		}
	}
	return replies, nil
}

var errMalformed = errors.New("malformed answer")

// next is the next answer.
func (q *requester) next(ctx context.Context, answers <-chan *nats.Msg) (*subjects.Reply, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case m := <-answers:
		if unheard(m) {
			return nil, ErrNoResponders
		}
		r, err := subjects.ParseReply(m.Data)
		if err != nil {
			q.metrics.drop(subjects.CodeOf(err))
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
