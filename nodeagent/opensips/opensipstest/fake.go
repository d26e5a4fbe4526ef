// Package opensipstest has a fake of OpenSIPS' management interface for tests. It answers
// as the documentation and the source of OpenSIPS say; the place is named at each. It is
// no OpenSIPS: what these leave open is a guess.
package opensipstest

import (
	"encoding/json"
	"fmt"
	"net/http"
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
