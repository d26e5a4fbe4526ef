package membership_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"thor/manager/membership"
	"thor/subjects"
)

// A siege is a table of some good nodes and one hostile node, whose certificate
// is good for some roles. The routes between brokers, which the hostile node
// fills, are late with announcements; DISCONNECT events have a route of their own.
type siege struct {
	t     *testing.T
	rng   *rand.Rand
	table *membership.Table
	now   time.Duration
	late  []lateWord // announcements on their way
	good  []*victim
	conns int
	seq   uint64
	boot  string
}

type lateWord struct {
	at time.Duration
	a  *subjects.Announcement
}

// A victim is a good node, named as it is, in role.
type victim struct {
	node subjects.NodeID
	role subjects.Role
	via  string
	seq  uint64
	next time.Duration // beat
	dead bool
	due  time.Duration // when it must be out of the status
}

const hostile = "evil"

func besiege(t *testing.T, seed uint64, nodes int) *siege {
	s := &siege{t: t, rng: rand.New(rand.NewPCG(seed, 11)), table: membership.New(membership.Config{})}
	for i := range nodes {
		v := &victim{node: subjects.NodeID(fmt.Sprintf("n%d", i+1)), role: subjects.MediaRelay, via: fmt.Sprintf("b%d#%d", i%3+1, i)}
		if i%2 == 0 {
			v.role = subjects.SIPProxy
		}
		v.next = time.Duration(s.rng.IntN(1000)) * time.Millisecond
		s.good = append(s.good, v)
	}
	s.play(5*time.Second, false)
	return s
}

// play lets d pass in steps, under attack or not.
func (s *siege) play(d time.Duration, attack bool) {
	for end := s.now + d; s.now < end; {
		s.now += 5 * time.Millisecond
		for _, v := range s.good {
			if !v.dead && s.now >= v.next {
				s.beat(v, attack)
				v.next = s.now + time.Duration(900+s.rng.IntN(200))*time.Millisecond
			}
		}
		if attack {
			s.strike()
		}
		s.late = slices.DeleteFunc(s.late, func(w lateWord) bool {
			if w.at > s.now {
				return false
			}
			_ = s.table.Announce(w.a, s.clock()) // it may well be refused
			return true
		})
		for s.table.Next().Before(s.clock()) || s.table.Next().Equal(s.clock()) {
			s.table.Advance(s.clock())
		}
		if s.now%(50*time.Millisecond) == 0 {
			s.check()
		}
	}
}

func (s *siege) clock() time.Time { return t0.Add(s.now) }

// beat sends an announcement on its way; under attack it may take a second.
func (s *siege) beat(v *victim, attack bool) {
	v.seq++
	at := s.now
	if attack {
		at += time.Duration(s.rng.IntN(1000)) * time.Millisecond
	}
	s.late = append(s.late, lateWord{at, &subjects.Announcement{
		V: 1, Node: v.node, Role: v.role, Boot: string(v.node), Seq: v.seq, Via: v.via, Addresses: []netip.Addr{address(string(v.node))},
	}})
}

// strike is one of the things that a hostile certificate can do.
func (s *siege) strike() {
	pick := func(of ...string) string { return of[s.rng.IntN(len(of))] }
	switch s.rng.IntN(20) {
	case 0: // a new process
		s.boot, s.seq = pick("", fmt.Sprint("x", s.rng.IntN(1000))), 0
	case 1: // its connection is cut off, as it is named or not
		s.end(pick("", s.boot, "other", string(s.good[0].node)))
	default:
		s.seq++
		a := &subjects.Announcement{
			V: 1, Node: hostile, Role: subjects.Role(pick("media_relay", "sip_proxy", fmt.Sprintf("role%d", s.rng.IntN(14)))), Boot: s.boot, Seq: s.seq,
			State: subjects.State(pick("", "up", "down", "draining", "leave")), Reason: pick("", "a", "b"), Weight: 1 + s.rng.IntN(100),
			Via: pick("", s.good[0].via, "b1#99", "b9#1", fmt.Sprintf("b%d#%d", 1+s.rng.IntN(3), 100+s.conns)), Addresses: []netip.Addr{address("n200")},
		}
		if a.Boot == "" {
			a.Seq = 0
		}
		if err := a.Check(); err != nil {
			s.t.Fatal(err)
		}
		_ = s.table.Announce(a, s.clock())
	}
}

// end is a broker's word that a connection of the hostile node ended.
func (s *siege) end(name string) {
	s.table.Disconnect(membership.Disconnect{
		Node: hostile, Boot: name, Via: fmt.Sprintf("b%d#%d", 1+s.rng.IntN(3), 100+s.conns), Reason: "Read Error",
	}, s.clock())
	s.conns++
}

// kill ends a good node. Its broker tells of it, or does not: a host that
// vanished is found by silence.
func (s *siege) kill(v *victim, told bool) {
	v.dead = true
	if told {
		reasons := []string{"Client Closed", "Read Error", "Write Error"}
		s.table.Disconnect(membership.Disconnect{Node: v.node, Boot: string(v.node), Via: v.via, Reason: reasons[s.rng.IntN(3)]}, s.clock())
		v.due = s.now + 500*time.Millisecond
		return
	}
	v.due = s.now + 11*time.Second + 100*time.Millisecond // the last beat may be a second late
}

// check looks whether the status holds the good nodes and no dead one.
func (s *siege) check() {
	if s.now < 2*time.Second {
		return
	}
	st := fill(s.t, s.table)
	for _, v := range s.good {
		m := st.Member(v.role, v.node)
		switch {
		case v.dead && m != nil && s.now > v.due:
			s.t.Fatalf("%v: %s is in the status, since %v it must not be: %+v, guards %+v", s.now, v.node, v.due, *m, s.table.Guards())
		case !v.dead && (m == nil || m.State != subjects.Up):
			s.t.Fatalf("%v: %s lives and is not up: %+v", s.now, v.node, m)
		}
	}
}

// Whatever one certificate does, a node that is killed beside it leaves as soon
// as without it, and for good; and no other node goes.
func TestAnAttackDelaysNoRemoval(t *testing.T) {
	for _, told := range []bool{true, false} {
		t.Run(map[bool]string{true: "killed", false: "vanished"}[told], func(t *testing.T) {
			for seed := range uint64(20) {
				s := besiege(t, seed, 7)
				s.play(time.Duration(s.rng.IntN(15_000))*time.Millisecond, true)
				v := s.good[s.rng.IntN(len(s.good))]
				s.kill(v, told)
				s.play(time.Duration(s.rng.IntN(2000))*time.Millisecond, true)
				s.end("") // it is cut off and refused for a minute
				s.play(15*time.Second, false)
				s.play(5*time.Second, true)
			}
		})
	}
}
