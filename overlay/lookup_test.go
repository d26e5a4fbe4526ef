package overlay_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"thor/broker/brokertest"
	"thor/overlay"
	"thor/overlay/lookup"
	"thor/subjects"
)

const alice = "sip:alice@Example.com"

// named makes a status name the lookup table of role, as a manager does.
func named(role subjects.Role, bits int) func(*subjects.Status) {
	return func(s *subjects.Status) {
		t, err := lookup.New(bits, lookup.Members(s.Roles[role]))
		if err != nil {
			panic(err)
		}
		if s.Lookup == nil {
			s.Lookup = make(map[subjects.Role]subjects.Lookup)
		}
		s.Lookup[role] = subjects.Lookup{Bits: bits, Digest: t.Digest()}
	}
}

// edits makes one edit of several.
func edits(es ...func(*subjects.Status)) func(*subjects.Status) {
	return func(s *subjects.Status) {
		for _, e := range es {
			e(s)
		}
	}
}

func leave(role subjects.Role, node string) func(*subjects.Status) {
	return func(s *subjects.Status) { s.Remove(role, subjects.NodeID(node)) }
}

func drain(role subjects.Role, node string) func(*subjects.Status) {
	return func(s *subjects.Status) {
		m := *s.Member(role, subjects.NodeID(node))
		m.State = subjects.Draining
		s.Put(role, m)
	}
}

// tell makes the next status, tells of it and waits until n holds it and has
// made its tables.
func (f *fakeManager) tell(n *overlay.Node, edit func(*subjects.Status)) *subjects.Status {
	f.t.Helper()
	s, d := f.change(edit)
	f.delta(d)
	await(f.t, n, "the new status", holds(s))
	time.Sleep(overlay.TableRest)
	synctest.Wait()
	return s
}

func locate(t *testing.T, n *overlay.Node, want *subjects.Status) lookup.Assignment {
	t.Helper()
	l, mark, err := n.Lookup(subjects.SIPProxy, alice)
	if err != nil {
		t.Fatalf("lookup: %v", err)
	}
	table, err := lookup.New(want.Lookup[subjects.SIPProxy].Bits, lookup.Members(want.Roles[subjects.SIPProxy]))
	if err != nil {
		t.Fatal(err)
	}
	w, err := table.Find("alice@example.com")
	if err != nil {
		t.Fatal(err)
	}
	if l.Slot() != w.Slot() || !l.Same(w) || mark != want.Mark() {
		t.Errorf("lookup: slot %d, %v of %v, want slot %d, %v of %v", l.Slot(), l.Holders(), mark, w.Slot(), w.Holders(), want.Mark())
	}
	return l
}

func TestLookupFollowsTheStatus(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		m := newManager(t, b.Dial("m1", subjects.Manager))
		n, err := overlay.New(config(t, b, "n1", subjects.SIPProxy))
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := n.Lookup(subjects.SIPProxy, alice); !errors.Is(err, overlay.ErrNoStatus) {
			t.Errorf("before any status: %v", err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- n.Run(ctx) }()
		defer func() { cancel(); <-done }()
		ready(t, n)
		s := m.tell(n, edits(join(subjects.SIPProxy, nodes(7)...), named(subjects.SIPProxy, 12), join(subjects.MediaRelay, "r1")))
		for _, r := range []subjects.Role{subjects.MediaRelay, subjects.VoicemailServer, "", "a.b"} {
			if _, _, err := n.Lookup(r, alice); !errors.Is(err, overlay.ErrNoTable) {
				t.Errorf("%q: %v", r, err)
			}
		}
		if _, _, err := n.Lookup(subjects.SIPProxy, "alice"); !errors.Is(err, overlay.ErrBadKey) {
			t.Errorf("bad key: %v", err)
		}
		l := locate(t, n, s)

		s = m.tell(n, edits(drain(subjects.SIPProxy, string(l.Owner())), named(subjects.SIPProxy, 12)))
		if d := locate(t, n, s); d.Owner() != l.Heir() || d.Previous() != l.Owner() {
			t.Errorf("drained: %+v after %+v", d, l)
		}
		s = m.tell(n, edits(leave(subjects.SIPProxy, string(l.Owner())), named(subjects.SIPProxy, 12)))
		if d := locate(t, n, s); d.Owner() != l.Heir() || d.Previous() != "" {
			t.Errorf("left: %+v after %+v", d, l)
		}
		s = m.tell(n, join(subjects.MediaRelay, "r2")) // another generation, the same table
		locate(t, n, s)
		s = m.tell(n, named(subjects.SIPProxy, 14))
		locate(t, n, s)

		all := func(s *subjects.Status) {
			for i := range s.Roles[subjects.SIPProxy] {
				s.Roles[subjects.SIPProxy][i].State = subjects.Draining
			}
		}
		m.tell(n, edits(all, named(subjects.SIPProxy, 14)))
		if _, _, err := n.Lookup(subjects.SIPProxy, alice); !errors.Is(err, overlay.ErrNoMembers) {
			t.Errorf("all drain: %v", err)
		}
		m.tell(n, func(s *subjects.Status) { delete(s.Roles, subjects.SIPProxy); delete(s.Lookup, subjects.SIPProxy) })
		if _, _, err := n.Lookup(subjects.SIPProxy, alice); !errors.Is(err, overlay.ErrNoTable) {
			t.Errorf("nobody is in the role: %v", err)
		}
		s = m.tell(n, edits(join(subjects.SIPProxy, "n9"), named(subjects.SIPProxy, 12)))
		if l := locate(t, n, s); l.Owner() != "n9" || l.Heir() != "" {
			t.Errorf("one member: %+v", l)
		}
	})
}

