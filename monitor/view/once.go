package view

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"thor/subjects"
)

// databaseAttr is the attribute under which a thor_database member says where
// the database is. The 2009 screen shows its value without the name.
const databaseAttr = "dburi"

// addressColumn is the width of the first column. Only a longer address, which
// is an IPv6 one, makes it wider, and only in its own block.
const addressColumn = 16

// OnceOptions are what the plain screen needs beside the status.
type OnceOptions struct {
	// Domain is shown while there is no status that names it.
	Domain string
	// Node is this node: its line among the thor_monitor members is marked
	// "myself". Empty: none is.
	Node subjects.NodeID
}

// Once is the plain screen of the network in the layout of the SIP Thor
// description: a title with the domain and the time of now in its location, a
// ruler of the same length, then a block for each role by name, its members by
// address. A line is the address, "priority=NN" where there is a priority, the
// database's URI without its password, a state that is not "up", and "myself".
// s may be nil. No line ends in a blank; the last one ends in a newline.
func Once(s *subjects.Status, now time.Time, o OnceOptions) string {
	domain := o.Domain
	if s != nil && s.Domain != "" {
		domain = s.Domain
	}
	title := onceTitle(safe(domain, 253), now)
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n", title, strings.Repeat("-", width(title)))
	if s == nil || len(s.Roles) == 0 {
		b.WriteString("no members\n")
		return b.String()
	}
	for i, role := range s.RoleNames() {
		if i > 0 {
			b.WriteByte('\n')
		}
		onceBlock(&b, role, s.Roles[role], o.Node)
	}
	return b.String()
}

func onceTitle(domain string, now time.Time) string {
	return fmt.Sprintf("Thor network for %s at %s on %s", domain, now.Format("15:04:05"), now.Format("2 Jan 2006"))
}

func onceBlock(b *strings.Builder, role subjects.Role, members []subjects.Member, myself subjects.NodeID) {
	fmt.Fprintf(b, "%s members:\n", safe(string(role), 63))
	w := addressColumn
	for i := range members {
		w = max(w, len(address(&members[i]))+1)
	}
	for _, m := range byAddress(members) {
		line := []string{fmt.Sprintf("%-*s", w-1, address(m))}
		if m.Priority > 0 {
			line = append(line, fmt.Sprintf("priority=%d", m.Priority))
		}
		if uri := m.Attrs[databaseAttr]; uri != "" {
			line = append(line, safe(uri, subjects.MaxAttrValue))
		}
		if m.State != subjects.Up {
			line = append(line, safe(string(m.State), 16))
		}
		if role == subjects.Monitor && myself != "" && m.Node == myself {
			line = append(line, "myself")
		}
		b.WriteString(strings.TrimRight(strings.Join(line, " "), " "))
		b.WriteByte('\n')
	}
}

// byAddress orders members as the screen does: by number, IPv4 before IPv6.
func byAddress(members []subjects.Member) []*subjects.Member {
	out := make([]*subjects.Member, len(members))
	for i := range members {
		out[i] = &members[i]
	}
	slices.SortFunc(out, func(a, b *subjects.Member) int {
		return cmp.Or(a.Address().Compare(b.Address()), cmp.Compare(a.Node, b.Node))
	})
	return out
}

func address(m *subjects.Member) string {
	a := m.Address()
	if a == (netip.Addr{}) {
		return "-"
	}
	return subjects.Printable(a.String(), 64) // a zone is foreign text
}
