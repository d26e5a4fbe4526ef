package store

import (
	"context"

	"thor/overlay/records"
	"thor/provisioning/ngnpro"
)

// zoneRecords are the records of DNS zones.
type zoneRecords struct{ *backend }

var recordTable = newTable("dns_records", "",
	func(r *ngnpro.DnsRecord) party { return party{r.Customer, r.Reseller} },
	func(r *ngnpro.DnsRecord) []field {
		return []field{
			{"id", &r.ID, use{key: true}},
			{"zone", &r.Zone, fixed},
			{"name", &r.Name, kept},
			{"type", &r.Type, kept},
			{"value", &r.Value, kept},
			{"priority", &r.Priority, kept},
			{"ttl", &r.TTL, kept},
			{"owner_id", &r.Owner, kept},
			{"customer_id", &r.Customer, fixed},
			{"reseller_id", &r.Reseller, fixed},
			{"change_date", &r.ChangeDate, changed},
		}
	})

// zoneRecord reads a record that v sees.
func (t *tx) zoneRecord(v ngnpro.Viewer, id int, l lock) (*ngnpro.DnsRecord, error) {
	return recordTable.get(t, v, l, ngnpro.ErrRecordNotFound.With("there is no DNS record %d", id), id)
}

// fits checks that the zone can have r beside its other records.
func (t *tx) fits(r *ngnpro.DnsRecord) error {
	id := or(r.ID, 0)
	if twice, err := t.duplicateRecord(r, id); err != nil || twice {
		return orErr(err, ngnpro.ErrRecordExists)
	}
	others, err := t.zoneLines(r.Zone, id)
	if err != nil {
		return err
	}
	line := r.Line()
	if !records.Fits(append(others[:len(others):len(others)], line)) {
		return ngnpro.ErrLimit.With("the zone has %d records: %d are allowed, of %d bytes each and %d KiB together", len(others), records.Max, records.MaxLine, records.MaxText>>10)
	}
	if t.cfg.Unserved == nil {
		return nil
	}
	if why := t.cfg.Unserved(others, line); why != "" {
		return ngnpro.ErrInvalid.With("record: %s", why)
	}
	return nil
}

// orErr is err, or else f.
func orErr(err error, f *ngnpro.Fault) error {
	if err != nil {
		return err
	}
	return f
}

// Add adds a record to a zone that v sees, and tells its number.
func (s zoneRecords) Add(ctx context.Context, v ngnpro.Viewer, r *ngnpro.DnsRecord) (id int, err error) {
	err = s.write(ctx, "add DNS record", func(t *tx) error {
		z, err := t.zone(v, r.Zone, forUpdate)
		if err != nil {
			return err
		}
		x, p := *r, zoneTable.party(z)
		x.Customer, x.Reseller = p.customer, p.reseller
		if err := t.fits(&x); err != nil {
			return err
		}
		row, err := recordTable.insert(t, &x)
		if err != nil {
			return err
		}
		id = int(row)
		return t.countRecords()
	})
	return id, err
}

// Update changes what is given. A record stays in its zone.
func (s zoneRecords) Update(ctx context.Context, v ngnpro.Viewer, r *ngnpro.DnsRecord) error {
	return s.change(ctx, v, "update DNS record", *r.ID, func(t *tx, x *ngnpro.DnsRecord) error {
		if r.Zone != "" && r.Zone != x.Zone {
			return ngnpro.ErrInvalid.With("record.zone is another than the record's: delete it and add it there")
		}
		recordTable.merge(x, r)
		x.Name, x.Type = orDefault(r.Name, x.Name), orDefault(r.Type, x.Type)
		if err := t.fits(x); err != nil {
			return err
		}
		return recordTable.update(t, x)
	})
}

// Delete deletes a record.
func (s zoneRecords) Delete(ctx context.Context, v ngnpro.Viewer, id int) error {
	return s.change(ctx, v, "delete DNS record", id, func(t *tx, x *ngnpro.DnsRecord) error {
		_, err := t.exec("DELETE FROM dns_records WHERE id = ?", id)
		return err
	})
}

// change is a change of one record. The zone is locked first: changes of its records
// are made one after the other, in which order a reader sees their revisions.
func (s zoneRecords) change(ctx context.Context, v ngnpro.Viewer, act string, id int, f func(*tx, *ngnpro.DnsRecord) error) error {
	return s.write(ctx, act, func(t *tx) error {
		x, err := t.zoneRecord(v, id, unlocked)
		if err != nil {
			return err
		}
		if _, err := t.zone(v, x.Zone, forUpdate); err != nil {
			return err
		}
		if x, err = t.zoneRecord(v, id, forUpdate); err != nil {
			return err
		}
		if err := f(t, x); err != nil {
			return err
		}
		return t.countRecords()
	})
}

// Get is one record.
func (s zoneRecords) Get(ctx context.Context, v ngnpro.Viewer, id int) (r *ngnpro.DnsRecord, err error) {
	err = s.look(ctx, "get DNS record", func(t *tx) error {
		r, err = t.zoneRecord(v, id, unlocked)
		return err
	})
	return r, err
}

// Find lists records.
func (s zoneRecords) Find(ctx context.Context, v ngnpro.Viewer, q *ngnpro.DnsRecordQuery) (total int, rs []ngnpro.DnsRecord, err error) {
	var l search
	f := &q.Filter
	l.of(v, f.Customer, f.Reseller)
	l.equal("id", f.ID)
	l.like("zone", f.Zone)
	l.like("name", f.Name)
	l.like("type", f.Type)
	l.like("value", f.Value)
	l.equal("owner_id", f.Owner)
	l.sort(q.OrderBy, map[string]string{"changeDate": "change_date", "type": "type", "name": "name"}, "name, type, id")
	l.part(q.Range)
	return list(ctx, s.backend, "find DNS records", recordTable, &l, asTheyAre)
}
