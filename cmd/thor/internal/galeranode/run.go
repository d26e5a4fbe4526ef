package galeranode

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"thor/identity/atomicfile"
)

// A Node is where a node's files are.
type Node struct {
	Server string // the program mariadbd
	Dir    string // holds my.cnf and data
}

func (n Node) config() string { return filepath.Join(n.Dir, "my.cnf") }
func (n Node) data() string   { return filepath.Join(n.Dir, "data") }
func (n Node) first() string  { return filepath.Join(n.Dir, "first") }

// State reads the position of the data, and asks the server's own recovery where the
// file does not say it. The server must not run.
func (n Node) State(ctx context.Context) (State, error) {
	b, err := os.ReadFile(filepath.Join(n.data(), stateFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return State{}, err
	}
	s := Parse(string(b))
	if s.Known() || errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	log := filepath.Join(n.Dir, "recover.log")
	if err := os.Remove(log); err != nil && !errors.Is(err, os.ErrNotExist) {
		return s, err
	}
	cmd := exec.CommandContext(ctx, n.Server, "--defaults-file="+n.config(), "--wsrep-recover", "--log-error="+log)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if out, err := cmd.CombinedOutput(); err != nil {
		return s, fmt.Errorf("recover the position of %s: %w: %s", n.data(), err, out)
	}
	text, err := os.ReadFile(log)
	if err != nil {
		return s, err
	}
	if found, ok := Recovered(string(text)); ok {
		found.Safe = s.Safe
		return found, nil
	}
	return s, nil // it has no position: the others give it all
}

// Prepare readies nodes of which none runs: the one with the newest data begins the
// cluster anew at its next start. It returns that one's index.
func Prepare(ctx context.Context, nodes []Node) (first int, err error) {
	states := make([]State, len(nodes))
	for i, n := range nodes {
		if states[i], err = n.State(ctx); err != nil {
			return 0, err
		}
		for _, old := range []string{n.first(), filepath.Join(n.data(), viewFile)} {
			if err := os.Remove(old); err != nil && !errors.Is(err, os.ErrNotExist) {
				return 0, err
			}
		}
	}
	first = Newest(states)
	s := states[first]
	s.Safe = true
	n := nodes[first]
	return first, errors.Join(
		atomicfile.Write(filepath.Join(n.data(), stateFile), []byte(s.String()), 0o600),
		atomicfile.Write(n.first(), nil, 0o600))
}

// Exec becomes the server, told its position; once after Prepare chose it, as the one
// that begins the cluster.
func (n Node) Exec(ctx context.Context) error {
	s, err := n.State(ctx)
	if err != nil {
		return err
	}
	argv := []string{n.Server, "--defaults-file=" + n.config()}
	if s.Known() {
		argv = append(argv, "--wsrep-start-position="+s.Position())
	}
	if os.Remove(n.first()) == nil {
		argv = append(argv, "--wsrep-new-cluster")
	}
	return syscall.Exec(n.Server, argv, os.Environ())
}
