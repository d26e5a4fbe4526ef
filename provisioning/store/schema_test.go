package store_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"thor/provisioning/ngnpro"
	"thor/provisioning/store"
	"thor/provisioning/store/mariadbtest"
)

// Several servers start on an empty schema at once.
func TestServersThatStartTogetherMigrateOnce(t *testing.T) {
	db := mariadbtest.Shared(t)
	dsn := db.Schema()
	var stores []*store.Store
	for range 5 {
		s, err := store.New(store.Config{Source: store.Fixed{DSN: dsn}})
		if err != nil {
			t.Fatal(err)
		}
		run(t, s)
		stores = append(stores, s)
	}
	w := &world{t: t, db: db, dsn: dsn}
	for _, s := range stores {
		w.eventually("ready", func() bool {
			select {
			case <-s.Ready():
				return true
			default:
				return false
			}
		})
	}
	if got := w.rows("SELECT GROUP_CONCAT(version_id ORDER BY id) FROM provisioning_migrations"); got != "0,1,2,3,4" {
		t.Errorf("migrations done: %s", got)
	}
}

// A migration that was cut off, after any of its statements, begins anew.
func TestACutOffMigrationBeginsAnew(t *testing.T) {
	w := newWorld(t)
	w.domain("d.example")
	w.account("a@d.example")
	w.sql("DELETE FROM provisioning_migrations WHERE version_id > 0; DROP TABLE address; DROP VIEW sip_accounts")
	again := open(t, w.db, w.dsn)
	if a := again.get("a@d.example"); *a.Password != "secret" {
		t.Errorf("%+v", a)
	}
	again.ok(again.Peers.Add(again.ctx, admin, &ngnpro.TrustedPeer{IP: "192.0.2.1"}))
	again.check()
}

func TestEveryTableIsInnoDBAndUTF8(t *testing.T) {
	w := newWorld(t)
	q := "SELECT table_name FROM information_schema.tables WHERE table_schema = '" + w.dsn.Name() + "' AND table_type = 'BASE TABLE' AND table_name <> 'provisioning_migrations'" +
		" AND (engine <> 'InnoDB' OR table_collation NOT LIKE 'utf8mb4%')"
	if got := w.rows(q); got != "" {
		t.Errorf("not InnoDB or not utf8mb4: %s", got)
	}
	if got := w.rows("SELECT COUNT(*) FROM provisioning_migrations"); got == "0" {
		t.Error("nothing was migrated")
	}
}

