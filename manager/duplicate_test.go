package manager_test

import (
	"testing"
	"time"

	"thor/broker/brokertest"
	"thor/subjects"
)

// TestASecondProcessDoesNotEndTheFirst runs a second process with the certificate
// of one that goes on, for a while; then it ends.
func TestASecondProcessDoesNotEndTheFirst(t *testing.T) {
	for _, c := range []struct {
		name  string
		role  subjects.Role
		begin func(t *testing.T, b *brokertest.B) *peer
		end   func(p *peer)
	}{
		{"an agent that leaves", subjects.SIPProxy, func(t *testing.T, b *brokertest.B) *peer { return member(t, b, "n1", subjects.SIPProxy) }, func(p *peer) { p.stop() }},
		{"an agent that is killed", subjects.SIPProxy, func(t *testing.T, b *brokertest.B) *peer { return member(t, b, "n1", subjects.SIPProxy) }, func(p *peer) { p.node.Conn().Close() }},
		{"a manager that is killed", subjects.Manager, func(t *testing.T, b *brokertest.B) *peer { return candidate(t, b, "n1", "") }, func(p *peer) { p.node.Conn().Close() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			brokertest.InBubble(t, func(t *testing.T, b *brokertest.B) {
				candidate(t, b, "m1", "")
				candidate(t, b, "m2", "")
				c.begin(t, b)
				member(t, b, "n2", subjects.SIPProxy)
				watcher := join(t, b, "w1", subjects.Monitor)
				watcher.run(t)
				in := func() bool { return watcher.node.View().Status.Member(c.role, "n1") != nil }
				within(t, 10*time.Second, "it is in", in)
				time.Sleep(5 * time.Second)
				second := c.begin(t, b)
				time.Sleep(3 * time.Second)
				c.end(second)
				for range 60 { // a handover needs the next beat of the first at most
					time.Sleep(500 * time.Millisecond)
					if !in() {
						time.Sleep(3 * time.Second)
						if !in() {
							t.Fatal("the first process runs, and has been out of the status for 3 s")
						}
					}
				}
			})
		})
	}
}
