package manager

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"thor/subjects"
)

// One change after the other, while the lease reserves no more generations.
func TestNothingIsPublishedAboveTheCeiling(t *testing.T) {
	inBubble(t, func(t *testing.T, m *lone) {
		deltas := m.heard(subjects.StatusDelta)
		m.vouch(t)
		term := m.leads(5, 1000, 1003)
		for i := range 10 {
			m.take(&nats.Msg{Subject: "thor.role.sip_proxy.n1", Data: []byte(good(i+1, fmt.Sprintf(`"weight":%d`, i+1)))}, time.Now())
			m.pass(100 * time.Millisecond)
		}
		got := parsed[subjects.Delta](t, *deltas)
		if n := len(got); n != 3 || got[n-1].Generation != 1003 {
			t.Fatalf("%d deltas: %+v", n, got)
		}
		if term.used != 1004 {
			t.Errorf("asked for generation %d", term.used)
		}
		term.ceiling = 2000
		m.pass(time.Second)
		got = parsed[subjects.Delta](t, *deltas)
		if n := len(got); n != 4 || got[3].Generation != 1004 || got[3].Changes[0].Member.Weight != 10 {
			t.Errorf("after more was reserved, %d deltas: %+v", n, got)
		}
	})
}

func TestATermThatEndedBeforeTheLoopSawItIsNotTakenUp(t *testing.T) {
	inBubble(t, func(t *testing.T, m *lone) {
		ticks, deltas := m.heard(subjects.StatusTick), m.heard(subjects.StatusDelta)
		term := &fakeTerm{until: time.Now().Add(-time.Millisecond), ceiling: 1000}
		m.takeLead(&leadership{term: term, epoch: 5}, time.Now())
		m.pass(2 * time.Second)
		if m.lead != nil || m.Active() || term.stepDowns != 1 || len(*ticks)+len(*deltas) != 0 {
			t.Errorf("leads %v, resigned %d times, published %q %q", m.Active(), term.stepDowns, *ticks, *deltas)
		}
	})
}

func TestAReignEndsWithItsLease(t *testing.T) {
	inBubble(t, func(t *testing.T, m *lone) {
		all := m.heard("thor.>")
		m.vouch(t)
		m.step(time.Now()) // asks brokers for identities
		term := m.leads(5, 0, 1000)
		m.pass(time.Second)
		term.until = time.Now()
		m.pass(100 * time.Millisecond)
		n := len(*all)
		m.take(&nats.Msg{Subject: "thor.role.sip_proxy.n1", Data: []byte(good(1))}, time.Now())
		m.step(time.Now())
		for range 50 {
			time.Sleep(100 * time.Millisecond)
			m.step(time.Now())
		}
		synctest.Wait()
		for _, x := range (*all)[n:] {
			if !strings.Contains(string(x), `"boot"`) { // its own announcements as a member
				t.Errorf("published without a lease: %s", x)
			}
		}
		if m.Active() {
			t.Error("still active")
		}
	})
}

// Members that remember later statuses than ours, after a loss of all other
// memory, would take none of ours.
func TestTheStatusOvertakesWhatMembersRemember(t *testing.T) {
	inBubble(t, func(t *testing.T, m *lone) {
		ticks := m.heard(subjects.StatusTick)
		term := m.leads(5, 10, 10_000)
		m.pass(time.Second)
		m.take(said(t, subjects.EventServer, "b1", 1, subjects.Mark{Epoch: 5, Generation: 700}), time.Now())
		m.pass(2 * time.Second)
		if k := parsed[subjects.Tick](t, *ticks); k[len(k)-1].Generation != 701 {
			t.Errorf("told %+v", k[len(k)-1])
		}
		m.pass(time.Minute)
		m.take(said(t, subjects.EventServer, "b1", 2, subjects.Mark{Epoch: 9, Generation: 3}), time.Now())
		m.pass(time.Second)
		if term.stepDowns != 1 || m.Active() {
			t.Fatalf("resigned %d times, active %v", term.stepDowns, m.Active())
		}
		if k := m.marks.highest(); k.Epoch != 9 {
			t.Errorf("the next epoch would be %d", k.Epoch+1)
		}
		// A liar cannot have that every second.
		term = m.leads(10, 1000, 10_000)
		for i := range 30 {
			m.take(said(t, subjects.EventServer, "b1", uint64(3+i), subjects.Mark{Epoch: 50 + uint64(i)}), time.Now())
			m.pass(time.Second)
		}
		if term.stepDowns != 0 {
			t.Error("it gave way to a second claim within a minute")
		}
	})
}

