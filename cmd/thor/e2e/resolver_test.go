//go:build e2e

package e2e_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// resolver asks all name servers all the time and remembers what they said.
type resolver struct {
	name      string
	servers   []string
	types     []uint16 // asked in turn
	every     time.Duration
	addresses map[string]string // of the nodes that may be in an answer
	stop      chan struct{}
	wg        sync.WaitGroup

	queries atomic.Int64
	mu      sync.Mutex
	keep    []string // nodes that must be in every SRV answer
	last    map[asked][]string
	serials map[string]uint32 // of each server, the newest
	faults  []string
}

// asked is what a server is asked.
type asked struct {
	server string
	qtype  uint16
}

// resolve starts asking each server 20 times a second for SRV and A in turn, and
// as often for the serial of the zone, which must not go back.
func (n *network) resolve(t testing.TB) *resolver {
	return n.resolveEvery(t, 50*time.Millisecond, dns.TypeSRV, dns.TypeA)
}

func (n *network) resolveEvery(t testing.TB, every time.Duration, types ...uint16) *resolver {
	t.Helper()
	r := newResolver(n.domain, n.DNS, every, types...)
	certs, _ := filepath.Glob(filepath.Join(n.dir, "node*", "node.crt")) // the pattern is good
	for _, c := range certs {
		id := n.credentials(t, filepath.Base(filepath.Dir(c))).Identity()
		r.addresses[string(id.Node)] = id.Addresses[0].String()
	}
	for _, s := range r.servers {
		r.wg.Go(func() { r.ask(s, r.types...) })
		r.wg.Go(func() { r.ask(s, dns.TypeSOA) })
	}
	t.Cleanup(r.end)
	return r
}

func newResolver(domain string, servers []string, every time.Duration, types ...uint16) *resolver {
	return &resolver{
		name: domain + ".", servers: servers, types: types, every: every, stop: make(chan struct{}),
		addresses: make(map[string]string), last: make(map[asked][]string), serials: make(map[string]uint32),
	}
}

func (r *resolver) end() {
	select {
	case <-r.stop:
	default:
		close(r.stop)
	}
	r.wg.Wait()
}

func (r *resolver) ask(server string, types ...uint16) {
	c := dns.Client{Timeout: 2 * time.Second}
	tick := time.NewTicker(r.every)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-r.stop:
			return
		case <-tick.C:
		}
		var q dns.Msg
		switch qtype := types[i%len(types)]; qtype {
		case dns.TypeSRV:
			q.SetQuestion("_sip._udp."+r.name, qtype)
		case dns.TypeA:
			q.SetQuestion("proxy."+r.name, qtype)
		default:
			q.SetQuestion(r.name, qtype)
		}
		a, _, err := c.Exchange(&q, server)
		r.queries.Add(1)
		r.note(server, &q, a, err)
	}
}

func (r *resolver) note(server string, q, a *dns.Msg, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fault := func(format string, args ...any) {
		r.faults = append(r.faults, fmt.Sprintf("%s %s %s: ", time.Now().Format("15:04:05.000"), server, q.Question[0].String())+fmt.Sprintf(format, args...))
	}
	if err != nil {
		fault("%v", err)
		return
	}
	if a.Rcode != dns.RcodeSuccess || len(a.Answer) == 0 {
		fault("%s with %d answers", dns.RcodeToString[a.Rcode], len(a.Answer))
		return
	}
	var got []string
	for _, rr := range a.Answer {
		switch rr := rr.(type) {
		case *dns.SRV:
			host, _, _ := strings.Cut(rr.Target, ".")
			got = append(got, host)
		case *dns.A:
			got = append(got, rr.A.String())
		case *dns.SOA:
			if before, known := r.serials[server]; known && rr.Serial < before {
				fault("the serial went back from %d to %d", before, rr.Serial)
			}
			r.serials[server] = rr.Serial
			return
		}
	}
	slices.Sort(got)
	qtype := q.Question[0].Qtype
	r.last[asked{server, qtype}] = got
	for _, node := range r.keep {
		if qtype == dns.TypeSRV && !slices.Contains(got, node) {
			fault("%s is not among %v", node, got)
		}
	}
}

// must names the nodes that have to be in every SRV answer from now on.
func (r *resolver) must(nodes ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keep = nodes
}

// everywhere reports whether every server's last answers hold exactly nodes, and
// their addresses.
func (r *resolver) everywhere(nodes ...string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	var addresses []string
	for _, n := range nodes {
		addresses = append(addresses, r.addresses[n])
	}
	slices.Sort(addresses)
	want := map[uint16][]string{dns.TypeSRV: nodes, dns.TypeA: addresses}
	for _, s := range r.servers {
		for _, qtype := range r.types {
			if !slices.Equal(r.last[asked{s, qtype}], want[qtype]) {
				return false
			}
		}
	}
	return true
}

func (r *resolver) failures() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.faults)
}

// forget drops the faults of one server: it was cut off on purpose.
func (r *resolver) forget(server string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = slices.DeleteFunc(r.faults, func(f string) bool { return strings.Contains(f, " "+server+" ") })
}

// hasAddress reports whether both name servers answer name with address.
func (n *network) hasAddress(name, address string) bool {
	for _, s := range n.DNS {
		if has, err := answersWith(s, name, address); err != nil || !has {
			return false
		}
	}
	return true
}

// answersWith asks one name server.
func answersWith(server, name, address string) (bool, error) {
	var q dns.Msg
	q.SetQuestion(name, dns.TypeA)
	a, _, err := (&dns.Client{Timeout: time.Second}).Exchange(&q, server)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(a.Answer, func(rr dns.RR) bool {
		x, ok := rr.(*dns.A)
		return ok && x.A.String() == address
	}), nil
}
