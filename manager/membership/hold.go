package membership

import (
	"maps"
	"slices"
	"strings"
	"time"

	"thor/subjects"
)

// A hold is an operator's word that the failed members of a role stay.
type hold struct {
	until instant
	shown time.Time // the same by the wall clock, as this manager's status shows it
	told  time.Time // as the manager's status showed it from which it was taken over; zero: it was not
}

// Hold says for an operator that the failed members of role name, or of all roles if it
// is empty, are to stay as suspect when the guards that hold them now have ended:
// until Confirm, a day, or none of the role fails any more. The next manager goes on
// holding them until the same moment, see keptMark. What the end of a connection proves is
// not held. It returns how many members it concerns.
func (t *Table) Hold(name subjects.Role, now time.Time) int {
	t.enter(now)
	n := 0
	for _, site := range slices.Sorted(maps.Keys(t.incidents)) {
		t.dismissSite(site, name, false) // members that failed with a site are judged with the others of their role
	}
	t.eachRole(name, func(r *role) {
		if len(r.bad) == 0 {
			return
		}
		for m := range r.bad {
			m.confirmed = false
			n++
		}
		t.beginHold(r, hold{until: t.now + operatorHold, shown: holdEnd(t.wall.Add(operatorHold))})
	})
	t.flush()
	return n
}

func (t *Table) beginHold(r *role, h hold) {
	r.hold = &h
	t.raise(guardKey{name: GuardHold, role: r.name}, "an operator keeps the failed members").until = h.until
	t.dirty[r] = struct{}{}
}

func (t *Table) endHold(r *role) {
	if r.hold != nil {
		r.hold = nil
		t.lower(guardKey{name: GuardHold, role: r.name})
	}
}

// adoptHold holds the failed members of a role, or does not, as the manager does whose
// status lists ms, which it made age ago; a negative age is not known. What is left of the
// day is a difference of that manager's own times. Managers of earlier versions do not tell
// it: then the day begins anew.
func (t *Table) adoptHold(name subjects.Role, ms []subjects.Member, made time.Time, age time.Duration) {
	r := t.roles[name]
	if r == nil {
		return
	}
	kept, told := false, time.Time{}
	for i := range ms {
		if ms[i].State != subjects.Suspect {
			continue
		}
		if _, until, is := cutKept(ms[i].Reason); is {
			kept = true
			told = later(told, until)
		}
	}
	switch {
	case !kept:
		t.endHold(r)
		return
	case r.hold != nil && (told.IsZero() || told.Equal(r.hold.told) || told.Equal(r.hold.shown)):
		return
	}
	rest := operatorHold
	if !told.IsZero() {
		rest = min(told.Sub(made)-max(age, 0), operatorHold)
	}
	if rest <= 0 {
		return
	}
	h := hold{until: t.now + rest, shown: holdEnd(t.wall.Add(rest)), told: told}
	if h.shown.Sub(told).Abs() <= clockMargin {
		h.shown = told // the same moment: no news when this manager leads
	}
	t.beginHold(r, h)
}

// keptMark ends the reason of a suspect that stays because an operator said so; before it
// stands until when. The next manager reads it in the status: a Hold does not end with its
// manager.
const (
	keptMark  = ", kept by an operator"
	keptUntil = ", until "
	keptMost  = len(keptUntil) + len(time.RFC3339) + len(keptMark)
)

// mark is what the reason of a member ends in that h keeps.
func (h *hold) mark() string { return keptUntil + h.shown.Format(time.RFC3339) + keptMark }

// cutKept takes a mark from the end of a reason: what is before it, and until when the
// member is kept; zero: it does not say.
func cutKept(reason string) (before string, until time.Time, kept bool) {
	before, kept = strings.CutSuffix(reason, keptMark)
	if !kept {
		return reason, until, false
	}
	if i := strings.LastIndex(before, keptUntil); i >= 0 {
		if at, err := time.Parse(time.RFC3339, before[i+len(keptUntil):]); err == nil {
			return before[:i], at, true
		}
	}
	return before, until, true
}

// keptAs is the mark that a reason ends in; empty: none.
func keptAs(reason string) string {
	before, _, _ := cutKept(reason)
	return reason[len(before):]
}

// holdEnd is the end of a hold as marks show it.
func holdEnd(at time.Time) time.Time { return at.UTC().Truncate(time.Second) }

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
