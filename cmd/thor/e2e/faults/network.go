package faults

import (
	"time"

	"thor/cmd/thor/e2e/trace"
)

// cuts makes and heals a set of one-way cuts.
func cuts(lasts time.Duration, list ...trace.Effect) (out []Step) {
	for _, e := range list {
		e.Act = trace.Cut
		out = append(out, Step{0, e})
		e.Act = trace.Heal
		out = append(out, Step{lasts, e})
	}
	return out
}

func oneWay(from, to string, port int) []trace.Effect {
	return []trace.Effect{{From: from, To: to, Port: port}}
}

func twoWays(a, b string, port int) []trace.Effect {
	return append(oneWay(a, b, port), oneWay(b, a, port)...)
}

// all joins several cuts.
func all(parts ...[]trace.Effect) (out []trace.Effect) {
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// from cuts a host off from others, both ways.
func from(host string, port int, others ...string) (out []trace.Effect) {
	for _, o := range others {
		if o != host {
			out = append(out, twoWays(host, o, port)...)
		}
	}
	return out
}

func link(lasts time.Duration, host string) []Step {
	return []Step{at(0, trace.LinkDown, host, 0), at(lasts, trace.LinkUp, host, 0)}
}

var networkKinds = []Kind{
	{Name: "host loses its link", steps: func(d *dice) []Step { return link(d.between(20, 30), d.core()) }},
	{Name: "host of the active manager loses its link", steps: func(d *dice) []Step { return link(d.between(20, 30), Active) }},
	{Name: "host loses its link for a moment", Expect: "no removal", steps: func(d *dice) []Step { return link(d.between(0.5, 2), d.core()) }},
	{Name: "agents' host loses its link", steps: func(d *dice) []Step { return link(d.between(8, 14), d.edge()) }},
	{Name: "agents' host loses its link for a moment", Expect: "no removal", steps: func(d *dice) []Step { return link(d.between(0.5, 2), d.edge()) }},
	{Name: "partition", Expect: "the majority rules; one view after the heal", steps: func(d *dice) []Step {
		h, edge := d.core(), d.t.edge()
		rest := append(d.others(h), edge[1:]...)
		return cuts(d.between(10, 16), all(from(h, 0, rest...), from(edge[0], 0, rest...))...)
	}},
	{Name: "routes of one broker are cut", Expect: "no removal", steps: func(d *dice) []Step {
		h := d.core()
		return cuts(d.between(12, 20), from(h, trace.RoutePort, d.others(h)...)...)
	}},
	{Name: "routes of the active manager's broker are cut", Expect: "no removal", steps: func(d *dice) []Step {
		return cuts(d.between(12, 20), from(Active, trace.RoutePort, d.t.Core...)...)
	}},
	{Name: "all routes are cut", Expect: "members stay connected, nothing is removed", steps: func(d *dice) []Step {
		c := d.t.Core
		return cuts(d.between(8, 14), all(twoWays(c[0], c[1], trace.RoutePort), twoWays(c[0], c[2], trace.RoutePort), twoWays(c[1], c[2], trace.RoutePort))...)
	}},
	{Name: "one route is cut", Expect: "no removal", steps: func(d *dice) []Step {
		o := d.others(d.core())
		return cuts(d.between(8, 14), twoWays(o[0], o[1], trace.RoutePort)...)
	}},
	{Name: "one route is cut one way", Expect: "no removal", steps: func(d *dice) []Step {
		o := d.others(d.core())
		return cuts(d.between(8, 14), oneWay(o[0], o[1], trace.RoutePort)...)
	}},
	{Name: "clients of one broker are cut off", Expect: "no removal", steps: func(d *dice) []Step {
		h := d.core()
		return cuts(d.between(8, 14), from(h, trace.ClientPort, d.t.Hosts()...)...)
	}},
	{Name: "host is cut off one way", steps: func(d *dice) []Step {
		h := d.core()
		var list []trace.Effect
		for _, o := range d.t.Hosts() {
			if o != h {
				list = append(list, oneWay(h, o, 0)...)
			}
		}
		return cuts(d.between(10, 16), list...)
	}},
	{Name: "agents' host reaches one broker alone", Expect: "no removal", steps: func(d *dice) []Step {
		return cuts(d.between(8, 14), from(d.edge(), 0, d.others(d.core())...)...)
	}},
	{Name: "agents' host is cut off one way", steps: func(d *dice) []Step {
		h := d.edge()
		var list []trace.Effect
		for _, o := range d.t.Core {
			list = append(list, oneWay(h, o, 0)...)
		}
		return cuts(d.between(8, 14), list...)
	}},
	{Name: "link flaps", steps: func(d *dice) (out []Step) {
		h := d.edge()
		for i := range 4 {
			begin := time.Duration(i) * 3 * time.Second
			out = append(out, at(begin, trace.LinkDown, h, 0), at(begin+time.Second, trace.LinkUp, h, 0))
		}
		return out
	}},
	{Name: "packets are lost", Expect: "no removal", steps: func(d *dice) []Step {
		return []Step{at(0, trace.Loss, "", 5+d.IntN(16)), at(d.between(8, 12), trace.Loss, "", 0)}
	}},
	{Name: "packets are late", Expect: "no removal", steps: func(d *dice) []Step {
		h := d.core()
		begin := Step{0, trace.Effect{Act: trace.Delay, Host: h, N: 100 + d.IntN(101), Jitter: 50}}
		return []Step{begin, at(d.between(8, 12), trace.Delay, h, 0)}
	}},
	{Name: "bandwidth is scarce", Expect: "no removal", steps: func(d *dice) []Step {
		h := d.core()
		return []Step{at(0, trace.Rate, h, 300+d.IntN(700)), at(d.between(8, 12), trace.Rate, h, 0)}
	}},
}

var identityKinds = []Kind{
	{Name: "duplicate agent ends", Expect: "the original counts again", steps: twin(trace.TwinTerm, anAgent)},
	{Name: "duplicate agent crashes", Expect: "the original counts again", steps: twin(trace.TwinKill, anAgent)},
	{Name: "duplicate manager ends", Expect: "the original counts again", steps: twin(trace.TwinTerm, anyOf(trace.Manager))},
	{Name: "duplicate manager crashes", Expect: "the original counts again", steps: twin(trace.TwinKill, anyOf(trace.Manager))},
	{Name: "certificate is revoked", Expect: "gone at once, back with a new one", Alone: true, steps: func(d *dice) []Step {
		nodes := d.t.agents()
		p := nodes[d.IntN(len(nodes))] + "/" + trace.Agent
		return []Step{on(0, trace.Revoke, p), on(d.between(4, 7), trace.Kill, p), on(7500*time.Millisecond, trace.Reissue, p), on(8*time.Second, trace.Start, p)}
	}},
	{Name: "certificate is renewed", Expect: "no removal", steps: func(d *dice) []Step {
		nodes := d.t.agents()
		return []Step{on(0, trace.Renew, nodes[d.IntN(len(nodes))]+"/"+trace.Agent)}
	}},
	{Name: "all certificates are renewed", Expect: "no removal", steps: func(d *dice) (out []Step) {
		for i, n := range d.t.Core {
			for k, p := range []string{trace.Broker, trace.Manager, trace.NameServer, trace.Agent} {
				out = append(out, on(time.Duration(4*i+k)*300*time.Millisecond, trace.Renew, n+"/"+p))
			}
		}
		for i, n := range d.t.agents() {
			out = append(out, on(time.Duration(i)*300*time.Millisecond, trace.Renew, n+"/"+trace.Agent))
		}
		return out
	}},
	{Name: "authority changes", Expect: "no removal", Alone: true, steps: func(*dice) (out []Step) {
		for i := range 3 {
			out = append(out, Step{time.Duration(i) * 4 * time.Second, trace.Effect{Act: trace.Authority, N: i + 1}})
		}
		return out
	}},
}

// twin runs a second process with the certificate of another for a while.
func twin(end trace.Act, process func(*dice) string) func(*dice) []Step {
	return outage(trace.TwinStart, end, 3, 5, process)
}
