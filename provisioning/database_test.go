package provisioning_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql" // restores the rows
	"github.com/rs/zerolog"

	"thor/dbagent/location"
	"thor/dnsagent/zone"
	"thor/provisioning/ngnpro"
	"thor/provisioning/store"
	"thor/provisioning/store/mariadbtest"
)

// Handlers are tested on a real database: one server for the process, and for most
// tests one schema, whose rows are put back before each of them.

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.stop != nil {
		shared.stop()
	}
	mariadbtest.StopShared()
	os.Exit(code)
}

// patience bounds every wait.
const patience = 30 * time.Second

// run runs a store until stop, and waits for its database.
func run(s *store.Store) (stop func() error, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = func() error { cancel(); return <-done }
	select {
	case <-s.Ready():
		return stop, nil
	case <-time.After(patience):
		return nil, errors.Join(errors.New("the store got no database"), stop())
	}
}

// emptyStore is a store on a schema of its own.
func emptyStore(t testing.TB) *store.Store {
	t.Helper()
	return storeOn(t, store.Fixed{DSN: mariadbtest.Shared(t).Schema()})
}

// networkDomain is that of the network of these stores.
const networkDomain = "net.example"

func storeOn(t testing.TB, source store.Source) *store.Store {
	t.Helper()
	z := zone.DefaultConfig(networkDomain)
	s, err := store.New(store.Config{
		Source: source, Log: zerolog.New(zerolog.NewTestWriter(t)), Domain: networkDomain,
		Unserved: func(have []string, line string) string { return z.Refuses(have, line, nil) },
	})
	if err != nil {
		t.Fatal(err)
	}
	stop, err := run(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// shared is the schema that populated returns.
var shared struct {
	sync.Mutex
	*store.Store
	dsn  location.DSN
	root *sql.DB
	stop func()
}

// populated is a store with two resellers' domains and an account in each. Tests
// that use it do not run in parallel.
func populated(t testing.TB) *store.Store {
	t.Helper()
	db := mariadbtest.Shared(t)
	shared.Lock()
	defer shared.Unlock()
	if shared.Store == nil {
		if err := populate(db); err != nil {
			t.Fatal(err)
		}
		return shared.Store
	}
	if _, err := shared.root.Exec("CALL restore_" + shared.dsn.Name() + ".restore_rows()"); err != nil {
		t.Fatal(err)
	}
	return shared.Store
}

func populate(db *mariadbtest.Server) error {
	dsn := db.Schema()
	s, err := store.New(store.Config{Source: store.Fixed{DSN: dsn}})
	if err != nil {
		return err
	}
	stop, err := run(s)
	if err != nil {
		return err
	}
	root, err := sql.Open("mysql", "root@unix("+db.Socket()+")/"+dsn.Name()+"?multiStatements=true")
	if err != nil {
		return err
	}
	shared.stop = func() { _, _ = stop(), root.Close() } // the process ends
	if _, err := root.Exec("ALTER TABLE customers AUTO_INCREMENT = 101"); err != nil {
		return err
	}
	if err := fill(s); err != nil {
		return err
	}
	shared.Store, shared.dsn, shared.root = s, dsn, root
	return keepRows(root, dsn.Name())
}

// keepRows copies the rows of all tables, and makes a procedure that restores them.
func keepRows(root *sql.DB, schema string) error {
	var list string
	const q = "SELECT GROUP_CONCAT(table_name) FROM information_schema.tables WHERE table_schema = ? AND table_type = 'BASE TABLE'" +
		" AND table_name NOT IN ('provisioning_migrations', 'version')"
	if err := root.QueryRow(q, schema).Scan(&list); err != nil {
		return err
	}
	copies, restore := "CREATE DATABASE restore_"+schema+";", "SET FOREIGN_KEY_CHECKS = 0;"
	for table := range strings.SplitSeq(list, ",") {
		copies += fmt.Sprintf("CREATE TABLE restore_%[1]s.%[2]s AS SELECT * FROM %[1]s.%[2]s;", schema, table)
		restore += fmt.Sprintf("DELETE FROM %[1]s.%[2]s; INSERT INTO %[1]s.%[2]s SELECT * FROM restore_%[1]s.%[2]s;", schema, table)
	}
	_, err := root.Exec(copies + "CREATE PROCEDURE restore_" + schema + ".restore_rows() BEGIN START TRANSACTION; " + restore +
		" COMMIT; SET FOREIGN_KEY_CHECKS = 1; END")
	return err
}

func fill(s *store.Store) error {
	ctx, admin := context.Background(), ngnpro.Viewer{Admin: true}
	for _, c := range []struct {
		user     string
		reseller *int
	}{{"reseller1", nil}, {"customer1", new(101)}, {"reseller2", nil}} {
		_, err := s.Customers.Add(ctx, admin, &ngnpro.CustomerAccount{
			Username: &c.user, Password: new("pw-" + c.user), Reseller: c.reseller, ResellerActive: new(c.reseller == nil),
		})
		if err != nil {
			return err
		}
	}
	for domain, owner := range map[string][2]int{"example.com": {102, 101}, "example.net": {0, 103}} {
		if err := s.Domains.Add(ctx, admin, &ngnpro.SipDomain{Domain: domain, Customer: &owner[0], Reseller: &owner[1]}); err != nil {
			return err
		}
		_, _, err := s.Accounts.Add(ctx, admin, &ngnpro.SipAccount{
			ID: ngnpro.SipID{Username: "alice", Domain: domain}, Password: new("pw"), FirstName: new("Alice"),
			Groups: &[]string{"free-pstn"}, Timeout: new(35), Prepaid: new(true),
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// An outage is a source whose database cannot be located until it ends.
type outage struct {
	mu    sync.Mutex
	err   error // nil once it ended
	dsn   location.DSN
	ended chan struct{}
}

func newOutage(err error, dsn location.DSN) *outage {
	return &outage{err: err, dsn: dsn, ended: make(chan struct{}, 1)}
}

func (o *outage) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err = nil
	o.ended <- struct{}{}
}

func (o *outage) Locate(context.Context) (location.DSN, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.dsn, o.err
}

func (o *outage) Watch(context.Context) <-chan struct{} { return o.ended }
