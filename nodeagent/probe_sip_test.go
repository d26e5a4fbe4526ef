package nodeagent

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func headerOf(q, name string) string {
	for l := range strings.SplitSeq(q, "\r\n") {
		if v, ok := strings.CutPrefix(l, name+": "); ok {
			return v
		}
	}
	return ""
}

// sipAnswer is a right answer to q.
func sipAnswer(q string, code int) string {
	return fmt.Sprintf("SIP/2.0 %d Whatever\r\nVia: %s\r\nFrom: %s\r\nTo: %s;tag=x\r\nCall-ID: %s\r\nCSeq: %s\r\nContent-Length: 0\r\n\r\n",
		code, headerOf(q, "Via"), headerOf(q, "From"), headerOf(q, "To"), headerOf(q, "Call-ID"), headerOf(q, "CSeq"))
}

func swap(s, header, value string) string {
	return strings.Replace(s, "\r\n"+header+": "+headerOf(s, header), "\r\n"+header+": "+value, 1)
}

func TestSIPProbeOverUDPJudgesTheAnswer(t *testing.T) {
	one := func(f func(q string) string) func(string) []string {
		return func(q string) []string { return []string{f(q)} }
	}
	for _, c := range []struct {
		name   string
		answer func(q string) []string
		expect []int
		want   string
	}{
		{"200", one(func(q string) string { return sipAnswer(q, 200) }), nil, ""},
		{"404 is alive", one(func(q string) string { return sipAnswer(q, 404) }), nil, ""},
		{"483 is alive", one(func(q string) string { return sipAnswer(q, 483) }), nil, ""},
		{"503", one(func(q string) string { return sipAnswer(q, 503) }), nil, "answered 503"},
		{"503 expected", one(func(q string) string { return sipAnswer(q, 503) }), []int{200, 503}, ""},
		{"404 not expected", one(func(q string) string { return sipAnswer(q, 404) }), []int{200}, "answered 404"},
		{"100 and 200", func(q string) []string { return []string{sipAnswer(q, 100), sipAnswer(q, 200)} }, nil, ""},
		{"100 only", one(func(q string) string { return sipAnswer(q, 100) }), nil, "no answer"},
		{"silence", func(string) []string { return nil }, nil, "no answer"},
		{"garbage", one(func(string) string { return "\x00\xff garbage" }), nil, "no valid answer"},
		{"empty", one(func(string) string { return "" }), nil, "no valid answer"},
		{"garbage first", func(q string) []string { return []string{"garbage", sipAnswer(q, 200)} }, nil, ""},
		{"a request", one(func(q string) string { return q }), nil, "no valid answer"},
		{"another Call-ID", one(func(q string) string { return swap(sipAnswer(q, 200), "Call-ID", "x") }), nil, "no valid answer"},
		{"no Call-ID", one(func(q string) string { return swap(sipAnswer(q, 200), "Call-ID", "") }), nil, "no valid answer"},
		{"an earlier CSeq", one(func(q string) string { return swap(sipAnswer(q, 200), "CSeq", "999 OPTIONS") }), nil, "no answer"},
		{"CSeq of a call", one(func(q string) string { return swap(sipAnswer(q, 200), "CSeq", "1 INVITE") }), nil, "no valid answer"},
		{"another branch", one(func(q string) string { return swap(sipAnswer(q, 200), "Via", "SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKx") }), nil, "no answer"},
		{"no Via", one(func(q string) string { return swap(sipAnswer(q, 200), "Via", "x") }), nil, "no valid answer"},
		{"status 99", one(func(q string) string { return sipAnswer(q, 99) }), nil, "no valid answer"},
		{"status 999", one(func(q string) string { return sipAnswer(q, 999) }), nil, "no valid answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := proberOf(t, CheckConfig{Kind: SIP, Target: udpServer(t, c.answer), Expect: c.expect})
			askTwice(t, p, c.want)
		})
	}
}

