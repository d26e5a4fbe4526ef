package store

import (
	"context"

	"thor/overlay/records"
	"thor/provisioning/ngnpro"
	"thor/subjects"
)

// zones are the DNS zones that records may be added to: there is one, the network's.
type zones struct{ *backend }

var zoneTable = newTable("dns_zones", "",
	func(z *ngnpro.DnsZone) party { return partyOf(z.Customer, z.Reseller) },
	func(z *ngnpro.DnsZone) []field {
		return []field{
			{"name", &z.Name, key},
			{"info", &z.Info, kept},
			{"customer_id", &z.Customer, kept},
			{"reseller_id", &z.Reseller, kept},
			{"change_date", &z.ChangeDate, changed},
		}
	})

// zone reads a zone that v sees. A change of its records locks it.
func (t *tx) zone(v ngnpro.Viewer, name string, l lock) (*ngnpro.DnsZone, error) {
	return zoneTable.get(t, v, l, ngnpro.ErrZoneNotFound.With("there is no DNS zone %s", name), name)
}

// Add has the network's zone take records.
func (s zones) Add(ctx context.Context, v ngnpro.Viewer, z *ngnpro.DnsZone) error {
	return s.write(ctx, "add DNS zone", func(t *tx) error {
		if err := t.as(v).hasZones(); err != nil {
			return err
		}
		if t.cfg.Domain == "" || z.Name != t.cfg.Domain {
			return ngnpro.ErrInvalid.With("zone.name is not the domain of the network: name servers answer for no other")
		}
		p, err := t.as(v).owner(z.Customer, z.Reseller, party{})
		if err != nil {
			return err
		}
		x := *z
		x.Customer, x.Reseller = &p.customer, &p.reseller
		_, err = zoneTable.insert(t, &x)
		if duplicate(err) {
			return ngnpro.ErrZoneExists
		}
		return err
	})
}

// Update changes what is given. The records have the zone's owner.
func (s zones) Update(ctx context.Context, v ngnpro.Viewer, z *ngnpro.DnsZone) error {
	return s.write(ctx, "update DNS zone", func(t *tx) error {
		x, err := t.zone(v, z.Name, forUpdate)
		if err != nil {
			return err
		}
		p, err := t.as(v).owner(z.Customer, z.Reseller, zoneTable.party(x))
		if err != nil {
			return err
		}
		zoneTable.merge(x, z)
		x.Customer, x.Reseller = &p.customer, &p.reseller
		if err := zoneTable.update(t, x); err != nil {
			return err
		}
		_, err = t.exec("UPDATE dns_records SET customer_id = ?, reseller_id = ? WHERE zone = ?", p.customer, p.reseller, z.Name)
		return err
	})
}

// Delete deletes a zone without records: the name servers go on answering for it.
func (s zones) Delete(ctx context.Context, v ngnpro.Viewer, name string) error {
	return s.write(ctx, "delete DNS zone", func(t *tx) error {
		if _, err := t.zone(v, name, forUpdate); err != nil {
			return err
		}
		if err := t.as(v).hasZones(); err != nil {
			return err
		}
		var used bool
		if _, err := t.row("SELECT EXISTS(SELECT 1 FROM dns_records WHERE zone = ?)", []any{name}, []any{&used}); err != nil {
			return err
		}
		if used {
			return ngnpro.ErrZoneNotEmpty
		}
		_, err := t.exec("DELETE FROM dns_zones WHERE name = ?", name)
		return err
	})
}

// Get is one zone.
func (s zones) Get(ctx context.Context, v ngnpro.Viewer, name string) (z *ngnpro.DnsZone, err error) {
	err = s.look(ctx, "get DNS zone", func(t *tx) error {
		z, err = t.zone(v, name, unlocked)
		return err
	})
	return z, err
}

// Find lists zones.
func (s zones) Find(ctx context.Context, v ngnpro.Viewer, q *ngnpro.DnsZoneQuery) (total int, zs []ngnpro.DnsZone, err error) {
	var l search
	l.of(v, q.Filter.Customer, q.Filter.Reseller)
	l.like("name", q.Filter.Name)
	l.like("info", q.Filter.Info)
	l.sort(q.OrderBy, map[string]string{"changeDate": "change_date", "name": "name"}, "name")
	l.part(q.Range)
	return list(ctx, s.backend, "find DNS zones", zoneTable, &l, asTheyAre)
}

// ZoneRecords is the list of all records, for name servers.
func (s pushes) ZoneRecords(ctx context.Context) (l *records.List, err error) {
	err = s.snapshot(ctx, "read DNS records", func(t *tx) error {
		l = &records.List{V: subjects.Version}
		if _, err := t.row("SELECT value FROM sip_counters WHERE name = 'records'", nil, []any{&l.Revision}); err != nil {
			return err
		}
		l.Records, err = t.zoneLines("", 0)
		return err
	})
	return l, err
}

// zoneLines are the records of a zone, of all if it is empty, as lines of a zone file,
// without the one with the id except.
func (t *tx) zoneLines(zone string, except int) (lines []string, err error) {
	const all = " WHERE (zone = ? OR ? = '') AND id <> ? ORDER BY id"
	err = recordTable.each(t, all, []any{zone, zone, except}, func(r *ngnpro.DnsRecord) { lines = append(lines, r.Line()) })
	return lines, err
}

// countRecords gives the records the next revision, as the last thing before the
// commit.
func (t *tx) countRecords() error {
	_, err := t.count("records")
	return err
}

// duplicateRecord reports whether the zone has a record alike, but for its id.
func (t *tx) duplicateRecord(r *ngnpro.DnsRecord, except int) (found bool, err error) {
	const q = "SELECT 1 FROM dns_records WHERE zone = ? AND name = ? AND type = ? AND value = ? AND priority = ? AND id <> ?"
	var one int
	found, err = t.row(q, []any{r.Zone, r.Name, r.Type, *r.Value, *r.Priority, except}, []any{&one})
	return found, err
}
