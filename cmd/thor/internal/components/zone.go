package components

import (
	"slices"

	"thor/cmd/thor/internal/config"
	"thor/dnsagent/zone"
	"thor/subjects"
)

func Zone(f *config.File) zone.Config {
	zc := zone.DefaultConfig(f.Network.Domain)
	zc.NameServers, zc.Static = f.DNS.NS, f.DNS.Static
	zc.Slice = f.DNS.Slice
	zc.Slices = make(map[subjects.Role]int)
	for r, n := range f.DNS.Slices {
		zc.Slices[subjects.Role(r)] = n
	}
	d := f.DNS
	zc.Primary, zc.Contact = d.Primary, d.Contact
	zc.TTL = zone.TTLs{
		Role: d.TTL, Host: d.TTLHost, NAPTR: d.TTLNAPTR, NS: d.TTLNS, SOA: d.TTLSOA, Static: d.TTLStatic, Negative: d.TTLNegative,
	}
	zc.Timers = zone.Timers{Refresh: d.Refresh, Retry: d.Retry, Expire: d.Expire}
	zc.Services = services(d, zc.Services)
	return zc
}

// services are those of the file, in its order so that a problem finds its line,
// and the defaults of roles that it does not name.
func services(d *config.DNS, defaults []zone.Service) []zone.Service {
	out := make([]zone.Service, 0, len(d.Services)+len(defaults))
	named := make(map[subjects.Role]bool)
	for _, s := range d.Services {
		service := zone.Service{Role: subjects.Role(s.Role), Host: s.Host}
		for _, v := range s.SRV { // config has checked the numbers
			service.SRV = append(service.SRV, zone.SRV{
				Name: v.Name, Port: uint16(v.Port), Priority: uint16(v.Priority), NAPTR: v.NAPTR, Order: uint16(v.Order),
			})
		}
		named[service.Role] = true
		out = append(out, service)
	}
	if d.Defaults != nil && !*d.Defaults {
		return out
	}
	return append(out, slices.DeleteFunc(defaults, func(s zone.Service) bool { return named[s.Role] })...)
}
