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
	"thor/identity"
	"thor/overlay"
	"thor/overlay/audit"
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

// fakeNet writes down what is announced, and when.
type fakeNet struct {
	id    *identity.Identity
	start time.Time
	deny  error

	mu       sync.Mutex
	said     []string
	now      overlay.Member
	handlers map[string]func(context.Context, *overlay.Request) *subjects.Reply
}

func newFakeNet() *fakeNet {
	return &fakeNet{
		id: &identity.Identity{
			Domain: "example.net", Node: "db1", Roles: []subjects.Role{subjects.Database}, Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")},
		},
		start: time.Now(), handlers: make(map[string]func(context.Context, *overlay.Request) *subjects.Reply),
	}
}

func (n *fakeNet) say(m overlay.Member) {
	line := fmt.Sprintf("%v %s %s %s", time.Since(n.start), m.State, m.Attrs["dburi"], m.Attrs["mode"])
	if m.Reason != "" {
		line += ": " + m.Reason
	}
	n.said, n.now = append(n.said, line), m
}

func (n *fakeNet) announced() overlay.Member {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.now
}

func (n *fakeNet) Identity() *identity.Identity { return n.id }

func (n *fakeNet) Join(m overlay.Member) (membership, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.deny != nil {
		return nil, n.deny
	}
	n.say(m)
	return fakeMembership{n}, nil
}

func (n *fakeNet) Handle(role, verb string, h func(context.Context, *overlay.Request) *subjects.Reply) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.handlers[role+"."+verb] = h
}

type fakeMembership struct{ n *fakeNet }

func (m fakeMembership) Update(f func(*overlay.Member)) {
	m.n.mu.Lock()
	defer m.n.mu.Unlock()
	next := m.n.now
	f(&next)
	m.n.say(next)
}

func (m fakeMembership) Leave(context.Context) error {
	m.n.mu.Lock()
	defer m.n.mu.Unlock()
	m.n.said = append(m.n.said, time.Since(m.n.start).String()+" leave")
	return nil
}

func (n *fakeNet) expect(t *testing.T, want ...string) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if !slices.Equal(n.said, want) {
		t.Errorf("announced\n got %s\nwant %s", strings.Join(n.said, "\n     "), strings.Join(want, "\n     "))
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

func (f *fakeDB) probe(ctx context.Context) (string, error) {
	at := time.Since(f.start)
	select {
	case <-time.After(f.takes):
	case <-ctx.Done():
		return "", ctx.Err()
	}
	for _, x := range f.fails {
		if at >= x.from && at < x.to {
			return "", &fault{text: x.text}
		}
	}
	return "10.11", nil
}

func agentWith(t *testing.T, n *fakeNet, dbs ...*fakeDB) *Agent {
	t.Helper()
	cfg := Config{Metrics: prometheus.NewRegistry(), Cleared: []subjects.Role{"provisioning_server"}}
	for i := range dbs {
		cfg.Databases = append(cfg.Databases, Database{DSN: secretDSN(t, fmt.Sprintf("mysql://u@h%d/d", i)), Priority: 10 * (i + 1)})
	}
	a, err := newAgent(cfg, n)
	if err != nil {
		t.Fatal(err)
	}
	for i, db := range dbs {
		db.start, db.where = n.start, cfg.Databases[i].DSN
		a.dbs[i].prober = db
	}
	return a
}

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
		if n.now.Version != "10.11" || n.now.Priority != 10 {
			t.Errorf("%+v", n.now)
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

func TestHealthAndPick(t *testing.T) {
	for _, c := range []struct{ script, want string }{
		{"..", "+! +"},
		{"aa", "a! a"},
		{".a.a.", "+! + + + +"},
		{".aa..", "+! + a! a +!"},
		{".ab", "+! + b!"},
		{"a.a.a", "a! a a a a"},
		{"ababab", "a! a a a a a"},
		{"abb", "a! a b!"},
		{"a.bb..", "a! a a b! b +!"},
	} {
		var h health
		var got []string
		for _, p := range c.script {
			s := ""
			if h.observe(strings.TrimSuffix(string(p), ".")) {
				s = "!"
			}
			if h.now == sick {
				s = h.reason + s
			} else {
				s = "+" + s
			}
			got = append(got, s)
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s: %s, want %s", c.script, s, c.want)
		}
	}
	u, w, s := &health{}, &health{now: healthy}, &health{now: sick}
	for i, c := range []struct {
		hs   []*health
		now  int
		best int
		ok   bool
	}{
		{[]*health{u, w}, -1, 0, false},
		{[]*health{w, u}, -1, 0, true},
		{[]*health{s, u}, -1, 0, false},
		{[]*health{s, w}, -1, 1, true},
		{[]*health{s, s}, -1, 0, true},
		{[]*health{s, s}, 1, 1, true},
		{[]*health{w, s}, 1, 0, true},
	} {
		if best, ok := pick(c.hs, c.now); best != c.best || ok != c.ok {
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
			if err != nil || d.Password() != canary || d.String() != n.now.Attrs["dburi"] || mode != location.ReadWrite {
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
		n.deny = errors.New("join as thor_database: not in the certificate")
		a := agentWith(t, n, &fakeDB{}, &fakeDB{})
		if err := a.Run(t.Context()); !errors.Is(err, n.deny) {
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
	if _, err := newAgent(Config{Databases: with(func(*Database) {})}, newFakeNet()); err != nil {
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
		_, err := newAgent(c, newFakeNet())
		if err == nil || !strings.HasPrefix(err.Error(), "dbagent: ") || strings.Contains(err.Error(), "c4n4") {
			t.Errorf("%s: %v", name, err)
		}
	}
	n := newFakeNet()
	n.id.Roles = []subjects.Role{"sip_proxy"}
	if _, err := newAgent(Config{Databases: []Database{ok}}, n); err == nil || !strings.Contains(err.Error(), "thor_database: not in the certificate of db1") {
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
		if err != nil && (explain(err).text != passwordText || strings.Contains(fmt.Sprint(errors.Unwrap(err)), "c4n4")) {
			t.Errorf("%s: %v: %v", c.name, err, errors.Unwrap(err))
		}
	}
}
