package overlay

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"

	"thor/subjects"
)

const chunksAtOnce = 256 // of one answer, that may arrive before they are read

// AskSnapshot sends a request whose answer is a snapshot: on subjects.StatusGet, or
// a manager's to another one. It returns the status, with its losses where the
// manager keeps them, and its encoding. The error
// wraps ErrNotConnected, ErrNoResponders or ErrForbidden where that is the reason.
// The view is not changed.
func (n *Node) AskSnapshot(ctx context.Context, subject string) (*subjects.Status, []byte, error) {
	s, encoded, err := n.requests.snapshot(ctx, subject)
	if err != nil {
		return nil, nil, fmt.Errorf("ask %s: %w", subject, err)
	}
	return s, encoded, nil
}

func (q *requester) snapshot(ctx context.Context, subject string) (*subjects.Status, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	answers := make(chan *nats.Msg, chunksAtOnce)
	req := subjects.SnapshotRequest{V: subjects.Version, Losses: true}
	r, err := q.send(ctx, subject, req.Encode(), answers)
	if err != nil {
		return nil, nil, err
	}
	defer r.end()
	var parts subjects.Assembly
	for {
		var m *nats.Msg
		select {
		case <-r.ctx.Done():
			return nil, nil, askError(r.ctx, r.ctx.Err())
		case m = <-answers:
		}
		if unheard(m) {
			return nil, nil, ErrNoResponders
		}
		if code := m.Header.Get(subjects.HeaderError); code != "" {
			return nil, nil, errors.New("refused: " + subjects.Printable(code, 32))
		}
		plain, done, err := parts.Add(m.Header.Get, m.Data)
		if err != nil {
			return nil, nil, err
		}
		if done {
			s, err := subjects.ParseStatus(plain)
			encoded, _ := subjects.SplitFull(plain)
			return s, encoded, err
		}
	}
}
