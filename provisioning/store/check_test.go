package store_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// connect is a connection to the schema besides the store.
func (w *world) connect() *sql.DB {
	w.t.Helper()
	if w.conn != nil {
		return w.conn
	}
	c := mysql.NewConfig()
	c.User, c.Passwd, c.Net, c.Addr, c.DBName = w.dsn.User(), w.dsn.Password(), "tcp", w.dsn.Address(), w.dsn.Name()
	k, err := mysql.NewConnector(c)
	if err != nil {
		w.t.Fatal(err)
	}
	w.conn = sql.OpenDB(k)
	w.t.Cleanup(func() { _ = w.conn.Close() })
	return w.conn
}

// check compares all that is derived with what it is derived from: the proxies'
// tables with the model, the revisions with the keys that exist.
func (w *world) check() {
	w.t.Helper()
	db := w.connect()
	lines := func(query string) (ls []string) {
		w.t.Helper()
		rs, err := db.Query(query)
		w.ok(err)
		defer rs.Close()
		for rs.Next() {
			var s sql.NullString
			w.ok(rs.Scan(&s))
			ls = append(ls, s.String)
		}
		w.ok(rs.Err())
		slices.Sort(ls)
		return ls
	}
	equal := func(what string, got, want []string) {
		w.t.Helper()
		if !slices.Equal(got, want) {
			w.t.Errorf("%s: projected %q, the model says %q", what, got, want)
		}
	}
	var subscribers, groups []string
	for _, l := range lines("SELECT JSON_OBJECT('u', username, 'd', domain, 'p', profile) FROM sip_accounts") {
		var a struct {
			U, D string
			P    struct {
				Password, HA1, HA1B string
				Groups              []string
			}
		}
		w.ok(json.Unmarshal([]byte(l), &a))
		p := a.P
		if len(p.HA1) != 32 || len(p.HA1B) != 32 {
			w.t.Errorf("%s@%s has no digests", a.U, a.D)
		}
		if len([]rune(p.Password)) > 64 { // its digests do as well
			p.Password = ""
		}
		subscribers = append(subscribers, strings.Join([]string{a.U, a.D, p.Password, p.HA1, p.HA1B}, " "))
		for _, g := range p.Groups {
			groups = append(groups, strings.Join([]string{a.U, a.D, g}, " "))
		}
	}
	slices.Sort(subscribers)
	slices.Sort(groups)
	equal("subscriber", lines("SELECT CONCAT_WS(' ', username, domain, password, ha1, ha1b) FROM subscriber"), subscribers)
	equal("grp", lines("SELECT CONCAT_WS(' ', username, domain, grp) FROM grp"), groups)
	equal("dbaliases", lines("SELECT CONCAT_WS(' ', alias_username, alias_domain, username, domain) FROM dbaliases"),
		lines("SELECT CONCAT_WS(' ', username, domain, target_username, target_domain) FROM sip_aliases"))
	equal("domain", lines("SELECT domain FROM domain"), lines("SELECT domain FROM sip_domains"))
	equal("revisions", lines("SELECT CONCAT_WS(' ', username, domain, kind) FROM sip_revisions WHERE kind <> 0"),
		lines("SELECT CONCAT_WS(' ', username, domain, 1) FROM sip_accounts_meta UNION ALL SELECT CONCAT_WS(' ', username, domain, 2) FROM sip_aliases"))
	equal("revisions of 0", lines("SELECT username FROM sip_revisions WHERE revision = 0 OR pending > revision"), nil)
	equal("accounts", lines("SELECT id FROM sip_accounts_meta"), lines("SELECT account_id FROM sip_accounts_data"))
	equal("trusted", lines("SELECT src_ip FROM trusted"), lines("SELECT ip FROM sip_trusted WHERE NOT blocked AND ip NOT LIKE '%/%'"))
	equal("address", lines("SELECT SUBSTRING_INDEX(ip_addr, '/', 1) FROM address"), lines("SELECT SUBSTRING_INDEX(ip, '/', 1) FROM sip_trusted WHERE NOT blocked"))
	equal("used numbers", lines("SELECT CONCAT_WS(' ', id, used) FROM enum_ranges"),
		lines("SELECT CONCAT_WS(' ', r.id, COUNT(n.id)) FROM enum_ranges r LEFT JOIN enum_numbers n ON n.range_id = r.id GROUP BY r.id"))
	for _, table := range []string{"sip_phonebook", "voicemail_accounts"} {
		equal(table+" of nobody", lines(fmt.Sprintf("SELECT username FROM %s WHERE (username, domain) NOT IN (SELECT username, domain FROM sip_accounts_meta)", table)), nil)
	}
	equal("parties", lines("SELECT CONCAT_WS(' ', username, x.domain, x.customer_id, x.reseller_id) FROM (SELECT username, domain, customer_id, reseller_id"+
		" FROM sip_accounts_meta UNION ALL SELECT username, domain, customer_id, reseller_id FROM sip_aliases) x JOIN sip_domains d ON d.domain = x.domain"+
		" WHERE x.customer_id <> d.customer_id OR x.reseller_id <> d.reseller_id"), nil)
}
