//go:build e2e

package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// profile records where the processes of each kind spend the time d, if
// THOR_SCALE_PERF names a directory for it: a file for perf report each. The
// result waits for the end. It takes a binary with symbols (THOR_BINARY).
func (n *scaleNet) profile(phase string, d time.Duration) (wait func()) {
	dir := os.Getenv("THOR_SCALE_PERF")
	if dir == "" {
		return func() {}
	}
	pids := map[string][]string{"harness": {fmt.Sprint(os.Getpid())}}
	for _, x := range n.daemons {
		pids[x.command] = append(pids[x.command], fmt.Sprint(x.cmd.Process.Pid))
	}
	var running sync.WaitGroup
	for kind, of := range pids {
		running.Go(func() {
			out, err := exec.Command("perf", "record", "-q", "-F", "199", "-g", "-p", strings.Join(of, ","),
				"-o", filepath.Join(dir, phase+"-"+kind+".perf"), "--", "sleep", fmt.Sprint(d.Seconds())).CombinedOutput()
			if err != nil {
				fmt.Printf("perf record: %v %s\n", err, out)
			}
		})
	}
	return running.Wait
}
