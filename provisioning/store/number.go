package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"thor/provisioning/ngnpro"
)

// numbers are telephone numbers.
type numbers struct{ *backend }

const (
	numberColumns   = "n.id, n.number, n.tld, n.range_id, n.owner_id, n.info, n.customer_id, n.reseller_id, n.change_date"
	defaultPriority = 5
	defaultTTL      = 3600
)

func foldNumber(id ngnpro.EnumID) ngnpro.EnumID {
	return ngnpro.EnumID{Number: strings.TrimPrefix(id.Number, "+"), TLD: tld(id.TLD)}
}

// A number is a row of enum_numbers.
type number struct {
	row, in int64
	ngnpro.EnumNumber
}

func scanNumber(scan func(...any) error) (*number, error) {
	n := &number{EnumNumber: ngnpro.EnumNumber{Owner: new(int), Info: new(string), Mappings: &[]ngnpro.EnumMapping{}}}
	return n, scan(&n.row, &n.ID.Number, &n.ID.TLD, &n.in, n.Owner, n.Info, &n.Customer, &n.Reseller, &n.ChangeDate)
}

func checkNumber(id ngnpro.EnumID, n *ngnpro.EnumNumber) error {
	var c check
	c.digits("id.number", id.Number, maxDigits)
	c.suffix("id.tld", id.TLD)
	c.number("owner", n.Owner, 0, maxNumber)
	c.opt("info", n.Info, maxInfo)
	c.count("mappings", len(or(n.Mappings, nil)))
	for _, m := range or(n.Mappings, nil) {
		c.word("mappings.type", m.Type, maxName)
		c.word("mappings.mapto", m.MapTo, maxURI)
		c.number("mappings.priority", m.Priority, 0, 65535)
		c.number("mappings.ttl", m.TTL, 0, maxSeconds)
	}
	return c.err
}

// rangeFor is the range that a new number is in, locked.
func (t *tx) rangeFor(v ngnpro.Viewer, id ngnpro.EnumID) (*numberRange, error) {
	r, err := t.around(id.Number, id.TLD)
	if err == nil && (r == nil || !v.Sees(*r.Customer, *r.Reseller)) {
		return nil, ngnpro.ErrRangeNotFound.With("the number is in no ENUM range")
	}
	return r, err
}

