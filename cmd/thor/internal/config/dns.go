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
	TTL       time.Duration  `toml:"ttl" reload:"yes"`       // of role sets; default 10s
	Static    []string       `toml:"static" reload:"yes"`    // further records, in zone file form
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
	if d.TTL != 0 && (d.TTL < time.Second || d.TTL > 24*time.Hour || d.TTL%time.Second != 0) {
		f.d.add("dns.ttl", "%s is not whole seconds from 1s to 24h", d.TTL)
	}
}

func (d *DNS) fill(*File) {
	set(&d.Slice, 4)
	set(&d.TTL, 10*time.Second)
}
