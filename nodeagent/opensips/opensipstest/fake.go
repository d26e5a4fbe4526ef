// Package opensipstest has a fake of OpenSIPS' management interface for tests. It answers
// as the documentation and the source of OpenSIPS say; the place is named at each. It is
// no OpenSIPS: what these leave open is a guess.
package opensipstest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// A Fake is an http.Handler for the page of mi_http. Its fields are set before it is used.
type Fake struct {
	// Dir is the db_text database (modules/db_text/README.md, 4.0: with db_mode 1 a table is
	// read again if the time of its file is a later second).
	Dir string
	// New has it know only the names of 4.0 where they differ (modules/*/README.md,
	// "Replaces obsolete MI command").
	New bool
	// Old has it know no parameters that came after 3.1: inherit_state, type, setid.
	Old bool

	mu    sync.Mutex
	up    int
	files map[string]*file
	// what is loaded
	destinations []destination
	relays       []relay
	addresses    []address
	// Contacts by address of record; Dialogs active and early.
	contacts map[string]string
	dialogs  [2]int
	refusal  string // a whole answer to every call; empty: none
	status   int
	calls    []string
}

type (
	file        struct{ second int64 }
	destination struct {
		set                 int
		uri, state          string
		weight, prio, attrs string
	}
	relay struct {
		set, weight int
		url         string
		disabled    int
	}
	address struct {
		group int
		ip    string
		mask  string
	}
)

// Restart is an OpenSIPS that was started anew: it has read its tables.
func (f *Fake) Restart() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.up++
	f.files = nil
	f.destinations, f.relays, f.addresses = nil, nil, nil
	f.load("dispatcher", f.readDestinations)
	f.load("rtpengine", f.readRelays)
	f.load("address", f.readAddresses)
}

// Register puts the contacts of an address of record: the JSON of the list.
func (f *Fake) Register(aor, contacts string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.contacts == nil {
		f.contacts = make(map[string]string)
	}
	f.contacts[aor] = contacts
}

// SetDialogs is how many dialogs are active and early.
func (f *Fake) SetDialogs(active, early int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dialogs = [2]int{active, early}
}

// Refuse has every call answered with a status and a text, until status is 0.
func (f *Fake) Refuse(status int, text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status, f.refusal = status, text
}

// Calls are the methods that were called, in order.
func (f *Fake) Calls() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.calls...)
}

// Dispatcher is what it holds: "1 sip:192.0.2.1:5060 Active", a line each.
func (f *Fake) Dispatcher() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, d := range f.destinations {
		out = append(out, fmt.Sprintf("%d %s %s", d.set, d.uri, d.state))
	}
	return strings.Join(out, ", ")
}

// Relays are those it holds.
func (f *Fake) Relays() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, r := range f.relays {
		out = append(out, fmt.Sprintf("%d %s %d %v", r.set, r.url, r.weight, r.disabled == 0))
	}
	return strings.Join(out, ", ")
}

// Addresses are those it holds.
func (f *Fake) Addresses() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, a := range f.addresses {
		out = append(out, fmt.Sprintf("%d %s/%s", a.group, a.ip, a.mask))
	}
	return strings.Join(out, ", ")
}

// request is JSON-RPC 2.0 as modules/mi_http/README.md (4.0), "Examples", has it.
type request struct {
	Method string          `json:"method"`
	ID     json.RawMessage `json:"id"`
	Params json.RawMessage `json:"params"`
}

// A refused is the error of an answer: mi/mi.h has the codes below 0, init_mi_error those
// of modules.
type refused struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

var (
	unknown     = &refused{-32601, "Method not found"}
	badParams   = &refused{-32602, "Invalid params"}
	ok          = "OK"
	reloadError = &refused{500, "Failed to reload"}
)