func TestSIPProbeIsAWellFormedQuestion(t *testing.T) {
	asked := make(chan string, 3)
	addr := udpServer(t, func(q string) []string { asked <- q; return []string{sipAnswer(q, 200)} })
	p := proberOf(t, CheckConfig{Kind: SIP, Target: addr})
	for range 2 {
		if got := faultOf(t, p, never); got != "" {
			t.Fatal(got)
		}
	}
	a, b := <-asked, <-asked
	for _, want := range []string{"OPTIONS sip:" + addr + " SIP/2.0\r\n", "Via: SIP/2.0/UDP 127.0.0.1:", ";branch=z9hG4bK", ";rport", "Max-Forwards: 70\r\n", "CSeq: 1 OPTIONS\r\n", "Content-Length: 0\r\n\r\n"} {
		if !strings.Contains(a, want) {
			t.Errorf("%q is not in\n%s", want, a)
		}
	}
	if headerOf(a, "Call-ID") == headerOf(b, "Call-ID") || headerOf(b, "CSeq") != "2 OPTIONS" || headerOf(a, "Via") == headerOf(b, "Via") {
		t.Errorf("two questions of one check\n%s\n%s", a, b)
	}
	host := func(via string) string { return strings.Split(via, ";")[0] }
	if host(headerOf(a, "Via")) != host(headerOf(b, "Via")) {
		t.Error("the socket of a check that passes was not used again")
	}
}

func TestSIPProbeSurvivesOneLostDatagram(t *testing.T) {
	var n atomic.Int32
	p := proberOf(t, CheckConfig{Kind: SIP, Target: udpServer(t, func(q string) []string {
		if n.Add(1)%2 == 1 {
			return nil
		}
		return []string{sipAnswer(q, 200)}
	})})
	for range 2 {
		if got := faultOf(t, p, 4*time.Second); got != "" {
			t.Error(got)
		}
	}
	if n.Load() != 4 {
		t.Errorf("asked %d times", n.Load())
	}
}

func TestALateAnswerIsNotTakenForTheNext(t *testing.T) {
	last := ""
	p := proberOf(t, CheckConfig{Kind: SIP, Target: udpServer(t, func(q string) []string {
		late := last
		last = sipAnswer(q, 200)
		if late == "" || headerOf(late, "CSeq") == headerOf(last, "CSeq") {
			return nil
		}
		return []string{late}
	})})
	for range 3 {
		if got := faultOf(t, p, soon); got != "no answer" {
			t.Errorf("%q", got)
		}
	}
}

func TestARefusalIsKnownAtOnceAndOverWhenTheServiceIsBack(t *testing.T) {
	for _, kind := range []Kind{SIP, RTPEngine} {
		addr := freePort(t, "udp")
		p := proberOf(t, CheckConfig{Kind: kind, Target: addr})
		for range 3 {
			if got := faultOf(t, p, never); got != "connection refused" {
				t.Errorf("%s: %q", kind, got)
			}
		}
		l, err := net.ListenPacket("udp", addr)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			buf := make([]byte, 4096)
			n, from, err := l.ReadFrom(buf)
			if err != nil {
				return
			}
			q := string(buf[:n])
			a := sipAnswer(q, 200)
			if kind == RTPEngine {
				a = strings.Replace(q, "d7:command4:pinge", "d6:result4:ponge", 1)
			}
			_, _ = l.WriteTo([]byte(a), from)
		}()
		if got := faultOf(t, p, never); got != "" {
			t.Errorf("%s, back: %q", kind, got)
		}
		_ = l.Close()
		if got := faultOf(t, p, never); got != "connection refused" {
			t.Errorf("%s, gone again: %q", kind, got)
		}
	}
}

