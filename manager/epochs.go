package manager

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"thor/identity/atomicfile"
	"thor/subjects"
)

// An epochFile remembers on disk the greatest epoch and ceiling this manager
// has claimed, so that neither is used again when every broker has lost its
// memory.
type epochFile struct {
	path string // "" keeps nothing

	mu   sync.Mutex
	have epochRecord
}

type epochRecord struct {
	Epoch   uint64 `json:"epoch"`
	Ceiling uint64 `json:"ceiling"`
}

func openEpochs(dir string) (*epochFile, error) {
	f := &epochFile{}
	if dir == "" {
		return f, nil
	}
	f.path = filepath.Join(dir, "epoch.json")
	b, err := os.ReadFile(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return f, nil
	case err != nil:
		return nil, fmt.Errorf("manager: %w", err)
	}
	if err := json.Unmarshal(b, &f.have); err != nil || f.have.Epoch > subjects.MaxNumber || f.have.Ceiling > subjects.MaxNumber {
		return nil, fmt.Errorf("manager: %s is damaged: remove it if other managers run, they know the epoch", f.path)
	}
	return f, nil
}

func (f *epochFile) mark() subjects.Mark {
	f.mu.Lock()
	defer f.mu.Unlock()
	return subjects.Mark{Epoch: f.have.Epoch, Generation: f.have.Ceiling}
}

// keep stores a claim before it is made.
func (f *epochFile) keep(epoch, ceiling uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := epochRecord{epoch, ceiling}
	if f.path == "" || r == f.have {
		f.have = r
		return nil
	}
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := writeState(f.path, append(b, '\n')); err != nil {
		return err
	}
	f.have = r
	return nil
}

// writeState replaces a file of the state directory, which is made if need be.
func writeState(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return atomicfile.Write(path, data, 0o600)
}
