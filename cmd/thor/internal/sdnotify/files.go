package sdnotify

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

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

// Stored are the files that an earlier process stored under names that begin so.
// Of several with one name it is the last.
func (fs Files) Stored(prefix string) map[string]*os.File {
	out := make(map[string]*os.File)
	for _, f := range fs {
		if strings.HasPrefix(f.Name, prefix) {
			out[f.Name] = f.File
		}
	}
	return out
}

// errNoStore is returned by Store without a supervisor.
var errNoStore = errors.New("no supervisor keeps files for this process")

// Store has the supervisor keep f under a name, for the process that it starts
// after this one, until Forget or until it stops the service. Several files may
// have one name.
func Store(name string, f *os.File) error {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return errNoStore
	}
	// FDPOLL=0: a memory file has no end that could be waited for.
	if err := send("FDSTORE=1\nFDPOLL=0\nFDNAME="+name, f); err != nil {
		return fmt.Errorf("store %s: %w", name, err)
	}
	return nil
}

// Forget has the supervisor drop all files of a name.
func Forget(name string) { Send("FDSTOREREMOVE=1\nFDNAME=" + name) }

// barrierTime is how long Store waits for the supervisor.
const barrierTime = 5 * time.Second

// A Keeper has the supervisor keep files, and waits until it does.
type Keeper struct{}

// Kept reports whether there is a supervisor that may keep files.
func Kept() bool { return os.Getenv("NOTIFY_SOCKET") != "" }

// Store is Store, and returns once the supervisor has dealt with it.
func (Keeper) Store(name string, f *os.File) error {
	if err := Store(name, f); err != nil {
		return err
	}
	return barrier()
}

// Forget is Forget.
func (Keeper) Forget(name string) { Forget(name) }

// barrier returns when the supervisor has dealt with all that was sent before,
// sd_notify_barrier(3): it closes the end of a pipe then.
func barrier() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	err = send("BARRIER=1", w)
	_ = w.Close()
	if err != nil {
		return fmt.Errorf("barrier: %w", err)
	}
	if err := r.SetReadDeadline(time.Now().Add(barrierTime)); err != nil {
		return err
	}
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		return fmt.Errorf("the supervisor does not answer: %w", err)
	}
	return nil
}
