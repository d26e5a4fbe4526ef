//go:build e2e

package e2e_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"
	"github.com/miekg/dns"

	"thor/subjects"
)

// An operator sees a loss in each place until it is forgotten, and finds in the monitor
// what daemons say of themselves and what was before it started.
func TestAnOperatorSeesLossesAndActsOnThem(t *testing.T) {
	n := startNetwork(t, "127.100", "--nodes", "3", "--damping=false")
	n.watch(t)
	n.run(t, "drain", "node1", "--reason", "kernel")
	n.run(t, "resume", "node1")
	m := watchWith(t, 130, 36, "--dir", n.dir)
	m.sees(t, "[1 members]", "sip_proxy 3/3", "kernel") // the last is of the time before

	m.keys(t, "/node2\r\r")
	m.sees(t, "[node2 as sip_proxy]", "● passing", "passed", "of the subscribers")
	m.keys(t, "\x1b")
	m.sees(t, "filter: node2")
	m.keys(t, "\x1b")
	m.sees(t, "sip_proxy 3/3", "node3")
	m.keys(t, "5")
	m.sees(t, "[5 name servers]", "dns1", "dns2")
	m.shows(t, "serials and rates", regexp.MustCompile(`dns1 +\S+ +\d+ +0 +[0-9a-f]{8} +\d+\.\d `))
	m.keys(t, "6")
	m.shows(t, "a leader of JetStream, and who follows", regexp.MustCompile(`(?s)broker\d .* leader .*follows broker|follows broker.* leader `))

	n.kill9(t, "node2")
	m.keys(t, "1")
	m.shows(t, "the loss", regexp.MustCompile(`degraded: sip_proxy 2 of 3, node2 lost \d+ s ago \(connection lost\)`))
	m.sees(t, "lost 1, held 0")
	out, code := n.outcome(t, "status")
	if code != 3 || !regexp.MustCompile(`^thor\.test: degraded: sip_proxy 2 of 3, node2 lost \d+ s ago \(connection lost\)\n`).MatchString(out) {
		t.Errorf("exit code %d of thor status:\n%s", code, out)
	}
	if out := n.run(t, "members", "sip_proxy"); !regexp.MustCompile(`node2 +lost +\S+ +- +- +\d+s +connection lost`).MatchString(out) {
		t.Errorf("thor members:\n%s", out)
	}

	m.keys(t, "g") // lost ones come first
	m.sees(t, "> ✗ lost")
	m.keys(t, "f")
	m.sees(t, "forget node2 as sip_proxy?")
	m.keys(t, "c")
	want := base64.StdEncoding.EncodeToString([]byte("thor forget node2 --role sip_proxy --dir " + n.dir))
	eventually(t, 10*time.Second, "the command is in the clipboard", func() bool { return m.wrote("\x1b]52;c;" + want) })
	m.keys(t, "y")
	m.sees(t, "node2 forgotten: sip_proxy")
	eventually(t, 10*time.Second, "nothing is lost", func() bool { return n.status().FindLost("sip_proxy", "node2") == nil })
	if out, code := n.outcome(t, "status"); code != 0 || !strings.HasPrefix(out, "thor.test: healthy\n") {
		t.Errorf("exit code %d of thor status:\n%s", code, out)
	}
	if ms := n.status().Roles[subjects.Monitor]; len(ms) != 1 || ms[0].Node != "web1" {
		t.Errorf("watching left a trace beside the web view: %+v", ms)
	}
	n.myself(t, "127.100.60.1")
}

// myself prints the plain screen as a member: it is on it, has no name in the zone, and
// is not missed when it has gone.
func (n *network) myself(t *testing.T, ip string) {
	t.Helper()
	dir := t.TempDir()
	n.run(t, "ca", "issue", "--node", "desk", "--role", "thor_monitor", "--ip", ip, "--out", filepath.Join(dir, "node"))
	out := n.run(t, "monitor", "--once", "--myself", "--brokers", strings.Join(n.Brokers, ","),
		"--cert", filepath.Join(dir, "node.crt"), "--key", filepath.Join(dir, "node.key"), "--ca", n.Operator.CA)
	if _, monitors, _ := strings.Cut(out, "\n  thor_monitor members:\n"); !strings.Contains("\n"+monitors, fmt.Sprintf("\n    %-15s myself\n", ip)) {
		t.Errorf("the screen:\n%s", out)
	}
	for _, got := range n.answers("desk", dns.TypeA) {
		if got != "" {
			t.Errorf("the monitor has a name: %q", got)
		}
	}
	eventually(t, 10*time.Second, "it has left", func() bool { return n.status().Member(subjects.Monitor, "desk") == nil })
	if n.status().FindLost(subjects.Monitor, "desk") != nil {
		t.Error("the monitor is missed")
	}
}

