package compare

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// maxParents is how many name servers of the parent are asked.
const maxParents = 4

// FindParent asks a resolver, host:port, for name servers of the zone above domain.
func FindParent(ctx context.Context, resolver, domain string) (out []Server, err error) {
	for at, end := dns.NextLabel(domain, 0); ; {
		above := "."
		if !end {
			above = domain[at:]
		}
		hosts, err := resolve(ctx, resolver, above, dns.TypeNS)
		if err != nil {
			return nil, fmt.Errorf("ask %s for the name servers of %s: %w", resolver, above, err)
		}
		for _, host := range hosts {
			for _, t := range []uint16{dns.TypeA, dns.TypeAAAA} {
				addresses, err := resolve(ctx, resolver, host, t)
				if err == nil && len(addresses) > 0 && len(out) < maxParents {
					out = append(out, Server{host, net.JoinHostPort(addresses[0], "53")})
				}
			}
		}
		switch {
		case len(out) > 0:
			return out, nil
		case end:
			return nil, errors.New("no name server of a zone above was found")
		}
		at, end = dns.NextLabel(domain, at)
	}
}

// resolve has a resolver look up names or addresses, sorted.
func resolve(ctx context.Context, resolver, name string, t uint16) ([]string, error) {
	m := new(dns.Msg).SetQuestion(name, t)
	r, err := conclusive(ctx, resolver, m, dns.RcodeNameError)
	if err != nil {
		return nil, err
	}
	return values(r.Answer, name, t), nil
}

// values are host names or addresses of the records of a name, sorted.
func values(rrs []dns.RR, name string, t uint16) (out []string) {
	for _, rr := range rrs {
		h := rr.Header()
		if h.Rrtype != t || !strings.EqualFold(h.Name, name) {
			continue
		}
		switch rr := rr.(type) {
		case *dns.NS:
			out = append(out, dns.CanonicalName(rr.Ns))
		case *dns.A:
			out = append(out, rr.A.String())
		case *dns.AAAA:
			out = append(out, rr.AAAA.String())
		}
	}
	slices.Sort(out)
	return out
}

// AskParent asks the parent's name servers what they delegate.
func AskParent(ctx context.Context, domain string, servers []Server) []Referral {
	out := make([]Referral, len(servers))
	each(out, func(r *Referral, i int) {
		r.Server = servers[i]
		r.Err = r.ask(ctx, domain)
	})
	return out
}

// errUndelegated is what the parent says, not that it could not be asked.
var errUndelegated = errors.New("it does not delegate the zone")

func (r *Referral) ask(ctx context.Context, domain string) error {
	m := new(dns.Msg).SetQuestion(domain, dns.TypeNS)
	m.RecursionDesired = false
	m.SetEdns0(1232, false)
	a, err := conclusive(ctx, r.Address, m, dns.RcodeNameError)
	switch {
	case err != nil:
		return err
	case a.Rcode == dns.RcodeNameError:
		return errUndelegated
	}
	r.NS = values(append(a.Ns, a.Answer...), domain, dns.TypeNS)
	if len(r.NS) == 0 {
		return errUndelegated
	}
	r.Glue = make(map[string][]string)
	for _, host := range r.NS {
		for _, t := range []uint16{dns.TypeA, dns.TypeAAAA} {
			r.Glue[host] = append(r.Glue[host], values(a.Extra, host, t)...)
		}
		slices.Sort(r.Glue[host])
	}
	m = new(dns.Msg).SetQuestion(domain, dns.TypeDS)
	m.RecursionDesired = false
	if a, err = conclusive(ctx, r.Address, m); err != nil {
		return err
	}
	for _, rr := range a.Answer {
		if ds, ok := rr.(*dns.DS); ok {
			r.DS = append(r.DS, ds)
		}
	}
	return nil
}

// AskZone asks a name server of the zone what the parent should say.
func AskZone(ctx context.Context, domain, address string) (z Zone, err error) {
	ask := func(name string, t uint16, also ...int) []dns.RR {
		if err != nil {
			return nil
		}
		var r *dns.Msg
		if r, err = conclusive(ctx, address, new(dns.Msg).SetQuestion(name, t), also...); err != nil {
			return nil
		}
		return r.Answer
	}
	z.NS = values(ask(domain, dns.TypeNS), domain, dns.TypeNS)
	z.Addresses = make(map[string][]string)
	for _, host := range z.NS {
		if !dns.IsSubDomain(domain, host) {
			continue
		}
		for _, t := range []uint16{dns.TypeA, dns.TypeAAAA} {
			z.Addresses[host] = append(z.Addresses[host], values(ask(host, t, dns.RcodeNameError), host, t)...)
		}
		slices.Sort(z.Addresses[host])
	}
	for _, rr := range ask(domain, dns.TypeDNSKEY) {
		if k, ok := rr.(*dns.DNSKEY); ok {
			z.Keys = append(z.Keys, k)
		}
	}
	return z, err
}

// CheckParent finds the parent's name servers by a resolver, unless they are given, and
// compares what they delegate with what a name server of the zone says.
func CheckParent(ctx context.Context, domain, address, resolver string, parents []Server) ([]Difference, []Referral) {
	unknown := func(where string, err error) ([]Difference, []Referral) {
		return []Difference{{Unknown, where, err.Error()}}, nil
	}
	if len(parents) == 0 {
		var err error
		if parents, err = FindParent(ctx, resolver, domain); err != nil {
			return unknown("parent", err)
		}
	}
	z, err := AskZone(ctx, domain, address)
	if err != nil {
		return unknown(address, err)
	}
	referrals := AskParent(ctx, domain, parents)
	return Parent(z, referrals), referrals
}
