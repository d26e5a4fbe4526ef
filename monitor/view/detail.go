package view

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"thor/subjects"
)

// detailLines are the member shown in full.
func (m *Model) detailLines() []string {
	t := *m.detail
	r := m.seen(t)
	var out []string
	if r == nil {
		out = append(out, fmt.Sprintf("  %s is no member of %s now", nodeName(t.node), safe(string(t.role), 63)))
	} else {
		out = append(out, m.aboutMember(r)...)
	}
	out = append(out, m.aboutChecks(t)...)
	out = append(out, m.aboutDaemon(t)...)
	out = append(out, m.aboutShare(t)...)
	return append(out, m.aboutPast(t)...)
}

// detailEnd is the first line of the detail that is shown at its end.
func (m *Model) detailEnd() int { return max(0, len(m.detailLines())-m.detailHeight()) }

func (m *Model) detailHeight() int { return max(1, m.height-len(m.header())-2) }

// section is the heading of a part of the detail.
func (m *Model) section(name string) []string { return []string{"", " " + m.paint(strong, name)} }

// fact is one line of a section.
func fact(name, value string) string { return "  " + fit(name, 12) + "  " + value }

// aboutMember is what the status says of a member, or of one that is lost or held.
func (m *Model) aboutMember(r *row) []string {
	t := good
	if r.m.State != subjects.Up {
		t = alarm
	}
	state := m.paint(t, stateGlyph(r.m.State)+" "+stateWord(r.m.State))
	if s := since(r.m, m.now); s != "-" {
		state += " for " + s
	}
	out := []string{fact("state", state)}
	switch {
	case r.gone:
		out = append(out, fact("reason", m.why(r)))
	case r.m.Reason != "":
		out = append(out, fact("reason", safe(r.m.Reason, subjects.MaxReason)))
	}
	var as []string
	for _, a := range r.m.Addresses {
		as = append(as, addressText(a))
	}
	out = append(out, fact("addresses", strings.Join(as, "  ")))
	if r.m.Place() != "" {
		out = append(out, fact("site", placeName(r.m)))
	}
	if !r.gone {
		out = append(out, fact("weight", number(r.m.Weight)), fact("priority", number(r.m.Priority)))
		if r.m.Version != "" {
			out = append(out, fact("version", safe(r.m.Version, 64)))
		}
		if r.m.Plain {
			out = append(out, fact("plain", "it says neither boot nor sequence"))
		}
		if r.role == subjects.Manager && r.m.Node == m.pic.Status.Manager {
			out = append(out, fact("manager", "the active one"))
		}
	}
	var others []string
	for _, o := range m.rolesOf(r.m.Node) {
		if o != r.role {
			others = append(others, safe(string(o), 63))
		}
	}
	if len(others) > 0 {
		out = append(out, fact("other roles", strings.Join(others, "  ")))
	}
	if len(r.m.Attrs) == 0 {
		return out
	}
	out = append(out, m.section("attributes")...)
	for _, k := range slices.Sorted(maps.Keys(r.m.Attrs)) {
		out = append(out, fact(subjects.Printable(k, 32), subjects.Printable(MaskAttr(k, r.m.Attrs[k]), subjects.MaxAttrValue)))
	}
	return out
}

