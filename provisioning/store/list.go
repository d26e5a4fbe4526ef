package store

import (
	"database/sql"
	"strings"

	"thor/provisioning/ngnpro"
)

// A list is a search: constant pieces of SQL with the values bound to them.
type list struct {
	where  strings.Builder
	args   []any
	order  string
	start  int
	count  int
	broken check
}

// and adds a condition, a constant.
func (l *list) and(condition string, args ...any) {
	if l.where.Len() > 0 {
		l.where.WriteString(" AND ")
	} else {
		l.where.WriteString(" WHERE ")
	}
	l.where.WriteString(condition)
	l.args = append(l.args, args...)
}

// like adds a filter unless it is empty. Column is a constant.
func (l *list) like(column, field, value string) {
	l.broken.text(field, value, maxURI)
	switch {
	case value == "":
	case strings.ContainsAny(value, `%_\`):
		l.and(column+" LIKE ?", value)
	default:
		l.and(column+" = ?", value)
	}
}

// equal adds a filter unless it is 0. Column is a constant.
func (l *list) equal(column string, value int) {
	if value != 0 {
		l.and(column+" = ?", value)
	}
}

// flag adds a filter if it is given. Column is a constant.
func (l *list) flag(column string, value *bool) {
	if value != nil {
		l.and(column+" = ?", *value)
	}
}

// visible adds what v may see.
func (l *list) visible(v ngnpro.Viewer, customer, reseller string) {
	switch {
	case v.Admin:
	case v.Customer != 0:
		l.and(customer+" = ?", v.Customer)
	case v.Reseller != 0:
		l.and(reseller+" = ?", v.Reseller)
	default:
		l.and("1 = 0")
	}
}

// sort takes the order out of a table of constants: what may be sorted by, and
// the columns for it. Ties are broken by key, so that ranges fit together.
func (l *list) sort(o *ngnpro.OrderBy, columns map[string]string, key string) {
	l.order = " ORDER BY " + key
	if o == nil || o.Attribute == "" && o.Direction == "" {
		return
	}
	direction := ""
	switch strings.ToUpper(o.Direction) {
	case "", "ASC":
	case "DESC":
		direction = " DESC"
	default:
		l.broken.fail("orderBy.direction is neither ASC nor DESC")
	}
	column, ok := columns[o.Attribute]
	if !ok && o.Attribute != "" {
		l.broken.fail("orderBy.attribute is none that this list sorts by")
	}
	if column == "" {
		first, _, _ := strings.Cut(key, ",")
		column = first
	}
	l.order = " ORDER BY " + column + direction + ", " + key
}

// part takes the range.
func (l *list) part(r *ngnpro.Range) {
	l.count = ngnpro.MaxCount
	if r == nil {
		return
	}
	if r.Start < 0 || r.Count < 0 {
		l.broken.fail("range.start and range.count are not below 0")
	}
	l.start = r.Start
	if r.Count > 0 {
		l.count = min(r.Count, ngnpro.MaxCount)
	}
}

// find counts what the list matches and reads the part that is asked for.
// Columns and from are constants.
func (t *tx) find(l *list, columns, from string, scan func(*sql.Rows) error) (total int, err error) {
	if l.broken.err != nil {
		return 0, l.broken.err
	}
	where := l.where.String()
	if _, err := t.row("SELECT COUNT(*) FROM "+from+where, l.args, []any{&total}); err != nil {
		return 0, err
	}
	if total <= l.start {
		return total, nil
	}
	q := "SELECT " + columns + " FROM " + from + where + l.order + " LIMIT ? OFFSET ?"
	return total, t.rows(q, append(l.args[:len(l.args):len(l.args)], l.count, l.start), scan)
}
