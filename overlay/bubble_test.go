package overlay_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"thor/broker/brokertest"
	"thor/overlay"
	"thor/subjects"
)

// inBubble is brokertest.InBubble, and empties the pools in which nats.go keeps
// the bubble's timers for whoever comes after.
func inBubble(t *testing.T, f func(t *testing.T, b *brokertest.B)) {
	t.Helper()
	defer runtime.GC()
	defer runtime.GC()
	brokertest.InBubble(t, f)
}

// config is that of a node in a bubble.
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

func TestMemberIsAnnouncedAtConnectionAndThenBeats(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		as := announcements(t, b.Dial("m1", subjects.Manager))
		start := time.Now()
		n, _ := run(t, config(t, b, "n1", "sip_proxy"))
		mustJoin(t, n, overlay.Member{Role: "sip_proxy", Version: "1.2", Priority: 10, Attrs: subjects.Attrs{"port": "5060"}})
		first := next(t, as, time.Millisecond)
		if first.Boot != "boot-n1" || first.Seq != 1 || first.State != subjects.Up || first.Version != "1.2" || first.Priority != 10 ||
			first.Attrs["port"] != "5060" || first.Via == "" || first.Seen != nil || first.Addresses[0].IsLoopback() {
			t.Errorf("announces %s", first.Encode())
		}
		at, seq := start, first.Seq
		for range 100 {
			a := next(t, as, 1101*time.Millisecond)
			if gap := time.Since(at); gap < 899*time.Millisecond && a.Seq > 3 {
				t.Errorf("beat after %v", gap)
			}
			if a.Seq != seq+1 {
				t.Errorf("seq %d after %d", a.Seq, seq)
			}
			at, seq = time.Now(), a.Seq
		}
	})
}

func TestChangeIsAnnouncedAtOnceAndNoChangeIsNot(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		as := announcements(t, b.Dial("m1", subjects.Manager))
		n, _ := run(t, config(t, b, "n1", "sip_proxy"))
		m := mustJoin(t, ready(t, n), overlay.Member{Role: "sip_proxy"})
		next(t, as, time.Millisecond)
		m.Update(func(m *overlay.Member) { m.State, m.Reason = subjects.Down, "no answer to OPTIONS" })
		m.Update(func(m *overlay.Member) { m.State, m.Reason = subjects.Up, "" })
		m.Update(func(m *overlay.Member) { m.State = "" })                       // the same
		m.Update(func(m *overlay.Member) { m.Reason = "\x1b[2J" })               // refused
		m.Update(func(m *overlay.Member) { m.State = subjects.Leave })           // refused
		m.Update(func(m *overlay.Member) { m.Role, m.Weight = "other_role", 7 }) // the role stays
		synctest.Wait()
		a, c, w := next(t, as, time.Millisecond), next(t, as, time.Millisecond), next(t, as, time.Millisecond)
		if a.State != subjects.Down || a.Reason != "no answer to OPTIONS" || c.State != subjects.Up || w.Weight != 7 || w.Role != "sip_proxy" {
			t.Errorf("%s\n%s\n%s", a.Encode(), c.Encode(), w.Encode())
		}
		if len(as) != 0 {
			t.Errorf("announced without a change: %s", (<-as).Encode())
		}
		if got := m.Member(); got.Weight != 7 || got.State != subjects.Up {
			t.Errorf("%+v", got)
		}
	})
}

func TestLeaveIsHeardAndTheRoleMayBeJoinedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		as := announcements(t, b.Dial("m1", subjects.Manager))
		n, stop := run(t, config(t, b, "n1", "media_relay", "sip_proxy"))
		ready(t, n)
		relay := mustJoin(t, n, overlay.Member{Role: "media_relay"})
		mustJoin(t, n, overlay.Member{Role: "sip_proxy"})
		if _, err := n.Join(overlay.Member{Role: "sip_proxy"}); err == nil {
			t.Error("joined twice")
		}
		if err := relay.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		left := nextState(t, as, "media_relay", subjects.Leave)
		relay.Update(func(m *overlay.Member) { m.Weight = 3 })
		if err := relay.Leave(t.Context()); err != nil {
			t.Error(err)
		}
		for end := time.Now().Add(3 * time.Second); time.Now().Before(end); {
			if a := next(t, as, 2*time.Second); a.Role == "media_relay" {
				t.Fatalf("announced after it left: %s", a.Encode())
			}
		}
		mustJoin(t, n, overlay.Member{Role: "media_relay"})
		if a := nextState(t, as, "media_relay", subjects.Up); a.Seq <= left.Seq {
			t.Errorf("seq %d after %d", a.Seq, left.Seq)
		}
		stop()
		nextState(t, as, "media_relay", subjects.Leave)
		nextState(t, as, "sip_proxy", subjects.Leave)
		if _, err := n.Join(overlay.Member{Role: "sip_proxy"}); err == nil {
			t.Error("joined after the end")
		}
		if n.Connected() || n.View().Connected {
			t.Error("connected after the end")
		}
	})
}

