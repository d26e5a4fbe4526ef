package overlay_test

import (
	"testing"
	"testing/synctest"
	"time"

	"thor/broker/brokertest"
	"thor/overlay"
	"thor/subjects"
)

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

// Managers drop what names a connection that has ended.
func TestABeatNamesTheConnectionThatCarriesIt(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		as := announcements(t, b.Dial("m1", subjects.Manager))
		n, _ := run(t, config(t, b, "n1", "sip_proxy"))
		m := mustJoin(t, n, overlay.Member{Role: "sip_proxy"})
		first := next(t, as, time.Millisecond)
		overlay.ConnectedLate(n, "b9#9")
		m.Update(func(m *overlay.Member) { m.Weight = 7 })
		if a := next(t, as, time.Millisecond); a.Via != first.Via || a.Weight != 7 {
			t.Errorf("announces %s", a.Encode())
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
		m.Update(func(m *overlay.Member) { m.State = "" })             // the same
		m.Update(func(m *overlay.Member) { m.Reason = "\x1b[2J" })     // refused
		m.Update(func(m *overlay.Member) { m.State = subjects.Leave }) // refused
		if err := m.Amend(func(m *overlay.Member) { m.State = subjects.Leave }); err == nil {
			t.Error("no word about what is refused")
		}
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
