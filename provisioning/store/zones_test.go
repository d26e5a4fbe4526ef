package store_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"thor/dnsagent/zone"
	"thor/overlay/records"
	"thor/provisioning/ngnpro"
	"thor/provisioning/store"
)

// ofNetwork is the configuration of a server of the network net.example, whose name
// servers have the zone by default.
func ofNetwork(c *store.Config) {
	c.Domain = "net.example"
	z := zone.DefaultConfig(c.Domain)
	c.Unserved = func(have []string, line string) string { return z.Refuses(have, line, nil) }
}

func (w *world) record(v ngnpro.Viewer, name, kind, value string) (int, error) {
	w.t.Helper()
	r := &ngnpro.DnsRecord{Zone: "net.example", Name: name, Type: kind, Value: &value}
	w.ok(r.CleanNew())
	return w.Records.Add(w.ctx, v, r)
}

func (w *world) zoneLines() (revision uint64, lines []string) {
	w.t.Helper()
	l, err := w.Pushes.ZoneRecords(w.ctx)
	w.ok(err)
	return l.Revision, l.Records
}

func TestRecordsOfTheNetworksZone(t *testing.T) {
	w := newWorld(t, ofNetwork)
	if rev, lines := w.zoneLines(); rev != 0 || len(lines) != 0 {
		t.Errorf("before: %d %v", rev, lines)
	}
	is(t, "another zone", w.Zones.Add(w.ctx, admin, &ngnpro.DnsZone{Name: "other.example"}), ngnpro.ErrInvalid)
	_, err := w.record(admin, "www", "A", "192.0.2.1")
	is(t, "no zone yet", err, ngnpro.ErrZoneNotFound)
	w.ok(w.Zones.Add(w.ctx, admin, &ngnpro.DnsZone{Name: "net.example", Info: new("ours")}))
	is(t, "twice", w.Zones.Add(w.ctx, admin, &ngnpro.DnsZone{Name: "net.example"}), ngnpro.ErrZoneExists)

	www, err := w.record(admin, "www", "A", "192.0.2.1")
	w.ok(err)
	first, lines := w.zoneLines()
	if first == 0 || !slices.Equal(lines, []string{"www.net.example. 3600 IN A 192.0.2.1"}) {
		t.Errorf("%d %v", first, lines)
	}
	_, err = w.record(admin, "www", "A", "192.0.2.1")
	is(t, "twice", err, ngnpro.ErrRecordExists)
	for _, bad := range [][3]string{{"proxy", "A", "192.0.2.1"}, {"_sip._udp", "SRV", "10 5060 x"}, {"www", "CNAME", "x"}, {"x", "NS", "ns1"}, {"x", "A", "nonsense"}, {"all", "A", "192.0.2.1"}} {
		_, err := w.record(admin, bad[0], bad[1], bad[2])
		is(t, strings.Join(bad[:], " "), err, ngnpro.ErrInvalid)
	}
	if rev, _ := w.zoneLines(); rev != first {
		t.Error("a refused record is a new revision")
	}
	mx, err := w.record(admin, "", "MX", "mail")
	w.ok(err)
	w.ok(w.Records.Update(w.ctx, admin, &ngnpro.DnsRecord{ID: &mx, Priority: new(5), TTL: new(60)}))
	w.ok(w.Records.Update(w.ctx, admin, &ngnpro.DnsRecord{ID: &www, Zone: "net.example", Name: "web.net.example", Type: "AAAA", Value: new("2001:db8::1")}))
	is(t, "another zone", w.Records.Update(w.ctx, admin, &ngnpro.DnsRecord{ID: &www, Zone: "d.example", Name: "d.example"}), ngnpro.ErrInvalid)
	is(t, "a name of the network", w.Records.Update(w.ctx, admin, &ngnpro.DnsRecord{ID: &www, Zone: "net.example", Name: "proxy.net.example"}), ngnpro.ErrInvalid)
	is(t, "no such", w.Records.Update(w.ctx, admin, &ngnpro.DnsRecord{ID: new(4711)}), ngnpro.ErrRecordNotFound)
	second, lines := w.zoneLines()
	if second <= first || !slices.Equal(lines, []string{"web.net.example. 3600 IN AAAA 2001:db8::1", "net.example. 60 IN MX 5 mail.net.example."}) {
		t.Errorf("%d %v", second, lines)
	}
	var q ngnpro.DnsRecordQuery
	q.Filter.Type, q.Filter.Zone, q.OrderBy = "MX", "net.%", &ngnpro.OrderBy{Attribute: "name", Direction: "DESC"}
	if n, rs, err := w.Records.Find(w.ctx, admin, &q); err != nil || n != 1 || *rs[0].ID != mx || *rs[0].Priority != 5 || *rs[0].Value != "mail" || rs[0].Name != "net.example" {
		t.Errorf("%d %+v %v", n, rs, err)
	}
	var zq ngnpro.DnsZoneQuery
	zq.Filter.Info = "our%"
	if n, zs, err := w.Zones.Find(w.ctx, admin, &zq); err != nil || n != 1 || zs[0].Name != "net.example" {
		t.Errorf("%d %+v %v", n, zs, err)
	}
	is(t, "not empty", w.Zones.Delete(w.ctx, admin, "net.example"), ngnpro.ErrZoneNotEmpty)
	w.ok(w.Records.Delete(w.ctx, admin, www))
	w.ok(w.Records.Delete(w.ctx, admin, mx))
	is(t, "gone", w.Records.Delete(w.ctx, admin, mx), ngnpro.ErrRecordNotFound)
	w.ok(w.Zones.Delete(w.ctx, admin, "net.example"))
	if rev, lines := w.zoneLines(); rev <= second || len(lines) != 0 {
		t.Errorf("at the end: %d %v", rev, lines)
	}
	nowhere := newWorld(t)
	is(t, "a network without a name", nowhere.Zones.Add(w.ctx, admin, &ngnpro.DnsZone{Name: "net.example"}), ngnpro.ErrInvalid)
}

