package broker

import (
	"context"
	"fmt"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"thor/subjects"
)

// answerConnections tells managers that ask, until ctx ends, which connections do
// not exist here: the event of their end may have gone to none of them, or was
// never sent since the broker's process ended too. It answers nothing about one
// that exists, or is of another broker.
func (b *Broker) answerConnections(ctx context.Context, s *server.Server, own *nats.Conn) error {
	sub, err := own.Subscribe(subjects.ClosedGet, func(m *nats.Msg) {
		l, err := subjects.ParseLink(m.Data)
		if err != nil || l.Broker() != b.id.Node || connected(s, l) {
			return
		}
		_ = own.Publish(subjects.ClosedAt(b.id.Node), l.Encode()) // managers ask again
	})
	if err != nil {
		return fmt.Errorf("broker: subscribe %s: %w", subjects.ClosedGet, err)
	}
	<-ctx.Done()
	_ = sub.Unsubscribe() // fails only when the connection is closed
	return nil
}

// connected reports whether the connection of l exists. Numbers begin anew with
// the broker's process: the name tells whether it is the same.
func connected(s *server.Server, l *subjects.Link) bool {
	c := s.GetClient(l.Connection())
	return c != nil && c.GetName() == l.Boot
}
