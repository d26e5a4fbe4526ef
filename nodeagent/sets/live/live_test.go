package live_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"thor/overlay"
)

const (
	proxy1, proxy2 = "sip_proxy node1 192.0.2.1 up", "sip_proxy node2 192.0.2.2 up"
	mailbox        = "voicemail_server node3 192.0.2.7 up"
	relay1, relay2 = "media_relay node1 127.0.91.1 up", "media_relay node2 127.0.91.2 up"
)

func TestRealKamailioFollowsTheMembers(t *testing.T) {
	dir, addr := t.TempDir(), free(t, "127.0.91.21")
	p := newProxy(t, addr, dir, 0)
	b := newBench(t, "http://"+addr+"/RPC", dir)
	for _, f := range []string{"dispatcher.list", "address.list", "rtpengine/rtpengine", "rtpengine/version"} {
		b.until(f+" is made before there is a status", "0644", func() (string, error) {
			fi, err := os.Stat(filepath.Join(dir, f))
			if err != nil {
				return "", err
			}
			return fmt.Sprintf("%04o", fi.Mode().Perm()), nil
		})
	}
	p.start()
	b.until("before there is a status", "", b.dispatcher)
	b.net.say(nil, proxy1, proxy2, mailbox, relay1, relay2)
	b.until("members", "1 192.0.2.1 A, 1 192.0.2.2 A, 2 192.0.2.7 A", b.dispatcher)
	b.until("trusted", "1 192.0.2.1, 1 192.0.2.2", b.trusted)
	const both = "0 udp:127.0.91.1:2223 on, 0 udp:127.0.91.2:2223 on"
	b.until("relays", both, b.relays)
	b.until("faults", "", b.faults)

	reloads := b.log.count("sets changed")
	b.net.say(nil, "sip_proxy node1 192.0.2.1 draining", "sip_proxy node2 192.0.2.2 suspect", mailbox, "media_relay node1 127.0.91.1 draining", relay2)
	b.until("drained and suspect", "1 192.0.2.1 D, 1 192.0.2.2 T, 2 192.0.2.7 A", b.dispatcher)
	b.until("a relay drains", "0 udp:127.0.91.1:2223 off, 0 udp:127.0.91.2:2223 on", b.relays)
	b.until("trusted while it drains", "1 192.0.2.1, 1 192.0.2.2", b.trusted)
	if reloads == 0 {
		t.Error("no change was logged")
	}

	b.net.say(nil, proxy2, mailbox, relay2)
	b.until("one left", "1 192.0.2.2 A, 2 192.0.2.7 A", b.dispatcher)
	b.until("and is not trusted", "1 192.0.2.2", b.trusted)
	b.until("and relays nothing: Kamailio takes a reload 10 s after the last", "0 udp:127.0.91.2:2223 on", b.relays)
}

func TestRealKamailioKeepsItsSetsWithoutAStatus(t *testing.T) {
	dir, addr := t.TempDir(), free(t, "127.0.91.22")
	p := newProxy(t, addr, dir, 0)
	b := newBench(t, "http://"+addr+"/RPC", dir)
	b.until("file", "<nil>", func() (string, error) {
		_, err := os.Stat(filepath.Join(dir, "rtpengine/rtpengine"))
		return fmt.Sprint(err), nil
	})
	p.start()
	const two = "1 192.0.2.1 A, 1 192.0.2.2 A"
	b.net.say(nil, proxy1, proxy2)
	b.until("members", two, b.dispatcher)
	b.net.say(nil)
	b.until("an empty status shows", "true", func() (string, error) {
		return fmt.Sprint(strings.Contains(strings.Join(b.keeper.Faults(), "\n"), "dispatcher of the Kamailio of sip_proxy: sip_proxy has no members, its set stays as it is")), nil
	})
	for _, edit := range []func(*overlay.View){
		func(v *overlay.View) { v.Stale = true }, func(v *overlay.View) { v.FromDisk = true }, func(v *overlay.View) { v.Status = nil },
	} {
		b.net.say(edit, proxy1)
		b.until("views that were not read", "0", b.net.unread)
	}
	// What comes after all of these is seen, and what it does not touch is as it was.
	b.net.say(nil, mailbox)
	b.until("sets kept", two+", 2 192.0.2.7 A", b.dispatcher)
	b.until("trusted kept", "1 192.0.2.1, 1 192.0.2.2", b.trusted)
}

