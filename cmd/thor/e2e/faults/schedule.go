// Package faults plans what the lab does to a network: kinds of faults as data, and
// a schedule of them that follows from a seed alone. It does nothing itself.
package faults

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"thor/cmd/thor/e2e/trace"
)

// A Topology names what can be hit: hosts with a broker, a manager, a name server and
// an agent each, named like their node; and agents on other hosts.
type Topology struct {
	Core   []string            // hosts, which are nodes too
	Agents map[string][]string // nodes by host, of hosts that have nothing else
	Sites  map[string][]string // hosts by site; nil: the network has none, and none of SiteKinds hits it
}

// agents are the nodes beyond the core, in order.
func (t Topology) agents() (out []string) {
	for _, h := range t.edge() {
		out = append(out, t.Agents[h]...)
	}
	return out
}

// edge are the hosts beyond the core, in order.
func (t Topology) edge() (out []string) {
	for h := range t.Agents {
		out = append(out, h)
	}
	slices.Sort(out)
	return out
}

// Hosts are all, those of the core first.
func (t Topology) Hosts() []string { return append(slices.Clone(t.Core), t.edge()...) }

// Names that are known only when the fault begins. They stand for a host of the core.
const (
	Active  = "{active}"  // whose manager leads
	Standby = "{standby}" // one of the others
	Leader  = "{leader}"  // whose broker leads the bucket of the lease
)

// A Step is one act at a time after the begin of its fault.
type Step struct {
	After time.Duration
	trace.Effect
}

// A Fault is a planned one.
type Fault struct {
	Kind   string
	On     []string
	Settle time.Duration // see Kind
	Steps  []Step        // by time; the last one ends the fault
}

// lasts is the time from the begin to the last step.
func (f Fault) lasts() time.Duration { return f.Steps[len(f.Steps)-1].After }

// A Round is faults that overlap, nearly always one. The next round waits until the
// network has converged, or has had its time to.
type Round struct {
	Gap    time.Duration // before it
	Faults []Fault
	Later  time.Duration // the second fault begins so much later
}

// A Plan says what a schedule may hold.
type Plan struct {
	Seed   uint64
	Rounds int
	Only   []string // kinds; empty: those of sites in a network with sites, else all but those that need a network of their own
	Pairs  bool     // sometimes two faults at once
}

// Schedule plans the rounds. The same plan gives the same schedule. No kind comes a
// second time before all have come.
func Schedule(p Plan, t Topology) ([]Round, error) {
	r := rand.New(rand.NewPCG(p.Seed, 0x7407))
	kinds, err := choose(p.Only, t)
	if err != nil {
		return nil, err
	}
	var deck []Kind
	draw := func() Kind {
		if len(deck) == 0 {
			deck = slices.Clone(kinds)
			r.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
		}
		k := deck[0]
		deck = deck[1:]
		return k
	}
	var rounds []Round
	for range p.Rounds {
		k := draw()
		round := Round{Gap: time.Duration(r.Int64N(int64(3 * time.Second))), Faults: []Fault{k.plan(r, t)}}
		if p.Pairs && r.IntN(5) == 0 && !k.Alone && len(deck) > 0 && !deck[0].Alone {
			second := draw().plan(r, t)
			if !touch(round.Faults[0], second) {
				round.Faults = append(round.Faults, second)
				round.Later = time.Duration(r.Int64N(int64(round.Faults[0].lasts()) + 1))
			}
		}
		rounds = append(rounds, round)
	}
	return rounds, nil
}

// touch reports whether two faults act on the same thing: the end of one would be the
// end of the other.
func touch(a, b Fault) bool {
	for _, s := range a.Steps {
		for _, o := range b.Steps {
			e, x := s.Effect, o.Effect
			if e.Process != "" && x.Process != "" && (e.Process == x.Process || strings.Contains(e.Process+x.Process, "{")) ||
				e.Host != "" && e.Host == x.Host || e.From != "" && x.From != "" || e.Act == trace.Loss && x.Act == trace.Loss {
				return true
			}
		}
	}
	return false
}

// choose finds kinds by name. Without names they are those of sites where the network has
// sites, and all others where not.
func choose(only []string, t Topology) ([]Kind, error) {
	named := Kinds
	if len(t.Sites) > 0 {
		if len(only) == 0 {
			return SiteKinds, nil
		}
		named = slices.Concat(Kinds, SiteKinds)
	}
	if len(only) == 0 {
		return slices.DeleteFunc(slices.Clone(Kinds), func(k Kind) bool { return k.Damped }), nil
	}
	var out []Kind
	for _, name := range only {
		i := slices.IndexFunc(named, func(k Kind) bool { return k.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("no kind of fault is named %q", name)
		}
		out = append(out, named[i])
	}
	return out, nil
}

// plan makes a fault of the kind.
func (k Kind) plan(r *rand.Rand, t Topology) Fault {
	f := Fault{Kind: k.Name, Settle: k.Settle, Steps: k.steps(&dice{r, t})}
	slices.SortStableFunc(f.Steps, func(a, b Step) int { return int(a.After - b.After) })
	for _, s := range f.Steps {
		for _, on := range []string{s.Process, s.Host, s.From, s.To} {
			if on != "" && !slices.Contains(f.On, on) {
				f.On = append(f.On, on)
			}
		}
	}
	return f
}

// dice draw the parts of a fault.
type dice struct {
	*rand.Rand
	t Topology
}

func (d *dice) core() string { return d.t.Core[d.IntN(len(d.t.Core))] }
func (d *dice) edge() string { e := d.t.edge(); return e[d.IntN(len(e))] }

// agent is any agent, of the core too.
func (d *dice) agent() string {
	all := append(slices.Clone(d.t.Core), d.t.agents()...)
	return all[d.IntN(len(all))] + "/" + trace.Agent
}

// between is a time from a to b seconds.
func (d *dice) between(a, b float64) time.Duration {
	return time.Duration((a + d.Float64()*(b-a)) * float64(time.Second)).Round(time.Millisecond)
}

// others are the hosts of the core without one.
func (d *dice) others(host string) []string {
	return slices.DeleteFunc(slices.Clone(d.t.Core), func(h string) bool { return h == host })
}
