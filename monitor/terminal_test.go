package monitor_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"
)

// A terminal is a child process on a pseudo-terminal, and what its screen shows.
type terminal struct {
	t     *testing.T
	pty   *os.File
	emu   *vt.SafeEmulator
	cmd   *exec.Cmd
	ended chan error

	mu  sync.Mutex
	raw bytes.Buffer // all that the child wrote
}

// run starts the monitor in mode on a terminal of that size.
func run(t *testing.T, mode string, w, h int, env ...string) *terminal {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append([]string{childMode + "=" + mode, "TERM=xterm-256color", "LANG=C.UTF-8", "PATH=" + os.Getenv("PATH")}, env...)
	f, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: uint16(w), Rows: uint16(h)})
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{t: t, pty: f, emu: vt.NewSafeEmulator(w, h), cmd: cmd, ended: make(chan error, 1)}
	var reading, answering sync.WaitGroup
	reading.Go(term.read)
	answering.Go(func() { _, _ = io.Copy(f, term.emu) }) // what the terminal is asked about itself
	go func() {
		reading.Wait()
		term.ended <- cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		reading.Wait()
		if answers, ok := term.emu.InputPipe().(io.Closer); ok { // Emulator.Close would race with Read
			_ = answers.Close()
		}
		answering.Wait()
		_ = f.Close()
	})
	return term
}

func (x *terminal) read() {
	b := make([]byte, 32<<10)
	for {
		n, err := x.pty.Read(b)
		x.mu.Lock()
		x.raw.Write(b[:n])
		x.mu.Unlock()
		_, _ = x.emu.Write(b[:n])
		if err != nil { // EIO: the child has closed its end
			return
		}
	}
}

// screen is the text on the screen. Emulator.String would race with read.
func (x *terminal) screen() string { return ansi.Strip(x.emu.Render()) }

func (x *terminal) written() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.raw.String()
}

// see waits until the screen shows what ok wants.
func (x *terminal) see(what string, ok func(screen string) bool) {
	x.t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for !ok(x.screen()) {
		select {
		case <-deadline.C:
			x.t.Fatalf("no %s on the screen:\n%s", what, x.screen())
		case <-poll.C:
		}
	}
}

func (x *terminal) sees(text string) {
	x.t.Helper()
	x.see(text, func(s string) bool { return strings.Contains(s, text) })
}

func (x *terminal) seesNot(text string) {
	x.t.Helper()
	x.see("screen without "+text, func(s string) bool { return !strings.Contains(s, text) })
}

func (x *terminal) keys(s string) {
	x.t.Helper()
	if _, err := x.pty.WriteString(s); err != nil {
		x.t.Fatal(err)
	}
}

func (x *terminal) resize(w, h int) {
	x.t.Helper()
	x.emu.Resize(w, h)
	if err := pty.Setsize(x.pty, &pty.Winsize{Cols: uint16(w), Rows: uint16(h)}); err != nil {
		x.t.Fatal(err)
	}
}

// ends waits for the child and checks that it ended well and tidied up.
func (x *terminal) ends() {
	x.t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	select {
	case err := <-x.ended:
		if err != nil {
			x.t.Errorf("the monitor ended with %v\n%s", err, x.screen())
		}
	case <-deadline.C:
		x.t.Fatalf("the monitor does not end:\n%s", x.screen())
	}
	if x.emu.IsAltScreen() || x.emu.CursorHidden() {
		x.t.Error("the terminal was not put back as it was")
	}
}

func TestKeysAndResizeWorkOnARealTerminal(t *testing.T) {
	x := run(t, "live", 110, 24)
	x.sees("◐ suspect   81.23.228.150  proxy2")
	x.sees("latest events")
	x.keys("/proxy2\r")
	x.sees("filter: proxy2")
	x.seesNot("relay1")
	x.keys("\x1b")
	x.sees("relay1")
	x.keys("2")
	x.sees("[2 events]")
	x.keys(" ")
	x.sees("paused")
	x.keys("\t")
	x.sees("MOST-SEEN")
	x.keys("?")
	x.sees("this help")
	x.keys("?1")
	x.sees("[1 members]")
	x.resize(80, 16)
	x.sees("1-10 of 19")
	x.keys("G")
	x.sees("10-19 of 19")
	x.keys("\x1b[A")
	x.sees("> ● up        81.23.228.150  m1")
	x.resize(59, 9)
	x.see("summary", func(s string) bool {
		return strings.HasPrefix(s, "◐ degraded  sipthor.net  media_relay 2/2") && strings.Count(strings.TrimSpace(s), "\n") == 2 &&
			strings.Contains(s, "voicemail_server 1/1")
	})
	x.resize(1, 1)
	x.resize(110, 24)
	x.sees("latest events")
	x.keys("q")
	x.ends()
	if strings.Contains(x.written(), "s3cr3t") {
		t.Error("a password was written to the terminal")
	}
}

