package trace

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"thor/subjects"
)

// noFalseRemoval is I4: a member that lives, and could be heard, is never removed;
// if a second instance replaced it, it is back soon after that one's end.
func (c *checker) noFalseRemoval() {
	for _, r := range c.removals() {
		name, known := c.history.byEntry[r.entry]
		if !known || c.excused(name, r.at) {
			continue
		}
		c.fail(r.at, "I4", "%s is removed at %v by %s; it lives and reaches the network", r.entry, r.by.Mark(), r.by.Manager)
	}
	for name, list := range c.history.twins {
		for _, s := range list {
			if at := s.to + Moment(twinBack); s.to != forever && at < c.end && !c.listedAt(name, at) && !c.excused(name, at) {
				c.fail(at, "I4", "%s is not back after a second process with its certificate has ended", name)
			}
		}
	}
}

// A removal is a member that one status has and the next does not.
type removal struct {
	entry
	at Moment
	by *Status
}

func (c *checker) removals() (out []removal) {
	for i := 1; i < len(c.published); i++ {
		before, now := c.published[i-1], c.published[i]
		for _, m := range before.Members {
			if e := (entry{m.Role, m.Node}); now.member(e) == nil {
				out = append(out, removal{e, now.at, now.Status})
			}
		}
	}
	return out
}

// excused reports whether the lab gave a reason for a removal at that time.
func (c *checker) excused(process string, at Moment) bool {
	from := at - Moment(settle)
	return c.history.dead.touches(process, from, at, 0) || c.history.silent.touches(process, from, at, mute) ||
		c.history.twins.touches(process, from, at, 0)
}

// listedAt reports whether the newest status of that time lists a process, under all its roles.
func (c *checker) listedAt(process string, at Moment) bool {
	for _, p := range slices.Backward(c.published) {
		if p.at <= at {
			return !slices.ContainsFunc(c.entriesOf(process), func(e entry) bool { return p.member(e) == nil })
		}
	}
	return false
}

func (c *checker) entriesOf(process string) (out []entry) {
	for e, name := range c.history.byEntry {
		if name == process {
			out = append(out, e)
		}
	}
	return out
}

// A loss is a SIP proxy that died, froze or was cut off.
type loss struct {
	process string
	node    string
	span
	host  string
	cause string // crash, freeze, cut, or host cut where a broker is cut off with it
	mass  bool   // one of many at once, or on one of several machines that were cut off together
}

func (l *loss) cut() bool { return l.cause == "cut" || l.cause == "host cut" }

// losses are those of proxies, long enough to be noticed.
func (c *checker) losses() (out []loss) {
	for _, p := range c.history.processes {
		if p.Role != subjects.SIPProxy {
			continue
		}
		for _, s := range c.history.dead[p.Name] {
			out = append(out, loss{p.Name, string(p.Node), s, p.Host, c.causeAt(p, s.from), false})
		}
		for _, s := range c.history.silent[p.Name] {
			out = append(out, loss{p.Name, string(p.Node), s, p.Host, c.causeAt(p, s.from), false})
		}
	}
	for i := range out {
		n, hosts := 0, make(map[string]bool)
		for _, o := range out {
			if d := out[i].from - o.from; d < Moment(10*time.Second) && d > -Moment(10*time.Second) {
				n++
				if o.cut() {
					hosts[o.host] = true
				}
			}
		}
		out[i].mass = n > 2 || out[i].cut() && len(hosts) > 1
	}
	return out
}

// causeAt names the effect at a moment, as far as it matters to a process.
func (c *checker) causeAt(p Process, at Moment) string {
	for _, e := range c.effects[at] {
		switch e.Act {
		case Kill:
			return "crash"
		case Freeze:
			return "freeze"
		case LinkDown, Cut:
			if c.hasBroker(p.Host) {
				return "host cut"
			}
			return "cut"
		default:
			return string(e.Act)
		}
	}
	return ""
}

func (c *checker) hasBroker(host string) bool {
	return slices.ContainsFunc(c.history.processes, func(p Process) bool { return p.Host == host && p.Program == Broker })
}

// deadAreOut is I5: what is dead does not stay in the answers of name servers that
// could know.
func (c *checker) deadAreOut() {
	for _, x := range c.losses() {
		within := outWithin
		if x.mass {
			within = massOutWithin
		}
		deadline := x.from
		for _, s := range c.history.leaderless[""] {
			if s.from <= deadline+Moment(within) && s.to > deadline {
				deadline = s.to
			}
		}
		if deadline == forever {
			continue
		}
		deadline += Moment(within)
		for server, list := range c.dns {
			for _, l := range list[after(list, deadline):] {
				if l.DNS.Until >= x.to {
					break
				}
				// One that is cut off cannot know; and the last member stays.
				if slices.Contains(l.DNS.Nodes, x.node) && len(l.DNS.Nodes) > 1 && !c.ignorant(server, l.At-Moment(within), l.DNS.Until) {
					c.fail(l.At, "I5", "%s still answers with %s, %v after its %s", server, x.node, l.At-x.from, x.cause)
					break
				}
			}
		}
	}
}

