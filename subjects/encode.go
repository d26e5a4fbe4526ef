package subjects

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// Each receiver of a delta encodes the status that it leads to, to compare digests, and
// so does the manager for each generation: with thousands of members most of the
// time of both would go into reflection. What follows writes the bytes that Encode
// would.

// appendStatus appends the canonical form of s without its losses.
func appendStatus(b []byte, s *Status) []byte {
	b = appendStatusHead(b, s)
	for i, r := range s.RoleNames() {
		b = append(appendText(comma(b, i), string(r)), ':')
		b = appendMembers(b, s.Roles[r])
	}
	return appendStatusTail(b, s, appendLookup)
}

// appendStatusHead appends what comes before the roles.
func appendStatusHead(b []byte, s *Status) []byte {
	b = append(b, `{"v":`...)
	b = strconv.AppendInt(b, int64(s.V), 10)
	b = appendText(append(b, `,"domain":`...), s.Domain)
	b = strconv.AppendUint(append(b, `,"epoch":`...), s.Epoch, 10)
	b = strconv.AppendUint(append(b, `,"generation":`...), s.Generation, 10)
	b = appendText(append(b, `,"manager":`...), string(s.Manager))
	b = appendTime(append(b, `,"time":`...), s.Time)
	return append(b, `,"roles":{`...)
}

// statusDeparted ends the roles.
const statusDeparted = `},"departed":[`

// appendStatusTail appends what comes after the roles; lookup appends each table.
func appendStatusTail(b []byte, s *Status, lookup func([]byte, Lookup) []byte) []byte {
	b = append(b, statusDeparted...)
	for i := range s.Departed {
		d := &s.Departed[i]
		b = appendText(append(comma(b, i), `{"node":`...), string(d.Node))
		b = append(b, `,"addresses":`...)
		if d.Addresses == nil {
			b = append(b, "null"...)
		} else {
			b = appendAddresses(b, d.Addresses)
		}
		b = append(appendTime(append(b, `,"until":`...), d.Until), '}')
	}
	b = append(b, `],"lookup":{`...)
	for i, r := range slices.Sorted(maps.Keys(s.Lookup)) {
		b = append(appendText(comma(b, i), string(r)), ':')
		b = lookup(b, s.Lookup[r])
	}
	b = append(b, '}')
	if len(s.Only) > 0 {
		b = append(b, `,"only":[`...)
		for i, r := range s.Only {
			b = appendText(comma(b, i), string(r))
		}
		b = append(b, ']')
	}
	return append(b, '}')
}

// appendView appends the wire form of v.
func appendView(b []byte, v *RoleView) []byte {
	b = strconv.AppendInt(append(b, `{"v":`...), int64(v.V), 10)
	b = appendText(append(b, `,"domain":`...), v.Domain)
	b = strconv.AppendUint(append(b, `,"epoch":`...), v.Epoch, 10)
	b = strconv.AppendUint(append(b, `,"generation":`...), v.Generation, 10)
	b = appendText(append(b, `,"role":`...), string(v.Role))
	b = appendSitedMembers(append(b, `,"members":`...), v.Members)
	if v.Lookup != nil {
		b = appendSitedLookup(append(b, `,"lookup":`...), *v.Lookup)
	}
	if v.Part != 0 {
		b = strconv.AppendInt(append(b, `,"part":`...), int64(v.Part), 10)
	}
	if v.Parts != 0 {
		b = strconv.AppendInt(append(b, `,"parts":`...), int64(v.Parts), 10)
	}
	return append(b, '}')
}

// appendLookup leaves out what follows from sites.
func appendLookup(b []byte, l Lookup) []byte {
	b = strconv.AppendInt(append(b, lookupMark...), int64(l.Bits), 10)
	return append(appendText(append(b, `,"digest":`...), l.Digest), '}')
}

// appendSitedLookup is appendLookup with the digest of the remotes.
func appendSitedLookup(b []byte, l Lookup) []byte {
	b = appendLookup(b, l)
	if l.RemoteDigest != "" {
		b = append(appendText(append(b[:len(b)-1], remoteKey...), l.RemoteDigest), '}')
	}
	return b
}

func appendMembers(b []byte, ms []Member) []byte {
	if ms == nil {
		return append(b, "null"...)
	}
	b = append(b, '[')
	for i := range ms {
		b = appendMember(comma(b, i), &ms[i])
	}
	return append(b, ']')
}

// appendSitedMembers is appendMembers with their sites.
func appendSitedMembers(b []byte, ms []Member) []byte {
	if ms == nil {
		return append(b, "null"...)
	}
	b = append(b, '[')
	for i := range ms {
		b = appendMember(comma(b, i), &ms[i])
		b = append(appendSite(b[:len(b)-1], &ms[i]), '}')
	}
	return append(b, ']')
}

// appendMember writes lists that are nil as empty ones, and no site.
func appendMember(b []byte, m *Member) []byte {
	b = appendText(append(b, `{"node":`...), string(m.Node))
	b = appendAddresses(append(b, `,"addresses":`...), m.Addresses)
	b = appendText(append(b, `,"state":`...), string(m.State))
	b = appendText(append(b, `,"reason":`...), m.Reason)
	b = strconv.AppendInt(append(b, `,"priority":`...), int64(m.Priority), 10)
	b = strconv.AppendInt(append(b, `,"weight":`...), int64(m.Weight), 10)
	b = appendTime(append(b, `,"since":`...), m.Since)
	if m.Version != "" {
		b = appendText(append(b, `,"version":`...), m.Version)
	}
	if m.Plain {
		b = append(b, `,"plain":true`...)
	}
	b = append(b, `,"attrs":{`...)
	if len(m.Attrs) > 0 {
		var few [8]string
		names := few[:0]
		for k := range m.Attrs {
			names = append(names, k)
		}
		slices.Sort(names)
		for i, k := range names {
			b = append(appendText(comma(b, i), k), ':')
			b = appendText(b, m.Attrs[k])
		}
	}
	return append(b, "}}"...)
}

func appendAddresses(b []byte, as []netip.Addr) []byte {
	b = append(b, '[')
	for i, a := range as {
		b = comma(b, i)
		if a.Zone() != "" {
			b = appendText(b, a.String())
			continue
		}
		b = append(b, '"')
		if a.IsValid() {
			b = a.AppendTo(b)
		}
		b = append(b, '"')
	}
	return append(b, ']')
}

func appendTime(b []byte, t time.Time) []byte {
	if y := t.Year(); y < 0 || y > 9999 {
		return append(b, Encode(t)...) // which panics
	}
	return append(t.AppendFormat(append(b, '"'), time.RFC3339Nano), '"')
}

// appendText writes s as a JSON string.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return append(b, Encode(s)...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// comma separates the elements of a list but the first.
func comma(b []byte, i int) []byte {
	if i == 0 {
		return b
	}
	return append(b, ',')
}
