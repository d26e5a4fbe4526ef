package provisioning_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"strings"
	"testing"
)

// offering is a connection of a client that offers these protocols by ALPN.
func (r *running) offering(t testing.TB, protocols ...string) (*tls.Conn, error) {
	t.Helper()
	return r.dial(t, func(c *tls.Config) { c.NextProtos = protocols })
}

// A client that forces HTTP/1.0 offers that alone: curl does, and CDRTool with it.
func TestEveryOfferOfHTTP1IsTaken(t *testing.T) {
	s := start(t, config(t, populated(t)))
	for _, c := range []struct {
		offer []string
		want  string
	}{
		{nil, ""},
		{[]string{"http/1.0"}, "http/1.0"},
		{[]string{"http/1.1"}, "http/1.1"},
		{[]string{"http/1.0", "http/1.1"}, "http/1.1"},
		{[]string{"h2", "http/1.1"}, "http/1.1"},
		{[]string{"h2", "http/1.0"}, "http/1.0"},
		{[]string{"unheard/7", "http/1.1"}, "http/1.1"},
	} {
		for _, version := range []string{"1.0", "1.1"} {
			conn, err := s.offering(t, c.offer...)
			if err != nil {
				t.Errorf("%v: %v", c.offer, err)
				continue
			}
			if got := conn.ConnectionState().NegotiatedProtocol; got != c.want {
				t.Errorf("%v: negotiated %q, want %q", c.offer, got, c.want)
			}
			body := request("getAccount", aliceID)
			fmt.Fprintf(conn, "POST / HTTP/%s\r\nHost: x\r\nContent-Type: text/xml\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", version, len(body), body)
			b, err := io.ReadAll(conn)
			if err != nil || !strings.HasPrefix(string(b), "HTTP/"+version+" 200 OK\r\n") || !strings.Contains(string(b), "Alice") {
				t.Errorf("%v, HTTP/%s: %v: %s", c.offer, version, err, b)
			}
		}
	}
}

// RFC 7301 3.2: a protocol that the server lacks is refused with an alert, not
// answered in another protocol.
func TestOffersWithoutHTTP1AreRefusedWithTheAlert(t *testing.T) {
	s := start(t, config(t, populated(t)))
	for _, offer := range [][]string{{"h2"}, {"unheard/7"}, {"h2", "spdy/3"}} {
		if _, err := s.offering(t, offer...); err == nil || !strings.Contains(err.Error(), "no application protocol") {
			t.Errorf("%v: %v", offer, err)
		}
	}
}
