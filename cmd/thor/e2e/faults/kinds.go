package faults

import (
	"slices"
	"time"

	"thor/cmd/thor/e2e/trace"
)

// A Kind is one way to break a network.
type Kind struct {
	Name   string
	Expect string        // what must hold beyond the invariants, for readers
	Alone  bool          // never together with another
	Damped bool          // needs a network that damps flaps; the others run without
	Settle time.Duration // more than others take until the network is whole again
	steps  func(*dice) []Step
}

// Skipped are faults that this lab cannot make, and why.
var Skipped = map[string]string{
	"wall clock set back or forward": "a Go program reads the machine's clock past faketime, and the machine has one for all: the simulation moves clocks",
	"power cut of a disk":            "the election and the status live in memory buckets; files are killed at random moments by the tests of identity/atomicfile",
	"memory limit":                   "needs a control group of the machine: broker/flood_test.go runs a broker at its limit",
}

// Kinds are all there are.
var Kinds = slices.Concat(agentKinds, managerKinds, brokerKinds, nameServerKinds, networkKinds, identityKinds)

func on(after time.Duration, act trace.Act, process string) Step {
	return Step{after, trace.Effect{Act: act, Process: process}}
}

func at(after time.Duration, act trace.Act, host string, n int) Step {
	return Step{after, trace.Effect{Act: act, Host: host, N: n}}
}

// each is a step on the same program of several nodes.
func each(after time.Duration, act trace.Act, program string, nodes ...string) (out []Step) {
	for _, n := range nodes {
		out = append(out, on(after, act, n+"/"+program))
	}
	return out
}

// outage stops a process by one act and ends that by another.
func outage(begin, end trace.Act, from, to float64, process func(*dice) string) func(*dice) []Step {
	return func(d *dice) []Step {
		p := process(d)
		return []Step{on(0, begin, p), on(d.between(from, to), end, p)}
	}
}

func anAgent(d *dice) string { return d.agent() }

func program(node, program string) func(*dice) string {
	return func(*dice) string { return node + "/" + program }
}

func anyOf(program string) func(*dice) string {
	return func(d *dice) string { return d.core() + "/" + program }
}

var agentKinds = []Kind{
	{Name: "agent crashes", steps: outage(trace.Kill, trace.Start, 3, 8, anAgent)},
	{Name: "agent leaves", steps: outage(trace.Term, trace.Start, 2, 6, anAgent)},
	{Name: "agent pauses", Expect: "no removal", steps: outage(trace.Freeze, trace.Continue, 1, 2.2, anAgent)},
	{Name: "agent freezes", steps: outage(trace.Freeze, trace.Continue, 7, 12, anAgent)},
	{Name: "agent stutters", Expect: "no removal", steps: outage(trace.Stutter, trace.Smooth, 6, 10, anAgent)},
	{Name: "service dies", steps: outage(trace.ServiceDown, trace.ServiceUp, 4, 8, anAgent)},
	{Name: "agent is drained", Expect: "listed, not in DNS", steps: outage(trace.Drain, trace.Resume, 3, 6, anAgent)},
	{Name: "agent flaps", Expect: "held back", Damped: true, Alone: true, Settle: 90 * time.Second, steps: func(d *dice) (out []Step) {
		p := d.agent()
		for i := range 4 {
			out = append(out, on(time.Duration(i)*8*time.Second, trace.Kill, p), on(time.Duration(i)*8*time.Second+4*time.Second, trace.Start, p))
		}
		return out
	}},
	{Name: "a third of the agents dies", Expect: "guards delay", steps: func(d *dice) (out []Step) {
		nodes := d.t.agents()
		d.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
		nodes = nodes[:3]
		return append(each(0, trace.Kill, trace.Agent, nodes...), each(d.between(8, 14), trace.Start, trace.Agent, nodes...)...)
	}},
	{Name: "agent loses its disk", steps: func(d *dice) []Step {
		p := d.agent()
		return []Step{on(0, trace.Kill, p), on(time.Second, trace.Wipe, p), on(d.between(1.2, 4), trace.Start, p)}
	}},
	{Name: "agent's announcement is replayed", Expect: "ignored", steps: func(d *dice) []Step {
		p := d.agent()
		return []Step{on(0, trace.ReplayMember, p), on(time.Second, trace.ReplayMember, p), on(2*time.Second, trace.ReplayMember, p)}
	}},
}

