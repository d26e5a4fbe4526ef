package membership_test

import (
	"strings"
	"testing"
	"time"

	"thor/manager/membership"
	"thor/subjects"
)

// TestEachGuardIsShown raises one guard after the other: it is an event when it
// begins and when it ends, and a value with name, reason and end between.
func TestEachGuardIsShown(t *testing.T) {
	for _, c := range []struct {
		name, reason string
		ends         bool // by time
		raise, end   func(s *stage, p []*actor)
	}{
		{
			membership.GuardLast, "no member is up, the failed ones stay", false,
			func(s *stage, p []*actor) {
				for _, a := range p {
					a.cut = true
					s.hangUp(a, "Client Closed")
				}
				s.pass(time.Second)
			},
			func(s *stage, p []*actor) { s.moves(p[0], "b2#9") },
		},
		{
			membership.GuardPanic, "4 of 10 nodes fell silent at once", true,
			func(s *stage, p []*actor) { cut(p[:4]); s.pass(11 * time.Second) },
			func(s *stage, _ []*actor) { s.pass(2 * time.Minute) },
		},
		{
			membership.GuardObserver, "this manager was cut off", true,
			func(s *stage, _ []*actor) { s.table.Blind(s.now) },
			func(s *stage, _ []*actor) { s.pass(13 * time.Second) },
		},
		{
			membership.GuardBroker, "all that beat through it are silent", true,
			func(s *stage, p []*actor) { cut(p); s.pass(10500 * time.Millisecond) },
			func(s *stage, p []*actor) {
				for i, a := range p {
					s.moves(a, "b2#"+string(rune('a'+i)))
				}
			},
		},
		{
			membership.GuardDamping, "left and came back too often, out for 30s of steady beats", true,
			func(s *stage, p []*actor) {
				for _, state := range []subjects.State{subjects.Down, subjects.Up, subjects.Down, subjects.Up, subjects.Down, subjects.Up} {
					p[0].state = state
					s.beat(p[0])
				}
			},
			func(s *stage, _ []*actor) { s.pass(31 * time.Second) },
		},
		{
			membership.GuardChecks, "the checks of 6 of 10 nodes failed within a minute", false,
			func(s *stage, p []*actor) {
				for _, a := range p[:6] {
					a.state = subjects.Down
				}
				s.pass(time.Second)
			},
			func(s *stage, p []*actor) {
				for _, a := range p {
					a.state = subjects.Up
				}
				s.pass(32 * time.Second)
			},
		},
		{
			membership.GuardHold, "an operator keeps the failed members", true,
			func(s *stage, p []*actor) { cut(p[:4]); s.pass(11 * time.Second); s.table.Hold("", s.now) },
			func(s *stage, _ []*actor) { s.table.Confirm("", s.now) },
		},
		{
			membership.GuardSite, "ams: all 10 nodes are silent, the other sites are heard", true,
			func(s *stage, p []*actor) { cut(p); s.pass(4 * time.Second) },
			func(s *stage, p []*actor) { s.moves(p[0], "b2#9") },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, membership.Config{TrustAnnouncedSites: true})
			s.troop(12, "m", "media_relay", "b2")
			p := s.troop(10, "p", "sip_proxy", "b1")
			if c.name == membership.GuardSite {
				for _, a := range s.acts {
					a.site = map[string]subjects.Site{"sip_proxy": "ams", "media_relay": "fra"}[a.role]
				}
			}
			s.pass(20 * time.Second)
			if s.heard = nil; len(s.table.Guards()) != 0 {
				t.Fatalf("guards %v", s.table.Guards())
			}
			c.raise(s, p)
			g := s.guard(c.name)
			if g == nil || g.Detail != c.reason || g.Since.IsZero() || g.End.IsZero() == c.ends || !g.End.IsZero() && !g.End.After(s.now) {
				t.Errorf("guard %+v at %v", g, s.now)
			}
			c.end(s, p)
			s.pass(100 * time.Millisecond)
			if g := s.guard(c.name); g != nil {
				t.Errorf("it does not end: %+v", g)
			}
			var begins, ends int
			for _, e := range s.heard {
				switch {
				case e.Kind == subjects.EventGuard && strings.HasPrefix(e.Detail, c.name+": "):
					begins++
				case e.Kind == subjects.EventGuardEnd && (e.Detail == c.name || strings.HasPrefix(e.Detail, c.name+": ")):
					ends++
				}
			}
			if begins != ends || begins == 0 {
				t.Errorf("%d events say that it began, %d that it ended: %v", begins, ends, s.heard)
			}
		})
	}
}

func cut(as []*actor) {
	for _, a := range as {
		a.cut = true
	}
}