// One certificate of the infrastructure claims ever higher generations, faster
// than the lease can reserve them. The members' changes are published all the same.
func TestRisingClaimsDoNotDelayAChange(t *testing.T) {
	inBubble(t, func(t *testing.T, m *lone) {
		deltas := m.heard(subjects.StatusDelta)
		m.marks.confirm(subjects.Mark{Epoch: 4, Generation: 2000})
		term := m.leads(5, 2000, 3000)
		second := strings.ReplaceAll(strings.ReplaceAll(good(1), `"n1"`, `"n2"`), "10.0.0.1", "10.0.0.2")
		m.take(&nats.Msg{Subject: "thor.role.sip_proxy.n1", Data: []byte(good(1))}, time.Now())
		m.take(&nats.Msg{Subject: "thor.role.sip_proxy.n2", Data: []byte(second)}, time.Now())
		m.pass(time.Second)
		before, claim := len(*deltas), uint64(3000)
		lie := func(role subjects.Role, ticks int) {
			for i := range ticks { // of 5 ms, a renewal each second
				claim += 900_000
				m.take(said(t, role, "liar", claim, subjects.Mark{Epoch: 5, Generation: claim}), time.Now())
				m.step(time.Now())
				if time.Sleep(5 * time.Millisecond); i%200 == 199 {
					term.ceiling = max(term.ceiling, term.used+1000)
				}
			}
		}
		lie(subjects.EventServer, 600)
		m.take(&nats.Msg{Subject: "thor.role.sip_proxy.n1", Data: []byte(good(2, `"state":"leave"`))}, time.Now())
		lie(subjects.EventServer, 6) // one coalescing time
		synctest.Wait()
		got := parsed[subjects.Delta](t, *deltas)
		out := false
		for _, d := range got[before:] {
			for _, c := range d.Changes {
				out = out || c.Node == "n1" && c.Member == nil
			}
		}
		if !out {
			t.Fatalf("its end was not published: %+v", got[before:])
		}
		if k := m.lead.status.Generation; k > 2_000_000 {
			t.Errorf("the claims led to generation %d in 3 s", k)
		}
		top := m.marks.highest()
		for _, role := range []subjects.Role{subjects.Monitor, subjects.DNSManager, subjects.Database, subjects.ProvisioningServer, subjects.SIPProxy} {
			m.acceptClaim(&subjects.Announcement{Role: role, Node: "liar", Seen: &subjects.Mark{Epoch: 5, Generation: top.Generation + 10}}, time.Now())
			if m.marks.highest() != top {
				t.Errorf("%s is no witness", role)
			}
		}
	})
}

func TestAbsurdClaimsAreIgnoredCountedAndReported(t *testing.T) {
	inBubble(t, func(t *testing.T, m *lone) {
		events := m.heard(subjects.Events)
		m.marks.confirm(subjects.Mark{Epoch: 4, Generation: 2000})
		m.leads(5, 2000, 100_000_000)
		now := time.Now
		for i, k := range []subjects.Mark{
			{Epoch: 5 + maxEpochJump + 1},
			{Epoch: 4_000_000_000},
			{Epoch: subjects.MaxNumber},
			{Epoch: 5, Generation: subjects.MaxNumber},
			{Epoch: 5, Generation: 3_000_000},
			{Epoch: 1, Generation: 1 << 40},
		} {
			m.take(said(t, subjects.EventServer, "b1", uint64(i+1), k), now())
			if got := m.rejected()[subjects.CodeAbsurd]; got != i+1 {
				t.Errorf("%v: counted %d", k, got)
			}
			m.pass(2 * time.Second)
			if m.marks.highest().Epoch != 5 || m.marks.highest().Generation > 2100 {
				t.Fatalf("%v was believed: %v", k, m.marks.highest())
			}
		}
		reports := 0
		for _, e := range parsed[subjects.Event](t, *events) {
			if e.Kind == subjects.EventRejected && e.Node == "b1" && strings.Contains(e.Detail, string(subjects.CodeAbsurd)) {
				reports++
			}
		}
		if reports != 6 {
			t.Errorf("%d reports", reports)
		}
		if m.lead.status.Member(subjects.EventServer, "b1") == nil {
			t.Error("a wrong claim cost the member its place")
		}
		// Above 2^53 it is not even parsed; a service's word on it counts nothing.
		m.take(&nats.Msg{Subject: "thor.role.thor_dnsmanager.dns2", Data: []byte(
			`{"v":1,"node":"dns2","role":"thor_dnsmanager","addresses":["10.0.0.2"],"seen":[9007199254740993,1]}`)}, now())
		m.take(said(t, subjects.SIPProxy, "n1", 1, subjects.Mark{Epoch: 6}), now())
		if m.marks.highest().Epoch != 5 || m.rejected()[subjects.CodeRange] != 1 {
			t.Errorf("highest %v, rejected %v", m.marks.highest(), m.rejected())
		}
		// Two that agree are believed: all else has lost its memory. But not beyond all measure.
		m.take(said(t, subjects.EventServer, "b1", 10, subjects.Mark{Epoch: 80_000, Generation: 7}), now())
		m.take(said(t, subjects.Manager, "m9", 1, subjects.Mark{Epoch: 80_001, Generation: 9}), now())
		if k := m.marks.highest(); k.Epoch != 80_001 {
			t.Errorf("highest is %v though two saw 80,001", k)
		}
		m.take(said(t, subjects.EventServer, "b1", 11, subjects.Mark{Epoch: subjects.MaxNumber}), now())
		m.take(said(t, subjects.Manager, "m9", 2, subjects.Mark{Epoch: subjects.MaxNumber}), now())
		if k := m.marks.highest(); k.Epoch != 80_001 {
			t.Errorf("highest is %v", k)
		}
	})
}
