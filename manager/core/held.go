package core

import (
	"sync"

	"thor/subjects"
)

// A Held is a status with its encoding. Its methods may be called concurrently.
type Held struct {
	Status  *subjects.Status
	Encoded []byte

	chunks func() []subjects.Chunk
}

// Hold makes a Held; neither argument is written to afterwards.
func Hold(s *subjects.Status, encoded []byte) *Held {
	return &Held{s, encoded, sync.OnceValue(func() []subjects.Chunk { return subjects.Chunks(encoded) })}
}

// Chunks answer a request for the snapshot. They are made once, when the first
// request comes.
func (h *Held) Chunks() []subjects.Chunk { return h.chunks() }

// Size is how many bytes an answer has; without a status it has none.
func (h *Held) Size() (bytes int) {
	if h == nil {
		return 0
	}
	for _, c := range h.chunks() {
		bytes += len(c.Data)
	}
	return bytes
}

// A Holding is what requests for the snapshot are answered from.
type Holding struct{ *Held }

// Holding is what this manager answers with now.
func (m *Manager) Holding() Holding { return Holding{m.newest} }

// Answer is the answer to a request for the snapshot: a status, or else why
// there is none.
func (h Holding) Answer(r *subjects.SnapshotRequest) (*Held, subjects.ErrorCode) {
	if h.Held == nil || r.AtLeast != nil && r.AtLeast.After(h.Status.Mark()) {
		return nil, subjects.ErrorBehind
	}
	return h.Held, ""
}
