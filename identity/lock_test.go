package identity

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestLockHasOneHolderAndAnEndOfPatience(t *testing.T) {
	dir := t.TempDir()
	unlock, err := lock(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock(dir, time.Millisecond); !errors.Is(err, ErrLocked) {
		t.Errorf("second holder: %v", err)
	}
	unlock()
	again, err := lock(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	again()
	if _, err := lock(filepath.Join(dir, "absent"), 0); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