func (f *Fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var q request
	if r.Method != http.MethodPost || json.NewDecoder(r.Body).Decode(&q) != nil {
		http.Error(w, "", http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, q.Method)
	if f.status != 0 {
		w.WriteHeader(f.status)
		_, _ = w.Write([]byte(f.refusal))
		return
	}
	result, no := f.call(q.Method, q.Params)
	a := map[string]any{"jsonrpc": "2.0", "id": q.ID, "result": result}
	if no != nil {
		a = map[string]any{"jsonrpc": "2.0", "id": q.ID, "error": no}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(a)
}

// params are named, or none.
func params(raw json.RawMessage) map[string]any {
	var m map[string]any
	_ = json.Unmarshal(raw, &m)
	return m
}

// has reports whether p are exactly some of these lists of names, as recipes of mi_export_t
// are.
func has(p map[string]any, recipes ...string) bool {
	for _, r := range recipes {
		names := strings.Fields(r)
		n := 0
		for _, name := range names {
			if _, is := p[name]; is {
				n++
			}
		}
		if n == len(names) && n == len(p) {
			return true
		}
	}
	return false
}

func text(v any) string { return fmt.Sprint(v) }

func number(v any) int {
	n, _ := strconv.Atoi(fmt.Sprint(v))
	return n
}

func (f *Fake) call(method string, raw json.RawMessage) (any, *refused) {
	p := params(raw)
	name, newer := method, strings.Contains(method, ":")
	switch method { // the new names, modules/*/README.md of 4.0
	case "dispatcher:reload", "dispatcher:set_state", "dispatcher:list":
		name = "ds_" + strings.TrimPrefix(method, "dispatcher:")
	case "usrloc:dump", "usrloc:show_contact":
		name = "ul_" + strings.TrimPrefix(method, "usrloc:")
	case "rtpengine:reload", "rtpengine:enable", "rtpengine:show":
		name = "rtpengine_" + strings.TrimPrefix(method, "rtpengine:")
	case "permissions:address_reload", "permissions:address_dump":
		name = strings.TrimPrefix(method, "permissions:")
	case "clusterer:set_status":
		name = "clusterer_set_status"
	}
	switch name {
	case "uptime", "get_statistics": // of the core: one name
	default:
		if newer != f.New {
			return nil, unknown
		}
	}
	switch name {
	case "uptime": // mi/mi_core.c
		return map[string]any{"Now": "Mon Nov 30 20:00:00 2026", "Up since": fmt.Sprintf("Mon Nov 30 19:%02d:00 2026", f.up), "Up time": "60 [sec]"}, nil
	case "get_statistics": // modules/mi_http/README.md (4.0), "JSON-RPC request with params"
		if string(raw) != `[["dialog:"]]` {
			return nil, badParams
		}
		return map[string]any{"dialog:active_dialogs": f.dialogs[0], "dialog:early_dialogs": f.dialogs[1], "dialog:processed_dialogs": 2, "dialog:expired_dialogs": 0, "dialog:failed_dialogs": 2}, nil
	case "clusterer_set_status": // modules/clusterer/README.md (4.0)
		if !has(p, "cluster_id status", "cluster_id node_id status") {
			return nil, badParams
		}
		return ok, nil
	case "ds_reload", "ds_set_state", "ds_list":
		return f.dispatcher(name, p)
	case "rtpengine_reload", "rtpengine_enable", "rtpengine_show":
		return f.rtpengine(name, p)
	case "address_reload", "address_dump":
		return f.permissions(name)
	case "ul_dump", "ul_show_contact":
		return f.usrloc(name, p)
	}
	return nil, unknown
}

// dispatcher: modules/dispatcher/README.md (4.0), and dispatch.c ds_print_mi_list for the
// form of the list.
func (f *Fake) dispatcher(name string, p map[string]any) (any, *refused) {
	switch name {
	case "ds_reload":
		if !has(p, "", "inherit_state") || f.Old && len(p) > 0 {
			return nil, badParams
		}
		before := make(map[string]string)
		for _, d := range f.destinations {
			before[fmt.Sprint(d.set, d.uri)] = d.state
		}
		if !f.load("dispatcher", f.readDestinations) {
			return nil, reloadError
		}
		for i, d := range f.destinations {
			if s := before[fmt.Sprint(d.set, d.uri)]; s != "" && p["inherit_state"] != "n" {
				f.destinations[i].state = s
			}
		}
		return ok, nil
	case "ds_set_state":
		state := map[string]string{"a": "Active", "i": "Inactive", "p": "Probing"}[text(p["state"])]
		if !has(p, "state group address") || state == "" {
			return nil, &refused{500, "Bad state value"}
		}
		for i, d := range f.destinations {
			if d.set == number(p["group"]) && d.uri == p["address"] {
				f.destinations[i].state = state
				return ok, nil
			}
		}
		return nil, &refused{404, "destination not found"}
	}
	sets := []map[string]any{}
	at := make(map[int]int)
	for _, d := range f.destinations {
		i, is := at[d.set]
		if !is {
			i = len(sets)
			at[d.set] = i
			sets = append(sets, map[string]any{"id": d.set, "Destinations": []any{}})
		}
		sets[i]["Destinations"] = append(sets[i]["Destinations"].([]any), map[string]any{"URI": d.uri, "state": d.state, "first_hit_counter": 0, "attr": d.attrs})
	}
	return map[string]any{"PARTITIONS": []any{map[string]any{"name": "default", "SETS": sets}}}, nil
}

// rtpengine: modules/rtpengine/README.md (4.0), and rtpengine.c mi_show_rtpengines for the
// form of the list.
func (f *Fake) rtpengine(name string, p map[string]any) (any, *refused) {
	switch name {
	case "rtpengine_reload":
		if !has(p, "", "type") || f.Old && len(p) > 0 {
			return nil, badParams
		}
		off := make(map[string]int)
		if p["type"] == "soft" {
			for _, r := range f.relays {
				off[fmt.Sprint(r.set, r.url)] = r.disabled
			}
		}
		if !f.load("rtpengine", f.readRelays) {
			return nil, &refused{500, "Internal error"}
		}
		for i, r := range f.relays {
			f.relays[i].disabled = off[fmt.Sprint(r.set, r.url)]
		}
		return ok, nil
	case "rtpengine_enable":
		if !has(p, "url enable", "url enable setid") || f.Old && len(p) > 2 {
			return nil, badParams
		}
		found := false
		for i, r := range f.relays {
			if set, of := p["setid"]; r.url == p["url"] && (!of || r.set == number(set)) {
				f.relays[i].disabled, found = 1-number(p["enable"]), true
			}
		}
		if !found {
			return nil, &refused{404, "RTP engine not found"}
		}
		return ok, nil
	}
	sets := []map[string]any{}
	at := make(map[int]int)
	for n, r := range f.relays {
		i, is := at[r.set]
		if !is {
			i = len(sets)
			at[r.set] = i
			sets = append(sets, map[string]any{"Set": r.set, "Nodes": []any{}})
		}
		sets[i]["Nodes"] = append(sets[i]["Nodes"].([]any), map[string]any{"url": r.url, "index": n, "disabled": r.disabled, "weight": r.weight, "recheck_ticks": 0})
	}
	return sets, nil
}

// permissions: modules/permissions/README.md (4.0), and hash.c pm_hash_mi_print for the form
// of the list.
func (f *Fake) permissions(name string) (any, *refused) {
	if name == "address_reload" {
		if !f.load("address", f.readAddresses) {
			return nil, &refused{500, "Failed to reolad"}
		}
		return ok, nil
	}
	list := []any{}
	for _, a := range f.addresses {
		list = append(list, map[string]any{"grp": a.group, "ip": a.ip, "mask": a.mask, "port": 0, "proto": "any", "pattern": nil, "context_info": nil})
	}
	return map[string]any{"Partitions": []any{map[string]any{"name": "default", "Destinations": list}}}, nil
}

// usrloc: modules/usrloc/README.md (4.0), and ul_mi.c mi_usrloc_dump and mi_add_aor_node for
// the form.
func (f *Fake) usrloc(name string, p map[string]any) (any, *refused) {
	if name == "ul_show_contact" {
		if !has(p, "table_name aor") {
			return nil, badParams
		}
		c, is := f.contacts[text(p["aor"])]
		switch {
		case p["table_name"] != "location":
			return nil, &refused{404, "Table not found"}
		case !is:
			return nil, &refused{404, "AOR not found"}
		}
		return map[string]any{"AOR": p["aor"], "Contacts": json.RawMessage(c)}, nil
	}
	if !has(p, "", "brief") {
		return nil, badParams
	}
	aors := []any{}
	for a := range f.contacts {
		aors = append(aors, map[string]any{"AOR": a})
	}
	return map[string]any{"Domains": []any{map[string]any{"name": "location", "hash_size": 512, "AORs": aors}}}, nil
}

// load reads a table if the second of its file's time is later than what was read.
func (f *Fake) load(name string, read func(rows [][]string)) bool {
	fi, err := os.Stat(filepath.Join(f.Dir, name))
	if err != nil {
		return false
	}
	if f.files == nil {
		f.files = make(map[string]*file)
	}
	if was := f.files[name]; was != nil && fi.ModTime().Unix() <= was.second {
		return true
	}
	b, err := os.ReadFile(filepath.Join(f.Dir, name))
	if err != nil {
		return false
	}
	f.files[name] = &file{fi.ModTime().Unix()}
	head, rest, _ := strings.Cut(string(b), "\n")
	columns := len(strings.Fields(head))
	var rows [][]string
	for line := range strings.Lines(rest) {
		row := split(strings.TrimSuffix(line, "\n"))
		if len(row) != columns {
			return false
		}
		rows = append(rows, row)
	}
	read(rows)
	return true
}

// split takes a row of db_text apart: fields end with ":", which "\:" is not.
func split(line string) (out []string) {
	var b strings.Builder
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && i+1 < len(line):
			i++
			b.WriteByte(line[i])
		case c == ':':
			out = append(out, b.String())
			b.Reset()
		default:
			b.WriteByte(c)
		}
	}
	return append(out, b.String())
}

// The columns are those of scripts/dbtext/opensips (4.0).

func (f *Fake) readDestinations(rows [][]string) {
	f.destinations = nil
	for _, r := range rows {
		state := map[string]string{"0": "Active", "1": "Inactive", "2": "Probing"}[r[4]]
		f.destinations = append(f.destinations, destination{number(r[1]), r[2], state, r[6], r[7], r[8]})
	}
}

func (f *Fake) readRelays(rows [][]string) {
	f.relays = nil
	for _, r := range rows {
		url, weight, _ := strings.Cut(r[1], "=")
		f.relays = append(f.relays, relay{set: number(r[2]), url: url, weight: max(1, number(weight))})
	}
}

func (f *Fake) readAddresses(rows [][]string) {
	f.addresses = nil
	for _, r := range rows {
		f.addresses = append(f.addresses, address{number(r[1]), r[2], r[3]})
	}
}
