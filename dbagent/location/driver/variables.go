package driver

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"thor/dbagent/location/galera"
)

// readOnlyVariables say that a server takes no writes. MariaDB knows no
// super_read_only.
var readOnlyVariables = []string{"read_only", "super_read_only", "innodb_read_only"}

// A querier is a database, one connection of it or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Variables asks a server for its version, whether it takes writes, and for what
// galera.Judge reads. What a server does not have is missing.
func Variables(ctx context.Context, q querier) (map[string]string, error) {
	vars := make(map[string]string)
	names := append([]string{"version"}, readOnlyVariables...)
	if err := show(ctx, q, "VARIABLES", append(names, galera.Variables...), vars); err != nil {
		return nil, err
	}
	if !galera.Member(vars) {
		return vars, nil
	}
	return vars, show(ctx, q, "STATUS", galera.Status, vars)
}

// Writable returns an error that names the variable by which a server says that it takes
// no writes.
func Writable(vars map[string]string) error {
	for _, v := range readOnlyVariables {
		if x := strings.ToUpper(vars[v]); x != "" && x != "OFF" && x != "0" {
			return fmt.Errorf("%s is %q", v, x)
		}
	}
	return nil
}

// show adds variables of one kind. A node of a Galera cluster that refuses all work
// answers this.
func show(ctx context.Context, q querier, kind string, names []string, vars map[string]string) error {
	rows, err := q.QueryContext(ctx, "SHOW GLOBAL "+kind+" WHERE Variable_name IN ('"+strings.Join(names, "', '")+"')")
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // Err has told
	for rows.Next() {
		var k, v string
		if err := rows.Scan(&k, &v); err != nil {
			return err
		}
		vars[k] = v
	}
	return rows.Err()
}
