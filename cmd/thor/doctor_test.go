package main

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"thor/identity"
	"thor/subjects"
)

func TestTheDoctorKnowsShortLivedCertificatesFromDyingOnes(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name       string
		life, left time.Duration
		fault      string
	}{
		{"a month's, fresh", 720 * time.Hour, 700 * time.Hour, ""},
		{"a month's, in its last week", 720 * time.Hour, 160 * time.Hour, "expires in 6 days"},
		{"a day's, fresh", 24 * time.Hour, 23 * time.Hour, ""},
		{"a day's, old", 24 * time.Hour, 5 * time.Hour, "expires in 5h0m"},
		{"a year's, in its last month", 8760 * time.Hour, 600 * time.Hour, ""},
	} {
		id := &identity.Identity{Domain: "example.net", Node: "n1", NotAfter: now.Add(c.left), NotBefore: now.Add(c.left - c.life)}
		fs := checkCertificate(id, now)
		if !fs[0].ok || len(fs) == 2 != (c.fault != "") || c.fault != "" && !strings.Contains(fs[1].what, c.fault) {
			t.Errorf("%s: %+v", c.name, fs)
		}
	}
}

func TestSkewIsWhatTheNetworkCannotExplain(t *testing.T) {
	asked := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	now := asked.Add(2 * time.Second) // a slow answer
	for there, want := range map[time.Duration]time.Duration{
		time.Second: 0, 0: 0, 2 * time.Second: 0,
		-20 * time.Second: -20 * time.Second, 3600 * time.Second: 3598 * time.Second,
	} {
		if got := skew(asked.Add(there), asked, now); got != want {
			t.Errorf("%s: %s, want %s", there, got, want)
		}
	}
	if got := ahead(-time.Hour); got != "1h0m0s behind ours" {
		t.Error(got)
	}
}

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

func TestTheDoctorComparesNameServers(t *testing.T) {
	var serial, late atomic.Uint32
	serial.Store(1003)
	late.Store(900)
	a, b, other, behind := nameServer(t, &serial, "ns1."), nameServer(t, &serial, "ns1."), nameServer(t, &serial, "ns2."), nameServer(t, &late, "ns1.")
	a.Node, b.Node, other.Node, behind.Node = "ns1", "ns2", "ns3", "ns4"
	gone := a
	gone.Node, gone.Attrs = "ns5", subjects.Attrs{"port": "1"}
	ask := func(ms ...subjects.Member) string {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		st := &subjects.Status{Domain: "example.net", Generation: 1001, Roles: map[subjects.Role][]subjects.Member{subjects.DNSManager: ms}}
		var out strings.Builder
		report(&out, append(checkDigests(st), checkNameServers(ctx, st, nil)...))
		return out.String()
	}
	for _, c := range []struct {
		ms   []subjects.Member
		want []string
	}{
		{[]subjects.Member{a, b}, []string{"ok    the name servers have one zone configuration", "ok    the name servers agree: ns1 ns2"}},
		{[]subjects.Member{a, b, other}, []string{
			"FAULT the name servers have different zone configurations: ns1 ns2 | ns3", "-> make [dns]",
			"FAULT the name servers answer differently: ns1 ns2 | ns3",
		}},
		{[]subjects.Member{a, behind}, []string{"FAULT name server ns4 at 127.0.0.1:", "its serial is 900, and the status is at 1001"}},
		{[]subjects.Member{a, gone}, []string{"FAULT name server ns5 at 127.0.0.1:1: ", "is UDP port 1 open", "ok    the name servers agree: ns1\n"}},
		{nil, nil},
	} {
		got := ask(c.ms...)
		for _, want := range c.want {
			if !strings.Contains(got, want) {
				t.Errorf("%q is not in\n%s", want, got)
			}
		}
		if c.want == nil && got != "" {
			t.Errorf("of no name servers: %s", got)
		}
	}
}

func TestTheDoctorAsksWhereAThorUpListens(t *testing.T) {
	m := subjects.Member{Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Attrs: subjects.Attrs{"port": "5355"}}
	known := []string{"127.0.0.1:5354", "127.0.0.1:5355"}
	if got := place(&m, known); got != "127.0.0.1:5355" {
		t.Error(got)
	}
	if got := place(&m, known[:1]); got != "192.0.2.1:5355" {
		t.Error(got)
	}
	m.Attrs = nil
	if got := place(&m, known); got != "192.0.2.1:53" {
		t.Error(got)
	}
}

func TestTheDoctorNotesWhatHasNoSpare(t *testing.T) {
	up := subjects.Member{State: subjects.Up}
	st := &subjects.Status{Roles: map[subjects.Role][]subjects.Member{subjects.EventServer: {up, up, up}, subjects.Manager: {up}}}
	var out strings.Builder
	if !report(&out, checkSpares(st)) {
		t.Error("a note is a fault")
	}
	for _, want := range []string{"ok    3 brokers up", "note  1 manager(s) up, and nobody to spare\n      -> run 2 on different hosts", "note  0 name server(s) up"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, &out)
		}
	}
	st.Roles[subjects.Manager][0].State = subjects.Suspect
	if report(&out, checkSpares(st)) {
		t.Error("no manager is no fault")
	}
}
