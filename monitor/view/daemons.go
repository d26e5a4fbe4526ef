package view

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"thor/subjects"
)

// shareColumns are those of the page of the lookup.
var shareColumns = []column{
	nodeOf,
	{title: "WEIGHT", right: true, drop: 2, text: plain(func(_ *Model, r *row) string { return strconv.Itoa(r.share.Weight) })},
	{title: "OWNER OF", right: true, text: plain(func(m *Model, r *row) string { return percent(m.spread(r).part(r.share.Slots)) })},
	{title: "BY WEIGHT", right: true, drop: 1, text: plain(func(m *Model, r *row) string { return percent(m.spread(r).fair(r.share)) })},
	{title: "HEIR OF", right: true, text: plain(func(m *Model, r *row) string { return percent(m.spread(r).part(r.share.Heir)) })},
}

func (m *Model) spread(r *row) *Spread {
	s := m.facts.shares[r.role]
	return &s
}

func percent(f float64) string { return fmt.Sprintf("%.2f %%", 100*f) }

// spreadTitle is the heading of a role on the page of the lookup.
func spreadTitle(r subjects.Role, s *Spread, known bool, digest string) string {
	name := safe(string(r), 63)
	switch {
	case !known:
		return name + "  is being computed"
	case s.Fault != "":
		return name + "  " + safe(s.Fault, subjects.MaxReason)
	}
	return fmt.Sprintf("%s  %d members, %d slots, table %s", name, len(s.Of), s.Slots, subjects.Printable(digest, 16))
}

// shareBar draws the slots of a member; full is the greatest share of the role.
func (m *Model) shareBar(r subjects.Role, x Share) string {
	s := m.facts.shares[r]
	greatest := 1
	for _, o := range s.Of {
		greatest = max(greatest, o.Slots)
	}
	const full = 24
	return m.paint(good, strings.Repeat("█", (x.Slots*full+greatest/2)/greatest))
}

// dnsColumns are those of the page of name servers.
var dnsColumns = []column{
	stateColumn, nodeOf, addressOf,
	{title: "SERIAL", right: true, text: plain(func(m *Model, r *row) string {
		if z := m.zone(r.node); z != nil {
			return strconv.FormatUint(uint64(z.Serial), 10)
		}
		return "-"
	})},
	{title: "BEHIND", right: true, text: func(m *Model, r *row) (string, tone) { return m.behind(r.node) }},
	{title: "ZONE", width: 8, drop: 2, text: func(m *Model, r *row) (string, tone) {
		d := m.zoneDigest(r)
		if usual := m.usualDigest(); usual != "" && d != "" && d != usual {
			return ansi.Truncate(d, 8, "") + " differs", alarm
		}
		return cmp.Or(ansi.Truncate(d, 8, ""), "-"), normal
	}},
	{title: "PER S", right: true, text: plain(func(m *Model, r *row) string { return m.perSecond(r.node, answered) })},
	{title: "ANSWERED", right: true, drop: 3, text: plain(func(m *Model, r *row) string {
		if z := m.zone(r.node); z != nil {
			return strconv.FormatUint(z.Answered, 10)
		}
		return "-"
	})},
}

// zone is what a name server says of itself; nil: it has not said it.
func (m *Model) zone(n subjects.NodeID) *subjects.ZoneReport { return m.facts.nameServers[n].Zone }

// behind says how far a name server is behind the status: in generations, and since when
// no manager confirms to it what it serves.
func (m *Model) behind(n subjects.NodeID) (string, tone) {
	z := m.zone(n)
	if z == nil || m.pic.Status == nil {
		return "-", normal
	}
	by := int32(uint32(m.pic.Status.Generation) - z.Serial) // RFC 1982
	switch age := time.Duration(z.AgeMS) * time.Millisecond; {
	case z.Serial == 0:
		return "no zone", alarm
	case age > 0 && by > 0:
		return fmt.Sprintf("%d, cut off %s", by, span(age)), alarm
	case age > 0:
		return "cut off " + span(age), alarm
	case by > 0:
		return strconv.Itoa(int(by)), alarm
	}
	return "0", good
}

// zoneDigest names the zone's configuration: what the server says, or else what it announced.
func (m *Model) zoneDigest(r *row) string {
	if z := m.zone(r.node); z != nil {
		return subjects.Printable(z.Digest, subjects.MaxAttrValue)
	}
	if r.m == nil {
		return ""
	}
	return subjects.Printable(r.m.Attrs[subjects.AttrZone], subjects.MaxAttrValue)
}

// usualDigest is the one that most name servers have, the first by name of those; empty
// where there are none.
func (m *Model) usualDigest() string {
	n := make(map[string]int)
	for i := range m.rows {
		if d := m.zoneDigest(&m.rows[i]); d != "" {
			n[d]++
		}
	}
	best := ""
	for _, d := range slices.Sorted(maps.Keys(n)) {
		if n[d] > n[best] {
			best = d
		}
	}
	return best
}

