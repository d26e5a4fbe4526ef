//go:build e2e

package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"thor/cmd/thor/e2e/faults"
	"thor/cmd/thor/e2e/trace"
)

const (
	labFormer = "THOR_LAB_FORMER" // commit whose build TestLabUpgrade mixes with this one
	labOrder  = "THOR_LAB_ORDER"  // managers or members: those first, one program at a time and no faults; empty: host by host, with faults
)

// TestLabUpgrade turns a network of a former build into one of this build, program by
// program and with faults between, and judges the trace as TestLab does. The observers
// are of this build throughout.
func TestLabUpgrade(t *testing.T) {
	commit := os.Getenv(labFormer)
	if commit == "" {
		t.Skipf("set %s to a commit, or use just lab-upgrade", labFormer)
	}
	labAllowed(t)
	former := buildOf(t, commit)
	seed := rand.Uint64N(1_000_000)
	if s := os.Getenv(labSeed); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	order, want := faults.Order(os.Getenv(labOrder)), 3*4+4
	var schedule []faults.Round
	var err error
	if order == faults.ByHost {
		want += 2 * 4 // one host goes back, and then on again
		schedule, err = faults.Upgrade(seed, faultTopology)
	} else {
		schedule, err = faults.Rolling(order, faultTopology)
	}
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("from %s, order %q, seed %d, %d rounds\n", commit, order, seed, len(schedule))
	lines := runLab(t, faultTopology, schedule, false, former)
	report(t, lines)
	if order != faults.ByHost {
		reportRepairs(t, lines)
	}
	starts := 0
	for _, l := range lines {
		if l.Effect != nil && l.Effect.Act == trace.Build {
			starts++
		}
	}
	if starts != want {
		t.Errorf("%d programs changed their build, not %d", starts, want)
	}
}

// reportRepairs prints how often processes asked for the whole status, at the end of the run.
// One that was started asks since it knows none, and once more where a change came before the answer.
func reportRepairs(t *testing.T, lines []trace.Line) {
	t.Helper()
	repairs := make(map[string]int)
	for _, l := range lines {
		if l.Resources != nil {
			repairs[l.Resources.Process] = l.Resources.Repairs
		}
	}
	sum := 0
	for name, n := range repairs {
		sum += n
		if n > 2 {
			t.Errorf("%s asked for the whole status %d times since its start", name, n)
		}
	}
	fmt.Printf("%d programs asked for the whole status %d times since they were started\n", len(repairs), sum)
}

// buildOf builds thor as it was at a commit.
func buildOf(t *testing.T, commit string) string {
	t.Helper()
	root, err := exec.Command("git", "rev-parse", "--show-toplevel").Output()
	if err != nil {
		t.Skipf("no former build: this is no git repository: %v", err)
	}
	git := func(args ...string) *exec.Cmd {
		c := exec.Command("git", args...)
		c.Dir = strings.TrimSpace(string(root))
		return c
	}
	id, err := git("rev-parse", "--verify", "--quiet", commit+"^{commit}").Output()
	if err != nil {
		t.Skipf("no former build: the history does not reach to %s; fetch more of it, or name another commit in %s", commit, labFormer)
	}
	dir := t.TempDir()
	tar := filepath.Join(dir, "thor.tar")
	if out, err := git("archive", "--output", tar, strings.TrimSpace(string(id))).CombinedOutput(); err != nil {
		t.Fatalf("git archive: %v: %s", err, out)
	}
	src := filepath.Join(dir, "src")
	unpack(t, tar, src)
	program := filepath.Join(dir, "thor-former")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", program, "./cmd/thor")
	build.Dir, build.Env = src, slices.Concat(os.Environ(), []string{"CGO_ENABLED=0"})
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", commit, err, out)
	}
	return program
}
