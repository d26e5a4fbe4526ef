//go:build e2e

package e2e_test

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"thor/cmd/thor/e2e/trace"
)

// ask queries one name server on its own host, and notes equal answers together, for
// up to a second.
func (w *watchers) ask(d *daemonProc, types []uint16) {
	every := 50 * time.Millisecond
	if types[0] == dns.TypeSOA {
		every = 200 * time.Millisecond
	}
	c := dns.Client{Timeout: 2 * time.Second}
	tick := time.NewTicker(every)
	defer tick.Stop()
	pending := make(map[uint16]*trace.Line)
	for i := 0; ; i++ {
		select {
		case <-w.ctx.Done():
			for _, l := range pending {
				w.f.log.Add(*l)
			}
			return
		case <-tick.C:
		}
		qtype := types[i%len(types)]
		now := w.query(&c, d, qtype)
		p := pending[qtype]
		if p != nil && p.DNS.N < 20 && sameAnswer(p.DNS, now.DNS) {
			p.DNS.N++
			p.DNS.Until = now.DNS.Until
			continue
		}
		if p != nil {
			w.f.log.Add(*p)
		}
		pending[qtype] = now
	}
}

func sameAnswer(a, b *trace.DNS) bool {
	return a.Rcode == b.Rcode && a.Error == b.Error && a.Serial == b.Serial && slices.Equal(a.Nodes, b.Nodes)
}

// query asks once. The time of an answer is when the query was sent.
func (w *watchers) query(c *dns.Client, d *daemonProc, qtype uint16) *trace.Line {
	var q dns.Msg
	switch qtype {
	case dns.TypeSRV:
		q.SetQuestion("_sip._udp."+faultDomain+".", qtype)
	case dns.TypeA:
		q.SetQuestion("proxy."+faultDomain+".", qtype)
	default:
		q.SetQuestion(faultDomain+".", qtype)
	}
	at := w.f.log.Now()
	a, _, err := c.Exchange(&q, addressOf[string(d.Node)]+":53")
	out := &trace.DNS{Server: d.Name, Type: dns.TypeToString[qtype], N: 1, Until: at}
	line := &trace.Line{At: at, DNS: out}
	if err != nil {
		out.Error, out.Until = err.Error(), w.f.log.Now()
		if i := strings.LastIndex(out.Error, ": "); i >= 0 {
			out.Error = out.Error[i+2:] // the rest holds a port that changes
		}
		return line
	}
	out.Rcode = dns.RcodeToString[a.Rcode]
	for _, rr := range a.Answer {
		switch rr := rr.(type) {
		case *dns.SRV:
			node, _, _ := strings.Cut(rr.Target, ".")
			out.Nodes = append(out.Nodes, node)
		case *dns.A:
			out.Nodes = append(out.Nodes, nodeOf(rr.A.String()))
		case *dns.SOA:
			out.Serial = rr.Serial
		}
	}
	slices.Sort(out.Nodes)
	if qtype == dns.TypeSRV {
		w.mu.Lock()
		w.names[d.Name] = out.Nodes
		w.mu.Unlock()
	}
	return line
}

// nodeOf is the member with an address, or the address.
func nodeOf(address string) string {
	a, err := netip.ParseAddr(address)
	for node, x := range addressOf {
		if err == nil && x == a.String() && !strings.HasPrefix(node, "watch-") && !strings.HasPrefix(node, "probe") {
			return node
		}
	}
	return address
}
