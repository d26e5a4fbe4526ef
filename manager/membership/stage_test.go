package membership_test

import (
	"fmt"
	"testing"
	"time"

	"thor/manager/membership"
	"thor/subjects"
)

// A stage is a table whose members beat each second as long as the test lets them.
type stage struct {
	t     testing.TB
	table *membership.Table
	now   time.Time
	acts  []*actor
	seqs  map[string]uint64
	heard []subjects.Event
}

// An actor is one process: while it is not cut off, its beats are heard.
type actor struct {
	node, role, boot, via string
	state                 subjects.State
	routes, peers         string // that it announces, if it is a broker
	site                  subjects.Site
	cut                   bool
}

func newStage(t testing.TB, cfg membership.Config) *stage {
	return &stage{t: t, table: membership.New(cfg), now: t0, seqs: map[string]uint64{}}
}

// cast adds a process of node under role that beats through via.
func (s *stage) cast(node, role, via string) *actor {
	a := &actor{node: node, role: role, boot: "a", via: via}
	s.acts = append(s.acts, a)
	s.beat(a)
	return a
}

// troop adds n processes under role, whose names begin with prefix and whose
// vias are made of via and their number.
func (s *stage) troop(n int, prefix, role, via string) []*actor {
	var out []*actor
	for i := range n {
		out = append(out, s.cast(fmt.Sprintf("%s%02d", prefix, i+1), role, fmt.Sprintf("%s#%s%d", via, prefix, i+1)))
	}
	return out
}

func (s *stage) beat(a *actor) {
	if !a.cut {
		_ = s.table.Announce(s.word(a), s.now)
	}
}

func (s *stage) word(a *actor) *subjects.Announcement {
	k := a.node + a.role + a.boot
	s.seqs[k]++
	out := &subjects.Announcement{
		V: 1, Node: subjects.NodeID(a.node), Role: subjects.Role(a.role), Boot: a.boot, Seq: s.seqs[k], Via: a.via, State: a.state, Addresses: addresses("10.0.0.1"), Site: a.site,
	}
	if a.routes != "" {
		out.Attrs = subjects.Attrs{subjects.AttrRoutes: a.routes}
	}
	if a.peers != "" {
		out.Attrs = subjects.Attrs{subjects.AttrPeers: a.peers}
	}
	return out
}

// pass lets d pass in steps of 100 ms; at each whole second all beat.
func (s *stage) pass(d time.Duration) {
	for end := s.now.Add(d); s.now.Before(end); {
		s.now = s.now.Add(100 * time.Millisecond)
		if s.now.Sub(t0)%time.Second == 0 {
			for _, a := range s.acts {
				s.beat(a)
			}
		}
		s.table.Advance(s.now)
		for _, e := range s.table.Events() {
			s.heard = append(s.heard, e)
			s.t.Logf("%6.1fs %s %s %s: %s", s.now.Sub(t0).Seconds(), e.Kind, e.Role, e.Node, e.Detail)
		}
	}
}

func (s *stage) hangUp(a *actor, reason string) {
	s.table.Disconnect(membership.Disconnect{Node: subjects.NodeID(a.node), Boot: a.boot, Via: a.via, Reason: reason}, s.now)
}

// saysItMoves lets a say that it leaves its connection for another one.
func (s *stage) saysItMoves(a *actor) {
	w := s.word(a)
	w.Moves = true
	_ = s.table.Announce(w, s.now)
}

// moves lets a come back through via.
func (s *stage) moves(a *actor, via string) {
	a.via, a.cut = via, false
	s.beat(a)
}

func (s *stage) status() *subjects.Status {
	st := &subjects.Status{V: 1, Time: s.now}
	s.table.Fill(st)
	return st
}

func (s *stage) listed(a *actor) bool {
	return s.status().Member(subjects.Role(a.role), subjects.NodeID(a.node)) != nil
}

// count is how many members role has in the status.
func (s *stage) count(role subjects.Role) int { return len(s.status().Roles[role]) }

// guard finds an active guard of that name, or returns nil.
func (s *stage) guard(name string) *membership.Guard {
	for _, g := range s.table.Guards() {
		if g.Name == name {
			return &g
		}
	}
	return nil
}
