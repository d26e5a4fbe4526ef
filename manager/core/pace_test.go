package core

import (
	"fmt"
	"testing"
	"time"

	"thor/subjects"
)

// sized is a status with so many members.
func sized(n int) *subjects.Status {
	return &subjects.Status{Roles: map[subjects.Role][]subjects.Member{subjects.SIPProxy: make([]subjects.Member, n)}}
}

// Whatever the size: what changes after a rest is told at once, and two more
// changes 20 ms apart. A storm is told in steps that grow with the network.
func TestGenerationsAreApart(t *testing.T) {
	for _, x := range []struct {
		members int
		joins   bool
		apart   time.Duration
	}{
		{3, false, 20 * time.Millisecond},
		{100, false, 20 * time.Millisecond},
		{1000, false, 200 * time.Millisecond},
		{5000, false, time.Second},
		{3, true, 100 * time.Millisecond},
		{100, true, 100 * time.Millisecond},
		{1000, true, time.Second},
		{5000, true, 2 * time.Second},
	} {
		var r rhythm
		now := time.Date(2026, 11, 30, 1, 2, 3, 0, time.UTC)
		if r.next(false).After(now) {
			t.Fatalf("%d: the first waits", x.members)
		}
		var at []time.Time
		for end := now.Add(20 * time.Second); now.Before(end); now = now.Add(5 * time.Millisecond) { // all the time something changes
			if !now.Before(r.next(x.joins)) {
				r.issued(sized(x.members), x.joins, now)
				at = append(at, now)
			}
		}
		for i := range 3 {
			if gap := at[i+1].Sub(at[i]); gap != 20*time.Millisecond {
				t.Errorf("%d: %s before generation %d", x.members, gap, i+1)
			}
		}
		last := len(at) - 1
		if gap := at[last].Sub(at[last-1]); gap != x.apart {
			t.Errorf("%d: generations of a storm are %s apart, want %s", x.members, gap, x.apart)
		}
		if now = now.Add(5 * x.apart); r.next(x.joins).After(now) {
			t.Errorf("%d: a change after a rest waits %s", x.members, r.next(x.joins).Sub(now))
		}
	}
}

// A thousand members that join within two seconds are told in a few generations.
func TestJoinsOfAStormShareGenerations(t *testing.T) {
	m := newLone(t)
	m.leads(1, 0, 1<<40)
	for i := range 1000 {
		node := subjects.NodeID(fmt.Sprintf("n%03d", i))
		m.vouch(node)
		m.hear(said(subjects.SIPProxy, node, 1))
		m.pass(2 * time.Millisecond)
		m.now = m.now.Add(-18 * time.Millisecond) // pass goes in steps of 20 ms
	}
	m.pass(2 * time.Second)
	if n := len(m.status().Roles[subjects.SIPProxy]); n != 1000 {
		t.Fatalf("%d are listed", n)
	}
	if n := len(all[Delta](m)); n > 60 {
		t.Errorf("%d deltas", n)
	}
}

// The tick tells members how often to beat as soon as all managers understand it.
func TestTickTellsTheBeat(t *testing.T) {
	m := newLone(t)
	m.leads(1, 0, 1<<40)
	m.vouch("n1")
	m.hear(said(subjects.SIPProxy, "n1", 1))
	m.pass(2 * time.Second)
	if k := last[Tick](m); k.Beat != 1000 {
		t.Errorf("beat %d", k.Beat)
	}
}

// A short beat that this manager does not understand makes it ask, within bounds.
func TestManagerAsksForFullAnnouncements(t *testing.T) {
	m := newLone(t)
	m.leads(1, 0, 1<<40)
	for i := range 1000 {
		a := said(subjects.SIPProxy, subjects.NodeID(fmt.Sprintf("n%03d", i)), 1)
		a.Name()
		m.hear(a.Shorten())
	}
	m.pass(time.Second)
	if n := len(all[AskAnnouncement](m)); n < 400 || n > 550 {
		t.Errorf("asked %d in a second", n)
	}
	m.pass(1500 * time.Millisecond)
	if n := len(all[AskAnnouncement](m)); n != 1000 {
		t.Errorf("asked %d in all", n)
	}
}

// Who is lost in a storm of joins is told as soon as without it.
func TestALossDoesNotWaitForJoins(t *testing.T) {
	var r rhythm
	now := time.Date(2026, 11, 30, 1, 2, 3, 0, time.UTC)
	for end := now.Add(20 * time.Second); now.Before(end); now = now.Add(5 * time.Millisecond) {
		if !now.Before(r.next(true)) {
			r.issued(sized(1000), true, now)
		}
	}
	if wait := r.next(false).Sub(r.last); wait > 200*time.Millisecond {
		t.Errorf("a loss waits %v", wait)
	}
	if wait := r.next(true).Sub(r.last); wait != time.Second {
		t.Errorf("a join waits %v", wait)
	}
}
