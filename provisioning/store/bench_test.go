package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"thor/provisioning/ngnpro"
	"thor/provisioning/store"
	"thor/provisioning/store/mariadbtest"
)

// benchStore runs a store on a server that writes every transaction to the disk.
func benchStore(b *testing.B) (*store.Store, *mariadbtest.Server, *sql.DB) {
	b.Helper()
	db := mariadbtest.Start(b, mariadbtest.Durable, "--innodb-buffer-pool-size=256M")
	dsn := db.Schema()
	s, err := store.New(store.Config{Source: store.Fixed{DSN: dsn}})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	b.Cleanup(func() { cancel(); <-done })
	<-s.Ready()
	for _, d := range []string{"d.example", "raw.example"} {
		if err := s.Domains.Add(ctx, admin, &ngnpro.SipDomain{Domain: d}); err != nil {
			b.Fatal(err)
		}
	}
	c := mysql.NewConfig()
	c.User, c.Passwd, c.Net, c.Addr, c.DBName = dsn.User(), dsn.Password(), "tcp", dsn.Address(), dsn.Name()
	k, err := mysql.NewConnector(c)
	if err != nil {
		b.Fatal(err)
	}
	raw := sql.OpenDB(k)
	raw.SetMaxOpenConns(1)
	b.Cleanup(func() { _ = raw.Close() })
	return s, db, raw
}

// rawAdd are the statements of one Accounts.Add with two groups.
var rawAdd = []struct {
	query string
	args  func(user string) []any
}{
	{"SELECT customer_id, reseller_id FROM sip_domains WHERE domain = ? LOCK IN SHARE MODE", func(string) []any { return []any{"raw.example"} }},
	{"INSERT INTO sip_revisions (domain, username, change_date) VALUES (?, ?, UTC_TIMESTAMP()) ON DUPLICATE KEY UPDATE revision = revision", func(u string) []any { return []any{"raw.example", u} }},
	{"INSERT INTO sip_accounts_meta (username, domain, first_name, last_name, email, customer_id, reseller_id, owner_id, create_date, change_date)" +
		" VALUES (?, 'raw.example', 'A', 'B', 'a@b', 0, 0, 0, UTC_TIMESTAMP(), UTC_TIMESTAMP())", func(u string) []any { return []any{u} }},
	{"INSERT INTO sip_accounts_data (account_id, profile) VALUES (LAST_INSERT_ID(), ?)", func(string) []any {
		return []any{`{"password":"secret","ha1":"0123456789abcdef0123456789abcdef","ha1b":"0123456789abcdef0123456789abcdef","groups":["free-pstn","quota"],"timeout":35}`}
	}},
	{"INSERT INTO subscriber (username, domain, password, ha1, ha1b) VALUES (?, 'raw.example', 'secret', ?, ?)", func(u string) []any {
		return []any{u, "0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdef"}
	}},
	{"INSERT INTO grp (username, domain, grp, last_modified) VALUES (?, 'raw.example', 'free-pstn', UTC_TIMESTAMP())", func(u string) []any { return []any{u} }},
	{"INSERT INTO grp (username, domain, grp, last_modified) VALUES (?, 'raw.example', 'quota', UTC_TIMESTAMP())", func(u string) []any { return []any{u} }},
	{"UPDATE sip_counters SET value = LAST_INSERT_ID(GREATEST(value + 1, CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS UNSIGNED))) WHERE name = 'revision'", func(string) []any { return nil }},
	{"UPDATE sip_revisions SET kind = 1, revision = LAST_INSERT_ID(), pending = LAST_INSERT_ID() WHERE domain = 'raw.example' AND username = ?", func(u string) []any { return []any{u} }},
}

// BenchmarkAddAccount compares one client's Accounts.Add with the same statements,
// prepared, sent by a loop. They take turns. Each of b.N is one of both.
func BenchmarkAddAccount(b *testing.B) {
	s, _, raw := benchStore(b)
	ctx := context.Background()
	var stmts []*sql.Stmt
	for _, r := range rawAdd {
		st, err := raw.Prepare(r.query)
		if err != nil {
			b.Fatal(err)
		}
		stmts = append(stmts, st)
	}
	viaStore, viaLoop := make([]time.Duration, 0, b.N), make([]time.Duration, 0, b.N)
	for i := range b.N {
		began := time.Now()
		_, _, err := s.Accounts.Add(ctx, admin, benchAccount(fmt.Sprintf("u%d", i)))
		if err != nil {
			b.Fatal(err)
		}
		viaStore = append(viaStore, time.Since(began))
		began = time.Now()
		if err := addRaw(ctx, raw, stmts, fmt.Sprintf("u%d", i)); err != nil {
			b.Fatal(err)
		}
		viaLoop = append(viaLoop, time.Since(began))
	}
	m, l := report(b, "store", viaStore), report(b, "loop", viaLoop)
	b.ReportMetric(float64(m)/float64(l), "ratio")
	b.ReportMetric(0, "ns/op")
}

func benchAccount(user string) *ngnpro.SipAccount {
	return &ngnpro.SipAccount{
		ID: ngnpro.SipID{Username: user, Domain: "d.example"}, Password: new("secret"), FirstName: new("A"), LastName: new("B"), Email: new("a@b"),
		Groups: &[]string{"free-pstn", "quota"},
	}
}

func addRaw(ctx context.Context, db *sql.DB, stmts []*sql.Stmt, user string) error {
	t, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = t.Rollback() }() // after a commit it does nothing
	for i, st := range stmts {
		if i == 0 {
			var c, r int
			if err := t.StmtContext(ctx, st).QueryRowContext(ctx, rawAdd[i].args(user)...).Scan(&c, &r); err != nil {
				return err
			}
			continue
		}
		if _, err := t.StmtContext(ctx, st).ExecContext(ctx, rawAdd[i].args(user)...); err != nil {
			return err
		}
	}
	return t.Commit()
}

// report gives the median and the 99th percentile, and returns the median.
func report(b *testing.B, what string, ds []time.Duration) time.Duration {
	slices.Sort(ds)
	m, p := ds[len(ds)/2], ds[len(ds)*99/100]
	b.ReportMetric(float64(m.Microseconds()), what+"-median-µs")
	b.ReportMetric(float64(p.Microseconds()), what+"-p99-µs")
	return m
}

// eight runs b.N calls by eight clients and reports how many there were in a
// second.
func eight(b *testing.B, f func(n int) error) {
	var next atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for range 8 {
		wg.Go(func() {
			for n := int(next.Add(1)); n <= b.N; n = int(next.Add(1)) {
				if err := f(n); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "calls/s")
}

func BenchmarkAddAccountEightClients(b *testing.B) {
	s, _, _ := benchStore(b)
	b.ResetTimer()
	eight(b, func(n int) error {
		_, _, err := s.Accounts.Add(context.Background(), admin, benchAccount(fmt.Sprintf("u%d", n)))
		return err
	})
}

func BenchmarkAccountEightClients(b *testing.B) {
	s, _, _ := benchStore(b)
	for n := range 1000 {
		if _, _, err := s.Accounts.Add(context.Background(), admin, benchAccount(fmt.Sprintf("u%d", n))); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	eight(b, func(n int) error {
		_, err := s.Accounts.Get(context.Background(), admin, ngnpro.SipID{Username: fmt.Sprintf("u%d", n%1000), Domain: "d.example"})
		return err
	})
}
