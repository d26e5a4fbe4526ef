package push

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"thor/overlay/subscriber"
	"thor/subjects"
)

func TestPaceOfRepairs(t *testing.T) {
	p := newPace()
	var sum time.Duration
	for range 20 {
		wait := p.after(5, 0)
		if wait < repairFirst/2 || wait > 2*repairMax {
			t.Fatalf("a wait of %v", wait)
		}
		sum += wait
	}
	if sum < 5*repairMax {
		t.Errorf("20 failures in a row are repeated within %v", sum)
	}
	if p.limit != repairBatch {
		t.Errorf("a batch of %d though 5 are pending", p.limit)
	}
	for range 20 {
		p.after(p.limit, 0)
	}
	if p.limit != repairMost {
		t.Errorf("what is behind %d that do not get through is never seen", p.limit)
	}
	if wait := p.after(p.limit, 1); wait != 0 || p.limit != repairBatch {
		t.Errorf("after the first one that gets through of many: %v, %d", wait, p.limit)
	}
	if wait := p.after(5, 3); wait != repairFirst {
		t.Errorf("after some: %v", wait)
	}
	if wait := p.after(0, 0); wait < repairEvery/2 {
		t.Errorf("after none: %v", wait)
	}
}

func TestQueueIsBoundedAndKeepsTheNewest(t *testing.T) {
	p := &Pusher{queue: newQueue(), inFlight: newInFlight(), retry: make(chan struct{}, 1)}
	m, err := newMetrics(nil, p)
	if err != nil {
		t.Fatal(err)
	}
	p.metrics = m
	n := func(i int, revision uint64) []subscriber.Notice {
		return []subscriber.Notice{{V: 1, Key: fmt.Sprintf("user%d@example.net", i), Revision: revision}}
	}
	for i := range maxQueue {
		p.Push(n(i, 1))
	}
	if len(p.retry) != 0 || p.queue.len() != maxQueue {
		t.Errorf("%d wait", p.queue.len())
	}
	for i := range 10 {
		p.Push(n(maxQueue+i, 1))
	}
	p.Push(n(0, 3))
	p.Push(n(0, 2))
	if len(p.queue.order) != maxQueue || len(p.queue.waiting) != maxQueue {
		t.Errorf("%d wait", p.queue.len())
	}
	if len(p.retry) != 1 {
		t.Error("what found no room is not looked for in the store")
	}
	if x, ok := p.queue.next(); !ok || x.Key != "user0@example.net" || x.Revision != 3 {
		t.Errorf("first is %+v", x)
	}
	if !p.underWay(n(1, 1)[0]) || p.underWay(n(1, 2)[0]) || p.underWay(n(0, 1)[0]) {
		t.Error("what is under way is mistaken")
	}
}

func TestABreakerOpensAfterSilenceAndProbesWithOneNotice(t *testing.T) {
	x, now := newBreakers(), time.Now()
	b := x.of("n1")
	for range breakAfter {
		if !b.allow(now) {
			t.Fatal("open too early")
		}
		b.record(false, now)
	}
	if b.allow(now.Add(breakFor - 1)) {
		t.Error("not open")
	}
	now = now.Add(breakFor)
	if first, second := b.allow(now), b.allow(now); !first || second {
		t.Error("not exactly one notice probes")
	}
	b.record(false, now)
	if b.allow(now) || !b.allow(now.Add(breakFor)) {
		t.Error("not open again after a failed probe")
	}
	b.record(true, now)
	for range 2 {
		if !b.allow(now) {
			t.Error("open although the node answers")
		}
	}
	x.reset(func(subjects.NodeID) bool { return false })
	if x.of("n1") == b {
		t.Error("a node that is no member has a breaker")
	}
}

func notice(key string, revision uint64) subscriber.Notice {
	return subscriber.Notice{V: 1, Key: key, Revision: revision}
}

// A notice does not complete a delivery that waits for a newer revision, and an
// older one that ends late does not hide the newer.
func TestDeliveriesWaitForTheirRevision(t *testing.T) {
	f := newInFlight()
	d := &delivery{open: 2, done: make(chan struct{}), behind: make(map[subjects.NodeID]struct{})}
	f.await(d, []subscriber.Notice{notice("a@x", 2), notice("b@x", 3)})
	older, newer := f.begin(notice("a@x", 1)), f.begin(notice("a@x", 2))
	f.expect(newer, []subjects.NodeID{"n1", "n2"})
	f.held(newer, "n1")
	f.end(notice("a@x", 1), older)
	if d.open != 2 || !f.has(notice("a@x", 2)) || f.has(notice("a@x", 3)) {
		t.Errorf("after the older notice: %d keys are open", d.open)
	}
	if missing := f.end(notice("a@x", 2), newer); len(missing) != 1 || missing[0] != "n2" || d.open != 1 {
		t.Errorf("after its notice: %v, %d keys are open", missing, d.open)
	}
	if _, sent, waited := f.abandon(d, notice("b@x", 3)); sent || !waited {
		t.Errorf("a key that was never sent: sent %v, waited %v", sent, waited)
	}
	d.complete(nil)
	<-d.done
	if len(f.waiters) != 0 || len(f.calls) != 0 {
		t.Errorf("left: %v %v", f.waiters, f.calls)
	}
}

func TestBacklogsEndWithTheRevisionThatIsHeld(t *testing.T) {
	x, now := newBacklogs(), time.Now()
	all := func(subjects.NodeID) bool { return true }
	if fell := x.add(notice("a@x", 5), []subjects.NodeID{"n1", "n2"}, now); len(fell) != 2 {
		t.Errorf("fell behind: %v", fell)
	}
	if fell := x.add(notice("b@x", 6), []subjects.NodeID{"n1"}, now); len(fell) != 0 {
		t.Errorf("n1 falls behind twice: %v", fell)
	}
	if done := x.remove(notice("a@x", 4), all); len(done) != 0 {
		t.Errorf("an older revision ends %v", done)
	}
	if done := x.remove(notice("a@x", 5), all); len(done) != 1 || done["n2"] == nil {
		t.Errorf("done %v", done)
	}
	for i := range maxBacklog + 5 {
		x.add(notice(fmt.Sprint("u", i, "@x"), 7), []subjects.NodeID{"n1"}, now)
	}
	if n := x.sizes()["n1"]; n != maxBacklog {
		t.Errorf("%d changes in the backlogs", n)
	}
}

// Requests that come together share a read, and one that ends does not end it.
func TestTrustIsReadOnceForAllRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c recentRead[subscriber.Trust]
		reads, leave := 0, make(chan struct{})
		read := func(ctx context.Context) (*subscriber.Trust, error) {
			reads++
			<-leave
			return withDigest(&subscriber.Trust{Domains: []string{"example.net"}}), ctx.Err()
		}
		first, end := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := c.get(first, read)
			ended <- err
		}()
		synctest.Wait()
		digest := make(chan string, 1)
		go func() {
			x, err := c.get(t.Context(), read)
			if err != nil {
				t.Error(err)
				x = &subscriber.Trust{}
			}
			digest <- x.Digest
		}()
		synctest.Wait()
		end()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the request that ended: %v", err)
		}
		close(leave)
		if d := <-digest; len(d) != 32 || reads != 1 {
			t.Errorf("digest %q after %d reads", d, reads)
		}
		if _, err := c.get(t.Context(), read); err != nil || reads != 1 {
			t.Errorf("a moment later: %d reads, %v", reads, err)
		}
		time.Sleep(readFor)
		if _, err := c.get(t.Context(), read); err != nil || reads != 2 {
			t.Errorf("later: %d reads, %v", reads, err)
		}
	})
}
