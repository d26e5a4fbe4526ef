package powerdns_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thor/dbagent/location"
	"thor/dnsagent/powerdns"
	"thor/dnsagent/powerdns/plan"
	"thor/provisioning/store/mariadbtest"
)

func TestOtherTablesAreRefused(t *testing.T) {
	text := schema(t)
	for _, c := range []struct{ name, sql, want string }{
		{"none", "DROP TABLE comments, records, domains, domainmetadata", "there is no table comments"},
		{"of PowerDNS 4.3", "ALTER TABLE domains DROP options, DROP catalog", "table domains has no column options"},
		{"of PowerDNS 3", "ALTER TABLE records DROP disabled, DROP ordername, DROP auth", "table records has no column disabled"},
		{"of another program", "ALTER TABLE records ADD change_date INT", "table records has a column change_date too"},
		{"without transactions", "ALTER TABLE records ENGINE = MyISAM", "table records is of the engine MyISAM, which has no transactions"},
		{"of another character set", "SET sql_mode = ''; ALTER TABLE records CONVERT TO CHARACTER SET utf8mb4", "column records.content is mediumtext, not varchar(64000)"},
		{"with short names", "ALTER TABLE records MODIFY name VARCHAR(100)", "column records.name is varchar(100), not varchar(255)"},
		{"with a column that wants a value", "ALTER TABLE comments MODIFY account VARCHAR(40) CHARACTER SET utf8 NOT NULL", "column comments.account takes NULL: false, not true"},
		{"of a zone from elsewhere", "INSERT INTO domains (name, type) VALUES ('example.net', 'SLAVE')", "the zone example.net is of the type SLAVE: another server writes it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := mariadbtest.Shared(t)
			d := &database{s, s.Schema()}
			d.exec(text)
			d.exec(c.sql)
			w := run(t, d, nil)
			n := newNetwork(t, nil)
			w.Offer(n.zone(), true)
			w.is(t, "refused")
			f := strings.Join(w.Faults(), "\n")
			if !strings.Contains(f, c.want) || strings.Contains(f, "\n") {
				t.Errorf("%s\nwant %s", f, c.want)
			}
			if c.name != "none" && d.rows("SELECT COUNT(*) FROM records") != "0" {
				t.Error("something was written")
			}
		})
	}
}

func TestARefusedDatabaseThatIsPutRightIsWritten(t *testing.T) {
	t.Parallel() // it waits, mostly
	d := newDatabase(t, mariadbtest.Shared(t))
	d.exec("ALTER TABLE domains DROP options, DROP catalog")
	w := run(t, d, nil)
	n := newNetwork(t, nil)
	w.Offer(n.zone(), true)
	w.is(t, "refused")
	d.exec("ALTER TABLE domains ADD options VARCHAR(64000) DEFAULT NULL AFTER account, ADD catalog VARCHAR(255) DEFAULT NULL")
	w.is(t, "writing")
	eventually(t, "no fault is left", func() error {
		if f := w.Faults(); len(f) > 0 {
			return fmt.Errorf("%q", f)
		}
		return lag(w)()
	})
}

func TestTablesOfOtherCollationsAreWritten(t *testing.T) {
	t.Parallel() // it waits, mostly
	text := schema(t)
	for name, sql := range map[string]string{
		"a database of utf8mb4_bin": "ALTER DATABASE %[1]s CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;" + text,
		"a database of ucs2":        "ALTER DATABASE %[1]s CHARACTER SET ucs2;" + text,
		"tables of latin1_bin":      text + "ALTER TABLE records CONVERT TO CHARACTER SET latin1 COLLATE latin1_bin; ALTER TABLE domains CONVERT TO CHARACTER SET latin1 COLLATE latin1_general_cs; ALTER TABLE domainmetadata CONVERT TO CHARACTER SET latin1 COLLATE latin1_bin",
		"foreign keys":              text + foreignKeys,
	} {
		t.Run(name, func(t *testing.T) {
			s := mariadbtest.Shared(t)
			d := &database{s, s.Schema()}
			d.exec(strings.ReplaceAll(sql, "%[1]s", d.dsn.Name()))
			p := startPDNS(t, d)
			w := run(t, d, beside(p))
			n := newNetwork(t, nil)
			populate(n, 6)
			for range 2 {
				z := n.zone()
				w.Offer(z, true)
				eventually(t, "all answers are of the zone", func() error { return errors.Join(p.has(z.Serial()), allowed(p, z)) })
				n.status.Remove("sip_proxy", "p001")
			}
			d.exec("DELETE FROM domains")
			eventually(t, "it heals", func() error { return errors.Join(p.has(uint32(n.status.Generation)), lag(w)()) })
		})
	}
}

