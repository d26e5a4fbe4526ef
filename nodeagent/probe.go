package nodeagent

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net"
	"net/netip"
	"time"

	"thor/overlay/check"
)

// A prober asks a service in one way.
type prober interface {
	check.Prober
	// name says what is asked of which service, to stand before a fault.
	name() string
}

// noValidAnswer is the fault where something came that is no answer to the question.
const noValidAnswer = "no valid answer"

// token is a random name of 16 hex digits.
func token() string {
	b := make([]byte, 8)
	_, _ = rand.Read(b) // never fails, see crypto/rand
	return hex.EncodeToString(b)
}

// follow makes ctx's end, be it the timeout or the agent's own, end what c is
// doing. The caller calls stop when it is done with c.
func follow(ctx context.Context, c net.Conn) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
}

// A match is what a datagram is to the question under way.
type match int

const (
	foreign match = iota // it answers no question of this check
	other                // an answer of ours, but to an earlier question, or not the last one to this
	final                // the answer
)

// retransmitAfter is when a question over UDP is asked a second time: T1 of
// RFC 3261, the estimate of a round trip. A shorter timeout makes it half of
// that, so that one lost datagram is never a failure.
const retransmitAfter = 500 * time.Millisecond

// A dialogue asks questions over UDP. Its socket is connected, so that the
// kernel's report of a closed port arrives at once, and it is kept while the
// answers come: one socket for a check. After a failure the next question uses
// a new one, so that nothing of the old is taken for an answer.
type dialogue struct {
	target string // host:port
	conn   net.Conn
}

// ask sends what question gives for the local address, up to twice, and passes
// the answers to judge until one is final or ctx ends.
func (d *dialogue) ask(ctx context.Context, question func(local netip.AddrPort) []byte, judge func(answer []byte) (match, error)) error {
	err := d.askOnce(ctx, question, judge)
	if err != nil {
		d.close()
	}
	return err
}

func (d *dialogue) askOnce(ctx context.Context, question func(netip.AddrPort) []byte, judge func([]byte) (match, error)) error {
	if d.conn == nil {
		c, err := new(net.Dialer).DialContext(ctx, "udp", d.target)
		if err != nil {
			return err
		}
		d.conn = c
	}
	packet := question(d.conn.LocalAddr().(*net.UDPAddr).AddrPort())
	again := time.Now().Add(retransmitAfter)
	if end, ok := ctx.Deadline(); ok && time.Until(end) < 2*retransmitAfter {
		again = time.Now().Add(time.Until(end) / 2)
	}
	if err := d.conn.SetReadDeadline(again); err != nil {
		return err
	}
	stop := follow(ctx, d.conn)
	defer func() {
		stop()
		_ = d.conn.SetReadDeadline(time.Time{}) // or it would wake the process later, for nothing
	}()
	if _, err := d.conn.Write(packet); err != nil {
		return err
	}
	buf := make([]byte, 16<<10)
	text, repeated := check.NoAnswer, false
	for {
		n, err := d.conn.Read(buf)
		switch {
		case isTimeout(err) && !repeated && ctx.Err() == nil:
			repeated = true
			if err := d.repeat(ctx, packet); err != nil {
				return err
			}
			continue
		case isTimeout(err):
			return &check.Fault{Text: text, Cause: err}
		case err != nil:
			return err
		}
		switch m, err := judge(buf[:n]); m {
		case final:
			return err
		case foreign:
			text = noValidAnswer
		}
	}
}

// repeat sends packet again and waits for the answer until ctx ends.
func (d *dialogue) repeat(ctx context.Context, packet []byte) error {
	end, _ := ctx.Deadline()
	if err := d.conn.SetReadDeadline(end); err != nil {
		return err
	}
	if ctx.Err() != nil { // its end may have come before the deadline was set
		return ctx.Err()
	}
	_, err := d.conn.Write(packet)
	return err
}

func (d *dialogue) close() {
	if d.conn != nil {
		_ = d.conn.Close() // of a UDP socket nothing can be lost
		d.conn = nil
	}
}

func isTimeout(err error) bool {
	t, ok := err.(net.Error)
	return ok && t.Timeout()
}
