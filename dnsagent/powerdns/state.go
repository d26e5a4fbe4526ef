package powerdns

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"thor/dbagent/location/driver"
	"thor/dnsagent/powerdns/plan"
	"thor/overlay/check"
	"thor/subjects"
)

// A standing is what an agent does for the database now.
type standing string

const (
	connecting standing = "connecting" // not connected yet, or no more, or without a status beside an empty zone
	writing    standing = "writing"    // has the lock
	standby    standing = "standby"    // another agent has it, or has written
	behind     standing = "behind"     // no other agent has the lock, but the rows are of a later status than its own
	refused    standing = "refused"    // it is no database to write to
)

var standings = []standing{connecting, writing, standby, behind, refused}

// state is what the writer tells of itself.
type state struct {
	standing     standing
	fault        string // what the last failure was; empty: none since
	since        time.Time
	serial       uint32
	mark         subjects.Mark // of the rows
	written      bool          // the rows are known
	foreign      int
	conflicts    []string
	leftOut      int
	luaForbidden bool
}

// faultText is an error in one line, without a password.
func faultText(err error) string {
	var r *refusal
	switch {
	case errors.As(err, &r):
		return r.text
	case errors.Is(err, errHostile):
		return errHostile.Error()
	case errors.Is(err, errPassword):
		return subjects.Printable(err.Error(), 300)
	}
	if text := driver.FaultText(err); text != "" {
		return text
	}
	return check.Explain(err).Text
}

// failed notes that a session ended.
func (w *Writer) failed(err error) {
	text := faultText(err)
	w.metrics.failures.Inc()
	w.mu.Lock()
	news := w.state.fault != text
	w.state.standing = connecting
	var r *refusal
	if errors.As(err, &r) {
		w.state.standing = refused
	}
	if w.state.fault == "" {
		w.state.since = time.Now()
	}
	w.state.fault = text
	w.mu.Unlock()
	switch {
	case news && w.standing() == refused:
		w.log.Error().Str("reason", text).Msg("database refused")
	case news:
		w.log.Warn().Str("reason", text).AnErr("error", err).Msg("database not written")
	}
}

// became notes what the agent does, and that the database works.
func (w *Writer) became(r standing) {
	w.mu.Lock()
	was, fault := w.state.standing, w.state.fault
	w.state.standing, w.state.fault = r, ""
	w.mu.Unlock()
	switch {
	case was == r && fault == "":
	case r == writing:
		w.log.Info().Msg("database is written by this name server")
	case r == standby:
		w.log.Info().Msg("database is written by another name server")
	case r == behind:
		w.log.Warn().Msg("database holds a later status than is known here")
	}
}

func (w *Writer) standing() standing {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state.standing
}

func (w *Writer) isBehind() { w.became(behind) }

func (w *Writer) luaForbidden() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state.luaForbidden
}

// wrote notes what a pass did for the offer o.
func (w *Writer) wrote(o offer, r *result, set *plan.Set, mode plan.Mode, began time.Time) {
	w.became(writing)
	now := time.Now()
	w.mu.Lock()
	before := w.state
	w.state.serial, w.state.mark, w.state.written = r.serial, o.zone.Mark(), true
	w.state.foreign, w.state.conflicts, w.state.leftOut = r.foreign, r.conflicts, len(set.LeftOut)
	w.state.luaForbidden = r.luaForbidden && w.cfg.Mode == plan.Lua
	since := o.since
	w.settle(o, began)
	w.mu.Unlock()
	w.metrics.wrote(r, now.Sub(began))
	if r.luaForbidden && mode == plan.Lua {
		w.poke()
	}
	w.tell(before, r, set)
	if r.changed {
		e := w.log.Info()
		if r.inserted+r.updated+r.erased == 0 {
			e = w.log.Debug()
		}
		e.Uint64("epoch", o.zone.Mark().Epoch).Uint64("gen", o.zone.Mark().Generation).Uint32("serial", r.serial).Int("inserted", r.inserted).
			Int("updated", r.updated).Int("deleted", r.erased).Float64("took_ms", float64(now.Sub(began).Microseconds())/1000).Msg("database written")
	}
	if r.changed || !before.written || before.fault != "" {
		w.server.follow(settled{serial: r.serial, created: r.created, primary: r.primary, since: since})
	}
}

