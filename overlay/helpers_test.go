package overlay_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"thor/broker/brokertest"
	"thor/overlay"
	"thor/subjects"
)

// run runs a Node until the test ends or the returned function is called.
func run(t testing.TB, cfg overlay.Config) (n *overlay.Node, stop func()) {
	t.Helper()
	n, err := overlay.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return n, stop
}

func ready(t testing.TB, n *overlay.Node) *overlay.Node {
	t.Helper()
	select {
	case <-n.Ready():
	case <-time.After(20 * time.Second):
		t.Fatal("not connected within 20s")
	}
	return n
}

func testLog(t testing.TB) *slog.Logger { return slog.New(slog.NewTextHandler(t.Output(), nil)) }

// await reads views until one satisfies ok.
func await(t testing.TB, n *overlay.Node, what string, ok func(*overlay.View) bool) *overlay.View {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	var last *overlay.View
	for v := range n.Watch(ctx) {
		if last = v; ok(v) {
			return v
		}
	}
	t.Fatalf("%s: not within a minute; view is %+v, status %+v", what, last, last.Status)
	return nil
}

func holds(s *subjects.Status) func(*overlay.View) bool {
	return func(v *overlay.View) bool { return v.Status != nil && string(v.Encoded) == string(s.Encode()) }
}

// announcements delivers what members say, as a manager hears it.
func announcements(t testing.TB, nc *nats.Conn) <-chan *subjects.Announcement {
	t.Helper()
	out := make(chan *subjects.Announcement, 1000)
	hear(t, nc, out)
	return out
}

// hear is announcements into a channel that others may fill too.
func hear(t testing.TB, nc *nats.Conn, out chan<- *subjects.Announcement) {
	t.Helper()
	_, err := nc.Subscribe(subjects.AllPresences, func(m *nats.Msg) {
		a, err := subjects.ParseAnnouncement(m.Subject, m.Data)
		switch {
		case err != nil:
			t.Errorf("%s: %v: %s", m.Subject, err, m.Data)
		case a.Role != subjects.EventServer:
			out <- a
		}
	})
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// next is the next announcement within d.
func next(t testing.TB, as <-chan *subjects.Announcement, d time.Duration) *subjects.Announcement {
	t.Helper()
	select {
	case a := <-as:
		return a
	case <-time.After(d):
		t.Fatalf("no announcement within %v", d)
		return nil
	}
}

// nextState is the next announcement of role in a state.
func nextState(t testing.TB, as <-chan *subjects.Announcement, role subjects.Role, state subjects.State) *subjects.Announcement {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		if a := next(t, as, 20*time.Second); a.Role == role && a.State == state {
			return a
		}
	}
	t.Fatalf("%s did not become %s", role, state)
	return nil
}

// A fakeManager says what a manager says, no more than it is told to.
type fakeManager struct {
	t  testing.TB
	nc *nats.Conn

	mu     sync.Mutex
	status *subjects.Status
	asked  []*subjects.SnapshotRequest
	refuse bool // to answer with "behind"
}

func newManager(t testing.TB, nc *nats.Conn) *fakeManager {
	t.Helper()
	f := &fakeManager{t: t, nc: nc, status: &subjects.Status{
		V: 1, Domain: "example.net", Epoch: 1, Generation: 1, Manager: "m1", Time: t0, Roles: map[subjects.Role][]subjects.Member{},
	}}
	_, err := nc.QueueSubscribe(subjects.StatusGet, "managers", f.answer)
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

var t0 = time.Date(2026, 11, 24, 1, 2, 3, 0, time.UTC)

func (f *fakeManager) answer(m *nats.Msg) {
	r, err := subjects.ParseSnapshotRequest(m.Data)
	if err != nil {
		f.t.Error(err)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, r)
	if f.refuse {
		msg := nats.NewMsg(m.Reply)
		msg.Header.Set(subjects.HeaderError, string(subjects.ErrorBehind))
		f.send(msg)
		return
	}
	encoded := f.status.Encode()
	if r.Sites && f.status.SitesDigest() != "" {
		encoded = f.status.EncodeFull(encoded)
	}
	for _, c := range subjects.Chunks(encoded) {
		msg := nats.NewMsg(m.Reply)
		msg.Data = c.Data
		for k, v := range c.Header {
			msg.Header.Set(k, v)
		}
		msg.Header.Set(subjects.HeaderAge, subjects.EncodeAge(0))
		f.send(msg)
	}
}

func (f *fakeManager) send(m *nats.Msg) {
	if err := f.nc.PublishMsg(m); err != nil {
		f.t.Errorf("publish: %v", err)
	}
}

// change makes the next status, without telling anybody.
func (f *fakeManager) change(edit func(*subjects.Status)) (*subjects.Status, *subjects.Delta) {
	f.mu.Lock()
	defer f.mu.Unlock()
	next := f.status.Clone()
	next.Generation++
	edit(next)
	d := subjects.Diff(f.status, next)
	f.status = next
	return next, d
}

func (f *fakeManager) delta(d *subjects.Delta) {
	f.send(&nats.Msg{Subject: subjects.StatusDelta, Data: d.Encode()})
}

func (f *fakeManager) tick() {
	f.mu.Lock()
	s := f.status
	f.mu.Unlock()
	k := subjects.Tick{
		V: 1, Epoch: s.Epoch, Generation: s.Generation, Digest: subjects.Digest(s.Encode()), Manager: s.Manager, Time: time.Now().UTC(), Counts: s.Counts(),
		SitesDigest: s.SitesDigest(),
	}
	f.send(&nats.Msg{Subject: subjects.StatusTick, Data: k.Encode()})
}

func (f *fakeManager) requests() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.asked)
}

func message(subject string, data []byte) *nats.Msg { return &nats.Msg{Subject: subject, Data: data} }

func bad() *nats.Msg { return &nats.Msg{Subject: subjects.StatusTick, Data: []byte("x")} }

// join adds a member to a status.
func join(role subjects.Role, nodes ...string) func(*subjects.Status) {
	return func(s *subjects.Status) {
		for _, n := range nodes {
			s.Put(role, subjects.Member{
				Node: subjects.NodeID(n), Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.1")}, State: subjects.Up, Weight: 100, Since: t0,
			})
		}
	}
}

func nodes(n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("node%05d", i))
	}
	return out
}

func inBubble(t *testing.T, f func(t *testing.T, b *brokertest.B)) {
	t.Helper()
	defer runtime.GC()
	defer runtime.GC()
	brokertest.InBubble(t, f)
}

func config(t testing.TB, b *brokertest.B, node string, roles ...subjects.Role) overlay.Config {
	return overlay.Config{
		Identity: b.Identity(node, roles...), Options: b.Options(node, roles...), StateDir: t.TempDir(), Boot: "boot-" + node, Log: testLog(t),
	}
}

func mustJoin(t testing.TB, n *overlay.Node, m overlay.Member) *overlay.Membership {
	t.Helper()
	ms, err := n.Join(m)
	if err != nil {
		t.Fatal(err)
	}
	return ms
}