// dnsDetail is the curve of a name server's answers, or why there is none.
func (m *Model) dnsDetail(r *row) string {
	x, known := m.facts.nameServers[r.node]
	switch {
	case r.gone:
		return m.why(r)
	case r.m.Reason != "":
		return safe(r.m.Reason, subjects.MaxReason)
	case x.Fault != "":
		return m.paint(alarm, safe(x.Fault, subjects.MaxReason))
	case !known:
		return m.unasked()
	}
	s := m.paint(good, m.facts.rates[counter{r.node, answered}].curve())
	if x.Zone.Dropped > 0 {
		s += fmt.Sprintf("  %d dropped", x.Zone.Dropped)
	}
	return s
}

// unasked says why nothing is known yet of a daemon.
func (m *Model) unasked() string {
	if !m.opt.Operator {
		return m.paint(faint, "for operators only")
	}
	return m.paint(faint, "is being asked")
}

// brokerColumns are those of the page of brokers.
var brokerColumns = []column{
	stateColumn, nodeOf, addressOf,
	{title: "CLIENTS", right: true, text: plain(func(m *Model, r *row) string {
		if b, ok := m.facts.brokers[r.node]; ok {
			return strconv.Itoa(b.Clients)
		}
		return m.announced(r, subjects.AttrClients, "~")
	})},
	{title: "ROUTES", right: true, text: func(m *Model, r *row) (string, tone) {
		others := len(m.members(subjects.EventServer)) - 1
		have := m.announced(r, subjects.AttrRoutes, "")
		if b, ok := m.facts.brokers[r.node]; ok {
			have = strconv.Itoa(b.Peers)
		}
		if n, err := strconv.Atoi(have); err == nil && n < others {
			return fmt.Sprintf("%d of %d", n, others), alarm
		}
		return have, normal
	}},
	{title: "IN/S", right: true, drop: 4, text: plain(func(m *Model, r *row) string { return m.perSecond(r.node, messagesIn) })},
	{title: "OUT/S", right: true, drop: 5, text: plain(func(m *Model, r *row) string { return m.perSecond(r.node, messagesOut) })},
	{title: "SLOW", right: true, drop: 3, text: func(m *Model, r *row) (string, tone) {
		b, ok := m.facts.brokers[r.node]
		switch {
		case !ok:
			return "-", normal
		case b.Slow > 0:
			return strconv.FormatUint(b.Slow, 10), alarm
		}
		return "0", normal
	}},
	{title: "MEMORY", right: true, drop: 6, text: plain(func(m *Model, r *row) string {
		if b, ok := m.facts.brokers[r.node]; ok {
			return amount(b.Memory)
		}
		return "-"
	})},
	{title: "JETSTREAM", drop: 1, text: func(m *Model, r *row) (string, tone) { return m.jetStream(r) }},
	{title: "STORED", right: true, drop: 7, text: plain(func(m *Model, r *row) string {
		if b, ok := m.facts.brokers[r.node]; ok && b.JetStream {
			return amount(b.Stored)
		}
		return "-"
	})},
}

// announced is an attribute of a broker behind a mark, "-" without it.
func (m *Model) announced(r *row, attr, mark string) string {
	if r.m == nil || r.m.Attrs[attr] == "" {
		return "-"
	}
	return mark + subjects.Printable(r.m.Attrs[attr], 16)
}

// jetStream is how a broker's JetStream is: what it announces, and whom it takes for the leader.
func (m *Model) jetStream(r *row) (string, tone) {
	said := m.announced(r, subjects.AttrJetStream, "")
	b, ok := m.facts.brokers[r.node]
	switch {
	case !ok && said != "ok" && said != "-", ok && !b.JetStream && said != "-":
		return said, alarm
	case !ok:
		return said, normal
	case b.JetStream && b.Leader == "":
		return "no leader", alarm
	case b.Leader == r.node:
		return "leader", good
	}
	return "follows " + nodeName(b.Leader), normal
}

// brokerDetail is why a broker is missing or not up, or how soon it answers and whom it reaches.
func (m *Model) brokerDetail(r *row) string {
	b, known := m.facts.brokers[r.node]
	switch {
	case r.gone:
		return m.why(r)
	case r.m.Reason != "":
		return safe(r.m.Reason, subjects.MaxReason)
	case known:
		return "answers in " + millis(b.Took)
	case m.facts.brokersFault != "":
		return m.paint(alarm, safe(m.facts.brokersFault, subjects.MaxReason))
	case len(m.facts.brokers) > 0:
		return m.paint(alarm, "no answer")
	}
	return m.unasked()
}
