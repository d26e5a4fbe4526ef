package provisioning

import (
	"context"

	"thor/provisioning/ngnpro"
	"thor/provisioning/store"
)

// An Apex is what name servers say of a zone: of its SOA and NS records.
type Apex struct {
	Email                               string
	TTL, Minimum, Retry, Expire, Serial int
	Nameservers                         []string
}

// dnsOperations are those on the network's own zone. NGNPro's records for e-mail and
// web forwarding are left out: nothing here serves them.
func dnsOperations(st *store.Store) []operation {
	name, id := value("zone", ngnpro.Zone), value("recordId", func(id *int) error { return ngnpro.RecordID(id) })
	zone, changed := record("zone", (*ngnpro.DnsZone).Clean), record("record", (*ngnpro.DnsRecord).Clean)
	zoneExists := keyed(func(z *ngnpro.DnsZone) string { return z.Name }, name, st.Zones.Get)
	recordExists := keyed(func(r *ngnpro.DnsRecord) int {
		if r.ID == nil {
			return 0
		}
		return *r.ID
	}, id, st.Records.Get)
	getZone, getZones := reads("getZone", name, st.Zones.Get), lists("getZones", st.Zones.Find, func(total int, zs []ngnpro.DnsZone) ngnpro.DnsZones {
		return ngnpro.DnsZones{Total: total, Zones: zs}
	})
	return []operation{
		changes("addZone", zone, noPush(st.Zones.Add)),
		existing(zoneExists, changes("updateZone", zone, noPush(st.Zones.Update))),
		changes("deleteZone", name, noPush(st.Zones.Delete)),
		described(getZone, func(z *ngnpro.DnsZone) []*ngnpro.DnsZone { return []*ngnpro.DnsZone{z} }),
		described(getZones, func(l ngnpro.DnsZones) (zs []*ngnpro.DnsZone) {
			for i := range l.Zones {
				zs = append(zs, &l.Zones[i])
			}
			return zs
		}),
		creates("addRecord", record("record", (*ngnpro.DnsRecord).CleanNew),
			func(ctx context.Context, v ngnpro.Viewer, r *ngnpro.DnsRecord) (int, store.Notices, error) {
				id, err := st.Records.Add(ctx, v, r)
				return id, nil, err
			}),
		existing(recordExists, changes("updateRecord", changed, noPush(st.Records.Update))),
		changes("deleteRecord", id, noPush(st.Records.Delete)),
		reads("getRecord", id, st.Records.Get),
		lists("getRecords", st.Records.Find, func(total int, rs []ngnpro.DnsRecord) ngnpro.DnsRecords {
			return ngnpro.DnsRecords{Total: total, Records: rs}
		}),
	}
}

// described is an operation whose answer has zones, which it completes by what name
// servers say of them.
func described[R any](o operation, zones func(R) []*ngnpro.DnsZone) operation {
	do := o.do
	o.do = func(c *call, args []any) (any, error) {
		answer, err := do(c, args)
		if err != nil {
			return nil, err
		}
		if zs := zones(answer.(R)); len(zs) > 0 && c.cfg.Apex != nil {
			ctx, cancel := context.WithTimeout(c.ctx, nodesWait)
			defer cancel()
			if a, err := c.cfg.Apex(ctx); err == nil {
				for _, z := range zs {
					a.describe(z)
				}
			} else {
				c.log.Debug().Err(err).Msg("ask name servers for their zone")
			}
		}
		return answer, nil
	}
	return o
}

func (a *Apex) describe(z *ngnpro.DnsZone) {
	z.Email, z.Nameservers = &a.Email, &a.Nameservers
	z.TTL, z.Minimum, z.Retry, z.Expire, z.Serial = &a.TTL, &a.Minimum, &a.Retry, &a.Expire, &a.Serial
}
