package join

import (
	"errors"

	"golang.org/x/sys/unix"
)

// A process is the one at the other end of a connection. It stays that one: its number
// may be another's once it has ended.
type process struct{ fd int }

// processOf is the process with the number, which is connected now; 0: not known.
func processOf(pid int) process {
	if pid <= 0 {
		return process{-1}
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil { // it has gone
		return process{-1}
	}
	return process{fd}
}

func (p process) close() {
	if p.fd >= 0 {
		_ = unix.Close(p.fd)
	}
}

// signal sends a signal by its name, such as HUP.
func (p process) signal(name string) error {
	n := unix.SignalNum("SIG" + name)
	if p.fd < 0 || n == 0 {
		return errors.New("no such process or signal")
	}
	return unix.PidfdSendSignal(p.fd, n, nil, 0)
}