func TestSnapshotAtStartThenChangesWithoutAsking(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		f := newManager(t, b.Dial("m1", subjects.Manager))
		f.change(join("sip_proxy", "n1", "n2"))
		n, _ := run(t, config(t, b, "n9", "media_relay"))
		if v := n.View(); v.Status != nil || !v.Stale || v.Connected {
			t.Errorf("before the start: %+v", v)
		}
		start := time.Now()
		v := await(t, n, "first status", func(v *overlay.View) bool { return v.Status != nil })
		if v.Stale || v.FromDisk || !v.Connected || len(v.Status.Roles["sip_proxy"]) != 2 {
			t.Errorf("%+v", v)
		}
		if d := time.Since(start); d > 100*time.Millisecond {
			t.Errorf("first status after %v", d)
		}
		for i, name := range nodes(20) {
			s, d := f.change(join("sip_proxy", name))
			f.delta(d)
			f.tick()
			await(t, n, name, holds(s))
			if i%5 == 0 {
				time.Sleep(time.Second) // virtual
			}
		}
		if f.requests() != 1 {
			t.Errorf("asked %d times", f.requests())
		}
	})
}

func TestMissedChangeIsRepairedByOneRequest(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		f := newManager(t, b.Dial("m1", subjects.Manager))
		n, _ := run(t, config(t, b, "n9", "media_relay"))
		await(t, n, "first status", func(v *overlay.View) bool { return v.Status != nil })
		f.change(join("sip_proxy", "n1")) // nobody hears of it
		s, d := f.change(join("sip_proxy", "n2"))
		start := time.Now()
		f.delta(d)
		await(t, n, "repair of a gap", holds(s))
		if d := time.Since(start); d > 250*time.Millisecond || f.requests() != 2 {
			t.Errorf("repaired after %v with %d requests", d, f.requests())
		}
		s, _ = f.change(join("sip_proxy", "n3"))
		start = time.Now()
		f.tick()
		await(t, n, "repair after a tick", holds(s))
		if d := time.Since(start); d < 150*time.Millisecond || d > 400*time.Millisecond || f.requests() != 3 {
			t.Errorf("repaired after %v with %d requests", d, f.requests())
		}
		// A manager that is behind is asked again, without a storm.
		f.mu.Lock()
		f.refuse = true
		f.mu.Unlock()
		f.change(join("sip_proxy", "n4"))
		before := f.requests()
		for range 30 {
			f.tick()
			time.Sleep(time.Second) // virtual
		}
		if got := f.requests() - before; got < 4 || got > 20 {
			t.Errorf("asked %d times in 30s", got)
		}
		f.mu.Lock()
		f.refuse = false
		s = f.status
		f.mu.Unlock()
		f.tick()
		await(t, n, "the answer", holds(s))
	})
}

func TestBigSnapshotComesInPieces(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		f := newManager(t, b.Dial("m1", subjects.Manager))
		s, d := f.change(join("sip_proxy", nodes(3000)...))
		if chunks := subjects.Chunks(s.Encode()); len(s.Encode()) < subjects.PlainSnapshot || len(chunks) < 1 || !d.Reload && len(d.Encode()) > subjects.MaxDelta {
			t.Fatalf("%d chunks", len(chunks))
		}
		n, _ := run(t, config(t, b, "n9", "media_relay"))
		await(t, n, "first status", holds(s))
	})
}

