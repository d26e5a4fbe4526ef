package local

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"slices"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// DefaultGroup is the group whose members may use the socket, where it exists.
const DefaultGroup = "thor"

// GroupID is the number of a group by its name or number; -1 for "".
func GroupID(name string) (int, error) {
	if name == "" {
		return -1, nil
	}
	if n, err := strconv.ParseUint(name, 10, 31); err == nil {
		return int(n), nil
	}
	g, err := user.LookupGroup(name)
	if err != nil {
		return -1, fmt.Errorf("no group %q on this machine", name)
	}
	return strconv.Atoi(g.Gid)
}

// listenUnix opens the socket path for group gid, or for the process's own user
// alone if gid is negative. A socket that a former process left behind is
// replaced; one that is answered is not.
func listenUnix(path string, gid int) (net.Listener, error) {
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		_ = c.Close()
		return nil, &net.OpError{Op: "listen", Net: "unix", Err: syscall.EADDRINUSE}
	}
	if fi, err := os.Lstat(path); err == nil && fi.Mode()&fs.ModeSocket != 0 {
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	// The socket gets its mode before it gets its name: bind creates it by the umask.
	making := path + ".new"
	if err := os.Remove(making); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: making, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	mode := fs.FileMode(0o600)
	if gid >= 0 {
		mode = 0o660
		err = os.Chown(making, -1, gid)
	}
	if err = errors.Join(err, os.Chmod(making, mode)); err == nil {
		err = os.Rename(making, path)
	}
	if err != nil {
		_ = l.Close()
		_ = os.Remove(making)
		return nil, err
	}
	return &named{l, &net.UnixAddr{Name: path, Net: "unix"}}, nil
}

// named is a listener that has another name than the one it was opened under.
type named struct {
	*net.UnixListener
	addr net.Addr
}

func (l *named) Addr() net.Addr { return l.addr }

// A userConn is a connection of a user of this machine.
type userConn struct {
	net.Conn
	user     string
	pid, uid int // of the process that connected
}

// Peer is whom the connection counts for.
func (c *userConn) Peer() string { return c.user }

// usersOnly hands out the connections of root, of the process's own user and of
// members of a group: other users are refused, also those with another name of the
// socket or an open one handed on.
type usersOnly struct {
	net.Listener
	gid int
	log zerolog.Logger
}

func (l usersOnly) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		p, err := peerCredentials(c)
		if err == nil && p.may(os.Geteuid(), l.gid) {
			return &userConn{Conn: c, user: fmt.Sprintf("uid %d", p.uid), pid: p.pid, uid: p.uid}, nil
		}
		l.log.Info().Err(err).Int("uid", p.uid).Msg("connection to the socket refused")
		_ = c.Close() // nothing was promised
	}
}

// A peer is the process at the other end, as it was when it connected.
type peer struct {
	pid  int
	uid  int
	gids []int
}

// may reports whether p is root, the user self, or in the group.
func (p peer) may(self, gid int) bool {
	return p.uid == 0 || p.uid == self || gid >= 0 && slices.Contains(p.gids, gid)
}

// peerCredentials asks the kernel, unix(7), SO_PEERCRED and SO_PEERGROUPS.
func peerCredentials(c net.Conn) (p peer, err error) {
	p.uid = -1
	sc, ok := c.(syscall.Conn)
	if !ok {
		return p, errors.New("no socket")
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return p, err
	}
	var groups []uint32
	cerr := raw.Control(func(fd uintptr) {
		var u *unix.Ucred
		if u, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err != nil {
			return
		}
		p.pid, p.uid, p.gids = int(u.Pid), int(u.Uid), []int{int(u.Gid)}
		groups, err = peerGroups(fd)
	})
	if err = errors.Join(cerr, err); err != nil {
		return p, err
	}
	for _, g := range groups {
		p.gids = append(p.gids, int(g))
	}
	return p, nil
}

// peerGroups are the further groups of the peer of a Unix socket.
func peerGroups(fd uintptr) ([]uint32, error) {
	out := make([]uint32, 256)
	for {
		size := uint32(len(out) * 4)
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&out[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == 0:
			return out[:size/4], nil
		case errno == unix.ERANGE && int(size) > len(out)*4:
			out = make([]uint32, size/4)
		default:
			return nil, errno
		}
	}
}
