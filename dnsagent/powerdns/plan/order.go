package plan

import (
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// An Order says how the rows of a zone are sorted for DNSSEC, as pdnsutil
// rectify-zone would have it. The zero value sorts for NSEC.
type Order struct {
	Apex   string // without the final dot
	hash   uint8
	rounds uint16
	salt   string
	nsec3  bool
	narrow bool
}

// ParseOrder reads the metadata NSEC3PARAM ("1 0 0 -") and whether there is
// NSEC3NARROW. Parameters that cannot be read are as none.
func ParseOrder(apex, param string, narrow bool) Order {
	o := Order{Apex: apex}
	f := strings.Fields(param)
	if len(f) != 4 {
		return o
	}
	hash, err1 := strconv.ParseUint(f[0], 10, 8)
	rounds, err2 := strconv.ParseUint(f[2], 10, 16)
	if err1 != nil || err2 != nil || hash != uint64(dns.SHA1) {
		return o
	}
	o.hash, o.rounds, o.salt, o.nsec3, o.narrow = uint8(hash), uint16(rounds), f[3], true, narrow
	if o.salt == "-" {
		o.salt = ""
	}
	return o
}

// An Ordername is the value of that column; the zero value is NULL.
type Ordername struct {
	Text string
	Set  bool
}

// Of is that of the rows of name.
func (o Order) Of(name string) Ordername {
	switch {
	case o.nsec3 && o.narrow:
		return Ordername{}
	case o.nsec3:
		return Ordername{strings.ToLower(dns.HashName(dns.Fqdn(name), o.hash, o.rounds, o.salt)), true}
	}
	labels := dns.SplitDomainName(strings.TrimSuffix(strings.TrimSuffix(name, o.Apex), "."))
	slices.Reverse(labels)
	return Ordername{strings.Join(labels, " "), true}
}
