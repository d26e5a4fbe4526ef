package up

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"thor/subjects"
)

const (
	// steady is how long a child runs until its end is no longer one of a row of
	// crashes: what fails at a start does so within it.
	steady = 10 * time.Second
	// longestPause bounds what the pauses between restarts grow to, unless the first
	// is longer.
	longestPause = time.Minute
)

// ExitRestart is the exit code of a daemon that an operator told to restart: it is to
// be started again at once. SupervisedEnv tells a daemon that this will be done.
const (
	ExitRestart   = 75
	SupervisedEnv = "THOR_SUPERVISED"
)

// restarts reports that a process ended for that.
func restarts(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.ExitCode() == ExitRestart
}

// pause is how long to wait before a child is started again that crashed so many
// times in a row before: each time twice as long.
func pause(first time.Duration, crashes int) time.Duration {
	for range crashes {
		if first >= longestPause {
			break
		}
		first = min(2*first, longestPause)
	}
	return first
}

func (s *supervisor) logFile(c *child) string { return filepath.Join(s.dir, c.Name, "log") }

// why is how a child ended, with the cause that its log gives.
func (s *supervisor) why(c *child, err error) string {
	text := readFrom(s.logFile(c), c.logged)
	line := lastError(text)
	if _, exited := err.(*exec.ExitError); exited && line == "" && !strings.HasPrefix(err.Error(), "signal:") {
		line = lastLine(text)
	}
	if line == "" {
		return err.Error()
	}
	return err.Error() + ": " + subjects.Printable(line, 300)
}

// readFrom is the end of a file from offset on, at most 64 kB; what cannot be
// read is empty.
func readFrom(file string, offset int64) []byte {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	const most = 64 << 10
	if fi, err := f.Stat(); err == nil {
		offset = max(offset, fi.Size()-most)
	}
	b, _ := io.ReadAll(io.NewSectionReader(f, offset, most))
	return b
}

// failure is a line of a log that tells of one: of thor itself, of its logger on
// a console and in JSON, of Kamailio and of MariaDB. Escapes are those of colours.
var failure = regexp.MustCompile(`^thor: |\b(ERR|FTL|ERROR|CRITICAL|ALERT|BUG)\b|"level":"(error|fatal)"|^[^ ]+\.toml(:\d+)?: `)

// lastError is the last line of a log that tells of a failure, empty if none does.
func lastError(log []byte) (last string) {
	for line := range strings.Lines(string(log)) {
		if failure.MatchString(line) {
			last = strings.TrimSpace(line)
		}
	}
	return last
}

func lastLine(b []byte) string {
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1]
}

func (s *supervisor) restart(c *child) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending || !c.want || c.cmd != nil {
		return
	}
	if err := s.spawn(c); err != nil {
		s.say("%v", err)
	}
}
