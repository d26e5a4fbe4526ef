package up

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// mostFiles is how many files are kept for one child.
const mostFiles = 16

// A socketAddr is a socket that a child inherits.
type socketAddr struct{ network, addr string }

// An fdStore keeps files for a child over its restarts, as systemd does: those
// that it stores by sd_notify(3), and its listening sockets, so that no other
// program gets its ports meanwhile. The child's last process has ended when the
// next is started, and only one runs at a time.
type fdStore struct {
	path string // of the notification socket

	mu      sync.Mutex
	conn    *net.UnixConn
	files   []stored
	sockets []stored
}

type stored struct {
	name string
	file *os.File
}

func newFDStore(path string) *fdStore { return &fdStore{path: path} }

// hand gives cmd, which is to be started, all that is kept. A socket that cannot
// be opened now is left to the child.
func (s *fdStore) hand(cmd *exec.Cmd, listen []socketAddr) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		_ = os.Remove(s.path) // of a network before
		c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.path, Net: "unixgram"})
		if err != nil {
			return fmt.Errorf("listen for notifications: %w", err)
		}
		s.conn = c
		go s.receive(c)
	}
	for _, a := range listen {
		if slices.ContainsFunc(s.sockets, func(x stored) bool { return x.name == a.addr }) {
			continue
		}
		if f, err := openListener(a); err == nil {
			s.sockets = append(s.sockets, stored{a.addr, f})
		}
	}
	var names []string
	for _, x := range s.sockets {
		cmd.ExtraFiles, names = append(cmd.ExtraFiles, x.file), append(names, "socket")
	}
	for _, x := range s.files {
		cmd.ExtraFiles, names = append(cmd.ExtraFiles, x.file), append(names, x.name)
	}
	cmd.Env = append(cmd.Environ(), "NOTIFY_SOCKET="+s.path,
		fmt.Sprintf("LISTEN_FDS=%d", len(names)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
	return nil
}

func openListener(a socketAddr) (*os.File, error) {
	l, err := net.Listen(a.network, a.addr)
	if err != nil {
		return nil, err
	}
	defer l.Close() // the file is another descriptor of the same socket
	return l.(interface{ File() (*os.File, error) }).File()
}

// receive does what notifications ask for, until the socket is closed.
func (s *fdStore) receive(c *net.UnixConn) {
	b, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(4*mostFiles))
	for {
		n, on, _, _, err := c.ReadMsgUnix(b, oob)
		if err != nil {
			return
		}
		s.notified(parseState(string(b[:n])), rights(oob[:on]))
	}
}

// parseState takes a notification apart: NAME=VALUE, a line each.
func parseState(text string) map[string]string {
	out := make(map[string]string)
	for line := range strings.SplitSeq(text, "\n") {
		if k, v, ok := strings.Cut(line, "="); ok {
			out[k] = v
		}
	}
	return out
}

func rights(oob []byte) (out []*os.File) {
	ms, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for i := range ms {
		fds, err := unix.ParseUnixRights(&ms[i])
		if err != nil {
			continue
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			out = append(out, os.NewFile(uintptr(fd), "notified"))
		}
	}
	return out
}

func (s *fdStore) notified(state map[string]string, files []*os.File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := state["FDNAME"]
	if state["FDSTOREREMOVE"] == "1" {
		s.forget(func(n string) bool { return n == name })
	}
	for _, f := range files {
		if state["FDSTORE"] != "1" || len(s.files) >= mostFiles || strings.Contains(name, ":") {
			_ = f.Close() // of BARRIER=1 too: that is what its sender waits for
			continue
		}
		s.files = append(s.files, stored{name, f})
	}
}

func (s *fdStore) forget(which func(name string) bool) {
	s.files = slices.DeleteFunc(s.files, func(x stored) bool {
		if which(x.name) {
			_ = x.file.Close()
		}
		return which(x.name)
	})
}

// drop lets go of everything.
func (s *fdStore) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(func(string) bool { return true })
	for _, x := range s.sockets {
		_ = x.file.Close()
	}
	s.sockets = nil
	if s.conn != nil {
		_ = s.conn.Close()
		_ = os.Remove(s.path)
		s.conn = nil
	}
}
