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

func TestFailedWriteLeavesTheOldFileAndNoOther(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "x")
	if err := os.MkdirAll(filepath.Join(target, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(target, []byte("new"), 0o600); err == nil {
		t.Fatal("a directory was replaced")
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
	if err := writeFile(filepath.Join(dir, "absent", "x"), nil, 0o600); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestFailedInitIsNoAuthority(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, dirIssued), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Init(dir, "example.net", InitOptions{}); err == nil {
		t.Fatal("made without an index")
	}
	if _, err := Open(dir); !errors.Is(err, ErrFile) {
		t.Error(err)
	}
}
