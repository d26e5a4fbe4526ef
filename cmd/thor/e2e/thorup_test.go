//go:build e2e

package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"thor/cmd/thor/internal/up"
	"thor/identity"
	"thor/overlay"
	"thor/subjects"
)

// network is a thor up under test.
type network struct {
	dir    string
	domain string
	under  []string // what runs thor up, with its arguments; empty: nothing
	said   string   // file of what thor up told
	up     *exec.Cmd
	*up.Network
	view  *overlay.Node
	ready time.Duration // that thor up took
}

// freePort is a port of TCP that no listener has, at any address.
func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func freeDNSPort(t testing.TB) string {
	t.Helper()
	for range 50 {
		p := freePort(t)
		if p < 65000 && free(p) && free(p+1) && free(p+2) && free(p+3) {
			return net.JoinHostPort("127.0.0.1", strconv.Itoa(p))
		}
	}
	t.Fatal("no four free ports in a row")
	return ""
}

func free(p int) bool {
	a := net.JoinHostPort("127.0.0.1", strconv.Itoa(p))
	u, err := net.ListenPacket("udp", a)
	if err != nil {
		return false
	}
	u.Close()
	l, err := net.Listen("tcp", a)
	if err != nil {
		return false
	}
	l.Close()
	return true
}

// startNetwork runs thor up and waits for its ready.
func startNetwork(t testing.TB, loopback string, args ...string) *network {
	t.Helper()
	n := &network{dir: t.TempDir(), domain: "thor.test"}
	n.launch(t, loopback, args...)
	return n
}

// launch runs thor up in the network's directory, and waits for its ready.
func (n *network) launch(t testing.TB, loopback string, args ...string) {
	t.Helper()
	args = append([]string{"up", "--dir", n.dir, "--loopback", loopback, "--dns", freeDNSPort(t), "--restart-after", "0"}, args...)
	argv := append(append(slices.Clone(n.under), thor), args...)
	n.up = exec.Command(argv[0], argv[1:]...)
	n.said = filepath.Join(n.dir, "said")
	progress, err := os.Create(n.said)
	if err != nil {
		t.Fatal(err)
	}
	defer progress.Close()
	n.up.Stderr = progress
	stdout, err := n.up.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.up.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.stop(t) })
	lines := make(chan string, 64)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(stdout); s.Scan(); {
			lines <- s.Text()
		}
	}()
	began := time.Now()
	deadline := time.After(90 * time.Second)
	for {
		select {
		case l, ok := <-lines:
			if !ok {
				t.Fatal("thor up ended")
			}
			if strings.HasPrefix(l, "ready") {
				n.ready = time.Since(began)
				t.Logf("%6d ms  thor up is ready", n.ready.Milliseconds())
				go func() {
					for range lines {
					}
				}()
				n.reload(t)
				n.watch(t)
				return
			}
		case <-deadline:
			t.Fatal("thor up was not ready after 90 s")
		}
	}
}

func (n *network) stop(t testing.TB) {
	if t.Failed() {
		n.tails(t)
	}
	_ = n.up.Process.Signal(syscall.SIGTERM)
	done := make(chan struct{})
	go func() { _ = n.up.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(40 * time.Second):
		_ = n.up.Process.Kill()
		<-done
		t.Error("thor up did not end after SIGTERM")
	}
}

// tails shows the last lines of every process's log.
func (n *network) tails(t testing.TB) {
	logs, _ := filepath.Glob(filepath.Join(n.dir, "*", "log"))
	for _, l := range append(logs, n.said) {
		b, _ := os.ReadFile(l)
		lines := strings.Split(strings.TrimSpace(string(b)), "\n")
		t.Logf("--- %s\n%s", l, strings.Join(lines[max(0, len(lines)-12):], "\n"))
	}
}

func (n *network) reload(t testing.TB) {
	t.Helper()
	d, err := up.ReadNetwork(filepath.Join(n.dir, up.NetworkFile))
	if err != nil {
		t.Fatal(err)
	}
	n.Network = d
}

// connect is a connection of its own with a certificate, until end is called.
func (n *network) connect(t testing.TB, cert, key string) (node *overlay.Node, end func()) {
	t.Helper()
	creds, err := identity.Load(identity.Files{Cert: cert, Key: key, CA: n.Operator.CA})
	if err != nil {
		t.Fatal(err)
	}
	node, err = overlay.New(overlay.Config{Credentials: creds, Brokers: n.Brokers})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = node.Run(ctx) }()
	end = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(end)
	return node, end
}

// watch follows the status with the operator's certificate.
func (n *network) watch(t testing.TB) {
	t.Helper()
	n.view, _ = n.connect(t, n.Operator.Cert, n.Operator.Key)
	eventually(t, 10*time.Second, "a status", func() bool { return n.status() != nil })
}

func (n *network) status() *subjects.Status { return n.view.View().Status }

// runsAnew reports whether the process runs, as another than before.
func (n *network) runsAnew(t testing.TB, name string, before int) bool {
	t.Helper()
	n.reload(t)
	return slices.ContainsFunc(n.Processes, func(p up.Process) bool { return p.Name == name && p.PID != 0 && p.PID != before })
}

func (n *network) pid(t testing.TB, name string) int {
	t.Helper()
	n.reload(t)
	i := slices.IndexFunc(n.Processes, func(p up.Process) bool { return p.Name == name })
	if i < 0 || n.Processes[i].PID == 0 {
		t.Fatalf("%s does not run", name)
	}
	return n.Processes[i].PID
}

func (n *network) runs(t testing.TB, name string) bool {
	t.Helper()
	n.reload(t)
	return slices.ContainsFunc(n.Processes, func(p up.Process) bool { return p.Name == name && p.PID != 0 })
}

func (n *network) kill9(t testing.TB, name string) {
	t.Helper()
	if err := syscall.Kill(n.pid(t, name), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

func (n *network) control(t testing.TB, verb string, names ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	if _, err := up.Control(ctx, n.dir, verb, names); err != nil {
		t.Fatalf("thor up %s %v: %v", verb, names, err)
	}
}

// run runs a thor command against the network and returns its output.
func (n *network) run(t testing.TB, args ...string) string {
	t.Helper()
	cmd := exec.Command(thor, args...)
	cmd.Env = append(os.Environ(), "THOR_DIR="+n.dir, "THOR_CA_DIR="+filepath.Join(n.dir, "ca"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil && cmd.ProcessState.ExitCode() != 3 {
		t.Fatalf("thor %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}
