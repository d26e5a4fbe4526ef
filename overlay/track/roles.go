package track

import (
	"slices"
	"strings"
	"time"

	"thor/subjects"
)

// A tracker of some roles follows them alone: it holds the part of the status that is
// about them, and hears their deltas instead of the status's, and the tick that names
// a digest of each role. The rules of the whole status hold for the part, with these
// digests in the place of the status's own. One rule is its own: a role's delta says
// nothing of the other roles, so what follows from it waits for the tick, which the
// manager sends right after it, and the mark of the part is always that of a tick or
// of an answer.
//
// A manager of an earlier version names no roles: it sends the usual tick without the
// roles' before. And a broker of one does not let the roles' messages be heard. Then
// the tracker holds and follows the whole status, and shows the part of it.

// rolesSilent is how long no tick of the roles comes until the usual one is listened
// for: one is lost or late, and yet it is heard before the SDK looks for another broker.
const rolesSilent = 1500 * time.Millisecond

// part is what a tracker of some roles has besides.
type part struct {
	roles   []subjects.Role // sorted; never empty
	wide    bool            // the whole status is followed
	unnamed bool            // the manager that ticks names no roles
	refused bool            // the broker of this connection does not let their deltas be heard
	silent  bool            // no tick of the roles for so long
	heard   time.Time       // when one came last
	epoch   uint64          // of that one

	// While it is not wide:
	tick  *subjects.RoleTick       // the one that named what is wanted
	next  *subjects.Status         // the part held, with the changes that no tick has named yet…
	names map[subjects.Role]string // …its digests…
	at    map[subjects.Role]subjects.Mark
	later []*subjects.RoleDelta // deltas that came too early

	// While it is wide:
	shownOf *subjects.Status
	shown   State
}

// NewPart is [New] for a tracker of some roles, at least one.
func NewPart(staleAfter time.Duration, chance func(time.Duration) time.Duration, roles []subjects.Role) *Tracker {
	t := New(staleAfter, chance)
	t.part = &part{roles: subjects.SortedRoles(roles), silent: true}
	return t
}

// limited reports whether t holds a part of the status.
func (t *Tracker) limited() bool { return t.part != nil && !t.part.wide }

// Wide reports whether the deltas of the whole status are to be heard.
func (t *Tracker) Wide() bool { return t.part == nil || t.part.wide }

// WantsTicks reports whether the usual tick is to be heard, by who follows some roles
// only while the roles' own does not come.
func (t *Tracker) WantsTicks() bool { return t.Wide() || t.part.silent }

// Shown is the status for those who follow some roles, with its encoding: a part, also
// where the whole is held. content names what it says of these roles; it is empty
// if t follows all.
func (t *Tracker) Shown() (s *subjects.Status, encoded []byte, content string) {
	p := t.part
	switch {
	case p == nil:
		return t.Status, t.Encoded, ""
	case t.Status == nil || t.Status.Only != nil:
		return t.Status, t.Encoded, t.Digest
	case p.shownOf != t.Status:
		s := t.Status.Part(p.roles)
		p.shownOf, p.shown = t.Status, State{Status: s, Encoded: s.Encode(), Digest: p.digest(s)}
	}
	return p.shown.Status, p.shown.Encoded, p.shown.Digest
}

// Names reports whether k, once Tick has taken it, names all that is held.
func (t *Tracker) Names(k *subjects.Tick) bool {
	return !t.limited() && k.Mark() == t.Mark() && k.Digest == t.Digest && k.SitesDigest == t.Sites && (k.LossesDigest == t.Losses || k.LossesDigest == "")
}

// NamesPart reports whether k, once RoleTick has taken it, names the part held.
func (t *Tracker) NamesPart(k *subjects.RoleTick) bool {
	return t.limited() && k.Mark() == t.Mark() && t.part.join(k.Digest) == t.Digest
}

// digest is that of s, a part or the whole: of its roles.
func (p *part) digest(s *subjects.Status) string { return p.join(s.RoleDigest) }

func (p *part) join(digest func(subjects.Role) string) string {
	all := make([]string, len(p.roles))
	for i, r := range p.roles {
		all[i] = digest(r)
	}
	return strings.Join(all, " ")
}

// digest is the one by which s, encoded, is known to t.
func (t *Tracker) digest(s *subjects.Status, encoded []byte) string {
	if t.limited() {
		return t.part.digest(s)
	}
	return subjects.Digest(encoded)
}

// cut makes an answer, or what the disk has, what t holds. ok is false if it does not
// tell enough: it was limited to other roles, or asked for before the whole was wanted.
func (t *Tracker) cut(s *subjects.Status, encoded []byte) (_ *subjects.Status, _ []byte, ok bool) {
	switch {
	case !t.limited():
		return s, encoded, s.Only == nil
	case !s.Covers(t.part.roles):
		return nil, nil, false
	}
	s = s.Part(t.part.roles)
	return s, s.Encode(), true
}

// ignores reports whether k, a tick of the whole status, is of no use: a manager that
// names roles has sent the roles' tick of its term before.
func (t *Tracker) ignores(k *subjects.Tick) bool {
	t.part.unnamed = k.Epoch != t.part.epoch
	t.setWide()
	return t.limited()
}

