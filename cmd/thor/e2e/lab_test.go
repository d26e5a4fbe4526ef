//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A lab is several hosts on one machine: a network namespace for each, and one
// more for the router between them. Every host hangs on a cable of its own, so
// whatever two hosts say to each other passes the router, which translates
// addresses for those behind NAT. Nothing of the machine's own network is
// touched.
type lab struct {
	prefix string // of the names of the namespaces
	dir    string
	router string
	hosts  []*host
}

// A host is one namespace with a directory of its own.
type host struct {
	lab     *lab
	name    string
	ns      string
	dir     string
	address string // of its interface
	public  string // what the others reach it by; address, or another with NAT
	gateway string
}

// labPrefix begins the name of every namespace of every lab; the pid of the
// test follows.
const labPrefix = "thor-e2e-"

// newLab makes the router. It skips, or fails in CI, where that is impossible.
func newLab(t *testing.T) *lab {
	t.Helper()
	need(t, "ip", "iproute2")
	need(t, "nft", "nftables")
	needRoot(t, "network namespaces")
	sweepLabs(t)
	l := &lab{prefix: fmt.Sprintf("%s%d-", labPrefix, os.Getpid()), dir: t.TempDir()}
	l.router = l.prefix + "router"
	t.Cleanup(func() { removeNamespaces(t, l.prefix) })
	l.ip(t, "netns", "add", l.router)
	l.ip(t, "-n", l.router, "link", "set", "lo", "up")
	l.in(t, l.router, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
	l.nft(t, "table ip nat {\n"+
		"chain in { type nat hook prerouting priority dstnat; }\n"+
		"chain out { type nat hook postrouting priority srcnat; }\n}\n")
	return l
}

// sweepLabs removes what a test that was killed has left behind.
func sweepLabs(t *testing.T) {
	t.Helper()
	for _, ns := range namespaces(labPrefix) {
		pid, _, _ := strings.Cut(strings.TrimPrefix(ns, labPrefix), "-")
		if n, err := strconv.Atoi(pid); err == nil && errors.Is(syscall.Kill(n, 0), syscall.ESRCH) {
			removeNamespaces(t, labPrefix+pid+"-")
		}
	}
}

func namespaces(prefix string) (out []string) {
	files, _ := filepath.Glob("/run/netns/" + prefix + "*") // the pattern is good
	for _, f := range files {
		out = append(out, filepath.Base(f))
	}
	return out
}

// removeNamespaces ends what still runs in them, and removes them.
func removeNamespaces(t *testing.T, prefix string) {
	t.Helper()
	for _, ns := range namespaces(prefix) {
		out, _ := exec.Command("ip", "netns", "pids", ns).Output()
		for f := range strings.FieldsSeq(string(out)) {
			// The first thread of this process may be in there, see enter.
			if pid, err := strconv.Atoi(f); err == nil && pid != os.Getpid() {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		if out, err := exec.Command("ip", "netns", "del", ns).CombinedOutput(); err != nil {
			t.Errorf("remove namespace %s: %v: %s", ns, err, out)
		}
	}
}

func (l *lab) ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

func (l *lab) in(t *testing.T, ns string, args ...string) {
	t.Helper()
	l.ip(t, append([]string{"netns", "exec", ns}, args...)...)
}

func (l *lab) nft(t *testing.T, rules string) {
	t.Helper()
	cmd := exec.Command("ip", "netns", "exec", l.router, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("nft: %v: %s", err, out)
	}
}

// host adds a machine. With a public address of its own it is behind 1:1 NAT:
// the router turns one into the other, also for what the host sends to itself.
func (l *lab) host(t *testing.T, name, address, public, gateway string) *host {
	t.Helper()
	h := &host{lab: l, name: name, ns: l.prefix + name, dir: filepath.Join(l.dir, name), address: address, public: public, gateway: gateway}
	if err := os.MkdirAll(h.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	cable := "v-" + name
	l.ip(t, "netns", "add", h.ns)
	l.ip(t, "link", "add", cable, "netns", l.router, "type", "veth", "peer", "name", "eth0", "netns", h.ns)
	l.ip(t, "-n", l.router, "addr", "add", gateway+"/32", "dev", cable)
	l.ip(t, "-n", l.router, "link", "set", cable, "up")
	l.ip(t, "-n", l.router, "route", "add", address+"/32", "dev", cable)
	l.ip(t, "-n", h.ns, "link", "set", "lo", "up")
	l.ip(t, "-n", h.ns, "addr", "add", address+"/32", "dev", "eth0")
	h.link(t, "up")
	if public != address {
		l.nft(t, fmt.Sprintf("add rule ip nat in ip daddr %s dnat to %s\nadd rule ip nat out ip saddr %s snat to %s\n", public, address, address, public))
	}
	l.hosts = append(l.hosts, h)
	return h
}

// link takes the host's only interface down or up. The routes go down with it.
func (h *host) link(t *testing.T, state string) {
	t.Helper()
	h.lab.ip(t, "-n", h.ns, "link", "set", "eth0", state)
	if state == "up" {
		h.lab.ip(t, "-n", h.ns, "route", "add", h.gateway+"/32", "dev", "eth0")
		h.lab.ip(t, "-n", h.ns, "route", "add", "default", "via", h.gateway, "src", h.address)
	}
}

// enter runs f on the host. What f starts in other goroutines is elsewhere.
func (h *host) enter(f func()) error { return inNamespace(h.ns, f) }

// inNamespace runs f in a namespace.
func inNamespace(name string, f func()) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends with the goroutine
		fd, err := unix.Open("/run/netns/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Setns(fd, unix.CLONE_NEWNET)
			_ = unix.Close(fd)
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	return <-done
}

// hostDialer dials from a host, for nats.go.
type hostDialer struct{ h *host }

func (d hostDialer) Dial(network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	return d.h.dial(ctx, network, address)
}

// dial is the Dial of an overlay.Config.
func (h *host) dial(ctx context.Context, network, address string) (c net.Conn, err error) {
	failed := h.enter(func() { c, err = new(net.Dialer).DialContext(ctx, network, address) })
	return c, errors.Join(failed, err)
}

// A process is a program on a host.
type process struct {
	host *host
	name string
	argv []string
	env  []string
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended
}

// start runs a program on the host until it is killed or the test ends; its
// output goes to NAME.log in the host's directory.
func (h *host) start(t *testing.T, name string, env []string, argv ...string) *process {
	t.Helper()
	p := &process{host: h, name: name, argv: argv, env: env}
	p.run(t)
	t.Cleanup(func() {
		p.kill(t)
		if t.Failed() {
			p.tail(t)
		}
	})
	return p
}

// run starts a process, for the first time or again after it has ended.
func (p *process) run(t *testing.T) {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(p.host.dir, p.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	// ip turns into the program: the pid is the program's own.
	cmd := exec.Command("ip", append([]string{"netns", "exec", p.host.ns}, p.argv...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.host.dir, log, log
	cmd.Env = append(os.Environ(), p.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = cmd.Wait() }()
	p.cmd, p.done = cmd, done
}

// kill ends a process and its children as a crash would, and waits for the end.
func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Error(err)
	}
	<-p.done
}

func (p *process) tail(t *testing.T) {
	b, _ := os.ReadFile(filepath.Join(p.host.dir, p.name+".log"))
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	t.Logf("--- %s of %s\n%s", p.name, p.host.name, strings.Join(lines[max(0, len(lines)-12):], "\n"))
}

// thor runs a command on the host to its end and returns what it printed.
func (h *host) thor(t *testing.T, args ...string) string {
	t.Helper()
	out, err := h.try(args...)
	if err != nil {
		t.Fatalf("on %s: thor %s: %v", h.name, strings.Join(args, " "), err)
	}
	return out
}

func (h *host) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", h.ns, thor}, args...)...)
	cmd.Dir = h.dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("%w: %s", err, stderr.String())
	}
	return string(out), nil
}