// settle notes that the database has the zone of o; w.mu is held. began is when a
// newer one can have been offered.
func (w *Writer) settle(o offer, began time.Time) {
	switch {
	case w.offered.zone == o.zone:
		w.offered.since = time.Time{}
	case !w.offered.since.IsZero() && w.offered.since.Before(began):
		w.offered.since = began
	}
}

// tell logs what an operator may want to change.
func (w *Writer) tell(before state, r *result, set *plan.Set) {
	if r.foreign != before.foreign {
		w.log.Info().Int("rows", r.foreign).Msg("rows of others are in sets of the network")
	}
	if !slices.Equal(r.conflicts, before.conflicts) {
		w.log.Warn().Str("names", subjects.Printable(strings.Join(r.conflicts, " "), 300)).Msg("rows of others exclude records of the network")
	}
	if len(set.LeftOut) != before.leftOut {
		for _, l := range set.LeftOut[:min(len(set.LeftOut), 3)] {
			w.log.Warn().Str("name", subjects.Printable(l.Name, 100)).Str("type", l.Type).Str("reason", l.Why).Msg("record left out")
		}
	}
	if r.luaForbidden && w.cfg.Mode == plan.Lua && !before.luaForbidden {
		w.log.Warn().Str("kind", kindLua).Msg("metadata of the zone forbid LUA records: slices are rotated")
	}
}

// stands notes what another agent has written, and returns how long the newest zone
// has been waiting for it; 0: it is there.
func (w *Writer) stands(o offer, m subjects.Mark, digest, soa string) time.Duration {
	w.became(standby)
	serial, _ := plan.Serial(soa)
	missing := o.later(m, digest)
	w.mu.Lock()
	news := !w.state.written || w.state.serial != serial || w.state.mark != m
	w.state.serial, w.state.mark, w.state.written = serial, m, true
	since := o.since
	if !missing {
		w.settle(o, time.Now())
	}
	w.mu.Unlock()
	if news {
		w.server.follow(settled{serial: serial, since: since})
	}
	if !missing || since.IsZero() {
		return 0
	}
	return time.Since(since)
}

// Lag is how long the database has been without the newest zone; 0: it has it.
func (w *Writer) Lag() time.Duration {
	o := w.newest()
	if o.since.IsZero() {
		return 0
	}
	return time.Since(o.since)
}

// Standing is what the writer does for the database: connecting, writing, standby, behind or refused.
func (w *Writer) Standing() string { return string(w.standing()) }

// tolerance is how long a fault is no news for an operator: a server that is
// restarted comes back within it.
const tolerance = 2 * time.Second

// Faults are what keeps PowerDNS from answering with the newest zone, a line each.
func (w *Writer) Faults() (out []string) {
	w.mu.Lock()
	s := w.state
	w.mu.Unlock()
	if s.fault != "" && (s.standing == refused || time.Since(s.since) >= tolerance) {
		out = append(out, fmt.Sprintf("database of PowerDNS at %s: %s", w.cfg.DSN.Address(), s.fault))
	}
	if s.leftOut > 0 {
		out = append(out, fmt.Sprintf("database of PowerDNS has no room for %d records", s.leftOut))
	}
	if len(s.conflicts) > 0 {
		out = append(out, "rows of others exclude records at "+subjects.Printable(strings.Join(s.conflicts, " "), 200))
	}
	if s.standing == standby && w.server.luaFails() { // the one that writes cannot know
		out = append(out, fmt.Sprintf("PowerDNS at %s does not run the LUA records of its database", w.cfg.Server))
	}
	return append(out, w.server.faults()...)
}
