package sim

import (
	"net/netip"
	"testing"
	"time"

	"thor/manager/membership"
)

// A mass is who falls silent together in a calm network, and whether the guard against mass silence (G3) takes that for
// an incident: more than a fifth of all nodes, or more than a third of a role, and two at least.
type mass struct {
	members int
	one     []int      // members on one machine…
	at      netip.Addr // …with this address; zero: that of the first of them
	silent  func(s *scene) []*proc
	held    bool
}

// plain are the proxies and the relays that serve nothing else.
func (s *scene) plain() (proxies, relays []*proc) {
	for i, m := range s.members {
		switch {
		case len(m.serve) > 1:
		case i%2 == 0:
			proxies = append(proxies, m.p)
		default:
			relays = append(relays, m.p)
		}
	}
	return proxies, relays
}

func (s *scene) some(indices ...int) (out []*proc) {
	for _, i := range indices {
		out = append(out, s.members[i].p)
	}
	return out
}

// standby is a manager that does not lead.
func (s *scene) standby() *proc {
	for _, m := range s.managers {
		if m != s.leader() {
			return m.p
		}
	}
	return nil
}

// There are three managers, three observers and two brokers beside the members.
var masses = map[string]mass{
	"half of a role, few of all": {members: 12, held: true, silent: func(s *scene) []*proc {
		ps, _ := s.plain()
		return ps[:min(3, len(ps))]
	}},
	"some of each role, many of all": {members: 12, held: true, silent: func(s *scene) []*proc {
		ps, rs := s.plain()
		return append(append(ps[:2:2], rs[:2]...), s.observers[1].p)
	}},
	"some of each role, not many": {members: 12, silent: func(s *scene) []*proc {
		ps, rs := s.plain()
		return append(ps[:1:1], rs[0], s.observers[1].p)
	}},
	"one of two":  {members: 4, silent: func(s *scene) []*proc { return s.some(1) }},
	"one machine": {members: 12, one: []int{0, 1, 2, 3, 4, 5}, silent: func(s *scene) []*proc { return s.some(0, 1, 2, 3, 4, 5) }},
	"most of one machine": {members: 12, one: []int{0, 1, 2, 3, 4, 5}, held: true, silent: func(s *scene) []*proc {
		return s.some(0, 1, 2, 3, 4)
	}},
	"nodes on loopback": {members: 12, one: []int{0, 1, 2, 3, 4, 5}, at: netip.MustParseAddr("127.0.0.1"), held: true, silent: func(s *scene) []*proc {
		return s.some(0, 1, 2, 3, 4, 5)
	}},
	"few, beside a machine of many": {members: 12, one: []int{0, 1, 2, 3, 4, 5}, held: true, silent: func(s *scene) []*proc {
		return append(s.some(6, 7), s.standby(), s.observers[1].p)
	}},
}

// TestScenesOfMasses plays them: who is held is listed for the time of the guard, others go after their silence.
func TestScenesOfMasses(t *testing.T) {
	for name, x := range masses {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(sceneSeeds) {
				s := newScene(t, plan{seed: seed, members: x.members}, func(w *world) {
					for _, i := range x.one {
						p := w.members[i].p
						if p.addr = w.members[x.one[0]].p.addr; x.at.IsValid() {
							p.addr = x.at
						}
					}
				})
				s.brokers[0].kill() // what brokers give up proves nothing for a while after that: silence decides
				s.pass(30 * time.Second)
				silent := x.silent(s)
				for _, p := range silent {
					p.cut = true
				}
				s.changed()
				shown := func() (n int) {
					for _, p := range silent {
						for _, r := range p.app.roles() {
							if s.member(r, p.node) != nil {
								n++
							}
						}
					}
					return n
				}
				all := shown()
				s.pass(15 * time.Second)
				switch n := shown(); {
				case x.held && (n != all || !s.guarded(membership.GuardPanic)):
					t.Errorf("seed %d: %d of %d are listed, guards %+v", seed, n, all, s.leader().core.Guards())
				case !x.held && (n != 0 || s.guarded(membership.GuardPanic)):
					t.Errorf("seed %d: %d of %d are listed, guards %+v", seed, n, all, s.leader().core.Guards())
				}
				for _, b := range s.truth.broken {
					t.Errorf("seed %d: %s", seed, b)
				}
			}
		})
	}
}