// after is the index of the first line after a moment.
func after(list []Line, at Moment) int {
	i, _ := slices.BinarySearchFunc(list, at, func(l Line, at Moment) int {
		if l.At <= at {
			return -1
		}
		return 1
	})
	return i
}

// ignorant reports whether a process was cut off or not running at some time.
func (c *checker) ignorant(process string, from, to Moment) bool {
	return c.history.alone.touches(process, from, to, 0) || c.history.stopped.touches(process, from, to, 0)
}

// converges is I10: soon after a fault everybody has the same status, with all
// members that live, each of them up, and the name servers answer with them.
func (c *checker) converges() {
	for i, f := range c.history.faults {
		if f.to == forever {
			continue
		}
		until := min(c.end, f.to+f.settle+Moment(convergesWithin))
		if i+1 < len(c.history.faults) {
			until = min(until, c.history.faults[i+1].from)
		}
		if _, ok := c.convergedAfter(f.to, until); !ok {
			c.fail(f.to, "I10", "not converged within %v after %s: %s", time.Duration(until-f.to), strings.Join(f.kinds, ", "), c.differsAt(until))
		}
	}
}

// convergedAfter is the first moment in [from, to] at which nothing differs, and stays
// so for a while, or until to, when the next fault begins: right after a fault its effect may not have shown yet.
// What differs for less than a step is a change on its way.
func (c *checker) convergedAfter(from, to Moment) (since Moment, ok bool) {
	const step = Moment(100 * time.Millisecond)
	for at := from; at <= to; at += step {
		switch differs := c.differsAt(min(at, c.end)) != ""; {
		case differs && (!ok || c.differsAt(min(at+step, c.end)) != ""):
			ok = false
		case !ok:
			since, ok = at, true
		case at-since >= Moment(steady):
			return since, true
		}
	}
	return since, ok
}

// differsAt says what is missing for all to agree at a moment.
func (c *checker) differsAt(at Moment) string {
	var newest *publication
	for observer, list := range c.views {
		i := lastBefore(list, at)
		if i < 0 {
			return observer + " has no status"
		}
		v := &list[i]
		switch {
		case v.Stale || !v.Connected:
			return observer + " is cut off or stale"
		case newest != nil && newest.Mark() != v.Mark():
			return fmt.Sprintf("%s has %v, %s has %v", observer, v.Mark(), newest.Observer, newest.Mark())
		}
		newest = v
	}
	if newest == nil {
		return "no observer"
	}
	for _, p := range c.history.processes {
		dead := c.history.dead.touches(p.Name, at, at, 0)
		for _, e := range p.entries() {
			m := newest.member(e)
			switch {
			case dead:
			case m == nil:
				return fmt.Sprintf("%s is missing at %v", e, newest.Mark())
			case m.State != subjects.Up && !c.history.drained.touches(p.Name, at, at, 0):
				return fmt.Sprintf("%s is %s at %v", e, m.State, newest.Mark())
			}
		}
	}
	return c.namesDifferAt(at, newest)
}

// namesDifferAt says which name server does not answer with what a status lists.
func (c *checker) namesDifferAt(at Moment, s *publication) string {
	want := s.nodes(subjects.SIPProxy)
	for _, p := range c.history.processes {
		if p.Program != NameServer || c.history.stopped.touches(p.Name, at, at, 0) {
			continue
		}
		if d := c.answerAt(p.Name, at); d == nil || !slices.Equal(d.Nodes, want) {
			return fmt.Sprintf("%s does not answer with the members of %v", p.Name, s.Mark())
		}
	}
	return ""
}

// answerAt is the newest answer of a server; nil when there has been none.
func (c *checker) answerAt(server string, at Moment) *DNS {
	if i := after(c.dns[server], at); i > 0 {
		return c.dns[server][i-1].DNS
	}
	return nil
}

// lastBefore is the index of the newest publication at a moment, -1 for none.
func lastBefore(list []publication, at Moment) int {
	i, _ := slices.BinarySearchFunc(list, at, func(p publication, at Moment) int {
		if p.at <= at {
			return -1
		}
		return 1
	})
	return i - 1
}
