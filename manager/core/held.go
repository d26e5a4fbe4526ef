package core

import (
	"fmt"
	"sync"
	"time"

	"thor/subjects"
)

// A Held is a status with its encoding. Its methods may be called concurrently.
type Held struct {
	Status  *subjects.Status
	Encoded []byte

	full                                 func() []byte
	chunks, chunksOfLosses, chunksOfFull func() []subjects.Chunk
	seed                                 bool      // found by a search: to begin from, never to be told as the current one
	made                                 time.Time // when another manager made it, within MaxAge; zero: not known

	mu    sync.Mutex
	parts map[string]*Held // by their roles
}

// mostParts is how many different parts of one status are made for those who ask for
// some roles: a process that asks for ever other ones must not have each encoded.
const mostParts = 16

// Hold makes a Held; neither argument is written to afterwards.
func Hold(s *subjects.Status, encoded []byte) *Held {
	h := &Held{Status: s, Encoded: encoded}
	h.full = sync.OnceValue(func() []byte { return s.EncodeFull(encoded) })
	h.chunksOfLosses = sync.OnceValue(func() []subjects.Chunk {
		if s.SitesDigest() == "" {
			return h.chunksOfFull()
		}
		return subjects.Chunks(s.EncodeLosses(encoded))
	})
	h.chunks = sync.OnceValue(func() []subjects.Chunk { return subjects.Chunks(encoded) })
	h.chunksOfFull = sync.OnceValue(func() []subjects.Chunk { return subjects.Chunks(h.full()) })
	return h
}

// age is how long ago the status was made, negative if that is not known.
func (h *Held) age(now time.Time) time.Duration {
	if h.made.IsZero() {
		return -1
	}
	return max(0, now.Sub(h.made))
}

// Full is the encoding with losses and sites.
func (h *Held) Full() []byte { return h.full() }

// Chunks answer a request for the snapshot. They are made once, when the first
// such request comes. Members of earlier versions ask without sites, or without the
// losses too.
func (h *Held) Chunks(r *subjects.SnapshotRequest) []subjects.Chunk {
	switch {
	case r.Losses && r.Sites:
		return h.chunksOfFull()
	case r.Losses:
		return h.chunksOfLosses()
	}
	return h.chunks()
}

// Size is how many bytes an answer has; without a status it has none.
func (h *Held) Size(r *subjects.SnapshotRequest) (bytes int) {
	if h == nil {
		return 0
	}
	for _, c := range h.Chunks(r) {
		bytes += len(c.Data)
	}
	return bytes
}

// Part is what a request for roles is answered from: the status limited to these,
// made once for all who ask for the same; or the whole, for a request that names no
// roles, and when there are mostParts already.
func (h *Held) Part(roles []subjects.Role) *Held {
	if h == nil || len(roles) == 0 {
		return h
	}
	roles = subjects.SortedRoles(roles)
	key := fmt.Sprint(roles)
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.parts[key]
	switch {
	case p != nil:
		return p
	case len(h.parts) >= mostParts:
		return h
	case h.parts == nil:
		h.parts = make(map[string]*Held)
	}
	s := h.Status.Part(roles)
	p = Hold(s, s.Encode())
	h.parts[key] = p
	return p
}

// A Holding is what requests for the snapshot are answered from.
type Holding struct {
	*Held
	Known     subjects.Mark // the greatest that is certain: of a status, or on the own disk
	Hears     *subjects.Hearing
	term      Term      // not nil: of the active manager
	own       bool      // made by this manager, which does not lead any more
	confirmed time.Time // when the status was last known to be the current one; zero: never
}

// Holding is what this manager answers with now.
func (m *Manager) Holding() Holding {
	h := Holding{Held: m.newest, Known: m.marks.confirmed, Hears: m.table.Hears(), confirmed: m.confirmed}
	switch {
	case m.lead != nil:
		h.term = m.lead.term
	case h.Held != nil:
		h.own = h.Status.Manager == m.cfg.Node
		if m.overtaken {
			h.confirmed = time.Time{}
		}
	}
	return h
}

// Age is how long ago the status was known to be the current one. ok is false if
// it never was.
func (h Holding) Age(now time.Time) (age time.Duration, ok bool) {
	switch {
	case h.Held == nil:
		return 0, false
	case h.term != nil && h.term.Valid(now) && !h.term.Quiet().After(now):
		if sure := h.term.Sure(); !sure.IsZero() {
			return max(0, now.Sub(sure)), true
		}
		return 0, true
	case h.own: // only its own ticks can have confirmed it
		return 0, false
	}
	return max(0, now.Sub(h.confirmed)), !h.confirmed.IsZero()
}

// Present reports whether this manager may answer requests for the snapshot: it is
// the active one, or knew a moment ago what that tells. Any other would tell the
// past, and draws requests that another could answer.
func (h Holding) Present(now time.Time) bool {
	age, ok := h.Age(now)
	return ok && age <= subjects.MaxAge
}

// Answer is the answer to a request for the snapshot, with its age; or, if code is
// not empty, why there is none.
func (h Holding) Answer(r *subjects.SnapshotRequest, now time.Time) (age time.Duration, code subjects.ErrorCode) {
	if !h.Present(now) || r.AtLeast != nil && r.AtLeast.After(h.Status.Mark()) {
		return 0, subjects.ErrorBehind
	}
	age, _ = h.Age(now)
	return age, ""
}
