package up

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// lingers is a child that, told to leave, does so once the file "go" is there.
const lingers = `trap 'while [ ! -e go ]; do sleep 0.02; done; exit 0' TERM
touch ready
while :; do sleep 0.02; done`

// supervise makes a supervisor of children that run shell scripts, by name.
func supervise(t *testing.T, scripts map[string]string) *supervisor {
	t.Helper()
	s := &supervisor{dir: t.TempDir(), say: t.Logf, net: &Network{}}
	for name, script := range scripts {
		if err := os.Mkdir(filepath.Join(s.dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		s.children = append(s.children, &child{
			Process: Process{Name: name, State: stopped}, argv: []string{"/bin/sh", "-c", script}, stop: syscall.SIGTERM,
		})
	}
	t.Cleanup(func() {
		for _, c := range s.children {
			touch(t, s, c.Name, "go")
		}
		s.haltAll()
	})
	return s
}

func touch(t *testing.T, s *supervisor, name, file string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name, file), nil, 0o600); err != nil {
		t.Error(err)
	}
}

func (s *supervisor) state(name string) (pid int, state string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.find(name)
	return c.PID, c.State
}

func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !cond(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// begin starts the child "a" and waits until it can be told to leave.
func begin(t *testing.T, s *supervisor) (pid int) {
	t.Helper()
	if _, err := s.start("a"); err != nil {
		t.Fatal(err)
	}
	until(t, "the child is ready", func() bool {
		_, err := os.Stat(filepath.Join(s.dir, "a", "ready"))
		return err == nil
	})
	pid, _ = s.state("a")
	return pid
}

func (s *supervisor) succeeded(old int) func() bool {
	return func() bool {
		pid, state := s.state("a")
		return state == running && pid != old
	}
}

func TestStartRightAfterAKillStarts(t *testing.T) {
	s := supervise(t, map[string]string{"a": lingers})
	for range 10 {
		pid := begin(t, s)
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if _, err := s.start("a"); err != nil {
			t.Fatal(err)
		}
		until(t, "its successor runs", s.succeeded(pid))
	}
}

func TestStartDuringALeaveStartsAfterIt(t *testing.T) {
	s := supervise(t, map[string]string{"a": lingers})
	pid := begin(t, s)
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if _, err := s.start("a"); err != nil {
		t.Fatal(err)
	}
	touch(t, s, "a", "go")
	until(t, "its successor runs", s.succeeded(pid))
}

func TestStartDuringAStopStartsAfterIt(t *testing.T) {
	s := supervise(t, map[string]string{"a": lingers})
	pid := begin(t, s)
	stop, start := make(chan error, 1), make(chan error, 1)
	go func() { _, err := s.halt("a"); stop <- err }()
	until(t, "it is being stopped", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return !s.find("a").want
	})
	go func() { _, err := s.start("a"); start <- err }()
	touch(t, s, "a", "go")
	for _, c := range []chan error{stop, start} {
		if err := <-c; err != nil {
			t.Error(err)
		}
	}
	until(t, "its successor runs", s.succeeded(pid))
}

func TestALeaveWithoutAStartStays(t *testing.T) {
	s := supervise(t, map[string]string{"a": lingers})
	pid := begin(t, s)
	touch(t, s, "a", "go")
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	until(t, "it has left", func() bool {
		_, state := s.state("a")
		return state == left
	})
}

func TestUnknownNamesAreToldWithWhatExists(t *testing.T) {
	s := supervise(t, map[string]string{"a": lingers, "b": lingers})
	for _, verb := range []string{"start", "stop"} {
		names, err := json.Marshal([]string{"a", "c", "d"})
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("POST", "/"+verb, strings.NewReader(string(names)))
		r.SetPathValue("verb", verb)
		w := httptest.NewRecorder()
		s.control(w, r)
		for _, want := range []string{`"c"`, `"d"`, "a, b"} {
			if !strings.Contains(strings.ReplaceAll(w.Body.String(), "b, a", "a, b"), want) {
				t.Errorf("%s: %d %s", verb, w.Code, w.Body)
			}
		}
		if _, state := s.state("a"); state != stopped {
			t.Errorf("%s with an unknown name was obeyed in part", verb)
		}
	}
}

// A thor up that was killed leaves the workers of its children behind.
func TestLeftoversOfADeadNetworkAreEnded(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	orphan := func(cwd string) (group, worker int) {
		cmd := exec.Command("/bin/sh", "-c", "sleep 300 >/dev/null 2>&1 & echo $!")
		cmd.Dir, cmd.SysProcAttr = cwd, &syscall.SysProcAttr{Setpgid: true}
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if worker, err = strconv.Atoi(strings.TrimSpace(string(out))); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = syscall.Kill(worker, syscall.SIGKILL) })
		return cmd.Process.Pid, worker
	}
	ga, a := orphan(filepath.Join(dir, "a"))
	gb, b := orphan(t.TempDir()) // its number is another's now
	n := Network{Processes: []Process{{Name: "a", PID: ga}, {Name: "b", PID: gb}, {Name: "c"}}}
	if err := n.write(filepath.Join(dir, NetworkFile)); err != nil {
		t.Fatal(err)
	}
	endLeftovers(dir, t.Logf)
	if left := leftovers(map[int]string{ga: filepath.Join(dir, "a")}); len(left) > 0 {
		t.Errorf("still there: %v, of them %d", left, a)
	}
	if group(b) != gb {
		t.Error("a process that works elsewhere was ended")
	}
}

func TestTheSharedDirectoryMustBeOurs(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("THOR_DIR", "")
	dir := DefaultDir()
	refused := func(what string) {
		t.Helper()
		_, err := ReadNetwork(filepath.Join(dir, NetworkFile))
		_, controlled := Control(t.Context(), dir, "stop", nil)
		for _, err := range []error{trust(dir), err, controlled} {
			if err == nil || !strings.Contains(err.Error(), "this user alone") {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	if err := trust(dir); err != nil {
		t.Errorf("none yet: %v", err)
	}
	if err := os.Symlink(t.TempDir(), dir); err != nil {
		t.Fatal(err)
	}
	refused("a link")
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := trust(dir); err != nil {
		t.Errorf("our own: %v", err)
	}
	if err := os.Chmod(dir, 0o770); err != nil {
		t.Fatal(err)
	}
	refused("open to the group")
}
