package membership_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"thor/manager/membership"
	"thor/subjects"
)

// say announces node under role and fails the test when it is refused.
func say(t testing.TB, table *membership.Table, node, role, boot string, seq uint64, now time.Time) {
	t.Helper()
	if err := table.Announce(announcement(node, role, boot, seq), now); err != nil {
		t.Fatal(err)
	}
}

func announcement(node, role, boot string, seq uint64) *subjects.Announcement {
	return &subjects.Announcement{
		V: 1, Node: subjects.NodeID(node), Role: subjects.Role(role), Boot: boot, Seq: seq, Addresses: []netip.Addr{address(node)},
	}
}

func TestSeveralProcessesOfANodeDieAlone(t *testing.T) {
	table := membership.New(membership.Config{})
	roles := []string{"media_relay", "msrprelay_server", "sip_proxy", "voicemail_server", "xcap_server"}
	for i, r := range roles {
		say(t, table, "n1", r, fmt.Sprintf("boot%d", i/2), 1, t0) // three processes, the first two with two roles
		say(t, table, "n2", r, "other", 1, t0)
	}
	table.Disconnect(membership.Disconnect{Node: "n1", Boot: "boot1", Reason: "Client Closed"}, t0)
	pass(table, t0, 2600*time.Millisecond)
	s := fill(t, table)
	for i, r := range roles {
		if here, want := s.Member(subjects.Role(r), "n1") != nil, i/2 != 1; here != want {
			t.Errorf("%s: listed is %v", r, here)
		}
	}
}

// pass lets d pass in the steps that the table asks for, and returns the time.
func pass(table *membership.Table, now time.Time, d time.Duration) time.Time {
	end := now.Add(d)
	for {
		table.Advance(now)
		if !now.Before(end) {
			return now
		}
		now = earlier(end, table.Next())
	}
}

func TestRefusalsSayWhyAndChangeNothing(t *testing.T) {
	table := membership.New(membership.Config{MaxMembers: 2})
	say(t, table, "n1", "my_role", "a", 7, t0)
	say(t, table, "n2", "sip_proxy", "b", 1, t0)
	before := string(fill(t, table).Encode())
	revision := table.Revision()
	for _, c := range []struct {
		name string
		a    *subjects.Announcement
		code subjects.Code
	}{
		{"the same seq", announcement("n1", "my_role", "a", 7), subjects.CodeReplay},
		{"an older seq", announcement("n1", "my_role", "a", 6), subjects.CodeReplay},
		{"no seq after one", announcement("n1", "my_role", "a", 0), subjects.CodeReplay},
		{"no boot beside one", announcement("n1", "my_role", "", 0), subjects.CodeReplay},
		{"a role's host name", announcement("my-role", "sip_proxy", "c", 1), subjects.CodeName},
		{"a node's host name", announcement("n3", "n2", "c", 1), subjects.CodeName},
		{"a full table", announcement("n3", "sip_proxy", "c", 1), subjects.CodeRange},
	} {
		c.a.Weight = 5
		if err := table.Announce(c.a, t0); subjects.CodeOf(err) != c.code {
			t.Errorf("%s: got %v, want %s", c.name, err, c.code)
		}
	}
	if after := string(fill(t, table).Encode()); after != before || table.Revision() != revision {
		t.Errorf("refused messages changed the status\nfrom %s\nto   %s", before, after)
	}
}

func TestTheLoopIsNeverToldToWaitLong(t *testing.T) {
	table := membership.New(membership.Config{})
	if !table.Next().IsZero() {
		t.Error("a table that knows no time names one")
	}
	now := t0
	for range 100 {
		table.Advance(now)
		next := table.Next()
		if d := next.Sub(now); d <= 0 || d > time.Second {
			t.Fatalf("next in %v", d)
		}
		now = next
	}
}

func TestAClockThatGoesBackIsHeld(t *testing.T) {
	table := membership.New(membership.Config{})
	say(t, table, "n1", "sip_proxy", "a", 1, t0)
	now := pass(table, t0, 5*time.Second)
	say(t, table, "n2", "sip_proxy", "b", 1, now.Add(-time.Hour))
	table.Advance(now.Add(-time.Minute))
	if table.Next().Before(now) {
		t.Error("next is in the past")
	}
	if since := fill(t, table).Member("sip_proxy", "n2").Since; since.Before(now) {
		t.Errorf("since %v, now is %v", since, now)
	}
}

