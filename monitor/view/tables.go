package view

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"thor/subjects"
)

// StatusTable is what thor status prints: one line of health, what the status
// is, and the serving and total members of each role. s may be nil; it is taken
// to come over a live connection. doubts are what is wrong besides, as a Sight says.
func StatusTable(s *subjects.Status, now time.Time, stale bool, doubts ...string) string {
	ok, reasons := Health(s, now, stale, true)
	if len(doubts) > 0 {
		ok, reasons = false, append(doubts[:len(doubts):len(doubts)], reasons...)
	}
	health := "healthy"
	if !ok {
		health = "degraded: " + strings.Join(reasons, "; ")
	}
	if s == nil {
		return health + "\n"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", safe(s.Domain, 253), health)
	fmt.Fprintf(&b, "epoch %d, generation %d, changed %s ago, manager %s, %s\n", s.Epoch, s.Generation,
		span(now.Sub(s.Time)), managerName(s), freshness(stale))
	for _, d := range s.Departed {
		fmt.Fprintf(&b, "departed: %s, host name kept for %s\n", subjects.Printable(string(d.Node), 63), span(d.Until.Sub(now)))
	}
	b.WriteString(lossLines(s, now))
	b.WriteString(siteLines(s))
	t := [][]string{{"ROLE", "SERVING", "TOTAL", "SUSPECT", "DRAINING", "LOST", "HELD"}}
	for _, r := range s.AllRoles() {
		c := count(s.Roles[r])
		lost, held := lossCounts(s, r)
		t = append(t, []string{
			safe(string(r), 63), strconv.Itoa(c.serving), strconv.Itoa(c.total),
			strconv.Itoa(c.suspect), strconv.Itoa(c.draining), lost, held,
		})
	}
	b.WriteByte('\n')
	writeTable(&b, t)
	return b.String()
}

func managerName(s *subjects.Status) string {
	if s.Manager == "" {
		return "none"
	}
	return subjects.Printable(string(s.Manager), 63)
}

func freshness(stale bool) string {
	if stale {
		return "stale"
	}
	return "current"
}

// counts of one role.
type counts struct{ total, serving, suspect, draining int }

func count(ms []subjects.Member) counts {
	var c counts
	for i := range ms {
		c.add(&ms[i])
	}
	return c
}

func (c *counts) add(m *subjects.Member) {
	c.total++
	if m.Serves() {
		c.serving++
	}
	switch m.State {
	case subjects.Suspect:
		c.suspect++
	case subjects.Draining:
		c.draining++
	}
}

// MembersTable is what thor members prints: a line for each member of role, or
// of all roles if role is empty, by role and address, then those that are lost or
// held there. The heading is printed without members too. There are sites where one is known.
func MembersTable(s *subjects.Status, role subjects.Role, now time.Time) string {
	if s == nil {
		s = &subjects.Status{}
	}
	t := [][]string{{"ROLE", "NODE", "STATE", "ADDRESS", "SITE", "PRIORITY", "WEIGHT", "SINCE", "DETAIL"}}
	for _, r := range s.AllRoles() {
		if role != "" && r != role {
			continue
		}
		for _, m := range byAddress(s.Roles[r]) {
			t = append(t, []string{
				safe(string(r), 63), node(m), stateWord(m.State), address(m), placeName(m), number(m.Priority), number(m.Weight),
				since(m, now), strings.Join(details(s, r, m, ""), "  "),
			})
		}
		t = append(t, lossRows(s, r, now)...)
	}
	if len(Sites(s)) == 0 {
		for i := range t {
			t[i] = slices.Delete(t[i], 4, 5)
		}
	}
	var b strings.Builder
	writeTable(&b, t)
	return b.String()
}

// number writes n, and "-" for zero, which means that none was given.
func number(n int) string {
	if n == 0 {
		return "-"
	}
	return strconv.Itoa(n)
}

// details are what there is to say of a member beyond the columns: why it is
// not up, what it is, and its attributes, each safe to print.
func details(s *subjects.Status, role subjects.Role, m *subjects.Member, myself subjects.NodeID) []string {
	var d []string
	if m.Reason != "" {
		d = append(d, safe(m.Reason, subjects.MaxReason))
	}
	active := role == subjects.Manager && m.Node == s.Manager && m.Node != ""
	if active {
		d = append(d, "active")
	}
	if role == subjects.Monitor && m.Node == myself && myself != "" {
		d = append(d, "myself")
	}
	if m.Plain {
		d = append(d, "plain")
	}
	for _, a := range m.Addresses[min(1, len(m.Addresses)):] {
		d = append(d, "also "+subjects.Printable(a.String(), 64))
	}
	for _, k := range slices.Sorted(maps.Keys(m.Attrs)) {
		if active && k == "state" && m.Attrs[k] == "active" { // shown already
			continue
		}
		d = append(d, subjects.Printable(k, 32)+"="+subjects.Printable(MaskAttr(k, m.Attrs[k]), subjects.MaxAttrValue))
	}
	if m.Version != "" {
		d = append(d, "version="+safe(m.Version, 64))
	}
	return d
}

// EventLine is the line that thor events prints for e, without a newline: local
// time, kind, role, node and cause.
func EventLine(e *subjects.Event) string {
	c := eventCells(e)
	line := fmt.Sprintf("%s  %-9s  %-20s  %-16s  %s", e.Time.Local().Format("2006-01-02 15:04:05"), c.kind, c.role, c.node, c.cause)
	return strings.TrimRight(line, " ")
}

// cells of an event, safe to print.
type cells struct{ kind, role, node, cause string }

func eventCells(e *subjects.Event) cells {
	c := cells{
		kind: subjects.Printable(string(e.Kind), 32), role: subjects.Printable(string(e.Role), 63),
		node: subjects.Printable(string(e.Node), 63), cause: safe(e.Detail, 512),
	}
	for _, f := range []*string{&c.kind, &c.role, &c.node} {
		if *f == "" {
			*f = "-"
		}
	}
	return c
}

// writeTable aligns the columns of rows at their display width.
func writeTable(b *strings.Builder, rows [][]string) {
	w := make([]int, len(rows[0]))
	for _, r := range rows {
		for i, c := range r {
			w[i] = max(w[i], width(c))
		}
	}
	for _, r := range rows {
		var line strings.Builder
		for i, c := range r {
			line.WriteString(c)
			line.WriteString(strings.Repeat(" ", w[i]-width(c)+2))
		}
		b.WriteString(strings.TrimRight(line.String(), " "))
		b.WriteByte('\n')
	}
}
