package live

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"

	"thor/identity/atomicfile"
	"thor/nodeagent/sets"
)

// fileMode lets Kamailio read: the file holds addresses, which are no secret.
const fileMode = 0o644

// open begins with what the file holds. One that is missing is made, since a Kamailio
// without it does not start.
func (t *table) open() {
	t.wanted = make(sets.Sets)
	b, err := os.ReadFile(t.File)
	switch {
	case err == nil:
		t.wanted, _ = t.Decode(b)
	case errors.Is(err, fs.ErrNotExist):
		err = t.write()
	}
	if err != nil {
		t.failed(err)
	}
}

// flush has the file hold what is wanted.
func (t *table) flush() error {
	if t.written {
		return nil
	}
	if len(t.kept) > 0 && !t.ours {
		if empty, err := t.adopt(); empty || err != nil {
			return err
		}
	}
	if err := t.write(); err != nil {
		return err
	}
	t.written, t.ours = true, t.wanted.Len() > 0
	return nil
}

// adopt looks at a file that this run has not filled, of which sets are kept. Lines that
// would be lost are an error. The others are taken over: they may have come after open.
// empty says that nothing is wanted and the file holds something, which stays.
func (t *table) adopt() (empty bool, err error) {
	b, err := os.ReadFile(t.File)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("its file would be lost, move it away: %w", err)
	}
	has, strange := t.Decode(b)
	if strange > 0 {
		return false, fmt.Errorf("%s has %d lines that thor did not write: move them away", t.File, strange)
	}
	before := t.wanted.Clone()
	maps.Copy(before, has)
	t.wanted, _ = t.Next(before, t.status)
	t.metrics.members.WithLabelValues(t.labels()...).Set(float64(t.wanted.Len()))
	return t.wanted.Len() == 0 && has.Len() > 0, nil
}

func (t *table) write() error {
	for _, p := range slices.Sorted(maps.Keys(t.Beside)) {
		if b, err := os.ReadFile(p); err == nil && string(b) == string(t.Beside[p]) {
			continue
		}
		if err := atomicfile.Write(p, t.Beside[p], fileMode); err != nil {
			return err
		}
	}
	return atomicfile.Write(t.File, t.Encode(t.wanted), fileMode)
}

// stamp gives the file a time of a later second than it had, where Kamailio reads it by
// that. Reloads of such a table are further apart than a second: the time is now again.
func (t *table) stamp() error {
	if !t.ByTime {
		return nil
	}
	fi, err := os.Stat(t.File)
	if err != nil {
		return err
	}
	if !t.busy.IsZero() && fi.ModTime().Unix() == t.stamped {
		return nil // Kamailio refused to reload: it has not read this one yet
	}
	at := time.Now()
	if at.Unix() <= t.stamped {
		at = time.Unix(t.stamped+1, 0)
	}
	if at.Unix() <= fi.ModTime().Unix() {
		at = time.Unix(fi.ModTime().Unix()+1, 0)
	}
	t.stamped = at.Unix()
	return os.Chtimes(t.File, time.Time{}, at)
}
