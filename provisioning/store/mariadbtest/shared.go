package mariadbtest

import (
	"os"
	"sync"
	"testing"
)

var (
	sharedMu sync.Mutex
	shared   *Server
	sharedIn string
)

// memory is where the shared server's data are, if there is such a directory:
// making tables waits for the disk.
const memory = "/dev/shm"

// Shared is a fast server for all tests of a process that do not kill it; each
// takes a Schema of its own. TestMain has to call StopShared.
func Shared(t testing.TB) *Server {
	t.Helper()
	sharedMu.Lock()
	defer sharedMu.Unlock()
	if shared == nil {
		program := need(t, "mariadbd", "mariadb-server")
		dir, err := os.MkdirTemp(memory, "thor-mariadbtest-")
		if err != nil {
			dir, err = os.MkdirTemp("", "thor-mariadbtest-")
		}
		if err != nil {
			t.Fatal(err)
		}
		sharedIn = dir
		shared = &Server{program: program, dir: dir, durable: Fast}
		shared.init(t)
	}
	return &Server{
		t: t, program: shared.program, dir: shared.dir, addr: shared.addr, durable: shared.durable, out: shared.out, cmd: shared.cmd,
		done: shared.done, parent: shared,
	}
}

// StopShared ends the shared server, if there is one.
func StopShared() {
	sharedMu.Lock()
	defer sharedMu.Unlock()
	if shared != nil {
		shared.Kill()
	}
	if sharedIn != "" {
		_ = os.RemoveAll(sharedIn) // what is left lies in a temporary directory
	}
}
