package nodeagent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"thor/overlay/check"
)

const (
	maxOutput = 2 << 10                // bytes of a command's output that are read
	pipeTime  = 200 * time.Millisecond // for what a command leaves behind to close its output
)

// A commandProbe runs a program, without a shell. Exit status 0 means alive.
// The program has no input, and of the environment only what programs commonly
// need: thor's own is none of its business.
type commandProbe struct {
	argv  []string
	weigh bool // its output tells a weight

	share int
	known bool
}

// Share implements check.Measurer.
func (p *commandProbe) Share() (percent int, ok bool) { return p.share, p.known }

// Name leaves out the arguments, which may hold a password.
func (p *commandProbe) Name() string { return "command " + p.argv[0] }
func (p *commandProbe) Close()       {}

func (p *commandProbe) Probe(ctx context.Context) error {
	var out head
	cmd := exec.CommandContext(ctx, p.argv[0], p.argv[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Dir = "/"
	for _, k := range []string{"PATH", "HOME", "LANG", "TZ"} {
		if v, ok := os.LookupEnv(k); ok {
			cmd.Env = append(cmd.Env, k+"="+v)
		}
	}
	// A process group of its own, so that the timeout ends its children too.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = pipeTime
	err := cmd.Run()
	if cmd.Process != nil {
		// What it left running goes too. Where nothing is left this fails: the
		// number of a group is not given out again so soon.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	if ctx.Err() != nil {
		return &check.Fault{Text: "timed out", Cause: ctx.Err()}
	}
	if p.weigh && (err == nil || errors.Is(err, exec.ErrWaitDelay)) {
		if share, ok := shareIn(out.b); ok {
			p.share, p.known = share, true
		}
	}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.Exited():
		return &check.Fault{Text: fmt.Sprintf("exit status %d", exit.ExitCode()), Cause: fmt.Errorf("%q", out.b)}
	case errors.As(err, &exit):
		return &check.Fault{Text: "ended by a signal", Cause: err}
	case errors.Is(err, exec.ErrWaitDelay):
		return nil // it ended well, only what it left behind did not
	}
	return err
}

// shareIn is the percentage in the first line weight=N of a command's output.
func shareIn(output []byte) (percent int, ok bool) {
	for line := range strings.Lines(string(output)) {
		if digits, is := strings.CutPrefix(strings.TrimSpace(line), "weight="); is {
			n, err := strconv.Atoi(digits)
			return n, err == nil && n >= 0 && n <= 100
		}
	}
	return 0, false
}

// head keeps the beginning of what is written to it.
type head struct{ b []byte }

func (h *head) Write(p []byte) (int, error) {
	h.b = append(h.b, p[:min(len(p), maxOutput-len(h.b))]...)
	return len(p), nil
}
