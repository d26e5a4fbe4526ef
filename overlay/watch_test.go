package overlay_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"thor/broker/brokertest"
	"thor/overlay"
	"thor/subjects"
)

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
			make([]byte, subjects.MaxView+1), d2.Encode()[:100], d.Encode(), []byte("{\"v\":1,\"digest\":\"\x1b[2J\"}"),
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
