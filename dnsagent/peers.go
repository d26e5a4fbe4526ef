package dnsagent

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"thor/dnsagent/compare"
	"thor/subjects"
)

const (
	maxPeers    = 16               // that are asked at a time
	peerWait    = 5 * time.Second  // for one that is behind
	parentEvery = time.Hour        // the parent is asked; what it says is kept for as long, or longer
	parentWait  = 30 * time.Second // for all of its name servers
)

var (
	differencesDesc = prometheus.NewDesc("thor_dns_differences",
		"What the name servers of the network, and its parent's, say differently, by kind, when they were last asked.", []string{"kind"}, nil)
	lagDesc = prometheus.NewDesc("thor_dns_lag_seconds",
		"How long a name server of the network has been behind the newest serial, the longest of all; 0: none is.", nil, nil)
)

// peers are the other name servers of the network, as they were when they were last asked.
type peers struct {
	configurations func() int // how many servers have another zone configuration, by the status

	mu      sync.Mutex
	among   map[compare.Kind]int // differences between name servers
	parent  map[compare.Kind]int // and between them and the parent
	behind  map[string]time.Time // since when a server is
	longest time.Duration        // of those that caught up when they were last asked
}

// Kinds that are shown, also when there is no difference: those of the parent once it was asked.
var (
	peerKinds   = []compare.Kind{compare.Unreachable, compare.Behind, compare.Records, compare.Keys}
	parentKinds = []compare.Kind{compare.Delegation, compare.Glue, compare.Signer, compare.Unknown}
)

// differentConfiguration is the kind of the servers that announce another digest of their zone
// configuration. The questions that name servers ask each other are those of the apex alone.
const differentConfiguration = "configuration"

// differentConfigurations is how many name servers of the status announce another
// configuration than this one's.
func (a *Agent) differentConfigurations() (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.status == nil {
		return 0
	}
	own := a.builder.Digest()
	for _, m := range a.status.Roles[subjects.DNSManager] {
		if digest := m.Attrs[subjects.AttrZone]; digest != "" && digest != own && string(m.Node) != a.cfg.NSID {
			n++
		}
	}
	return n
}

// Describe is that of a prometheus.Collector.
func (p *peers) Describe(out chan<- *prometheus.Desc) {
	out <- differencesDesc
	out <- lagDesc
}

// Collect is that of a prometheus.Collector.
func (p *peers) Collect(out chan<- prometheus.Metric) {
	if p.configurations != nil {
		out <- prometheus.MustNewConstMetric(differencesDesc, prometheus.GaugeValue, float64(p.configurations()), differentConfiguration)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	show := func(kinds []compare.Kind, of map[compare.Kind]int) {
		for _, k := range kinds {
			out <- prometheus.MustNewConstMetric(differencesDesc, prometheus.GaugeValue, float64(of[k]), string(k))
		}
	}
	show(peerKinds, p.among)
	if p.parent != nil {
		show(parentKinds, p.parent)
	}
	out <- prometheus.MustNewConstMetric(lagDesc, prometheus.GaugeValue, p.lag(time.Now()).Seconds())
}

func (p *peers) lag(now time.Time) time.Duration {
	longest := p.longest
	for _, since := range p.behind {
		longest = max(longest, now.Sub(since))
	}
	return longest
}

// note takes in what the servers said at a time.
func (p *peers) note(all []compare.Answers, differences []compare.Difference, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.among, p.longest = count(differences), 0
	behind := make(map[string]time.Time)
	for _, a := range all {
		switch since, known := p.behind[a.Name]; {
		case a.Err == nil && a.Behind == 0:
			p.longest = max(p.longest, a.Lag)
		case known: // one that does not answer has not caught up
			behind[a.Name] = since
		case a.Err == nil:
			behind[a.Name] = now.Add(-a.Lag)
		}
	}
	p.behind = behind
}

func (p *peers) noteParent(differences []compare.Difference) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.parent = count(differences)
}

