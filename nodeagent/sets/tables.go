package sets

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"thor/subjects"
)

// A Kind is a table of Kamailio that holds sets.
type Kind string

// The kinds.
const (
	KindDispatcher Kind = "dispatcher"
	KindRTPEngine  Kind = "rtpengine"
	KindTrusted    Kind = "trusted"
)

// A Table is one table of Kamailio: which sets it has, and how it is a file.
type Table struct {
	Kind Kind
	// File holds the sets. What else Kamailio wants beside it is in Beside.
	File   string
	Beside map[string][]byte
	// ByTime says that Kamailio reads the file again only if it was changed in a later second
	// than what it has read: so db_text does.
	ByTime bool

	rules []rule
	off   string // the state that an entry which goes is given before the reload; "" for none
}

// Tables are those that c configures. c has been filled.
func (c *Config) Tables() (out []*Table) {
	if c.DispatcherFile != "" {
		t := &Table{Kind: KindDispatcher, File: c.DispatcherFile}
		for _, d := range c.Dispatcher {
			t.rules = append(t.rules, rule{number: d.Group, role: d.Members, entries: d.entries})
		}
		out = append(out, t)
	}
	if c.RTPEngineDir != "" {
		t := &Table{
			Kind: KindRTPEngine, File: filepath.Join(c.RTPEngineDir, "rtpengine"), off: RelayOff, ByTime: true,
			Beside: map[string][]byte{filepath.Join(c.RTPEngineDir, "version"): []byte("table_name(string) table_version(int)\nrtpengine:1\n")},
		}
		for _, r := range c.RTPEngine {
			t.rules = append(t.rules, rule{r.Set, r.Members, r.entries, r.Each})
		}
		out = append(out, t)
	}
	if c.TrustedFile != "" {
		t := &Table{Kind: KindTrusted, File: c.TrustedFile}
		for _, x := range c.Trusted {
			t.rules = append(t.rules, rule{number: x.Group, role: x.Members, entries: x.entries})
		}
		out = append(out, t)
	}
	return out
}

// States of a destination, as dispatcher.set_state has them. One that is tried gets new
// work like an active one: suspect members serve until they are removed.
const (
	active   = "a"
	trying   = "t"
	disabled = "d"
)

// flagsOf are the states in the file.
var flagsOf = map[string]string{active: "0", trying: "2", disabled: "4"}

// maxRWeight is the greatest relative weight that Kamailio takes.
const maxRWeight = 100

func (d *Dispatcher) entries(ms []subjects.Member) (out []Entry) {
	most := 0
	for i := range ms {
		most = max(most, weight(&ms[i]))
	}
	for i := range ms {
		m := &ms[i]
		ap, ok := d.where(m)
		if !ok {
			continue
		}
		uri := "sip:" + ap.String()
		if d.Transport != "udp" {
			uri += ";transport=" + d.Transport
		}
		w := weight(m)
		if most > maxRWeight {
			w = max(1, w*maxRWeight/most)
		}
		priority := 0 // Kamailio prefers the higher number, a role the lower one
		if m.Priority > 0 {
			priority = 65536 - m.Priority
		}
		e := Entry{Address: uri, State: active, Rest: fmt.Sprintf("%d node=%s;rweight=%d", priority, m.Node, w)}
		switch m.State {
		case subjects.Draining:
			e.State = disabled
		case subjects.Suspect:
			e.State = trying
		}
		out = append(out, e)
	}
	return out
}

func weight(m *subjects.Member) int { return cmp.Or(m.Weight, subjects.DefaultWeight) }

// States of a relay, as rtpengine.enable has them.
const (
	RelayOn  = "1"
	RelayOff = "0"
)

func (r *RTPEngine) entries(ms []subjects.Member) (out []Entry) {
	for i := range ms {
		m := &ms[i]
		ap, ok := r.where(m)
		if !ok {
			continue
		}
		scheme := "udp:"
		if ap.Addr().Is6() {
			scheme = "udp6:"
		}
		e := Entry{Address: scheme + ap.String(), State: RelayOn, Rest: strconv.Itoa(weight(m))}
		if !m.Serves() {
			e.State = RelayOff
		}
		out = append(out, e)
	}
	return out
}

func (t *Trusted) entries(ms []subjects.Member) (out []Entry) {
	for i := range ms {
		for _, a := range ms[i].Addresses {
			if a.IsValid() {
				out = append(out, Entry{Address: a.Unmap().String()})
			}
		}
	}
	return out
}

// header begins files that may hold comments.
const header = "# Kept by the thor node agent: what is changed here is lost.\n"

// dbTextHeader names the columns of the table rtpengine.
const dbTextHeader = "setid(int) url(string) weight(int) disabled(int)\n"

// Encode is the file of s.
func (t *Table) Encode(s Sets) []byte {
	var b bytes.Buffer
	if t.Kind == KindRTPEngine {
		b.WriteString(dbTextHeader)
	} else {
		b.WriteString(header)
	}
	for _, n := range slices.Sorted(maps.Keys(s)) {
		for _, e := range s[n] {
			switch t.Kind {
			case KindDispatcher:
				fmt.Fprintf(&b, "%d %s %s %s\n", n, e.Address, flagsOf[e.State], e.Rest)
			case KindRTPEngine:
				off := 0
				if e.State == RelayOff {
					off = 1
				}
				fmt.Fprintf(&b, "%d:%s:%s:%d\n", n, strings.ReplaceAll(e.Address, ":", `\:`), e.Rest, off)
			case KindTrusted:
				fmt.Fprintf(&b, "%d %s\n", n, e.Address)
			}
		}
	}
	return b.Bytes()
}

// Decode reads what Encode wrote. Lines that it would not write are left out; strange is
// how many, without blank ones and comments.
func (t *Table) Decode(b []byte) (s Sets, strange int) {
	s = make(Sets)
	text := string(b)
	columns := true
	if t.Kind == KindRTPEngine {
		text, columns = strings.CutPrefix(text, dbTextHeader)
	}
	for line := range strings.Lines(text) {
		if l := strings.TrimSpace(line); l == "" || l[0] == '#' {
			continue
		}
		var number string
		var e Entry
		ok := false
		switch f := strings.Fields(line); t.Kind {
		case KindDispatcher:
			if ok = len(f) == 5; ok {
				number, e = f[0], Entry{Address: f[1], Rest: f[3] + " " + f[4]}
				for state, flags := range flagsOf {
					if flags == f[2] {
						e.State = state
					}
				}
				ok = e.State != ""
			}
		case KindRTPEngine:
			number, e, ok = decodeRelay(strings.TrimSpace(line))
			ok = ok && columns
		case KindTrusted:
			if len(f) == 2 {
				a, err := netip.ParseAddr(f[1])
				number, e, ok = f[0], Entry{Address: f[1]}, err == nil && a.String() == f[1]
			}
		}
		n, err := strconv.ParseUint(number, 10, 31)
		if !ok || err != nil {
			strange++
			continue
		}
		s[int(n)] = append(s[int(n)], e)
	}
	return s, strange
}

func decodeRelay(line string) (number string, e Entry, ok bool) {
	const colon = "\x00"
	f := strings.Split(strings.ReplaceAll(line, `\:`, colon), ":")
	if len(f) != 4 || f[3] != "0" && f[3] != "1" {
		return "", e, false
	}
	e = Entry{Address: strings.ReplaceAll(f[1], colon, ":"), State: RelayOn, Rest: f[2]}
	if f[3] == "1" {
		e.State = RelayOff
	}
	return f[0], e, true
}
