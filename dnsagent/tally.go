package dnsagent

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// Reasons for which a request or a connection gets no answer.
const (
	tooShort = iota
	isResponse
	noQuery
	panicked
	tooManyConnections
	badLength
	notSent
	tooMany
	reasons // how many there are
)

var reasonNames = [reasons]string{"short", "response", "no_query", "panic", "connections", "length", "write", "rate"}

// The types and codes that are counted apart. Clients choose both, so the lists are
// closed: the first type stands for all others, and RCODEs above those that are
// sent do not occur.
var (
	countedTypes = [noQuestion]uint16{
		0, dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypeNAPTR, dns.TypeSOA, dns.TypeNS, dns.TypeANY, dns.TypeTXT,
		dns.TypeMX, dns.TypeCNAME, dns.TypeHTTPS, dns.TypeDS, dns.TypeAXFR, dns.TypeIXFR,
	}
	typeIndex = func() (t [dns.TypeANY + 1]uint8) {
		for i, rtype := range countedTypes {
			t[rtype] = uint8(i)
		}
		return t
	}()
)

const (
	noQuestion   = 15 // index of requests whose question was not understood
	typeClasses  = noQuestion + 1
	rcodeClasses = dns.RcodeBadVers + 1
)

// A tally counts what one goroutine, or the connections of TCP together, did.
type tally struct {
	proto     string
	queries   [typeClasses][rcodeClasses]atomic.Uint64
	dropped   [reasons]atomic.Uint64
	truncated atomic.Uint64
	latency   [len(latencyBounds) + 1]atomic.Uint64 // answers by the first bound they are within; the last: none
	spent     atomic.Uint64                         // nanoseconds, of all answers together
}

// latencyBounds are the buckets of the time to an answer. Those that are read from the
// socket together count from the moment they are read to the moment all are sent.
var latencyBounds = [...]time.Duration{
	10 * time.Microsecond, 25 * time.Microsecond, 50 * time.Microsecond, 100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 10 * time.Millisecond, 50 * time.Millisecond, 250 * time.Millisecond, time.Second,
}

// took counts n answers that were sent d after their requests had been read.
func (t *tally) took(d time.Duration, n int) {
	if n <= 0 {
		return
	}
	i := 0
	for i < len(latencyBounds) && d > latencyBounds[i] {
		i++
	}
	t.latency[i].Add(uint64(n))
	t.spent.Add(uint64(d) * uint64(n))
}

// reply counts a reply to a question of type qtype.
func (t *tally) reply(qtype uint16, rcode int) {
	class := uint8(0)
	if int(qtype) < len(typeIndex) {
		class = typeIndex[qtype]
	}
	t.queries[class][rcode].Add(1)
}

// error counts a reply to a request whose question was not understood.
func (t *tally) error(rcode int) { t.queries[noQuestion][rcode].Add(1) }

// drop counts n requests or connections without a reply.
func (t *tally) drop(reason, n int) { t.dropped[reason].Add(uint64(n)) }

// tallies are shown as one set of counters.
type tallies struct {
	mu  sync.Mutex
	all []*tally
}

// tally returns a new one, which counts requests by proto.
func (t *tallies) tally(proto string) *tally {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := &tally{proto: proto}
	t.all = append(t.all, n)
	return n
}

var (
	queriesDesc = prometheus.NewDesc("thor_dns_queries_total", "Requests answered.", []string{"qtype", "rcode", "proto"}, nil)
	droppedDesc = prometheus.NewDesc("thor_dns_dropped_total", "Requests and connections left without an answer, by reason.",
		[]string{"reason"}, nil)
	latencyDesc = prometheus.NewDesc("thor_dns_answer_seconds", "Time from reading a request to sending its answer, by UDP of those read together.",
		[]string{"proto"}, nil)
	truncatedDesc = prometheus.NewDesc("thor_dns_truncated_total", "Replies without their answer (TC): it did not fit, or the client's network was above the rate.", nil, nil)
)

// Describe is that of a prometheus.Collector.
func (t *tallies) Describe(out chan<- *prometheus.Desc) {
	out <- queriesDesc
	out <- droppedDesc
	out <- truncatedDesc
	out <- latencyDesc
}

// Collect is that of a prometheus.Collector. What never happened is left out.
func (t *tallies) Collect(out chan<- prometheus.Metric) {
	t.mu.Lock()
	defer t.mu.Unlock()
	type key struct {
		class, rcode int
		proto        string
	}
	queries := make(map[key]uint64)
	var dropped [reasons]uint64
	truncated := uint64(0)
	for _, n := range t.all {
		for class := range n.queries {
			for rcode := range n.queries[class] {
				queries[key{class, rcode, n.proto}] += n.queries[class][rcode].Load()
			}
		}
		for reason := range n.dropped {
			dropped[reason] += n.dropped[reason].Load()
		}
		truncated += n.truncated.Load()
	}
	counter := func(desc *prometheus.Desc, v uint64, labels ...string) {
		if v > 0 || len(labels) == 0 {
			out <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(v), labels...)
		}
	}
	for k, v := range queries {
		counter(queriesDesc, v, typeLabel(k.class), rcodeLabel(k.rcode), k.proto)
	}
	for reason, v := range dropped {
		counter(droppedDesc, v, reasonNames[reason])
	}
	counter(truncatedDesc, truncated)
	for _, proto := range []string{"udp", "tcp"} {
		out <- t.latencies(proto)
	}
}

// latencies are those of the answers by proto. The caller holds the lock.
func (t *tallies) latencies(proto string) prometheus.Metric {
	counts, spent := [len(latencyBounds) + 1]uint64{}, uint64(0)
	for _, n := range t.all {
		if n.proto != proto {
			continue
		}
		for i := range n.latency {
			counts[i] += n.latency[i].Load()
		}
		spent += n.spent.Load()
	}
	total, buckets := uint64(0), make(map[float64]uint64, len(latencyBounds))
	for i, bound := range latencyBounds {
		total += counts[i]
		buckets[bound.Seconds()] = total
	}
	return prometheus.MustNewConstHistogram(latencyDesc, total+counts[len(latencyBounds)], time.Duration(spent).Seconds(), buckets, proto)
}

// totals are the requests that were answered, and those that were not.
func (t *tallies) totals() (answered, dropped uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range t.all {
		for class := range n.queries {
			for rcode := range n.queries[class] {
				answered += n.queries[class][rcode].Load()
			}
		}
		for reason := range n.dropped {
			dropped += n.dropped[reason].Load()
		}
	}
	return answered, dropped
}

func typeLabel(class int) string {
	switch class {
	case 0:
		return "other"
	case noQuestion:
		return "none"
	}
	return dns.TypeToString[countedTypes[class]]
}

func rcodeLabel(rcode int) string {
	if rcode == dns.RcodeBadVers {
		return "BADVERS" // the library's table calls 16 by its other name
	}
	return dns.RcodeToString[rcode]
}
