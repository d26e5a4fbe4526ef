package manager_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"thor/broker/brokertest"
	"thor/subjects"
)

// lie announces, once a second for as long as d, that its node has seen one epoch
// more than the network is in. It returns how often the active manager changed.
func lie(t *testing.T, b *brokertest.B, watcher *peer, role subjects.Role, d time.Duration) (changes int) {
	t.Helper()
	liar := b.Dial("liar", role)
	a := subjects.Announcement{
		V: subjects.Version, Node: "liar", Role: role, Boot: "boot", Addresses: b.Identity("liar", role).Addresses, State: subjects.Up,
	}
	last := watcher.node.View().Status
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Second) {
		s := watcher.node.View().Status
		if s.Epoch != last.Epoch {
			changes++
		}
		last = s
		a.Seq++
		a.Seen = &subjects.Mark{Epoch: s.Epoch + 1, Generation: s.Generation}
		if err := liar.PublishMsg(&nats.Msg{Subject: subjects.Presence(role, "liar"), Data: a.Encode()}); err != nil {
			t.Fatal(err)
		}
	}
	return changes
}

// Each manager that gives way to a claim begins to count anew: with three of them
// one certificate changed the active manager as often as it liked to.
func TestClaimsChangeTheActiveManagerOnceAMinuteInTheWholeNetwork(t *testing.T) {
	brokertest.InBubble(t, func(t *testing.T, b *brokertest.B) {
		ms := []*peer{candidate(t, b, "m1", t.TempDir()), candidate(t, b, "m2", t.TempDir()), candidate(t, b, "m3", t.TempDir())}
		watcher := join(t, b, "w1", subjects.Monitor)
		watcher.run(t)
		within(t, 10*time.Second, "one leads", func() bool { return len(leaders(ms...)) == 1 && watcher.node.View().Status != nil })
		if n := lie(t, b, watcher, subjects.DNSManager, 2*time.Minute); n != 0 {
			t.Errorf("a name server's claims changed the active manager %d times in 2 minutes", n)
		}
		const minutes = 5
		n := lie(t, b, watcher, subjects.EventServer, minutes*time.Minute)
		if n > minutes+1 {
			t.Errorf("a broker's claims changed the active manager %d times in %d minutes", n, minutes)
		}
		if n == 0 {
			t.Error("a broker's claims count for nothing: epochs of before a loss of all memory would be used again")
		}
	})
}
