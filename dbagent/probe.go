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
	"thor/dbagent/location/galera"
	"thor/identity"
	"thor/overlay/check"
	"thor/subjects"
)

const (
	maxPacket   = 1 << 20 // bytes that a server may make us hold; our answers are short
	maxPassword = 4 << 10
	shunTime    = time.Minute // for a server that crashes the driver
)

// A prober checks a database once. ctx carries the timeout. What was learned of the
// server is told with an error too, which is for explain. mysqlProbe is one; tests of
// time have another.
type prober interface {
	probe(ctx context.Context) (server, error)
	// dsn is the location with the password, for those who may know.
	dsn() (location.DSN, error)
}

// A server is what one tells of itself; what was not learned is empty.
type server struct {
	version string
	cluster string // the same for all nodes of one Galera cluster
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
	return identity.ReadPassword(path, maxPassword)
}

func (p *mysqlProbe) config(d location.DSN) (*mysql.Config, error) {
	c := driver.Config(d, p.db.Timeout, p.db.Roots, maxPacket)
	if d.Charset() == "" {
		return c, nil
	}
	return c, c.Apply(mysql.Charset(d.Charset(), ""))
}

func (p *mysqlProbe) probe(ctx context.Context) (s server, err error) {
	if time.Now().Before(p.shun) {
		return s, &check.Fault{Text: driver.NotMySQL}
	}
	d, err := p.dsn()
	if err != nil {
		return s, err
	}
	cfg, err := p.config(d)
	if err != nil {
		return s, err
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
		return s, err
	}
	pool := sql.OpenDB(connector)
	defer func() { _ = pool.Close() }() // what was asked has been answered
	conn, err := pool.Conn(ctx)
	if err == nil {
		s, err = p.ask(ctx, conn)
		_ = conn.Close()
	}
	if err != nil && ctx.Err() != nil {
		// The driver tells of an end by timeout in several ways.
		return s, &check.Fault{Text: check.NoAnswer, Cause: err}
	}
	return s, err
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

// ask sees whether the server is what the announcement says. A node of a Galera
// cluster is judged first: one that must not be used answers little else.
func (p *mysqlProbe) ask(ctx context.Context, conn *sql.Conn) (s server, err error) {
	vars, err := driver.Variables(ctx, conn)
	if err != nil {
		return s, err
	}
	access := galera.Writes
	if p.db.Mode == location.ReadOnly {
		access = galera.ReadsOnly
	}
	v := galera.Judge(vars, access)
	s = server{version: subjects.Printable(vars["version"], 64), cluster: v.Cluster}
	if v.Reason != "" {
		return s, &check.Fault{Text: v.Reason, Cause: errors.New(v.Detail)}
	}
	var name sql.NullString
	if err := conn.QueryRowContext(ctx, "SELECT DATABASE()").Scan(&name); err != nil {
		return s, err
	}
	if !strings.EqualFold(name.String, p.db.DSN.Name()) { // some file systems fold case
		return s, &check.Fault{Text: "another database answers"}
	}
	if p.db.Mode == location.ReadOnly {
		return s, nil
	}
	if err := driver.Writable(vars); err != nil {
		return s, &check.Fault{Text: driver.ReadOnly, Cause: err}
	}
	if p.db.Probe == "" {
		return s, nil
	}
	return s, p.write(ctx, conn)
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
