package manager_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"thor/broker/brokertest"
	"thor/manager"
	"thor/overlay"
	"thor/subjects"
)

// peer is a manager under test, or a plain member of the network.
type peer struct {
	node *overlay.Node
	mgr  *manager.Manager
	stop func()
}

func join(t *testing.T, b *brokertest.B, name string, roles ...subjects.Role) *peer {
	t.Helper()
	n, err := overlay.New(overlay.Config{Identity: b.Identity(name, roles...), Options: b.Options(name, roles...)})
	if err != nil {
		t.Fatal(err)
	}
	return &peer{node: n}
}

// run starts the parts of p; stop ends them gracefully, in the daemons' order.
func (p *peer) run(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	netCtx, endNet := context.WithCancel(context.Background())
	var wg, all sync.WaitGroup
	all.Go(func() {
		if err := p.node.Run(netCtx); err != nil {
			t.Errorf("overlay: %v", err)
		}
	})
	if p.mgr != nil {
		wg.Go(func() {
			if err := p.mgr.Run(ctx); err != nil {
				t.Errorf("manager: %v", err)
			}
		})
	}
	p.stop = sync.OnceFunc(func() { cancel(); wg.Wait(); endNet(); all.Wait() })
	t.Cleanup(p.stop)
}

func candidate(t *testing.T, b *brokertest.B, name, dir string) *peer {
	t.Helper()
	p := join(t, b, name, subjects.Manager)
	m, err := manager.New(manager.Config{
		Overlay: p.node, Domain: p.node.Identity().Domain, Addresses: p.node.Identity().Addresses, StateDir: dir,
		Log: zerolog.New(zerolog.NewTestWriter(t)).With().Timestamp().Str("node", name).Logger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	p.mgr = m
	p.run(t)
	return p
}

func member(t *testing.T, b *brokertest.B, name string, role subjects.Role) *peer {
	t.Helper()
	p := join(t, b, name, role)
	if _, err := p.node.Join(overlay.Member{Role: role, Addresses: p.node.Identity().Addresses}); err != nil {
		t.Fatal(err)
	}
	p.run(t)
	return p
}

// within waits in virtual time.
func within(t *testing.T, d time.Duration, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(d); !cond(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", d, what)
		}
	}
	synctest.Wait()
}

func leaders(ps ...*peer) (out []*peer) {
	for _, p := range ps {
		if p.mgr.Active() {
			out = append(out, p)
		}
	}
	return out
}

func TestMembersComeAndGoInTheStatus(t *testing.T) {
	brokertest.InBubble(t, func(t *testing.T, b *brokertest.B) {
		m := candidate(t, b, "m1", "")
		a := member(t, b, "n1", subjects.SIPProxy)
		c := member(t, b, "n2", subjects.SIPProxy)
		watcher := join(t, b, "w1", subjects.Monitor)
		watcher.run(t)
		has := func(nodes string) func() bool {
			return func() bool {
				s := watcher.node.View().Status
				if s == nil {
					return false
				}
				var have []string
				for _, x := range s.Roles[subjects.SIPProxy] {
					have = append(have, string(x.Node))
				}
				return strings.Join(have, " ") == nodes
			}
		}
		within(t, 10*time.Second, "both are in", has("n1 n2"))
		c.stop()
		within(t, time.Second, "a graceful leave shows", has("n1"))
		time.Sleep(2 * time.Second)
		first := watcher.node.View()
		gen := watcher.node.View().Status.Generation
		time.Sleep(20 * time.Second)
		if s := watcher.node.View().Status; s.Generation != gen {
			t.Errorf("generation rose from %d to %d without a change:\n%s\n%s", gen, s.Generation, first.Encoded, s.Encode())
		}
		a.stop()
		within(t, time.Second, "the last one may leave on purpose", has(""))
		m.stop()
	})
}

func TestAKilledMemberIsOutInASecondAlsoRightAfterItsRestart(t *testing.T) {
	brokertest.InBubble(t, func(t *testing.T, b *brokertest.B) {
		candidate(t, b, "m1", "")
		member(t, b, "n2", subjects.SIPProxy)
		watcher := join(t, b, "w1", subjects.Monitor)
		watcher.run(t)
		in := func() bool {
			s := watcher.node.View().Status
			return s != nil && s.Member(subjects.SIPProxy, "n1") != nil
		}
		for i, life := range []time.Duration{10 * time.Second, time.Millisecond, 500 * time.Millisecond, 2 * time.Second} {
			p := member(t, b, "n1", subjects.SIPProxy)
			within(t, 10*time.Second, "it is in", in)
			time.Sleep(life)
			p.node.Conn().Close() // what a kill does to the connection
			killed := time.Now()
			within(t, time.Second, "it is out", func() bool { return !in() })
			t.Logf("life %d, %v long: out after %v", i+1, life, time.Since(killed))
			time.Sleep(time.Minute) // or it would be damped
		}
	})
}

func TestStandbyLeadsAtOnceAfterResignationWithoutLosingMembers(t *testing.T) {
	brokertest.InBubble(t, func(t *testing.T, b *brokertest.B) {
		m1, m2, m3 := candidate(t, b, "m1", t.TempDir()), candidate(t, b, "m2", t.TempDir()), candidate(t, b, "m3", t.TempDir())
		member(t, b, "n1", subjects.SIPProxy)
		watcher := join(t, b, "w1", subjects.Monitor)
		watcher.run(t)
		within(t, 10*time.Second, "one leads", func() bool {
			s := watcher.node.View().Status
			return len(leaders(m1, m2, m3)) == 1 && s != nil && s.Member(subjects.SIPProxy, "n1") != nil
		})
		old := leaders(m1, m2, m3)[0]
		before := watcher.node.View().Status
		old.stop()
		within(t, time.Second, "the next epoch is told", func() bool { return watcher.node.View().Status.Epoch > before.Epoch })
		after := watcher.node.View().Status
		if after.Generation <= before.Generation || after.Member(subjects.SIPProxy, "n1") == nil {
			t.Errorf("from\n%s\nto\n%s", before.Encode(), after.Encode())
		}
	})
}

func TestStandbyLeadsSoonAfterACrashOfTheLeader(t *testing.T) {
	brokertest.InBubble(t, func(t *testing.T, b *brokertest.B) {
		m1, m2 := candidate(t, b, "m1", t.TempDir()), candidate(t, b, "m2", t.TempDir())
		within(t, 10*time.Second, "one leads", func() bool { return len(leaders(m1, m2)) == 1 })
		old, next := m1, m2
		if m2.mgr.Active() {
			old, next = m2, m1
		}
		time.Sleep(5 * time.Second)
		old.node.Conn().Close() // what a kill does to the connection: the lease stays, the broker tells
		within(t, time.Second, "the standby leads", func() bool { return next.mgr.Active() })
	})
}

func TestEpochsRiseOverADeletedBucket(t *testing.T) {
	brokertest.InBubble(t, func(t *testing.T, b *brokertest.B) {
		ms := []*peer{candidate(t, b, "m1", t.TempDir()), candidate(t, b, "m2", t.TempDir()), candidate(t, b, "m3", t.TempDir())}
		op := b.Dial("op", subjects.Operator)
		js, err := jetstream.New(op)
		if err != nil {
			t.Fatal(err)
		}
		var epochs []uint64
		if _, err := op.Subscribe(subjects.StatusTick, func(m *nats.Msg) {
			if k, err := subjects.ParseTick(m.Data); err == nil && (len(epochs) == 0 || epochs[len(epochs)-1] != k.Epoch) {
				epochs = append(epochs, k.Epoch)
			}
		}); err != nil {
			t.Fatal(err)
		}
		within(t, 30*time.Second, "one leads", func() bool { return len(leaders(ms...)) == 1 })
		for len(ms) > 1 {
			time.Sleep(3 * time.Second)
			if err := js.DeleteStream(t.Context(), "KV_"+subjects.ElectionBucket); err != nil {
				t.Fatal(err)
			}
			time.Sleep(20 * time.Second)
			who := leaders(ms...)
			if len(who) != 1 {
				t.Fatalf("%d active managers", len(who))
			}
			who[0].node.Conn().Close()
			ms = slices.DeleteFunc(ms, func(p *peer) bool { return p == who[0] })
			within(t, time.Second, "the next one leads", func() bool { return len(leaders(ms...)) == 1 })
		}
		time.Sleep(3 * time.Second)
		if !slices.Equal(epochs, []uint64{1, 2, 3}) {
			t.Errorf("epochs %v", epochs)
		}
	})
}

func TestBothProcessesOfOneMemberAreTold(t *testing.T) {
	brokertest.InBubble(t, func(t *testing.T, b *brokertest.B) {
		candidate(t, b, "m1", "")
		var mu sync.Mutex
		told := map[string][]string{}
		var boots []string
		for range 2 {
			var boot string
			n, err := overlay.New(overlay.Config{
				Identity: b.Identity("n1", subjects.SIPProxy), Options: b.Options("n1", subjects.SIPProxy),
				OnDuplicate: func(role subjects.Role, boots []string) {
					mu.Lock()
					defer mu.Unlock()
					if role == subjects.SIPProxy {
						told[boot] = boots
					}
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			boot = n.Boot()
			boots = append(boots, boot)
			if _, err := n.Join(overlay.Member{Role: subjects.SIPProxy, Addresses: n.Identity().Addresses}); err != nil {
				t.Fatal(err)
			}
			(&peer{node: n}).run(t)
		}
		slices.Sort(boots)
		within(t, 10*time.Second, "both are told", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(told) == 2
		})
		for boot, about := range told {
			slices.Sort(about)
			if !slices.Equal(about, boots) {
				t.Errorf("%s was told of %v, they are %v", boot, about, boots)
			}
		}
	})
}

func TestSnapshotInTheStoreIsTheSnapshotOnTheWire(t *testing.T) {
	brokertest.InBubble(t, func(t *testing.T, b *brokertest.B) {
		candidate(t, b, "m1", "")
		member(t, b, "n1", subjects.SIPProxy)
		op := b.Dial("op", subjects.Operator)
		js, err := jetstream.New(op)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		kv, err := js.KeyValue(t.Context(), subjects.StatusBucket)
		if err != nil {
			t.Fatal(err)
		}
		e, err := kv.Get(t.Context(), subjects.StatusKey)
		if err != nil {
			t.Fatal(err)
		}
		r, err := op.Request(subjects.StatusGet, (&subjects.SnapshotRequest{V: 1, Losses: true}).Encode(), time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if string(e.Value()) != string(r.Data) {
			t.Errorf("store\n%s\nwire\n%s", e.Value(), r.Data)
		}
		plain, err := op.Request(subjects.StatusGet, nil, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if proper, losses := subjects.SplitFull(r.Data); string(proper) != string(plain.Data) || losses == "" {
			t.Errorf("with losses\n%s\nwithout\n%s", r.Data, plain.Data)
		}
		s, err := subjects.ParseStatus(r.Data)
		if err != nil || s.Member(subjects.SIPProxy, "n1") == nil {
			t.Errorf("%v %+v", err, s)
		}
	})
}

func TestBadMessagesAreDroppedAndNothingElseHappens(t *testing.T) {
	brokertest.InBubble(t, func(t *testing.T, b *brokertest.B) {
		candidate(t, b, "m1", "")
		bad := b.Dial("n9", subjects.SIPProxy)
		watcher := join(t, b, "w1", subjects.Monitor)
		watcher.run(t)
		within(t, 10*time.Second, "a status", func() bool { return watcher.node.View().Status != nil })
		subject := subjects.Presence(subjects.SIPProxy, "n9")
		for _, p := range []string{
			"", "{}", "not json", `{"v":2}`, strings.Repeat("[", 5000), `{"v":1,"node":"n8","role":"sip_proxy","addresses":["10.0.0.1"]}`,
			`{"v":1,"node":"n9","role":"sip_proxy","addresses":["0.0.0.0"]}`, "\xff\xfe", strings.Repeat("x", 70<<10),
		} {
			if err := bad.PublishRequest(subject, "$JS.API.STREAM.DELETE.KV_thor_status", []byte(p)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(3 * time.Second)
		if ms := watcher.node.View().Status.Roles[subjects.SIPProxy]; len(ms) != 0 {
			t.Errorf("a bad message made a member: %+v", ms)
		}
		good, err := json.Marshal(subjects.Announcement{V: 1, Node: "n9", Role: subjects.SIPProxy, Addresses: b.Identity("n9").Addresses[1:]})
		if err != nil {
			t.Fatal(err)
		}
		if err := bad.Publish(subject, good); err != nil {
			t.Fatal(err)
		}
		within(t, 2*time.Second, "a plain member after the bad messages", func() bool {
			m := watcher.node.View().Status.Member(subjects.SIPProxy, "n9")
			return m != nil && m.Plain
		})
	})
}
