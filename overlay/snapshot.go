package overlay

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"

	"thor/subjects"
)

const chunksAtOnce = 256 // of one answer, that may arrive before they are read

// A Snapshot is an answer to a request for the status.
type Snapshot struct {
	Status  *subjects.Status // with its losses where the manager keeps them
	Encoded []byte
	Known   subjects.Mark // the greatest that a manager says it is sure of, also one without a status; zero: it did not say
}

// AskSnapshot sends a request whose answer is a snapshot: on subjects.StatusGet, or
// a manager's to another one. The error
// wraps ErrNotConnected, ErrNoResponders or ErrForbidden where that is the reason.
// The view is not changed.
func (n *Node) AskSnapshot(ctx context.Context, subject string) (Snapshot, error) {
	s, err := n.requests.snapshot(ctx, subject)
	if err != nil {
		return s, fmt.Errorf("ask %s: %w", subject, err)
	}
	return s, nil
}

func (q *requester) snapshot(ctx context.Context, subject string) (s Snapshot, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	answers := make(chan *nats.Msg, chunksAtOnce)
	req := subjects.SnapshotRequest{V: subjects.Version, Losses: true, Sites: true}
	r, err := q.send(ctx, subject, req.Encode(), answers)
	if err != nil {
		return s, err
	}
	defer r.end()
	var parts subjects.Assembly
	for {
		var m *nats.Msg
		select {
		case <-r.ctx.Done():
			return s, askError(r.ctx, r.ctx.Err())
		case m = <-answers:
		}
		if unheard(m) {
			return s, ErrNoResponders
		}
		if k, ok := subjects.ParseKnown(m.Header.Get(subjects.HeaderKnown)); ok {
			s.Known = k
		}
		if code := m.Header.Get(subjects.HeaderError); code != "" {
			return s, errors.New("refused: " + subjects.Printable(code, 32))
		}
		plain, done, err := parts.Add(m.Header.Get, m.Data)
		if err != nil {
			return s, err
		}
		if done {
			s.Status, err = subjects.ParseStatus(plain)
			s.Encoded, _ = subjects.SplitFull(plain)
			return s, err
		}
	}
}