func TestRevisionRisesWithEachChangeOnly(t *testing.T) {
	table := membership.New(membership.Config{DepartedFor: time.Minute})
	last := table.Revision()
	step := func(what string, changes bool, do func()) {
		t.Helper()
		do()
		if r := table.Revision(); (r != last) != changes {
			t.Errorf("%s: revision from %d to %d", what, last, r)
		} else {
			last = r
		}
	}
	now := t0
	step("join", true, func() { say(t, table, "n1", "sip_proxy", "a", 1, now) })
	step("beat", false, func() { say(t, table, "n1", "sip_proxy", "a", 2, now) })
	step("restart", false, func() { say(t, table, "n1", "sip_proxy", "b", 1, now) })
	step("leave", true, func() {
		a := announcement("n1", "sip_proxy", "b", 2)
		a.State = subjects.Leave
		if err := table.Announce(a, now); err != nil {
			t.Fatal(err)
		}
	})
	step("time", false, func() { now = pass(table, now, 59*time.Second) })
	step("the end of a departed node", true, func() { now = pass(table, now, time.Second) })
}

func TestMemoryIsBounded(t *testing.T) {
	table := membership.New(membership.Config{MaxMembers: 50})
	now := t0
	for i := range 5000 {
		a := announcement(fmt.Sprintf("n%d", i), "sip_proxy", fmt.Sprintf("boot%d", i), 1)
		a.Via = fmt.Sprintf("b%d#1", i)
		if err := table.Announce(a, now); err != nil {
			t.Fatal(err)
		}
		a = announcement(fmt.Sprintf("n%d", i), "sip_proxy", fmt.Sprintf("boot%d", i), 2)
		a.State = subjects.Leave
		if err := table.Announce(a, now); err != nil {
			t.Fatal(err)
		}
		table.Revoked("n0", fmt.Sprintf("boot%d", i), "", now)
		if c := table.Counts(); c.Remembered > 50 || c.Departed > 50 {
			t.Fatalf("%+v", c)
		}
	}
	for i := range 30_000 {
		table.Revoked("n0", "x", "", now)
		_ = i
	}
	if n := len(table.Events()); n > 20_000 {
		t.Errorf("%d events", n)
	}
	if table.Counts().DroppedEvents == 0 {
		t.Error("dropped events are not counted")
	}
	// One (node, role) with ever new boots, and a duplicate of it.
	for i := range 2000 {
		say(t, table, "n1", "sip_proxy", fmt.Sprintf("again%d", i), 1, now)
		now = now.Add(time.Second)
		_ = table.Announce(announcement("n1", "sip_proxy", "again0", uint64(i+2)), now)
	}
	if n := len(table.Duplicates()); n > 1000 {
		t.Errorf("%d duplicates", n)
	}
	pass(table, now, 2*time.Hour)
	if c := table.Counts(); c.Departed != 0 || c.Remembered > 1 {
		t.Errorf("after hours of silence: %+v", c)
	}
}

func TestAdoptIgnoresAnotherNetwork(t *testing.T) {
	table := membership.New(membership.Config{Domain: "example.org"})
	other := membership.New(membership.Config{})
	say(t, other, "n1", "sip_proxy", "a", 1, t0)
	table.Adopt(fill(t, other), t0) // of example.net
	if c := table.Counts(); c.Remembered != 0 {
		t.Errorf("%+v", c)
	}
}

