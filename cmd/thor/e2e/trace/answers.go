package trace

import (
	"slices"
	"strings"
	"time"

	"thor/subjects"
)

// namesAnswer is I6: a running name server answers, never empty, and only with what
// was published.
func (c *checker) namesAnswer() {
	for _, l := range c.lines {
		if l.DNS == nil || c.mayFail(l) {
			continue
		}
		d := l.DNS
		switch {
		case d.Error != "":
			c.fail(l.At, "I6", "%s answers %d × %s with an error: %s", d.Server, d.N, d.Type, d.Error)
		case d.Rcode != "NOERROR":
			c.fail(l.At, "I6", "%s answers %d × %s with %s", d.Server, d.N, d.Type, d.Rcode)
		case d.Type != "SOA" && len(d.Nodes) == 0:
			c.fail(l.At, "I6", "%s answers %d × %s with nothing", d.Server, d.N, d.Type)
		case d.Type != "SOA" && !c.wasPublished(d.Nodes, d.Until):
			c.fail(l.At, "I6", "%s answers with %s, which was never published", d.Server, strings.Join(d.Nodes, " "))
		}
	}
}

// mayFail reports whether a server was stopped, or just started, around a line. A
// query waits up to two seconds for its answer.
func (c *checker) mayFail(l Line) bool {
	const wait = Moment(2200 * time.Millisecond)
	from, to := l.At-wait, l.DNS.Until+wait
	if c.history.stopped.touches(l.DNS.Server, from, to, 0) {
		return true
	}
	return slices.ContainsFunc(c.history.started[l.DNS.Server], func(at Moment) bool {
		return l.At >= at && l.At < at+Moment(answersWithin)
	})
}

// wasPublished reports whether some status until then had these proxies.
func (c *checker) wasPublished(nodes []string, until Moment) bool {
	return slices.ContainsFunc(c.published, func(p publication) bool {
		if p.at > until+Moment(time.Second) { // observers may hear of it later than name servers
			return false
		}
		have := p.nodes(subjects.SIPProxy)
		return !slices.ContainsFunc(nodes, func(n string) bool { return !slices.Contains(have, n) })
	})
}
