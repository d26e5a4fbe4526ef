package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"strings"

	"thor/provisioning/ngnpro"
)

// ranges are ranges of telephone numbers.
type ranges struct{ *backend }

const (
	defaultTLD   = "e164.arpa"
	maxDigits    = 32
	rangeColumns = "id, prefix, tld, ttl, min_digits, max_digits, size, used, serial, nameservers, info, customer_id, reseller_id, change_date"
)

func tld(s string) string { return orDefault(fold(s), defaultTLD) }

func foldRange(id ngnpro.EnumRangeID) ngnpro.EnumRangeID {
	return ngnpro.EnumRangeID{Prefix: strings.TrimPrefix(id.Prefix, "+"), TLD: tld(id.TLD)}
}

// A numberRange is a row of enum_ranges.
type numberRange struct {
	row int64
	ngnpro.EnumRange
}

func newRange() *numberRange {
	return &numberRange{EnumRange: ngnpro.EnumRange{
		TTL: new(3600), MinDigits: new(int), MaxDigits: new(int), Size: new(int), Nameservers: &[]string{}, Customer: new(int), Reseller: new(int), Info: new(string),
	}}
}

func scanRange(scan func(...any) error) (*numberRange, error) {
	r := newRange()
	ns := ""
	err := scan(&r.row, &r.ID.Prefix, &r.ID.TLD, r.TTL, r.MinDigits, r.MaxDigits, r.Size, &r.Used, &r.Serial, &ns, r.Info, r.Customer, r.Reseller, &r.ChangeDate)
	if err == nil && ns != "" {
		err = json.Unmarshal([]byte(ns), r.Nameservers)
	}
	return r, err
}

func (r *numberRange) nameservers() string {
	if len(*r.Nameservers) == 0 {
		return ""
	}
	b, err := json.Marshal(*r.Nameservers)
	if err != nil {
		panic("store: encode name servers: " + err.Error()) // they are strings
	}
	return string(b)
}

func checkRange(id ngnpro.EnumRangeID, r *ngnpro.EnumRange) error {
	var c check
	c.digits("id.prefix", id.Prefix, maxDigits)
	c.suffix("id.tld", id.TLD)
	c.number("ttl", r.TTL, 0, maxSeconds)
	c.number("minDigits", r.MinDigits, 0, maxDigits)
	c.number("maxDigits", r.MaxDigits, 0, maxDigits)
	if low, high := or(r.MinDigits, 0), or(r.MaxDigits, 0); high != 0 && low > high {
		c.fail("minDigits is above maxDigits")
	}
	c.number("size", r.Size, 0, maxNumber)
	c.opt("info", r.Info, maxInfo)
	ns := strip(or(r.Nameservers, nil))
	if len(ns) > 10 {
		c.fail("nameservers has more than 10 items")
	}
	for _, n := range ns {
		c.word("nameservers", n, maxLabel)
	}
	return c.err
}

// suffix is the domain that numbers are looked up in.
func (c *check) suffix(field, s string) {
	const allowed = "abcdefghijklmnopqrstuvwxyz0123456789.-_"
	if s == "" || len(s) > maxLabel || strings.ContainsFunc(s, func(r rune) bool { return !strings.ContainsRune(allowed, r) }) {
		c.fail("%s is not a domain of at most %d characters", field, maxLabel)
	}
}

func mergeRange(x *numberRange, r *ngnpro.EnumRange) {
	set(x.TTL, r.TTL)
	set(x.MinDigits, r.MinDigits)
	set(x.MaxDigits, r.MaxDigits)
	set(x.Size, r.Size)
	set(x.Info, r.Info)
	if r.Nameservers != nil {
		x.Nameservers = new(strip(*r.Nameservers))
	}
}