// foreignKeys are those of PowerDNS' enable-foreign-keys.mysql.sql.
const foreignKeys = `ALTER TABLE records ADD FOREIGN KEY (domain_id) REFERENCES domains (id) ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE comments ADD FOREIGN KEY (domain_id) REFERENCES domains (id) ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE domainmetadata ADD FOREIGN KEY (domain_id) REFERENCES domains (id) ON DELETE CASCADE ON UPDATE CASCADE;`

// Whatever stands in the database is read, and neither ends the writer nor is changed.
func TestHostileRows(t *testing.T) {
	d := newDatabase(t, mariadbtest.Shared(t))
	d.exec(`INSERT INTO domains (name, type) VALUES ('example.net', 'native');
INSERT INTO records (domain_id, name, type, content, ttl, prio, disabled, ordername, auth) VALUES
(1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL), (1, '', '', '', 0, 0, 0, '', 0), (1, 'example.net', 'SOA', '', -1, -1, 0, NULL, 1),
(1, 'example.net', 'SOA', 'a b 99999999999999999999 c', 1, 1, 0, NULL, 1), (1, 'proxy.example.net', 'A', REPEAT('x', 60000), 2147483647, -2147483648, 0, NULL, 1),
(1, 'proxy.example.net.', 'A', '192.0.2.1', 1, 0, 0, NULL, 1), (1, CONCAT('x', CHAR(0), CHAR(255), CHAR(10), '.example.net'), 'A', CHAR(0, 27, 255, 10), 1, 0, 0, NULL, 1),
(1, 'relay.example.net', 'CNAME', 'relay.example.net', 1, 0, 0, NULL, 1), (-5, 'proxy.example.net', 'A', '192.0.2.5', 1, 0, 0, NULL, 1);
INSERT INTO comments (domain_id, name, type, modified_at, account, comment) VALUES (1, 'x', 'A', 0, 'thor', 'no number'), (1, 'x', 'A', 0, 'thor', '-9223372036854775808'), (1, 'x', 'A', 0, 'thor', REPEAT('1', 60000)), (1, 'x', 'A', 0, 'THOR ', '1');
INSERT INTO domainmetadata (domain_id, kind, content) VALUES (1, 'X-THOR', '18446744073709551615 18446744073709551615 x'), (1, 'X-THOR', '1'), (1, 'NSEC3PARAM', '1 0 70000 zz'), (1, NULL, NULL)`)
	const theirs = "SELECT COUNT(*), SUM(CRC32(CONCAT_WS('|', name, type, content, ttl, prio))) FROM records WHERE domain_id <> 1 OR type <> 'SOA' AND id < 10 OR type IS NULL AND id < 10"
	before := d.rows(theirs)
	w := run(t, d, nil)
	n := newNetwork(t, nil)
	populate(n, 6)
	w.Offer(n.zone(), true)
	eventually(t, "it is written", lag(w))
	if got := d.rows(theirs); got != before {
		t.Errorf("rows of others were %s and are %s", before, got)
	}
	if got := d.rows("SELECT COUNT(*) FROM records WHERE domain_id = 1 AND type = 'SOA'"); got != "1" {
		t.Errorf("%s SOA", got)
	}
	if f := w.Faults(); len(f) != 1 || !strings.Contains(f[0], "relay.example.net") {
		t.Errorf("faults %q", f)
	}
	if got := d.rows("SELECT COUNT(*) FROM comments WHERE comment LIKE 'no%' OR comment LIKE '-9%' OR comment LIKE '111%'"); got != "0" {
		t.Errorf("%s marks of no row", got)
	}
}

