// Package allowance decides what a reseller or a customer may claim, grant and
// trust: the SIP domains and ENUM ranges it may add, the groups it may put accounts into, and how
// many addresses it may have proxies trust. The level above gives it, by properties
// of the party's record: an administrator to a reseller, a reseller to its customers
// out of what it has itself. What is not allowed is refused.
//
// The package is pure; package store keeps the properties and asks it.
package allowance

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// The properties. A missing or empty one allows nothing.
const (
	// Domains is a list of SIP domains, with blanks or commas between:
	// "example.com", "*.example.com" for all below it, "*" for all.
	Domains = "domain_allowance"
	// Groups is a list of groups, or "*".
	Groups = "group_allowance"
	// Peers is how many addresses all trusted peers of a reseller may have in sum:
	// of IPv4 one for each address, of IPv6 one for each /64.
	Peers = "peer_allowance"
	// Ranges is a list of E.164 prefixes, such as "4312345 4399", below which ENUM
	// ranges may be added, or "*". Within a range of its own a party needs none.
	Ranges = "range_allowance"
)

// Names are all properties.
var Names = []string{Domains, Groups, Peers, Ranges}

// PSTN is the group that lets an account call the telephone network. A party that
// may give it may also loosen what limits such calls.
const PSTN = "free-pstn"

// Groups that concern the subscriber alone, which every party may give and take, and
// those that only restrict, which every party may give.
var (
	free     = []string{"anonymous", "anonymous-reject", "voicemail", "missed-calls"}
	restrict = []string{"blocked", "quota", "prepaid", "deny-password-change"}
)

// An Allowance is what one party is allowed. The zero value is nothing.
type Allowance struct {
	domains, groups, ranges []string
	peers                   int
}

// Parse reads the properties of a party, by name; others are ignored. The error
// names the property that is not in its form.
func Parse(properties map[string]string) (Allowance, error) {
	a := Allowance{domains: list(strings.ToLower(properties[Domains])), groups: list(properties[Groups]), ranges: list(properties[Ranges])}
	for _, d := range a.domains {
		if rest, _ := strings.CutPrefix(d, "*."); d != "*" && !isHost(rest) {
			return Allowance{}, fmt.Errorf("%s is a list of domains such as example.com or *.example.com", Domains)
		}
	}
	for _, r := range a.ranges {
		if r != "*" && strings.Trim(r, "0123456789") != "" {
			return Allowance{}, fmt.Errorf("%s is a list of prefixes such as 4312345, without +", Ranges)
		}
	}
	if s := strings.TrimSpace(properties[Peers]); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 || n > 1<<31-1 {
			return Allowance{}, fmt.Errorf("%s is a number of addresses", Peers)
		}
		a.peers = n
	}
	return a, nil
}

func list(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == ',' || r == '\t' || r == '\n' || r == '\r' })
}

func isHost(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789.-_") == "" && s[0] != '.' && s[len(s)-1] != '.' && !strings.Contains(s, "..")
}

// Within names the first property in which a allows more than b does, "" if none.
func (a Allowance) Within(b Allowance) string {
	switch {
	case slices.ContainsFunc(a.domains, func(d string) bool { return !b.covers(d) }):
		return Domains
	case !slices.Contains(b.groups, "*") && slices.ContainsFunc(a.groups, func(g string) bool { return !slices.Contains(b.groups, g) }):
		return Groups
	case a.peers > b.peers:
		return Peers
	case slices.ContainsFunc(a.ranges, func(r string) bool { return !b.Numbers(r) }):
		return Ranges
	}
	return ""
}

// covers reports whether all that pattern d allows is allowed. A name that is
// reserved is covered by itself alone, as where domains are claimed.
func (a Allowance) covers(d string) bool {
	for _, p := range a.domains {
		suffix, below := strings.CutPrefix(p, "*")
		if p == d || p == "*" || below && strings.HasSuffix(strings.TrimPrefix(d, "*"), suffix) && d != "*" {
			return true
		}
	}
	return false
}

// Claims reports whether domain may be added. A reserved one has to be named as it
// is: no pattern covers it.
func (a Allowance) Claims(domain string, reserved bool) bool {
	if reserved {
		return slices.Contains(a.domains, domain)
	}
	return a.covers(domain)
}

// Numbers reports whether an ENUM range of prefix may be added.
func (a Allowance) Numbers(prefix string) bool {
	return slices.ContainsFunc(a.ranges, func(r string) bool { return r == "*" || strings.HasPrefix(prefix, r) })
}

// Changes reports whether an account's groups may change from was to is, and names
// the group if not. What an account is in already may be echoed.
func (a Allowance) Changes(was, is []string) (group string, ok bool) {
	for _, g := range is {
		if !slices.Contains(was, g) && !slices.Contains(restrict, g) && !a.gives(g) {
			return g, false
		}
	}
	for _, g := range was {
		if !slices.Contains(is, g) && g != PSTN && !a.gives(g) {
			return g, false
		}
	}
	return "", true
}

// Deletes reports whether an account in these groups may be deleted, and names
// the group if not: an account that is made anew under the name is in no group
// that restricts it.
func (a Allowance) Deletes(groups []string) (group string, ok bool) {
	for _, g := range groups {
		if slices.Contains(restrict, g) && !a.gives(g) {
			return g, false
		}
	}
	return "", true
}

// gives reports whether accounts may be put into group, and taken out of it.
func (a Allowance) gives(group string) bool {
	return slices.Contains(free, group) || slices.Contains(a.groups, "*") || slices.Contains(a.groups, group)
}

// Limits are what bounds an account's calls; of the numbers 0 is no bound.
type Limits struct {
	Quota, CallLimit int
	Prepaid          bool
}

// Loosens reports whether an account's limits may change from was to is: to less
// only by a party that may give the group PSTN.
func (a Allowance) Loosens(was, is Limits) bool {
	looser := func(was, is int) bool { return was != 0 && (is == 0 || is > was) }
	return a.gives(PSTN) || !looser(was.Quota, is.Quota) && !looser(was.CallLimit, is.CallLimit) && (!was.Prepaid || is.Prepaid)
}

// Trusts reports whether all of these networks may be trusted.
func (a Allowance) Trusts(peers []netip.Prefix) bool {
	sum := 0
	for _, p := range peers {
		if sum += width(p); sum > a.peers {
			return false
		}
	}
	return true
}

// width is how many addresses of an allowance a network takes.
func width(p netip.Prefix) int {
	host := p.Addr().BitLen() - p.Bits()
	if p.Addr().Is6() {
		host = max(0, 64-p.Bits())
	}
	return 1 << min(host, 31)
}

// Reserved reports why domain may not be claimed, "" if it may be: it is a public
// suffix, an address, or the network's own name or one below it, such as a node's
// host name. network may be empty.
func Reserved(domain, network string) string {
	if _, err := netip.ParseAddr(domain); err == nil {
		return "it is an address"
	}
	if network != "" && (domain == network || strings.HasSuffix(domain, "."+network)) {
		return "it is a name of the network"
	}
	if suffix, _ := publicsuffix.PublicSuffix(domain); suffix == domain {
		return "it is a public suffix"
	}
	return ""
}
