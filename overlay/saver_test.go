package overlay

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A status is written at most once in saveEvery; a failure is logged once, and
// retried after saveAgain until it is over.
func TestSaverKeepsItsPaceAndRetries(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	var log strings.Builder
	var working sync.WaitGroup
	s := saver{store: store{dir: dir}, log: slog.New(slog.NewTextHandler(&log, nil)), working: &working, done: make(chan error, 1)}
	now := time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)
	if s.advance(nil, now); !s.next().IsZero() || s.busy {
		t.Error("writes without a status")
	}
	write := func() {
		t.Helper()
		s.advance([]byte("{}"), now)
		if !s.busy || !s.next().IsZero() {
			t.Fatal("does not write")
		}
		working.Wait()
		s.finished(<-s.done, now)
	}

	s.dirty = true
	write() // the directory does not exist
	for i := range 2 {
		if !s.next().Equal(now.Add(saveAgain)) || strings.Count(log.String(), "level=ERROR") != 1 {
			t.Fatalf("failure %d: next at %v, log %s", i, s.next().Sub(now), log.String())
		}
		now = s.next()
		write()
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	now = s.next()
	if write(); s.dirty || strings.Count(log.String(), "level=INFO") != 1 {
		t.Errorf("after the failure: dirty %v, log %s", s.dirty, log.String())
	}

	s.dirty = true
	if s.advance([]byte("{}"), now.Add(saveEvery-1)); s.busy || !s.next().Equal(now.Add(saveEvery)) {
		t.Error("writes too soon")
	}
	if s.flush([]byte(`{"v":1}`)); s.dirty {
		t.Error("the last status was not written")
	}
	if b, err := os.ReadFile(filepath.Join(dir, statusFile)); err != nil || !strings.Contains(string(b), `{"v":1}`) {
		t.Errorf("%s %v", b, err)
	}
}
