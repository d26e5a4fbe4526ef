package core

import (
	"strings"
	"testing"
	"time"

	"thor/subjects"
)

// One change after the other, while the lease reserves no more generations.
func TestNothingIsPublishedAboveTheCeiling(t *testing.T) {
	m := newLone(t)
	m.vouch("n1")
	term := m.leads(5, 1000, 1003)
	for i := range 10 {
		m.hear(said(subjects.SIPProxy, "n1", uint64(i+1), weight(i+1)))
		m.pass(100 * time.Millisecond)
	}
	got := all[Delta](m)
	if n := len(got); n != 3 || got[n-1].Generation != 1003 {
		t.Fatalf("%d deltas: %+v", n, got)
	}
	if term.used != 1004 {
		t.Errorf("asked for generation %d", term.used)
	}
	term.ceiling = 2000
	m.pass(time.Second)
	got = all[Delta](m)
	if n := len(got); n != 4 || got[3].Generation != 1004 || got[3].Changes[0].Member.Weight != 10 {
		t.Errorf("after more was reserved, %d deltas: %+v", n, got)
	}
}

func TestATermThatEndedBeforeItWasTakenUpIsGivenBack(t *testing.T) {
	m := newLone(t)
	m.sought = m.now
	m.term = &fakeTerm{until: m.now.Add(-time.Millisecond), ceiling: 1000}
	m.Lead(m.term, 5, 0, m.now)
	m.take()
	m.pass(2 * time.Second)
	if m.Leads() || len(all[StepDown](m)) != 1 || len(all[Tick](m))+len(all[Delta](m)) != 0 {
		t.Errorf("leads %v: %+v", m.Leads(), m.out)
	}
}

// The shell was busy while a term ended and the next was won: nothing of the
// first leadership goes on.
func TestATermOverAnotherEndsTheFirst(t *testing.T) {
	m := newLone(t)
	m.leads(5, 0, 1000)
	m.leads(6, 1000, 2000)
	if m.status().Epoch != 6 || !m.Leads() {
		t.Errorf("it leads in epoch %d", m.status().Epoch)
	}
	stands := all[Stand](m)
	if len(stands) != 3 || !stands[0].Active || stands[1].Active || !stands[2].Active {
		t.Errorf("it stood as %+v", stands)
	}
}

func TestALeadershipEndsWithItsLease(t *testing.T) {
	m := newLone(t)
	m.vouch("n1")
	term := m.leads(5, 0, 1000)
	m.pass(time.Second)
	term.until = m.now
	m.pass(100 * time.Millisecond)
	n := len(m.out)
	m.hear(said(subjects.SIPProxy, "n1", 1))
	m.pass(5 * time.Second)
	for _, o := range m.out[n:] {
		switch o.(type) {
		case StoreFacts, ReadStore:
		default:
			t.Errorf("without a lease: %+v", o)
		}
	}
	if m.Leads() {
		t.Error("still active")
	}
}

// Members that remember later statuses than ours, after a loss of all other
// memory, would take none of ours.
func TestTheStatusOvertakesWhatMembersRemember(t *testing.T) {
	m := newLone(t)
	m.leads(5, 10, 10_000)
	m.pass(time.Second)
	m.hear(said(subjects.EventServer, "b1", 1, seen(5, 700)))
	m.pass(2 * time.Second)
	if k := last[Tick](m); k.Generation != 701 {
		t.Errorf("told %+v", k)
	}
	m.pass(time.Minute)
	m.hear(said(subjects.EventServer, "b1", 2, seen(9, 3)))
	m.pass(time.Second)
	if n := len(all[StepDown](m)); n != 1 || m.Leads() {
		t.Fatalf("stepped down %d times, active %v", n, m.Leads())
	}
	if k := m.Known(); k.Epoch != 9 {
		t.Errorf("the next epoch would be %d", k.Epoch+1)
	}
	// A liar cannot have that every second.
	m.leads(10, 1000, 10_000)
	for i := range 30 {
		m.hear(said(subjects.EventServer, "b1", uint64(3+i), seen(50+uint64(i), 0)))
		m.pass(time.Second)
	}
	if len(all[StepDown](m)) != 1 {
		t.Error("it gave way to a second claim within a minute")
	}
}

// One certificate of the infrastructure claims ever higher generations, faster
// than the lease can reserve them. The members' changes are published all the same.
func TestRisingClaimsDoNotDelayAChange(t *testing.T) {
	m := newLone(t, func(c *Config) { c.Known = subjects.Mark{Epoch: 4, Generation: 2000} })
	m.vouch("n1", "n2")
	term := m.leads(5, 2000, 3000)
	m.hear(said(subjects.SIPProxy, "n1", 1), said(subjects.SIPProxy, "n2", 1))
	m.pass(time.Second)
	before, claim := len(all[Delta](m)), uint64(3000)
	lie := func(role subjects.Role, ticks int) {
		for i := range ticks { // of 5 ms, a renewal each second
			claim += 900_000
			m.hear(said(role, "liar9", claim, seen(5, claim)))
			m.Step(m.now)
			m.take()
			if m.now = m.now.Add(5 * time.Millisecond); i%200 == 199 {
				term.ceiling = max(term.ceiling, term.used+1000)
			}
		}
	}
	lie(subjects.EventServer, 600)
	m.hear(said(subjects.SIPProxy, "n1", 2, func(a *subjects.Announcement) { a.State = subjects.Leave }))
	lie(subjects.EventServer, 6) // one coalescing time
	out := false
	for _, d := range all[Delta](m)[before:] {
		for _, c := range d.Changes {
			out = out || c.Node == "n1" && c.Member == nil
		}
	}
	if !out {
		t.Fatalf("its end was not published: %+v", all[Delta](m)[before:])
	}
	if k := m.status().Generation; k > 2_000_000 {
		t.Errorf("the claims led to generation %d in 3 s", k)
	}
	top := m.Known()
	for _, role := range []subjects.Role{subjects.Monitor, subjects.DNSManager, subjects.Database, subjects.ProvisioningServer, subjects.SIPProxy} {
		m.hear(said(role, "liar9", 1, seen(5, top.Generation+10)))
		if m.Known() != top {
			t.Errorf("%s is no witness", role)
		}
	}
}