// strip leaves out what is empty.
func strip(ss []string) []string {
	out := []string{}
	for _, s := range ss {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}

// Add adds a range of numbers. One that is within another party's range
// would take numbers away from it.
func (s ranges) Add(ctx context.Context, v ngnpro.Viewer, r *ngnpro.EnumRange) error {
	id := foldRange(r.ID)
	if err := checkRange(id, r); err != nil {
		return err
	}
	return s.write(ctx, "add ENUM range", func(t *tx) error {
		p, err := t.owner(v, r.Customer, r.Reseller, party{})
		if err != nil {
			return err
		}
		switch outer, err := t.around(id.Prefix, id.TLD); {
		case err != nil:
			return err
		case outer != nil && outer.ID.Prefix != id.Prefix && !v.Sees(*outer.Customer, *outer.Reseller):
			return ngnpro.ErrForbidden.With("the prefix is within another party's ENUM range")
		}
		st, err := t.settings(p)
		if err != nil {
			return err
		}
		if err := t.credit(st, "enum_range_credit", "SELECT COUNT(*) FROM enum_ranges WHERE"); err != nil {
			return err
		}
		x := newRange()
		mergeRange(x, r)
		const q = "INSERT INTO enum_ranges (prefix, tld, ttl, min_digits, max_digits, size, nameservers, info, customer_id, reseller_id, change_date)" +
			" VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, UTC_TIMESTAMP())"
		_, err = t.exec(q, id.Prefix, id.TLD, *x.TTL, *x.MinDigits, *x.MaxDigits, *x.Size, x.nameservers(), *x.Info, p.customer, p.reseller)
		if duplicate(err) {
			return ngnpro.ErrRangeExists
		}
		return err
	})
}

// placeholders are for a list of n values, of which there is one.
func placeholders(n int) string { return "(?" + strings.Repeat(", ?", n-1) + ")" }

// numberRange reads a range that v sees, locked.
func (t *tx) numberRange(v ngnpro.Viewer, id ngnpro.EnumRangeID) (*numberRange, error) {
	q := "SELECT " + rangeColumns + " FROM enum_ranges WHERE prefix = ? AND tld = ? FOR UPDATE"
	r, err := scanRange(t.q.QueryRowContext(t.ctx, q, id.Prefix, id.TLD).Scan)
	if errors.Is(err, sql.ErrNoRows) || err == nil && !v.Sees(*r.Customer, *r.Reseller) {
		return nil, ngnpro.ErrRangeNotFound
	}
	return r, err
}

// Update changes what is given. Its numbers belong to whom it belongs.
func (s ranges) Update(ctx context.Context, v ngnpro.Viewer, r *ngnpro.EnumRange) error {
	id := foldRange(r.ID)
	if err := checkRange(id, r); err != nil {
		return err
	}
	return s.write(ctx, "update ENUM range", func(t *tx) error {
		x, err := t.numberRange(v, id)
		if err != nil {
			return err
		}
		p, err := t.owner(v, r.Customer, r.Reseller, party{*x.Customer, *x.Reseller})
		if err != nil {
			return err
		}
		mergeRange(x, r)
		if *x.MaxDigits != 0 && *x.MinDigits > *x.MaxDigits {
			return ngnpro.ErrInvalid.With("minDigits is above maxDigits")
		}
		if *x.Size != 0 && *x.Size < x.Used {
			return ngnpro.ErrInvalid.With("size is below the %d numbers in use", x.Used)
		}
		const q = "UPDATE enum_ranges SET ttl = ?, min_digits = ?, max_digits = ?, size = ?, nameservers = ?, info = ?, customer_id = ?, reseller_id = ?," +
			" serial = serial + 1, change_date = UTC_TIMESTAMP() WHERE id = ?"
		if _, err := t.exec(q, *x.TTL, *x.MinDigits, *x.MaxDigits, *x.Size, x.nameservers(), *x.Info, p.customer, p.reseller, x.row); err != nil {
			return err
		}
		_, err = t.exec("UPDATE enum_numbers SET customer_id = ?, reseller_id = ? WHERE range_id = ?", p.customer, p.reseller, x.row)
		return err
	})
}

// Delete deletes a range without numbers.
func (s ranges) Delete(ctx context.Context, v ngnpro.Viewer, id ngnpro.EnumRangeID) error {
	return s.write(ctx, "delete ENUM range", func(t *tx) error {
		x, err := t.numberRange(v, foldRange(id))
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

// Find lists ranges.
func (s ranges) Find(ctx context.Context, v ngnpro.Viewer, q *ngnpro.EnumRangeQuery) (total int, rs []ngnpro.EnumRange, err error) {
	var l list
	f := &q.Filter
	l.visible(v, "customer_id", "reseller_id")
	l.like("prefix", "filter.prefix", strings.TrimPrefix(f.Prefix, "+"))
	l.like("tld", "filter.tld", fold(f.TLD))
	l.like("info", "filter.info", f.Info)
	l.equal("customer_id", f.Customer)
	l.equal("reseller_id", f.Reseller)
	l.sort(q.OrderBy, map[string]string{"changeDate": "change_date", "prefix": "prefix", "tld": "tld"}, "prefix, tld")
	l.part(q.Range)
	err = s.snapshot(ctx, "find ENUM ranges", func(t *tx) error {
		rs = nil
		total, err = t.find(&l, rangeColumns, "enum_ranges", func(r *sql.Rows) error {
			x, err := scanRange(r.Scan)
			rs = append(rs, x.EnumRange)
			return err
		})
		return err
	})
	return total, rs, err
}
