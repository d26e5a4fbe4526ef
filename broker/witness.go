package broker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"

	"thor/identity/atomicfile"
	"thor/subjects"
)

// A witness remembers the newest mark that ticks and deltas told, so that no epoch is used
// again after the lease and the managers that knew it are gone. A new epoch is
// stored on disk: one that is known after a restart of all brokers makes the next
// one greater, whatever its generation was.
type witness struct {
	path   string
	mu     sync.Mutex                    // of note
	newest atomic.Pointer[subjects.Mark] // read by any goroutine; the others are note's and load's
	stored uint64                        // epoch on disk
}

// load reads what an earlier run stored.
func (w *witness) load() error {
	b, err := os.ReadFile(w.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var k subjects.Mark
	if err := json.Unmarshal(b, &k); err != nil || !k.Sane() || k.IsZero() {
		return fmt.Errorf("%s is damaged", w.path)
	}
	w.newest.Store(&k)
	w.stored = k.Epoch
	return nil
}

// note takes the mark of a tick or delta, unless it is so far above the newest that it cannot
// be of this network: what is stored outlives the certificate of who told it.
func (w *witness) note(k subjects.Mark) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if old := w.newest.Load(); old != nil && (!k.After(*old) || k.Follows(*old) != nil) {
		return nil
	}
	w.newest.Store(&k)
	if k.Epoch <= w.stored {
		return nil
	}
	w.stored = k.Epoch // one attempt for each epoch
	b, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return atomicfile.Write(w.path, append(b, '\n'), 0o600)
}
