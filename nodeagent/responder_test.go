package nodeagent_test

import (
	"bufio"
	"context"
	"net"
	"testing"

	"github.com/emiago/sipgo/sip"

	"thor/nodeagent/sipmsg"
)

// responder answers SIP on UDP and TCP until it is stopped.
func responder(t *testing.T, listen string) (addr string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	u, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	stop = running(t, "responder", func(ctx context.Context) error {
		context.AfterFunc(ctx, func() { _, _ = l.Close(), u.Close() })
		done := make(chan struct{})
		go func() {
			defer close(done)
			serveStreams(l)
		}()
		serveDatagrams(u)
		<-done
		return nil
	})
	return l.Addr().String(), stop
}

func serveDatagrams(u net.PacketConn) {
	buf := make([]byte, 16<<10)
	for {
		n, from, err := u.ReadFrom(buf)
		if err != nil {
			return
		}
		if m, err := sipmsg.Parse(buf[:n]); err == nil {
			_, _ = u.WriteTo(okTo(m), from)
		}
	}
}

// serveStreams answers one request of each connection.
func serveStreams(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		if m, err := sipmsg.Read(bufio.NewReader(c)); err == nil {
			_, _ = c.Write(okTo(m))
		}
		_ = c.Close()
	}
}

// okTo is 200 to a request.
func okTo(m sip.Message) []byte {
	return []byte(sip.NewResponseFromRequest(m.(*sip.Request), 200, "OK", nil).String())
}
