package subscribers_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"thor/nodeagent/subscribers"
	"thor/overlay/subscriber"
)

func TestWhatScriptsAreTold(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network) {
		p1, ps := trio(n)
		k, alias, odd, foreign := p1.keyOf("n1", ""), "alias-1@example.net", "", p1.keyOf("n2", "n3")
		for i := 0; odd == "" || p1.at(odd).Owner() != "n1"; i++ {
			odd = strings.Repeat("x", i) + "a/b?c%41@example.net"
		}
		for i := 0; p1.at(alias).Owner() != "n1"; i++ {
			alias = strings.Repeat("a", i) + alias
		}
		p1.live.Push(n.store.change(k, "d1", false))
		p1.live.Push(n.store.change(odd, "d2", false))
		ns := n.store.change(alias, "", false)
		n.store.mu.Lock()
		n.store.rows[alias].AliasOf = k
		n.store.mu.Unlock()
		p1.live.Push(ns)
		n.within(time.Second, "pushed", func() bool { return n.store.waiting() == 0 })

		w := ps["n1"].get("/subscriber/" + k)
		var s subscriber.Profile
		if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil || w.Code != 200 || s.Key != k || s.HA1 != "d1" || s.V != 1 {
			t.Errorf("%d %s %v", w.Code, w.Body, err)
		}
		h := w.Header()
		if h.Get(subscribers.HeaderRevision) != "1" || h.Get("Cache-Control") != "no-store" || h.Get(subscribers.HeaderStale) != "" ||
			h.Get(subscribers.HeaderEpoch) != "1" || h.Get(subscribers.HeaderGeneration) == "" || h.Get("Content-Type") != "application/json" {
			t.Errorf("header %v", h)
		}
		for _, form := range []string{strings.ToUpper(k), "sip:" + k} {
			if w := ps["n1"].get("/subscriber/" + form + "/ha1"); w.Code != 200 || w.Body.String() != "d1" {
				t.Errorf("%s: %d %s", form, w.Code, w.Body)
			}
		}
		if w := ps["n1"].get("/subscriber/" + strings.NewReplacer("%", "%25", "/", "%2F", "?", "%3F").Replace(odd) + "/ha1"); w.Body.String() != "d2" {
			t.Errorf("%s: %d %s", odd, w.Code, w.Body)
		}
		if w := ps["n1"].get("/subscriber/" + alias); w.Code != 200 || !strings.Contains(w.Body.String(), `"alias_of":"`+k+`"`) {
			t.Errorf("alias: %d %s", w.Code, w.Body)
		}
		if w := ps["n1"].get("/subscriber/" + alias + "/ha1"); w.Code != 404 || w.Header().Get(subscribers.HeaderAliasOf) != k {
			t.Errorf("alias: %d %v", w.Code, w.Header())
		}
		w = ps["n1"].get("/subscriber/" + foreign)
		var e map[string]any
		address := ps["n2"].node.Identity().Addresses[1].String()
		if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || w.Code != 421 || e["owner"] != "n2" || e["heir"] != "n3" || e["address"] != address {
			t.Errorf("another's: %d %s %v", w.Code, w.Body, err)
		}
		if w := ps["n1"].get("/subscriber/" + foreign + "/ha1"); w.Code != 421 || w.Body.String() != address || w.Header().Get(subscribers.HeaderAddress) != address {
			t.Errorf("another's: %d %s", w.Code, w.Body)
		}
		for _, bad := range []string{"alice", "@example.net", "alice@", "a%07@example.net", strings.Repeat("a", 600) + "@example.net", "tel:+1@x:y", "%ff@example.net"} {
			if w := ps["n1"].get("/subscriber/" + bad); w.Code != 400 {
				t.Errorf("%q: %d %s", bad, w.Code, w.Body)
			}
		}
		if w := ps["n1"].get("/subscriber/" + k + "/ha1?for=fun"); w.Code != 400 {
			t.Errorf("for what it does not know: %d", w.Code)
		}
		if w := ps["n1"].get("/subscriber/"); w.Code != 404 {
			t.Errorf("no key: %d", w.Code)
		}
	})
}

func TestOnlyThisMachineIsAnswered(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network) {
		p1, ps := trio(n)
		k := p1.keyOf("n1", "")
		p1.live.Push(n.store.change(k, "d1", false))
		n.within(time.Second, "pushed", func() bool { return n.store.waiting() == 0 })
		for from, want := range map[string]int{
			"127.0.0.1:1": 200, "127.8.9.10:1": 200, "[::1]:1": 200, "[::ffff:127.0.0.1]:1": 200, "@": 200, // a Unix socket
			"192.0.2.1:1": 403, "[2001:db8::1]:1": 403, "[::ffff:192.0.2.1]:1": 403, "[fe80::1%lo]:1": 403, "10.0.0.1:1": 403,
		} {
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodGet, "/subscriber/"+k+"/ha1", nil)
			r.RemoteAddr = from
			ps["n1"].cache.Handler().ServeHTTP(w, r)
			if w.Code != want || (want != 200) == strings.Contains(w.Body.String(), "d1") {
				t.Errorf("%s: %d %s", from, w.Code, w.Body)
			}
		}
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, "/subscriber/"+k, nil)
		r.RemoteAddr = "127.0.0.1:1"
		if ps["n1"].cache.Handler().ServeHTTP(w, r); w.Code != http.StatusMethodNotAllowed {
			t.Errorf("POST: %d", w.Code)
		}
	})
}