func TestFaultsAreToldInOneLineWithoutThePassword(t *testing.T) {
	d := newDatabase(t, mariadbtest.Shared(t))
	d.SQL("CREATE USER 'reader'@'%' IDENTIFIED BY '" + mariadbtest.Password + "'; GRANT SELECT ON " + d.dsn.Name() + ".* TO 'reader'@'%'")
	write := func(t *testing.T, text string, mode os.FileMode) string {
		t.Helper()
		secret := filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(secret, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(secret, mode); err != nil {
			t.Fatal(err)
		}
		return secret
	}
	parse := func(s string) location.DSN {
		t.Helper()
		dsn, err := location.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return dsn
	}
	plain := "mysql://" + d.dsn.User() + "@" + d.Addr() + "/"
	for _, c := range []struct {
		name   string
		text   string
		mode   os.FileMode
		change func(*powerdns.Config)
		want   string
	}{
		{"wrong password", "c4n4ry-wrong", 0o600, func(c *powerdns.Config) { c.DSN = parse(plain + d.dsn.Name()) }, "user or password refused"},
		{"open file", mariadbtest.Password, 0o644, func(c *powerdns.Config) { c.DSN = parse(plain + d.dsn.Name()) }, "the password cannot be read"},
		{"no such database", mariadbtest.Password, 0o600, func(c *powerdns.Config) { c.DSN = parse(plain + "absent") }, "no access to this database"},
		{"reader", mariadbtest.Password, 0o600, func(c *powerdns.Config) { c.DSN = parse("mysql://reader@" + d.Addr() + "/" + d.dsn.Name()) }, "no permission to write"},
		{"nothing listens", mariadbtest.Password, 0o600, func(c *powerdns.Config) { c.DSN = parse("mysql://u@127.0.0.1:1/x") }, "connection refused"},
		{"TLS is wanted", mariadbtest.Password, 0o600, func(c *powerdns.Config) { c.DSN = parse(plain + d.dsn.Name() + "?tls=true") }, "does not speak TLS"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // a fault is told after a while
			secret := write(t, c.text, c.mode)
			w := run(t, d, func(cfg *powerdns.Config) { c.change(cfg); cfg.PasswordFile = secret })
			n := newNetwork(t, nil)
			populate(n, 3)
			w.Offer(n.zone(), true)
			eventually(t, "the fault is told", func() error {
				f := strings.Join(w.Faults(), "\n")
				if !strings.Contains(f, c.want) || strings.Contains(f, "\n") {
					return fmt.Errorf("%q, want %q", f, c.want)
				}
				return nil
			})
			if strings.Contains(w.log.String(), "c4n4ry") || strings.Contains(strings.Join(w.Faults(), ""), "c4n4ry") {
				t.Error("the password is told")
			}
			if n := strings.Count(w.log.String(), "database not written"); n != 1 {
				t.Errorf("told %d times", n)
			}
		})
	}
}

func TestConfigsThatCannotBe(t *testing.T) {
	dsn, err := location.Parse("mysql://u:p@127.0.0.1/x")
	if err != nil {
		t.Fatal(err)
	}
	for want, cfg := range map[string]powerdns.Config{
		"no database or no domain":                {},
		"password_file: stands beside a password": {DSN: dsn, Domain: "example.net", PasswordFile: "x"},
		`mode: "all" is not lua or rotate`:        {DSN: dsn, Domain: "example.net", Mode: plan.Mode("all")},
		`kind: "SLAVE" is not NATIVE or MASTER`:   {DSN: dsn, Domain: "example.net", Kind: "SLAVE"},
		"verify: 1ms is not 1s to 1h":             {DSN: dsn, Domain: "example.net", Verify: 1e6},
	} {
		if _, err := powerdns.New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
