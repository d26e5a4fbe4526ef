package live_test

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
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
	// answerWithin is how long a Kamailio may take: one that hangs fails the test.
	answerWithin = 3 * time.Second
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

// unread is how many views wait to be read: say replaces them.
func (n *network) unread() (string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	sum := 0
	for ch := range n.chs {
		sum += len(ch)
	}
	return strconv.Itoa(sum), nil
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

	targets []live.Target
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
	b.targets = []live.Target{{Role: "sip_proxy", URL: url, Proxy: live.Kamailio(c), Sets: configOf(dir)}}
	if b.keeper, err = live.New(b.net, b.targets, zerolog.New(b.log), nil); err != nil {
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
	ctx, cancel := context.WithTimeout(b.t.Context(), answerWithin)
	defer cancel()
	ds, err := b.client.Destinations(ctx)
	var out []string
	for _, d := range ds {
		out = append(out, fmt.Sprintf("%d %s %s", d.Group, strings.TrimPrefix(strings.TrimSuffix(d.URI, ":5060"), "sip:"), d.Flags[:1]))
	}
	slices.Sort(out)
	return strings.Join(out, ", "), err
}

func (b *bench) relays() (string, error) {
	ctx, cancel := context.WithTimeout(b.t.Context(), answerWithin)
	defer cancel()
	rs, err := b.client.Relays(ctx)
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
	ctx, cancel := context.WithTimeout(b.t.Context(), answerWithin)
	defer cancel()
	as, err := b.client.Addresses(ctx)
	var out []string
	for _, a := range as {
		out = append(out, fmt.Sprintf("%d %s", a.Group, a.Item.IP))
	}
	slices.Sort(out)
	return strings.Join(out, ", "), err
}

func (b *bench) faults() (string, error) { return strings.Join(b.keeper.Faults(), "\n"), nil }
