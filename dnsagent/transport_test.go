package dnsagent

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"thor/subjects"
)

func nodeID(i int) subjects.NodeID { return subjects.NodeID("edge" + string(rune('a'+i))) }

func addr4(b ...byte) netip.Addr { return netip.AddrFrom4([4]byte(b)) }

func addr6(i, j byte) netip.Addr {
	return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 14: i, 15: j + 1})
}

// wantClosed waits for the server to end c.
func wantClosed(t *testing.T, c net.Conn) {
	t.Helper()
	_, err := io.Copy(io.Discard, c)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return // reset
	}
	if err != nil {
		t.Error("the server keeps the connection")
	}
}

func TestManyQuestionsOfOneConnectionAreAnswered(t *testing.T) {
	s := start(t, network2009(t), func(cfg *Config) { cfg.Idle = time.Minute }) // the test reads slowly on a busy machine
	c := s.dial(t, "tcp")
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(2 * time.Minute))
	const n = 10_000
	request := packet(0, [4]uint16{1, 0, 0, 1}, soaQuestion(), opt(1232, 0, 0))
	frame := append(binary.BigEndian.AppendUint16(nil, uint16(len(request))), request...)
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(bytes.Repeat(frame, n))
		sent <- err
	}()
	for range n {
		if m := parsed(t, c.receive(t)); len(m.Answer) != 1 {
			t.Fatal(m)
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	half := len(frame) / 2 // a question may come in pieces
	_, _ = c.Write(frame[:1])
	_, _ = c.Write(frame[1:half])
	_, _ = c.Write(frame[half:])
	if m := parsed(t, c.receive(t)); len(m.Answer) != 1 {
		t.Fatal(m)
	}
}

func TestConnectionsThatOnlyWaitAreClosed(t *testing.T) {
	s := start(t, network2009(t), func(cfg *Config) { cfg.Idle = 50 * time.Millisecond })
	request := packet(0, [4]uint16{1}, soaQuestion())
	for what, sent := range map[string][]byte{
		"nothing":          nil,
		"half a length":    {0},
		"a length":         {0, 29},
		"half a question":  append([]byte{0, byte(len(request))}, request[:20]...),
		"length 0":         {0, 0},
		"length below 12":  append([]byte{0, 11}, request...),
		"length too great": append([]byte{0xff, 0xff}, request...),
		"a response":       append([]byte{0, 12}, packet(bitQR, [4]uint16{})...),
	} {
		t.Run(what, func(t *testing.T) {
			c := s.dial(t, "tcp")
			defer func() { _ = c.Close() }()
			if _, err := c.Write(sent); err != nil {
				t.Fatal(err)
			}
			wantClosed(t, c)
		})
	}
	eventually(t, "no connection is counted", func() bool { return s.conns.Len() == 0 })
}

func TestByteByByteIsNoWayToStay(t *testing.T) {
	s := start(t, network2009(t), func(cfg *Config) { cfg.Idle = 100 * time.Millisecond })
	c := s.dial(t, "tcp")
	defer func() { _ = c.Close() }()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ { // each byte comes in time, the question never does
		if _, err := c.Write([]byte{byte(i % 2 * 0x0f)}); err != nil {
			break
		}
		<-tick.C
	}
	eventually(t, "the connection is gone", func() bool { return s.conns.Len() == 0 })
}

func TestClientThatDoesNotReadIsDropped(t *testing.T) {
	s := start(t, network2009(t), func(cfg *Config) { cfg.Idle = 100 * time.Millisecond })
	c := s.dial(t, "tcp")
	defer func() { _ = c.Close() }()
	request := packet(0, [4]uint16{1}, question("_sip._udp.sipthor.net", dns.TypeSRV, 1))
	frame := append(binary.BigEndian.AppendUint16(nil, uint16(len(request))), request...)
	for {
		if _, err := c.Write(bytes.Repeat(frame, 1000)); err != nil {
			break
		}
	}
	eventually(t, "the connection is gone", func() bool { return s.conns.Len() == 0 })
}

func TestConnectionsAreLimitedPerClientAndInAll(t *testing.T) {
	s := start(t, network2009(t), func(cfg *Config) { cfg.PerClient, cfg.Clients = 2, 3 })
	dialFrom := func(ip string) conn {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
		c, err := d.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		return conn{c, "tcp"}
	}
	works := func(c conn) {
		t.Helper()
		if m := parsed(t, c.roundTrip(t, packet(0, [4]uint16{1}, soaQuestion()))); len(m.Answer) != 1 {
			t.Error(m)
		}
	}
	a, b := dialFrom("127.0.0.1"), dialFrom("127.0.0.1")
	works(b)
	works(a) // b is idle longer
	c := dialFrom("127.0.0.1")
	works(c)
	wantClosed(t, b)
	other := dialFrom("127.0.0.2")
	works(other)
	works(a)
	works(dialFrom("127.0.0.3")) // the fourth of all
	wantClosed(t, c)
	works(a)
	works(other)
	if got := s.value(t, "thor_dns_dropped_total", "connections"); got != 2 {
		t.Errorf("%v closed connections counted, want 2", got)
	}
}

func TestIdleConnectionsLockNobodyOut(t *testing.T) {
	s := start(t, network2009(t), nil)
	idle := make([]net.Conn, 0, 500)
	for i := range cap(idle) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i%5))}}
		c, err := d.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		idle = append(idle, c)
	}
	eventually(t, "all are taken in", func() bool { return s.conns.Len() == len(idle) })
	for range 20 {
		if r := s.ask(t, "tcp", "sipthor.net", "SOA"); len(r.Answer) != 1 {
			t.Fatal(r)
		}
	}
}

