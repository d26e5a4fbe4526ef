// Package mariadbtest runs real MariaDB servers for tests.
//
// A server listens on a loopback port, keeps its data below the test's temporary
// directory and ends with the test. Its data begin as a copy of a template that
// is made once per user, so that a start takes a fraction of a second.
package mariadbtest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"thor/dbagent/location"
)

// patience bounds every wait.
const patience = 30 * time.Second

// Password is that of every schema's user. It stands in no other place, so a
// test may look for it where it must not be.
const Password = "c4n4ry:/@%?"

// A Durability says what a server's committed transactions outlive.
type Durability string

const (
	// Fast loses the last second when the server is killed.
	Fast Durability = "0"
	// Durable writes every transaction to the disk, as a server does by default.
	Durable Durability = "1"
)

// A Server is a real MariaDB server. Its methods fail the test when they cannot
// do what they say.
type Server struct {
	t       testing.TB
	program string
	dir     string
	addr    string
	args    []string
	durable Durability
	out     *bytes.Buffer
	cmd     *exec.Cmd
	done    chan struct{}
	schemas atomic.Int32
	parent  *Server // of one that Shared returned
}

// Start runs a server until the test ends. The further arguments are options of
// mariadbd. The test is skipped where MariaDB is not installed, and fails there
// if the environment says CI=true.
func Start(t testing.TB, d Durability, args ...string) *Server {
	t.Helper()
	s := &Server{program: need(t, "mariadbd", "mariadb-server"), dir: t.TempDir(), args: args, durable: d}
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			t.Logf("%s", s.out.Bytes())
		}
	})
	s.init(t)
	return s
}

// init makes the data and starts the server.
func (s *Server) init(t testing.TB) {
	t.Helper()
	s.t = t
	need(t, "mariadb", "mariadb-client")
	template := template(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	_ = l.Close()
	if out, err := exec.Command("cp", "-r", template, s.path("data")).CombinedOutput(); err != nil {
		t.Fatalf("copy the template: %v: %s", err, out)
	}
	s.Restart()
}

func need(t testing.TB, program, pkg string) string {
	t.Helper()
	p, err := exec.LookPath(program)
	if err == nil {
		return p
	}
	text := fmt.Sprintf("%s is not installed (Debian package %s)", program, pkg)
	if os.Getenv("CI") == "true" {
		t.Fatal(text)
	}
	t.Skip(text)
	return ""
}

func (s *Server) path(name string) string { return filepath.Join(s.dir, name) }

// Addr is the server's host:port. It stays the same over a restart.
func (s *Server) Addr() string { return s.addr }

// Socket is the path of the server's Unix socket; there, root needs no password.
func (s *Server) Socket() string { return s.path("sock") }

// Schema makes a new database with a user that may do everything in it and
// nothing elsewhere, and returns its location with Password.
func (s *Server) Schema() location.DSN {
	s.t.Helper()
	counter := &s.schemas
	if s.parent != nil {
		counter = &s.parent.schemas
	}
	name := fmt.Sprintf("thor%d", counter.Add(1))
	s.SQL("CREATE DATABASE " + name + "; CREATE USER '" + name + "'@'%' IDENTIFIED BY '" + Password + "';" +
		"GRANT ALL ON " + name + ".* TO '" + name + "'@'%'")
	d, err := location.Parse("mysql://" + name + "@" + s.addr + "/" + name)
	if err == nil {
		d, err = d.WithPassword(Password)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

// Restart starts the server, after Stop or Kill, and waits until it answers.
func (s *Server) Restart() {
	s.t.Helper()
	_, port, _ := net.SplitHostPort(s.addr)
	args := append([]string{
		"--no-defaults", "--user=" + me(s.t), "--datadir=" + s.path("data"), "--socket=" + s.Socket(),
		"--pid-file=" + s.path("pid"), "--port=" + port, "--bind-address=127.0.0.1", "--skip-log-bin", "--skip-name-resolve",
		"--performance-schema=OFF", "--innodb-buffer-pool-size=32M", "--innodb-flush-log-at-trx-commit=" + string(s.durable),
	}, layout...)
	if s.durable == Fast {
		args = append(args, "--innodb-flush-method=nosync")
	}
	cmd, done := exec.Command(s.program, append(args, s.args...)...), make(chan struct{})
	s.out = &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = s.out, s.out
	// Temporary tables of its own: a server that starts deletes those of others.
	cmd.Env = append(os.Environ(), "TMPDIR="+s.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.cmd, s.done = cmd, done
	go func() { _ = cmd.Wait(); close(done) }()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for s.Try("SELECT 1") != nil {
		select {
		case <-tick.C:
		case <-done:
			s.t.Fatalf("MariaDB ended: %s", s.out.Bytes())
		case <-ctx.Done():
			s.t.Fatalf("MariaDB did not start within %v", patience)
		}
	}
}

// Kill ends the server at once, as a crash does.
func (s *Server) Kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill() // it may have ended
		<-s.done
	}
}

// Stop ends the server in good order.
func (s *Server) Stop() {
	s.t.Helper()
	s.signal(syscall.SIGTERM)
	<-s.done
}

// Freeze makes the server hang: it takes connections and never answers.
func (s *Server) Freeze() { s.t.Helper(); s.signal(syscall.SIGSTOP) }

// Thaw ends Freeze.
func (s *Server) Thaw() { s.t.Helper(); s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// Try executes statements as root and returns the client's error.
func (s *Server) Try(sql string) error {
	out, err := exec.Command("mariadb", "--no-defaults", "--socket="+s.Socket(), "-uroot", "-e", sql).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", sql, err, out)
	}
	return nil
}

// SQL executes statements as root.
func (s *Server) SQL(sql string) {
	s.t.Helper()
	if err := s.Try(sql); err != nil {
		s.t.Fatal(err)
	}
}

// Rows is what a statement returns to root: lines of values with tabs between.
func (s *Server) Rows(sql string) string {
	s.t.Helper()
	out, err := exec.Command("mariadb", "--no-defaults", "--socket="+s.Socket(), "-uroot", "-BN", "-e", sql).CombinedOutput()
	if err != nil {
		s.t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// me is the user that the server is to run as.
func me(t testing.TB) string {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return u.Username
}
