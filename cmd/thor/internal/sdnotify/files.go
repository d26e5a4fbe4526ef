package sdnotify

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// first is the number of the first file that a supervisor hands over,
// sd_listen_fds(3).
const first = 3

// Files are what a supervisor kept for the process: sockets, and what an earlier
// one stored with Store. By name, in the order in which they were handed over.
type Files []File

// A File is one of them.
type File struct {
	Name string
	*os.File
}

// Inherited is what was handed to this process. Child processes do not get it. A
// supervisor that cannot know the
// process's number before it starts leaves out LISTEN_PID.
var Inherited = sync.OnceValue(inherited)

func inherited() (out Files) {
	pid, n, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	for _, v := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		_ = os.Unsetenv(v)
	}
	count, err := strconv.Atoi(n)
	if err != nil || count < 0 || count > 1024 || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return nil
	}
	for i := range count {
		name := "unknown"
		if i < len(names) && names[i] != "" {
			name = names[i]
		}
		unix.CloseOnExec(first + i)
		out = append(out, File{name, os.NewFile(uintptr(first+i), name)})
	}
	return out
}

// Listeners are the listening sockets of fs; they are closed in fs, which is of
// no further use for them.
func (fs Files) Listeners() (out []net.Listener) {
	for _, f := range fs {
		if on, err := unix.GetsockoptInt(int(f.Fd()), unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || on == 0 {
			continue
		}
		if l, err := net.FileListener(f.File); err == nil {
			out = append(out, l)
		}
		_ = f.Close() // the listener has its own
	}
	return out
}

// Stored are the files of a name that an earlier process stored.
func (fs Files) Stored(name string) (out []*os.File) {
	for _, f := range fs {
		if f.Name == name {
			out = append(out, f.File)
		}
	}
	return out
}

// ErrNoStore is returned by Store without a supervisor.
var ErrNoStore = errors.New("no supervisor keeps files for this process")

// Store has the supervisor keep f under a name, for the process that it starts
// after this one, until Forget or until it stops the service. Several files may
// have one name.
func Store(name string, f *os.File) error {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return ErrNoStore
	}
	// FDPOLL=0: a memory file has no end that could be waited for.
	if err := send("FDSTORE=1\nFDPOLL=0\nFDNAME="+name, f); err != nil {
		return fmt.Errorf("store %s: %w", name, err)
	}
	return nil
}

// Forget has the supervisor drop all files of a name.
func Forget(name string) { Send("FDSTOREREMOVE=1\nFDNAME=" + name) }
