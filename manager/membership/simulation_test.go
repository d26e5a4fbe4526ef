package membership_test

import (
	"flag"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"testing"
	"time"

	"thor/manager/membership"
	"thor/subjects"
)

var (
	oneSeed   = flag.Int("seed", -1, "play this seed of the simulation only, and print all that happens")
	manySeeds = flag.Int("seeds", 200, "how many seeds of the simulation to play")
)

// simulated has hold-downs short enough to end within a simulation.
func simulated() membership.Config {
	return membership.Config{MaxHoldDown: time.Minute, Identities: true}
}

// TestNoLiveMemberVanishesUnderRandomFaults plays many seeds of a network of 30
// nodes and 3 brokers under random faults, then heals it.
func TestNoLiveMemberVanishesUnderRandomFaults(t *testing.T) {
	if *oneSeed >= 0 {
		w := newWorld(uint64(*oneSeed), 30, simulated())
		w.trace = func(line string) { fmt.Println(line) }
		w.chaos()
		for _, b := range w.broken {
			t.Error(b)
		}
		return
	}
	seeds := uint64(*manySeeds)
	if testing.Short() {
		seeds = 30
	}
	faults, removals := map[string]int{}, map[string]int{}
	for seed := range seeds {
		w := newWorld(seed, 30, simulated())
		if seed%20 == 0 {
			w.hash = fnv.New64a()
		}
		w.chaos()
		for k, n := range w.faults {
			faults[k] += n
		}
		for k, n := range w.removals {
			removals[k] += n
		}
		for _, b := range w.broken {
			t.Errorf("seed %d (play it with -seed %d): %s", seed, seed, b)
		}
		if w.hash != nil {
			again := newWorld(seed, 30, simulated())
			again.hash = fnv.New64a()
			if again.chaos(); again.hash.Sum64() != w.hash.Sum64() {
				t.Errorf("seed %d: the same calls gave other bytes", seed)
			}
		}
		if t.Failed() {
			break
		}
	}
	t.Logf("faults %v, removals %v", faults, removals)
	for k := range kinds {
		if faults[k] == 0 {
			t.Errorf("no seed played %q", k)
		}
	}
}

// chaos plays two minutes of random faults, heals everything and looks whether
// the status then tells the truth.
func (w *world) chaos() {
	names := slices.Sorted(maps.Keys(kinds))
	w.run(15 * time.Second)
	for w.now < 135*time.Second {
		k := names[w.rng.IntN(len(names))]
		if kinds[k](w) {
			w.log("fault: %s", k)
			w.faults[k]++
		}
		if w.rng.IntN(3) > 0 {
			w.run(w.between(0, 8000))
		}
	}
	w.run(60 * time.Second) // all faults with an end are over
	w.run(80 * time.Second) // longest hold-down, panic
	w.settled()
}