func TestStatusOfDeadManagersGoesStaleAndStays(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		f := newManager(t, b.Dial("m1", subjects.Manager))
		s, _ := f.change(join("sip_proxy", "n1"))
		n, _ := run(t, config(t, b, "n9", "media_relay"))
		await(t, n, "first status", holds(s))
		for range 40 {
			f.tick()
			time.Sleep(time.Second) // virtual
			if v := n.View(); v.Stale {
				t.Fatal("stale while the manager ticks")
			}
		}
		f.tick()
		synctest.Wait()
		start := time.Now()
		v := await(t, n, "staleness", func(v *overlay.View) bool { return v.Stale })
		if d := time.Since(start); d != 30*time.Second {
			t.Errorf("stale after %v", d)
		}
		if !holds(s)(v) {
			t.Error("a stale view lost its status")
		}
		f.tick()
		if v := await(t, n, "freshness", func(v *overlay.View) bool { return !v.Stale }); !holds(s)(v) {
			t.Error("another status")
		}
	})
}

func TestMalformedMessagesChangeNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		f := newManager(t, b.Dial("m1", subjects.Manager))
		s, d := f.change(join("sip_proxy", "n1"))
		n, _ := run(t, config(t, b, "n9", "media_relay"))
		await(t, n, "first status", holds(s))
		next, d2 := f.change(join("sip_proxy", "n2"))
		for _, bad := range [][]byte{
			nil, []byte("x"), []byte("[]"), []byte(`{"v":2}`), []byte(`{"v":1,"epoch":-1}`), []byte(`{"v":1,"epoch":1e300}`),
			[]byte(`{"v":1,"epoch":9007199254740993,"generation":1}`), []byte(`{"v":1,"epoch":2000000,"generation":9}`),
			[]byte(`{"v":1,"epoch":1,"generation":3,"prev":[1,2],"changes":[{"op":"join","role":"x","node":"*"}]}`),
			make([]byte, 700<<10), d2.Encode()[:100], d.Encode(), []byte("{\"v\":1,\"digest\":\"\x1b[2J\"}"),
		} {
			for _, subject := range []string{subjects.StatusTick, subjects.StatusDelta} {
				f.send(&nats.Msg{Subject: subject, Data: bad})
			}
		}
		synctest.Wait()
		if !holds(s)(n.View()) {
			t.Fatalf("the view changed: %s", n.View().Encoded)
		}
		f.delta(d2)
		await(t, n, "the next change", holds(next))
	})
}

func TestOldManagerAndAbsurdClaimsAreNotBelieved(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		f := newManager(t, b.Dial("m1", subjects.Manager))
		s, _ := f.change(func(s *subjects.Status) { s.Epoch = 5; join("sip_proxy", "n1")(s) })
		n, _ := run(t, config(t, b, "n9", "media_relay"))
		await(t, n, "first status", holds(s))
		f.tick()
		for _, edit := range []func(*subjects.Status){
			func(s *subjects.Status) { s.Epoch, s.Generation = 4, 1000 },
			func(s *subjects.Status) { s.Epoch = 5_000_000 },
			func(s *subjects.Status) { s.Epoch, s.Generation = 6, subjects.MaxNumber },
		} {
			_, d := f.change(edit)
			f.delta(d)
			f.tick()
			time.Sleep(3 * time.Second) // virtual
			if !holds(s)(n.View()) {
				t.Fatalf("believed %v", n.View().Mark())
			}
			f.mu.Lock()
			f.status = s
			f.mu.Unlock()
		}
		// A restarted network comes back with a higher epoch and a gap.
		s, d := f.change(func(s *subjects.Status) { s.Epoch, s.Generation = 6, 100_000; join("sip_proxy", "n7")(s) })
		d.Prev = subjects.Mark{Epoch: 6, Generation: 99_999}
		f.delta(d)
		await(t, n, "restarted network", holds(s))
	})
}

func TestSeenIsTheNewestMarkHeld(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		nc := b.Dial("m1", subjects.Manager)
		f, as := newManager(t, nc), announcements(t, nc)
		s, _ := f.change(join("sip_proxy", "n1"))
		n, _ := run(t, config(t, b, "n9", "media_relay"))
		mustJoin(t, n, overlay.Member{Role: "media_relay"})
		await(t, n, "first status", holds(s))
		for a := next(t, as, 2*time.Second); a.Seen == nil || *a.Seen != s.Mark(); a = next(t, as, 2*time.Second) {
			if a.Seq > 5 {
				t.Fatal("not told")
			}
		}
	})
}

