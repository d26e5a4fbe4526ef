package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// peerKey is the key of the connection in the context of its requests.
type peerKey struct{}

// PeerPID is the number of the process whose request on the Unix socket has ctx, as it
// was when it connected; 0: not known.
func PeerPID(ctx context.Context) int {
	if c := peerOf(ctx); c != nil {
		return c.pid
	}
	return 0
}

func peerOf(ctx context.Context) *userConn {
	c, _ := ctx.Value(peerKey{}).(*userConn)
	return c
}

// withPeer puts the connection into the context of its requests.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	for c != nil {
		switch x := c.(type) {
		case *userConn:
			return context.WithValue(ctx, peerKey{}, x)
		case interface{ NetConn() net.Conn }:
			c = x.NetConn()
		default:
			return ctx
		}
	}
	return ctx
}

// A Process is the one that connected to the Unix socket. It stays that one: its number
// may be another's once it has ended.
type Process struct {
	fd       int // of the process, see pidfd_open(2)
	pid, uid int // when it connected
}

var errNoProcess = errors.New("the process is not known, or has ended")

// PeerProcess is the process whose request on the Unix socket has ctx. Close it.
func PeerProcess(ctx context.Context) (*Process, error) {
	c := peerOf(ctx)
	if c == nil || c.pid <= 0 {
		return nil, errNoProcess
	}
	sc, ok := c.Conn.(syscall.Conn)
	if !ok {
		return nil, errNoProcess
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	cerr := raw.Control(func(s uintptr) { fd, err = unix.GetsockoptInt(int(s), unix.SOL_SOCKET, unix.SO_PEERPIDFD) })
	if errors.Is(err, unix.ENOPROTOOPT) || errors.Is(err, unix.EINVAL) { // before Linux 6.5: the number has to do, and Signal asks whose it is
		fd, err = unix.PidfdOpen(c.pid, 0)
	}
	if err = errors.Join(cerr, err); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoProcess, err)
	}
	return &Process{fd: fd, pid: c.pid, uid: c.uid}, nil
}

// Close gives the process back; its zero value has none.
func (p *Process) Close() {
	if p != nil {
		_ = unix.Close(p.fd)
	}
}

// Signal sends a signal by its name, such as HUP, to the process while it is the user's
// that connected: of others the socket says nothing.
func (p *Process) Signal(name string) error {
	n := unix.SignalNum("SIG" + name)
	if p == nil || n == 0 {
		return errNoProcess
	}
	uid, err := ownerOf(p.pid)
	if err != nil {
		return err
	}
	// While the process lives its number is no other's: so the owner was its own.
	if err := unix.PidfdSendSignal(p.fd, 0, nil, 0); err != nil && !errors.Is(err, unix.EPERM) {
		return errNoProcess
	}
	if uid != p.uid {
		return fmt.Errorf("the process belongs to uid %d, and connected as uid %d", uid, p.uid)
	}
	return unix.PidfdSendSignal(p.fd, n, nil, 0)
}

// ownerOf is the effective user of a process. The owner of its directory in /proc is
// root where it changed its user.
func ownerOf(pid int) (int, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, errNoProcess
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == "Uid:" {
			return strconv.Atoi(f[2])
		}
	}
	return 0, errNoProcess
}
