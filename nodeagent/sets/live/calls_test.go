package live_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// asked is what the proxy answers a request from an address: the status, and where it
// would send it on.
func asked(t *testing.T, from, proxy string) (string, error) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(from)}}
	c, err := d.DialContext(t.Context(), "udp", proxy)
	if err != nil {
		return "", err
	}
	defer c.Close()
	q := fmt.Sprintf("INVITE sip:a@example.net SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bKsets\r\nMax-Forwards: 70\r\nFrom: <sip:b@example.net>;tag=1\r\n"+
		"To: <sip:a@example.net>\r\nCall-ID: sets@thor\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n", c.LocalAddr())
	_ = c.SetDeadline(time.Now().Add(time.Second))
	if _, err := c.Write([]byte(q)); err != nil {
		return "", err
	}
	b := make([]byte, 4096)
	n, err := c.Read(b)
	if err != nil {
		return "", err
	}
	status, _, _ := strings.Cut(strings.TrimPrefix(string(b[:n]), "SIP/2.0 "), "\r\n")
	if _, next, ok := strings.Cut(string(b[:n]), "X-Next: "); ok {
		next, _, _ = strings.Cut(next, "\r\n")
		status += " " + next
	}
	return status, nil
}

// What calls see of the sets: a stranger becomes a proxy that is trusted, and calls go to
// members that serve, also at IPv6 addresses.
func TestCallsGoToTheMembersThatServe(t *testing.T) {
	c, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 on loopback")
	}
	six6 := c.LocalAddr().String()
	_ = c.Close()
	dir, addr := t.TempDir(), free(t, "127.0.91.26")
	p := newProxy(t, addr, dir, 0)
	p.more = "listen=udp:" + six6
	b := newBench(t, "http://"+addr+"/RPC", dir)
	b.until("file", "<nil>", func() (string, error) {
		_, err := os.Stat(filepath.Join(dir, "rtpengine/rtpengine"))
		return fmt.Sprint(err), nil
	})
	p.start()
	ask := func() (string, error) { return asked(t, "127.0.91.40", addr) }
	const own, six = "sip_proxy node1 127.0.91.40 ", "sip_proxy node2 2001:db8::7 "
	b.until("not a member", "403 Stranger", ask)
	b.net.say(nil, own+"draining", six+"up")
	b.until("the other one is chosen", "302 There sip:[2001:db8::7]:5060", ask)
	for range 10 {
		if got, err := ask(); got != "302 There sip:[2001:db8::7]:5060" {
			t.Errorf("%q %v: one that drains is chosen", got, err)
		}
	}
	b.net.say(nil, own+"suspect", six+"draining")
	b.until("one that is suspect serves", "302 There sip:127.0.91.40:5060", ask)
	b.net.say(nil, own+"draining", six+"draining")
	b.until("all drain", "503 None", ask)
	b.net.say(nil, six+"up")
	b.until("gone, and a stranger", "403 Stranger", ask)
}