// kinds are the faults. Each ends by itself or is final for its process; false
// means that it does not fit at the moment.
var kinds = map[string]func(w *world) bool{
	"kill": func(w *world) bool {
		p := w.pick()
		return p != nil && w.kill(p)
	},
	"kill and restart": func(w *world) bool {
		p := w.pick()
		if p == nil || !w.kill(p) {
			return false
		}
		w.after(w.between(200, 20_000), func() { w.start(p) })
		return true
	},
	"leave": func(w *world) bool {
		p := w.pick()
		if p == nil || p.connected < 0 || !p.broker.sound() {
			return false
		}
		w.say(p, subjects.Leave)
		p.left, p.leaving, p.alive = true, true, false
		w.hangUp(p, "Client Closed", w.between(4, 30))
		if w.rng.IntN(2) == 0 {
			w.after(w.between(500, 20_000), func() { w.start(p) })
		}
		return true
	},
	"freeze": func(w *world) bool {
		p := w.pick()
		if p == nil || p.connected < 0 {
			return false
		}
		p.frozen = true
		life, via := p.life, p.via
		w.after(w.between(3000, 3800), func() {
			if p.life == life && p.frozen && p.via == via {
				w.hangUp(p, "Stale Connection", 0)
			}
		})
		w.after(w.between(500, 25_000), func() {
			if p.life == life {
				p.frozen = false
				w.connect(p, w.between(50, 300))
			}
		})
		return true
	},
	"cut off": func(w *world) bool {
		p := w.pick()
		if p == nil || p.connected < 0 {
			return false
		}
		p.cutoff = true
		life, via := p.life, p.via
		w.after(w.between(3000, 3800), func() {
			if p.life == life && p.cutoff && p.via == via {
				w.hangUp(p, "Stale Connection", 0)
			}
		})
		w.after(w.between(1000, 30_000), func() {
			p.cutoff = false
			if p.life == life {
				w.connect(p, w.between(50, 300))
			}
		})
		return true
	},
	"path to the broker": func(w *world) bool {
		// The client finds out after 2 to 3 s and goes elsewhere, the broker
		// after 3 to 3.8 s: both orders occur.
		p := w.pick()
		if p == nil || p.connected < 0 || slices.ContainsFunc(w.brokers, func(b *simBroker) bool { return !b.sound() }) {
			return false
		}
		w.hangUp(p, "Stale Connection", w.between(3000, 3800))
		w.connect(p, w.between(2000, 3300))
		return true
	},
	"down": func(w *world) bool {
		p := w.pick()
		if p == nil {
			return false
		}
		p.state, p.downs = subjects.Down, w.now
		w.beat(p)
		life := p.life
		w.after(w.between(500, 20_000), func() {
			if p.life == life {
				p.state = subjects.Up
				w.beat(p)
			}
		})
		return true
	},
	"drain": func(w *world) bool {
		p := w.pick()
		if p == nil {
			return false
		}
		p.state = subjects.Draining
		w.beat(p)
		life := p.life
		w.after(w.between(500, 20_000), func() {
			if p.life == life {
				p.state = subjects.Up
				w.beat(p)
			}
		})
		return true
	},
	"flap": func(w *world) bool {
		p := w.pick()
		if p == nil {
			return false
		}
		for i := range 6 {
			w.after(time.Duration(i)*4*time.Second, func() {
				if w.kill(p) {
					w.after(2*time.Second, func() { w.start(p) })
				}
			})
		}
		return true
	},
	"broker dies": func(w *world) bool {
		b := w.brokers[w.rng.IntN(len(w.brokers))]
		if !w.allSound() {
			return false
		}
		b.alive, b.stuck = false, nil
		clear(b.words)
		w.abandon(b, func() time.Duration { return w.between(60, 400) })
		w.after(w.between(2000, 30_000), func() {
			b.alive = true
			for _, p := range w.procs {
				if p.server() && p.broker == b {
					w.start(p)
				}
			}
		})
		return true
	},
	"broker freezes": func(w *world) bool {
		b := w.brokers[w.rng.IntN(len(w.brokers))]
		if !w.allSound() {
			return false
		}
		b.frozen = true
		until := w.between(1000, 30_000)
		for _, p := range w.procs {
			if p.connected < 0 || p.broker != b {
				continue
			}
			life, via := p.life, p.via
			if found := w.between(3000, 6000); found < until {
				w.after(found, func() {
					if p.life == life && p.via == via && p.alive && !p.frozen && !p.server() && p.connected >= 0 {
						w.hangUp(p, "Client Closed", 0) // told when the broker thaws
						p.cause, p.lost = "", w.now-found
						w.connect(p, w.between(50, 300))
					}
				})
			}
		}
		w.after(until, func() {
			b.frozen, b.rejoined = false, w.now
			stuck := b.stuck
			b.stuck = nil
			for _, do := range stuck {
				w.carry(b, do)
			}
		})
		return true
	},
	"broker apart": func(w *world) bool {
		b := w.brokers[w.rng.IntN(len(w.brokers))]
		if !w.allSound() {
			return false
		}
		b.apart = true
		w.after(w.between(1000, 40_000), func() { b.apart, b.rejoined = false, w.now })
		return true
	},
	"manager paused": func(w *world) bool {
		o := w.observer()
		if o.paused || o.cut {
			return false
		}
		o.paused = true
		w.after(w.between(500, 30_000), func() {
			o.paused = false
			held := o.held
			o.held = nil
			for _, do := range held {
				do(o)
			}
			w.check(o)
			w.arm(o)
		})
		return true
	},
	"manager cut off": func(w *world) bool {
		o := w.observer()
		if o.paused || o.cut {
			return false
		}
		o.cut, o.cutAt = true, w.now
		w.after(w.between(500, 30_000), func() {
			o.cut = false
			o.table.Blind(w.clock())
			w.ask(o)
			w.arm(o)
		})
		return true
	},
	"renewal with another address": func(w *world) bool {
		p := w.pick()
		if p == nil || p.connected < 0 {
			return false
		}
		w.renew(p)
		w.hangUp(p, "Client Closed", w.between(4, 30)) // it connects again with the new one
		w.connect(p, w.between(1, 50))
		return true
	},
	"broker is upgraded": func(w *world) bool {
		for _, b := range w.brokers {
			if b.words == nil && w.allSound() && w.rng.IntN(4) == 0 {
				b.alive, b.stuck, b.words = false, nil, map[string]subjects.Identity{}
				w.abandon(b, func() time.Duration { return w.between(60, 400) })
				w.after(w.between(2000, 4000), func() {
					b.alive = true
					w.start(w.proc(subjects.NodeID(b.name)))
				})
				return true
			}
		}
		return false
	},
	"standby takes over": func(w *world) bool {
		if w.standby.paused || w.standby.cut {
			return false
		}
		w.takeOver(w.standby, observe(simulated()))
		return true
	},
	"cold manager takes over": func(w *world) bool {
		w.takeOver(observe(simulated()), observe(simulated()))
		return true
	},
}

