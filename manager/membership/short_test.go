package membership_test

import (
	"testing"
	"time"

	"thor/manager/membership"
	"thor/subjects"
)

// named is a full announcement that short beats can stand for.
func named(node string, seq uint64, weight int) *subjects.Announcement {
	a := announcement(node, "sip_proxy", "boot", seq)
	a.State, a.Weight, a.Via = subjects.Up, weight, "b1#1"
	a.Name()
	return a
}

// brief is the short beat that stands for named.
func brief(node string, seq uint64, weight int) *subjects.Announcement {
	return named(node, seq, weight).Shorten()
}

func hear(t *testing.T, table *membership.Table, now time.Time, as ...*subjects.Announcement) {
	t.Helper()
	for _, a := range as {
		if err := table.Announce(a, now); err != nil {
			t.Fatal(err)
		}
	}
}

func TestShortBeatsKeepAMember(t *testing.T) {
	table := membership.New(membership.Config{})
	hear(t, table, t0, named("n1", 1, 50), named("n2", 1, 50))
	now := t0
	for seq := uint64(2); seq < 40; seq++ {
		now = pass(table, now, time.Second)
		hear(t, table, now, brief("n1", seq, 50), brief("n2", seq, 50))
	}
	s := fill(t, table)
	if m := s.Member("sip_proxy", "n1"); m == nil || m.State != subjects.Up || m.Weight != 50 {
		t.Errorf("n1 is %+v", m)
	}
	if table.Wanted() > 0 {
		t.Error("a full announcement is wanted that is known")
	}
	if err := table.Announce(brief("n1", 39, 50), now); subjects.CodeOf(err) != subjects.CodeReplay {
		t.Errorf("an old one again: %v", err)
	}
}

// A member that nobody has heard in full is not listed, and asked.
func TestUnknownMemberIsListedWithItsFullAnnouncementOnly(t *testing.T) {
	table := membership.New(membership.Config{})
	hear(t, table, t0, brief("n1", 5, 50))
	pass(table, t0, time.Second)
	if fill(t, table).Member("sip_proxy", "n1") != nil {
		t.Fatal("listed")
	}
	if as := table.Asks(10); len(as) != 1 || as[0] != "n1" {
		t.Fatalf("asks %v", as)
	}
	hear(t, table, t0.Add(time.Second), named("n1", 6, 50))
	if fill(t, table).Member("sip_proxy", "n1") == nil {
		t.Error("not listed after its full announcement")
	}
}

// The full announcement of a change is lost: what is shown stays, the member lives,
// and the next short beat has it asked.
func TestLostChangeIsAskedFor(t *testing.T) {
	table := membership.New(membership.Config{})
	hear(t, table, t0, named("n1", 1, 50), named("n2", 1, 50))
	now := t0
	for seq := uint64(3); seq < 30; seq++ { // 2 was lost
		now = pass(table, now, time.Second)
		hear(t, table, now, brief("n1", seq, 60), brief("n2", seq, 50))
		if as := table.Asks(10); len(as) != 1 || as[0] != "n1" {
			t.Fatalf("seq %d: asks %v", seq, as)
		}
	}
	if m := fill(t, table).Member("sip_proxy", "n1"); m == nil || m.Weight != 50 || m.State != subjects.Up {
		t.Fatalf("n1 is %+v", m)
	}
	hear(t, table, now, named("n1", 30, 60))
	if m := fill(t, table).Member("sip_proxy", "n1"); m.Weight != 60 {
		t.Errorf("n1 is %+v", m)
	}
	hear(t, table, now, brief("n1", 31, 60))
	if table.Wanted() > 0 {
		t.Error("it is asked again")
	}
}

// A manager that starts knows members from the status only. Their short beats keep
// them, as signs of life, until they have answered.
func TestShortBeatsKeepAdoptedMembers(t *testing.T) {
	before := membership.New(membership.Config{})
	hear(t, before, t0, named("n1", 1, 50), named("n2", 1, 50), named("n3", 1, 50))
	table := membership.New(membership.Config{})
	table.Adopt(fill(t, before), t0)
	now := t0
	for seq := uint64(2); seq < 40; seq++ {
		now = pass(table, now, time.Second)
		hear(t, table, now, brief("n1", seq, 50), brief("n2", seq, 50)) // n3 is dead
	}
	s := fill(t, table)
	for node, want := range map[subjects.NodeID]bool{"n1": true, "n2": true, "n3": false} {
		if (s.Member("sip_proxy", node) != nil) != want {
			t.Errorf("%s listed: %v", node, !want)
		}
	}
}

// A short beat of another boot, or through a connection that ended, is no life.
func TestShortBeatsOfOthersAreNoLife(t *testing.T) {
	table := membership.New(membership.Config{})
	hear(t, table, t0, named("n1", 1, 50), named("n2", 1, 50))
	now := t0
	for seq := uint64(2); seq < 14; seq++ {
		now = pass(table, now, time.Second)
		other := brief("n1", seq, 50)
		other.Boot = "another"
		hear(t, table, now, other, brief("n2", seq, 50))
	}
	if fill(t, table).Member("sip_proxy", "n1") != nil {
		t.Error("n1 is listed")
	}
}

// Of two processes of one (node, role) both beat shortly: the older one is shown
// as a duplicate and counts again when the newer ends, as with full announcements.
func TestShortBeatsOfADuplicate(t *testing.T) {
	table := membership.New(membership.Config{})
	first := func(seq uint64) *subjects.Announcement { return named("n1", seq, 50) }
	second := func(seq uint64) *subjects.Announcement {
		a := named("n1", seq, 60)
		a.Boot, a.Via = "newer", "b1#2"
		a.Name()
		return a
	}
	hear(t, table, t0, first(1), named("n2", 1, 50), second(1))
	now := t0
	for seq := uint64(2); seq < 18; seq++ {
		now = pass(table, now, time.Second)
		hear(t, table, now, second(seq).Shorten(), brief("n2", seq, 50))
		_ = table.Announce(first(seq).Shorten(), now) // refused as a replay: it was replaced
	}
	if m := fill(t, table).Member("sip_proxy", "n1"); m == nil || m.Weight != 60 || m.Reason == "" {
		t.Fatalf("n1 is %+v", m)
	}
	table.Disconnect(membership.Disconnect{Node: "n1", Boot: "newer", Via: "b1#2", Reason: "Client Closed"}, now)
	for seq := uint64(18); seq < 22; seq++ {
		now = pass(table, now, time.Second)
		_ = table.Announce(first(seq).Shorten(), now)
		hear(t, table, now, brief("n2", seq, 50))
	}
	if m := fill(t, table).Member("sip_proxy", "n1"); m == nil || m.Weight != 50 {
		t.Errorf("n1 is %+v", m)
	}
}
