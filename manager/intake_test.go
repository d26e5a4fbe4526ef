package manager

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"thor/subjects"
)

func taken(q *intake) (out []string) {
	for {
		m, ok := q.next()
		if !ok {
			return out
		}
		out = append(out, string(m.Header.Get("n")))
	}
}

func arrived(subject, n, data string) *nats.Msg {
	m := nats.NewMsg(subject)
	m.Header.Set("n", n)
	m.Data = []byte(data)
	return m
}

func TestIntakeIsFairAndHearsBrokersFirst(t *testing.T) {
	var q intake
	presence := func(node, n string) bool { return q.put(arrived("thor.role.sip_proxy."+node, n, "")) }
	dropped := 0
	for i := range 1000 {
		if presence("loud", fmt.Sprint("loud", i)) {
			dropped++
		}
	}
	for i := range 2 {
		presence("n1", fmt.Sprint("n1-", i))
		presence("n2", fmt.Sprint("n2-", i))
	}
	q.put(arrived(subjects.Disconnect, "end of n1", `{"client":{"user":"n1"}}`))
	presence("n1", "n1-again")
	q.put(arrived(subjects.IdentityOf("b1"), "certificate of n2", `{"node":"n2"}`))
	q.put(arrived(subjects.RevokedNode, "n3 revoked", `{"node":"n3"}`))
	q.put(arrived(subjects.Disconnect, "malformed", `{`))
	got := taken(&q)
	if want := []string{"n1-0", "n1-1", "end of n1", "n3 revoked", "malformed", "n2-0", "n2-1", "certificate of n2", "loud936", "n1-again", "loud937"}; !slices.Equal(got[:len(want)], want) {
		t.Errorf("%v", got[:len(want)])
	}
	if len(got) != 9+nodeBacklog || dropped != 1000-nodeBacklog || !q.empty() || len(q.nodes) != 0 {
		t.Errorf("%d came, %d were dropped, %d nodes left", len(got), dropped, len(q.nodes))
	}
}

func TestSnapshotAnswersAreLimitedByNode(t *testing.T) {
	var a askers
	now := time.Unix(1000, 0)
	allowed := func(reply string, bytes, n int) (k int) {
		for range n {
			if a.allow(reply, bytes, now) {
				k++
			}
		}
		return k
	}
	if got := allowed("_ANSWER.n1.thor_manager.x", 1<<20, 1000); got != 8 {
		t.Errorf("%d answers of 1 MiB at once", got)
	}
	if got := allowed("_INBOX.n2.x", 2000, 1000); got != 128 {
		t.Errorf("the neighbour gets %d small ones", got)
	}
	now = now.Add(3 * time.Second)
	if got := allowed("_INBOX.n1.x", 1<<20, 1000); got != 3 {
		t.Errorf("%d answers of 1 MiB later", got)
	}
	if got := allowed("_INBOX.n2.x", 2000, 1000); got != 48 {
		t.Errorf("%d small answers later", got)
	}
	now = now.Add(time.Hour)
	allowed("_INBOX.n3.x", 1, 1)
	if len(a.nodes) != 1 {
		t.Errorf("%d nodes kept", len(a.nodes))
	}
}
