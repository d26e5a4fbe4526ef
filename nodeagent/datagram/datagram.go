// Package datagram asks a service a question over UDP. It owns when a question is
// repeated, and what a socket is kept for; what a question and its answer are, the
// protocols say.
package datagram

import (
	"context"
	"net"
	"net/netip"
	"time"

	"thor/overlay/check"
)

// NoValidAnswer is the fault where something came that is no answer to the question.
const NoValidAnswer = "no valid answer"

// Follow makes ctx's end end what c is doing. The caller calls stop when it is done
// with c.
func Follow(ctx context.Context, c net.Conn) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
}

// A Match is what a datagram is to the question under way.
type Match int

// The matches.
const (
	Foreign Match = iota // it answers no question of this dialogue
	Other                // an answer to an earlier question, or not the last one to this
	Final                // the answer
)

// RetransmitAfter is when a question is asked a second time: T1 of RFC 3261, the
// estimate of a round trip. A shorter timeout makes it half of that, so that one lost
// datagram is never a failure.
const RetransmitAfter = 500 * time.Millisecond

// maxAnswer is the longest answer in bytes: rtpengine's statistics with many interfaces
// fill most of a datagram.
const maxAnswer = 64 << 10

// A Dialogue asks questions of one service, one at a time. Its socket is connected, so
// that the kernel's report of a closed port arrives at once, and it is kept while the
// answers come. After a failure the next question uses a new one, so that nothing of the
// old is taken for an answer.
type Dialogue struct {
	Target string // host:port
	conn   net.Conn
	buf    []byte
}

// Ask sends what question gives for the local address, up to twice, and passes the
// answers to judge until one is final, or ctx, which has a deadline, ends.
func (d *Dialogue) Ask(ctx context.Context, question func(local netip.AddrPort) []byte, judge func(answer []byte) (Match, error)) error {
	err := d.ask(ctx, question, judge)
	if err != nil {
		d.Close()
	}
	return err
}

func (d *Dialogue) ask(ctx context.Context, question func(netip.AddrPort) []byte, judge func([]byte) (Match, error)) error {
	if d.conn == nil {
		c, err := new(net.Dialer).DialContext(ctx, "udp", d.Target)
		if err != nil {
			return err
		}
		d.conn = c
	}
	packet := question(d.conn.LocalAddr().(*net.UDPAddr).AddrPort())
	again := time.Now().Add(RetransmitAfter)
	if end, ok := ctx.Deadline(); ok && time.Until(end) < 2*RetransmitAfter {
		again = time.Now().Add(time.Until(end) / 2)
	}
	if err := d.conn.SetReadDeadline(again); err != nil {
		return err
	}
	stop := Follow(ctx, d.conn)
	defer func() {
		stop()
		_ = d.conn.SetReadDeadline(time.Time{}) // or it would wake the process later, for nothing
	}()
	if _, err := d.conn.Write(packet); err != nil {
		return err
	}
	if d.buf == nil {
		d.buf = make([]byte, maxAnswer)
	}
	text, repeated := check.NoAnswer, false
	for {
		n, err := d.conn.Read(d.buf)
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
		switch m, err := judge(d.buf[:n]); m {
		case Final:
			return err
		case Foreign:
			text = NoValidAnswer
		}
	}
}

// repeat sends packet again and waits for the answer until ctx ends.
func (d *Dialogue) repeat(ctx context.Context, packet []byte) error {
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

// Close ends the socket; the next question has a new one.
func (d *Dialogue) Close() {
	if d.conn != nil {
		_ = d.conn.Close() // of a UDP socket nothing can be lost
		d.conn = nil
	}
}

func isTimeout(err error) bool {
	t, ok := err.(net.Error)
	return ok && t.Timeout()
}