var managerKinds = []Kind{
	{Name: "active manager crashes", steps: outage(trace.Kill, trace.Start, 2, 6, program(Active, trace.Manager))},
	{Name: "active manager leaves", steps: outage(trace.Term, trace.Start, 2, 6, program(Active, trace.Manager))},
	{Name: "active manager pauses", Expect: "no removal", steps: outage(trace.Freeze, trace.Continue, 1, 4, program(Active, trace.Manager))},
	{Name: "active manager freezes", Expect: "a new epoch, nothing accepted of the old one", steps: outage(trace.Freeze, trace.Continue, 18, 22, program(Active, trace.Manager))},
	{Name: "active manager stutters", Expect: "no removal", steps: outage(trace.Stutter, trace.Smooth, 6, 10, program(Active, trace.Manager))},
	{Name: "standby crashes", steps: outage(trace.Kill, trace.Start, 2, 6, program(Standby, trace.Manager))},
	{Name: "standby freezes", steps: outage(trace.Freeze, trace.Continue, 8, 14, program(Standby, trace.Manager))},
	{Name: "all managers crash", steps: func(d *dice) []Step {
		return append(each(0, trace.Kill, trace.Manager, d.t.Core...), each(d.between(0.2, 2), trace.Start, trace.Manager, d.t.Core...)...)
	}},
	{Name: "no manager for long", Expect: "everything stays as it is and is called stale", Alone: true, steps: func(d *dice) []Step {
		return append(each(0, trace.Kill, trace.Manager, d.t.Core...), each(40*time.Second, trace.Start, trace.Manager, d.t.Core...)...)
	}},
	{Name: "manager loses its disk", steps: func(d *dice) []Step {
		p := d.core() + "/" + trace.Manager
		return []Step{on(0, trace.Kill, p), on(time.Second, trace.Wipe, p), on(d.between(1.2, 4), trace.Start, p)}
	}},
	{Name: "all managers lose their disks", steps: func(d *dice) []Step {
		out := append(each(0, trace.Kill, trace.Manager, d.t.Core...), each(time.Second, trace.Wipe, trace.Manager, d.t.Core...)...)
		return append(out, each(d.between(1.2, 4), trace.Start, trace.Manager, d.t.Core...)...)
	}},
	{Name: "managers are restarted in turn", steps: rolling(trace.Manager, 3*time.Second)},
	{Name: "bucket of the lease is deleted", steps: func(*dice) []Step { return []Step{on(0, trace.Delete, "thor_election")} }},
	{Name: "bucket of the status is deleted", steps: func(*dice) []Step { return []Step{on(0, trace.Delete, "thor_status")} }},
	{Name: "old status is replayed", Expect: "refused", Alone: true, steps: func(*dice) []Step {
		return []Step{on(0, trace.ReplayStatus, "thor.status"), on(2*time.Second, trace.ReplayStatus, "thor.status")}
	}},
}

// rolling restarts a program of the core, one after the other, gracefully.
func rolling(program string, every time.Duration) func(*dice) []Step {
	return func(d *dice) (out []Step) {
		for i, n := range d.t.Core {
			begin := time.Duration(i) * every
			out = append(out, on(begin, trace.Term, n+"/"+program), on(begin+every/2, trace.Start, n+"/"+program))
		}
		return out
	}
}