func TestTablesComeWhenTheyChange(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		m := newManager(t, b.Dial("m1", subjects.Manager))
		n, _ := run(t, config(t, b, "n1", subjects.SIPProxy))
		ready(t, n)
		ctx, cancel := context.WithCancel(context.Background())
		tables := n.Tables(ctx, subjects.SIPProxy)
		none := func(when string) {
			t.Helper()
			select {
			case x := <-tables:
				t.Errorf("%s: a table came: %+v", when, x)
			default:
			}
		}
		m.tell(n, join(subjects.MediaRelay, "r1"))
		none("before there is one")
		m.tell(n, edits(join(subjects.SIPProxy, "a", "b"), named(subjects.SIPProxy, 10)))
		first := <-tables
		if first.Len() != 2 || first.Bits() != 10 {
			t.Errorf("first table: %d members", first.Len())
		}
		m.tell(n, join(subjects.MediaRelay, "r2"))
		none("another role changed")
		m.tell(n, edits(join(subjects.SIPProxy, "c"), named(subjects.SIPProxy, 10)))
		m.tell(n, edits(join(subjects.SIPProxy, "d"), named(subjects.SIPProxy, 10)))
		second := <-tables
		if second.Len() != 4 {
			t.Errorf("a slow reader got the table of %d members, not the latest", second.Len())
		}
		none("twice the same")
		gained := 0
		for mv := range first.Moves(second) {
			if mv.To != "c" && mv.To != "d" {
				t.Fatalf("%+v", mv)
			}
			gained++
		}
		if gained == 0 {
			t.Error("nothing moved")
		}
		if again := <-n.Tables(ctx, subjects.SIPProxy); again != second {
			t.Error("another watcher got another table")
		}
		m.tell(n, func(s *subjects.Status) { delete(s.Roles, subjects.SIPProxy); delete(s.Lookup, subjects.SIPProxy) })
		if last := <-tables; last.Len() != 0 {
			t.Errorf("the role has gone: table of %d members", last.Len())
		}
		cancel()
		if _, open := <-tables; open {
			t.Error("the channel stays open")
		}
	})
}

// errorLines counts the lines of a log at level error.
type errorLines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (e *errorLines) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.b.Write(p)
}

func (e *errorLines) count(part string) (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for line := range strings.Lines(e.b.String()) {
		if strings.Contains(line, `"level":"ERROR"`) && strings.Contains(line, part) {
			n++
		}
	}
	return n
}

// wrong makes a status name a table that its members do not make.
func wrong(digest string) func(*subjects.Status) {
	return func(s *subjects.Status) {
		l := s.Lookup[subjects.SIPProxy]
		l.Digest = digest
		s.Lookup[subjects.SIPProxy] = l
	}
}

