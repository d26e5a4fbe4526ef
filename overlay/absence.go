package overlay

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"thor/subjects"
)

// An absence is why the status does not list a role that this process announces.
type absence struct {
	role   subjects.Role
	until  time.Time // of a hold-down: by the manager's clock
	reason string
}

func (a absence) String() string {
	if a.until.IsZero() {
		return fmt.Sprintf("%s: announced, but lost: %s", a.role, a.reason)
	}
	return fmt.Sprintf("%s: announced, but held down until %s: %s", a.role, a.until.UTC().Format(time.RFC3339), a.reason)
}

// absences are the roles of node that v lists as held or lost.
func absences(v *View, node subjects.NodeID, roles []subjects.Role) (out []absence) {
	if v.Status == nil || v.FromDisk {
		return nil
	}
	for _, r := range roles {
		if h := v.Status.FindHeld(r, node); h != nil {
			out = append(out, absence{role: r, until: h.Until, reason: h.Reason})
		} else if l := v.Status.FindLost(r, node); l != nil {
			out = append(out, absence{role: r, reason: l.Reason})
		}
	}
	return out
}

// Absences says, a line for each, which roles this process announces that the
// status does not list, since damping keeps them out or they failed. A role that is
// only joining is none, and of one that is not among Config.Roles nothing is known.
func (n *Node) Absences() []string {
	var out []string
	for _, a := range absences(n.View(), n.id, n.announcer.roles()) {
		out = append(out, a.String())
	}
	return out
}

// absenceLog tells the process's own log of its absences: all looks well here.
type absenceLog struct {
	log  *slog.Logger
	told map[subjects.Role]absence
}

// note compares what is said of this process with what was told. A reason alone, or
// another end, is no news.
func (l *absenceLog) note(now []absence) {
	was := l.told
	l.told = make(map[subjects.Role]absence, len(now))
	for _, a := range now {
		l.told[a.role] = a
		if b, ok := was[a.role]; ok && b.until.IsZero() == a.until.IsZero() {
			continue
		}
		if a.until.IsZero() {
			l.log.Warn("announced, but lost", roleAttr(a.role), slog.String("reason", a.reason))
		} else {
			l.log.Warn("announced, but held down until", roleAttr(a.role), slog.Time("until", a.until), slog.String("reason", a.reason))
		}
	}
	for _, r := range slices.Sorted(maps.Keys(was)) {
		if _, still := l.told[r]; !still {
			l.log.Info("not lost or held down any more", roleAttr(r))
		}
	}
}