func ask(t testing.TB, n *overlay.Node, subject string) *overlay.DrainReply {
	t.Helper()
	r, err := n.Ask(t.Context(), subject, nil)
	if err != nil {
		t.Fatal(err)
	}
	var d overlay.DrainReply
	if err := json.Unmarshal(r.Data, &d); err != nil || r.Code != "" {
		t.Fatalf("%+v: %v", r, err)
	}
	return &d
}

func TestOperatorDrainsAndResumesAndARestartRemembers(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		as := announcements(t, b.Dial("m1", subjects.Manager))
		cfg := config(t, b, "n1", "media_relay", "sip_proxy")
		n, stop := run(t, cfg)
		proxy := mustJoin(t, n, overlay.Member{Role: "sip_proxy"})
		relay := mustJoin(t, n, overlay.Member{Role: "media_relay"})
		ready(t, n)
		op, _ := run(t, config(t, b, "op", subjects.Operator))
		ready(t, op)

		d := ask(t, op, subjects.Request("n1", "sip_proxy", "drain"))
		if d.Boot != "boot-n1" || !slices.Equal(d.Drained, []subjects.Role{"sip_proxy"}) || len(d.Roles) != 2 {
			t.Errorf("%+v", d)
		}
		a := nextState(t, as, "sip_proxy", subjects.Draining)
		if a.Reason == "" || !proxy.Drained() || relay.Drained() {
			t.Errorf("%s %v %v", a.Encode(), proxy.Drained(), relay.Drained())
		}
		proxy.Update(func(m *overlay.Member) { m.State, m.Reason = subjects.Down, "dead" })
		for range 5 {
			if a := next(t, as, 2*time.Second); a.Role == "sip_proxy" && a.State != subjects.Draining {
				t.Errorf("a drained member says %s", a.State)
			}
		}
		stop()

		cfg.Boot = "again"
		n, _ = run(t, cfg)
		proxy = mustJoin(t, n, overlay.Member{Role: "sip_proxy"})
		ready(t, n)
		for a := nextState(t, as, "sip_proxy", subjects.Draining); a.Boot != "again"; {
			a = nextState(t, as, "sip_proxy", subjects.Draining)
		}
		if !proxy.Drained() {
			t.Error("forgotten")
		}
		if d := ask(t, op, subjects.AgentRequest("n1", "drain")); len(d.Drained) != 1 {
			t.Errorf("%+v", d)
		}
		relay = mustJoin(t, n, overlay.Member{Role: "media_relay"})
		if !relay.Drained() {
			t.Error("joined a drained node and is not drained")
		}
		synctest.Wait()
		if d := ask(t, op, subjects.Request("n1", "sip_proxy", "resume")); !slices.Equal(d.Drained, []subjects.Role{"media_relay"}) {
			t.Errorf("%+v", d)
		}
		nextState(t, as, "sip_proxy", subjects.Up)
		if d := ask(t, op, subjects.AgentRequest("n1", "resume")); len(d.Drained) != 0 || relay.Drained() {
			t.Errorf("%+v", d)
		}
	})
}

func TestEveryProcessOfANodeAnswersForItsOwnRoles(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		for _, r := range []subjects.Role{"media_relay", "sip_proxy"} {
			cfg := config(t, b, "n1", "media_relay", "sip_proxy")
			cfg.Boot = string(r)
			n, _ := run(t, cfg)
			mustJoin(t, n, overlay.Member{Role: r})
			ready(t, n)
		}
		op, _ := run(t, config(t, b, "op", subjects.Operator))
		ready(t, op)
		replies, err := op.AskAll(t.Context(), subjects.AgentRequest("n1", "drain"), nil, time.Second)
		if err != nil || len(replies) != 2 {
			t.Fatalf("%d replies, %v", len(replies), err)
		}
		var boots []string
		for _, r := range replies {
			var d overlay.DrainReply
			if err := json.Unmarshal(r.Data, &d); err != nil || len(d.Drained) != 1 || string(d.Drained[0]) != d.Boot {
				t.Errorf("%s %v", r.Data, err)
			}
			boots = append(boots, d.Boot)
		}
		if slices.Sort(boots); !slices.Equal(boots, []string{"media_relay", "sip_proxy"}) {
			t.Errorf("answers of %v", boots)
		}
	})
}

