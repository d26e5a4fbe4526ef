package dbagent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"thor/dbagent/location"
	"thor/overlay"
	"thor/overlay/audit"
	"thor/overlay/check"
	"thor/overlay/check/checktest"
	"thor/subjects"
)

func TestMain(m *testing.M) {
	// What the driver leaves behind when it panics, see mysqlProbe.guard.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/go-sql-driver/mysql.(*mysqlConn).startWatcher.func1"))
}

// canary is the password of all tests: it may appear nowhere but in an answer to
// a cleared role.
const canary = "c4n4ry/@:#?%"

func dsn(t *testing.T, uri string) location.DSN {
	t.Helper()
	d, err := location.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func secretDSN(t *testing.T, uri string) location.DSN {
	t.Helper()
	d, err := dsn(t, uri).WithPassword(canary)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// fakeNet keeps the handlers of requests too.
type fakeNet struct {
	*checktest.Net
	mu       sync.Mutex
	handlers map[string]func(context.Context, *overlay.Request) *subjects.Reply
}

func newFakeNet() *fakeNet {
	n := &fakeNet{Net: checktest.New("db1", subjects.Database), handlers: make(map[string]func(context.Context, *overlay.Request) *subjects.Reply)}
	n.Text = func(m overlay.Member) string {
		if m.State == subjects.Leave {
			return "leave"
		}
		line := fmt.Sprintf("%s %s %s", m.State, m.Attrs["dburi"], m.Attrs["mode"])
		if m.Reason != "" {
			line += ": " + m.Reason
		}
		return line
	}
	return n
}

func (n *fakeNet) announced() overlay.Member { return n.Member(subjects.Database) }

func (n *fakeNet) Handle(role, verb string, h func(context.Context, *overlay.Request) *subjects.Reply) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.handlers[role+"."+verb] = h
}

func (n *fakeNet) expect(t *testing.T, want ...string) {
	t.Helper()
	if said := n.Lines(); !slices.Equal(said, want) {
		t.Errorf("announced\n got %s\nwant %s", strings.Join(said, "\n     "), strings.Join(want, "\n     "))
	}
}

// fakeDB is a database that fails at set times.
type fakeDB struct {
	start time.Time
	fails []failure
	takes time.Duration
	where location.DSN
}

type failure struct {
	from, to time.Duration
	text     string
}

func (f *fakeDB) dsn() (location.DSN, error) { return f.where, nil }

func (f *fakeDB) probe(ctx context.Context) (server, error) {
	at := time.Since(f.start)
	select {
	case <-time.After(f.takes):
	case <-ctx.Done():
		return server{}, ctx.Err()
	}
	for _, x := range f.fails {
		if at >= x.from && at < x.to {
			return server{}, &check.Fault{Text: x.text}
		}
	}
	return server{version: "10.11"}, nil
}

func agentWith(t *testing.T, n *fakeNet, dbs ...*fakeDB) *Agent {
	t.Helper()
	cfg := Config{Metrics: prometheus.NewRegistry(), Cleared: []subjects.Role{"provisioning_server"}}
	for i := range dbs {
		cfg.Databases = append(cfg.Databases, Database{DSN: secretDSN(t, fmt.Sprintf("mysql://u@h%d/d", i)), Priority: 10 * (i + 1)})
	}
	next := 0
	a, err := newAgent(cfg, n, func(d Database) prober {
		db := dbs[next]
		next++
		db.start, db.where = n.Start, d.DSN
		return db
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// mysqlProber makes what New makes.
func mysqlProber(d Database) prober { return &mysqlProbe{db: d} }

func runFor(t *testing.T, a *Agent, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := a.Run(ctx); err != nil {
		t.Errorf("run: %v", err)
	}
}

func TestADatabaseThatFailsIsDownUntilItIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNet()
		a := agentWith(t, n, &fakeDB{fails: []failure{{5 * time.Second, 11 * time.Second, "connection refused"}}})
		runFor(t, a, 20*time.Second)
		n.expect(t,
			"0s up mysql://u:xxxxxx@h0/d read-write",
			"7s down mysql://u:xxxxxx@h0/d read-write: mysql h0:3306/d: connection refused",
			"12s up mysql://u:xxxxxx@h0/d read-write",
			"20s leave")
		if n.announced().Version != "10.11" || n.announced().Priority != 10 {
			t.Errorf("%+v", n.announced())
		}
		select {
		case <-a.Ready():
		default:
			t.Error("not ready")
		}
	})
}

func TestOneFailedCheckChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNet()
		runFor(t, agentWith(t, n, &fakeDB{fails: []failure{{3900 * time.Millisecond, 4100 * time.Millisecond, "x"}}}), 20*time.Second)
		n.expect(t, "0s up mysql://u:xxxxxx@h0/d read-write", "20s leave")
	})
}