func TestRealKamailioIsToldAgainAfterARestart(t *testing.T) {
	dir, addr := t.TempDir(), free(t, "127.0.91.23")
	p := newProxy(t, addr, dir, 0)
	b := newBench(t, "http://"+addr+"/RPC", dir)
	b.net.say(nil, proxy1, "sip_proxy node2 192.0.2.2 draining")
	b.until("refused: it does not run", "1", func() (string, error) {
		return fmt.Sprint(min(1, b.log.count("sets cannot be changed, retrying"))), nil
	})
	p.start()
	const two = "1 192.0.2.1 A, 1 192.0.2.2 D"
	// One that starts again in the second of its last start has the same up_since.
	noticed := func() {
		t.Helper()
		b.until("its end is noticed", "true", func() (string, error) {
			s, err := b.faults()
			return fmt.Sprint(strings.Contains(s, "dispatcher of the Kamailio of sip_proxy: core.uptime: ")), err
		})
	}
	b.until("members", two, b.dispatcher)
	b.until("faults", "", func() (string, error) {
		s, err := b.faults()
		if strings.Contains(s, "media_relay has no members") && strings.Count(s, "\n") <= 1 {
			s = "" // these two roles have none
		}
		return s, err
	})
	p.end()
	noticed()
	// It starts with a file that is not what it would be told.
	if err := os.WriteFile(filepath.Join(dir, "dispatcher.list"), []byte("1 sip:192.0.2.99:5060\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	p.start()
	b.until("told again", two, b.dispatcher)
	p.end()
	noticed()
	p.start()
	b.until("after the restart", two, b.dispatcher)
}

// What drained when the agent ended may serve when it is back.
func TestRealKamailioIsToldWhatChangedWhileTheAgentWasAway(t *testing.T) {
	dir, addr := t.TempDir(), free(t, "127.0.91.27")
	p := newProxy(t, addr, dir, 0)
	b := newBench(t, "http://"+addr+"/RPC", dir)
	b.until("file", "<nil>", func() (string, error) {
		_, err := os.Stat(filepath.Join(dir, "rtpengine/rtpengine"))
		return fmt.Sprint(err), nil
	})
	p.start()
	b.net.say(nil, "sip_proxy node1 192.0.2.1 draining", relay1, "media_relay node2 127.0.91.2 draining")
	b.until("a proxy drains", "1 192.0.2.1 D", b.dispatcher)
	b.until("a relay drains", "0 udp:127.0.91.1:2223 on, 0 udp:127.0.91.2:2223 off", b.relays)
	b.keeper.Use(nil)
	b.until("the tables are left alone", "", b.faults) // before, a role without members is one
	b.net.say(nil, proxy1, "media_relay node1 127.0.91.1 draining", relay2)
	b.keeper.Use(b.targets)
	b.until("the proxy serves", "1 192.0.2.1 A", b.dispatcher)
	b.until("the relays have changed", "0 udp:127.0.91.1:2223 off, 0 udp:127.0.91.2:2223 on", b.relays)
}

func TestRealKamailioThatSpacesReloads(t *testing.T) {
	dir, addr := t.TempDir(), free(t, "127.0.91.24")
	p := newProxy(t, addr, dir, 2)
	b := newBench(t, "http://"+addr+"/RPC", dir)
	b.until("file", "<nil>", func() (string, error) {
		_, err := os.Stat(filepath.Join(dir, "rtpengine/rtpengine"))
		return fmt.Sprint(err), nil
	})
	p.start()
	b.net.say(nil, proxy1)
	b.until("first reload", "1", func() (string, error) {
		return fmt.Sprint(b.log.count(`"table":"dispatcher","members":1,`)), nil
	})
	b.net.say(nil, proxy1, proxy2)
	b.until("one more", "1 192.0.2.1 A, 1 192.0.2.2 A", b.dispatcher)
	if n := b.log.count("Kamailio refuses to reload so often, retrying"); n != 1 {
		t.Errorf("%d lines, one is wanted", n)
	}
	if n := b.log.count("sets cannot be changed"); n > 3 { // while it started, by each table
		t.Errorf("a refusal that passes is a fault")
	}
}

func TestARefusalIsOneLineAndHoldsUpNoOtherTable(t *testing.T) {
	var mu sync.Mutex
	refused, reloads := 0, 0
	up := true
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q struct{ Method string }
		_ = json.NewDecoder(r.Body).Decode(&q)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case q.Method == "core.uptime":
			_, _ = w.Write([]byte(`{"result":{"up_since":"today"}}`))
		case q.Method == "permissions.addressReload":
			reloads++
			_, _ = w.Write([]byte(`{"result":"Reload OK"}`))
		case q.Method == "permissions.addressDump":
			_, _ = w.Write([]byte(`{"result":[{"group":1,"item":{"ip":"192.0.2.1"}}]}`))
		case q.Method == "dispatcher.reload" && !up:
			_, _ = w.Write([]byte(`{"result":"Ok"}`))
		case q.Method == "dispatcher.list" && !up:
			_, _ = w.Write([]byte(`{"result":{"RECORDS":[{"SET":{"ID":1,"TARGETS":[{"DEST":{"URI":"sip:192.0.2.1:5060","FLAGS":"AX"}}]}}]}}`))
		default:
			refused++
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	t.Cleanup(srv.Close)
	b := newBench(t, srv.URL, t.TempDir())
	b.net.say(nil, proxy1)
	b.until("refused again and again", "true", func() (string, error) {
		mu.Lock()
		defer mu.Unlock()
		return fmt.Sprint(refused >= 3 && reloads == 1), nil
	})
	if n := b.log.count("sets cannot be changed, retrying"); n != 1 {
		t.Errorf("%d lines, one is wanted", n)
	}
	faults := strings.Join(b.keeper.Faults(), "\n")
	if !strings.Contains(faults, "dispatcher of the Kamailio of sip_proxy: dispatcher.reload: refused: its secret is another") || strings.Contains(faults, "trusted of the Kamailio of sip_proxy: core") {
		t.Errorf("faults:\n%s", faults)
	}
	mu.Lock()
	up = false
	mu.Unlock()
	b.until("recovered", "1", func() (string, error) { return fmt.Sprint(b.log.count("sets can be changed again")), nil })
}

func TestAKamailioThatReadsAnotherFileIsAFault(t *testing.T) {
	dir, addr := t.TempDir(), free(t, "127.0.91.25")
	p := newProxy(t, addr, dir, 0)
	b := newBench(t, "http://"+addr+"/RPC", dir)
	b.until("file", "<nil>", func() (string, error) {
		_, err := os.Stat(filepath.Join(dir, "rtpengine/rtpengine"))
		return fmt.Sprint(err), nil
	})
	other := t.TempDir()
	for _, f := range []string{"dispatcher.list", "address.list"} {
		if err := os.WriteFile(filepath.Join(other, f), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(filepath.Join(dir, "rtpengine"), filepath.Join(other, "rtpengine")); err != nil {
		t.Fatal(err)
	}
	p.dir = other
	p.start()
	b.net.say(nil, proxy1)
	b.until("fault", "true", func() (string, error) {
		return fmt.Sprint(strings.Contains(strings.Join(b.keeper.Faults(), "\n"), "1 of 1 entries are missing after the reload: Kamailio reads another file than ")), nil
	})
}
