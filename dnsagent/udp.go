package dnsagent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
)

// maxReaders bounds the goroutines that read one UDP socket: more than this only
// wait for each other.
const maxReaders = 4

// pastTime as a deadline ends a pending read.
func pastTime() time.Time { return time.Unix(1, 0) }

// serveUDP answers questions that come on conn with goroutines of g, until ctx
// ends, and then closes it. A question in hand is still answered.
func (a *Agent) serveUDP(ctx context.Context, g *errgroup.Group, conn *net.UDPConn) {
	n := min(runtime.GOMAXPROCS(0), maxReaders)
	readers, readersCtx := errgroup.WithContext(ctx)
	for range n {
		readers.Go(func() error { return a.readUDP(readersCtx, conn) })
	}
	g.Go(func() error {
		stop := context.AfterFunc(readersCtx, func() { _ = conn.SetReadDeadline(pastTime()) })
		defer stop()
		defer func() { _ = conn.Close() }()
		return readers.Wait()
	})
}

func (a *Agent) readUDP(ctx context.Context, conn *net.UDPConn) error {
	r := a.newResponder("udp")
	buf := make([]byte, maxQuery+1) // a longer message is cut, and then malformed
	var trouble retry
	for {
		n, session, err := dns.ReadFromSessionUDP(conn, buf)
		switch {
		case ctx.Err() != nil:
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
		if reply := r.serve(buf[:n]); reply != nil {
			if _, err := dns.WriteToSessionUDP(conn, reply, session); err != nil {
				a.metrics.dropped.WithLabelValues("write").Inc()
			}
		}
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