func TestADatabaseThatNeverAnsweredIsAnnouncedDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNet()
		runFor(t, agentWith(t, n, &fakeDB{takes: time.Hour}), 20*time.Second)
		n.expect(t, "1s down mysql://u:xxxxxx@h0/d read-write: mysql h0:3306/d: no answer", "20s leave")
	})
}

func TestTheNextDatabaseStandsInAndGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNet()
		a := agentWith(t, n,
			&fakeDB{takes: 500 * time.Millisecond, fails: []failure{{5 * time.Second, 21 * time.Second, "connection refused"}}},
			&fakeDB{fails: []failure{{11 * time.Second, 15 * time.Second, "takes no writes"}}})
		runFor(t, a, 30*time.Second)
		n.expect(t,
			"500ms up mysql://u:xxxxxx@h0/d read-write",
			"7.5s up mysql://u:xxxxxx@h1/d read-write",
			"13s down mysql://u:xxxxxx@h1/d read-write: mysql h1:3306/d: takes no writes",
			"16s up mysql://u:xxxxxx@h1/d read-write",
			"22.5s up mysql://u:xxxxxx@h0/d read-write",
			"30s leave")
	})
}

func TestPick(t *testing.T) {
	const u, w, s = check.Unknown, check.Passing, check.Failing
	for i, c := range []struct {
		cs   []check.Condition
		now  int
		best int
		ok   bool
	}{
		{[]check.Condition{u, w}, -1, 0, false},
		{[]check.Condition{w, u}, -1, 0, true},
		{[]check.Condition{s, u}, -1, 0, false},
		{[]check.Condition{s, w}, -1, 1, true},
		{[]check.Condition{s, s}, -1, 0, true},
		{[]check.Condition{s, s}, 1, 1, true},
		{[]check.Condition{w, s}, 1, 0, true},
	} {
		if best, ok := pick(c.cs, c.now); best != c.best || ok != c.ok {
			t.Errorf("case %d: %d, %v", i, best, ok)
		}
	}
}

