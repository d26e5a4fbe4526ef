package local

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rs/zerolog"
)

// TestPeer is no test: it is the process that connects.
func TestPeer(t *testing.T) {
	path := os.Getenv("THOR_TEST_PEER")
	if path == "" {
		t.Skip("run by the tests below")
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if os.Getenv("THOR_TEST_PEER_SETUID") != "" {
		if err := syscall.Setuid(65534); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.WriteString(c, "ready\n"); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, os.Stdin) // until the test is over
}

// connect has a process of its own connect, and returns the context of its requests.
func connect(t *testing.T, env ...string) (context.Context, *exec.Cmd) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	ul, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l := usersOnly{Listener: ul, gid: -1, log: zerolog.New(zerolog.NewTestWriter(t))}
	t.Cleanup(func() { l.Close() })
	cmd := exec.Command(os.Args[0], "-test.run=^TestPeer$")
	cmd.Env = append(os.Environ(), append(env, "THOR_TEST_PEER="+path)...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("%q, %v", line, err)
	}
	return withPeer(t.Context(), c), cmd
}

func TestTheProcessThatConnectedIsSignalled(t *testing.T) {
	ctx, cmd := connect(t)
	if pid := PeerPID(ctx); pid != cmd.Process.Pid {
		t.Errorf("pid %d, not %d", pid, cmd.Process.Pid)
	}
	p, err := PeerProcess(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Signal("NONE"); err == nil {
		t.Error("a signal that there is not")
	}
	if err := p.Signal("TERM"); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
		t.Errorf("the process ended with %v", err)
	}
	// Now its number is free for another one, which gets nothing.
	if err := p.Signal("TERM"); !errors.Is(err, errNoProcess) {
		t.Errorf("after its end: %v", err)
	}
}

// A process that ended before it was looked for is not another one with its number.
func TestAProcessThatEndedIsNotSignalled(t *testing.T) {
	ctx, cmd := connect(t)
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
	p, err := PeerProcess(ctx)
	if err == nil {
		defer p.Close()
		err = p.Signal("TERM")
	}
	if !errors.Is(err, errNoProcess) {
		t.Errorf("%v", err)
	}
	// The same where its number is this process's: the kernel says of the socket who it was.
	c := peerOf(ctx)
	c.pid = os.Getpid()
	if p, err := PeerProcess(ctx); err == nil {
		defer p.Close()
		if err := p.Signal("TERM"); err == nil { // it would end this test
			t.Error("another process was signalled")
		}
	}
}

func TestAProcessOfAnotherUserIsNotSignalled(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	ctx, _ := connect(t, "THOR_TEST_PEER_SETUID=1")
	p, err := PeerProcess(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Signal("TERM"); err == nil || !strings.Contains(err.Error(), "uid 65534") {
		t.Errorf("%v", err)
	}
}

func TestWithoutAConnectionThereIsNoProcess(t *testing.T) {
	if p, err := PeerProcess(t.Context()); !errors.Is(err, errNoProcess) {
		t.Errorf("%v, %v", p, err)
	}
	var none *Process
	none.Close()
	if err := none.Signal("TERM"); !errors.Is(err, errNoProcess) {
		t.Errorf("%v", err)
	}
	if PeerPID(t.Context()) != 0 {
		t.Error("a number of nobody")
	}
}
