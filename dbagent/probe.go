package dbagent

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"thor/dbagent/location"
	"thor/dbagent/location/driver"
	"thor/identity"
	"thor/overlay/check"
	"thor/subjects"
)

const (
	maxPacket   = 1 << 20 // bytes that a server may make us hold; our answers are short
	maxPassword = 4 << 10
	shunTime    = time.Minute // for a server that crashes the driver
)

// A prober checks a database once. ctx carries the timeout. version is the
// server's, "" if it was not learned; the error is for explain. mysqlProbe is one;
// tests of time have another.
type prober interface {
	probe(ctx context.Context) (version string, err error)
	// dsn is the location with the password, for those who may know.
	dsn() (location.DSN, error)
}

// mysqlProbe makes a new connection for each check, as a client that just came
// would: a server that is full, or knows the user no more, is found out.
type mysqlProbe struct {
	db   Database
	shun time.Time // until then the server is not asked, see guard
}

// dsn completes the location with the password, wherever that comes from.
func (p *mysqlProbe) dsn() (location.DSN, error) {
	d := p.db.DSN
	secret := ""
	switch {
	case p.db.PasswordEnv != "":
		secret = os.Getenv(p.db.PasswordEnv)
	case p.db.PasswordFile != "":
		var err error
		if secret, err = readPassword(p.db.PasswordFile); err != nil {
			return d, &check.Fault{Text: passwordText, Cause: err}
		}
	default:
		return d, nil
	}
	d, err := d.WithPassword(secret)
	if err != nil {
		return p.db.DSN, &check.Fault{Text: passwordText, Cause: err}
	}
	return d, nil
}

// CheckPasswordFile tells why no password could be read from a file.
func CheckPasswordFile(path string) error {
	secret, err := readPassword(path)
	if err == nil {
		_, err = location.DSN{}.WithPassword(secret)
	}
	return err
}

// readPassword reads a file that only its owner and this process may read.
func readPassword(path string) (string, error) {
	b, err := identity.ReadSecret(path)
	if err != nil {
		return "", err
	}
	if len(b) > maxPassword {
		return "", fmt.Errorf("%s is no password: more than %d bytes", path, maxPassword)
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

func (p *mysqlProbe) config(d location.DSN) (*mysql.Config, error) {
	c := driver.Config(d, p.db.Timeout, p.db.Roots, maxPacket)
	if d.Charset() == "" {
		return c, nil
	}
	return c, c.Apply(mysql.Charset(d.Charset(), ""))
}

func (p *mysqlProbe) probe(ctx context.Context) (version string, err error) {
	if time.Now().Before(p.shun) {
		return "", &check.Fault{Text: driver.NotMySQL}
	}
	d, err := p.dsn()
	if err != nil {
		return "", err
	}
	cfg, err := p.config(d)
	if err != nil {
		return "", err
	}
	var dialled net.Conn
	cfg.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		dialled = c
		return c, err
	}
	defer func() {
		if r := recover(); r != nil {
			err = p.guard(r, dialled)
		}
	}()
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return "", err
	}
	pool := sql.OpenDB(connector)
	defer func() { _ = pool.Close() }() // what was asked has been answered
	conn, err := pool.Conn(ctx)
	if err == nil {
		version, err = p.ask(ctx, conn)
		_ = conn.Close()
	}
	if err != nil && ctx.Err() != nil {
		// The driver tells of an end by timeout in several ways.
		return version, &check.Fault{Text: check.NoAnswer, Cause: err}
	}
	return version, err
}

// guard turns a panic of the driver into a fault. A server that asks for
// authentication with a challenge that is too short makes the driver (1.10.1)
// panic, and leave a goroutine behind that cannot be ended: so the server is not
// asked again for a while.
func (p *mysqlProbe) guard(r any, c net.Conn) error {
	p.shun = time.Now().Add(shunTime)
	if c != nil {
		_ = c.Close() // the driver may have done so
	}
	return &check.Fault{Text: driver.NotMySQL, Cause: fmt.Errorf("the driver panicked: %v", r)}
}

// ask sees whether the server is what the announcement says.
func (p *mysqlProbe) ask(ctx context.Context, conn *sql.Conn) (version string, err error) {
	var name sql.NullString
	if err := conn.QueryRowContext(ctx, "SELECT DATABASE()").Scan(&name); err != nil {
		return "", err
	}
	if !strings.EqualFold(name.String, p.db.DSN.Name()) { // some file systems fold case
		return "", &check.Fault{Text: "another database answers"}
	}
	vars, err := variables(ctx, conn)
	if err != nil {
		return "", err
	}
	version = subjects.Printable(vars["version"], 64)
	if strings.EqualFold(vars["wsrep_on"], "ON") {
		if err := galeraReady(ctx, conn); err != nil {
			return version, err
		}
	}
	if p.db.Mode == location.ReadOnly {
		return version, nil
	}
	for _, v := range []string{"read_only", "super_read_only", "innodb_read_only"} {
		if s := strings.ToUpper(vars[v]); s != "" && s != "OFF" && s != "0" {
			return version, &check.Fault{Text: driver.ReadOnly, Cause: fmt.Errorf("%s is %s", v, s)}
		}
	}
	if p.db.Probe == "" {
		return version, nil
	}
	return version, p.write(ctx, conn)
}

// variables asks for what not every server has: MariaDB knows no
// super_read_only.
func variables(ctx context.Context, conn *sql.Conn) (map[string]string, error) {
	rows, err := conn.QueryContext(ctx,
		"SHOW GLOBAL VARIABLES WHERE Variable_name IN ('version', 'read_only', 'super_read_only', 'innodb_read_only', 'wsrep_on')")
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // Err has told
	vars := make(map[string]string)
	for rows.Next() {
		var k, v string
		if err := rows.Scan(&k, &v); err != nil {
			return nil, err
		}
		vars[k] = v
	}
	return vars, rows.Err()
}

// galeraReady fails on a node of a Galera cluster that refuses work, such as one
// outside the primary component. What was asked before touches no table, so such
// a node answers it. A MariaDB without Galera says OFF too: it is not asked.
func galeraReady(ctx context.Context, conn *sql.Conn) error {
	var name, ready string
	err := conn.QueryRowContext(ctx, "SHOW GLOBAL STATUS LIKE 'wsrep\\_ready'").Scan(&name, &ready)
	if errors.Is(err, sql.ErrNoRows) { // what has wsrep_on and no such row is no Galera that we know
		return nil
	}
	if err == nil && !strings.EqualFold(ready, "ON") {
		err = &check.Fault{Text: driver.NotReady, Cause: errors.New("wsrep_ready is not ON")}
	}
	return err
}

// write inserts a row of its own, so that two locators never wait for each
// other, and takes it back.
func (p *mysqlProbe) write(ctx context.Context, conn *sql.Conn) error {
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO `"+p.db.Probe+"` (id) VALUES (?)", time.Now().UnixNano())
	if rerr := tx.Rollback(); err == nil && !errors.Is(rerr, sql.ErrTxDone) {
		err = rerr
	}
	return err
}