func TestAbsurdClaimsAreIgnoredCountedAndReported(t *testing.T) {
	m := newLone(t, func(c *Config) { c.Known = subjects.Mark{Epoch: 4, Generation: 2000} })
	m.leads(5, 2000, 100_000_000)
	for i, k := range []subjects.Mark{
		{Epoch: 5 + 1001},
		{Epoch: 4_000_000_000},
		{Epoch: subjects.MaxNumber},
		{Epoch: 5, Generation: subjects.MaxNumber},
		{Epoch: 5, Generation: 3_000_000},
		{Epoch: 1, Generation: 1 << 40},
	} {
		m.hear(said(subjects.EventServer, "b1", uint64(i+1), seen(k.Epoch, k.Generation)))
		if got := m.rejected(subjects.CodeAbsurd); got != i+1 {
			t.Errorf("%v: counted %d", k, got)
		}
		m.pass(2 * time.Second)
		if m.Known().Epoch != 5 || m.Known().Generation > 2100 {
			t.Fatalf("%v was believed: %v", k, m.Known())
		}
	}
	reports := 0
	for _, e := range all[Event](m) {
		if e.Kind == subjects.EventRejected && e.Node == "b1" && strings.Contains(e.Detail, string(subjects.CodeAbsurd)) {
			reports++
		}
	}
	if reports != 6 {
		t.Errorf("%d reports", reports)
	}
	if m.status().Member(subjects.EventServer, "b1") == nil {
		t.Error("a wrong claim cost the member its place")
	}
	m.hear(said(subjects.SIPProxy, "n1", 1, seen(6, 0))) // a service's word counts nothing
	if m.Known().Epoch != 5 {
		t.Errorf("known %v", m.Known())
	}
	// Two that agree are believed: all else has lost its memory. But not beyond all measure.
	m.hear(said(subjects.EventServer, "b1", 10, seen(80_000, 7)), said(subjects.Manager, "m9", 1, seen(80_001, 9)))
	if k := m.Known(); k.Epoch != 80_001 {
		t.Errorf("known is %v though two saw 80,001", k)
	}
	m.hear(said(subjects.EventServer, "b1", 11, seen(subjects.MaxNumber, 0)), said(subjects.Manager, "m9", 2, seen(subjects.MaxNumber, 0)))
	if k := m.Known(); k.Epoch != 80_001 {
		t.Errorf("known is %v", k)
	}
}

// The same inputs give the same outputs.
func TestTheSameInputsGiveTheSameOutputs(t *testing.T) {
	run := func() []string {
		m := newLone(t, func(c *Config) { c.SlotBits = func(subjects.Role) int { return 10 } })
		m.vouch("n1", "n2", "n3")
		for i, node := range []subjects.NodeID{"n1", "n2", "n3"} {
			for _, role := range []subjects.Role{subjects.SIPProxy, subjects.MediaRelay, subjects.VoicemailServer} {
				m.hear(said(role, node, 1, weight(i+1), func(a *subjects.Announcement) {
					a.Attrs = subjects.Attrs{subjects.LookupDiffers: "computed 1, told 2"}
				}))
			}
		}
		m.leads(5, 0, 1000)
		m.pass(3 * time.Second)
		m.Disconnect(ends("n2"), m.now)
		m.pass(10 * time.Second)
		var lines []string
		for _, o := range m.out {
			if x, ok := o.(interface{ Encode() []byte }); ok {
				lines = append(lines, string(x.Encode()))
			}
		}
		return lines
	}
	first := run()
	for range 20 {
		again := run()
		for i := range min(len(first), len(again)) {
			if again[i] != first[i] {
				t.Fatalf("output %d: once\n%.300s\nthen\n%.300s", i, first[i], again[i])
			}
		}
		if len(first) != len(again) {
			t.Fatalf("%d outputs, then %d", len(first), len(again))
		}
	}
}

// An operator cannot push what happened out of the history by asking on and on.
func TestRequestsAreRecordedOnce(t *testing.T) {
	m := newLone(t)
	m.leads(1, 0, 1<<40)
	for seq := range uint64(3) { // a claim waits for the word of a broker at first
		m.hear(said("sip_proxy", "n1", seq+1))
		m.pass(time.Second)
	}
	if !names(m.lead.status, "n1") {
		t.Fatal("n1 is no member")
	}
	ask := func(node subjects.NodeID, verb string) {
		m.Asked(subjects.RequestSubject{Node: node, Role: subjects.Agent, Verb: verb, Sender: "op1"}, m.now)
	}
	drains := func() (n int) {
		for _, o := range m.out {
			if e, ok := o.(Event); ok && (e.Kind == subjects.EventDrain || e.Kind == subjects.EventResume) {
				n++
			}
		}
		return n
	}
	for range 100 {
		ask("n1", subjects.VerbDrain)
		ask("n9", subjects.VerbDrain) // is no member
	}
	ask("n1", subjects.VerbResume)
	m.pass(time.Second)
	if n := drains(); n != 2 {
		t.Errorf("%d events, want a drain and its end", n)
	}
	m.pass(askedEvery)
	ask("n1", subjects.VerbDrain)
	m.pass(time.Second)
	if n := drains(); n != 3 {
		t.Errorf("%d events after a while, want 3", n)
	}
}
