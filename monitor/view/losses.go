package view

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"thor/subjects"
)

// mostLosses is how many lost and how many held members thor status lists. thor
// members lists all.
const mostLosses = 20

// lossReasons say of which roles members are missing: how many there are of how
// many, and which are lost, since when and why, or held down, and for how long.
func lossReasons(s *subjects.Status, now time.Time) (out []string) {
	expected := s.Expected()
	for _, r := range s.LossRoles() {
		lost, held, have := lostIn(s, r), heldIn(s, r), len(s.Roles[r])
		var why []string
		switch {
		case len(lost) == 1:
			why = append(why, fmt.Sprintf("%s lost%s%s", nodeName(lost[0].Node), lostAgo(lost[0].Since, now), because(lost[0].Reason)))
		case len(lost) > 1:
			why = append(why, fmt.Sprintf("%d lost: %s", len(lost), someNames(lost, 3, lostNode)))
		}
		switch {
		case len(held) == 1:
			why = append(why, fmt.Sprintf("%s held down for %s%s", nodeName(held[0].Node), spelled(held[0].Until.Sub(now)), because(held[0].Reason)))
		case len(held) > 1:
			why = append(why, fmt.Sprintf("%d held down: %s", len(held), someNames(held, 3, heldNode)))
		}
		all := have + len(lost) + len(held)
		if have < expected[r] {
			all = max(all, expected[r])
			why = append(why, fmt.Sprintf("%d expected", expected[r]))
		}
		if len(why) > 0 {
			out = append(out, fmt.Sprintf("%s %d of %d, %s", safe(string(r), 63), have, all, strings.Join(why, ", ")))
		}
	}
	return out
}

// lostAgo is " 4 min ago"; nothing where the manager does not know since when.
func lostAgo(since, now time.Time) string {
	if since.IsZero() {
		return ""
	}
	return " " + spelled(now.Sub(since)) + " ago"
}

// because is a reason behind what it explains.
func because(reason string) string {
	if reason == "" {
		return ""
	}
	return " (" + safe(reason, subjects.MaxReason) + ")"
}

func lostIn(s *subjects.Status, r subjects.Role) []subjects.Lost {
	return inRole(s.Lost, r, func(l subjects.Lost) subjects.Role { return l.Role })
}

func heldIn(s *subjects.Status, r subjects.Role) []subjects.Held {
	return inRole(s.Held, r, func(h subjects.Held) subjects.Role { return h.Role })
}

// inRole is the part of list, sorted by role, that is of r.
func inRole[T any](list []T, r subjects.Role, role func(T) subjects.Role) []T {
	from, _ := slices.BinarySearchFunc(list, r, func(x T, r subjects.Role) int { return strings.Compare(string(role(x)), string(r)) })
	to := from
	for to < len(list) && role(list[to]) == r {
		to++
	}
	return list[from:to]
}

func lostNode(l subjects.Lost) subjects.NodeID { return l.Node }
func heldNode(h subjects.Held) subjects.NodeID { return h.Node }

func nodeName(n subjects.NodeID) string { return subjects.Printable(string(n), 63) }

// lossLines are the lines of thor status about lost and held members.
func lossLines(s *subjects.Status, now time.Time) string {
	var b strings.Builder
	for _, l := range s.Lost[:min(len(s.Lost), mostLosses)] {
		fmt.Fprintf(&b, "lost: %s as %s, %s, for %s, %s\n", nodeName(l.Node), safe(string(l.Role), 63), lostAddress(l), lostSince(l, now), safe(l.Reason, subjects.MaxReason))
	}
	moreLosses(&b, "lost", len(s.Lost))
	for _, h := range s.Held[:min(len(s.Held), mostLosses)] {
		fmt.Fprintf(&b, "held: %s as %s, returns in %s, %s\n", nodeName(h.Node), safe(string(h.Role), 63), span(h.Until.Sub(now)), safe(h.Reason, subjects.MaxReason))
	}
	moreLosses(&b, "held", len(s.Held))
	return b.String()
}