func count(differences []compare.Difference) map[compare.Kind]int {
	n := make(map[compare.Kind]int)
	for _, d := range differences {
		n[d.Kind]++
	}
	return n
}

// others are the name servers of the network but this one: some of them, if they are many.
func (a *Agent) others() (out []compare.Server) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.status == nil {
		return nil
	}
	members := a.status.Roles[subjects.DNSManager]
	for _, i := range rand.Perm(len(members)) {
		m := &members[i]
		if string(m.Node) != a.cfg.NSID && m.Serves() && m.Address().IsValid() && len(out) < maxPeers {
			out = append(out, compare.Server{Name: string(m.Node), Address: compare.Address(m)})
		}
	}
	return out
}

// itself is where this name server is asked by its own host.
func (a *Agent) itself(bound netip.AddrPort) compare.Server {
	at := bound.Addr()
	if at.IsUnspecified() {
		at = map[bool]netip.Addr{true: netip.AddrFrom4([4]byte{127, 0, 0, 1}), false: netip.IPv6Loopback()}[at.Is4()]
	}
	return compare.Server{Name: a.cfg.NSID, Address: netip.AddrPortFrom(at, bound.Port()).String()}
}

// watchPeers compares the name servers of the network, and what the parent says of them,
// until ctx ends. What differs is in the metrics, and is logged when it is new.
func (a *Agent) watchPeers(ctx context.Context, bound netip.AddrPort) {
	self := a.itself(bound)
	var asked time.Time // the parent
	var known, knownParent []string
	for sleep(ctx, a.checkEvery/2+rand.N(a.checkEvery)) { // not all at once
		if a.Zone() == nil {
			continue
		}
		all := compare.Ask(ctx, a.apex, append([]compare.Server{self}, a.others()...), a.apexQuestions(), peerWait)
		differences := compare.Servers(all)
		if ctx.Err() != nil {
			return
		}
		a.peers.note(all, differences, time.Now())
		known = a.tellDifferences(differences, known)
		if a.cfg.CheckResolver == "" || !asked.IsZero() && time.Since(asked) < parentEvery {
			continue
		}
		asked = time.Now()
		differences = a.askParent(ctx, self)
		if ctx.Err() != nil {
			return
		}
		a.peers.noteParent(differences)
		knownParent = a.tellDifferences(differences, knownParent)
	}
}

// apexQuestions are enough where the digest of the configuration, which members announce, tells the rest.
func (a *Agent) apexQuestions() (out []compare.Question) {
	for _, t := range []uint16{dns.TypeSOA, dns.TypeNS, dns.TypeNAPTR, dns.TypeDNSKEY} {
		out = append(out, compare.Question{Name: a.apex, Type: t})
	}
	return out
}

func (a *Agent) askParent(ctx context.Context, self compare.Server) []compare.Difference {
	ctx, cancel := context.WithTimeout(ctx, parentWait)
	defer cancel()
	differences, _ := compare.CheckParent(ctx, a.apex, self.Address, a.cfg.CheckResolver, nil)
	return differences
}

// tellDifferences logs those that are not known, and returns all.
func (a *Agent) tellDifferences(differences []compare.Difference, known []string) (now []string) {
	for _, d := range differences {
		id := string(d.Kind) + d.Where + d.Text
		if d.Kind == compare.Behind || d.Kind == compare.Unreachable {
			id = string(d.Kind) + d.Where // with another number each time
		}
		now = append(now, id)
		if !slices.Contains(known, id) {
			a.log.Warn().Str("kind", string(d.Kind)).Str("server", d.Where).Str("difference", subjects.Printable(d.Text, 500)).Msg("name servers differ")
		}
	}
	if len(known) > 0 && len(now) == 0 {
		a.log.Info().Msg("name servers do not differ any more")
	}
	return now
}

// isHostPort reports whether s is an IP address with a port.
func isHostPort(s string) bool {
	host, _, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	_, err = netip.ParseAddr(host)
	return err == nil
}