// The queries of the clients of SIP Thor's database, by the columns they read.
func TestTheOriginalsClientsFindTheirTables(t *testing.T) {
	w := newWorld(t)
	r := w.customer("r", 0)
	w.ok(w.Domains.Add(w.ctx, admin, &ngnpro.SipDomain{Domain: "d.example", Reseller: &r}))
	w.account("a@d.example", func(a *ngnpro.SipAccount) {
		a.FirstName, a.LastName, a.Email, a.Groups, a.Quota, a.Timezone, a.RPID = new("A"), new("B"), new("a@mail"), &[]string{"quota"}, new(9), new("UTC"), new("+31")
	})
	w.ok(w.Peers.Add(w.ctx, admin, &ngnpro.TrustedPeer{IP: "192.0.2.1", Reseller: &r, Tags: new("t"), BillingID: new("b")}))
	db := w.connect()
	read := func(query string, args ...any) []string {
		t.Helper()
		rows, err := db.Query(query, args...)
		w.ok(err)
		defer rows.Close()
		if !rows.Next() {
			t.Fatalf("nothing: %s", query)
		}
		cols, err := rows.Columns()
		w.ok(err)
		vs, ps := make([]string, len(cols)), make([]any, len(cols))
		for i := range vs {
			ps[i] = &vs[i]
		}
		w.ok(rows.Scan(ps...))
		return vs
	}
	got := read("select username, domain, first_name, last_name, email, profile from sip_accounts where username = 'a' and domain = 'd.example'")
	var p struct {
		Password, HA1, Timezone, RPID string
		Groups                        []string
		Quota                         int
	}
	w.ok(json.Unmarshal([]byte(got[5]), &p))
	if !slices.Equal(got[:5], []string{"a", "d.example", "A", "B", "a@mail"}) || p.Password != "secret" || p.HA1 != md5hex("a:d.example:secret") ||
		p.Timezone != "UTC" || p.RPID != "+31" || p.Quota != 9 || !slices.Equal(p.Groups, []string{"quota"}) {
		t.Errorf("sip_accounts: %q", got)
	}
	if got := read("select * from sip_accounts where email = 'a@mail'"); len(got) < 6 {
		t.Errorf("sip_accounts: %q", got)
	}
	if got := read("select domain, reseller_id from sip_domains"); got[0] != "d.example" || got[1] != fmt.Sprint(r) {
		t.Errorf("sip_domains: %q", got)
	}
	if got := read("select ip, reseller_id, tags, billing_id from sip_trusted"); !slices.Equal(got, []string{"192.0.2.1", fmt.Sprint(r), "t", "b"}) {
		t.Errorf("sip_trusted: %q", got)
	}
	// Through its object mapper, OpenXCAP reads these columns.
	got = read("SELECT sip_accounts_meta.id, sip_accounts_meta.username, sip_accounts_meta.domain, sip_accounts_meta.first_name, sip_accounts_meta.last_name,"+
		" sip_accounts_meta.email, sip_accounts_meta.customer_id, sip_accounts_meta.reseller_id, sip_accounts_meta.owner_id, sip_accounts_meta.change_date"+
		" FROM sip_accounts_meta WHERE ((sip_accounts_meta.username) = (?) AND (sip_accounts_meta.domain) = (?))", "a", "d.example")
	if data := read("SELECT id FROM sip_accounts_data WHERE account_id = ?", got[0]); data[0] == "" {
		t.Errorf("sip_accounts_data: %q", data)
	}
}

// OpenXCAP keeps its documents in the profile: it locks the account, reads,
// changes and writes it whole. Neither side loses what the other wrote.
func TestForeignKeysOfTheProfileSurvive(t *testing.T) {
	w := newWorld(t)
	w.domain("d.example")
	w.account("a@d.example")
	db := w.connect()
	const writes = 20
	done := make(chan error)
	go func() {
		var err error
		for n := 1; n <= writes && err == nil; n++ {
			err = func() error {
				t, err := db.Begin()
				if err != nil {
					return err
				}
				defer func() { _ = t.Rollback() }() // after a commit it does nothing
				var id int
				var raw []byte
				if err := t.QueryRow("SELECT id FROM sip_accounts_meta WHERE username = 'a' AND domain = 'd.example' FOR UPDATE").Scan(&id); err != nil {
					return err
				}
				if err := t.QueryRow("SELECT profile FROM sip_accounts_data WHERE account_id = ?", id).Scan(&raw); err != nil {
					return err
				}
				profile := make(map[string]any)
				if err := json.Unmarshal(raw, &profile); err != nil {
					return err
				}
				profile["xcap"] = map[string]any{"pres-rules": map[string]any{"index": []any{"<xml é/>", fmt.Sprint(n)}}}
				if raw, err = json.Marshal(profile); err != nil {
					return err
				}
				if _, err := t.Exec("UPDATE sip_accounts_data SET profile = ? WHERE account_id = ?", raw, id); err != nil {
					return err
				}
				return t.Commit()
			}()
		}
		done <- err
	}()
	for n := 1; n <= writes; n++ {
		_, err := w.Accounts.Update(w.ctx, admin, &ngnpro.SipAccount{ID: id("a@d.example"), Quota: &n, Groups: &[]string{fmt.Sprint(n)}})
		w.ok(err)
	}
	w.ok(<-done)
	got := w.rows("SELECT JSON_VALUE(profile, '$.xcap.pres-rules.index[1]'), JSON_VALUE(profile, '$.xcap.pres-rules.index[0]'), JSON_VALUE(profile, '$.quota') FROM sip_accounts")
	if got != "20\t<xml é/>\t20" {
		t.Errorf("profile: %q", got)
	}
	_, err := w.Screening.SetCallDiversions(w.ctx, admin, id("a@d.example"), &ngnpro.CallDiversions{All: new("sip:x@y")})
	w.ok(err)
	if got := w.rows("SELECT JSON_VALUE(profile, '$.xcap.pres-rules.index[1]') FROM sip_accounts"); got != "20" {
		t.Errorf("after another change: %q", got)
	}
	w.check()
}

