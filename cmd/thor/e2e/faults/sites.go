package faults

import (
	"maps"
	"slices"
	"time"

	"thor/cmd/thor/e2e/trace"
)

// ActiveSite stands for the site of the active manager's host. Where a Step cuts, From
// and To may name sites: all hosts of the one are cut off from all of the other.
const ActiveSite = "{active site}"

// Places are the sites of the network, in order; none where it has no sites.
func (t Topology) Places() []string { return slices.Sorted(maps.Keys(t.Sites)) }

// Site is the site of a host, empty for none.
func (t Topology) Site(host string) string {
	for _, s := range t.Places() {
		if slices.Contains(t.Sites[s], host) {
			return s
		}
	}
	return ""
}

// SiteKinds are the kinds of faults of a network with sites.
var SiteKinds = []Kind{
	{Name: "site is cut off", Expect: "members of other sites stay", Settle: 60 * time.Second, steps: func(d *dice) []Step {
		return cuts(d.between(30, 45), from(d.place(), 0, d.t.Places()...)...)
	}},
	{Name: "site of the active manager is cut off", Expect: "members of other sites stay", Settle: 60 * time.Second, steps: func(d *dice) []Step {
		return cuts(d.between(30, 45), from(ActiveSite, 0, d.t.Places()...)...)
	}},
	{Name: "site is cut off for a moment", Expect: "no removal", steps: func(d *dice) []Step {
		return cuts(d.between(0.5, 2), from(d.place(), 0, d.t.Places()...)...)
	}},
	{Name: "link of two sites is cut", Expect: "no removal", steps: func(d *dice) []Step {
		a, b := d.places()
		return cuts(d.between(20, 60), twoWays(a, b, 0)...)
	}},
	{Name: "link of two sites is cut one way", Expect: "no removal", steps: func(d *dice) []Step {
		a, b := d.places()
		return cuts(d.between(15, 30), oneWay(a, b, 0)...)
	}},
	{Name: "routes between two sites are cut", Expect: "no removal", steps: func(d *dice) []Step {
		a, b := d.places()
		return cuts(d.between(15, 30), twoWays(a, b, trace.RoutePort)...)
	}},
	{Name: "link of two sites flaps", Expect: "no removal", steps: func(d *dice) (out []Step) {
		a, b := d.places()
		for i := range 5 {
			for _, s := range cuts(5*time.Second, twoWays(a, b, 0)...) {
				s.After += time.Duration(i) * 10 * time.Second
				out = append(out, s)
			}
		}
		return out
	}},
	{Name: "packets between sites are lost", Expect: "no removal", steps: func(d *dice) []Step {
		return everyLink(d, trace.Drop, 2, d.between(15, 30))
	}},
	{Name: "packets from one site to another are lost", Expect: "no removal", steps: func(d *dice) []Step {
		a, b := d.places()
		return []Step{between(0, trace.Drop, a, b, 5+d.IntN(11)), between(d.between(8, 12), trace.Drop, a, b, 0)}
	}},
	{Name: "link of two sites is slow", Expect: "no removal", steps: func(d *dice) []Step {
		a, b := d.places()
		late, lasts := 100+d.IntN(51), d.between(15, 30)
		return []Step{
			between(0, trace.Slow, a, b, late), between(0, trace.Slow, b, a, late),
			between(lasts, trace.Slow, a, b, 0), between(lasts, trace.Slow, b, a, 0),
		}
	}},
	{Name: "all links of sites are slow", Expect: "no removal", steps: func(d *dice) []Step {
		return everyLink(d, trace.Slow, 100+d.IntN(51), d.between(15, 30))
	}},
	{Name: "agents of a site are drained", Expect: "listed, not in DNS", steps: func(d *dice) []Step {
		nodes := slices.Clone(d.t.Sites[d.place()])
		return append(each(0, trace.Drain, trace.Agent, nodes...), each(d.between(4, 8), trace.Resume, trace.Agent, nodes...)...)
	}},
}

func between(after time.Duration, act trace.Act, from, to string, n int) Step {
	return Step{after, trace.Effect{Act: act, From: from, To: to, N: n}}
}

// everyLink does an act to all links of sites, both ways, and ends it.
func everyLink(d *dice, act trace.Act, n int, lasts time.Duration) (out []Step) {
	for _, a := range d.t.Places() {
		for _, b := range d.t.Places() {
			if a != b {
				out = append(out, between(0, act, a, b, n), between(lasts, act, a, b, 0))
			}
		}
	}
	return out
}

// place is any site.
func (d *dice) place() string { p := d.t.Places(); return p[d.IntN(len(p))] }

// places are two sites.
func (d *dice) places() (a, b string) {
	p := d.t.Places()
	d.Shuffle(len(p), func(i, j int) { p[i], p[j] = p[j], p[i] })
	return p[0], p[1]
}
