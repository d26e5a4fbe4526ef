package overlay_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"thor/broker/brokertest"
	"thor/overlay"
	"thor/subjects"
)

// beats tells members how often to beat.
func (f *fakeManager) beats(ms int) {
	f.mu.Lock()
	s := f.status
	f.mu.Unlock()
	k := subjects.Tick{
		V: 1, Epoch: s.Epoch, Generation: s.Generation, Digest: subjects.Digest(s.Encode()), Beat: ms, Manager: s.Manager,
		Time: time.Now().UTC(), Counts: s.Counts(),
	}
	f.send(&nats.Msg{Subject: subjects.StatusTick, Data: k.Encode()})
}

// A member beats as often as the newest tick says, and shortly while there is no
// news; a change, and a manager that asks, get the full announcement.
func TestMemberBeatsAsManagersWant(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		nc := b.Dial("m1", subjects.Manager)
		as, f := announcements(t, nc), newManager(t, nc)
		n, _ := run(t, config(t, b, "n1", "sip_proxy"))
		m := mustJoin(t, ready(t, n), overlay.Member{Role: "sip_proxy", Weight: 50})
		if a := next(t, as, time.Millisecond); a.Hash != "" || a.Weight != 50 {
			t.Fatalf("announces %s before a tick", a.Encode())
		}
		f.beats(4000)
		if a := next(t, as, 1101*time.Millisecond); a.Short() || a.Hash == "" || a.Weight != 50 {
			t.Fatalf("announces %s after the first tick", a.Encode())
		}
		var last *subjects.Announcement
		for range 14 { // a minute, less the last
			f.beats(4000)
			before := time.Now()
			last = next(t, as, 4401*time.Millisecond)
			if gap := time.Since(before); !last.Short() || gap < 3599*time.Millisecond {
				t.Fatalf("announces %s after %v", last.Encode(), gap)
			}
		}
		f.send(&nats.Msg{Subject: subjects.AskAnnouncement("n1")})
		if a := next(t, as, time.Millisecond); a.Short() || a.Hash != last.Hash || a.Seq != last.Seq+1 {
			t.Errorf("asked, it announces %s", a.Encode())
		}
		m.Update(func(m *overlay.Member) { m.Weight = 60 })
		if a := next(t, as, time.Millisecond); a.Short() || a.Weight != 60 || a.Hash == last.Hash {
			t.Errorf("after a change it announces %s", a.Encode())
		}
		if a := next(t, as, 4401*time.Millisecond); !a.Short() {
			t.Errorf("announces %s", a.Encode())
		}
		f.beats(0) // a manager of an earlier version
		if a := next(t, as, 4401*time.Millisecond); a.Short() || a.Hash != "" {
			t.Errorf("announces %s to a manager that does not understand short beats", a.Encode())
		}
		next(t, as, 1101*time.Millisecond)
	})
}

// Whatever was lost: each minute the announcement is full.
func TestMemberAnnouncesInFullEachMinute(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		nc := b.Dial("m1", subjects.Manager)
		as, f := announcements(t, nc), newManager(t, nc)
		n, _ := run(t, config(t, b, "n1", "sip_proxy"))
		f.beats(1000)
		mustJoin(t, ready(t, n), overlay.Member{Role: "sip_proxy"})
		full := 0
		for range 300 {
			f.beats(1000)
			if a := next(t, as, 1101*time.Millisecond); !a.Short() {
				full++
			}
		}
		if full < 4 || full > 8 {
			t.Errorf("%d of 300 were full", full)
		}
	})
}
