package ngnpro

import (
	"net/netip"
	"strings"
)

// A TrustedPeer is a host whose calls need no authentication.
type TrustedPeer struct {
	IP          string  `soap:"ip"`
	Description *string `soap:"description" rule:"text 255"`
	CallLimit   *int    `soap:"callLimit" rule:"number"`
	MSTeams     *bool   `soap:"msteams"`
	Tenant      *string `soap:"tenant" rule:"text 128"`
	CarrierName *string `soap:"carrierName" rule:"text 128"`
	Originator  *string `soap:"originator" rule:"header 128"`
	Prefix      *string `soap:"prefix" rule:"header 64"`
	Strip       *int    `soap:"strip" rule:"number 0 64"`
	Blocked     *bool   `soap:"blocked"`
	EnumLookup  *bool   `soap:"enumLookup"`
	Transit     *bool   `soap:"transit"`
	Prepaid     *bool   `soap:"prepaid"`
	Tags        *string `soap:"tags" rule:"text 64"`
	BillingID   *string `soap:"billingId" rule:"text 64"`
	AuthToken   *string `soap:"authToken" rule:"text 128"`
	Owner       *int    `soap:"owner" rule:"number"`
	Customer    *int    `soap:"customer" rule:"number"`
	Reseller    *int    `soap:"reseller" rule:"number"`
	ChangeDate  string  `soap:"changeDate,ro"`
}

// Clean checks a trusted peer.
func (p *TrustedPeer) Clean() error { return first(PeerIP(&p.IP), fields("peer", p)) }

// PeerIP brings an address, or a network in CIDR form, into its one spelling.
func PeerIP(p *string) error {
	n, err := PeerNetwork(strings.TrimSpace(*p))
	if err != nil {
		return err
	}
	if *p = n.String(); n.IsSingleIP() {
		*p = n.Addr().String()
	}
	return nil
}

// PeerNetwork is the network that an address or a network in CIDR form is.
func PeerNetwork(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	n, err := netip.ParsePrefix(s)
	if err == nil && n.Addr().Is4In6() {
		n = netip.PrefixFrom(n.Addr().Unmap(), n.Bits()-96)
	}
	if err != nil || !n.IsValid() {
		return netip.Prefix{}, invalid("ip", "is neither an IP address nor a network such as 192.0.2.0/24")
	}
	return n.Masked(), nil
}
