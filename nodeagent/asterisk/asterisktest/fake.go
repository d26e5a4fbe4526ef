// Package asterisktest has a fake of Asterisk's REST interface for tests. It answers as
// rest-api/api-docs of Asterisk 23 and the examples of docs.asterisk.org say; the place is
// named at each. It is no Asterisk.
package asterisktest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
)

// A Fake is an http.Handler for the path /ari.
type Fake struct {
	User, Password string

	mu       sync.Mutex
	modules  map[string]string // name to status
	channels int
	odd      func(w http.ResponseWriter) // answers all instead; nil: as documented
}

// Module sets the status of a module, "Running" or "Not Running"; empty: it is not loaded.
func (f *Fake) Module(name, status string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.modules == nil {
		f.modules = make(map[string]string)
	}
	f.modules[name] = status
}

// SetChannels is how many channels there are.
func (f *Fake) SetChannels(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.channels = n
}

// Odd has every question answered by h, until it is nil.
func (f *Fake) Odd(h func(w http.ResponseWriter)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.odd = h
}

func (f *Fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.odd != nil {
		f.odd(w)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if user, password, _ := r.BasicAuth(); user != f.User || password != f.Password {
		// res/res_ari.c: 401 with a Basic challenge
		w.Header().Set("WWW-Authenticate", `Basic realm="Asterisk REST Interface"`)
		refuse(w, http.StatusUnauthorized, "Authentication required")
		return
	}
	path := strings.TrimPrefix(r.URL.Path, "/ari")
	name, isModule := strings.CutPrefix(path, "/asterisk/modules/")
	switch {
	case r.Method != http.MethodGet:
		refuse(w, http.StatusMethodNotAllowed, "Method not allowed")
	case path == "/asterisk/ping": // api-docs/asterisk.json, AsteriskPing
		answer(w, map[string]any{"asterisk_id": "ec:f4:bb:67:a6:d0", "ping": "pong", "timestamp": "2026-11-30T20:00:00.000+0000"})
	case isModule && f.modules[name] == "": // api-docs/asterisk.json, getModule: 404
		refuse(w, http.StatusNotFound, "Module could not be found in running modules")
	case isModule: // api-docs/asterisk.json, Module; main/loader.c for the words of status
		answer(w, map[string]any{"name": name, "description": "Comedian Mail (Voicemail System)", "use_count": 0, "status": f.modules[name], "support_level": "core"})
	case path == "/channels": // api-docs/channels.json, List[Channel]
		list := []any{}
		for i := range f.channels {
			list = append(list, map[string]any{
				"id": fmt.Sprintf("1700000000.%d", i), "name": fmt.Sprintf("PJSIP/proxy-%08x", i), "state": "Up", "protocol_id": "x", "accountcode": "",
				"caller": map[string]any{"name": "", "number": "alice"}, "connected": map[string]any{"name": "", "number": ""},
				"dialplan":     map[string]any{"context": "voicemail", "exten": "bob", "priority": 2, "app_name": "VoiceMail", "app_data": "bob@default"},
				"creationtime": "2026-11-30T20:00:00.000+0000", "language": "en",
			})
		}
		answer(w, list)
	default:
		refuse(w, http.StatusNotFound, "Resource not found")
	}
}

func answer(w http.ResponseWriter, v any) { _ = json.NewEncoder(w).Encode(v) }

// refuse: ast_ari_response_error puts the text in "message" (res/res_ari.c).
func refuse(w http.ResponseWriter, code int, text string) {
	w.WriteHeader(code)
	answer(w, map[string]any{"message": text})
}
