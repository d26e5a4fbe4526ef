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
	form  form
	off   string // the state that an entry which goes is given before the reload; "" for none
	// perSet says that the proxy takes a state for one set; else for all that have the address.
	perSet bool
}

// A form is how a file holds entries.
type form struct {
	head string
	need bool // without head, the file says something else
	// line is one entry, of a table whose entries are numbered from 1.
	line func(number, id int, e Entry) string
	// read is what line wrote.
	read func(line string) (number string, e Entry, ok bool)
}

// Tables are those that c configures. c has been filled.
func (c *Config) Tables() (out []*Table) {
	if c.DatabaseDir != "" {
		return c.opensipsTables()
	}
	if c.DispatcherFile != "" {
		t := &Table{Kind: KindDispatcher, File: c.DispatcherFile, form: dispatcherForm}
		for _, d := range c.Dispatcher {
			t.rules = append(t.rules, rule{number: d.Group, role: d.Members, entries: d.entries})
		}
		out = append(out, t)
	}
	if c.RTPEngineDir != "" {
		t := &Table{
			Kind: KindRTPEngine, File: filepath.Join(c.RTPEngineDir, "rtpengine"), off: RelayOff, ByTime: true, form: relayForm,
			Beside: map[string][]byte{filepath.Join(c.RTPEngineDir, "version"): []byte("table_name(string) table_version(int)\nrtpengine:1\n")},
		}
		for _, r := range c.RTPEngine {
			t.rules = append(t.rules, rule{r.Set, r.Members, r.entries, r.Each})
		}
		out = append(out, t)
	}
	if c.TrustedFile != "" {
		t := &Table{Kind: KindTrusted, File: c.TrustedFile, form: trustedForm}
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

// A destination is one member of a group of dispatcher.
type destination struct {
	uri, state string
	node       subjects.NodeID
	weight     int // 1 to 100
	priority   int // the higher one is preferred; a role prefers the lower number
}

func (d *Dispatcher) destinations(ms []subjects.Member) (out []destination) {
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
		x := destination{uri: "sip:" + ap.String(), state: active, node: m.Node, weight: weight(m)}
		if d.Transport != "udp" {
			x.uri += ";transport=" + d.Transport
		}
		if most > maxRWeight {
			x.weight = max(1, x.weight*maxRWeight/most)
		}
		if m.Priority > 0 {
			x.priority = 65536 - m.Priority
		}
		switch m.State {
		case subjects.Draining:
			x.state = disabled
		case subjects.Suspect:
			x.state = trying
		}
		out = append(out, x)
	}
	return out
}

func (d *Dispatcher) entries(ms []subjects.Member) (out []Entry) {
	for _, x := range d.destinations(ms) {
		out = append(out, Entry{Address: x.uri, State: x.state, Rest: fmt.Sprintf("%d node=%s;rweight=%d", x.priority, x.node, x.weight)})
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

var dispatcherForm = form{
	head: header,
	line: func(n, _ int, e Entry) string {
		return fmt.Sprintf("%d %s %s %s", n, e.Address, flagsOf[e.State], e.Rest)
	},
	read: func(line string) (number string, e Entry, ok bool) {
		f := strings.Fields(line)
		if len(f) != 5 {
			return "", e, false
		}
		e = Entry{Address: f[1], Rest: f[3] + " " + f[4]}
		for state, flags := range flagsOf {
			if flags == f[2] {
				e.State = state
			}
		}
		return f[0], e, e.State != ""
	},
}

var relayForm = form{
	head: dbTextHeader, need: true,
	line: func(n, _ int, e Entry) string {
		off := 0
		if e.State == RelayOff {
			off = 1
		}
		return fmt.Sprintf("%d:%s:%s:%d", n, escape(e.Address), e.Rest, off)
	},
	read: decodeRelay,
}

var trustedForm = form{
	head: header,
	line: func(n, _ int, e Entry) string { return fmt.Sprintf("%d %s", n, e.Address) },
	read: func(line string) (number string, e Entry, ok bool) {
		f := strings.Fields(line)
		if len(f) != 2 || !isAddress(f[1]) {
			return "", e, false
		}
		return f[0], Entry{Address: f[1]}, true
	},
}

// isAddress reports whether s is an address as it would be written.
func isAddress(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.String() == s
}

// Encode is the file of s.
func (t *Table) Encode(s Sets) []byte {
	var b bytes.Buffer
	b.WriteString(t.form.head)
	id := 0
	for _, n := range slices.Sorted(maps.Keys(s)) {
		for _, e := range s[n] {
			id++
			b.WriteString(t.form.line(n, id, e) + "\n")
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
	if t.form.need {
		text, columns = strings.CutPrefix(text, t.form.head)
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		number, e, ok := t.form.read(line)
		n, err := strconv.ParseUint(number, 10, 31)
		if !ok || err != nil || !columns {
			strange++
			continue
		}
		s[int(n)] = append(s[int(n)], e)
	}
	return s, strange
}

// escape is text in a field of db_text.
func escape(s string) string { return strings.ReplaceAll(s, ":", `\:`) }

// fields takes a line of db_text apart.
func fields(line string) []string {
	const colon = "\x00"
	f := strings.Split(strings.ReplaceAll(line, `\:`, colon), ":")
	for i := range f {
		f[i] = strings.ReplaceAll(f[i], colon, ":")
	}
	return f
}

func decodeRelay(line string) (number string, e Entry, ok bool) {
	f := fields(line)
	if len(f) != 4 || f[3] != "0" && f[3] != "1" {
		return "", e, false
	}
	e = Entry{Address: f[1], State: RelayOn, Rest: f[2]}
	if f[3] == "1" {
		e.State = RelayOff
	}
	return f[0], e, true
}
