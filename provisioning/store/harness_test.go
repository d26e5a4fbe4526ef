package store_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"thor/dbagent/location"
	"thor/provisioning/ngnpro"
	"thor/provisioning/store"
	"thor/provisioning/store/mariadbtest"
)

// patience bounds every wait.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	code := m.Run()
	mariadbtest.StopShared()
	os.Exit(code)
}

// A world is a store on an empty schema.
type world struct {
	*store.Store
	t   *testing.T
	ctx context.Context
	db  *mariadbtest.Server
	dsn location.DSN

	conn    *sql.DB // besides the store, see connect
	someone int     // a customer
}

var admin = ngnpro.Viewer{Admin: true}

// newWorld runs a store on a schema of the shared server until the test ends.
func newWorld(t *testing.T, change ...func(*store.Config)) *world {
	t.Helper()
	db := mariadbtest.Shared(t)
	return open(t, db, db.Schema(), change...)
}

// open runs a store on a schema that may have been used before.
func open(t *testing.T, db *mariadbtest.Server, dsn location.DSN, change ...func(*store.Config)) *world {
	t.Helper()
	cfg := store.Config{Source: store.Fixed{DSN: dsn}, Log: zerolog.New(zerolog.NewTestWriter(t)), Timeout: 20 * time.Second}
	for _, f := range change {
		f(&cfg)
	}
	s, err := store.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Store: s, t: t, ctx: context.Background(), db: db, dsn: dsn}
	run(t, s)
	select {
	case <-s.Ready():
	case <-time.After(patience):
		t.Fatal("the store got no database")
	}
	return w
}

func run(t *testing.T, s *store.Store) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func (w *world) rows(sql string) string {
	w.t.Helper()
	return w.db.Rows("USE " + w.dsn.Name() + "; " + sql)
}

func (w *world) sql(sql string) { w.t.Helper(); w.db.SQL("USE " + w.dsn.Name() + "; " + sql) }

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// only is the error of a change, without its notices.
func only(_ store.Notices, err error) error { return err }

// is checks which fault an error is.
func is(t testing.TB, what string, err error, want *ngnpro.Fault) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want.Name)
	}
}

func (w *world) domain(name string) {
	w.t.Helper()
	w.ok(w.Domains.Add(w.ctx, admin, &ngnpro.SipDomain{Domain: name}))
}

// clean is a record as the server hands it on, if it can be brought into that form.
func clean[R interface{ Clean() error }](r R) R {
	_ = r.Clean()
	return r
}

func id(key string) ngnpro.SipID {
	u, d, _ := strings.Cut(key, "@")
	return *clean(&ngnpro.SipID{Username: u, Domain: d})
}

func prefix(digits string) ngnpro.EnumRangeID { return *clean(&ngnpro.EnumRangeID{Prefix: digits}) }
func phone(number string) ngnpro.EnumID       { return *clean(&ngnpro.EnumID{Number: number}) }

// account adds an account with the password "secret".
func (w *world) account(key string, change ...func(*ngnpro.SipAccount)) {
	w.t.Helper()
	a := &ngnpro.SipAccount{ID: id(key), Password: new("secret")}
	for _, f := range change {
		f(a)
	}
	w.ok(a.CleanNew())
	_, _, err := w.Accounts.Add(w.ctx, admin, a)
	w.ok(err)
}

func (w *world) alias(key, target string) {
	w.t.Helper()
	_, err := w.Aliases.Add(w.ctx, admin, &ngnpro.SipAlias{ID: id(key), Target: id(target)})
	w.ok(err)
}

func (w *world) get(key string) *ngnpro.SipAccount {
	w.t.Helper()
	a, err := w.Accounts.Get(w.ctx, admin, id(key))
	w.ok(err)
	return a
}
