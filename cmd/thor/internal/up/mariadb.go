package up

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"thor/identity/atomicfile"
	"thor/subjects"
)

// A mariadb is the database server of the network.
type mariadb struct {
	server, install string // programs
	addr            netip.Addr
	port            int
	sql             []string // that it runs at each start, besides its own
}

// logSize has a server make a small log: to write the usual 96 MB takes a second.
const logSize = "--innodb-log-file-size=16M"

// findMariaDB finds out whether there can be a database server, and where.
func (l *layout) findMariaDB() error {
	server, err1 := program("mariadbd")
	install, err2 := program("mariadb-install-db")
	if err1 != nil || err2 != nil {
		return nil
	}
	a := l.addr(13, 1)
	port, err := l.ports.take(a)
	l.mariadb = &mariadb{server: server, install: install, addr: a, port: port}
	return err
}

// mariaDB adds the server, with a database for provisioning.
func (l *layout) mariaDB(password string) error {
	dir := filepath.Join(l.Dir, "mariadb")
	data := filepath.Join(dir, "data")
	me := "--user=" + userName()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	// The server runs these at each start: the password is new each time. Of the
	// administrators without a password it keeps the one of the socket.
	sql := fmt.Sprintf("DELETE FROM mysql.global_priv WHERE User IN ('', 'root') AND Host <> 'localhost';\nFLUSH PRIVILEGES;\n"+
		"CREATE DATABASE IF NOT EXISTS thor;\nCREATE OR REPLACE USER 'thor'@'%%' IDENTIFIED BY '%s';\nGRANT ALL ON thor.* TO 'thor'@'%%';\n", password) + strings.Join(l.mariadb.sql, "\n")
	init := filepath.Join(dir, "init.sql")
	if err := atomicfile.Write(init, []byte(sql), 0o600); err != nil {
		return err
	}
	err := l.service("mariadb", "database1", subjects.Database, syscall.SIGTERM, l.mariadb.server, "--no-defaults", me, "--datadir="+data,
		"--socket="+filepath.Join(dir, "sock"), "--pid-file="+filepath.Join(dir, "pid"), "--init-file="+init,
		fmt.Sprintf("--port=%d", l.mariadb.port), "--bind-address="+l.mariadb.addr.String(), "--secure-file-priv="+data, "--skip-name-resolve", "--skip-log-bin",
		"--performance-schema=OFF", "--innodb-buffer-pool-size=32M", logSize, "--innodb-flush-log-at-trx-commit=1")
	if err != nil {
		return err
	}
	l.children[len(l.children)-1].prepare = func(ctx context.Context) error {
		if _, err := os.Stat(filepath.Join(data, "mysql")); err == nil {
			return nil
		}
		fresh := data + ".new" // one that was cut off is begun anew
		if err := os.RemoveAll(fresh); err != nil {
			return err
		}
		if err := runToEnd(ctx, "", l.mariadb.install, "--no-defaults", me, "--datadir="+fresh,
			"--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve",
			"--innodb-buffer-pool-size=32M", logSize); err != nil {
			return err
		}
		return os.Rename(fresh, data)
	}
	return nil
}

func userName() string {
	if os.Getuid() == 0 {
		return "root"
	}
	return os.Getenv("USER")
}
