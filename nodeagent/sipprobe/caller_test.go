package sipprobe

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"

	"thor/nodeagent/sipmsg"
	"thor/overlay/check"
)

// Whatever the other end does, a verdict comes within the timeout of the probe: nothing
// else ends the wait for it.
func TestAVerdictComesWithinTheTimeout(t *testing.T) {
	silent := func(net.Conn, *bufio.Reader, string) {}
	for _, c := range []struct {
		name    string
		timeout time.Duration
		acts    func(c net.Conn, in *bufio.Reader, callID string) // after the INVITE; what comes then is read
		want    string
	}{
		{"silence for longer than a call may take to end", endWithin + 10*time.Second, silent, check.NoAnswer},
		{"an end before the beginning", 2 * quietFor, func(c net.Conn, in *bufio.Reader, callID string) {
			_, _ = fmt.Fprint(c, byeOf(callID))
			_, _ = sipmsg.Read(in)
		}, check.NoAnswer},
		{"requests without reading an answer", 2 * quietFor, func(c net.Conn, _ *bufio.Reader, callID string) {
			_, _ = fmt.Fprint(c, byeOf(callID))
			time.Sleep(3 * quietFor)
		}, check.NoAnswer},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				ended := make(chan struct{})
				defer func() { <-ended }()
				go func() {
					defer close(ended)
					defer theirs.Close()
					in := bufio.NewReader(theirs)
					m, err := sipmsg.Read(in)
					if err != nil {
						t.Error(err)
						return
					}
					c.acts(theirs, in, m.CallID().Value())
					for err == nil {
						_, err = sipmsg.Read(in)
					}
				}()
				ctx, cancel := context.WithTimeout(t.Context(), c.timeout)
				defer cancel()
				verdict := make(chan error, 1)
				began := time.Now()
				(&dialler{call: testCall(), link: &link{conn: ours, in: bufio.NewReader(ours)}, verdict: verdict}).run(ctx, t.Context())
				select {
				case err := <-verdict:
					if err == nil || check.Explain(err).Text != c.want {
						t.Errorf("%v, not %q", err, c.want)
					}
				default:
					t.Errorf("over without a verdict after %v", time.Since(began))
				}
			})
		})
	}
}

func testCall() *call {
	return &call{
		accepts: reached, transport: "tcp", local: netip.MustParseAddrPort("192.0.2.1:5060"),
		caller: sip.Uri{Scheme: "sip", User: "probe", Host: "example.net"}, callee: sip.Uri{Scheme: "sip", User: "echo", Host: "example.net"},
	}
}

// byeOf is a request that ends the call.
func byeOf(callID string) string {
	return "BYE sip:probe@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.9;branch=z9hG4bKy\r\nFrom: <sip:echo@example.net>;tag=x\r\n" +
		"To: <sip:probe@example.net>;tag=y\r\nCall-ID: " + callID + "\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n"
}
