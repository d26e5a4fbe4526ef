package store

import (
	"context"
	"strings"

	"thor/provisioning/ngnpro"
)

// A search is a list of records that is asked for: constant pieces of SQL with the values bound to them.
type search struct {
	where strings.Builder
	args  []any
	order string
	start int
	count int
}

// and adds a condition, a constant.
func (s *search) and(condition string, args ...any) {
	if s.where.Len() > 0 {
		s.where.WriteString(" AND ")
	} else {
		s.where.WriteString(" WHERE ")
	}
	s.where.WriteString(condition)
	s.args = append(s.args, args...)
}

// like adds a filter unless it is empty. Column is a constant.
func (s *search) like(column, value string) {
	switch {
	case value == "":
	case strings.ContainsAny(value, `%_\`):
		s.and(column+" LIKE ?", value)
	default:
		s.and(column+" = ?", value)
	}
}

// equal adds a filter unless it is 0. Column is a constant.
func (s *search) equal(column string, value int) {
	if value != 0 {
		s.and(column+" = ?", value)
	}
}

// flag adds a filter if it is given. Column is a constant.
func (s *search) flag(column string, value *bool) {
	if value != nil {
		s.and(column+" = ?", *value)
	}
}

// sort takes the order out of a table of constants: what may be sorted by, and
// the columns for it. Ties are broken by key, so that ranges fit together.
func (s *search) sort(o *ngnpro.OrderBy, columns map[string]string, key string) {
	s.order = " ORDER BY " + key
	if o == nil || columns[o.Attribute] == "" {
		return
	}
	s.order = " ORDER BY " + columns[o.Attribute]
	if o.Direction == "DESC" {
		s.order += " DESC"
	}
	s.order += ", " + key
}

// part takes the range.
func (s *search) part(r *ngnpro.Range) {
	s.count = ngnpro.MaxCount
	if r == nil {
		return
	}
	s.start = r.Start
	if r.Count > 0 {
		s.count = min(r.Count, ngnpro.MaxCount)
	}
}

// find counts what a search matches and reads the part that is asked for.
func (tb *table[R]) find(t *tx, s *search) (total int, rs []*R, err error) {
	where := s.where.String()
	if _, err := t.row("SELECT COUNT(*) FROM "+tb.from+where, s.args, []any{&total}); err != nil || total <= s.start {
		return total, nil, err
	}
	part := append(s.args[:len(s.args):len(s.args)], s.count, s.start)
	err = tb.each(t, where+s.order+" LIMIT ? OFFSET ?", part, func(r *R) { rs = append(rs, r) })
	return total, rs, err
}

// list is a call that finds records, which it makes of rows.
func list[R, T any](ctx context.Context, b *backend, act string, tb *table[R], s *search, records func(*tx, []*R) ([]T, error)) (total int, out []T, err error) {
	err = b.snapshot(ctx, act, func(t *tx) error {
		var rows []*R
		if total, rows, err = tb.find(t, s); err != nil {
			return err
		}
		out, err = records(t, rows)
		return err
	})
	return total, out, err
}

// asTheyAre are the records that rows are.
func asTheyAre[R any](_ *tx, rows []*R) (rs []R, err error) {
	for _, r := range rows {
		rs = append(rs, *r)
	}
	return rs, nil
}
