package track

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"thor/subjects"
)

// A storm is many trackers and the managers that answer them one request after
// the other, in virtual time.
type storm struct {
	now      time.Time
	queue    wakes
	rng      *rand.Rand
	members  []*stormMember
	managers []*stormManager
	service  time.Duration // an answer costs a manager so much
	status   *subjects.Status
	encoded  []byte
	planned  int
	late     int // requests that were dropped, since their askers had given up
}

type stormMember struct {
	*Tracker
	wake  time.Time
	asked int
}

type stormManager struct {
	waiting []stormRequest
	busy    bool
}

type stormRequest struct {
	from  *stormMember
	asked int
	at    time.Time
}

// A wake is something to do at a time; equal times in the order in which they were planned.
type wake struct {
	at time.Time
	n  int
	do func()
}

type wakes []wake

func (q wakes) Len() int { return len(q) }
func (q wakes) Less(i, j int) bool {
	return q[i].at.Before(q[j].at) || q[i].at.Equal(q[j].at) && q[i].n < q[j].n
}
func (q wakes) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *wakes) Push(x any)   { *q = append(*q, x.(wake)) }
func (q *wakes) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

func (s *storm) at(t time.Time, do func()) {
	s.planned++
	heap.Push(&s.queue, wake{t, s.planned, do})
}

func (s *storm) run(until time.Time) {
	for len(s.queue) > 0 && s.queue[0].at.Before(until) {
		w := heap.Pop(&s.queue).(wake)
		s.now = w.at
		w.do()
	}
	s.now = until
}

// step lets a member do what is due, and plans when it is asked again.
func (s *storm) step(m *stormMember) {
	if req, _ := m.Advance(s.now); req != nil {
		m.asked++
		manager := s.managers[s.rng.IntN(len(s.managers))]
		manager.waiting = append(manager.waiting, stormRequest{m, m.asked, s.now})
		s.serve(manager)
	}
	next := m.Next()
	if next.IsZero() || m.wake.After(s.now) && !next.Before(m.wake) {
		return
	}
	m.wake = next
	s.at(next, func() {
		if m.wake.Equal(s.now) {
			s.step(m)
		}
	})
}

// serve has a manager answer its oldest request whose asker still waits.
func (s *storm) serve(m *stormManager) {
	for !m.busy && len(m.waiting) > 0 {
		r := m.waiting[0]
		m.waiting = m.waiting[1:]
		if s.now.Sub(r.at) > subjects.SnapshotPatience*2/3 {
			s.late++
			continue
		}
		m.busy = true
		s.at(s.now.Add(s.service), func() {
			m.busy = false
			if r.asked == r.from.asked && r.from.Asking(s.now) {
				_, _ = r.from.Snapshot(s.status, s.encoded, 0, s.now)
				s.step(r.from)
			}
			s.serve(m)
		})
	}
}

// behind is how many members do not have the newest status.
func (s *storm) behind() (n int) {
	for _, m := range s.members {
		if m.Mark() != s.status.Mark() || m.Stale {
			n++
		}
	}
	return n
}

func newStorm(members, managers int, service time.Duration, roles ...subjects.Role) *storm {
	s := &storm{now: t0, rng: rand.New(rand.NewPCG(1, 2)), service: service, status: newHistory(generations(1, 1)...).statuses[0]}
	s.encoded = s.status.Encode()
	for range managers {
		s.managers = append(s.managers, &stormManager{})
	}
	chance := func(d time.Duration) time.Duration { return time.Duration(s.rng.Int64N(int64(max(d, 1)))) }
	for range members {
		m := &stormMember{Tracker: New(30*time.Second, chance)}
		if len(roles) > 0 {
			m.Tracker = NewPart(30*time.Second, chance, roles)
		}
		s.members = append(s.members, m)
	}
	return s
}

// tick is the word of the active manager to all members, as that of a network of
// this size.
func (s *storm) tick(serving int) {
	k := &subjects.Tick{V: 1, Epoch: 1, Generation: s.status.Generation, Digest: subjects.Digest(s.encoded), Counts: map[subjects.Role]int{"sip_proxy": serving}}
	roles := &subjects.RoleTick{V: 1, Epoch: 1, Generation: s.status.Generation, Members: serving, Roles: s.status.RoleDigests()}
	for _, m := range s.members {
		_, _ = m.RoleTick(roles, s.now)
		_, _ = m.Tick(k, s.now)
		s.step(m)
	}
}

// Every member of a large network misses twenty changes in a row, or all start
// within five seconds. Managers that answer a request in the time that one
// encoding for all takes make them current soon.
func TestAStormOfRequestsEnds(t *testing.T) {
	for _, c := range []struct {
		name              string
		members, managers int
		service           time.Duration
		changes           int
		most              time.Duration
		roles             []subjects.Role // nil: all
	}{
		{"one change, three managers", 5000, 3, time.Millisecond, 1, 15 * time.Second, nil},
		{"twenty changes, three managers", 5000, 3, time.Millisecond, 20, 20 * time.Second, nil},
		{"twenty changes, one manager", 5000, 1, time.Millisecond, 20, 25 * time.Second, nil},
		{"twenty changes, one slow manager", 5000, 1, 4 * time.Millisecond, 20, 60 * time.Second, nil},
		{"all start, one manager", 5000, 1, time.Millisecond, 0, 20 * time.Second, nil},
		{"twenty changes of a role that is followed", 2000, 1, time.Millisecond, 20, 25 * time.Second, []subjects.Role{"sip_proxy"}},
		{"all that follow a role start", 5000, 1, time.Millisecond, 0, 20 * time.Second, []subjects.Role{"sip_proxy"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStorm(c.members, c.managers, c.service, c.roles...)
			for _, m := range s.members {
				if c.changes > 0 { // they have been members for long
					m.Online(s.now)
					m.Advance(s.now.Add(time.Second))
					_, _ = m.Snapshot(s.status, s.encoded, 0, s.now)
					continue
				}
				s.at(t0.Add(time.Duration(s.rng.Int64N(int64(5*time.Second)))), func() { m.Online(s.now); s.step(m) })
			}
			for i := range c.changes {
				s.at(t0.Add(time.Duration(i+1)*200*time.Millisecond), func() {
					next := s.status.Clone()
					next.Generation++
					if c.roles != nil {
						next.Put("sip_proxy", testMember(fmt.Sprintf("c%d", i)))
					}
					d := subjects.Diff(s.status, next)
					d.Reload = true
					s.status, s.encoded = next, next.Encode()
					lost := &subjects.RoleDelta{V: 1, Epoch: 1, Generation: next.Generation, Role: "sip_proxy", Reload: true}
					for _, m := range s.members {
						_, _ = m.Delta(d, s.now)
						_, _ = m.RoleDelta(lost, s.now)
						s.step(m)
					}
				})
			}
			for i := range 300 {
				s.at(t0.Add(time.Duration(i)*time.Second+500*time.Millisecond), func() { s.tick(c.members) })
			}
			took := time.Duration(0)
			for line := ""; took < c.most; {
				took += time.Second
				s.run(t0.Add(took))
				left := s.behind()
				line += fmt.Sprint(" ", left)
				if left == 0 && took > time.Duration(c.changes)*200*time.Millisecond+5*time.Second {
					t.Logf("behind, by seconds:%s; %d requests came too late", line, s.late)
					return
				}
			}
			t.Errorf("after %v %d of %d members are behind; %d requests came too late", took, s.behind(), c.members, s.late)
		})
	}
}
