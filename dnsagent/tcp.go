package dnsagent

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// serveTCP accepts connections until ctx ends, and returns when all have ended.
func (a *Agent) serveTCP(ctx context.Context, ln net.Listener) error {
	var conns sync.WaitGroup
	defer conns.Wait()
	ln = a.conns.Listen(ln)
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	defer func() { _ = ln.Close() }()
	var trouble retry
	for {
		conn, err := ln.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("dns: accept tcp %s: %w", ln.Addr(), err)
		case err != nil:
			if trouble.first() {
				a.log.Error().Err(err).Stringer("addr", ln.Addr()).Msg("cannot accept connections")
			}
			trouble.wait(ctx)
			continue
		case trouble.over():
			a.log.Info().Stringer("addr", ln.Addr()).Msg("accepts connections again")
		}
		conns.Go(func() {
			defer func() { _ = conn.Close() }()
			a.converse(ctx, conn)
		})
	}
}

// converse answers the questions of one connection in the order they come, as
// many as the client likes. Each whole question must arrive within Config.Idle
// of the answer before, and each answer be taken within it (RFC 7766 6.2.3).
func (a *Agent) converse(ctx context.Context, conn net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(pastTime()) })
	defer stop()
	r := a.newResponder(a.metrics.tcp)
	if from, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		r.client = from.AddrPort().Addr().Unmap()
	}
	in := bufio.NewReaderSize(conn, 1024)
	request, out := make([]byte, maxQuery), make([]byte, 0, 1024)
	for {
		_ = conn.SetReadDeadline(time.Now().Add(a.cfg.Idle))
		if ctx.Err() != nil { // or the deadline just set would hide the end
			return
		}
		var prefix [2]byte
		if _, err := io.ReadFull(in, prefix[:]); err != nil {
			return
		}
		n := int(binary.BigEndian.Uint16(prefix[:]))
		if n < headerSize || n > maxQuery {
			a.metrics.tcp.drop(badLength, 1)
			return
		}
		if _, err := io.ReadFull(in, request[:n]); err != nil {
			return
		}
		if !a.conns.Busy(conn) {
			return // closed to make room
		}
		r.at(time.Now())
		write := func(message []byte) error {
			out = frame(out[:0], message)
			_ = conn.SetWriteDeadline(time.Now().Add(a.cfg.Idle))
			_, err := conn.Write(out)
			return err
		}
		if mine, err := r.transfer(request[:n], write); mine {
			a.conns.Done(conn)
			if err != nil {
				return
			}
			continue
		}
		reply := r.serveTCP(request[:n])
		a.conns.Done(conn) // a slow reader waits like one that asks nothing
		if reply == nil || write(reply) != nil {
			return // no reply: a response or garbage, not a client
		}
		a.metrics.tcp.took(time.Since(r.now), 1)
	}
}