// aboutChecks are the checks of a member's role.
func (m *Model) aboutChecks(t target) []string {
	if m.facts.checksOf != t.node {
		return nil
	}
	out := m.section("checks")
	if why := m.facts.checksFault; why != "" {
		return append(out, "  "+safe(why, subjects.MaxReason))
	}
	rows := [][]string{{"STATE", "TOOK", "AGO", "CHECK", "NEWEST RESULT"}}
	tones := []tone{faint}
	for _, c := range m.facts.checks {
		if c.Role != t.role {
			continue
		}
		glyph, t, result := "●", good, "passed"
		switch c.State {
		case subjects.CheckFailing:
			glyph, t = "✗", alarm
		case subjects.CheckUnknown:
			glyph, t, result = "◐", alarm, "not probed yet"
		}
		if c.Fault != "" {
			result = strings.TrimPrefix(safe(c.Fault, subjects.MaxReason), safe(c.Name, subjects.MaxReason)+": ")
		}
		if c.ReportOnly {
			result += " (it only reports)"
		}
		took, ago := "-", "-"
		if c.State != subjects.CheckUnknown {
			took = millis(time.Duration(c.TookMS * float64(time.Millisecond)))
			ago = millis(time.Duration(c.AgoMS) * time.Millisecond)
		}
		rows, tones = append(rows, []string{glyph + " " + subjects.Printable(string(c.State), 16), took, ago, safe(c.Name, 256), result}), append(tones, t)
	}
	if len(rows) == 1 {
		return append(out, "  none of this role")
	}
	var b strings.Builder
	writeTable(&b, rows)
	for i, l := range strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n") {
		if i == 0 {
			l = m.paint(faint, l)
		} else if tones[i] == alarm {
			l = m.paint(alarm, l)
		}
		out = append(out, "  "+l)
	}
	return out
}

// aboutDaemon is what a broker or a name server says of itself.
func (m *Model) aboutDaemon(t target) []string {
	switch t.role {
	case subjects.EventServer:
		b, ok := m.facts.brokers[t.node]
		if !ok {
			return nil
		}
		out := append(m.section("broker"),
			fact("clients", fmt.Sprint(b.Clients)), fact("routes", fmt.Sprintf("to %d brokers", b.Peers)),
			fact("messages", fmt.Sprintf("in %s/s, out %s/s", m.perSecond(t.node, messagesIn), m.perSecond(t.node, messagesOut))),
			fact("slow", fmt.Sprintf("%d clients were cut off", b.Slow)), fact("memory", amount(b.Memory)))
		if b.JetStream {
			leader := "none known"
			if b.Leader != "" {
				leader = nodeName(b.Leader)
			}
			out = append(out, fact("jetstream", fmt.Sprintf("leader %s, %s of %s on disk", leader, amount(b.Stored), amount(b.Limit))))
		}
		return out
	case subjects.DNSManager:
		z := m.zone(t.node)
		if z == nil {
			return nil
		}
		behind, tn := m.behind(t.node)
		return append(m.section("name server"),
			fact("serial", fmt.Sprint(z.Serial)), fact("behind", m.paint(tn, behind)), fact("zone", subjects.Printable(z.Digest, subjects.MaxAttrValue)),
			fact("answers", fmt.Sprintf("%d, %s/s  %s", z.Answered, m.perSecond(t.node, answered), m.facts.rates[counter{t.node, answered}].curve())),
			fact("dropped", fmt.Sprint(z.Dropped)))
	}
	return nil
}

// aboutShare is the member's share of the lookup of its role.
func (m *Model) aboutShare(t target) []string {
	s, known := m.facts.shares[t.role]
	if !m.hasTable(t.role) || !known {
		return nil
	}
	out := m.section("lookup")
	x, ok := s.find(t.node)
	switch {
	case s.Fault != "":
		return append(out, "  "+safe(s.Fault, subjects.MaxReason))
	case !ok:
		return append(out, "  it has no share")
	}
	return append(out,
		fact("owner of", fmt.Sprintf("%s of the subscribers (%d of %d slots; by weight %s)", percent(s.part(x.Slots)), x.Slots, s.Slots, percent(s.fair(x)))),
		fact("heir of", percent(s.part(x.Heir))), fact("", m.shareBar(t.role, x)))
}

// aboutPast is what happened to the node, the newest first.
func (m *Model) aboutPast(t target) []string {
	out := m.section("history of the node, newest first")
	if m.past != "" {
		out = append(out, "  "+m.paint(faint, m.past))
	}
	var of []row
	for i := len(m.events) - 1; i >= 0; i-- {
		if e := &m.events[i]; e.Node == t.node {
			of = append(of, row{role: e.Role, node: e.Node, event: e})
		}
	}
	for i := range of {
		out = append(out, m.eventText(&of[i], true, 20, 16))
	}
	if len(of) == 0 {
		out = append(out, "  nothing is known")
	}
	return out
}