// RoleTick handles the manager's regular message on what is said of each role. changed
// reports whether the view differs now.
func (t *Tracker) RoleTick(k *subjects.RoleTick, now time.Time) (changed bool, err error) {
	p, m := t.part, k.Mark()
	if p == nil {
		return false, nil
	}
	if err := t.precedes(m, now); err != nil {
		return false, err
	}
	p.heard, p.epoch, p.silent, p.unnamed, t.serving = now, k.Epoch, false, false, k.Members
	t.setWide()
	if !t.limited() {
		return false, nil
	}
	p.tick = k
	named := p.join(k.Digest)
	if t.Status != nil && m == t.Mark() && named == t.Digest {
		return t.same(now), nil
	}
	t.want, t.wantIs, t.wantAt = m, named, now
	if t.reach(now) {
		return true, nil
	}
	t.repair(now, deltaWait)
	return false, nil
}

// RolesRefused notes that the broker of this connection does not let the deltas of
// single roles be heard. news reports whether that was not known.
func (t *Tracker) RolesRefused(now time.Time) (news bool) {
	if t.part == nil || t.part.refused {
		return false
	}
	t.part.refused = true
	t.setWide()
	t.repair(now, 0)
	return true
}

// setWide begins or ends to follow the whole status. What is held stays: a part does
// not have the digest of the whole, so that it is replaced by the next answer.
func (t *Tracker) setWide() {
	p := t.part
	wide := p.unnamed || p.refused
	if wide == p.wide {
		return
	}
	p.wide = wide
	t.later, p.later, t.behind = nil, nil, false
	if wide || t.Status == nil {
		return
	}
	s, encoded := t.Status, t.Encoded
	if s.Only == nil {
		s = s.Part(p.roles)
		encoded = s.Encode()
	}
	t.Status, t.Encoded, t.Digest, t.Losses = s, encoded, p.digest(s), ""
	p.begin(s)
}

// begin starts from s, which is held now.
func (p *part) begin(s *subjects.Status) {
	p.shownOf, p.shown = nil, State{}
	p.next, p.names, p.at = s, make(map[subjects.Role]string, len(p.roles)), make(map[subjects.Role]subjects.Mark)
	for _, r := range p.roles {
		p.names[r] = s.RoleDigest(r)
	}
}

// RoleDelta handles the change of one role. It is shown when a tick names what it
// leads to; changed reports whether one has already.
func (t *Tracker) RoleDelta(d *subjects.RoleDelta, now time.Time) (changed bool, err error) {
	p, m := t.part, d.Mark()
	if !t.limited() || !slices.Contains(p.roles, d.Role) {
		return false, nil
	}
	if err := t.follows(m); err != nil {
		return false, err
	}
	if t.Status != nil && !m.After(t.Mark()) {
		if m.Epoch < t.Status.Epoch {
			return false, t.replay(m)
		}
		return false, nil
	}
	if !p.apply(d) {
		if len(p.later) == maxLater {
			p.later = append(p.later[:0], p.later[1:]...)
		}
		p.later = append(p.later, d)
		t.repair(now, 0)
		return false, nil
	}
	return t.catchUpRoles(now), nil
}

// apply makes the change of d to the next part, if it starts there. One that is there
// already is no change.
func (p *part) apply(d *subjects.RoleDelta) bool {
	if p.next == nil {
		return false
	}
	if !d.Mark().After(p.at[d.Role]) {
		return true
	}
	s, ok := p.next.ApplyRole(d)
	if ok {
		p.next, p.names[d.Role], p.at[d.Role] = s, d.Digest, d.Mark()
	}
	return ok
}

// catchUpRoles applies the deltas that came too early, as far as they fit now, and
// shows what came of it if the newest tick names that.
func (t *Tracker) catchUpRoles(now time.Time) (changed bool) {
	p := t.part
	for again := true; again; {
		again = false
		keep := p.later[:0]
		for _, d := range p.later {
			switch {
			case !d.Mark().After(t.Mark()):
			case p.apply(d):
				again = true
			default:
				keep = append(keep, d)
			}
		}
		clear(p.later[len(keep):])
		p.later = keep
	}
	return t.reach(now)
}

// reach makes what the newest tick names the part held, if the deltas have led there.
func (t *Tracker) reach(now time.Time) (changed bool) {
	p, have := t.part, t.Mark()
	if t.Status == nil || p.tick == nil || p.tick.Mark() != t.want || have.After(t.want) || p.join(p.tick.Digest) != t.wantIs {
		return false
	}
	switch name := func(r subjects.Role) string { return p.names[r] }; {
	case t.want == have && t.wantIs == t.Digest:
		return false
	case t.wantIs == t.Digest && (p.next == t.Status || p.join(name) != t.wantIs): // only other roles have changed, or the change was taken back
		t.Status, t.Encoded = t.Status.Moved(t.want, p.tick.Manager, p.tick.Time, t.Encoded)
		if p.join(name) != t.wantIs {
			p.begin(t.Status)
		} else {
			p.next = t.Status
		}
	case p.join(name) == t.wantIs:
		s := *p.next
		s.Epoch, s.Generation, s.Manager, s.Time = t.want.Epoch, t.want.Generation, p.tick.Manager, p.tick.Time
		t.Status, t.Encoded, t.Digest = &s, s.Encode(), t.wantIs
		p.next = t.Status
	default:
		return false
	}
	t.Received, t.steady = now, steady{}
	if !t.doubts {
		t.settle()
	}
	t.confirm(t.wantAt, now)
	return true
}