func TestQuestionsThatCannotBeAnsweredSayWhy(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		n, _ := run(t, config(t, b, "n1", "sip_proxy"))
		n.Handle("sip_proxy", "wait", func(ctx context.Context, _ *overlay.Request) *subjects.Reply {
			<-ctx.Done()
			return nil
		})
		n.Handle("sip_proxy", "garbage", func(context.Context, *overlay.Request) *subjects.Reply { return &subjects.Reply{V: 99} })
		op, err := overlay.New(config(t, b, "op", subjects.Operator))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := op.Ask(t.Context(), subjects.AgentRequest("n1", "drain"), nil); !errors.Is(err, overlay.ErrNotConnected) {
			t.Errorf("before the connection: %v", err)
		}
		op, _ = run(t, config(t, b, "op", subjects.Operator))
		ready(t, n)
		ready(t, op)
		for subject, want := range map[string]error{
			subjects.AgentRequest("n7", "drain"):           overlay.ErrNoResponders,
			subjects.Request("n1", "media_relay", "drain"): overlay.ErrNoResponders,
			subjects.Request("n1", "sip_proxy", "nothing"): overlay.ErrNoResponders,
			subjects.Presence("sip_proxy", "n1"):           overlay.ErrForbidden,
			subjects.Request("n1", "sip_proxy", "wait"):    context.DeadlineExceeded,
		} {
			if _, err := op.Ask(t.Context(), subject, nil); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", subject, err, want)
			}
			if _, err := op.AskAll(t.Context(), subject, nil, time.Second); want != context.DeadlineExceeded && !errors.Is(err, want) {
				t.Errorf("all at %s: %v, want %v", subject, err, want)
			}
		}
		if _, err := op.Ask(t.Context(), subjects.Request("n1", "sip_proxy", "garbage"), nil); subjects.CodeOf(err) != subjects.CodeVersion {
			t.Errorf("malformed answer: %v", err)
		}
	})
}

func TestHandlersGetWhatIsTheirsAndTheSDKKeepsItsOwn(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		n, _ := run(t, config(t, b, "n1", subjects.Database))
		got := make(chan *overlay.Request, 10)
		h := func(_ context.Context, r *overlay.Request) *subjects.Reply {
			got <- r
			return &subjects.Reply{V: 1, Text: "done"}
		}
		n.Handle(string(subjects.Database), "credentials", h)
		n.Handle(subjects.Agent, "drain", h)                                 // refused
		n.Handle("not a role", "verb", h)                                    // refused
		for _, verb := range []string{"", "two words", "a..b", ".a", "a."} { // refused
			n.Handle(subjects.Agent, verb, h)
		}
		ready(t, n)
		n.Handle(subjects.Agent, "later", h)
		synctest.Wait()
		asker, _ := run(t, config(t, b, "n2", "sip_proxy"))
		op, _ := run(t, config(t, b, "op", subjects.Operator))
		ready(t, asker)
		ready(t, op)
		subject := subjects.Credentials("n1", "sip_proxy", "n2")
		if r, err := asker.Ask(t.Context(), subject, []byte("data")); err != nil || r.Text != "done" {
			t.Fatal(r, err)
		}
		if r := <-got; r.Subject != subject || string(r.Data) != "data" || r.Reply == "" {
			t.Errorf("%+v", r)
		}
		if _, err := op.Ask(t.Context(), subjects.AgentRequest("n1", "later"), nil); err != nil {
			t.Error(err)
		}
		if d := ask(t, op, subjects.AgentRequest("n1", "drain")); d.Boot != "boot-n1" {
			t.Errorf("%+v", d)
		}
		if _, err := asker.Ask(t.Context(), subjects.AgentRequest("n1", "drain"), nil); !errors.Is(err, overlay.ErrForbidden) {
			t.Errorf("a member drained another: %v", err)
		}
	})
}