func TestTableThatDiffersIsNotUsed(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		nc := b.Dial("m1", subjects.Manager)
		m := newManager(t, nc)
		said := announcements(t, nc)
		var log errorLines
		reg := prometheus.NewRegistry()
		cfg := config(t, b, "n1", subjects.SIPProxy)
		cfg.Log, cfg.Metrics = slog.New(slog.NewJSONHandler(&log, nil)), reg
		n, _ := run(t, cfg)
		ready(t, n)
		mustJoin(t, n, overlay.Member{Role: subjects.SIPProxy})
		good := m.tell(n, edits(join(subjects.SIPProxy, nodes(5)...), named(subjects.SIPProxy, 10)))
		l := locate(t, n, good)
		metric := func() float64 { return gauge(t, reg, "thor_overlay_lookup_differs") }
		if len(n.LookupFaults()) != 0 || metric() != 0 {
			t.Errorf("faults before: %q", n.LookupFaults())
		}

		const lie = "00000000deadbeef"
		asked := m.requests()
		m.tell(n, edits(leave(subjects.SIPProxy, string(l.Owner())), named(subjects.SIPProxy, 10), wrong(lie)))
		locate(t, n, good) // the table before, and its mark
		for range 30 {
			m.tell(n, join(subjects.MediaRelay, "r1"))
			m.tick()
			time.Sleep(time.Second)
		}
		locate(t, n, good)
		if got := m.requests() - asked; got != 1 {
			t.Errorf("%d requests for a fresh snapshot, want 1", got)
		}
		if got := log.count(lie); got != 1 {
			t.Errorf("%d error lines with both digests, want 1:\n%s", got, log.b.String())
		}
		if f := n.LookupFaults(); len(f) != 1 || !strings.Contains(f[0], lie) || metric() != 1 {
			t.Errorf("faults: %q, metric %v", f, metric())
		}
		if a := latest(said); !strings.Contains(a.Attrs[subjects.LookupDiffers], lie) || !strings.Contains(a.Attrs[subjects.LookupDiffers], "sip_proxy") {
			t.Errorf("announcement: %v", a.Attrs)
		}

		s := m.tell(n, named(subjects.SIPProxy, 10))
		locate(t, n, s)
		time.Sleep(5 * time.Second)
		if a := latest(said); a.Attrs[subjects.LookupDiffers] != "" || len(n.LookupFaults()) != 0 || metric() != 0 {
			t.Errorf("after it agrees again: %v, %q", a.Attrs, n.LookupFaults())
		}
	})
}

func latest(as <-chan *subjects.Announcement) (a *subjects.Announcement) {
	for {
		select {
		case a = <-as:
		default:
			return a
		}
	}
}

// gauge is the greatest value of a metric, 0 if there is none.
func gauge(t *testing.T, reg *prometheus.Registry, name string) (v float64) {
	t.Helper()
	fs, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fs {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				v = max(v, m.GetGauge().GetValue())
			}
		}
	}
	return v
}

func TestTableThatNeverAgreedIsNone(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		m := newManager(t, b.Dial("m1", subjects.Manager))
		n, _ := run(t, config(t, b, "n1", subjects.SIPProxy))
		ready(t, n)
		m.tell(n, edits(join(subjects.SIPProxy, nodes(5)...), named(subjects.SIPProxy, 10), wrong("00000000deadbeef")))
		for range 3 {
			if l, _, err := n.Lookup(subjects.SIPProxy, alice); !errors.Is(err, overlay.ErrTableDiffers) {
				t.Errorf("%+v %v", l, err)
			}
		}
		if len(n.LookupFaults()) != 1 {
			t.Errorf("faults: %q", n.LookupFaults())
		}
		s := m.tell(n, named(subjects.SIPProxy, 10))
		locate(t, n, s)
	})
}

// Lookups while tables change see one table or the next, never a mixture, and
// never fail.
func TestLookupsGoOnWhileTablesChange(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		m := newManager(t, b.Dial("m1", subjects.Manager))
		n, _ := run(t, config(t, b, "n1", subjects.SIPProxy))
		ready(t, n)
		m.tell(n, edits(join(subjects.SIPProxy, nodes(5)...), named(subjects.SIPProxy, 10)))
		stop := make(chan struct{})
		var g sync.WaitGroup
		for i := range 4 {
			g.Go(func() {
				last := subjects.Mark{}
				for k := 0; ; k++ {
					select {
					case <-stop:
						return
					default:
					}
					l, mark, err := n.Lookup(subjects.SIPProxy, fmt.Sprintf("user%d@example.com", i*1000+k%1000))
					if err != nil || l.Owner() == l.Heir() || last.After(mark) {
						t.Errorf("%+v %v, after %v", l, err, last)
						return
					}
					last = mark
					if k%500 == 0 {
						time.Sleep(time.Millisecond) // virtual time stands while somebody works
					}
				}
			})
		}
		for i := range 50 {
			edit := join(subjects.SIPProxy, fmt.Sprintf("x%d", i%5))
			if i/5%2 == 1 {
				edit = leave(subjects.SIPProxy, fmt.Sprintf("x%d", i%5))
			}
			s, d := m.change(edits(edit, named(subjects.SIPProxy, 10)))
			m.delta(d)
			for n.View().Mark() != s.Mark() {
				time.Sleep(time.Millisecond)
			}
		}
		close(stop)
		g.Wait()
	})
}

func TestLookupAllocatesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		m := newManager(t, b.Dial("m1", subjects.Manager))
		n, _ := run(t, config(t, b, "n1", subjects.SIPProxy))
		ready(t, n)
		m.tell(n, edits(join(subjects.SIPProxy, nodes(5)...), named(subjects.SIPProxy, 10)))
		for _, k := range []string{"alice@example.com", "sip:bob:secret@Example.COM:5060;transport=tls;lr", "bad"} {
			if a := testing.AllocsPerRun(100, func() { _, _, _ = n.Lookup(subjects.SIPProxy, k) }); a != 0 {
				t.Errorf("%q: %v allocations", k, a)
			}
		}
	})
}

func BenchmarkLookup(b *testing.B) {
	s := &subjects.Status{V: 1, Domain: "example.net", Epoch: 1, Generation: 1, Roles: map[subjects.Role][]subjects.Member{}}
	edits(join(subjects.SIPProxy, nodes(100)...), named(subjects.SIPProxy, 18))(s)
	n := overlay.Holding(b, s)
	keys := make([]string, 1024)
	for i := range keys {
		keys[i] = fmt.Sprintf("user%07d@sip.example.net", i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, _, err := n.Lookup(subjects.SIPProxy, keys[i&1023]); err != nil {
			b.Fatal(err)
		}
	}
}

// The sites of members count where the status names the digest of the remotes, as it is
// computed here, and not otherwise.
func TestRemotesAreThoseThatTheStatusNames(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		m := newManager(t, b.Dial("m1", subjects.Manager))
		n := follower(t, b)
		sited := func(s *subjects.Status) {
			for i := range s.Roles[subjects.SIPProxy] {
				s.Roles[subjects.SIPProxy][i].Site = []subjects.Site{"ams", "fra"}[i%2]
			}
		}
		m.tell(n, edits(join(subjects.SIPProxy, nodes(7)...), sited, named(subjects.SIPProxy, 12)))
		l, _, err := n.Lookup(subjects.SIPProxy, alice)
		if err != nil || l.Remote() != "" {
			t.Fatalf("a manager that knows no sites: remote %q, %v", l.Remote(), err)
		}
		name := func(s *subjects.Status) {
			x, err := lookup.New(12, lookup.Members(s.Roles[subjects.SIPProxy]))
			if err != nil {
				panic(err)
			}
			s.Lookup[subjects.SIPProxy] = x.Name()
		}
		s := m.tell(n, name)
		l = locate(t, n, s)
		f, err := n.Find(subjects.SIPProxy, alice)
		if err != nil || l.Remote() == "" || f.Remote != l.Remote() || f.RemoteAddress != s.Member(subjects.SIPProxy, f.Remote).Address() ||
			s.Member(subjects.SIPProxy, f.Remote).Site == s.Member(subjects.SIPProxy, f.Owner).Site {
			t.Errorf("remote %q, found %+v, %v", l.Remote(), f, err)
		}
		m.tell(n, func(s *subjects.Status) {
			x := s.Lookup[subjects.SIPProxy]
			x.RemoteDigest = "0123456789abcdef"
			s.Lookup[subjects.SIPProxy] = x
		})
		if faults := n.LookupFaults(); len(faults) != 1 || !strings.Contains(faults[0], "with remotes 0123456789abcdef") {
			t.Errorf("another digest of the remotes: %q", faults)
		}
		if _, _, err := n.Lookup(subjects.SIPProxy, alice); err != nil {
			t.Errorf("the table before is used: %v", err)
		}
	})
}

// follower is a node that runs and is ready.
func follower(t *testing.T, b *brokertest.B) *overlay.Node {
	t.Helper()
	n, err := overlay.New(config(t, b, "n1", subjects.SIPProxy))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	ready(t, n)
	return n
}
