package provisioning

import (
	"fmt"
	"testing"
	"time"

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
	var l Live
	l.courier.init()
	m, err := newLiveMetrics(nil, &l)
	if err != nil {
		t.Fatal(err)
	}
	l.metrics = m
	n := func(i int, revision uint64) Notices {
		return Notices{{V: 1, Key: fmt.Sprintf("user%d@example.net", i), Revision: revision}}
	}
	for i := range maxQueue + 10 {
		l.Push(n(i, 1))
	}
	l.Push(n(0, 3))
	l.Push(n(0, 2))
	if len(l.courier.order) != maxQueue || len(l.courier.waiting) != maxQueue {
		t.Errorf("%d wait", len(l.courier.order))
	}
	select {
	case <-l.courier.soon:
	default:
		t.Error("what found no room is not looked for in the store")
	}
	if x, ok := l.courier.next(); !ok || x.Key != "user0@example.net" || x.Revision != 3 {
		t.Errorf("first is %+v", x)
	}
	if !l.underWay(n(1, 1)[0]) || l.underWay(n(1, 2)[0]) || l.underWay(n(0, 1)[0]) {
		t.Error("what is under way is mistaken")
	}
}

func TestASilentNodeIsAskedByOneAtATime(t *testing.T) {
	var c courier
	c.init()
	now := time.Now()
	x := c.target("n1")
	for range breakAfter {
		if !c.enter(x, now) {
			t.Fatal("left alone too early")
		}
		c.heard(x, false, now)
	}
	if c.enter(x, now.Add(breakFor-1)) {
		t.Error("not left alone")
	}
	now = now.Add(breakFor)
	if first, second := c.enter(x, now), c.enter(x, now); !first || second {
		t.Error("not exactly one finds out")
	}
	c.heard(x, false, now)
	if c.enter(x, now) || !c.enter(x, now.Add(breakFor)) {
		t.Error("and again after its silence")
	}
	c.heard(x, true, now)
	for range 2 {
		if !c.enter(x, now) {
			t.Error("one that answers is left alone")
		}
	}
	c.forget(func(subjects.NodeID) bool { return false })
	if c.target("n1") == x {
		t.Error("one that is gone is remembered")
	}
}
