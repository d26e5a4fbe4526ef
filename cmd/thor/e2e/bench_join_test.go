//go:build e2e

package e2e_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// A joiner is a program beside a node agent of its own that joins a role by curl.
type joiner struct {
	socket, address string
	name            string // in DNS, of the role
	cmd             *exec.Cmd
	stop            chan struct{}
}

const joinerRole = `
[node]
socket = %q
http = ""
lookup = ""
[[node.role]]
role = "fax_server"
[[node.role.check]]
kind = "program"
`

func (n *network) addJoiner(t testing.TB, node, address string) *joiner {
	t.Helper()
	dir, err := os.MkdirTemp("", "j") // short: a socket's name is
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	j := &joiner{socket: filepath.Join(dir, "s"), address: address, name: "fax-server." + n.domain + "."}
	n.addNode(t, node, address, "fax_server", fmt.Sprintf(joinerRole, j.socket))
	eventually(t, 20*time.Second, node+" listens", func() bool { _, err := os.Stat(j.socket); return err == nil })
	return j
}

// start runs the program.
func (j *joiner) start(t testing.TB) {
	t.Helper()
	j.cmd = exec.Command(need(t, "curl", "curl"), "-sN", "--unix-socket", j.socket, "-X", "POST", "-T", ".", "http://node/join/fax_server")
	in, err := j.cmd.StdinPipe()
	if err == nil {
		err = j.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	j.stop = make(chan struct{})
	go func(stop chan struct{}) { // each line says that it lives
		tick := time.NewTicker(2 * time.Second)
		defer tick.Stop()
		for {
			if _, err := io.WriteString(in, "{}\n"); err != nil {
				return
			}
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	}(j.stop)
}

// kill ends the program as kill -9 does.
func (j *joiner) kill(t testing.TB) {
	t.Helper()
	if err := j.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	close(j.stop)
	_ = j.cmd.Wait() // it was killed
	j.cmd = nil
}

// joiners are two programs with nodes of their own, for all rows: nodes that come and go
// with a row would be failures of the role, and many of them are held back by a guard.
func (b *bench) joiners() (stays, comes *joiner) {
	b.t.Helper()
	net := b.network()
	if b.of != net {
		b.of = net
		b.stays, b.comes = net.addJoiner(b.top, "fax1", "127.85.60.1"), net.addJoiner(b.top, "fax2", "127.85.60.2")
		b.stays.start(b.top)
		b.top.Cleanup(func() { _ = b.stays.cmd.Process.Kill() })
	}
	return b.stays, b.comes
}

// programs samples how long a program's join, or its death, takes to the answers of both
// name servers. Another program stays: the last member of a role is never gone.
func (b *bench) programs(death bool) {
	b.t.Helper()
	stays, comes := b.joiners()
	net := b.net
	defer func() {
		if comes.cmd != nil {
			comes.kill(b.t)
		}
	}()
	there := func() bool { return net.hasAddress(comes.name, comes.address) }
	gone := func() bool {
		for _, s := range net.DNS {
			if has, err := answersWith(s, comes.name, comes.address); err != nil || has {
				return false
			}
		}
		return net.hasAddress(stays.name, stays.address)
	}
	for range b.n {
		eventually(b.t, 60*time.Second, "the program that stays is alone", gone)
		b.moment()
		began := time.Now()
		comes.start(b.t)
		eventually(b.t, 60*time.Second, "the program is in DNS", there)
		if !death {
			b.took(time.Since(began))
		}
		b.moment()
		began = time.Now()
		comes.kill(b.t)
		eventually(b.t, 60*time.Second, "the program is gone", gone)
		if death {
			b.took(time.Since(began))
		}
	}
}