func TestAdoptedEndsOfDepartedNodes(t *testing.T) {
	table := membership.New(membership.Config{DepartedFor: time.Minute})
	say(t, table, "n4", "sip_proxy", "a", 1, t0)
	s := &subjects.Status{V: 1, Time: t0}
	for i, d := range []time.Duration{-time.Second, 30 * time.Second, 90 * time.Second, 24 * time.Hour} {
		s.Departed = append(s.Departed, subjects.Departed{
			Node: subjects.NodeID(fmt.Sprintf("n%d", i)), Addresses: addresses("10.0.0.9"), Until: t0.Add(d),
		})
	}
	s.Departed = append(s.Departed, subjects.Departed{Node: "n4", Addresses: addresses("10.0.0.9"), Until: t0.Add(time.Hour)})
	table.Adopt(s, t0)
	departed := func(x *membership.Table) (got []string) {
		for _, d := range fill(t, x).Departed {
			got = append(got, fmt.Sprintf("%s %v", d.Node, d.Until.Sub(t0)))
		}
		return got
	}
	if got, want := departed(table), []string{"n1 30s", "n2 1m30s", "n3 1m0s"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	// The clock of another manager is 11 minutes ahead: what was left is left, by its own
	// clock, and the ends that it tells are by that clock, as all of its status.
	ahead := membership.New(membership.Config{DepartedFor: time.Minute})
	now := t0.Add(11 * time.Minute)
	ahead.Adopt(s, now)
	now = pass(ahead, now, 29*time.Second)
	if got, want := departed(ahead), []string{"n1 11m30s", "n2 12m30s", "n3 12m0s", "n4 12m0s"}; !slices.Equal(got, want) {
		t.Errorf("29 s later: got %q, want %q", got, want)
	}
	// The next one's clock is right: it comes to the same.
	told := fill(t, ahead)
	told.Time = now
	right := membership.New(membership.Config{DepartedFor: time.Minute})
	right.Adopt(told, t0.Add(29*time.Second))
	right.Adopt(told, t0.Add(29500*time.Millisecond)) // the same again changes nothing
	if got, want := departed(right), []string{"n1 30s", "n2 1m30s", "n3 1m0s", "n4 1m0s"}; !slices.Equal(got, want) {
		t.Errorf("at the next one: got %q, want %q", got, want)
	}
	for _, x := range []struct {
		table *membership.Table
		now   time.Time
		want  []string
	}{
		{ahead, now, []string{"n2 12m30s", "n3 12m0s", "n4 12m0s"}},
		{right, t0.Add(29500 * time.Millisecond), []string{"n2 1m30s", "n3 1m0s", "n4 1m0s"}},
	} {
		pass(x.table, x.now, 2*time.Second)
		if got := departed(x.table); !slices.Equal(got, x.want) {
			t.Errorf("31 s later: got %q, want %q", got, x.want)
		}
	}
}

// A process that was started anew while its broker was frozen must not be
// locked out by the last words of its predecessor.
func TestLateWordsOfAnOldBootDoNotLastingly(t *testing.T) {
	for _, gone := range []bool{false, true} {
		table := membership.New(membership.Config{})
		now := t0
		seq := uint64(0)
		beat := func() {
			seq++
			say(t, table, "n2", "sip_proxy", "b", seq, now)
			_ = table.Announce(announcement("n1", "sip_proxy", "new", seq), now)
			now = pass(table, now, time.Second)
		}
		for range 5 {
			beat()
		}
		for i := range uint64(3) {
			say(t, table, "n1", "sip_proxy", "old", 100+i, now)
		}
		if gone {
			table.Disconnect(membership.Disconnect{Node: "n1", Boot: "old", Via: "b1#1", Reason: "Client Closed"}, now)
		}
		for range 12 {
			beat()
		}
		for _, e := range table.Events() {
			if e.Kind == subjects.EventLeave {
				t.Errorf("the live member was removed: %s", e.Detail)
			}
		}
		if err := table.Announce(announcement("n1", "sip_proxy", "new", seq+1), now); err != nil {
			t.Errorf("the live process is locked out: %v", err)
		}
		if err := table.Announce(announcement("n1", "sip_proxy", "old", 200), now); subjects.CodeOf(err) != subjects.CodeReplay {
			t.Errorf("the old boot lives: %v", err)
		}
	}
}

// BenchmarkAnnounce is the cost of one beat in a network of 10,000 members that
// beat once a second, the passing of time included.
func BenchmarkAnnounce(b *testing.B) {
	const members = 10_000
	table := membership.New(membership.Config{})
	as := make([]*subjects.Announcement, members)
	for i := range as {
		as[i] = announcement(fmt.Sprintf("node%d", i), "sip_proxy", fmt.Sprintf("boot%d", i), 0)
		as[i].Via = fmt.Sprintf("b%d#%d", i%5, i)
		as[i].Attrs = subjects.Attrs{"control_port": "25061"}
	}
	now := t0
	i := 0
	beat := func() {
		a := *as[i%members]
		a.Seq = uint64(i/members + 1)
		if err := table.Announce(&a, now); err != nil {
			b.Fatal(err)
		}
		if i++; i%100 == 0 {
			now = now.Add(10 * time.Millisecond)
			table.Advance(now)
		}
	}
	for range members {
		beat()
	}
	b.ReportAllocs()
	for b.Loop() {
		beat()
	}
}

// BenchmarkFill is the cost of writing a status of 10,000 members.
func BenchmarkFill(b *testing.B) {
	table := membership.New(membership.Config{})
	for i := range 10_000 {
		say(b, table, fmt.Sprintf("node%d", i), "sip_proxy", "a", 1, t0)
	}
	var s subjects.Status
	b.ReportAllocs()
	for b.Loop() {
		table.Fill(&s)
	}
}

// BenchmarkMassSilence is half of 10,000 members falling silent and returning.
func BenchmarkMassSilence(b *testing.B) {
	for b.Loop() {
		table := membership.New(membership.Config{})
		now := t0
		for seq := uint64(1); seq <= 40; seq++ {
			for i := range 10_000 {
				if i%2 == 0 || seq < 5 || seq > 25 {
					say(b, table, fmt.Sprintf("node%d", i), "sip_proxy", "a", seq, now)
				}
				if i%100 == 0 {
					now = now.Add(10 * time.Millisecond)
					table.Advance(now)
				}
			}
			table.Events()
		}
		if c := table.Counts(); c.Up != 10_000 {
			b.Fatalf("%+v", c)
		}
	}
}

// FuzzTable feeds calls made of random bytes and looks at what must always hold.
func FuzzTable(f *testing.F) {
	f.Add([]byte("\x00\x01\x02\x03\x10\x20\x30\x40\x50\x60\x70\x80\x90"))
	f.Add([]byte(strings.Repeat("\x00\x05\x41\x07\x03\x09", 40)))
	f.Add([]byte("\x01\x02\x03\x07\x00\x07\x00\x07\x00\x05\x01\x06\x01\x03\xff\x03\xff\x03\xff"))
	f.Fuzz(func(t *testing.T, ops []byte) {
		a, b := drive(t, ops), drive(t, ops)
		if a != b {
			t.Errorf("the same calls gave other bytes\n%s\n%s", a, b)
		}
	})
}

func drive(t *testing.T, ops []byte) string {
	p := &bytesPlayer{t: t, ops: ops, table: membership.New(membership.Config{MaxMembers: 12, DepartedFor: 20 * time.Second}), now: t0}
	for len(p.ops) > 0 {
		p.step()
	}
	p.now = pass(p.table, p.now, time.Minute)
	return string(fill(t, p.table).Encode()) + fmt.Sprint(p.table.Guards(), p.table.Counts())
}

type bytesPlayer struct {
	t     *testing.T
	ops   []byte
	table *membership.Table
	now   time.Time
	seq   uint64
}

func (p *bytesPlayer) next() int {
	if len(p.ops) == 0 {
		return 0
	}
	b := p.ops[0]
	p.ops = p.ops[1:]
	return int(b)
}

func (p *bytesPlayer) step() {
	op, x := p.next(), p.next()
	node := []string{"n1", "n2", "n3", "my-role"}[x&3]
	role := []string{"sip_proxy", "my_role", "thor_eventserver"}[x>>2%3]
	boot := []string{"", "a", "b", "c"}[x>>5&3]
	roles := len(fill(p.t, p.table).Roles)
	switch op % 8 {
	case 0, 1, 2:
		p.seq++
		a := announcement(node, role, boot, p.seq)
		a.State = []subjects.State{"", subjects.Up, subjects.Down, subjects.Draining, subjects.Leave}[op>>3%5]
		a.Via = []string{"", "b1#1", "b1#2", "b2#1", "no broker"}[op>>5%5]
		a.Seq -= uint64(x >> 7 & 1)
		_ = p.table.Announce(a, p.now)
		roles = 0 // a leave may empty one
	case 3:
		p.now = pass(p.table, p.now, time.Duration(x)*100*time.Millisecond)
	case 4:
		p.now = p.now.Add(time.Duration(x) * 100 * time.Millisecond)
		p.table.Advance(p.now)
	case 5:
		p.table.Disconnect(membership.Disconnect{
			Node: subjects.NodeID(node), Boot: boot, Via: []string{"", "b1#1", "b1#2"}[op>>3%3],
			Reason: []string{"Client Closed", "Stale Connection", "Server Shutdown"}[op>>5%3],
		}, p.now)
	case 6:
		if x > 200 {
			p.table.Revoked(subjects.NodeID(node), boot, "", p.now)
			roles = 0
			break
		}
		s := fill(p.t, p.table)
		if x%2 == 0 {
			p.table = membership.New(membership.Config{MaxMembers: 12, DepartedFor: 20 * time.Second})
		}
		p.table.Adopt(s, p.now)
	case 7:
		p.table.Blind(p.now)
	}
	if n := len(fill(p.t, p.table).Roles); n < roles {
		p.t.Errorf("op %d emptied a role", op%8)
	}
	if d := p.table.Next().Sub(p.now); !p.table.Next().IsZero() && d > time.Second {
		p.t.Errorf("next in %v", d)
	}
}

// One member talks as fast as it can, each time of something else.
func TestNoMemberChangesTheStatusAsFastAsItTalks(t *testing.T) {
	table := membership.New(membership.Config{})
	say(t, table, "n1", "sip_proxy", "a", 1, t0)
	say(t, table, "n2", "sip_proxy", "b", 1, t0)
	now, seq, other, start := t0, uint64(1), true, table.Revision()
	babble := func(d time.Duration, change func(a *subjects.Announcement)) {
		for end := now.Add(d); now.Before(end); now = pass(table, now, 20*time.Millisecond) {
			seq++
			a := announcement("n1", "sip_proxy", "a", seq)
			if other {
				say(t, table, "n2", "sip_proxy", "b", seq, now)
			}
			change(a)
			if err := table.Announce(a, now); err != nil {
				t.Fatal(err)
			}
		}
	}
	babble(10*time.Second, func(a *subjects.Announcement) {
		if a.Weight = 1 + int(seq)%1000; seq%2 == 0 {
			a.State = subjects.Draining
		}
	})
	if n := table.Revision() - start; n > 2*(5+10) { // to drain is free, to come back is not
		t.Errorf("%d changes in 10 s", n)
	}
	babble(1100*time.Millisecond, func(a *subjects.Announcement) { a.Weight = 7 })
	s := fill(t, table)
	if x := s.Member("sip_proxy", "n1"); x.Weight != 7 || x.State != subjects.Up {
		t.Errorf("the newest did not win: %+v", x)
	}
	babble(20*time.Millisecond, func(a *subjects.Announcement) { a.State = subjects.Draining })
	if x := fill(t, table).Member("sip_proxy", "n1"); x.State != subjects.Draining {
		t.Errorf("a drain had to wait: %+v", x)
	}
	babble(20*time.Millisecond, func(a *subjects.Announcement) { a.State = subjects.Down })
	s = fill(t, table)
	if s.Member("sip_proxy", "n1") != nil {
		t.Error("a failure had to wait")
	}
	// Who is alone in its role is never held down, but cannot flood either.
	babble(20*time.Millisecond, func(*subjects.Announcement) {})
	a := announcement("n2", "sip_proxy", "b", seq+1)
	a.State, other = subjects.Leave, false
	if err := table.Announce(a, now); err != nil {
		t.Fatal(err)
	}
	table.Events()
	babble(10*time.Second, func(a *subjects.Announcement) {
		if seq%2 == 0 {
			a.State = subjects.Leave
		}
	})
	joins := 0
	for _, e := range table.Events() {
		if e.Kind == subjects.EventJoin {
			joins++
		}
	}
	if joins > 20+10 {
		t.Errorf("came back %d times in 10 s", joins)
	}
	babble(1100*time.Millisecond, func(*subjects.Announcement) {})
	if s = fill(t, table); s.Member("sip_proxy", "n1") == nil {
		t.Error("it is not back")
	}
}
