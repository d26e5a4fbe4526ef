package sipresponder_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"thor/cmd/thor/internal/sipresponder"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T) string {
	t.Helper()
	r, err := sipresponder.New("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	select {
	case <-r.Ready():
	case err := <-done:
		done <- err
		t.Fatal(err)
	}
	return r.Addr().String()
}

func dial(t *testing.T, network, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func send(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if _, err := c.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
}

func datagram(t *testing.T, c net.Conn) string {
	t.Helper()
	b := make([]byte, 65536)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func request(method string, seq int) string {
	return fmt.Sprintf("%s sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:9;branch=z9hG4bKa;rport\r\n"+
		"Via: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKb\r\nFrom: <sip:a@127.0.0.1>;tag=1\r\nTo: <sip:127.0.0.1>\r\n"+
		"Call-ID: c\r\nCSeq: %d %s\r\nContent-Length: 0\r\n\r\n", method, seq, method)
}

func TestOptionsIsAnsweredAndTheRestRefused(t *testing.T) {
	addr := start(t)
	for _, network := range []string{"udp", "tcp"} {
		c := dial(t, network, addr)
		in := bufio.NewReader(c)
		for i, x := range []struct{ method, status string }{
			{"OPTIONS", "200 OK"},
			{"REGISTER", "405 Method Not Allowed"},
			{"INVITE", "405 Method Not Allowed"},
			{"CANCEL", "481 Call/Transaction Does Not Exist"},
			{"TELEPORT", "501 Not Implemented"},
			{"OPTIONS", "200 OK"},
		} {
			send(t, c, request(x.method, i+1))
			var got string
			if network == "udp" {
				got = datagram(t, c)
			} else {
				for !strings.HasSuffix(got, "\r\n\r\n") {
					line, err := in.ReadString('\n')
					if err != nil {
						t.Fatal(err)
					}
					got += line
				}
			}
			_, port, _ := net.SplitHostPort(c.LocalAddr().String())
			for _, want := range []string{
				"SIP/2.0 " + x.status + "\r\n", fmt.Sprintf("CSeq: %d %s\r\n", i+1, x.method), "Call-ID: c\r\n",
				"received=127.0.0.1", "rport=" + port, "192.0.2.2;branch=z9hG4bKb\r\n", "From: <sip:a@127.0.0.1>;tag=1\r\n", "To: <sip:127.0.0.1>;tag=",
			} {
				if !strings.Contains(got, want) {
					t.Errorf("%s %s: %q is not in\n%s", network, x.method, want, got)
				}
			}
		}
	}
}

func TestJunkGetsNoAnswerAndDoesNoHarm(t *testing.T) {
	addr := start(t)
	u := dial(t, "udp", addr)
	for _, junk := range []string{
		"\x00", "\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "SIP/2.0 200 OK\r\nCSeq: 1 OPTIONS\r\n\r\n", request("ACK", 1),
		"OPTIONS sip:x SIP/2.0\r\n\r\n", strings.Replace(request("OPTIONS", 1), "Via", "Viable", 2),
		strings.Replace(request("OPTIONS", 1), "CSeq: 1", "CSeq: x", 1), strings.Repeat("A", 60000),
		strings.Replace(request("OPTIONS", 1), "\r\n\r\n", "", 1),
	} {
		send(t, u, junk)
	}
	send(t, u, request("OPTIONS", 99))
	if got := datagram(t, u); !strings.Contains(got, "CSeq: 99 OPTIONS") {
		t.Errorf("junk was answered:\n%s", got)
	}
	for _, junk := range []string{"GET / HTTP/1.1\r\n\r\n", strings.Repeat("A", 60000), strings.Replace(request("OPTIONS", 1), "Length: 0", "Length: 99999999", 1)} {
		c := dial(t, "tcp", addr)
		send(t, c, junk)
		b := make([]byte, 1)
		if n, err := c.Read(b); n != 0 || err == nil {
			t.Errorf("%.20q was answered", junk)
		}
	}
	c := dial(t, "tcp", addr)
	send(t, c, "\r\n\r\n"+request("OPTIONS", 1))
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || line != "SIP/2.0 200 OK\r\n" {
		t.Errorf("after junk: %q, %v", line, err)
	}
}

func TestAnswerGoesToThePortOfViaWithoutRport(t *testing.T) {
	addr := start(t)
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := dial(t, "udp", addr)
	via := "192.0.2.1:" + fmt.Sprint(l.LocalAddr().(*net.UDPAddr).Port)
	send(t, c, strings.Replace(request("OPTIONS", 1), "192.0.2.1:9;branch=z9hG4bKa;rport", via+";branch=z9hG4bKa", 1))
	if err := l.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4096)
	n, _, err := l.ReadFrom(b)
	if err != nil || !strings.HasPrefix(string(b[:n]), "SIP/2.0 200 OK") {
		t.Errorf("%q, %v", b[:n], err)
	}
}

func TestAnAddressThatIsTakenIsAnError(t *testing.T) {
	addr := start(t)
	if err := sipresponder.Run(t.Context(), addr); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("%v", err)
	}
	if err := sipresponder.Run(t.Context(), "nonsense"); err == nil {
		t.Error("nonsense was accepted")
	}
}
