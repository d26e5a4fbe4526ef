package dnsagent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"thor/dnsagent/batch"
)

// pastTime as a deadline ends a pending read.
func pastTime() time.Time { return time.Unix(1, 0) }

// serveUDP answers the questions that come on conn until ctx ends, and then closes
// it. Questions in hand are still answered.
func (a *Agent) serveUDP(ctx context.Context, conn *net.UDPConn) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(pastTime()) })
	defer stop()
	defer func() { _ = conn.Close() }()
	c, err := batch.New(conn, maxQuery+1, a.cfg.UDPSize) // a longer message is cut, and then malformed
	if err != nil {
		return fmt.Errorf("dns: read udp %s: %w", conn.LocalAddr(), err)
	}
	count := a.metrics.tally("udp")
	r := a.newResponder(count)
	var trouble retry
	for {
		n, err := c.Receive()
		switch {
		case ctx.Err() != nil && err != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("dns: read udp %s: %w", conn.LocalAddr(), err)
		case err != nil:
			if trouble.first() {
				a.log.Error().Err(err).Stringer("addr", conn.LocalAddr()).Msg("cannot read questions")
			}
			trouble.wait(ctx)
			continue
		case trouble.over():
			a.log.Info().Stringer("addr", conn.LocalAddr()).Msg("reads questions again")
		}
		came := time.Now()
		r.at(came)
		replies := 0
		for i := range n {
			if size := r.serveUDP(c.Packet(i), c.Room(), c.From(i)); size > 0 {
				c.Reply(i, size)
				replies++
			}
		}
		failed := c.Send()
		if failed > 0 {
			count.drop(notSent, failed)
		}
		count.took(time.Since(came), replies-failed)
	}
}

// A retry paces attempts after errors that may pass, such as a lack of file
// descriptors. The zero value is ready.
type retry struct {
	pause time.Duration
}

const (
	firstPause = 5 * time.Millisecond
	maxPause   = time.Second
)

// first reports whether there was no error since the last success.
func (r *retry) first() bool { return r.pause == 0 }

// over ends a row of errors; it reports whether there was one.
func (r *retry) over() bool {
	was := r.pause != 0
	r.pause = 0
	return was
}

// wait blocks for a time that doubles with each error in a row, or until ctx ends.
func (r *retry) wait(ctx context.Context) {
	r.pause = min(max(2*r.pause, firstPause), maxPause)
	t := time.NewTimer(r.pause)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
