package provisioning_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// from is a client that connects from an address of the loopback network and
// keeps its connections.
func (r *running) from(t *testing.T, addr string, keep int) *http.Client {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}
	tr := &http.Transport{DialContext: d.DialContext, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxIdleConnsPerHost: keep}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

func (r *running) ask(c *http.Client) error {
	resp, err := c.Post(r.url, "text/xml", strings.NewReader(request("getAccount", aliceID)))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && !strings.Contains(string(b), "Alice") {
		err = errors.New(string(b))
	}
	return err
}

// idle leaves n connections from addr on each of which a request was answered.
func (r *running) idle(t *testing.T, addr string, n int) (conns []*tls.Conn) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}, Timeout: 5 * time.Second}
	for range n {
		c, err := tls.DialWithDialer(&d, "tcp", r.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatalf("connection %d from %s: %v", len(conns)+1, addr, err)
		}
		t.Cleanup(func() { c.Close() })
		fmt.Fprintf(c, "HEAD /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
		if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 4096)); err != nil {
			t.Fatalf("connection %d from %s: %v", len(conns)+1, addr, err)
		}
		conns = append(conns, c)
	}
	return conns
}

func isClosed(t *testing.T, c net.Conn) bool {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(5 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	_, err := c.Read(make([]byte, 1))
	return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}

// One client after the other connects, asks something and keeps the connection:
// 512 of them from four addresses were all there are.
func TestIdleConnectionsFromFourAddressesShutOutNobody(t *testing.T) {
	s := start(t, config(t, populated(t)))
	for _, addr := range []string{"127.1.1.1", "127.1.2.1", "127.1.3.1", "127.1.4.1"} {
		s.idle(t, addr, 128)
	}
	for _, addr := range []string{"127.0.0.1", "127.9.9.9", "127.1.1.1", "127.1.1.2"} {
		if err := s.ask(s.from(t, addr, 1)); err != nil {
			t.Errorf("a client at %s: %v", addr, err)
		}
	}
}

func TestTheLongestIdleConnectionOfTheLargestSiteMakesRoom(t *testing.T) {
	s := start(t, config(t, populated(t)))
	good := s.idle(t, "127.2.0.1", 1) // longer idle than all others
	small := s.idle(t, "127.1.9.1", 7)
	var many []*tls.Conn
	for i := range 8 {
		many = append(many, s.idle(t, fmt.Sprintf("127.1.%d.1", i), 63)...)
	}
	if err := s.ask(s.from(t, "127.3.0.1", 1)); err != nil { // the 513th
		t.Fatal(err)
	}
	// Of connections that were made one right after the other the server may have
	// seen a later one idle first.
	early := 0
	for end := time.Now().Add(10 * time.Second); early == 0 && time.Now().Before(end); {
		for _, c := range many[:20] {
			if isClosed(t, c) {
				early++
			}
		}
	}
	if early != 1 {
		t.Errorf("%d of the longest idle connections of a site with many made room", early)
	}
	for name, c := range map[string]net.Conn{"a site with one": good[0], "a site with seven": small[0], "later": many[60], "last": many[503]} {
		if isClosed(t, c) {
			t.Errorf("the connection of %s was closed", name)
		}
	}
}

// A connection on which nothing was asked makes room for a host that has fewer.
func TestSilentConnectionsShutOutNobody(t *testing.T) {
	s := start(t, config(t, populated(t)))
	var silent []net.Conn
	for i := range 260 {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 4, byte(i/130), 1)}}
		c, err := d.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		silent = append(silent, c)
	}
	refused := 0
	for _, c := range silent {
		if isClosed(t, c) {
			refused++
		}
	}
	if refused < 2*(130-64) { // the rest is cut by the deadline of the handshake, if the machine is slow
		t.Errorf("%d of 260 silent connections of two hosts were closed", refused)
	}
	for _, addr := range []string{"127.0.0.1", "127.4.0.2"} {
		if err := s.ask(s.from(t, addr, 1)); err != nil {
			t.Errorf("a client at %s: %v", addr, err)
		}
	}
}

// A client that never begins its handshake is cut off; the test waits for that
// and not for a clock.
func TestAHandshakeHasADeadline(t *testing.T) {
	if testing.Short() {
		t.Skip("takes the 5 s of the deadline")
	}
	t.Parallel()
	s := serve(t, config(t, unusedStore(t)))
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("a silent connection is kept for a minute")
	}
}
