package trace

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"thor/subjects"
)

// A Figure is a measurement over all faults of a run.
type Figure struct {
	What    string
	Samples []time.Duration // none: N counts
	Goal    time.Duration
	N       int // how often, among Of
	Of      int
}

// hostGoal is within which a host that is cut off is to be gone elsewhere.
const hostGoal = 12 * time.Second

// Figures takes the measurements of a trace. found are its violations.
func Figures(lines []Line, found []Violation) []Figure {
	c := newChecker(lines)
	figures := []Figure{
		{What: "whole host cut → its members gone elsewhere", Samples: c.hostsGone(), Goal: hostGoal},
		{What: "converged after the end of a fault", Samples: c.converged(), Goal: 5 * time.Second},
		{What: "freeze or cut cable → gone from every name server", Samples: c.gone("freeze", "cut"), Goal: 5 * time.Second},
		{What: "crash → gone from every name server", Samples: c.gone("crash"), Goal: 700 * time.Millisecond},
	}
	faults := len(c.history.faults)
	count := func(invariant string) (n int) {
		for _, v := range found {
			if v.Invariant == invariant {
				n++
			}
		}
		return n
	}
	queries := 0
	for _, l := range c.lines {
		if l.DNS != nil {
			queries += l.DNS.N
		}
	}
	return append(append(figures, c.siteFigures()...),
		Figure{What: "false removals, in so many rounds of faults", N: count("I4"), Of: faults},
		Figure{What: "told an older status, in so many rounds", N: count("I2"), Of: faults},
		Figure{What: "DNS answers failed or empty, of so many queries", N: count("I6"), Of: queries},
		Figure{What: "publications of an older epoch that raw readers heard", N: c.oldEpochs(), Of: faults},
	)
}

// hostsGone are the times from the loss of a host's link to the first status without
// any of its members. Where they stayed until the link was back, that counts.
func (c *checker) hostsGone() (out []time.Duration) {
	for _, l := range c.lines {
		if l.Effect == nil || l.Effect.Act != LinkDown {
			continue
		}
		var members []entry
		for _, p := range c.history.processes {
			if p.Host == l.Effect.Host {
				members = append(members, p.entries()...)
			}
		}
		if !c.hasBroker(l.Effect.Host) {
			continue
		}
		back := c.linkBack(l.Effect.Host, l.At)
		if time.Duration(back-l.At) < hostGoal { // back too soon to say
			continue
		}
		gone := back
		for _, p := range c.published {
			if p.at > l.At && p.at < back && !slices.ContainsFunc(members, func(e entry) bool { return p.member(e) != nil }) {
				gone = p.at
				break
			}
		}
		out = append(out, time.Duration(gone-l.At))
	}
	return out
}

// linkBack is when a host's link came back after a moment.
func (c *checker) linkBack(host string, after Moment) Moment {
	for _, l := range c.lines {
		if l.At > after && l.Effect != nil && l.Effect.Act == LinkUp && l.Effect.Host == host {
			return l.At
		}
	}
	return c.end
}

// converged are the times from the end of each fault to one status for all.
func (c *checker) converged() (out []time.Duration) {
	for _, f := range c.history.faults {
		if f.to == forever || f.settle > 0 {
			continue
		}
		if at, ok := c.convergedAfter(f.to, min(c.end, f.to+Moment(convergesWithin))); ok {
			out = append(out, time.Duration(at-f.to))
		}
	}
	return out
}

// gone are the times from single losses to the last answer with the lost member, of
// name servers that are part of the network. A loss that ended before is not one.
func (c *checker) gone(causes ...string) (out []time.Duration) {
	for _, x := range c.losses() {
		if !slices.Contains(causes, x.cause) || x.mass {
			continue
		}
		last, complete := x.from, true
		for _, server := range slices.Sorted(maps.Keys(c.dns)) {
			if c.ignorant(server, x.from, x.from+Moment(outWithin)) {
				continue
			}
			held := true // until an answer without it comes
			for _, l := range c.dns[server][after(c.dns[server], x.from):] {
				if l.At > x.to {
					break
				}
				if held = slices.Contains(l.DNS.Nodes, x.node); !held {
					last = max(last, l.At)
					break
				}
			}
			complete = complete && !held
		}
		if complete && last > x.from {
			out = append(out, time.Duration(last-x.from))
		}
	}
	return out
}

// oldEpochs counts what raw readers heard of an epoch that they knew to be over.
func (c *checker) oldEpochs() (n int) {
	newest := make(map[string]subjects.Mark)
	for _, l := range c.lines {
		if h := l.Heard; h != nil {
			if h.Epoch < newest[h.Observer].Epoch {
				n++
			} else {
				newest[h.Observer] = h.Mark()
			}
		}
	}
	return n
}

// Print writes figures as a table.
func Print(w io.Writer, figures []Figure) {
	fmt.Fprintf(w, "%-56s %5s %10s %10s %10s\n", "figure", "n", "median ms", "max ms", "goal ms")
	for _, f := range figures {
		if f.Of > 0 || f.Goal == 0 {
			fmt.Fprintf(w, "%-56s %5d %10s %10s %10s\n", f.What, f.Of, "", fmt.Sprint(f.N), "0")
			continue
		}
		slices.Sort(f.Samples)
		median, most := "-", "-"
		if n := len(f.Samples); n > 0 {
			median, most = fmt.Sprint(f.Samples[n/2].Milliseconds()), fmt.Sprint(f.Samples[n-1].Milliseconds())
		}
		fmt.Fprintf(w, "%-56s %5d %10s %10s %10d\n", f.What, len(f.Samples), median, most, f.Goal.Milliseconds())
	}
}
