package up

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"thor/overlay"
)

// endLeftovers ends what a thor up left running that was killed itself: its
// children died with it, but not their workers, which share their process
// groups and go on answering. The numbers in the description may be others'
// processes by now, so only what also works in the child's directory is ended.
func endLeftovers(dir string, say func(string, ...any)) (crashed bool) {
	n, err := ReadNetwork(filepath.Join(dir, NetworkFile))
	if err != nil {
		return false // there was an orderly end, or no network yet
	}
	homes := make(map[int]string) // by process group
	for _, p := range n.Processes {
		if p.PID > 1 {
			homes[p.PID] = filepath.Join(dir, p.Name)
		}
	}
	for try := range 100 {
		left := leftovers(homes)
		if len(left) == 0 {
			break
		}
		if try == 0 {
			say("ending %d processes that an earlier thor up left behind", len(left))
		}
		for _, pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL) // one that has ended meanwhile is no error
		}
		<-time.After(20 * time.Millisecond)
	}
	return true
}

// forgetStatus removes the status that children of a crashed network keep. Its
// members all died with it; managers that read it would wait for those that are
// not started again.
func forgetStatus(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() {
			err = errors.Join(err, overlay.ForgetStatus(filepath.Join(dir, e.Name(), "state")))
		}
	}
	return err
}

// leftovers are the processes of the groups that work in the group's directory.
func leftovers(homes map[int]string) (pids []int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		home, ok := homes[group(pid)]
		if !ok {
			continue
		}
		if cwd, err := os.Readlink(filepath.Join("/proc", e.Name(), "cwd")); err == nil && below(home, cwd) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// below reports whether path is dir or in it, also when dir is reached by a link.
func below(dir, path string) bool {
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	return path == dir || strings.HasPrefix(path, dir+"/")
}

// group is the process group of a process, 0 if there is none.
func group(pid int) int {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:])) // the name before may hold anything
	if len(fields) < 3 {
		return 0
	}
	g, _ := strconv.Atoi(fields[2]) // state, parent, group
	return g
}
