package view

import (
	"fmt"
	"strings"
	"time"

	"thor/subjects"
)

// Health judges a view of the network: ok is false, and the reasons say why in
// words for an operator, when the view itself is not current (stale, or without
// a connection), when no manager is active, when a member is suspect or the
// status gives a reason beside its being up (a duplicate), when a
// role has members but none that serves, when a member reports a fault of the
// lookup, when a site fell silent, when members are lost or held, or when a role has fewer members than the
// active manager expects. A draining member is no reason, since an
// operator asked for it; nor is a role that is absent and not expected. now is for how
// long members have been lost or stay held. s may be nil: nothing is known.
func Health(s *subjects.Status, now time.Time, stale, connected bool) (ok bool, reasons []string) {
	if !connected {
		reasons = append(reasons, "no connection to a broker")
	}
	if s == nil {
		return false, append(reasons, "nothing is known of the network yet")
	}
	if stale {
		reasons = append(reasons, "no active manager confirms the status")
	}
	if s.Manager == "" {
		reasons = append(reasons, "no manager is active")
	}
	for _, role := range s.RoleNames() {
		reasons = append(reasons, roleReasons(role, s.Roles[role])...)
	}
	reasons = append(reasons, siteReasons(s, now)...)
	reasons = append(reasons, lossReasons(s, now)...)
	return len(reasons) == 0, reasons
}

func roleReasons(role subjects.Role, members []subjects.Member) []string {
	var out []string
	var suspects []*subjects.Member
	serving := 0
	for i := range members {
		if members[i].Serves() {
			serving++
		}
		if members[i].State == subjects.Suspect {
			suspects = append(suspects, &members[i])
		}
	}
	name := safe(string(role), 63)
	out = append(out, lookupReasons(name, members)...)
	for i := range members {
		if m := &members[i]; m.State == subjects.Up && m.Reason != "" {
			out = append(out, fmt.Sprintf("%s: %s is up, %s", name, node(m), safe(m.Reason, subjects.MaxReason)))
		}
	}
	if len(members) > 0 && serving == 0 {
		out = append(out, fmt.Sprintf("%s: no member serves, %d draining", name, len(members)))
	}
	switch n := len(suspects); {
	case n == 1:
		r := fmt.Sprintf("%s: %s is suspect", name, node(suspects[0]))
		if why := safe(suspects[0].Reason, subjects.MaxReason); why != "" {
			r += ", " + why
		}
		out = append(out, r)
	case n > 1:
		out = append(out, fmt.Sprintf("%s: %d of %d are suspect, %s", name, n, len(members), someNames(suspects, 3, memberNode)))
	}
	return out
}

// lookupReasons are the faults that members report of themselves: subscribers may
// be sent to two places, or no other manager could take over.
func lookupReasons(role string, members []subjects.Member) (out []string) {
	for i := range members {
		for _, attr := range []struct{ name, what string }{
			{subjects.LookupDiffers, "computes another lookup table"},
			{subjects.HeldBack, "will not lead"},
			{subjects.AttrPowerDNSFault, "has a fault with PowerDNS"},
		} {
			if v := members[i].Attrs[attr.name]; v != "" {
				out = append(out, fmt.Sprintf("%s: %s %s, %s", role, node(&members[i]), attr.what, safe(v, subjects.MaxReason)))
			}
		}
	}
	return out
}

// someNames names at most n of the nodes.
func someNames[T any](list []T, n int, node func(T) subjects.NodeID) string {
	var names []string
	for _, x := range list[:min(n, len(list))] {
		names = append(names, nodeName(node(x)))
	}
	s := strings.Join(names, " ")
	if len(list) > n {
		s += fmt.Sprintf(" and %d more", len(list)-n)
	}
	return s
}

func memberNode(m *subjects.Member) subjects.NodeID { return m.Node }

func node(m *subjects.Member) string { return nodeName(m.Node) }