// observer draws one of the managers.
func (w *world) observer() *observer {
	if w.rng.IntN(2) == 0 {
		return w.active
	}
	return w.standby
}

func (b *simBroker) sound() bool { return b.alive && !b.frozen && !b.apart }

func (w *world) allSound() bool {
	return !slices.ContainsFunc(w.brokers, func(b *simBroker) bool { return !b.sound() })
}

// pick draws a live process that is not a broker, or returns nil.
func (w *world) pick() *proc {
	p := w.procs[w.rng.IntN(len(w.procs))]
	if !p.alive || p.frozen || p.cutoff || p.server() {
		return nil
	}
	return p
}

func (w *world) kill(p *proc) bool {
	if !p.alive {
		return false
	}
	p.alive = false
	w.hangUp(p, "Client Closed", w.between(4, 30))
	return true
}

// abandon lets all who are connected to the dead b look elsewhere.
func (w *world) abandon(b *simBroker, d func() time.Duration) {
	for _, p := range w.procs {
		if p.broker != b || p.connected < 0 {
			continue
		}
		p.connected, p.lost, p.cause = -1, w.now, ""
		w.log("%s loses its broker %s", p.node, b.name)
		if p.server() {
			p.alive = false
			continue
		}
		w.connect(p, d())
	}
}

// settled looks whether the status tells the truth, a while after the last
// fault: who lives is there, who is dead is gone or a suspect with a reason.
func (w *world) settled() {
	s := &subjects.Status{V: 1}
	w.active.table.Fill(s)
	w.checkLosses(s)
	guarded := map[subjects.Role]bool{}
	for _, g := range w.active.table.Guards() {
		if g.Name == membership.GuardPanic || g.Name == membership.GuardLast {
			guarded[g.Role] = true
		} else {
			w.broke("guard %s still on: %s", g.Name, g.Detail)
		}
	}
	for _, p := range w.procs {
		for _, r := range p.roles {
			m := s.Member(r, subjects.NodeID(p.node))
			switch {
			case p.alive && m == nil:
				w.broke("%s as %s lives and is not listed", p.node, r)
			case p.alive && m.State != p.state:
				w.broke("%s as %s is %s, not %s (%s)", p.node, r, p.state, m.State, m.Reason)
			case !p.alive && m != nil && !guarded[r] && !guarded[""]:
				w.broke("%s as %s is dead and still listed as %s (%s)", p.node, r, m.State, m.Reason)
			case !p.alive && m != nil && m.State == subjects.Up:
				w.broke("%s as %s is dead and up", p.node, r)
			}
		}
	}
	for pair, why := range w.missing {
		if s.FindLost(pair.Role, pair.Node) == nil && s.FindHeld(pair.Role, pair.Node) == nil && s.Member(pair.Role, pair.Node) == nil {
			w.broke("%s as %s was removed and is not lost: %s", pair.Node, pair.Role, why)
		}
	}
	if n := w.active.table.Counts().Inherited; n > 0 {
		w.broke("%d members were never heard", n)
	}
}

