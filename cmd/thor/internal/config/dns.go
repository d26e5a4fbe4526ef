package config

import (
	"fmt"
	"net/netip"
	"time"

	"thor/subjects"
)

// DNS configures the name server.
type DNS struct {
	Listen    []string       `toml:"listen"`                 // host:port, UDP and TCP each
	Addresses []netip.Addr   `toml:"addresses" reload:"yes"` // to announce; default: the certificate's
	NS        []string       `toml:"ns" reload:"yes"`        // host names; default: the nodes of the live name servers
	Contact   string         `toml:"contact" reload:"yes"`   // SOA RNAME as a mail address; default hostmaster@domain
	Slice     int            `toml:"slice" reload:"yes"`     // members in an answer, 1 to 8; default 4
	Slices    map[string]int `toml:"slices" reload:"yes"`    // per role
	Primary   string         `toml:"primary" reload:"yes"`   // SOA MNAME; default the first name server
	Static    []string       `toml:"static" reload:"yes"`    // further records, in zone file form

	// An entry takes the place of the default services of its role.
	Services []Service `toml:"service" reload:"yes"`
	Defaults *bool     `toml:"default_services" reload:"yes"` // false: those of other roles do not stay either

	// Whole seconds; defaults in zone.TTLs and zone.Timers.
	TTL         time.Duration `toml:"ttl" reload:"yes"` // of role sets; default 10s
	TTLHost     time.Duration `toml:"ttl_host" reload:"yes"`
	TTLNAPTR    time.Duration `toml:"ttl_naptr" reload:"yes"`
	TTLNS       time.Duration `toml:"ttl_ns" reload:"yes"`
	TTLSOA      time.Duration `toml:"ttl_soa" reload:"yes"`
	TTLStatic   time.Duration `toml:"ttl_static" reload:"yes"`
	TTLNegative time.Duration `toml:"ttl_negative" reload:"yes"`
	Refresh     time.Duration `toml:"refresh" reload:"yes"`
	Retry       time.Duration `toml:"retry" reload:"yes"`
	Expire      time.Duration `toml:"expire" reload:"yes"`
}

// Service gives a role its names in the zone.
type Service struct {
	Role string `toml:"role"`
	Host string `toml:"host"` // label below the domain
	SRV  []SRV  `toml:"srv"`
}

// SRV is one SRV set of a service.
type SRV struct {
	Name     string `toml:"name"` // "_sip._udp"
	Port     int    `toml:"port"`
	Priority int    `toml:"priority"` // default 10
	NAPTR    string `toml:"naptr"`    // "SIP+D2U"; none: no NAPTR record
	Order    int    `toml:"order"`    // of the NAPTR record
}

func (d *DNS) check(f *File) {
	if len(d.Listen) == 0 && !f.failed("dns.listen") {
		f.d.add("dns.listen", "is missing: list host:port pairs")
	}
	for i, l := range d.Listen {
		f.hostPort(fmt.Sprintf("dns.listen[%d]", i), l)
	}
	if d.Slice < 0 || d.Slice > 8 {
		f.d.add("dns.slice", "%d is not 1 to 8 (SIP clients read no more)", d.Slice)
	}
	for r, n := range d.Slices {
		if _, err := subjects.ParseRole(r); err != nil {
			f.d.add("dns.slices."+r, "%v", err)
		}
		if n < 1 || n > 8 {
			f.d.add("dns.slices."+r, "%d is not 1 to 8", n)
		}
	}
	if d.TTL != 0 && (d.TTL < time.Second || d.TTL > time.Hour || d.TTL%time.Second != 0) {
		f.d.add("dns.ttl", "%s is not whole seconds from 1s to 1h", d.TTL)
	}
	for i, s := range d.Services {
		for j, v := range s.SRV {
			v.check(f, fmt.Sprintf("dns.service[%d].srv[%d].", i, j))
		}
	}
}

// check leaves names, and what is missing, to the zone.
func (v *SRV) check(f *File, key string) {
	for _, n := range []struct {
		key   string
		value int
	}{{"port", v.Port}, {"priority", v.Priority}, {"order", v.Order}} {
		if n.value < 0 || n.value > 65535 {
			f.d.add(key+n.key, "%d is not 1 to 65535", n.value)
		}
	}
	if v.Order != 0 && v.NAPTR == "" {
		f.d.add(key+"order", "is of a NAPTR record, and there is no naptr")
	}
}

func (d *DNS) fill(*File) {
	set(&d.Slice, 4)
	set(&d.TTL, 10*time.Second)
}