func TestThePasswordGoesOnlyToWhoMayHaveIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNet()
		var logs bytes.Buffer
		a := agentWith(t, n, &fakeDB{takes: time.Second})
		a.log = zerolog.New(&logs)
		var audited bytes.Buffer
		a.audit = audit.To(&audited)
		a.refused = audit.NewTally(a.audit, time.Hour)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		synctest.Wait()
		ask := func(subject, inbox string) *subjects.Reply {
			return n.handlers["thor_database.credentials"](ctx, &overlay.Request{Subject: subject, Reply: inbox})
		}
		good, inbox := subjects.Credentials("db1", "provisioning_server", "p1"), "_ANSWER.p1.thor_database.abc"
		if r := ask(good, inbox); r.Code != subjects.ErrorFailed {
			t.Errorf("before anything is announced: %+v", r)
		}
		time.Sleep(2 * time.Second)
		for _, c := range []struct {
			name, subject, inbox string
			code                 subjects.ErrorCode
		}{
			{"cleared", good, inbox, ""},
			{"not cleared", subjects.Credentials("db1", "sip_proxy", "p1"), inbox, subjects.ErrorForbidden},
			{"the locator's own role", subjects.Credentials("db1", "thor_database", "p1"), inbox, subjects.ErrorForbidden},
			{"another's answers", good, "_ANSWER.p2.thor_database.abc", subjects.ErrorForbidden},
			{"a name that begins alike", good, "_ANSWER.p11.thor_database.abc", subjects.ErrorForbidden},
			{"a plain client's inbox", good, "_INBOX.p1.abc", subjects.ErrorForbidden},
			{"no inbox", good, "", subjects.ErrorForbidden},
			{"a public subject", good, "thor.event", subjects.ErrorForbidden},
			{"no asker", "thor.node.db1.thor_database.credentials", inbox, subjects.ErrorBad},
			{"no node", "thor.node.db1.thor_database.credentials.provisioning_server", inbox, subjects.ErrorBad},
			{"one token more", good + ".x", inbox, subjects.ErrorBad},
			{"no role", "thor.node.db1.thor_database.credentials.A.p1", inbox, subjects.ErrorBad},
			{"no name", "thor.node.db1.thor_database.credentials.provisioning_server.*", "_INBOX.*.abc", subjects.ErrorBad},
			{"empty", "", "", subjects.ErrorBad},
		} {
			r := ask(c.subject, c.inbox)
			if r.Code != c.code || (len(r.Data) > 0) != (c.code == "") || r.V != 1 {
				t.Errorf("%s: %s", c.name, r.Encode())
			}
			if c.code != "" {
				if strings.Contains(string(r.Encode()), "c4n4") {
					t.Errorf("%s: the refusal tells", c.name)
				}
				continue
			}
			back, err := subjects.ParseReply(r.Encode())
			if err != nil {
				t.Fatal(err)
			}
			d, mode, err := location.ParseCredentials(back.Data)
			if err != nil || d.Password() != canary || d.String() != n.announced().Attrs["dburi"] || mode != location.ReadWrite {
				t.Errorf("%s: %v, %v, %v", c.name, d.Reveal(), mode, err)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		for _, want := range []string{
			`"who":"p1","act":"credentials","what":"h0:3306/d","from":"provisioning_server","outcome":"ok","count":1}`,
			`"who":"p1","act":"credentials","what":"","from":"provisioning_server","outcome":"failed","detail":"no database is announced yet"`,
			`"who":"p1","act":"credentials","what":"","from":"sip_proxy","outcome":"refused","detail":"this role is not cleared for the database"`,
		} {
			if s := audited.String(); strings.Contains(s, "c4n4") || strings.Count(s, want) != 1 {
				t.Errorf("audit log lacks %s:\n%s", want, s)
			}
		}
		if s := logs.String(); strings.Contains(s, "c4n4") || !strings.Contains(s, `"peer":"p1"`) || !strings.Contains(s, "database password given") {
			t.Errorf("log:\n%s", s)
		}
	})
}

func TestRunEndsWithTheReasonWhenTheRoleIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNet()
		deny := errors.New("join as thor_database: not in the certificate")
		n.Refuse(deny)
		a := agentWith(t, n, &fakeDB{}, &fakeDB{})
		if err := a.Run(t.Context()); !errors.Is(err, deny) {
			t.Errorf("run: %v", err)
		}
		if err := a.Run(t.Context()); err == nil {
			t.Error("ran twice")
		}
	})
}

