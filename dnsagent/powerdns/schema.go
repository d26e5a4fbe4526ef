package powerdns

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"thor/subjects"
)

// A column is one of a table, as information_schema.columns tells of it.
type column struct {
	table, name, kind string // kind as in varchar(255), without the width of integers
	nullable          bool
}

// schema is that of PowerDNS 4.7, as Debian 12 has it in
// /usr/share/pdns-backend-mysql/schema/schema.mysql.sql: the tables that are
// written. Earlier ones lack columns, and a later one may have other rules.
var schema = []column{
	{"comments", "id", "int", false},
	{"comments", "domain_id", "int", false},
	{"comments", "name", "varchar(255)", false},
	{"comments", "type", "varchar(10)", false},
	{"comments", "modified_at", "int", false},
	{"comments", "account", "varchar(40)", true},
	{"comments", "comment", "text", false},
	{"domainmetadata", "id", "int", false},
	{"domainmetadata", "domain_id", "int", false},
	{"domainmetadata", "kind", "varchar(32)", true},
	{"domainmetadata", "content", "text", true},
	{"domains", "id", "int", false},
	{"domains", "name", "varchar(255)", false},
	{"domains", "master", "varchar(128)", true},
	{"domains", "last_check", "int", true},
	{"domains", "type", "varchar(8)", false},
	{"domains", "notified_serial", "int unsigned", true},
	{"domains", "account", "varchar(40)", true},
	{"domains", "options", "varchar(64000)", true},
	{"domains", "catalog", "varchar(255)", true},
	{"records", "id", "bigint", false},
	{"records", "domain_id", "int", true},
	{"records", "name", "varchar(255)", true},
	{"records", "type", "varchar(10)", true},
	{"records", "content", "varchar(64000)", true},
	{"records", "ttl", "int", true},
	{"records", "prio", "int", true},
	{"records", "disabled", "tinyint", true},
	{"records", "ordername", "varchar(255)", true},
	{"records", "auth", "tinyint", true},
}

// A refusal is a database that is not written to, and why, in one line.
type refusal struct{ text string }

func (r *refusal) Error() string { return r.text }

// refuse makes a refusal of another schema.
func refuse(format string, args ...any) error {
	return &refusal{fmt.Sprintf("not the schema of PowerDNS 4.7 (Debian 12's pdns-backend-mysql): "+format, args...)}
}

// checkSchema refuses tables that are not the schema's.
func checkSchema(have []column, engines map[string]string) error {
	have = slices.Clone(have)
	byName := func(a, b column) int {
		return cmp.Or(strings.Compare(a.table, b.table), strings.Compare(a.name, b.name))
	}
	find := func(in []column, c column) (column, bool) {
		i := slices.IndexFunc(in, func(x column) bool { return byName(x, c) == 0 })
		if i < 0 {
			return column{}, false
		}
		return in[i], true
	}
	for _, want := range schema {
		got, ok := find(have, want)
		switch {
		case engines[want.table] == "":
			return refuse("there is no table %s", want.table)
		case !strings.EqualFold(engines[want.table], "InnoDB"):
			return refuse("table %s is of the engine %s, which has no transactions", want.table, subjects.Printable(engines[want.table], 40))
		case !ok:
			return refuse("table %s has no column %s", want.table, want.name)
		case got.kind != want.kind:
			return refuse("column %s.%s is %s, not %s", want.table, want.name, subjects.Printable(got.kind, 40), want.kind)
		case got.nullable != want.nullable:
			return refuse("column %s.%s takes NULL: %v, not %v", want.table, want.name, got.nullable, want.nullable)
		}
	}
	for _, got := range have {
		if _, ok := find(schema, got); !ok {
			return refuse("table %s has a column %s too", got.table, subjects.Printable(got.name, 64))
		}
	}
	return nil
}

// readSchema asks for the tables that the schema names.
func readSchema(ctx context.Context, c *sql.Conn) (cols []column, engines map[string]string, err error) {
	const tables = "('comments', 'domainmetadata', 'domains', 'records')"
	engines = make(map[string]string)
	err = query(ctx, c, func(scan func(...any) error) error {
		var table, engine sql.NullString
		err := scan(&table, &engine)
		engines[table.String] = engine.String
		return err
	}, "SELECT table_name, engine FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name IN "+tables)
	if err != nil {
		return nil, nil, err
	}
	err = query(ctx, c, func(scan func(...any) error) error {
		var c column
		var null string
		err := scan(&c.table, &c.name, &c.kind, &null)
		c.kind, c.nullable = plainKind(c.kind), null == "YES"
		cols = append(cols, c)
		return err
	}, "SELECT table_name, column_name, column_type, is_nullable FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name IN "+tables)
	return cols, engines, err
}

// plainKind is the type of a column without the width of integers, which MariaDB
// shows and MySQL 8 does not.
func plainKind(kind string) string {
	kind = strings.ToLower(kind)
	base, rest, ok := strings.Cut(kind, "(")
	if !ok || !strings.HasSuffix(base, "int") {
		return kind
	}
	_, after, _ := strings.Cut(rest, ")")
	return base + after
}

// query calls row for each row of the result.
func query(ctx context.Context, c *sql.Conn, row func(scan func(...any) error) error, text string, args ...any) error {
	rows, err := c.QueryContext(ctx, text, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // Err has told
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}
