package overlay

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"

	"thor/identity"
	"thor/subjects"
)

// TableRest is how long a lookup table outlives its status.
const TableRest = tableRest

// Holding is a Node that holds s and is not run.
func Holding(t testing.TB, s *subjects.Status) *Node {
	t.Helper()
	n, err := New(Config{Identity: &identity.Identity{Node: "n1", Domain: s.Domain}, Options: []nats.Option{nats.Name("x")}})
	if err != nil {
		t.Fatal(err)
	}
	n.status.view.Store(&View{Status: s, Encoded: s.Encode()})
	return n
}

// Violate is what n does when its broker refuses a subscription.
func Violate(n *Node, subject string) {
	n.conn.violated(n.Conn(), fmt.Errorf(`nats: permissions violation: Permissions Violation for Subscription to "%s"`, subject))
}

// ConnectedLate is a Node whose connection is still known by the name of the one
// before, as it is until the client library's callback has come.
func ConnectedLate(n *Node, before string) {
	n.conn.mu.Lock()
	defer n.conn.mu.Unlock()
	n.conn.link.via = before
}
