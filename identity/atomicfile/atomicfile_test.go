package atomicfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"thor/identity/atomicfile"
)

func TestModeIsTheOneAskedFor(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	path := filepath.Join(t.TempDir(), "node.crt")
	for _, mode := range []fs.FileMode{0o644, 0o600, 0o640} {
		if err := atomicfile.Write(path, []byte(mode.String()), mode); err != nil {
			t.Fatal(err)
		}
		fi, err := os.Stat(path)
		if err != nil || fi.Mode() != mode {
			t.Errorf("%v %v, not %v", err, fi.Mode(), mode)
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != mode.String() {
			t.Errorf("%v %q", err, b)
		}
	}
}

func TestFailedWriteLeavesTheOldFileAndNoOther(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "x")
	if err := os.MkdirAll(filepath.Join(target, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Write(target, []byte("new"), 0o600); err == nil {
		t.Fatal("a directory was replaced")
	}
	if err := atomicfile.Create(target, []byte("new"), -1, 0o600); !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	only(t, dir, "x")
	for _, write := range []func(string) error{
		func(p string) error { return atomicfile.Write(p, nil, 0o600) },
		func(p string) error { return atomicfile.Create(p, nil, -1, 0o600) },
	} {
		if err := write(filepath.Join(dir, "absent", "x")); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	}
}

func TestLinkIsReplacedAndItsTargetStays(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(target, []byte("old"), 0o600), os.Symlink(target, link)); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Write(link, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(target); err != nil || string(b) != "old" {
		t.Errorf("%v %q", err, b)
	}
	if fi, err := os.Lstat(link); err != nil || !fi.Mode().IsRegular() {
		t.Errorf("%v %v", err, fi)
	}
}

func TestOfSeveralThatCreateOneDoes(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "local.secret")
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() { errs[i] = atomicfile.Create(path, []byte{byte('a' + i)}, os.Getgid(), 0o640) })
	}
	wg.Wait()
	b, err := os.ReadFile(path)
	if err != nil || len(b) != 1 {
		t.Fatalf("%v %q", err, b)
	}
	for i, err := range errs {
		if winner := b[0] == byte('a'+i); winner != (err == nil) || !winner && !errors.Is(err, fs.ErrExist) {
			t.Errorf("%c: %v, content %q", 'a'+i, err, b)
		}
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode() != 0o640 {
		t.Errorf("%v %v", err, fi.Mode())
	}
	only(t, dir, "local.secret")
}

// only fails unless dir has that one entry.
func only(t *testing.T, dir, name string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != name {
		t.Errorf("%v: %v, not %s alone", err, left, name)
	}
}

func TestReplaceKeepsTheGroupAndItsRight(t *testing.T) {
	path := filepath.Join(t.TempDir(), "k")
	for _, c := range []struct{ before, after os.FileMode }{{0, 0o600}, {0o600, 0o600}, {0o640, 0o640}, {0o666, 0o640}} {
		if c.before != 0 {
			if err := os.Chmod(path, c.before); err != nil {
				t.Fatal(err)
			}
			if os.Geteuid() == 0 {
				if err := os.Chown(path, -1, 4321); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := atomicfile.Replace(path, []byte("x")); err != nil {
			t.Fatal(err)
		}
		fi, err := os.Stat(path)
		if err != nil || fi.Mode().Perm() != c.after {
			t.Errorf("%o becomes %o, %v", c.before, fi.Mode().Perm(), err)
		}
		if gid := fi.Sys().(*syscall.Stat_t).Gid; os.Geteuid() == 0 && c.after == 0o640 && gid != 4321 {
			t.Errorf("%o: group %d", c.before, gid)
		}
	}
}
