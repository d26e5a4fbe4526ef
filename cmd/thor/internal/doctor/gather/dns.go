package gather

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"thor/cmd/thor/internal/doctor"
	"thor/dnsagent/compare"
	"thor/subjects"
)

// nameServers asks each name server of the status, all a second time if they do
// not agree.
func nameServers(ctx context.Context, st *subjects.Status, known []string) []doctor.NameServer {
	out := askAll(ctx, st, known)
	if !doctor.Agree(out) {
		out = askAll(ctx, st, known)
	}
	return out
}

func askAll(ctx context.Context, st *subjects.Status, known []string) (out []doctor.NameServer) {
	members := st.Roles[subjects.DNSManager]
	for i := range members {
		s := doctor.NameServer{Node: members[i].Node, Address: AddressOf(&members[i], known)}
		s.Answer, s.Err = apex(ctx, s.Address, st.Domain, uint32(st.Generation))
		out = append(out, s)
	}
	return out
}

// AddressOf is where to ask the name server m: an address of known with its
// port, otherwise where it is announced.
func AddressOf(m *subjects.Member, known []string) string {
	at := compare.Address(m)
	_, port, _ := net.SplitHostPort(at)
	for _, k := range known {
		if _, p, err := net.SplitHostPort(k); err == nil && p == port {
			return k
		}
	}
	return at
}

// apex are the sets of the apex that are no random slices, as one text. A server
// whose serial is behind generation gets two seconds to catch up.
func apex(ctx context.Context, server, domain string, generation uint32) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for try := 0; ; try++ {
		text, serial, err := askApex(ctx, server, domain)
		if err != nil {
			return "", err
		}
		if int32(serial-generation) >= 0 { // RFC 1982
			return text, nil
		}
		select {
		case <-tick.C:
			if try >= 10 {
				return "", fmt.Errorf("its serial is %d, and the status is at %d: it does not hear the managers", serial, generation)
			}
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

func askApex(ctx context.Context, server, domain string) (text string, serial uint32, err error) {
	var all []string
	for _, kind := range []uint16{dns.TypeSOA, dns.TypeNS, dns.TypeNAPTR} {
		var q dns.Msg
		q.SetQuestion(dns.Fqdn(domain), kind)
		r, _, err := new(dns.Client).ExchangeContext(ctx, &q, server)
		if err != nil {
			return "", 0, err
		}
		if r.Rcode != dns.RcodeSuccess {
			return "", 0, errors.New("it answers " + dns.RcodeToString[r.Rcode])
		}
		for _, rr := range r.Answer {
			if soa, ok := rr.(*dns.SOA); ok {
				serial = soa.Serial // may rise between two questions
				continue
			}
			all = append(all, rr.String())
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n"), serial, nil
}
