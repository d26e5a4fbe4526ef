package sets

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"thor/subjects"
)

// The tables of a db_text database of OpenSIPS 3.4 and later: their columns and versions
// are those of scripts/dbtext/opensips in its source, of 3.4 and 4.0.
const (
	versionTable = "table_name(string) table_version(int)\naddress:5\ndispatcher:9\nrtpengine:1\n"

	destinationColumns = "id(int,auto) setid(int) destination(string) socket(string,null) state(int) probe_mode(int) weight(string) priority(int) attrs(string,null) description(string,null)\n"
	socketColumns      = "id(int,auto) socket(string) set_id(int)\n"
	addressColumns     = "id(int,auto) grp(int) ip(string) mask(int) port(int) proto(string) pattern(string,null) context_info(string,null)\n"
)

// States of a destination, as ds_set_state has them. One that is not probed stays inactive.
// Suspect members are active: they serve until they are removed.
const (
	opensipsActive   = "a"
	opensipsInactive = "i"
)

// opensipsTables are those of the db_text database, of the modules that have sets.
func (c *Config) opensipsTables() (out []*Table) {
	table := func(k Kind, name string, f form, off string, rules []rule) {
		if len(rules) > 0 {
			out = append(out, &Table{
				Kind: k, File: filepath.Join(c.DatabaseDir, name), form: f, off: off, perSet: true, ByTime: true, rules: rules,
				Beside: map[string][]byte{filepath.Join(c.DatabaseDir, "version"): []byte(versionTable)},
			})
		}
	}
	var dispatcher, rtpengine, trusted []rule
	for _, d := range c.Dispatcher {
		dispatcher = append(dispatcher, rule{number: d.Group, role: d.Members, entries: d.opensipsEntries})
	}
	for _, r := range c.RTPEngine {
		rtpengine = append(rtpengine, rule{r.Set, r.Members, r.entries, r.Each})
	}
	for _, t := range c.Trusted {
		trusted = append(trusted, rule{number: t.Group, role: t.Members, entries: t.entries})
	}
	table(KindDispatcher, "dispatcher", destinationForm, "", dispatcher)
	table(KindRTPEngine, "rtpengine", socketForm, RelayOff, rtpengine)
	table(KindTrusted, "address", addressForm, "", trusted)
	return out
}

func (d *Dispatcher) opensipsEntries(ms []subjects.Member) (out []Entry) {
	for _, x := range d.destinations(ms) {
		e := Entry{Address: x.uri, State: opensipsActive, Rest: fmt.Sprintf("%d %d node=%s", x.weight, x.priority, x.node)}
		if x.state == disabled {
			e.State = opensipsInactive
		}
		out = append(out, e)
	}
	return out
}

// destinationForm: probe_mode 0, so that OpenSIPS does not bring back by itself what is
// told off.
var destinationForm = form{
	head: destinationColumns, need: true,
	line: func(n, id int, e Entry) string {
		state := 0
		if e.State == opensipsInactive {
			state = 1
		}
		r := strings.Fields(e.Rest)
		return fmt.Sprintf("%d:%d:%s::%d:0:%s:%s:%s:", id, n, escape(e.Address), state, r[0], r[1], escape(r[2]))
	},
	read: func(line string) (number string, e Entry, ok bool) {
		f := fields(line)
		if len(f) != 10 || f[3] != "" || f[4] != "0" && f[4] != "1" || f[5] != "0" || f[6] == "" || f[7] == "" || f[8] == "" || strings.ContainsAny(f[6]+f[7]+f[8], " \t") || f[9] != "" {
			return "", e, false
		}
		e = Entry{Address: f[2], State: opensipsActive, Rest: f[6] + " " + f[7] + " " + f[8]}
		if f[4] == "1" {
			e.State = opensipsInactive
		}
		return f[1], e, true
	},
}

// socketForm has no column for the state: OpenSIPS is told it after each reload.
var socketForm = form{
	head: socketColumns, need: true,
	line: func(n, id int, e Entry) string {
		return fmt.Sprintf("%d:%s:%d", id, escape(e.Address+"="+e.Rest), n)
	},
	read: func(line string) (number string, e Entry, ok bool) {
		f := fields(line)
		if len(f) != 3 {
			return "", e, false
		}
		url, w, ok := strings.Cut(f[1], "=")
		if _, err := strconv.Atoi(w); err != nil || !ok {
			return "", e, false
		}
		return f[2], Entry{Address: url, State: RelayOn, Rest: w}, true
	},
}

// addressForm: any port and any protocol.
var addressForm = form{
	head: addressColumns, need: true,
	line: func(n, id int, e Entry) string {
		mask := 32
		if strings.Contains(e.Address, ":") {
			mask = 128
		}
		return fmt.Sprintf("%d:%d:%s:%d:0:any::", id, n, escape(e.Address), mask)
	},
	read: func(line string) (number string, e Entry, ok bool) {
		f := fields(line)
		if len(f) != 8 || !isAddress(f[2]) || f[4] != "0" || f[5] != "any" || f[6] != "" || f[7] != "" {
			return "", e, false
		}
		return f[1], Entry{Address: f[2]}, true
	},
}