func TestBadConfigurationsAreRefusedWithoutThePassword(t *testing.T) {
	ok := Database{DSN: dsn(t, "mysql://u@h/d")}
	with := func(f func(*Database)) []Database {
		d := ok
		d.DSN = dsn(t, "mysql://u@h2/d")
		f(&d)
		return []Database{ok, d}
	}
	if _, err := newAgent(Config{Databases: with(func(*Database) {})}, newFakeNet(), mysqlProber); err != nil {
		t.Fatalf("two good databases: %v", err)
	}
	for name, c := range map[string]Config{
		"no databases":       {},
		"no location":        {Databases: []Database{{}}},
		"the same twice":     {Databases: []Database{ok, ok}},
		"two passwords":      {Databases: with(func(d *Database) { d.DSN, d.PasswordFile = secretDSN(t, "mysql://u@h2/d"), "x" })},
		"file and variable":  {Databases: with(func(d *Database) { d.PasswordFile, d.PasswordEnv = "x", "Y" })},
		"mode":               {Databases: with(func(d *Database) { d.DSN, d.Mode = secretDSN(t, "mysql://u@h2/d"), "write-only" })},
		"probe of a reader":  {Databases: with(func(d *Database) { d.Mode, d.Probe = location.ReadOnly, "t" })},
		"probe no table":     {Databases: with(func(d *Database) { d.Probe = "t`; DROP TABLE x" })},
		"roots without tls":  {Databases: with(func(d *Database) { d.Roots = selfSigned(t).pool })},
		"priority -1":        {Databases: with(func(d *Database) { d.Priority = -1 })},
		"priority 65536":     {Databases: with(func(d *Database) { d.Priority = 65536 })},
		"interval":           {Databases: with(func(d *Database) { d.Interval = time.Millisecond })},
		"timeout":            {Databases: with(func(d *Database) { d.Timeout = time.Hour })},
		"foreign address":    {Databases: with(func(d *Database) { d.Addresses = []netip.Addr{netip.MustParseAddr("192.0.2.1")} })},
		"cleared is no role": {Databases: []Database{ok}, Cleared: []subjects.Role{"*"}},
	} {
		_, err := newAgent(c, newFakeNet(), mysqlProber)
		if err == nil || !strings.HasPrefix(err.Error(), "dbagent: ") || strings.Contains(err.Error(), "c4n4") {
			t.Errorf("%s: %v", name, err)
		}
	}
	n := newFakeNet()
	n.ID.Roles = []subjects.Role{"sip_proxy"}
	if _, err := newAgent(Config{Databases: []Database{ok}}, n, mysqlProber); err == nil || !strings.Contains(err.Error(), "thor_database: not in the certificate of db1") {
		t.Errorf("no role: %v", err)
	}
	if _, err := New(Config{}); err == nil {
		t.Error("an agent without a network was accepted")
	}
	if s := fmt.Sprintf("%+v %#v", ok, Database{DSN: secretDSN(t, "mysql://u@h/d")}); strings.Contains(s, "c4n4") {
		t.Errorf("a printed configuration tells: %s", s)
	}
}

func TestThePasswordComesFromWhereItIsKept(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(p, mode); err != nil {
			t.Fatal(err)
		}
		return p
	}
	t.Setenv("DB_PASSWORD", canary)
	t.Setenv("DB_EMPTY", "")
	for _, c := range []struct {
		name string
		db   Database
		want string
		bad  bool
	}{
		{"none", Database{}, "", false},
		{"file", Database{PasswordFile: write("a", canary+"\n", 0o600)}, canary, false},
		{"file of CRLF", Database{PasswordFile: write("b", canary+"\r\n", 0o400)}, canary, false},
		{"spaces are kept", Database{PasswordFile: write("c", " x ", 0o600)}, " x ", false},
		{"variable", Database{PasswordEnv: "DB_PASSWORD"}, canary, false},
		{"empty variable", Database{PasswordEnv: "DB_EMPTY"}, "", true},
		{"no variable", Database{PasswordEnv: "DB_NONE"}, "", true},
		{"no file", Database{PasswordFile: filepath.Join(dir, "none")}, "", true},
		{"directory", Database{PasswordFile: dir}, "", true},
		{"empty file", Database{PasswordFile: write("d", "\n", 0o600)}, "", true},
		{"two lines", Database{PasswordFile: write("e", canary+"\nmore\n", 0o600)}, "", true},
		{"long file", Database{PasswordFile: write("f", strings.Repeat(canary, 1000), 0o600)}, "", true},
		{"group may read", Database{PasswordFile: write("g", canary, 0o640)}, "", true},
		{"others may read", Database{PasswordFile: write("h", canary, 0o604)}, "", true},
	} {
		c.db.DSN = dsn(t, "mysql://u@h/d")
		d, err := (&mysqlProbe{db: c.db}).dsn()
		if d.Password() != c.want || (err != nil) != c.bad {
			t.Errorf("%s: %q, %v", c.name, d.Password(), err)
		}
		if err != nil && (explain(err).Text != passwordText || strings.Contains(fmt.Sprint(errors.Unwrap(err)), "c4n4")) {
			t.Errorf("%s: %v: %v", c.name, err, errors.Unwrap(err))
		}
	}
}