func TestStreamProbesJudgeTheAnswer(t *testing.T) {
	read := func(c net.Conn) string {
		b := make([]byte, 4096)
		n, _ := c.Read(b)
		return string(b[:n])
	}
	for _, c := range []struct {
		name  string
		serve func(net.Conn)
		want  string
	}{
		{"200", func(c net.Conn) { fmt.Fprint(c, sipAnswer(read(c), 200)) }, ""},
		{"empty lines first", func(c net.Conn) { fmt.Fprint(c, "\r\n\r\n"+sipAnswer(read(c), 200)) }, ""},
		{"in pieces", func(c net.Conn) {
			for _, b := range []byte(sipAnswer(read(c), 200)) {
				_, _ = c.Write([]byte{b})
			}
		}, ""},
		{"503", func(c net.Conn) { fmt.Fprint(c, sipAnswer(read(c), 503)) }, "answered 503"},
		{"a stranger's answer first", func(c net.Conn) {
			q := read(c)
			fmt.Fprint(c, swap(sipAnswer(q, 503), "Call-ID", "x")+sipAnswer(q, 200))
		}, ""},
		{"garbage", func(c net.Conn) { read(c); fmt.Fprint(c, strings.Repeat("garbage", 10000)) }, "no valid answer"},
		{"http", func(c net.Conn) { read(c); fmt.Fprint(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }, "no valid answer"},
		{"endless body", func(c net.Conn) {
			fmt.Fprint(c, swap(sipAnswer(read(c), 200), "Content-Length", "4000000000"))
		}, "no valid answer"},
		{"closes", func(c net.Conn) { read(c) }, "connection closed without an answer"},
		{"half an answer", func(c net.Conn) { fmt.Fprint(c, sipAnswer(read(c), 200)[:40]) }, "connection closed without an answer"},
	} {
		p := proberOf(t, CheckConfig{Kind: SIP, Transport: "tcp", Target: tcpServer(t, nil, c.serve)})
		for range 2 {
			if got := faultOf(t, p, never); got != c.want {
				t.Errorf("%s: %q, want %q", c.name, got, c.want)
			}
		}
	}
	silent := tcpServer(t, nil, func(c net.Conn) { read(c); read(c) })
	for _, transport := range []string{"tcp", "tls"} {
		if got := faultOf(t, proberOf(t, CheckConfig{Kind: SIP, Transport: transport, Target: silent}), soon); got != "no answer" {
			t.Errorf("silence over %s: %q", transport, got)
		}
		if got := faultOf(t, proberOf(t, CheckConfig{Kind: SIP, Transport: transport, Target: freePort(t, "tcp")}), never); got != "connection refused" {
			t.Errorf("nobody over %s: %q", transport, got)
		}
	}
}

// selfSigned is a certificate for 127.0.0.1, and the pool that trusts it.
func selfSigned(t *testing.T, until time.Time) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sip"}, NotBefore: until.Add(-48 * time.Hour), NotAfter: until,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(c)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func TestTLSProbeVerifiesWhatItIsToldToTrust(t *testing.T) {
	good, pool := selfSigned(t, time.Now().Add(24*time.Hour))
	old, oldPool := selfSigned(t, time.Now().Add(-time.Hour))
	answer := func(c net.Conn) {
		in := bufio.NewReader(c)
		var q strings.Builder
		for !strings.HasSuffix(q.String(), "\r\n\r\n") {
			l, err := in.ReadString('\n')
			if err != nil {
				return
			}
			q.WriteString(l)
		}
		n, _ := strconv.Atoi(headerOf(q.String(), "Content-Length"))
		_, _ = in.Discard(n) // what is not read at the end would take the answer with it
		fmt.Fprint(c, sipAnswer(q.String(), 200))
	}
	goodAddr := tcpServer(t, &tls.Config{Certificates: []tls.Certificate{good}}, answer)
	oldAddr := tcpServer(t, &tls.Config{Certificates: []tls.Certificate{old}}, answer)
	mutual := tcpServer(t, &tls.Config{Certificates: []tls.Certificate{good}, ClientAuth: tls.RequireAnyClientCert}, answer)
	plain := tcpServer(t, nil, func(c net.Conn) { fmt.Fprint(c, "220 hello\r\n") })
	for _, c := range []struct {
		name   string
		addr   string
		roots  *x509.CertPool
		server string
		want   string
	}{
		{"not verified", goodAddr, nil, "", ""},
		{"not verified, expired", oldAddr, nil, "", ""},
		{"verified", goodAddr, pool, "", ""},
		{"unknown authority", goodAddr, oldPool, "", "certificate of an unknown authority"},
		{"another name", goodAddr, pool, "sip.example.net", "certificate for another name"},
		{"expired", oldAddr, oldPool, "", "certificate not valid at this time"},
		{"wants a certificate", mutual, pool, "", "TLS handshake refused"},
		{"no TLS", plain, pool, "", "does not speak TLS"},
	} {
		for _, cc := range []CheckConfig{{Kind: SIP}, {Kind: Register, Account: "probe@example.net"}, {Kind: Call, Account: "probe@example.net", Callee: "echo@example.net"}} {
			cc.Transport, cc.Target, cc.Roots, cc.ServerName = "tls", c.addr, c.roots, c.server
			p := proberOf(t, cc)
			for range 2 {
				if got := faultOf(t, p, never); got != c.want {
					t.Errorf("%s, %s: %q, want %q", c.name, cc.Kind, got, c.want)
				}
			}
		}
	}
}
