//go:build e2e

package e2e_test

import (
	"fmt"
	"os"
	"time"

	"thor/cmd/thor/e2e/trace"
)

// stallTime is how long a thread, or the lab, may wait for a processor within a second
// before the machine counts as standing still.
const stallTime = 700 * time.Millisecond

// stalls notes when the machine gives the network no time: other programs run on it,
// and what looks like the fault of thor is theirs.
func (w *watchers) stalls() {
	waited := make(map[string]time.Duration) // by thread
	last := w.f.log.Now()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-w.ctx.Done():
			return
		}
		now := w.f.log.Now()
		if late := now - last - trace.Moment(time.Second); late > trace.Moment(stallTime) {
			w.f.log.Add(trace.Line{At: last, Stall: &trace.Stall{Until: now}})
		}
		for _, name := range w.f.order {
			if longestWait(w.f.pid(name), waited) > stallTime {
				w.f.log.Add(trace.Line{At: last, Stall: &trace.Stall{Until: now, Process: name}})
			}
		}
		last = now
	}
}

// pid is that of a process, the last one if it does not run.
func (f *faultNet) pid(name string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.daemons[name].p.cmd.Process.Pid
}

// longestWait is the longest time that a thread of a process waited for a processor
// since the last call.
func longestWait(pid int, waited map[string]time.Duration) (longest time.Duration) {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return 0 // it has ended
	}
	for _, task := range tasks {
		file := fmt.Sprintf("/proc/%d/task/%s/schedstat", pid, task.Name())
		b, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		var ran, wait int64
		if _, err := fmt.Sscan(string(b), &ran, &wait); err != nil {
			continue
		}
		if before, known := waited[file]; known {
			longest = max(longest, time.Duration(wait)-before)
		}
		waited[file] = time.Duration(wait)
	}
	return longest
}