func TestRepliesLeaveFromTheAddressThatWasAsked(t *testing.T) {
	for _, listen := range []string{"0.0.0.0:0", ":0", "[::]:0"} {
		s := start(t, network2009(t), func(cfg *Config) { cfg.Listen = []string{listen} })
		port := s.Addresses()[0].Port()
		for _, asked := range []string{"127.0.0.1", "127.0.0.53", "::1"} {
			if is4 := asked != "::1"; is4 == (listen == "[::]:0") || !is4 && listen == "0.0.0.0:0" {
				continue
			}
			// A connected socket takes replies of the asked address only.
			c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(asked), port)))
			if err != nil && asked == "::1" {
				t.Logf("no IPv6 on this machine: %v", err)
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			if m := parsed(t, conn{c, "udp"}.roundTrip(t, packet(0, [4]uint16{1}, soaQuestion()))); len(m.Answer) != 1 {
				t.Errorf("%s at %s: %v", listen, asked, m)
			}
			_ = c.Close()
		}
	}
}

func TestEveryListedAddressAnswersOverUDPAndTCPOnOnePort(t *testing.T) {
	s := start(t, network2009(t), func(cfg *Config) { cfg.Listen = []string{"127.0.0.1:0", "127.0.0.2:0"} })
	bound := s.Addresses()
	if len(bound) != 2 || bound[0].Addr() != addr4(127, 0, 0, 1) || bound[1].Addr() != addr4(127, 0, 0, 2) {
		t.Fatalf("listens on %v", bound)
	}
	for _, at := range bound {
		s.addr = at.String()
		for _, proto := range []string{"udp", "tcp"} {
			if r := s.ask(t, proto, "sipthor.net", "SOA"); len(r.Answer) != 1 {
				t.Error(r)
			}
		}
	}
}

func TestDigSeesTheSameZone(t *testing.T) {
	dig, err := exec.LookPath("dig")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("dig is missing: Debian package bind9-dnsutils")
		}
		t.Skipf("dig is missing: Debian package bind9-dnsutils")
	}
	s := start(t, network2009(t), nil)
	host, port, _ := net.SplitHostPort(s.addr)
	run := func(args ...string) []string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), dig, append([]string{"@" + host, "-p", port, "+norec", "+tries=1"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("dig %v: %v\n%s", args, err, out)
		}
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		slices.Sort(lines)
		return lines
	}
	for _, c := range []struct{ args, want string }{
		{"+short sipthor.net SOA", "node01.sipthor.net. hostmaster.sipthor.net. 20090920 14400 3600 604800 10"},
		{"+short sipthor.net NAPTR", `10 100 "s" "SIPS+D2T" "" _sips._tcp.sipthor.net.|20 100 "s" "SIP+D2T" "" _sip._tcp.sipthor.net.|30 100 "s" "SIP+D2U" "" _sip._udp.sipthor.net.`},
		{"+short _sips._tcp.sipthor.net SRV", "10 100 5061 node01.sipthor.net.|10 100 5061 node02.sipthor.net.|10 100 5061 node03.sipthor.net."},
		{"+short +tcp proxy.sipthor.net A", "81.23.228.129|81.23.228.150|85.17.186.6"},
		{"+short +noedns node00.sipthor.net A", "85.17.186.5"},
		{"+short sipthor.net ANY +notcp", `"RFC8482" ""`},
	} {
		if got := strings.Join(run(strings.Fields(c.args)...), "|"); got != c.want {
			t.Errorf("dig %s: %s, want %s", c.args, got, c.want)
		}
	}
	full := func(args ...string) string { return strings.Join(run(args...), "\n") }
	for args, want := range map[string]string{
		"nobody.sipthor.net A":                              "status: NXDOMAIN",
		"_tcp.sipthor.net A":                                "status: NOERROR",
		"example.org A":                                     "status: REFUSED",
		"sipthor.net SOA +edns=1 +noednsnegotiation":        "status: BADVERS",
		"sipthor.net SOA +opcode=9 +noedns":                 "status: NOTIMP",
		"sipthor.net SOA +nsid":                             "node01",
		"sipthor.net SOA +zflag +aaflag +adflag +cdflag":    "flags: qr aa;",
		"version.bind CH TXT":                               "status: REFUSED",
		"sipthor.net AXFR":                                  "Transfer failed.",
		"sipthor.net SOA +ednsopt=65001:aabb +ednsflags=80": "flags:; udp: 1232",
	} {
		if got := full(strings.Fields(args)...); !strings.Contains(got, want) {
			t.Errorf("dig %s: want %q in\n%s", args, want, got)
		}
	}
}