func TestTheProxyDecidesTheTableVersions(t *testing.T) {
	w := newWorld(t)
	if got := w.rows("SELECT table_version FROM version WHERE table_name = 'subscriber'"); got != "7" {
		t.Errorf("Kamailio's subscriber: %s", got)
	}
	o := open(t, w.db, w.dsn, func(c *store.Config) { c.Proxy = store.OpenSIPS })
	if got := o.rows("SELECT GROUP_CONCAT(table_name, table_version ORDER BY table_name) FROM version"); got != "address5,dbaliases2,domain3,domain_attrs1,grp3,subscriber8,trusted6,version1" {
		t.Errorf("OpenSIPS: %s", got)
	}
	o.domain("d.example")
	o.account("a@d.example")
	if got := o.rows("SELECT LENGTH(ha1_sha256), LENGTH(ha1_sha512t256) FROM subscriber"); got != "64\t64" {
		t.Errorf("digests of OpenSIPS: %s", got)
	}
	o.rows("SELECT username, password, ha1, ha1_sha256 FROM subscriber WHERE username = 'a' AND domain = 'd.example'")
	o.rows("SELECT grp, ip, mask, port, proto, pattern, context_info FROM address; SELECT domain, attrs, last_modified FROM domain")
}

// Statements are constants or made of constants: nothing is formatted into SQL.
func TestNothingIsFormattedIntoSQL(t *testing.T) {
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	sqlText := regexp.MustCompile(`(?i)\b(select|insert into|update .* set|delete from|replace into)\b`)
	statements := 0
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		fset := token.NewFileSet()
		parsed, err := parser.ParseFile(fset, f.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			switch x := n.(type) {
			case *ast.CallExpr:
				if s, ok := x.Fun.(*ast.SelectorExpr); ok && strings.Contains(s.Sel.Name, "printf") || ok && s.Sel.Name == "With" || ok && s.Sel.Name == "Errorf" {
					for _, a := range x.Args {
						if l, ok := a.(*ast.BasicLit); ok && sqlText.MatchString(l.Value) && s.Sel.Name != "With" {
							t.Errorf("%s formats SQL", fset.Position(x.Pos()))
						}
					}
				}
				if s, ok := x.Fun.(*ast.SelectorExpr); ok && s.Sel.Name == "Sprintf" && f.Name() != "outage.go" {
					t.Errorf("%s: Sprintf beside SQL", fset.Position(x.Pos()))
				}
			case *ast.BasicLit:
				if sqlText.MatchString(x.Value) {
					statements++
					if strings.ContainsAny(x.Value, "`%") || strings.Contains(x.Value, "= '") && !strings.Contains(x.Value, "name = '") {
						t.Errorf("%s: a value in a statement: %s", fset.Position(x.Pos()), x.Value)
					}
				}
			}
			return true
		})
	}
	if statements < 50 {
		t.Errorf("only %d statements found: this test has lost them", statements)
	}
}

// What an order names is never a part of a statement, cleaned or not.
func TestAnOrderIsNoSQL(t *testing.T) {
	w := newWorld(t)
	w.domain("d.example")
	n, _, err := w.Domains.Find(w.ctx, admin, &ngnpro.SipDomainQuery{OrderBy: &ngnpro.OrderBy{Attribute: "domain; DROP TABLE sip_domains"}})
	if err != nil || n != 1 {
		t.Errorf("%d, %v", n, err)
	}
}
