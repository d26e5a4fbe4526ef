package up

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// A child is one process to keep alive.
type child struct {
	Process
	argv []string
	stop syscall.Signal // that ends it gracefully
	tier tier           // in which it starts

	prepare func(context.Context) error // what it needs before its first start and takes a while; nil: nothing

	listen []socketAddr // sockets that it inherits, open for as long as it is to run
	store  *fdStore     // what it has kept over a restart; nil: it keeps nothing

	want  bool      // it is to run
	asked time.Time // when it was to be started while it still ran
	cmd   *exec.Cmd
	done  chan struct{} // closed when cmd has ended

	began   time.Time // when cmd was started
	logged  int64     // how long its log was then
	crashes int       // in a row, each soon after the start
}

// A tier is the order in which children start; they end in the reverse order.
type tier int

const (
	brokerTier  tier = iota // before all others
	controlTier             // managers, name servers, the database
	nodeTier
	serviceTier // what node agents check
)

// supervisor keeps children alive. All fields below mu are guarded by it.
type supervisor struct {
	dir          string
	restartAfter time.Duration // 0: never
	say          func(format string, args ...any)

	mu       sync.Mutex
	children []*child
	net      *Network
	ending   bool
	wg       sync.WaitGroup
}

const (
	running = "running"
	stopped = "stopped"
	waiting = "waiting"
	left    = "left"
)

func (s *supervisor) find(name string) *child {
	i := slices.IndexFunc(s.children, func(c *child) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return s.children[i]
}

// save rewrites network.json; s.mu is held.
func (s *supervisor) save() {
	s.net.Processes = s.net.Processes[:0]
	for _, c := range s.children {
		s.net.Processes = append(s.net.Processes, c.Process)
	}
	if err := s.net.write(filepath.Join(s.dir, NetworkFile)); err != nil {
		s.say("cannot write %s: %v", NetworkFile, err)
	}
}

// A child that was killed, or told to leave, still runs for a moment. A start in
// that moment is for its successor.
const (
	dying   = 250 * time.Millisecond // to notice that a killed one is dead
	leaving = 5 * time.Second        // a broker takes longest to leave
)

// start starts a child that does not run. One that is being stopped is started
// when it has ended. One that runs, and ends within leaving, is started again
// at once, however it ended: it was on its way out already.
func (s *supervisor) start(name string) (done string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.find(name)
	if c == nil {
		return "", s.unknown(name)
	}
	before := c.PID
	if c.cmd != nil {
		if stopping := !c.want; stopping {
			s.await(c.done, nil)
		} else {
			c.asked = time.Now()
			s.await(c.done, time.After(dying))
		}
	}
	switch {
	case s.ending:
		return "", errors.New("the network is ending")
	case c.cmd != nil && c.PID == before:
		return fmt.Sprintf("%s runs already, process %d", name, c.PID), nil
	case c.cmd == nil: // otherwise reap or another start was faster
		c.want, c.crashes = true, 0
		if err := s.spawn(c); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%s started, process %d", name, c.PID), nil
}

// await gives up s.mu until the end of a process, or until the time is over.
func (s *supervisor) await(done <-chan struct{}, over <-chan time.Time) {
	s.mu.Unlock()
	defer s.mu.Lock()
	select {
	case <-done:
	case <-over:
	}
}

// unknown is the error that says which names there are; s.mu is held.
func (s *supervisor) unknown(name string) error {
	var names []string
	for _, c := range s.children {
		names = append(names, c.Name)
	}
	return fmt.Errorf("no process is called %q; there are %s", name, strings.Join(names, ", "))
}

// check returns an error that tells of every unknown name.
func (s *supervisor) check(names []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, n := range names {
		if s.find(n) == nil {
			errs = append(errs, s.unknown(n))
		}
	}
	return errors.Join(errs...)
}

// spawn starts c; s.mu is held.
func (s *supervisor) spawn(c *child) error {
	log, err := os.OpenFile(s.logFile(c), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	if fi, err := log.Stat(); err == nil {
		c.logged = fi.Size()
	}
	cmd := exec.Command(c.argv[0], c.argv[1:]...)
	cmd.Dir = filepath.Join(s.dir, c.Name)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), SupervisedEnv+"=1")
	// The child gets no terminal signals (Ctrl-C is ours to pass on), and none outlives us.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if c.store != nil {
		if err := c.store.hand(cmd, c.listen); err != nil {
			return fmt.Errorf("start %s: %w", c.Name, err)
		}
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", c.Name, err)
	}
	c.cmd, c.done = cmd, make(chan struct{})
	c.PID = cmd.Process.Pid
	c.State = running
	c.asked = time.Time{}
	c.began = time.Now()
	s.save()
	s.wg.Add(1)
	go s.reap(c, cmd, c.done)
	return nil
}

