package overlay

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"thor/subjects"
)

const (
	shownFile = "status.shown"
	// shownWait bounds how long the note of a mark holds up the status: a disk that
	// hangs must not delay announcements.
	shownWait = 50 * time.Millisecond
	// askFirst is how long the status of an earlier run is held back, if that run
	// has shown a later one: a broker that answers tells the present within it.
	askFirst = 2500 * time.Millisecond
)

// A shownMark is a note of the newest mark that this process has shown to others,
// as the serial of a zone is. The status itself is on disk up to a second later,
// or not at all while the disk is full: a process that was killed meanwhile must
// not show what it finds there as if it were the newest.
//
// The note is one line that is written over in place, which takes no space and no
// sync: it has to outlive the process, and says which start of the machine it is of.
type shownMark struct {
	file *os.File   // nil: nothing can be noted
	busy chan error // of the write under way
	boot string
}

// open opens the note of an earlier run and reports whether that run showed
// nothing newer than m, and what it showed last, if the note says so.
func (s *shownMark) open(dir string, m subjects.Mark) (nothingNewer bool, shown subjects.Mark) {
	if dir == "" {
		return true, shown
	}
	s.boot = machineBoot()
	path := filepath.Join(dir, shownFile)
	b, err := os.ReadFile(path)
	nothingNewer = err == nil && s.boot != "" && string(b) == s.line(m)
	if f := strings.Fields(string(b)); err == nil && len(f) == 3 {
		shown.Epoch, _ = strconv.ParseUint(f[1], 10, 64)
		shown.Generation, _ = strconv.ParseUint(f[2], 10, 64)
		if s.line(shown) != string(b) { // of another start of the machine, or not whole
			shown = subjects.Mark{}
		}
	}
	s.busy = make(chan error, 1)
	if f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600); err == nil {
		s.file = f
	}
	return nothingNewer, shown
}

func (s *shownMark) line(m subjects.Mark) string {
	return fmt.Sprintf("%-40.40s %20d %20d\n", s.boot, m.Epoch, m.Generation)
}

// note writes m before it is shown. After a write that does not end in time
// nothing is noted any more, and the next start asks first.
func (s *shownMark) note(m subjects.Mark) {
	if s.file == nil {
		return
	}
	f, line := s.file, []byte(s.line(m))
	go func() { _, err := f.WriteAt(line, 0); s.busy <- err }()
	t := time.NewTimer(shownWait)
	defer t.Stop()
	select {
	case err := <-s.busy:
		if err != nil {
			s.forget()
		}
	case <-t.C:
		s.file = nil // a later write could overtake this one
		busy := s.busy
		go func() { <-busy; _ = os.Remove(f.Name()); _ = f.Close() }()
	}
}

// forget makes the next start ask first: the note says nothing.
func (s *shownMark) forget() {
	_ = os.Remove(s.file.Name()) // what is there is older than what was shown
	s.close()
}

func (s *shownMark) close() {
	if s.file != nil {
		_ = s.file.Close()
		s.file = nil
	}
}

// machineBoot names the present start of the machine, "" if it has no name.
func machineBoot() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
