// Package up runs a whole thor network on one machine: real child processes of
// the thor binary, each with a directory of its own in which everything it
// needs lies and besides which it reads nothing. The supervisor starts a child
// again that dies, leaves alone one that left gracefully, and writes
// network.json for scripts and for the other commands.
//
// It is a supervisor for trying and testing. In production systemd does this.
package up

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"thor/identity/atomicfile"
)

// NetworkFile is the name of the description below the directory of a network.
const NetworkFile = "network.json"

// A Network describes a running thor up for other programs.
type Network struct {
	Domain    string            `json:"domain"`
	Brokers   []string          `json:"brokers"`
	DNS       []string          `json:"dns"`
	PowerDNS  []string          `json:"powerdns,omitempty"` // with --powerdns
	HTTP      map[string]string `json:"http"`               // metrics and health, by node
	Local     map[string]string `json:"local"`              // lookups and subscribers for programs of the machine, by node
	SOAP      *soap             `json:"soap"`               // null without a provisioning server
	Web       string            `json:"web"`                // URL of the web view
	Database  *string           `json:"database"`
	Operator  Operator          `json:"operator"`
	Processes []Process         `json:"processes"`
}

// soap is where the provisioning server is, and its administrator.
type soap struct {
	URL          string `json:"url"`
	User         string `json:"user"`
	PasswordFile string `json:"password_file"`
}

// Operator is the operator's certificate of the network.
type Operator struct {
	Cert string `json:"cert"`
	Key  string `json:"key"`
	CA   string `json:"ca"`
}

// A Process is one child.
type Process struct {
	Name    string `json:"name"`
	Command string `json:"command"` // the subcommand, or the program's name for a service
	Role    string `json:"role"`
	Node    string `json:"node"`
	PID     int    `json:"pid"`   // 0 while it does not run
	State   string `json:"state"` // running, stopped, waiting (to be started again), left
	Config  string `json:"config"`
}

// DefaultDir is where thor up puts a network unless told otherwise.
func DefaultDir() string {
	if d := os.Getenv("THOR_DIR"); d != "" {
		return d
	}
	return sharedDir()
}

// sharedDir is in a directory where every user may create one of that name first.
func sharedDir() string { return filepath.Join(os.TempDir(), fmt.Sprintf("thor-up-%d", os.Getuid())) }

// trust refuses the default directory if another user made it or may write to it:
// the configurations in it are run. A directory that the user has chosen is not
// checked, and one that does not exist is good.
func trust(dir string) error {
	if filepath.Clean(dir) != sharedDir() {
		return nil
	}
	fi, err := os.Lstat(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok || !fi.IsDir() || int(st.Uid) != os.Getuid() || fi.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s is not a directory of this user alone: remove it, or choose another --dir", dir)
	}
	return nil
}

// ReadNetwork reads a description.
func ReadNetwork(path string) (*Network, error) {
	if err := trust(filepath.Dir(path)); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var n Network
	if err := json.Unmarshal(b, &n); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &n, nil
}

func (n *Network) write(path string) error {
	b, err := json.MarshalIndent(n, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(path, append(b, '\n'), 0o600)
}

// Flags have a command of thor reach the network in dir, from any shell.
func Flags(dir string) string { return "--dir " + ShellWord(dir) }

// plainWord is what a shell takes as it is.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_/.:,@%+-]+$`)

// ShellWord is s as one word of a shell.
func ShellWord(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
