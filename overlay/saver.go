package overlay

import (
	"log/slog"
	"sync"
	"time"
)

const (
	saveEvery = time.Second      // the status is written to disk at most so often…
	saveAgain = 10 * time.Second // …and after a failure so much later
)

// A saver writes the newest status to disk, in a goroutine of its own: a disk
// that hangs must not delay announcements. Its methods are the loop's.
type saver struct {
	store   store
	log     *slog.Logger
	working *sync.WaitGroup // for the goroutine
	done    chan error      // its result, room for one

	dirty   bool // the disk has an older status
	busy    bool // the goroutine runs
	failing bool // and it is in the log
	after   time.Time
}

// due reports whether there is something to write now.
func (s *saver) due(now time.Time) bool { return s.dirty && !s.busy && !now.Before(s.after) }

// advance begins to write encoded if that is due.
func (s *saver) advance(encoded []byte, now time.Time) {
	if !s.due(now) {
		return
	}
	s.dirty, s.busy = false, true
	s.working.Go(func() { s.done <- s.store.saveStatus(encoded, time.Now()) })
}

// next is when advance has something to do; zero: not before something happens.
func (s *saver) next() time.Time {
	if !s.dirty || s.busy {
		return time.Time{}
	}
	return s.after
}

// finished handles the result of a write.
func (s *saver) finished(err error, now time.Time) {
	s.busy, s.after = false, now.Add(saveEvery)
	if err != nil {
		s.dirty, s.after = true, now.Add(saveAgain)
	}
	switch failing := err != nil; {
	case failing == s.failing:
	case failing:
		s.log.Error("status not saved, retrying", cause(err))
	default:
		s.log.Info("status saved again")
	}
	s.failing = err != nil
}

// flush writes encoded unless the disk has it. The goroutine has ended.
func (s *saver) flush(encoded []byte) {
	select {
	case err := <-s.done:
		s.finished(err, time.Now())
	default:
	}
	if s.dirty {
		s.dirty = false
		s.finished(s.store.saveStatus(encoded, time.Now()), time.Now())
	}
}