// around is the range with the longest prefix of digits, which are some, locked;
// nil if there is none.
func (t *tx) around(digits, tld string) (*numberRange, error) {
	args := []any{tld}
	for i := range digits { // asked for one by one: the index finds them, and no other range is locked
		args = append(args, digits[:i+1])
	}
	q := "SELECT " + rangeColumns + " FROM enum_ranges WHERE tld = ? AND prefix IN " + placeholders(len(digits)) +
		" ORDER BY CHAR_LENGTH(prefix) DESC LIMIT 1 FOR UPDATE"
	r, err := scanRange(t.q.QueryRowContext(t.ctx, q, args...).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return r, err
}

// takes checks that a new number fits in.
func (r *numberRange) takes(id ngnpro.EnumID) error {
	n := len(id.Number)
	switch {
	case n < *r.MinDigits, *r.MaxDigits != 0 && n > *r.MaxDigits:
		return ngnpro.ErrInvalid.With("numbers of the range %s have %d to %d digits", r.ID.Prefix, *r.MinDigits, *r.MaxDigits)
	case *r.Size != 0 && r.Used >= *r.Size:
		return ngnpro.ErrLimit.With("the ENUM range %s is full: it holds %d numbers", r.ID.Prefix, *r.Size)
	}
	return nil
}

// touch counts a range's numbers, and its zone up.
func (t *tx) touch(row int64, more int) error {
	_, err := t.exec("UPDATE enum_ranges SET used = used + ?, serial = serial + 1, change_date = UTC_TIMESTAMP() WHERE id = ?", more, row)
	return err
}

// Add maps a number that is in a range.
func (s numbers) Add(ctx context.Context, v ngnpro.Viewer, n *ngnpro.EnumNumber) error {
	id := foldNumber(n.ID)
	if err := checkNumber(id, n); err != nil {
		return err
	}
	return s.write(ctx, "add ENUM number", func(t *tx) error {
		r, err := t.rangeFor(v, id)
		if err != nil {
			return err
		}
		var known int
		const is = "SELECT 1 FROM enum_numbers WHERE number = ? AND tld = ?"
		found, err := t.row(is, []any{id.Number, id.TLD}, []any{&known})
		if err != nil {
			return err
		}
		if found {
			return ngnpro.ErrNumberExists
		}
		if err := r.takes(id); err != nil {
			return err
		}
		p := party{*r.Customer, *r.Reseller}
		st, err := t.settings(p)
		if err != nil {
			return err
		}
		if err := t.credit(st, "enum_number_credit", "SELECT COUNT(*) FROM enum_numbers WHERE"); err != nil {
			return err
		}
		const q = "INSERT INTO enum_numbers (number, tld, range_id, owner_id, info, customer_id, reseller_id, change_date) VALUES (?, ?, ?, ?, ?, ?, ?, UTC_TIMESTAMP())"
		res, err := t.exec(q, id.Number, id.TLD, r.row, or(n.Owner, 0), or(n.Info, ""), p.customer, p.reseller)
		if err != nil {
			if duplicate(err) {
				return ngnpro.ErrNumberExists
			}
			return err
		}
		row, err := res.LastInsertId()
		if err != nil {
			return err
		}
		if err := t.setMappings(row, or(n.Mappings, nil)); err != nil {
			return err
		}
		return t.touch(r.row, 1)
	})
}

// setMappings replaces the mappings of a number. Their ids are new.
func (t *tx) setMappings(row int64, ms []ngnpro.EnumMapping) error {
	if _, err := t.exec("DELETE FROM enum_mappings WHERE number_id = ?", row); err != nil {
		return err
	}
	for _, m := range ms {
		const q = "INSERT INTO enum_mappings (number_id, type, mapto, priority, ttl) VALUES (?, ?, ?, ?, ?)"
		if _, err := t.exec(q, row, m.Type, m.MapTo, or(m.Priority, defaultPriority), or(m.TTL, defaultTTL)); err != nil {
			return err
		}
	}
	return nil
}

// number reads a number that v sees.
func (t *tx) number(v ngnpro.Viewer, id ngnpro.EnumID, locked bool) (*number, error) {
	const q = "SELECT " + numberColumns + " FROM enum_numbers n WHERE n.number = ? AND n.tld = ?"
	query := q
	if locked {
		query = q + " FOR UPDATE"
	}
	n, err := scanNumber(t.q.QueryRowContext(t.ctx, query, id.Number, id.TLD).Scan)
	if errors.Is(err, sql.ErrNoRows) || err == nil && !v.Sees(n.Customer, n.Reseller) {
		return nil, ngnpro.ErrNumberNotFound
	}
	return n, err
}

// withMappings reads the mappings of numbers into them.
func (t *tx) withMappings(ns ...*number) error {
	if len(ns) == 0 {
		return nil
	}
	by := make(map[int64]*number)
	var rows []any
	for _, n := range ns {
		by[n.row] = n
		rows = append(rows, n.row)
	}
	for len(rows)&(len(rows)-1) != 0 { // a power of two: statements are kept, and these are few
		rows = append(rows, rows[0])
	}
	q := "SELECT number_id, id, type, mapto, priority, ttl FROM enum_mappings WHERE number_id IN " + placeholders(len(rows)) + " ORDER BY priority, id"
	return t.rows(q, rows, func(r *sql.Rows) error {
		m := ngnpro.EnumMapping{ID: new(int), Priority: new(int), TTL: new(int)}
		var of int64
		if err := r.Scan(&of, m.ID, &m.Type, &m.MapTo, m.Priority, m.TTL); err != nil {
			return err
		}
		*by[of].Mappings = append(*by[of].Mappings, m)
		return nil
	})
}

// Update changes what is given; mappings replace all there were.
func (s numbers) Update(ctx context.Context, v ngnpro.Viewer, n *ngnpro.EnumNumber) error {
	id := foldNumber(n.ID)
	if err := checkNumber(id, n); err != nil {
		return err
	}
	return s.write(ctx, "update ENUM number", func(t *tx) error {
		x, err := t.number(v, id, true)
		if err != nil {
			return err
		}
		const q = "UPDATE enum_numbers SET owner_id = ?, info = ?, change_date = UTC_TIMESTAMP() WHERE id = ?"
		if _, err := t.exec(q, or(n.Owner, *x.Owner), or(n.Info, *x.Info), x.row); err != nil {
			return err
		}
		if n.Mappings != nil {
			if err := t.setMappings(x.row, *n.Mappings); err != nil {
				return err
			}
		}
		return t.touch(x.in, 0)
	})
}

// Delete deletes a number with its mappings.
func (s numbers) Delete(ctx context.Context, v ngnpro.Viewer, id ngnpro.EnumID) error {
	return s.write(ctx, "delete ENUM number", func(t *tx) error {
		x, err := t.number(v, foldNumber(id), true)
		if err != nil {
			return err
		}
		if _, err := t.exec("DELETE FROM enum_numbers WHERE id = ?", x.row); err != nil {
			return err
		}
		return t.touch(x.in, -1)
	})
}

// Get is one number.
func (s numbers) Get(ctx context.Context, v ngnpro.Viewer, id ngnpro.EnumID) (n *ngnpro.EnumNumber, err error) {
	err = s.snapshot(ctx, "get ENUM number", func(t *tx) error {
		x, err := t.number(v, foldNumber(id), false)
		if err != nil {
			return err
		}
		n = &x.EnumNumber
		return t.withMappings(x)
	})
	return n, err
}

// Find lists numbers.
func (s numbers) Find(ctx context.Context, v ngnpro.Viewer, q *ngnpro.EnumNumberQuery) (total int, ns []ngnpro.EnumNumber, err error) {
	var l list
	f := &q.Filter
	l.visible(v, "n.customer_id", "n.reseller_id")
	l.like("n.number", "filter.number", strings.TrimPrefix(f.Number, "+"))
	l.like("n.tld", "filter.tld", fold(f.TLD))
	mapping(&l, f.Type, f.MapTo)
	l.equal("n.owner_id", f.Owner)
	l.equal("n.customer_id", f.Customer)
	l.equal("n.reseller_id", f.Reseller)
	l.sort(q.OrderBy, map[string]string{"changeDate": "n.change_date", "number": "n.number", "tld": "n.tld"}, "n.number, n.tld")
	l.part(q.Range)
	err = s.snapshot(ctx, "find ENUM numbers", func(t *tx) error {
		var xs []*number
		total, err = t.find(&l, numberColumns, "enum_numbers n", func(r *sql.Rows) error {
			x, err := scanNumber(r.Scan)
			xs = append(xs, x)
			return err
		})
		if err == nil {
			err = t.withMappings(xs...)
		}
		ns = nil
		for _, x := range xs {
			ns = append(ns, x.EnumNumber)
		}
		return err
	})
	return total, ns, err
}

// mapping filters numbers by one of their mappings.
func mapping(l *list, kind, to string) {
	l.broken.text("filter.type", kind, maxURI)
	l.broken.text("filter.mapto", to, maxURI)
	const some = "EXISTS (SELECT 1 FROM enum_mappings m WHERE m.number_id = n.id AND "
	switch {
	case kind != "" && to != "":
		l.and(some+"m.type LIKE ? AND m.mapto LIKE ?)", kind, to)
	case kind != "":
		l.and(some+"m.type LIKE ?)", kind)
	case to != "":
		l.and(some+"m.mapto LIKE ?)", to)
	}
}
