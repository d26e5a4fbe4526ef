package faults

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"thor/cmd/thor/e2e/trace"
)

// The builds of a network that is upgraded, as N of trace.Build.
const (
	ThisBuild   = 0
	FormerBuild = 1
)

// mixed are the kinds of faults that a network of two versions has to bear.
var mixed = []string{
	"active manager crashes", "broker crashes", "active manager freezes", "agent crashes", "broker freezes", "duplicate agent ends",
	"standby crashes", "name server crashes", "active manager and its host's broker crash", "packets are lost",
}

// An Order of an upgrade says which programs come first.
type Order string

// The orders of an upgrade.
const (
	ByHost        Order = ""         // host by host, with faults between; one host goes back in the middle
	ManagersFirst Order = "managers" // then brokers, name servers and agents
	MembersFirst  Order = "members"  // agents, then name servers, brokers and managers
)

// Rolling plans how a network of the former build becomes one of this build program by
// program, one at a time and without any fault, in the order of managers or members first.
func Rolling(order Order, t Topology) ([]Round, error) {
	programs := []string{trace.Manager, trace.Broker, trace.NameServer, trace.Agent}
	switch order {
	case ManagersFirst:
	case MembersFirst:
		programs = []string{trace.Agent, trace.NameServer, trace.Broker, trace.Manager}
	default:
		return nil, fmt.Errorf("no order of an upgrade is named %q", order)
	}
	var rounds []Round
	for _, p := range programs {
		nodes := slices.Clone(t.Core)
		if p == trace.Agent {
			nodes = append(nodes, t.agents()...)
		}
		for _, n := range nodes {
			k := Kind{Name: p + " is upgraded", steps: func(*dice) []Step { return replaceBuild(ThisBuild, []string{p}, []string{n}) }}
			rounds = append(rounds, Round{Gap: time.Second, Faults: []Fault{k.plan(nil, t)}})
		}
	}
	return rounds, nil
}

// Upgrade plans how a network of the former build becomes one of this build, host by
// host as docs/lab.md says, with faults between; in the middle one host goes back.
func Upgrade(seed uint64, t Topology) ([]Round, error) {
	r := rand.New(rand.NewPCG(seed, 0x0b1d))
	kinds, err := choose(mixed, t)
	if err != nil {
		return nil, err
	}
	r.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	var rounds []Round
	add := func(f Fault) { rounds = append(rounds, Round{Gap: time.Second, Faults: []Fault{f}}) }
	fault := func() {
		add(kinds[0].plan(r, t))
		kinds = kinds[1:]
	}
	core := []string{trace.Broker, trace.Manager, trace.NameServer, trace.Agent}
	change := func(build int, kind string, programs []string, nodes ...string) {
		add(Kind{Name: kind, steps: func(*dice) []Step { return replaceBuild(build, programs, nodes) }}.plan(r, t))
	}
	fault() // all of the former build
	for i, h := range t.Core {
		change(ThisBuild, "host is upgraded", core, h)
		fault()
		if i == 1 {
			change(FormerBuild, "host goes back to the former build", core, h)
			fault()
			change(ThisBuild, "host is upgraded", core, h)
		}
	}
	change(ThisBuild, "agents are upgraded", []string{trace.Agent}, t.agents()...)
	fault()
	return rounds, nil
}

// replaceBuild ends programs gracefully, one after the other, and starts each from
// another build.
func replaceBuild(build int, programs, nodes []string) (out []Step) {
	at := time.Duration(0)
	for _, n := range nodes {
		for _, p := range programs {
			name := fmt.Sprintf("%s/%s", n, p)
			next := on(at+time.Second, trace.Build, name)
			next.N = build
			out = append(out, on(at, trace.Term, name), next, on(at+1100*time.Millisecond, trace.Start, name))
			at += 3 * time.Second
		}
	}
	return out
}