// What a page wants is asked for while it is shown, an action is carried out once it is
// confirmed, and the clipboard gets a command by OSC 52.
func TestAnOperatorsMonitorAsksAndActs(t *testing.T) {
	x := run(t, "desk", 110, 34)
	x.sees("before the start")
	x.keys("/proxy1\r\r")
	x.sees("[proxy1 as sip_proxy]")
	x.sees("sip of proxy1")
	x.sees("of the subscribers")
	x.keys("d")
	x.sees("drain proxy1 as sip_proxy?  y yes")
	x.keys("c")
	x.see("the clipboard's sequence", func(string) bool {
		return strings.Contains(x.written(), "\x1b]52;c;"+base64.StdEncoding.EncodeToString([]byte("thor drain proxy1 --role sip_proxy --dir '/tmp/x y'")))
	})
	x.keys("y")
	x.sees("done: drain proxy1 sip_proxy")
	x.keys("\x1b")
	x.seesNot("[proxy1 as")
	x.keys("\x1b")
	x.seesNot("filter:")
	x.keys("4")
	x.sees("2 members, 4096 slots")
	x.keys("5")
	x.sees("1287")
	x.see("rate of answers", func(s string) bool { return regexp.MustCompile(`dns1 .* (9\d\d|10\d\d) +\d+000 `).MatchString(s) })
	x.keys("q")
	x.ends()
}

func TestControlCAndATerminationSignalEndItCleanly(t *testing.T) {
	x := run(t, "live", 80, 24)
	x.sees("proxy2")
	x.keys("\x03")
	x.ends()

	x = run(t, "live", 80, 24)
	x.sees("proxy2")
	if err := x.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	x.ends()
}

// colour matches a sequence that sets a colour: 30 to 49 or 90 to 107.
var colour = regexp.MustCompile(`\x1b\[(\d+;)*(3[0-8]|4[0-8]|9[0-7]|10[0-7])(;\d+)*m`)

func TestNoColorAndTheColourChoiceAreObeyed(t *testing.T) {
	for _, c := range []struct {
		env  []string
		want bool
	}{
		{nil, true},
		{[]string{"NO_COLOR=1"}, false},
		{[]string{"NO_COLOR=yes please"}, false},
		{[]string{"NO_COLOR="}, true},
		{[]string{"THOR_MONITOR_COLOR=never"}, false},
		{[]string{"THOR_MONITOR_COLOR=always", "NO_COLOR=1", "TERM=vt100"}, true},
	} {
		x := run(t, "live", 80, 24, c.env...)
		x.sees("● up")
		x.keys("q")
		x.ends()
		if got := colour.FindString(x.written()); (got != "") != c.want {
			t.Errorf("%q: colour %q", c.env, got)
		}
	}
}

func TestWithoutUTF8TheScreenIsASCII(t *testing.T) {
	x := run(t, "live", 80, 24, "LANG=C", "LC_ALL=")
	x.sees("! suspect")
	x.keys("q")
	x.ends()
	if strings.ContainsFunc(x.written(), func(r rune) bool { return r > 0x7f }) {
		t.Error("something beyond ASCII was written")
	}
}

func TestALostLinkShowsTheLastPictureFaded(t *testing.T) {
	x := run(t, "lost", 80, 24)
	x.sees("✗ no link")
	x.sees("proxy2")
	x.keys("q")
	x.ends()
}

func TestOnADumbTerminalOrWithOnceTheListingIsPlain(t *testing.T) {
	for _, c := range []struct{ mode, env string }{{"live", "TERM=dumb"}, {"live", "TERM="}, {"once", "TERM=xterm-256color"}} {
		x := run(t, c.mode, 80, 60, c.env)
		x.sees("voicemail_server members:")
		x.ends()
		if strings.ContainsRune(x.written(), '\x1b') {
			t.Errorf("%v: escape sequences in %q", c, x.written())
		}
	}
}

func TestOutputIntoAPipeIsPlain(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{childMode + "=live", "TERM=xterm-256color", "LANG=C.UTF-8"}
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		t.Fatalf("%v: %s", err, exit.Stderr)
	}
	if !bytes.HasPrefix(out, []byte("SIP Thor network for sipthor.net at ")) || bytes.ContainsRune(out, '\x1b') {
		t.Errorf("got %q", out)
	}
}
