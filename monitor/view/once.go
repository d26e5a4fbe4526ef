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

// The columns of the 2009 screen. A longer address, which is an IPv6 one, moves
// the rest of its own line to the right, and no other line.
const (
	addressColumn  = 15
	priorityColumn = 12
)

// OnceOptions are what the plain screen needs beside the status.
type OnceOptions struct {
	// Domain is shown while there is no status that names it.
	Domain string
	// Node is this node: its line among the thor_monitor members is marked
	// "myself". Empty: none is.
	Node subjects.NodeID
}

// Once is the plain screen of the network as the SIP Thor description shows it,
// byte for byte: a title with the domain and the time of now in its location, a
// ruler of the same length, then a block for each role by name, its members by
// address. A line is the address, "priority=NN" where there is a priority, the
// database's URI without its password, and "myself"; address and priority are
// padded also where they end the line. What that screen has no example of
// follows on the right: further addresses and a state that is not "up"; or below: who
// is lost or held. s may be nil. The screen ends in one newline.
func Once(s *subjects.Status, now time.Time, o OnceOptions) string {
	domain := o.Domain
	if s != nil && s.Domain != "" {
		domain = s.Domain
	}
	title := onceTitle(safe(domain, 253), now)
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n", title, strings.Repeat("-", width(title)))
	if s == nil || len(s.Roles) == 0 {
		b.WriteString("\n  no members\n")
		return b.String()
	}
	for _, role := range s.RoleNames() {
		onceBlock(&b, role, s.Roles[role], o.Node)
	}
	onceLosses(&b, s, now)
	return b.String()
}

func onceTitle(domain string, now time.Time) string {
	return fmt.Sprintf("SIP Thor network for %s at %s:", domain, now.Format("15:04:05 Mon 02 Jan 2006"))
}

func onceBlock(b *strings.Builder, role subjects.Role, members []subjects.Member, myself subjects.NodeID) {
	fmt.Fprintf(b, "\n  %s members:\n", safe(string(role), 63))
	for _, m := range sortMembers(members, screenAddress) {
		b.WriteString("    ")
		b.WriteString(strings.Join(onceLine(role, m, myself), " "))
		b.WriteByte('\n')
	}
}

// onceLine is the fields of a member's line.
func onceLine(role subjects.Role, m *subjects.Member, myself subjects.NodeID) []string {
	shown := screenAddress(m)
	line := []string{fmt.Sprintf("%-*s", addressColumn, addressText(shown))}
	if m.Priority > 0 {
		line = append(line, fmt.Sprintf("%-*s", priorityColumn, fmt.Sprintf("priority=%d", m.Priority)))
	}
	if uri := m.Attrs[databaseAttr]; uri != "" {
		line = append(line, safe(uri, subjects.MaxAttrValue))
	}
	if role == subjects.Monitor && myself != "" && m.Node == myself {
		line = append(line, "myself")
	}
	for _, a := range m.Addresses {
		if a != shown {
			line = append(line, addressText(a))
		}
	}
	if m.State != subjects.Up {
		line = append(line, safe(string(m.State), 16))
	}
	return line
}

// screenAddress is the address in the first column: the first IPv4 one, as on
// the 2009 screen, or else the first.
func screenAddress(m *subjects.Member) netip.Addr {
	if i := slices.IndexFunc(m.Addresses, netip.Addr.Is4); i >= 0 {
		return m.Addresses[i]
	}
	return m.Address()
}

// byAddress orders members by number, IPv4 before IPv6.
func byAddress(members []subjects.Member) []*subjects.Member {
	return sortMembers(members, (*subjects.Member).Address)
}

func sortMembers(members []subjects.Member, key func(*subjects.Member) netip.Addr) []*subjects.Member {
	out := make([]*subjects.Member, len(members))
	for i := range members {
		out[i] = &members[i]
	}
	slices.SortFunc(out, func(a, b *subjects.Member) int {
		return cmp.Or(key(a).Compare(key(b)), cmp.Compare(a.Node, b.Node))
	})
	return out
}

func address(m *subjects.Member) string { return addressText(m.Address()) }

func addressText(a netip.Addr) string {
	if a == (netip.Addr{}) {
		return "-"
	}
	return subjects.Printable(a.String(), 64) // a zone is foreign text
}
