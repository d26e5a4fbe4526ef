package broker

import (
	"os"
	"path/filepath"
	"testing"

	"thor/subjects"
)

func TestABrokerRemembersTheEpochOverItsRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seen.json")
	w := witness{path: path}
	if err := w.load(); err != nil || w.newest.Load() != nil {
		t.Fatalf("%v, %v", w.newest.Load(), err)
	}
	for _, k := range []subjects.Mark{{Epoch: 4, Generation: 7}, {Epoch: 4, Generation: 9}, {Epoch: 3, Generation: 50}, {Epoch: 6, Generation: 8}, {Epoch: 6, Generation: 20}} {
		if err := w.note(k); err != nil {
			t.Fatal(err)
		}
	}
	if k := *w.newest.Load(); k != (subjects.Mark{Epoch: 6, Generation: 20}) {
		t.Errorf("newest is %v", k)
	}
	again := witness{path: path}
	if err := again.load(); err != nil || again.newest.Load().Epoch != 6 {
		t.Errorf("after a restart: %v, %v", again.newest.Load(), err)
	}
	for _, bad := range []string{"", "{}", "[1]", `[9007199254740993,1]`, "\x00"} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if w := (witness{path: path}); w.load() == nil || w.newest.Load() != nil {
			t.Errorf("%q was accepted: %v", bad, w.newest.Load())
		}
	}
	if err := os.WriteFile(path, []byte("[2,1]"), 0o600); err != nil {
		t.Fatal(err)
	}
	behind := witness{path: path}
	if err := behind.load(); err != nil {
		t.Fatal(err)
	}
	if err := behind.note(subjects.Mark{Epoch: 1, Generation: 99}); err != nil || behind.newest.Load().Epoch != 2 {
		t.Errorf("%v, %v", behind.newest.Load(), err)
	}
}

// One forged tick does not outlive its certificate on the disks of the brokers.
func TestAFarEpochIsNotRemembered(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seen.json")
	w := witness{path: path}
	for _, k := range []subjects.Mark{{Epoch: 5, Generation: 10}, {Epoch: subjects.MaxNumber, Generation: 1}, {Epoch: 6, Generation: 11}} {
		if err := w.note(k); err != nil {
			t.Fatal(err)
		}
	}
	again := witness{path: path}
	if err := again.load(); err != nil || w.newest.Load().Epoch != 6 || again.newest.Load().Epoch != 6 {
		t.Errorf("newest %v, after a restart %v, %v", w.newest.Load(), again.newest.Load(), err)
	}
}