// Administrators assign the zone; its owner changes its records, and no other party sees
// them.
func TestTheZoneIsAnAdministratorsToGive(t *testing.T) {
	w := newWorld(t, ofNetwork)
	r, other := w.customer("r", 0), w.customer("other", 0)
	c := w.customer("c", r)
	for _, v := range []ngnpro.Viewer{reseller(r), customer(c)} {
		is(t, "added by another", w.Zones.Add(w.ctx, v, &ngnpro.DnsZone{Name: "net.example"}), ngnpro.ErrForbidden)
	}
	w.ok(w.Zones.Add(w.ctx, admin, &ngnpro.DnsZone{Name: "net.example"}))
	_, err := w.record(reseller(r), "www", "A", "192.0.2.1")
	is(t, "not given", err, ngnpro.ErrZoneNotFound)
	first, err := w.record(admin, "first", "A", "192.0.2.1")
	w.ok(err)
	w.ok(w.Zones.Update(w.ctx, admin, &ngnpro.DnsZone{Name: "net.example", Reseller: &r}))
	mine, err := w.record(reseller(r), "www", "A", "192.0.2.1")
	w.ok(err)
	w.ok(w.Records.Update(w.ctx, reseller(r), &ngnpro.DnsRecord{ID: &first, TTL: new(60)}))
	for _, v := range []ngnpro.Viewer{reseller(other), customer(c), {}} {
		_, err := w.record(v, "x", "A", "192.0.2.1")
		is(t, "added", err, ngnpro.ErrZoneNotFound)
		is(t, "read", fault(w.Records.Get(w.ctx, v, mine)), ngnpro.ErrRecordNotFound)
		is(t, "changed", w.Records.Update(w.ctx, v, &ngnpro.DnsRecord{ID: &mine, TTL: new(5)}), ngnpro.ErrRecordNotFound)
		is(t, "deleted", w.Records.Delete(w.ctx, v, mine), ngnpro.ErrRecordNotFound)
		if n, _, err := w.Records.Find(w.ctx, v, &ngnpro.DnsRecordQuery{}); err != nil || n != 0 {
			t.Errorf("listed: %d, %v", n, err)
		}
	}
	w.ok(w.Zones.Update(w.ctx, reseller(r), &ngnpro.DnsZone{Name: "net.example", Customer: &c}))
	w.ok(w.Records.Update(w.ctx, customer(c), &ngnpro.DnsRecord{ID: &mine, TTL: new(5)}))
	is(t, "given away", w.Zones.Update(w.ctx, customer(c), &ngnpro.DnsZone{Name: "net.example", Customer: &other}), ngnpro.ErrForbidden)
	w.ok(w.Records.Delete(w.ctx, customer(c), mine))
	w.ok(w.Records.Delete(w.ctx, reseller(r), first))
	is(t, "deleted by its party", w.Zones.Delete(w.ctx, reseller(r), "net.example"), ngnpro.ErrForbidden)
	is(t, "deleted by another", w.Zones.Delete(w.ctx, reseller(other), "net.example"), ngnpro.ErrZoneNotFound)
}

// Changes that come together are each in a revision of their own, and the last one has
// them all.
func TestRecordsThatAreAddedTogether(t *testing.T) {
	w := newWorld(t, ofNetwork)
	w.ok(w.Zones.Add(w.ctx, admin, &ngnpro.DnsZone{Name: "net.example"}))
	var g sync.WaitGroup
	const each, clients = 10, 4
	for c := range clients {
		g.Go(func() {
			for i := range each {
				if _, err := w.record(admin, fmt.Sprintf("n%d-%d", c, i), "A", "192.0.2.1"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	seen := make(map[uint64]int)
	g.Go(func() {
		for {
			l, err := w.Pushes.ZoneRecords(w.ctx)
			if err != nil {
				t.Error(err)
				return
			}
			if n, ok := seen[l.Revision]; ok && n != len(l.Records) {
				t.Errorf("revision %d has %d records and %d", l.Revision, n, len(l.Records))
			}
			seen[l.Revision] = len(l.Records)
			if len(l.Records) == each*clients || t.Failed() {
				return
			}
		}
	})
	g.Wait()
}

func TestTheZoneIsBounded(t *testing.T) {
	w := newWorld(t, ofNetwork, func(c *store.Config) { c.Unserved = nil })
	w.ok(w.Zones.Add(w.ctx, admin, &ngnpro.DnsZone{Name: "net.example"}))
	w.sql(fmt.Sprintf("INSERT INTO dns_records (zone, name, type, value, change_date) SELECT 'net.example', CONCAT('n', seq, '.net.example'), 'A', '192.0.2.1', NOW() FROM seq_1_to_%d", records.Max-1))
	_, err := w.record(admin, "last", "A", "192.0.2.1")
	w.ok(err)
	_, err = w.record(admin, "more", "A", "192.0.2.1")
	is(t, "one too many", err, ngnpro.ErrLimit)
	if _, lines := w.zoneLines(); !records.Fits(lines) {
		t.Error("the records do not fit a message")
	}
}
