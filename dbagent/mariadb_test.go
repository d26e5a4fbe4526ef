package dbagent

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/rs/zerolog"

	"thor/dbagent/location"
	"thor/dbagent/location/driver"
	"thor/overlay/check"
	"thor/subjects"
)

// A locked is a buffer for several writers.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// run runs an agent, and returns how to wait for what it announces.
func run(t *testing.T, logs io.Writer, reg *prometheus.Registry, dbs ...Database) (n *fakeNet, await func(what string, s subjects.State, reason string)) {
	t.Helper()
	n = newFakeNet()
	cfg := Config{Databases: dbs, Log: zerolog.New(logs).Level(zerolog.TraceLevel), Cleared: []subjects.Role{"provisioning_server"}}
	if reg != nil {
		cfg.Metrics = reg
	}
	a, err := newAgent(cfg, n, mysqlProber)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return n, func(what string, s subjects.State, reason string) {
		t.Helper()
		eventually(t, fmt.Sprintf("%s: %s %q", what, s, reason), func() bool {
			now := n.announced()
			_, text, _ := strings.Cut(now.Reason, "/thor: ")
			return now.State == s && text == reason
		})
	}
}

func TestLocatorFollowsMariaDBAndTellsNobodyThePassword(t *testing.T) {
	m := newMariaDB(t)
	logs, reg := &locked{}, prometheus.NewRegistry()
	m.write(t, "password", canary+"\n")
	db := Database{
		DSN: dsn(t, "mysql://thor@"+m.Addr()+"/thor"), PasswordFile: m.path("password"), Timing: check.Timing{Interval: 200 * time.Millisecond, Timeout: 200 * time.Millisecond},
		Probe: "probe", Priority: 10,
	}
	n, await := run(t, logs, reg, db)
	await("started", subjects.Up, "")
	if now := n.announced(); now.Attrs["dburi"] != "mysql://thor:xxxxxx@"+m.Addr()+"/thor" || !strings.Contains(now.Version, "MariaDB") {
		t.Errorf("announced %+v", now)
	}
	m.SQL("SET GLOBAL read_only=ON")
	await("read-only", subjects.Down, "takes no writes")
	m.SQL("SET GLOBAL read_only=OFF")
	await("writable again", subjects.Up, "")
	m.SQL("RENAME TABLE thor.probe TO thor.away")
	await("probe table gone", subjects.Down, "no such table")
	m.SQL("RENAME TABLE thor.away TO thor.probe")
	await("probe table back", subjects.Up, "")
	m.write(t, "password", "wrong "+canary+"\n")
	await("wrong password", subjects.Down, "user or password refused")
	m.write(t, "password", canary+"\n")
	await("password put right", subjects.Up, "")
	m.SQL("REVOKE ALL ON thor.* FROM 'thor'@'%'")
	await("access revoked", subjects.Down, "no access to this database")
	m.SQL("GRANT ALL ON thor.* TO 'thor'@'%'")
	await("access granted", subjects.Up, "")
	m.Freeze()
	await("frozen", subjects.Down, "no answer")
	m.Thaw()
	await("thawed", subjects.Up, "")
	m.Stop()
	await("stopped", subjects.Down, "connection refused")
	m.Restart()
	await("started again", subjects.Up, "")
	m.Kill()
	await("killed", subjects.Down, "connection refused")
	m.Restart()
	await("recovered", subjects.Up, "")
	for _, line := range n.Lines() {
		if strings.Contains(line, "c4n4") {
			t.Errorf("announced: %s", line)
		}
	}
	if s := logs.String(); strings.Contains(s, "c4n4") || !strings.Contains(s, "database check failed") {
		t.Errorf("log:\n%s", s)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
			t.Fatal(err)
		}
	}
	if s := text.String(); strings.Contains(s, "c4n4") || !strings.Contains(s, `thor_dbagent_probes_total{database="`+m.Addr()+`/thor",result="failed"}`) {
		t.Errorf("metrics:\n%s", s)
	}
	if rows := m.Rows("SELECT COUNT(*) FROM thor.probe"); rows != "0" {
		t.Errorf("the probe left %s rows", rows)
	}
	t.Run("variants", func(t *testing.T) { variants(t, m) })
}

