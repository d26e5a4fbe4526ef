package store

import (
	"context"
	"encoding/json"

	"thor/provisioning/ngnpro"
)

// ranges are ranges of telephone numbers.
type ranges struct{ *backend }

// A numberRange is a row of enum_ranges.
type numberRange struct {
	row     int64
	servers *string // JSON, or empty for none
	ngnpro.EnumRange
}

var rangeTable = newTable("enum_ranges", "",
	func(r *numberRange) party { return partyOf(r.Customer, r.Reseller) },
	func(r *numberRange) []field {
		return []field{
			{"id", &r.row, assigned},
			{"prefix", &r.ID.Prefix, key},
			{"tld", &r.ID.TLD, key},
			{"ttl", &r.TTL, kept},
			{"min_digits", &r.MinDigits, kept},
			{"max_digits", &r.MaxDigits, kept},
			{"size", &r.Size, kept},
			{"used", &r.Used, assigned},
			{"serial", &r.Serial, counted},
			{"nameservers", &r.servers, kept},
			{"info", &r.Info, kept},
			{"customer_id", &r.Customer, kept},
			{"reseller_id", &r.Reseller, kept},
			{"change_date", &r.ChangeDate, changed},
		}
	})

func rangeRow(r *ngnpro.EnumRange) *numberRange {
	x := &numberRange{EnumRange: *r}
	if r.Nameservers == nil {
		return x
	}
	x.servers = new("")
	if len(*r.Nameservers) > 0 {
		b, err := json.Marshal(*r.Nameservers)
		if err != nil {
			panic("store: encode name servers: " + err.Error()) // they are strings
		}
		*x.servers = string(b)
	}
	return x
}

// record is the range as clients see it.
func (r *numberRange) record() (ngnpro.EnumRange, error) {
	r.Nameservers = &[]string{}
	if *r.servers == "" {
		return r.EnumRange, nil
	}
	return r.EnumRange, json.Unmarshal([]byte(*r.servers), r.Nameservers)
}

// Add adds a range of numbers. One that is within another party's range
// would take numbers away from it.
func (s ranges) Add(ctx context.Context, v ngnpro.Viewer, r *ngnpro.EnumRange) error {
	id := r.ID
	return s.write(ctx, "add ENUM range", func(t *tx) error {
		p, err := t.as(v).owner(r.Customer, r.Reseller, party{})
		if err != nil {
			return err
		}
		outer, err := t.around(id.Prefix, id.TLD)
		if err != nil {
			return err
		}
		if err := t.as(v).within(outer, id.Prefix); err != nil {
			return err
		}
		st, err := t.settings(p)
		if err != nil {
			return err
		}
		if err := t.credit(st, "enum_range_credit", "SELECT COUNT(*) FROM enum_ranges WHERE"); err != nil {
			return err
		}
		x := rangeRow(r)
		x.Customer, x.Reseller = &p.customer, &p.reseller
		_, err = rangeTable.insert(t, x)
		if duplicate(err) {
			return ngnpro.ErrRangeExists
		}
		return err
	})
}

// numberRange reads a range that v sees.
func (t *tx) numberRange(v ngnpro.Viewer, id ngnpro.EnumRangeID, l lock) (*numberRange, error) {
	return rangeTable.get(t, v, l, ngnpro.ErrRangeNotFound, id.Prefix, id.TLD)
}

// Update changes what is given. Its numbers belong to whom it belongs.
func (s ranges) Update(ctx context.Context, v ngnpro.Viewer, r *ngnpro.EnumRange) error {
	id := r.ID
	return s.write(ctx, "update ENUM range", func(t *tx) error {
		x, err := t.numberRange(v, id, forUpdate)
		if err != nil {
			return err
		}
		p, err := t.as(v).owner(r.Customer, r.Reseller, rangeTable.party(x))
		if err != nil {
			return err
		}
		rangeTable.merge(x, rangeRow(r))
		if err := x.Ordered(); err != nil {
			return err
		}
		if *x.Size != 0 && *x.Size < x.Used {
			return ngnpro.ErrInvalid.With("size is below the %d numbers in use", x.Used)
		}
		x.Customer, x.Reseller = &p.customer, &p.reseller
		if err := rangeTable.update(t, x); err != nil {
			return err
		}
		_, err = t.exec("UPDATE enum_numbers SET customer_id = ?, reseller_id = ? WHERE range_id = ?", p.customer, p.reseller, x.row)
		return err
	})
}

// Delete deletes a range without numbers.
func (s ranges) Delete(ctx context.Context, v ngnpro.Viewer, id ngnpro.EnumRangeID) error {
	return s.write(ctx, "delete ENUM range", func(t *tx) error {
		x, err := t.numberRange(v, id, forUpdate)
		if err != nil {
			return err
		}
		if x.Used != 0 {
			return ngnpro.ErrRangeNotEmpty
		}
		_, err = t.exec("DELETE FROM enum_ranges WHERE id = ?", x.row)
		return err
	})
}

// Get is one range.
func (s ranges) Get(ctx context.Context, v ngnpro.Viewer, id ngnpro.EnumRangeID) (r *ngnpro.EnumRange, err error) {
	err = s.look(ctx, "get ENUM range", func(t *tx) error {
		x, err := t.numberRange(v, id, unlocked)
		if err != nil {
			return err
		}
		is, err := x.record()
		r = &is
		return err
	})
	return r, err
}

// Find lists ranges.
func (s ranges) Find(ctx context.Context, v ngnpro.Viewer, q *ngnpro.EnumRangeQuery) (total int, rs []ngnpro.EnumRange, err error) {
	var l search
	f := &q.Filter
	l.of(v, f.Customer, f.Reseller)
	l.like("prefix", f.Prefix)
	l.like("tld", f.TLD)
	l.like("info", f.Info)
	l.sort(q.OrderBy, map[string]string{"changeDate": "change_date", "prefix": "prefix", "tld": "tld"}, "prefix, tld")
	l.part(q.Range)
	return list(ctx, s.backend, "find ENUM ranges", rangeTable, &l, func(_ *tx, rows []*numberRange) (rs []ngnpro.EnumRange, err error) {
		for _, x := range rows {
			r, err := x.record()
			if err != nil {
				return nil, err
			}
			rs = append(rs, r)
		}
		return rs, nil
	})
}
