package core

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"thor/subjects"
)

// roleFollower has some roles by their deltas alone, from its first status on, and
// compares them with what each tick names.
type roleFollower struct {
	t      *testing.T
	part   *subjects.Status
	deltas int
	ticks  int
}

func (f *roleFollower) take(out []Output) {
	for _, o := range out {
		switch o := o.(type) {
		case RoleDelta:
			if !f.part.Covers([]subjects.Role{o.Role}) {
				continue
			}
			f.deltas++
			next, ok := f.part.ApplyRole(o.RoleDelta)
			if !ok {
				f.t.Fatalf("a delta of %s does not lead from what was told before", o.Role)
			}
			f.part = next
		case RoleTick:
			f.ticks++
			for _, r := range f.part.Only {
				want := o.Digest(r)
				if got := f.part.RoleDigest(r); got != want {
					f.t.Fatalf("tick %v names %s for %s, its deltas lead to %s", o.Mark(), want, r, got)
				}
			}
		}
	}
}

func TestARolesDeltasLeadToWhatTheNextTickNames(t *testing.T) {
	m := newLone(t)
	m.vouch("n1", "n2", "n3")
	m.leads(5, 0, 10_000)
	first := m.status()
	f := &roleFollower{t: t, part: first.Part([]subjects.Role{subjects.SIPProxy, subjects.VoicemailServer})}
	other := &roleFollower{t: t, part: first.Part([]subjects.Role{subjects.MediaRelay})}
	for i := range 20 {
		seq := uint64(i + 1)
		m.hear(said(subjects.SIPProxy, "n1", seq, weight(i%3+1)), said(subjects.SIPProxy, "n2", seq), said(subjects.MediaRelay, "n3", seq))
		m.pass(time.Second)
	}
	m.Disconnect(ends("n2"), m.now) // lost
	m.pass(20 * time.Second)
	f.take(m.out)
	other.take(m.out)
	if m.status().FindLost(subjects.SIPProxy, "n2") == nil || f.part.FindLost(subjects.SIPProxy, "n2") == nil {
		t.Errorf("lost: %+v", f.part.Losses)
	}
	if f.deltas < 15 || f.ticks < 20 || other.deltas > 3 {
		t.Errorf("%d deltas of some roles, %d of another, %d ticks", f.deltas, other.deltas, f.ticks)
	}
	if got := last[RoleTick](m); got.Mark() != m.status().Mark() || got.Members != 2 || !maps.Equal(got.Roles, m.status().RoleDigests()) {
		t.Errorf("the tick names %v", got.Roles)
	}
}

// A manager that takes over names all roles, although it has told no change.
func TestTheFirstTickOfATermNamesAllRoles(t *testing.T) {
	m := newLone(t)
	m.follow(told(4, 100, listed(subjects.SIPProxy, subjects.Up, "n1", "n2"), listed(subjects.MediaRelay, subjects.Up, "n3")), false)
	m.leads(5, 200, 10_000)
	k := all[RoleTick](m)[0]
	if len(k.Roles) < 2 || !maps.Equal(k.Roles, m.status().RoleDigests()) {
		t.Errorf("the first tick names %v", k.Roles)
	}
}

// The deltas of roles are out before the tick that names what they lead to, and not
// without a lease.
func TestRoleDeltasComeBetweenTheDeltaAndItsTick(t *testing.T) {
	m := newLone(t)
	m.vouch("n1")
	m.leads(5, 0, 10_000)
	m.out = nil
	m.hear(said(subjects.SIPProxy, "n1", 1))
	m.pass(100 * time.Millisecond)
	order := ""
	for _, o := range m.out {
		switch o.(type) {
		case Delta, RoleDelta, RoleTick, Tick:
			order += fmt.Sprintf("%T ", o)
		}
	}
	if order != "core.Delta core.RoleDelta core.RoleTick core.Tick " {
		t.Errorf("order: %s", order)
	}
	if !Led(RoleDelta{}) || !Led(RoleTick{}) {
		t.Error("a delta of a role may go out without a lease")
	}
}

func TestAPartIsMadeOnceForAllWhoAskForTheSameRoles(t *testing.T) {
	s := told(4, 100, listed(subjects.SIPProxy, subjects.Up, "n1"), listed(subjects.MediaRelay, subjects.Up, "n3"))
	h := Hold(s, s.Encode())
	a, b := h.Part([]subjects.Role{subjects.SIPProxy, subjects.VoicemailServer}), h.Part([]subjects.Role{subjects.VoicemailServer, subjects.SIPProxy, subjects.SIPProxy})
	if a != b || a == h || a.Size(&subjects.SnapshotRequest{Losses: true}) >= h.Size(&subjects.SnapshotRequest{Losses: true}) || a.Status.Roles[subjects.MediaRelay] != nil || a.Status.Mark() != s.Mark() {
		t.Errorf("part %s, and %s", a.Encoded, b.Encoded)
	}
	if h.Part(nil) != h || (*Held)(nil).Part([]subjects.Role{subjects.SIPProxy}).Size(&subjects.SnapshotRequest{Losses: true}) != 0 {
		t.Error("the whole is not the whole")
	}
	for i := range 2 * mostParts {
		h.Part([]subjects.Role{subjects.Role(fmt.Sprintf("role%d", i))})
	}
	if n := len(h.parts); n != mostParts {
		t.Errorf("%d parts are kept", n)
	}
	if p := h.Part([]subjects.Role{"other"}); p != h {
		t.Errorf("beyond that %s", p.Encoded)
	}
	if h.Part([]subjects.Role{subjects.SIPProxy, subjects.VoicemailServer}) != a {
		t.Error("what was made is made again")
	}
}

// What was limited to some roles is never taken for the network.
func TestAManagerNeverBeginsFromAPart(t *testing.T) {
	m := newLone(t)
	whole := told(4, 100, listed(subjects.SIPProxy, subjects.Up, "n1"), listed(subjects.MediaRelay, subjects.Up, "n3"))
	m.Step(m.now)
	m.follow(whole, false)
	later := told(4, 101, listed(subjects.SIPProxy, subjects.Up, "n1"), listed(subjects.MediaRelay, subjects.Up, "n3")).Part([]subjects.Role{subjects.SIPProxy})
	m.follow(later, false)
	m.Told("m2", later, later.Encode(), subjects.Mark{}, m.now)
	m.Stored(later, later.Encode(), m.now)
	if m.status() != whole {
		t.Errorf("holds %v", m.status().Mark())
	}
}
