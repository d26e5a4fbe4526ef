package live_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"thor/nodeagent/kamailio"
	"thor/nodeagent/sets"
	"thor/nodeagent/sets/live"
	"thor/overlay"
	"thor/subjects"
)

const (
	patience = 30 * time.Second
	tick     = 5 * time.Millisecond
)

// A network tells the views that a test gives it.
type network struct {
	mu  sync.Mutex
	now *overlay.View
	chs map[chan *overlay.View]struct{}
	gen uint64
}

func (n *network) Watch(ctx context.Context) <-chan *overlay.View {
	n.mu.Lock()
	defer n.mu.Unlock()
	ch := make(chan *overlay.View, 1)
	if n.now != nil {
		ch <- n.now
	}
	if n.chs == nil {
		n.chs = make(map[chan *overlay.View]struct{})
	}
	n.chs[ch] = struct{}{}
	context.AfterFunc(ctx, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.chs, ch)
		close(ch)
	})
	return ch
}

// say is a status with the members "role node address state"; edit changes the view.
func (n *network) say(edit func(*overlay.View), members ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.gen++
	s := &subjects.Status{V: 1, Epoch: 1, Generation: n.gen}
	for _, m := range members {
		f := strings.Fields(m)
		s.Put(subjects.Role(f[0]), subjects.Member{Node: subjects.NodeID(f[1]), Addresses: []netip.Addr{netip.MustParseAddr(f[2])}, State: subjects.State(f[3])})
	}
	n.now = &overlay.View{Status: s, Connected: true}
	if edit != nil {
		edit(n.now)
	}
	for ch := range n.chs {
		select {
		case <-ch:
		default:
		}
		ch <- n.now
	}
}

// A logbook is a log that a test reads.
type logbook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logbook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logbook) count(message string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), message)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A bench is a Keeper of one Kamailio.
type bench struct {
	t      *testing.T
	net    *network
	client *kamailio.Client
	log    *logbook
	keeper *live.Keeper
	dir    string
}

func configOf(dir string) *sets.Config {
	c := &sets.Config{
		DispatcherFile: filepath.Join(dir, "dispatcher.list"), Dispatcher: []sets.Dispatcher{{Members: "sip_proxy"}, {Members: "voicemail_server", Group: 2}},
		RTPEngineDir: filepath.Join(dir, "rtpengine"), RTPEngine: []sets.RTPEngine{{}},
		TrustedFile: filepath.Join(dir, "address.list"), Trusted: []sets.Trusted{{Members: "sip_proxy"}},
	}
	c.Fill()
	return c
}

func newBench(t *testing.T, url, dir string) *bench {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "rtpengine"), 0o755); err != nil {
		t.Fatal(err)
	}
	c, err := kamailio.NewClient(url, nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, net: &network{}, client: c, log: &logbook{}, dir: dir}
	if b.keeper, err = live.New(b.net, []live.Target{{Role: "sip_proxy", URL: url, RPC: c, Sets: configOf(dir)}}, zerolog.New(b.log), nil); err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- b.keeper.Run(ctx) }()
	t.Cleanup(func() {
		end()
		if err := <-done; err != nil {
			t.Error(err)
		}
		c.Close()
		if t.Failed() {
			t.Logf("agent:\n%s", b.log)
		}
	})
	return b
}

// until waits for what f tells to be want.
func (b *bench) until(what, want string, f func() (string, error)) {
	b.t.Helper()
	end := time.NewTimer(patience)
	defer end.Stop()
	again := time.NewTicker(tick)
	defer again.Stop()
	var got string
	var err error
	for {
		if got, err = f(); err == nil && got == want {
			return
		}
		select {
		case <-again.C:
		case <-end.C:
			b.t.Fatalf("%s: %q %v, not %q", what, got, err, want)
		}
	}
}