var brokerKinds = []Kind{
	{Name: "broker crashes", Expect: "no removal", steps: outage(trace.Kill, trace.Start, 3, 10, anyOf(trace.Broker))},
	{Name: "broker leaves", Expect: "no removal", steps: outage(trace.Term, trace.Start, 3, 10, anyOf(trace.Broker))},
	{Name: "broker pauses", Expect: "no removal", steps: outage(trace.Freeze, trace.Continue, 1, 2.2, anyOf(trace.Broker))},
	{Name: "broker freezes", Expect: "no removal of others", steps: outage(trace.Freeze, trace.Continue, 8, 14, anyOf(trace.Broker))},
	{Name: "broker stutters", Expect: "no removal", steps: outage(trace.Stutter, trace.Smooth, 6, 10, anyOf(trace.Broker))},
	{Name: "leader of the lease's bucket crashes", Expect: "no removal", steps: outage(trace.Kill, trace.Start, 4, 12, program(Leader, trace.Broker))},
	{Name: "all brokers crash", steps: func(d *dice) []Step {
		return append(each(0, trace.Kill, trace.Broker, d.t.Core...), each(d.between(0.5, 3), trace.Start, trace.Broker, d.t.Core...)...)
	}},
	{Name: "brokers lose their majority", Expect: "members stay connected", steps: func(d *dice) []Step {
		dead := d.others(d.core())
		return append(each(0, trace.Kill, trace.Broker, dead...), each(d.between(6, 12), trace.Start, trace.Broker, dead...)...)
	}},
	{Name: "all brokers and managers crash", Expect: "converges from announcements", steps: func(d *dice) []Step {
		out := append(each(0, trace.Kill, trace.Broker, d.t.Core...), each(0, trace.Kill, trace.Manager, d.t.Core...)...)
		up := d.between(1, 3)
		return append(append(out, each(up, trace.Start, trace.Broker, d.t.Core...)...), each(up, trace.Start, trace.Manager, d.t.Core...)...)
	}},
	{Name: "active manager and its host's broker crash", steps: func(d *dice) []Step {
		up := d.between(4, 10)
		return []Step{
			on(0, trace.Kill, Active+"/"+trace.Broker), on(0, trace.Kill, Active+"/"+trace.Manager),
			on(up, trace.Start, Active+"/"+trace.Broker), on(up, trace.Start, Active+"/"+trace.Manager),
		}
	}},
	{Name: "brokers are restarted in turn", Expect: "no removal", steps: rolling(trace.Broker, 8*time.Second)},
	{Name: "broker has no file descriptors left", Expect: "who is connected stays", steps: func(d *dice) []Step {
		p := d.core() + "/" + trace.Broker
		end := Step{d.between(5, 9), trace.Effect{Act: trace.Files, Process: p}}
		return []Step{{0, trace.Effect{Act: trace.Files, Process: p, N: 24}}, end}
	}},
	{Name: "disk of a broker's host is full", steps: func(d *dice) []Step {
		h := d.core()
		return []Step{at(0, trace.Fill, h, 0), at(d.between(6, 12), trace.Free, h, 0)}
	}},
	{Name: "broker starts on a full disk", steps: func(d *dice) []Step {
		h := d.core()
		p := h + "/" + trace.Broker
		return []Step{on(0, trace.Kill, p), at(200*time.Millisecond, trace.Fill, h, 0), on(time.Second, trace.Start, p), at(d.between(6, 10), trace.Free, h, 0)}
	}},
	{Name: "host crashes", steps: func(d *dice) []Step {
		h := d.core()
		var out []Step
		up := d.between(4, 14)
		for _, p := range []string{trace.Broker, trace.Manager, trace.NameServer, trace.Agent} {
			out = append(out, on(0, trace.Kill, h+"/"+p), on(up, trace.Start, h+"/"+p))
		}
		return out
	}},
}

var nameServerKinds = []Kind{
	{Name: "name server crashes", steps: outage(trace.Kill, trace.Start, 1, 4, anyOf(trace.NameServer))},
	{Name: "name server leaves", steps: outage(trace.Term, trace.Start, 1, 4, anyOf(trace.NameServer))},
	{Name: "name server freezes", steps: outage(trace.Freeze, trace.Continue, 7, 12, anyOf(trace.NameServer))},
	{Name: "name server starts without brokers", Expect: "answers from its disk", steps: func(d *dice) []Step {
		p := d.core() + "/" + trace.NameServer
		out := append(each(0, trace.Kill, trace.Broker, d.t.Core...), on(time.Second, trace.Kill, p), on(2*time.Second, trace.Start, p))
		return append(out, each(d.between(5, 8), trace.Start, trace.Broker, d.t.Core...)...)
	}},
	{Name: "name server's copy of the status is damaged", steps: func(d *dice) []Step {
		p := d.core() + "/" + trace.NameServer
		return []Step{on(0, trace.Kill, p), on(500*time.Millisecond, trace.Damage, p), on(time.Second, trace.Start, p)}
	}},
	{Name: "name server starts on a full disk", Expect: "tells nothing older than before", steps: func(d *dice) []Step {
		h, p := d.core(), d.t.agents()[0]+"/"+trace.Agent
		return []Step{
			at(0, trace.Fill, h, 0), on(time.Second, trace.Kill, p), on(3*time.Second, trace.Kill, h+"/"+trace.NameServer),
			on(4*time.Second, trace.Start, h+"/"+trace.NameServer), on(5*time.Second, trace.Start, p), at(7*time.Second, trace.Free, h, 0),
		}
	}},
}