// ask probes once, within the timeout. nil means that all is well.
func ask(t *testing.T, p *mysqlProbe) *check.Fault {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), p.db.Timeout)
	defer cancel()
	if err := (&candidate{prober: p}).Probe(ctx); err != nil {
		return check.Explain(err)
	}
	return nil
}

// variants are databases that differ from the good one in one thing.
func variants(t *testing.T, m *mariadb) {
	m.SQL("CREATE USER 'reader'@'%' IDENTIFIED BY '" + canary + "'; GRANT SELECT ON thor.* TO 'reader'@'%'; CREATE USER 'nobody'@'%';" +
		"CREATE USER 'once'@'%' IDENTIFIED BY '" + canary + "' WITH MAX_USER_CONNECTIONS -1; GRANT ALL ON thor.* TO 'once'@'%'")
	probe := func(uri, password string, f func(*Database)) string {
		d := Database{DSN: dsn(t, uri), Timing: check.Timing{Timeout: patience, Interval: patience}}
		if password != "" {
			var err error
			if d.DSN, err = d.DSN.WithPassword(password); err != nil {
				t.Fatal(err)
			}
		}
		if f != nil {
			f(&d)
		}
		fault := ask(t, &mysqlProbe{db: d.withDefaults()})
		if fault == nil {
			return ""
		}
		if s := fmt.Sprintf("%v %v", fault, fault.Cause); strings.Contains(s, "c4n4") {
			t.Errorf("%s tells: %s", uri, s)
		}
		return fault.Text
	}
	base := "mysql://thor@" + m.Addr()
	check := func(name, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	check("good", probe(base+"/thor", canary, nil), "")
	check("charset", probe(base+"/thor?charset=utf8mb4", canary, nil), "")
	check("database that is not there", probe(base+"/nothere", canary, nil), "no access to this database")
	check("another's database", probe(base+"/other", canary, nil), "no access to this database")
	check("database that is not there, all rights", probe("mysql://root@"+m.Addr()+"/nothere", "", nil), "no such database")
	check("no password", probe(base+"/thor", "", nil), "user or password refused")
	check("unknown user", probe("mysql://who@"+m.Addr()+"/thor", canary, nil), "user or password refused")
	check("user without rights", probe("mysql://nobody@"+m.Addr()+"/thor", "", nil), "no access to this database")
	check("cannot write, not tried", probe("mysql://reader@"+m.Addr()+"/thor", canary, nil), "")
	check("cannot write, tried", probe("mysql://reader@"+m.Addr()+"/thor", canary, func(d *Database) { d.Probe = "probe" }), "no permission to write")
	check("full", probe("mysql://once@"+m.Addr()+"/thor", canary, nil), "too many connections")
	check("tls, unknown authority", probe(base+"/thor?tls=true", canary, func(d *Database) { d.Roots = x509.NewCertPool() }), "certificate of an unknown authority")
	check("tls", probe(base+"/thor?tls=true", canary, func(d *Database) { d.Roots = m.trusted }), "")
	check("tls, another name", probe("mysql://thor@localhost:"+strings.Split(m.Addr(), ":")[1]+"/thor?tls=true", canary, func(d *Database) { d.Roots = m.trusted }), "certificate for another name")
	m.SQL("SET GLOBAL read_only=ON")
	check("read-only replica for readers", probe(base+"/thor", canary, func(d *Database) { d.Mode = location.ReadOnly }), "")
	check("read-only replica for writers", probe(base+"/thor", canary, nil), "takes no writes")
	m.SQL("SET GLOBAL read_only=OFF")
}

func TestHostileServersAreFaultsAndGetNothing(t *testing.T) {
	packet := func(seq int, body string) string { return string([]byte{byte(len(body)), 0, 0, byte(seq)}) + body }
	greeting := func(plugin string) string { // of protocol 10
		body := "\x0a10.11\x00\x01\x00\x00\x0012345678\x00\xff\xf7\x21\x02\x00\xff\x81\x15" + strings.Repeat("\x00", 10) + "123456789012\x00" + plugin + "\x00"
		return packet(0, body)
	}
	// turns greets, hears the answer, and says what next.
	turns := func(next string) func(net.Conn) {
		return func(c net.Conn) {
			fmt.Fprint(c, greeting("mysql_native_password"))
			b := make([]byte, 4096)
			if _, err := c.Read(b); err == nil {
				fmt.Fprint(c, packet(2, next))
				_, _ = io.Copy(io.Discard, c)
			}
		}
	}
	for _, c := range []struct {
		name  string
		serve func(net.Conn)
		want  string
	}{
		{"closes", func(net.Conn) {}, "connection broken"},
		{"silent", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, "no answer"},
		{"http", func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }, ""},
		{"zeros", func(c net.Conn) { _, _ = c.Write(make([]byte, 4096)) }, ""},
		{"huge packet", func(c net.Conn) {
			fmt.Fprint(c, "\xff\xff\xff\x00")
			_, _ = io.Copy(c, io.LimitReader(rand.Reader, 32<<20))
		}, ""},
		{"wants the password in clear", turns("\xfemysql_clear_password\x00"), "asks for the password in a way that is not allowed"},
		{"wants the old hash", turns("\xfemysql_old_password\x0012345678\x00"), "asks for the password in a way that is not allowed"},
		{"unknown plugin", turns("\xfedialog\x00xx"), "asks for the password in a way that is not allowed"},
		{"short challenge", turns("\xfemysql_native_password\x00abc"), "does not speak MySQL"},
		{"short challenge for ed25519", turns("\xfeclient_ed25519\x00abc"), "does not speak MySQL"},
		{"wants a file", turns("\xfb/etc/passwd"), ""},
		{"cut error", turns("\xff"), ""},
		{"an error with our password in it", func(c net.Conn) {
			fmt.Fprint(c, packet(0, "\xff\x15\x04#28000Access denied for "+canary))
		}, "user or password refused"},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var heard locked
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				_ = conn.SetDeadline(time.Now().Add(patience))
				c.serve(tee{conn, &heard})
				_ = conn.Close()
			}
		}()
		timeout := patience
		if c.want == "no answer" {
			timeout = 300 * time.Millisecond
		}
		d := Database{DSN: secretDSN(t, "mysql://u@"+l.Addr().String()+"/d"), Timing: check.Timing{Interval: patience, Timeout: timeout}}.withDefaults()
		p := &mysqlProbe{db: d}
		for range 2 {
			f := ask(t, p)
			if f == nil || c.want != "" && f.Text != c.want {
				t.Errorf("%s: %v", c.name, f)
			}
		}
		_ = l.Close()
		<-done
		if strings.Contains(heard.String(), "c4n4") {
			t.Errorf("%s: the password was sent", c.name)
		}
	}
}

// tee writes down what is read.
type tee struct {
	net.Conn
	heard io.Writer
}

func (t tee) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	_, _ = t.heard.Write(p[:n])
	return n, err
}

func TestFaultsOfTheServerHaveFixedTexts(t *testing.T) {
	for _, n := range []uint16{1040, 1045, 1049, 1290, 9999} {
		if s := driver.ServerFault(n); s == "" || (n == 9999) != (s == "server error "+strconv.Itoa(int(n))) {
			t.Errorf("%d: %q", n, s)
		}
	}
	if s := explain(errors.New("never seen before " + canary)).Text; s != "failed" {
		t.Error(s)
	}
}
