package store

import (
	"database/sql"
	"errors"
	"reflect"
	"strings"

	"thor/provisioning/ngnpro"
)

// A table is a table of the schema whose rows are records of type R. Its columns
// are listed once, each beside the field that has its value; all statements are
// made of that list.
type table[R any] struct {
	fields func(*R) []field
	party  func(*R) party // to whom a record belongs; nil: the table does not say

	columns, from, byKey string
	insertion, change    string
}

// A field is a column and what holds its value: a pointer to the field of a
// record, or a pointer to a pointer where a client may leave it out.
type field struct {
	column string
	at     any
	use
}

// A use is how a column is written: the expressions for an inserted and for a
// changed row, without one it is left alone. The columns of the key name a row.
type use struct {
	insert, update string
	key            bool
}

// The uses.
var (
	kept     = use{insert: "?", update: "?"}
	orNull   = use{insert: "NULLIF(?, '')", update: "NULLIF(?, '')"}
	key      = use{insert: "?", key: true}
	fixed    = use{insert: "?"}
	assigned = use{} // by the database
	created  = use{insert: "UTC_TIMESTAMP()"}
	changed  = use{insert: "UTC_TIMESTAMP()", update: "UTC_TIMESTAMP()"}
	counted  = use{update: "serial + 1"}
)

// newTable is the table of that name. Reading it, join adds another one.
func newTable[R any](name, join string, party func(*R) party, fields func(*R) []field) *table[R] {
	var all, into, values, set, where []string
	for _, f := range fields(new(R)) {
		all = append(all, f.column)
		if f.insert != "" {
			into, values = append(into, f.column), append(values, f.insert)
		}
		if f.update != "" {
			set = append(set, f.column+" = "+f.update)
		}
		if f.key {
			where = append(where, f.column+" = ?")
		}
	}
	list := func(parts []string) string { return strings.Join(parts, ", ") }
	t := &table[R]{fields: fields, party: party, columns: list(all), from: name + join, byKey: strings.Join(where, " AND ")}
	t.insertion = "INSERT INTO " + name + " (" + list(into) + ") VALUES (" + list(values) + ")"
	t.change = "UPDATE " + name + " SET " + list(set) + " WHERE " + t.byKey
	return t
}

// values are what r has for the placeholders that a statement has for its fields.
func (tb *table[R]) values(r *R, has func(field) bool) (vs []any) {
	for _, f := range tb.fields(r) {
		if has(f) {
			vs = append(vs, value(f.at))
		}
	}
	return vs
}

// value is what a field points to; of one that was left out, the zero value.
func value(at any) any {
	v := reflect.ValueOf(at).Elem()
	if v.Kind() != reflect.Pointer {
		return v.Interface()
	}
	if v.IsNil() {
		return reflect.Zero(v.Type().Elem()).Interface()
	}
	return v.Elem().Interface()
}

// insert adds a row and tells the id that the database gave it.
func (tb *table[R]) insert(t *tx, r *R) (id int64, err error) {
	res, err := t.exec(tb.insertion, tb.values(r, func(f field) bool { return strings.Contains(f.insert, "?") })...)
	if err != nil {
		return 0, err
	}
	return res.LastInsertId()
}

// update writes what may change of a row.
func (tb *table[R]) update(t *tx, r *R) error {
	vs := tb.values(r, func(f field) bool { return strings.Contains(f.update, "?") })
	_, err := t.exec(tb.change, append(vs, tb.values(r, func(f field) bool { return f.key })...)...)
	return err
}

// merge takes over what is given of the fields that may be left out.
func (tb *table[R]) merge(r, given *R) {
	is, new := tb.fields(r), tb.fields(given)
	for i := range is {
		if v := reflect.ValueOf(new[i].at).Elem(); strings.Contains(is[i].update, "?") && v.Kind() == reflect.Pointer && !v.IsNil() {
			reflect.ValueOf(is[i].at).Elem().Set(v)
		}
	}
}

func (tb *table[R]) scan(scan func(...any) error) (*R, error) {
	r := new(R)
	fs := tb.fields(r)
	dest := make([]any, len(fs))
	for i := range fs {
		dest[i] = fs[i].at
	}
	return r, scan(dest...)
}

// one is the row that rest, constant text behind WHERE, finds first; nil if there
// is none.
func (tb *table[R]) one(t *tx, rest string, args ...any) (*R, error) {
	r, err := tb.scan(t.q.QueryRowContext(t.ctx, "SELECT "+tb.columns+" FROM "+tb.from+" WHERE "+rest, args...).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return r, err
}

// A lock says whether a row that is read stays as it is until the transaction
// ends.
type lock string

const (
	unlocked  lock = ""
	forUpdate lock = " FOR UPDATE"
)

// get is the record with a key, if v sees it, and else the error missing.
func (tb *table[R]) get(t *tx, v ngnpro.Viewer, l lock, missing error, key ...any) (*R, error) {
	r, err := tb.one(t, tb.byKey+string(l), key...)
	if err == nil && (r == nil || !tb.party(r).seen(v)) {
		return nil, missing
	}
	return r, err
}

// each reads the rows that rest, constant text behind FROM, finds.
func (tb *table[R]) each(t *tx, rest string, args []any, f func(*R)) error {
	return t.rows("SELECT "+tb.columns+" FROM "+tb.from+rest, args, func(rs *sql.Rows) error {
		r, err := tb.scan(rs.Scan)
		if err == nil {
			f(r)
		}
		return err
	})
}

// placeholders are for a list of n values, of which there is one.
func placeholders(n int) string { return "(?" + strings.Repeat(", ?", n-1) + ")" }

// powerOfTwo repeats the last value until there are so many: statements are kept,
// and these are few different ones.
func powerOfTwo(vs []any) []any {
	for len(vs)&(len(vs)-1) != 0 {
		vs = append(vs, vs[len(vs)-1])
	}
	return vs
}

// or is what p points at, or d.
func or[T any](p *T, d T) T {
	if p == nil {
		return d
	}
	return *p
}

// set stores what is given.
func set[T any](dst *T, given *T) {
	if given != nil {
		*dst = *given
	}
}
