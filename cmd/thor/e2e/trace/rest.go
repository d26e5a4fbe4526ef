package trace

import (
	"slices"
	"time"
)

// bookingsAreKept is I8: an acknowledged provisioning write is in the database, once.
func (c *checker) bookingsAreKept() {
	found := make(map[string]int)
	for _, l := range c.lines {
		if l.Booking != nil {
			found[l.Booking.ID] += l.Booking.Found
		}
	}
	for _, l := range c.lines {
		if b := l.Booking; b != nil && b.Acked && found[b.ID] != 1 {
			c.fail(l.At, "I8", "the acknowledged write %s is in the database %d times", b.ID, found[b.ID])
		}
	}
}

// nothingLeaks is I11: no secret and no panic in a log, no process ends by itself, and at rest a process holds
// as much at the end as at the start.
func (c *checker) nothingLeaks() {
	base := make(map[string]*Resources)
	for _, l := range c.lines {
		switch {
		case l.Finding != nil:
			c.fail(l.At, "I11", "%s: %q", l.Finding.File, l.Finding.Text)
		case l.Resources != nil && base[l.Resources.Process] == nil:
			base[l.Resources.Process] = l.Resources
		case l.Resources != nil:
			b, r := base[l.Resources.Process], l.Resources
			if grew(b.Files, r.Files) {
				c.fail(l.At, "I11", "%s has %d files open, %d at the start", r.Process, r.Files, b.Files)
			}
			if grew(b.Goroutines, r.Goroutines) {
				c.fail(l.At, "I11", "%s has %d goroutines, %d at the start", r.Process, r.Goroutines, b.Goroutines)
			}
		}
	}
}

// grew allows 5 %, and a few of small numbers: connections move between brokers.
func grew(base, now int) bool { return now > base+max(base/20, 40) }

// showsTheTruth is I12: what operators see is the status, and it is said when that
// is old.
func (c *checker) showsTheTruth() {
	for _, l := range c.lines {
		s := l.Shown
		if s == nil {
			continue
		}
		if s.Differs != "" {
			c.fail(l.At, "I12", "%s on %s differs from the status: %s", s.Command, s.Host, s.Differs)
		}
		if s.Exit == 0 && c.cutOff(s.Host, l.At) {
			c.fail(l.At, "I12", "%s on %s says all is well, cut off for more than %v", s.Command, s.Host, cutOffShown)
		}
	}
	for _, s := range c.history.leaderless[""] {
		if time.Duration(min(s.to, c.end)-s.from) < staleWithin {
			continue
		}
		for observer, list := range c.views {
			if i := lastBefore(list, s.from); i >= 0 && list[i].Stale {
				continue // it has said so before
			}
			if !slices.ContainsFunc(list, func(p publication) bool {
				return p.Stale && p.at >= s.from && p.at <= s.from+Moment(staleWithin)
			}) {
				c.fail(s.from+Moment(staleWithin), "I12", "%s does not call its status stale", observer)
			}
		}
	}
}

// cutOff reports whether a host has been without the network for a while.
func (c *checker) cutOff(host string, at Moment) bool {
	from := at - Moment(cutOffShown)
	return slices.ContainsFunc(c.history.cutOff[host], func(s span) bool { return s.from <= from && s.to >= at })
}
