package manager

import (
	"path/filepath"
	"testing"

	"thor/subjects"
)

// The greatest epoch and ceiling that a manager claimed are known after its restart.
func TestClaimedNumbersOutliveTheManager(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state") // made when there is something to keep
	open := func(want subjects.Mark) *epochFile {
		t.Helper()
		f, err := openEpochs(dir)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.mark(); got != want {
			t.Fatalf("known is %v, want %v", got, want)
		}
		return f
	}
	f := open(subjects.Mark{})
	for _, claim := range []subjects.Mark{{Epoch: 3, Generation: 1000}, {Epoch: 3, Generation: 2000}, {Epoch: 4, Generation: 2000}} {
		if err := f.keep(claim.Epoch, claim.Generation); err != nil {
			t.Fatal(err)
		}
		f = open(claim)
	}
}

// Without a directory they last as long as the process.
func TestClaimedNumbersAreKnownWithoutADirectory(t *testing.T) {
	f, err := openEpochs("")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.keep(3, 1000); err != nil || f.mark() != (subjects.Mark{Epoch: 3, Generation: 1000}) {
		t.Errorf("known is %v, %v", f.mark(), err)
	}
}