func moreLosses(b *strings.Builder, what string, n int) {
	if n > mostLosses {
		fmt.Fprintf(b, "%s: %d more, see thor members\n", what, n-mostLosses)
	}
}

func lostAddress(l subjects.Lost) string {
	m := subjects.Member{Addresses: l.Addresses}
	return address(&m)
}

func lostSince(l subjects.Lost, now time.Time) string {
	m := subjects.Member{Since: l.Since}
	return since(&m, now)
}

// lossRows are the rows of thor members about lost and held members of r.
func lossRows(s *subjects.Status, r subjects.Role, now time.Time) (rows [][]string) {
	for _, l := range lostIn(s, r) {
		rows = append(rows, []string{
			safe(string(r), 63), nodeName(l.Node), "lost", lostAddress(l), cmp.Or(siteName(l.SilentSite()), "-"), "-", "-", lostSince(l, now), safe(l.Reason, subjects.MaxReason),
		})
	}
	for _, h := range heldIn(s, r) {
		rows = append(rows, []string{
			safe(string(r), 63), nodeName(h.Node), "held", "-", "-", "-", "-", "-", heldDetail(h, now),
		})
	}
	return rows
}

func heldDetail(h subjects.Held, now time.Time) string {
	return "returns in " + span(h.Until.Sub(now)) + ", " + safe(h.Reason, subjects.MaxReason)
}

// absents are the lost and held members that pass the filter, as rows.
func (m *Model) absents(f filter) (out []row) {
	s := m.pic.Status
	if s == nil {
		return nil
	}
	add := func(r row) {
		r.node, r.gone, r.key = r.m.Node, true, memberKey(r.role, r.m.Node)
		if f.match(string(r.m.State), nodeName(r.m.Node), address(r.m), m.absence(&r), "site "+placeName(r.m)) {
			out = append(out, r)
		}
	}
	for _, l := range s.Lost {
		add(row{role: l.Role, m: &subjects.Member{Node: l.Node, Addresses: l.Addresses[:min(1, len(l.Addresses))], State: subjects.StateLost, Since: l.Since, Reason: l.Reason, Site: cmp.Or(l.SilentSite(), m.places[l.Node])}})
	}
	for _, h := range s.Held {
		add(row{role: h.Role, until: h.Until, m: &subjects.Member{Node: h.Node, State: subjects.StateHeld, Reason: h.Reason, Site: m.places[h.Node]}})
	}
	return out
}

// absence says in which role r is missing, until when and why.
func (m *Model) absence(r *row) string { return safe(string(r.role), 63) + ": " + m.why(r) }

// why says why r is missing, and until when.
func (m *Model) why(r *row) string {
	if !r.until.IsZero() {
		return heldDetail(subjects.Held{Until: r.until, Reason: r.m.Reason}, m.now)
	}
	return safe(r.m.Reason, subjects.MaxReason)
}

// absentRows are the rows of the section of lost and held members, with its
// heading; none if nothing is lost or held.
func (m *Model) absentRows(f filter) []row {
	as := m.absents(f)
	if len(as) == 0 {
		return nil
	}
	return append([]row{{title: fmt.Sprintf("lost %d, held %d", len(m.pic.Status.Lost), len(m.pic.Status.Held)), t: alarm}}, as...)
}

// onceLosses is the section of the plain screen.
func onceLosses(b *strings.Builder, s *subjects.Status, now time.Time) {
	m := Model{pic: Picture{Status: s}, now: now}
	for i, a := range m.absents(nil) {
		if i == 0 {
			b.WriteString("\n  lost and held members:\n")
		}
		fmt.Fprintf(b, "    %-*s %s %s %s\n", addressColumn, address(a.m), a.m.State, node(a.m), m.absence(&a))
	}
}

// lossCounts are the LOST and HELD columns of a role.
func lossCounts(s *subjects.Status, r subjects.Role) (lost, held string) {
	if s == nil {
		return "0", "0"
	}
	return strconv.Itoa(len(lostIn(s, r))), strconv.Itoa(len(heldIn(s, r)))
}