// reap waits for the end of one process and decides what follows.
func (s *supervisor) reap(c *child, cmd *exec.Cmd, done chan struct{}) {
	defer s.wg.Done()
	err := cmd.Wait()
	// A server that was killed leaves its workers behind, and they would go on
	// answering: they share its process group. None left is no error.
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	s.mu.Lock()
	defer s.mu.Unlock()
	close(done)
	c.cmd, c.PID = nil, 0
	if c.store != nil && (!c.want || s.ending || err == nil) {
		c.store.drop() // stopped, as systemd would have it: only a restart keeps
	}
	switch {
	case !c.want || s.ending:
		c.State = stopped
	case time.Since(c.asked) < leaving, restarts(err):
		c.State = stopped
		if err := s.spawn(c); err != nil {
			s.say("%v", err)
		}
	case err == nil:
		c.State, c.want = left, false
		s.say("%s left", c.Name)
	case s.restartAfter == 0:
		c.State = stopped
		s.say("%s ended: %s (thor up start %s)", c.Name, s.why(c, err), c.Name)
	default:
		c.State = waiting
		if time.Since(c.began) >= steady {
			c.crashes = 0
		}
		after := pause(s.restartAfter, c.crashes)
		c.crashes++
		s.say("%s ended: %s; starting it again in %s (log: %s)", c.Name, s.why(c, err), after, s.logFile(c))
		time.AfterFunc(after, func() { s.restart(c) })
	}
	s.save()
}

// halt ends a child gracefully, and by force after 10 s.
func (s *supervisor) halt(name string) (done string, err error) {
	s.mu.Lock()
	c := s.find(name)
	if c == nil {
		defer s.mu.Unlock()
		return "", s.unknown(name)
	}
	was := c.want
	c.want = false
	cmd, ended := c.cmd, c.done
	if cmd == nil {
		c.State = stopped
		s.save()
	}
	s.mu.Unlock()
	switch {
	case cmd == nil && was:
		return name + " stopped: it is not started again", nil
	case cmd == nil:
		return name + " did not run", nil
	case !end(cmd, c.stop, ended):
		return name + " killed: it did not end within 10 s", nil
	}
	return name + " stopped", nil
}

// end ends a process, and reports whether it did so by itself.
func end(cmd *exec.Cmd, sig syscall.Signal, done <-chan struct{}) (graceful bool) {
	_ = cmd.Process.Signal(sig)
	_ = cmd.Process.Signal(syscall.SIGCONT) // a frozen one would not hear it
	t := time.NewTimer(10 * time.Second)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
		_ = cmd.Process.Kill()
		<-done
		return false
	}
}

// haltAll ends everything, the last tier first.
func (s *supervisor) haltAll() {
	s.mu.Lock()
	s.ending = true
	tiers := make([][]string, serviceTier+1)
	for _, c := range s.children {
		tiers[c.tier] = append(tiers[c.tier], c.Name)
	}
	s.mu.Unlock()
	for _, names := range slices.Backward(tiers) {
		var wg sync.WaitGroup
		for _, name := range names {
			wg.Go(func() { _, _ = s.halt(name) }) // each name is that of a child
		}
		wg.Wait()
	}
	s.wg.Wait()
}

// startAll starts every child, the brokers a moment before the others: three
// that come up together elect a leader at once, but one that misses the first
// vote waits four to nine seconds for the next. The others need no order:
// one that is early tries again.
func (s *supervisor) startAll(ctx context.Context) error {
	var first []string
	for _, c := range s.children {
		if c.tier != brokerTier {
			continue
		}
		if _, err := s.start(c.Name); err != nil {
			return err
		}
		first = append(first, s.net.HTTP[c.Name]+"/readyz")
	}
	awaitReady(ctx, first, 3*time.Second)
	var g errgroup.Group
	for _, c := range s.children {
		if c.tier == brokerTier {
			continue
		}
		g.Go(func() error {
			if c.prepare != nil {
				if err := c.prepare(ctx); err != nil {
					return err
				}
			}
			_, err := s.start(c.Name)
			return err
		})
	}
	return g.Wait()
}