// outcome is what a command prints, and its exit code.
func (n *network) outcome(t testing.TB, args ...string) (string, int) {
	t.Helper()
	cmd := exec.Command(thor, args...)
	cmd.Env = append(os.Environ(), "THOR_DIR="+n.dir)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// A watched is a monitor on a terminal, and what is on its screen.
type watched struct {
	cmd  *exec.Cmd
	pty  *os.File
	w, h int

	mu   sync.Mutex
	emu  *vt.SafeEmulator
	raw  bytes.Buffer  // all that it wrote
	came time.Time     // when the newest output was read
	more chan struct{} // has room for one: there is more
}

// watchWith runs thor monitor with args on a terminal of that size, until the test ends.
func watchWith(t testing.TB, w, h int, args ...string) *watched {
	t.Helper()
	m := &watched{w: w, h: h, emu: vt.NewSafeEmulator(w, h), more: make(chan struct{}, 1)}
	m.cmd = exec.Command(thor, append([]string{"monitor"}, args...)...)
	m.cmd.Env = append(os.Environ(), "TERM=xterm-256color", "LANG=C.UTF-8", "THOR_DIR=", "THOR_CONFIG=", "THOR_BROKERS=")
	var err error
	if m.pty, err = pty.StartWithSize(m.cmd, &pty.Winsize{Cols: uint16(w), Rows: uint16(h)}); err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(m.read)
	go m.answer()
	t.Cleanup(func() {
		_ = m.cmd.Process.Kill()
		_ = m.cmd.Wait()
		reading.Wait()
		_ = m.pty.Close()
	})
	return m
}

func (m *watched) read() {
	b := make([]byte, 64<<10)
	for {
		n, err := m.pty.Read(b)
		now := time.Now()
		if err != nil {
			return
		}
		m.mu.Lock()
		_, _ = m.emu.Write(bytes.Clone(b[:n]))
		m.came = now
		m.raw.Write(b[:n])
		m.mu.Unlock()
		select {
		case m.more <- struct{}{}:
		default:
		}
	}
}

// answer gives the monitor what its terminal says of itself.
func (m *watched) answer() {
	b := make([]byte, 4096)
	for {
		n, err := m.emu.Read(b)
		if err != nil {
			return
		}
		if _, err := m.pty.Write(b[:n]); err != nil {
			return
		}
	}
}

// screen is what is shown, and since when.
func (m *watched) screen() (string, time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return ansi.Strip(m.emu.Render()), m.came
}

func (m *watched) sees(t testing.TB, texts ...string) {
	t.Helper()
	eventually(t, 60*time.Second, fmt.Sprint(texts), func() bool {
		s, _ := m.screen()
		return !slices.ContainsFunc(texts, func(x string) bool { return !strings.Contains(s, x) })
	})
}

// key presses a key and tells how long it took until the screen was as shown wants it.
func (m *watched) key(t testing.TB, key string, shown func(screen string) bool) time.Duration {
	t.Helper()
	began := time.Now()
	if _, err := m.pty.WriteString(key); err != nil {
		t.Fatal(err)
	}
	end := time.NewTimer(10 * time.Second)
	defer end.Stop()
	for {
		if s, at := m.screen(); at.After(began) && shown(s) {
			return at.Sub(began)
		}
		select {
		case <-m.more:
		case <-end.C:
			s, _ := m.screen()
			t.Fatalf("key %q is not seen:\n%s", key, s)
		}
	}
}

// keys presses keys.
func (m *watched) keys(t testing.TB, s string) {
	t.Helper()
	if _, err := m.pty.WriteString(s); err != nil {
		t.Fatal(err)
	}
}

// shows waits for what re matches.
func (m *watched) shows(t testing.TB, what string, re *regexp.Regexp) {
	t.Helper()
	shown := ""
	defer func() {
		if t.Failed() {
			t.Logf("%s:\n%s", what, shown)
		}
	}()
	eventually(t, 20*time.Second, what, func() bool {
		shown, _ = m.screen()
		return re.MatchString(shown)
	})
}

// wrote reports whether text was written to the terminal.
func (m *watched) wrote(text string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Contains(m.raw.Bytes(), []byte(text))
}