// A request may name any subject for its answer, and the broker would let us
// write there.
func TestAnswersGoToInboxesOnly(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		n, _ := run(t, config(t, b, "n1", "sip_proxy"))
		mustJoin(t, n, overlay.Member{Role: "sip_proxy"})
		ready(t, n)
		as := announcements(t, b.Dial("m1", subjects.Manager))
		op := b.Dial("op", subjects.Operator)
		for _, reply := range []string{"thor.role.sip_proxy.n2", "$JS.API.STREAM.DELETE.KV_thor_status"} {
			if err := op.PublishRequest(subjects.AgentRequest("n1", "drain"), reply, nil); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			if a := next(t, as, 2*time.Second); a.Node != "n1" || a.State != subjects.Up {
				t.Errorf("%s", a.Encode())
			}
		}
	})
}

func TestDuplicateNoticeReachesTheOwner(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		manager := b.Dial("m1", subjects.Manager)
		cfg := config(t, b, "n1", "sip_proxy")
		told := make(chan []string, 10)
		cfg.OnDuplicate = func(role subjects.Role, boots []string) {
			if role != "sip_proxy" {
				t.Errorf("role %s", role)
			}
			told <- boots
		}
		n, _ := run(t, cfg)
		mustJoin(t, n, overlay.Member{Role: "sip_proxy"})
		ready(t, n)
		for _, data := range []string{"", "x", `{"v":2}`, `{"v":1,"boots":["boot-n1","other"]}`} {
			if err := manager.Publish(subjects.Request("n1", "sip_proxy", "duplicate"), []byte(data)); err != nil {
				t.Fatal(err)
			}
		}
		if got := <-told; !slices.Equal(got, []string{"boot-n1", "other"}) {
			t.Errorf("told %v", got)
		}
		if synctest.Wait(); len(told) != 0 {
			t.Error("told of nonsense")
		}
	})
}

func TestSlowWatcherGetsTheLatestAndEndsWithItsContext(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		f := newManager(t, b.Dial("m1", subjects.Manager))
		n, _ := run(t, config(t, b, "n9", "media_relay"))
		ctx, cancel := context.WithCancel(t.Context())
		views := n.Watch(ctx)
		await(t, n, "first status", func(v *overlay.View) bool { return v.Status != nil })
		var last *subjects.Status
		for _, name := range nodes(50) {
			var d *subjects.Delta
			last, d = f.change(join("sip_proxy", name))
			f.delta(d)
		}
		await(t, n, "last status", holds(last))
		if v := <-views; !holds(last)(v) {
			t.Errorf("got %v", v.Mark())
		}
		cancel()
		synctest.Wait()
		if v, open := <-views; open {
			t.Errorf("still open: %v", v)
		}
	})
}

func TestDiskIsWrittenAtMostOnceASecondAndEndsWithTheLatest(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		f := newManager(t, b.Dial("m1", subjects.Manager))
		cfg := config(t, b, "n9", "media_relay")
		n, stop := run(t, cfg)
		await(t, n, "first status", func(v *overlay.View) bool { return v.Status != nil })
		saved := func() time.Time {
			synctest.Wait()
			b, err := os.ReadFile(filepath.Join(cfg.StateDir, "status.json"))
			if err != nil {
				t.Fatal(err)
			}
			head, _, _ := bytes.Cut(b, []byte("\n"))
			var h struct{ Saved time.Time }
			if err := json.Unmarshal(head, &h); err != nil {
				t.Fatal(err)
			}
			return h.Saved
		}
		last, writes := saved(), 0
		for _, name := range nodes(60) {
			_, d := f.change(join("sip_proxy", name))
			f.delta(d)
			time.Sleep(50 * time.Millisecond) // virtual
			if at := saved(); !at.Equal(last) {
				if at.Sub(last) < time.Second {
					t.Errorf("written again after %v", at.Sub(last))
				}
				last = at
				writes++
			}
		}
		if writes < 2 {
			t.Errorf("written %d times in 3s", writes)
		}
		s, d := f.change(join("sip_proxy", "n1"))
		f.delta(d)
		await(t, n, "last status", holds(s))
		stop()
		content, err := os.ReadFile(filepath.Join(cfg.StateDir, "status.json"))
		if err != nil || !bytes.Contains(content, s.Encode()) {
			t.Errorf("the end was not written: %v", err)
		}
	})
}