// dispatcher is what Kamailio holds: "1 sip:192.0.2.1:5060 A".
func (b *bench) dispatcher() (string, error) {
	ds, err := b.client.Destinations(b.t.Context())
	var out []string
	for _, d := range ds {
		out = append(out, fmt.Sprintf("%d %s %s", d.Group, strings.TrimPrefix(strings.TrimSuffix(d.URI, ":5060"), "sip:"), d.Flags[:1]))
	}
	slices.Sort(out)
	return strings.Join(out, ", "), err
}

func (b *bench) relays() (string, error) {
	rs, err := b.client.Relays(b.t.Context())
	var out []string
	for _, r := range rs {
		state := "off"
		if s, _ := r.Disabled.(string); s == "" {
			state = "on"
		}
		out = append(out, fmt.Sprintf("%d %s %s", r.Set, r.URL, state))
	}
	slices.Sort(out)
	return strings.Join(out, ", "), err
}

func (b *bench) trusted() (string, error) {
	as, err := b.client.Addresses(b.t.Context())
	var out []string
	for _, a := range as {
		out = append(out, fmt.Sprintf("%d %s", a.Group, a.Item.IP))
	}
	slices.Sort(out)
	return strings.Join(out, ", "), err
}

func (b *bench) faults() (string, error) { return strings.Join(b.keeper.Faults(), "\n"), nil }

const (
	proxy1, proxy2 = "sip_proxy node1 192.0.2.1 up", "sip_proxy node2 192.0.2.2 up"
	mailbox        = "voicemail_server node3 192.0.2.7 up"
	relay1, relay2 = "media_relay node1 127.0.91.1 up", "media_relay node2 127.0.91.2 up"
)

func TestRealKamailioFollowsTheMembers(t *testing.T) {
	dir, addr := t.TempDir(), "127.0.91.21:25081"
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
	dir, addr := t.TempDir(), "127.0.91.22:25082"
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
	b.net.say(func(v *overlay.View) { v.Stale = true }, proxy1)
	b.net.say(func(v *overlay.View) { v.FromDisk = true }, proxy1)
	b.net.say(func(v *overlay.View) { v.Status = nil })
	// What comes after all of these is seen, and what it does not touch is as it was.
	b.net.say(nil, mailbox)
	b.until("sets kept", two+", 2 192.0.2.7 A", b.dispatcher)
	b.until("trusted kept", "1 192.0.2.1, 1 192.0.2.2", b.trusted)
}

func TestRealKamailioIsToldAgainAfterARestart(t *testing.T) {
	dir, addr := t.TempDir(), "127.0.91.23:25083"
	p := newProxy(t, addr, dir, 0)
	b := newBench(t, "http://"+addr+"/RPC", dir)
	b.net.say(nil, proxy1, "sip_proxy node2 192.0.2.2 draining")
	b.until("refused: it does not run", "1", func() (string, error) {
		return fmt.Sprint(min(1, b.log.count("sets cannot be changed, retrying"))), nil
	})
	p.start()
	const two = "1 192.0.2.1 A, 1 192.0.2.2 D"
	b.until("members", two, b.dispatcher)
	b.until("faults", "", func() (string, error) {
		s, err := b.faults()
		if strings.Contains(s, "media_relay has no members") && strings.Count(s, "\n") <= 1 {
			s = "" // these two roles have none
		}
		return s, err
	})
	p.end()
	// It starts with a file that is not what it would be told.
	if err := os.WriteFile(filepath.Join(dir, "dispatcher.list"), []byte("1 sip:192.0.2.99:5060\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	p.start()
	b.until("what it starts with", "1 192.0.2.99 A", b.dispatcher)
	b.net.say(nil, proxy1, "sip_proxy node2 192.0.2.2 draining", mailbox)
	b.until("told again", two+", 2 192.0.2.7 A", b.dispatcher)
	p.end()
	p.start()
	b.until("after the restart", two+", 2 192.0.2.7 A", b.dispatcher)
}

func TestRealKamailioThatSpacesReloads(t *testing.T) {
	dir, addr := t.TempDir(), "127.0.91.24:25084"
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
	dir, addr := t.TempDir(), "127.0.91.25:25085"
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
