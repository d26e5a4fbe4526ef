package store

import (
	"context"
	"slices"

	"thor/provisioning/ngnpro"
)

// numbers are telephone numbers.
type numbers struct{ *backend }

// A number is a row of enum_numbers.
type number struct {
	row, in int64
	ngnpro.EnumNumber
}

var numberTable = newTable("enum_numbers", "",
	func(n *number) party { return party{n.Customer, n.Reseller} },
	func(n *number) []field {
		return []field{
			{"id", &n.row, assigned},
			{"number", &n.ID.Number, key},
			{"tld", &n.ID.TLD, key},
			{"range_id", &n.in, fixed},
			{"owner_id", &n.Owner, kept},
			{"info", &n.Info, kept},
			{"customer_id", &n.Customer, fixed},
			{"reseller_id", &n.Reseller, fixed},
			{"change_date", &n.ChangeDate, changed},
		}
	})

// A mapping is a row of enum_mappings.
type mapping struct {
	of int64
	ngnpro.EnumMapping
}

var mappingTable = newTable("enum_mappings", "", nil, func(m *mapping) []field {
	return []field{
		{"number_id", &m.of, fixed},
		{"id", &m.ID, assigned},
		{"type", &m.Type, fixed},
		{"mapto", &m.MapTo, fixed},
		{"priority", &m.Priority, fixed},
		{"ttl", &m.TTL, fixed},
	}
})

// rangeFor is the range that a new number is in, locked.
func (t *tx) rangeFor(v ngnpro.Viewer, id ngnpro.EnumID) (*numberRange, error) {
	r, err := t.around(id.Number, id.TLD)
	if err == nil && (r == nil || !rangeTable.party(r).seen(v)) {
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
	return rangeTable.one(t, "tld = ? AND prefix IN "+placeholders(len(digits))+" ORDER BY CHAR_LENGTH(prefix) DESC LIMIT 1 FOR UPDATE", args...)
}

// takes checks that a new number fits in.
func (r *numberRange) takes(id ngnpro.EnumID) error {
	n := len(id.Number)
	low, high := or(r.MinDigits, 0), or(r.MaxDigits, 0)
	switch {
	case n < low, high != 0 && n > high:
		return ngnpro.ErrInvalid.With("numbers of the range %s have %d to %d digits", r.ID.Prefix, low, high)
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
	id := n.ID
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
		p := rangeTable.party(r)
		st, err := t.settings(p)
		if err != nil {
			return err
		}
		if err := t.credit(st, "enum_number_credit", "SELECT COUNT(*) FROM enum_numbers WHERE"); err != nil {
			return err
		}
		x := &number{in: r.row, EnumNumber: *n}
		x.Customer, x.Reseller = p.customer, p.reseller
		row, err := numberTable.insert(t, x)
		if duplicate(err) {
			return ngnpro.ErrNumberExists
		}
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
		if _, err := mappingTable.insert(t, &mapping{row, m}); err != nil {
			return err
		}
	}
	return nil
}

// sameMapping reports whether two mappings are the same but for their ids.
func sameMapping(a, b ngnpro.EnumMapping) bool {
	return a.Type == b.Type && a.MapTo == b.MapTo && *a.Priority == *b.Priority && *a.TTL == *b.TTL
}

// number reads a number that v sees.
func (t *tx) number(v ngnpro.Viewer, id ngnpro.EnumID, l lock) (*number, error) {
	return numberTable.get(t, v, l, ngnpro.ErrNumberNotFound, id.Number, id.TLD)
}

// withMappings reads the mappings of numbers into them.
func (t *tx) withMappings(ns ...*number) error {
	if len(ns) == 0 {
		return nil
	}
	by := make(map[int64]*number)
	var rows []any
	for _, n := range ns {
		n.Mappings, by[n.row] = &[]ngnpro.EnumMapping{}, n
		rows = append(rows, n.row)
	}
	rows = powerOfTwo(rows)
	return mappingTable.each(t, " WHERE number_id IN "+placeholders(len(rows))+" ORDER BY priority, id", rows, func(m *mapping) {
		*by[m.of].Mappings = append(*by[m.of].Mappings, m.EnumMapping)
	})
}

// Update changes what is given; mappings replace all there were.
func (s numbers) Update(ctx context.Context, v ngnpro.Viewer, n *ngnpro.EnumNumber) error {
	id := n.ID
	return s.write(ctx, "update ENUM number", func(t *tx) error {
		x, err := t.number(v, id, forUpdate)
		if err != nil {
			return err
		}
		numberTable.merge(x, &number{EnumNumber: *n})
		if err := numberTable.update(t, x); err != nil {
			return err
		}
		if n.Mappings != nil {
			if err := t.withMappings(x); err != nil {
				return err
			}
			if !slices.EqualFunc(*x.Mappings, *n.Mappings, sameMapping) { // they keep their ids
				if err := t.setMappings(x.row, *n.Mappings); err != nil {
					return err
				}
			}
		}
		return t.touch(x.in, 0)
	})
}

// Delete deletes a number with its mappings.
func (s numbers) Delete(ctx context.Context, v ngnpro.Viewer, id ngnpro.EnumID) error {
	return s.write(ctx, "delete ENUM number", func(t *tx) error {
		x, err := t.number(v, id, forUpdate)
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
		x, err := t.number(v, id, unlocked)
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
	var l search
	f := &q.Filter
	l.of(v, f.Customer, f.Reseller)
	l.like("number", f.Number)
	l.like("tld", f.TLD)
	l.mapping(f.Type, f.MapTo)
	l.equal("owner_id", f.Owner)
	l.sort(q.OrderBy, map[string]string{"changeDate": "change_date", "number": "number", "tld": "tld"}, "number, tld")
	l.part(q.Range)
	return list(ctx, s.backend, "find ENUM numbers", numberTable, &l, func(t *tx, rows []*number) (ns []ngnpro.EnumNumber, err error) {
		err = t.withMappings(rows...)
		for _, x := range rows {
			ns = append(ns, x.EnumNumber)
		}
		return ns, err
	})
}

// mapping filters numbers by one of their mappings.
func (s *search) mapping(kind, to string) {
	const some = "EXISTS (SELECT 1 FROM enum_mappings m WHERE m.number_id = enum_numbers.id AND "
	switch {
	case kind != "" && to != "":
		s.and(some+"m.type LIKE ? AND m.mapto LIKE ?)", kind, to)
	case kind != "":
		s.and(some+"m.type LIKE ?)", kind)
	case to != "":
		s.and(some+"m.mapto LIKE ?)", to)
	}
}
