package compare

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"thor/dnsagent/zone"
	"thor/subjects"
)

// Bounds of what is asked.
const (
	patience = 2 * time.Second       // for one answer
	pollEach = 50 * time.Millisecond // of a server that is behind
	tries    = 3                     // of asking a server whose zone changes meanwhile
)

// Questions are those by which two name servers of z can be compared: the apex, the
// static names, and every role as a whole.
func Questions(z *zone.Zone) []Question {
	seen := make(map[Question]bool)
	for _, t := range []uint16{dns.TypeSOA, dns.TypeNS, dns.TypeNAPTR, dns.TypeDNSKEY, dns.TypeMX, dns.TypeTXT, dns.TypeA, dns.TypeAAAA} {
		seen[Question{z.Apex(), t}] = true
	}
	for s := range z.RRsets() {
		switch {
		case s.Draw != nil:
			for page := range (len(s.Records) + zone.MaxSet - 1) / zone.MaxSet {
				seen[Question{z.All(s.Name, page+1), s.Type}] = true
			}
		case z.Static(s.Name):
			seen[Question{s.Name, s.Type}] = true
		}
	}
	return slices.Collect(maps.Keys(seen))
}

// Ask asks all servers, and waits for those that are behind the newest serial at most
// wait.
func Ask(ctx context.Context, domain string, servers []Server, questions []Question, wait time.Duration) []Answers {
	out := make([]Answers, len(servers))
	each(out, func(a *Answers, i int) {
		a.Server = servers[i]
		a.Serial, a.Err = serial(ctx, a.Address, domain)
	})
	newest, known := newestOf(out)
	if !known {
		return out
	}
	began := time.Now()
	each(out, func(a *Answers, _ int) {
		if a.Err == nil {
			a.catchUp(ctx, domain, newest, began, wait)
		}
		if a.Err == nil && a.Behind == 0 {
			a.ask(ctx, domain, questions)
		}
	})
	return out
}

// each calls f for all at once.
func each[T any](all []T, f func(*T, int)) {
	var g sync.WaitGroup
	for i := range all {
		g.Go(func() { f(&all[i], i) })
	}
	g.Wait()
}

func newestOf(all []Answers) (newest uint32, known bool) {
	for _, a := range all {
		if a.Err == nil && (!known || int32(a.Serial-newest) > 0) {
			newest, known = a.Serial, true
		}
	}
	return newest, known
}

// catchUp waits until a has the newest serial.
func (a *Answers) catchUp(ctx context.Context, domain string, newest uint32, began time.Time, wait time.Duration) {
	tick := time.NewTicker(pollEach)
	defer tick.Stop()
	for a.Err == nil && int32(newest-a.Serial) > 0 {
		a.Lag = time.Since(began)
		a.Behind = newest - a.Serial
		if a.Lag > wait {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			a.Err = ctx.Err()
			return
		}
		a.Serial, a.Err = serial(ctx, a.Address, domain)
	}
	a.Behind = 0
}

// ask asks all questions while the zone stands still.
func (a *Answers) ask(ctx context.Context, domain string, questions []Question) {
	for range tries {
		before := a.Serial
		a.Sets = make(map[Question][]string, len(questions))
		if a.Err = a.askOnce(ctx, questions); a.Err != nil {
			return
		}
		if a.Serial, a.Err = serial(ctx, a.Address, domain); a.Err != nil || a.Serial == before {
			return
		}
	}
	a.Moved = true
}

// askOnce asks all questions by one connection.
func (a *Answers) askOnce(ctx context.Context, questions []Question) error {
	c := &dns.Client{Net: "tcp", Timeout: patience}
	conn, err := c.DialContext(ctx, a.Address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	for _, q := range questions {
		r, _, err := c.ExchangeWithConnContext(ctx, new(dns.Msg).SetQuestion(q.Name, q.Type), conn)
		if err != nil {
			return fmt.Errorf("%s: %w", q, err)
		}
		set := []string{}
		if r.Rcode != dns.RcodeSuccess {
			set = append(set, dns.RcodeToString[r.Rcode])
		}
		for _, rr := range append(r.Answer, r.Extra...) {
			set = append(set, record(rr))
		}
		slices.Sort(set)
		a.Sets[q] = set
	}
	return nil
}

// record is a record as text, without what changes with each generation.
func record(rr dns.RR) string {
	if soa, ok := rr.(*dns.SOA); ok {
		c := *soa
		c.Serial = 0
		rr = &c
	}
	return strings.Join(strings.Fields(rr.String()), " ")
}

// serial is that of the zone that a server has now.
func serial(ctx context.Context, address, domain string) (uint32, error) {
	r, err := exchange(ctx, address, new(dns.Msg).SetQuestion(domain, dns.TypeSOA))
	if err != nil {
		return 0, err
	}
	for _, rr := range r.Answer {
		if soa, ok := rr.(*dns.SOA); ok && r.Authoritative {
			return soa.Serial, nil
		}
	}
	return 0, errors.New("it has no SOA of the zone: " + dns.RcodeToString[r.Rcode])
}

// conclusive is exchange for an answer that says which records there are: any other rcode than success, and
// those of also, says nothing of them, and is an error.
func conclusive(ctx context.Context, address string, m *dns.Msg, also ...int) (*dns.Msg, error) {
	r, err := exchange(ctx, address, m)
	if err == nil && r.Rcode != dns.RcodeSuccess && !slices.Contains(also, r.Rcode) {
		q := Question{m.Question[0].Name, m.Question[0].Qtype}
		return nil, fmt.Errorf("%s: it answers %s", q, dns.RcodeToString[r.Rcode])
	}
	return r, err
}

// exchange asks by UDP, a second time if there is no answer, and by TCP if it is cut.
func exchange(ctx context.Context, address string, m *dns.Msg) (r *dns.Msg, err error) {
	c := &dns.Client{Timeout: patience / 2}
	for range 2 {
		if r, _, err = c.ExchangeContext(ctx, m, address); err == nil {
			break
		}
	}
	if err == nil && r.Truncated {
		c = &dns.Client{Net: "tcp", Timeout: patience}
		r, _, err = c.ExchangeContext(ctx, m, address)
	}
	return r, err
}

// Address is where a member that is a name server answers.
func Address(m *subjects.Member) string {
	return net.JoinHostPort(m.Address().String(), cmp.Or(m.Attrs[subjects.AttrPort], "53"))
}