// TestDeadMemberIsOutInTime measures the way out of one member in an otherwise
// sound network, for each way to die.
func TestDeadMemberIsOutInTime(t *testing.T) {
	for _, c := range []struct {
		name string
		die  func(w *world, p *proc)
		max  time.Duration
	}{
		{"killed", func(w *world, p *proc) { w.kill(p) }, 600 * time.Millisecond},
		{"killed soon after its restart", func(w *world, p *proc) {
			w.kill(p)
			w.run(w.between(100, 3000))
			w.start(p)
			w.run(w.between(50, 2500))
			w.kill(p)
		}, 600 * time.Millisecond},
		{"killed soon after a standby took over", func(w *world, p *proc) {
			w.takeOver(w.standby, observe(simulated()))
			w.run(w.between(1, 2500))
			w.kill(p)
		}, 600 * time.Millisecond},
		{"killed, its DISCONNECT lost", func(w *world, p *proc) { p.alive, p.connected = false, -1 }, 11 * time.Second},
		{"frozen", func(w *world, p *proc) {
			p.frozen = true
			w.after(w.between(3000, 3800), func() { w.hangUp(p, "Stale Connection", 0) })
		}, 5400 * time.Millisecond},
		{"left", func(w *world, p *proc) { w.say(p, subjects.Leave); p.left, p.alive = true, false }, 50 * time.Millisecond},
		{"its broker died with it", func(w *world, p *proc) {
			b := p.broker
			b.alive, p.alive = false, false
			w.abandon(b, func() time.Duration { return w.between(60, 400) })
		}, 14500 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			var worst time.Duration
			for seed := range uint64(40) {
				w := newWorld(seed, 30, simulated())
				w.orderly = true
				w.run(20 * time.Second)
				p := w.procs[w.rng.IntN(30)]
				if p.plain { // silence only
					continue
				}
				c.die(w, p)
				worst = max(worst, w.untilGone(p))
				for _, b := range w.broken {
					t.Errorf("seed %d: %s", seed, b)
				}
			}
			if worst > c.max || worst == 0 {
				t.Errorf("out after %v, promised %v", worst, c.max)
			}
		})
	}
}

// untilGone is how long it takes until p is in no role, where others are.
func (w *world) untilGone(p *proc) time.Duration {
	from := w.now
	for ; w.now-from < time.Minute; w.run(10 * time.Millisecond) {
		s := &subjects.Status{V: 1}
		w.active.table.Fill(s)
		if !slices.ContainsFunc(p.roles, func(r subjects.Role) bool { return s.Member(r, subjects.NodeID(p.node)) != nil }) {
			return w.now - from
		}
	}
	w.broke("%s does not go: %v", p.node, w.active.table.Guards())
	return w.now - from
}

func ExampleTable() {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	t := membership.New(membership.Config{})
	say := func(node, role string, state subjects.State) {
		_ = t.Announce(&subjects.Announcement{
			V: 1, Node: subjects.NodeID(node), Role: subjects.Role(role), State: state, Addresses: slices.Clip(addresses("10.0.0.1")),
		}, now)
	}
	say("n1", "sip_proxy", subjects.Up)
	say("n2", "sip_proxy", subjects.Up)
	say("n1", "sip_proxy", subjects.Leave)
	for _, e := range t.Events() {
		fmt.Println(e.Kind, e.Role, e.Node, e.Detail)
	}
	// Output:
	// join sip_proxy n1 up
	// join sip_proxy n2 up
	// leave sip_proxy n1 left
}
