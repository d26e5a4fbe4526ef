package gather

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"thor/cmd/thor/internal/doctor"
	"thor/subjects"
)

// nameServer answers the apex of example.net with a serial and one NS record.
func nameServer(t *testing.T, serial *atomic.Uint32, ns string) subjects.Member {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	up := make(chan struct{})
	s := &dns.Server{PacketConn: pc, NotifyStartedFunc: func() { close(up) }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		r := new(dns.Msg).SetReply(q)
		h := dns.RR_Header{Name: "example.net.", Class: dns.ClassINET, Ttl: 10, Rrtype: q.Question[0].Qtype}
		switch h.Rrtype {
		case dns.TypeSOA:
			r.Answer = []dns.RR{&dns.SOA{Hdr: h, Ns: ns, Mbox: "h.", Serial: serial.Load()}}
		case dns.TypeNS:
			r.Answer = []dns.RR{&dns.NS{Hdr: h, Ns: ns}}
		}
		_ = w.WriteMsg(r)
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.ActivateAndServe() }()
	<-up
	t.Cleanup(func() { _ = s.Shutdown(); <-done })
	_, port, _ := net.SplitHostPort(pc.LocalAddr().String())
	return subjects.Member{Node: "x", Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, State: subjects.Up, Attrs: subjects.Attrs{"port": port, "zone": ns}}
}

// A server that is behind gets time to catch up; what servers answer is compared
// with the random slices left out.
func TestNameServersAreAsked(t *testing.T) {
	var serial, late atomic.Uint32
	serial.Store(1003)
	late.Store(900)
	a, b, other, behind := nameServer(t, &serial, "ns1."), nameServer(t, &serial, "ns1."), nameServer(t, &serial, "ns2."), nameServer(t, &late, "ns1.")
	gone := a
	gone.Attrs = subjects.Attrs{"port": "1"}
	for i, m := range []*subjects.Member{&a, &b, &other, &behind, &gone} {
		m.Node = subjects.NodeID("ns" + string(rune('1'+i)))
	}
	ask := func(ms ...subjects.Member) []doctor.NameServer {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		st := &subjects.Status{Domain: "example.net", Generation: 1001, Roles: map[subjects.Role][]subjects.Member{subjects.DNSManager: ms}}
		return nameServers(ctx, st, nil)
	}
	if got := ask(a, b); len(got) != 2 || got[0].Err != nil || got[0].Answer != got[1].Answer || !strings.Contains(got[0].Answer, "ns1.") || got[1].Node != "ns2" {
		t.Errorf("%+v", got)
	}
	if got := ask(a, other); doctor.Agree(got) || got[0].Err != nil || got[1].Err != nil {
		t.Errorf("%+v", got)
	}
	got := ask(behind, gone)
	for i, want := range []string{"its serial is 900, and the status is at 1001", "refused"} {
		if got[i].Err == nil || !strings.Contains(got[i].Err.Error(), want) {
			t.Errorf("%+v, want %s", got[i], want)
		}
	}
	if got[1].Address != "127.0.0.1:1" {
		t.Error(got[1].Address)
	}
	if got := ask(); got != nil {
		t.Errorf("of no name servers: %+v", got)
	}
}

func TestNameServersOfAThorUpAreAskedWhereTheyListen(t *testing.T) {
	m := subjects.Member{Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Attrs: subjects.Attrs{"port": "5355"}}
	known := []string{"127.0.0.1:5354", "127.0.0.1:5355"}
	if got := AddressOf(&m, known); got != "127.0.0.1:5355" {
		t.Error(got)
	}
	if got := AddressOf(&m, known[:1]); got != "192.0.2.1:5355" {
		t.Error(got)
	}
	m.Attrs = nil
	if got := AddressOf(&m, known); got != "192.0.2.1:53" {
		t.Error(got)
	}
}
