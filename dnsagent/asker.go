package dnsagent

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"

	"github.com/miekg/dns"

	"thor/dnsagent/zone"
)

// An asker is for whom a question is answered: the client, or one behind it, of whom
// it told by EDNS client subnet (RFC 7871).
type asker struct {
	told   bool
	family uint16
	subnet netip.Prefix // not valid: of family 0
	random zone.Random
	bits   int // of the greatest network around the asker that is of one site
}

// Families of addresses (RFC 7871 6), and their lengths in bits.
var families = map[uint16]int{1: 32, 2: 128}

// read takes the option of a request. ok is false for one that is malformed: it has
// another length than that of its prefix, bits behind it, a scope, is of an
// unknown family, or an IPv4 address within IPv6.
func (a *asker) read(b []byte) (ok bool) {
	if len(b) < 4 || b[3] != 0 {
		return false
	}
	family, source := binary.BigEndian.Uint16(b), int(b[2])
	bits, known := families[family]
	if source > bits || len(b) != 4+(source+7)/8 || !known && family != 0 {
		return false
	}
	if family == 0 {
		a.told = true
		return true
	}
	whole := make([]byte, bits/8)
	copy(whole, b[4:])
	addr, _ := netip.AddrFromSlice(whole) // of 4 or 16 bytes
	p := netip.PrefixFrom(addr, source)
	if p.Masked() != p || addr.Is4In6() { // the scope of that would be of the other family
		return false
	}
	a.told, a.family, a.subnet = true, family, p
	return true
}

// picker draws for the asker. One that hides its network is the client.
func (r *responder) picker(s *served, rng *rand.Rand) *zone.Random {
	a, from := &r.by, r.client
	if a.told && a.subnet.IsValid() && a.subnet.Bits() > 0 {
		from = a.subnet.Addr()
	}
	a.random = zone.Random{Rand: rng}
	a.random.Site, a.bits = s.askers.At(from)
	return &a.random
}

// option is that of the reply: as it was asked, with the bits of the network whose
// clients all get such an answer. It is that of all clients where no site was
// preferred, and where the asker hid its network (RFC 7871 7.2.1).
func (a *asker) option() *dns.EDNS0_SUBNET {
	o := &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: a.family, Address: net.IPv4zero}
	if a.subnet.IsValid() {
		o.SourceNetmask, o.Address = uint8(a.subnet.Bits()), a.subnet.Addr().AsSlice()
		if a.random.Preferred && a.subnet.Bits() > 0 {
			o.SourceScope = uint8(a.bits)
		}
	}
	return o
}
