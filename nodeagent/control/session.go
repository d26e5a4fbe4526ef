package control

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"thor/identity"
	"thor/overlay"
	"thor/overlay/connlimit"
	"thor/subjects"
)

// A session is one connection of a peer.
type session struct {
	port  *Port
	set   *connlimit.Set
	conn  net.Conn // as the set knows it
	tls   *tls.Conn
	log   zerolog.Logger
	peer  subjects.NodeID
	slots chan struct{} // one token for each command under way

	mu   sync.Mutex // orders answers
	busy int        // commands under way; guarded by mu
}

// talk answers the commands of one connection until it ends.
func (p *Port) talk(ctx context.Context, set *connlimit.Set, c net.Conn) {
	s := &session{port: p, set: set, conn: c, slots: make(chan struct{}, maxAtOnce)}
	turn := &turnConn{Conn: c, turns: p.turns}
	s.tls = tls.Server(turn, p.cfg.Credentials.ServerTLS())
	err := p.handshake(ctx, s.tls, turn)
	from, _, _ := net.SplitHostPort(c.RemoteAddr().String())
	if err != nil {
		if ctx.Err() == nil && p.strange.Allow() {
			p.log.Info().Str("addr", from).Str("error", subjects.Printable(err.Error(), 200)).Msg("control connection refused")
		}
		return
	}
	id, err := s.verify()
	if err != nil {
		return // its list or its time came up in this moment
	}
	if !set.Busy(c) {
		return // closed to make room
	}
	set.Trust(c)
	set.Done(c)
	s.peer = id.Node
	s.log = p.log.With().Str("peer", string(id.Node)).Logger()
	if err := s.commands(ctx); err != nil && ctx.Err() == nil {
		s.log.Info().Str("error", subjects.Printable(err.Error(), 300)).Msg("control connection cut off")
	}
}

// handshake is that of c, when it is its turn.
func (p *Port) handshake(ctx context.Context, c *tls.Conn, turn *turnConn) error {
	p.turns <- struct{}{}
	defer func() {
		<-p.turns
		turn.turns = nil
	}()
	ctx, cancel := context.WithTimeout(ctx, p.patience)
	defer cancel()
	return c.HandshakeContext(ctx)
}

// A turnConn gives its turn back while it waits for the client.
type turnConn struct {
	net.Conn
	turns chan struct{} // not nil during the handshake
}

func (c *turnConn) Read(b []byte) (int, error) {
	if c.turns == nil {
		return c.Conn.Read(b)
	}
	<-c.turns
	defer func() { c.turns <- struct{}{} }()
	return c.Conn.Read(b)
}

func (s *session) verify() (*identity.Identity, error) {
	return s.port.cfg.Credentials.Verify(s.tls.ConnectionState())
}

// commands reads lines and has them answered. The error is one to log, nil where the
// peer ended.
func (s *session) commands(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var g sync.WaitGroup
	defer g.Wait()
	defer cancel()
	r := bufio.NewReaderSize(s.tls, subjects.MaxControlLine)
	for {
		line, err := s.line(r)
		if err != nil {
			return err
		}
		if line == nil {
			return nil
		}
		cmd, err := subjects.ParseControl(string(line))
		if errors.Is(err, subjects.ErrControlID) {
			return s.last(err)
		}
		if !s.begin() {
			return nil // closed to make room
		}
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		g.Go(func() {
			defer s.end()
			code, data := subjects.ControlBad, ""
			if err != nil {
				data = err.Error()
			} else {
				code, data = s.obey(ctx, &cmd)
			}
			s.port.commands.WithLabelValues(string(cmd.Verb), strconv.Itoa(code)).Inc()
			if err := s.answer(cmd.ID, code, data); err != nil {
				cancel()
				_ = s.tls.NetConn().Close() // it takes no answers: a reader that waits ends too
			}
		})
	}
}

// line is the next line without its end; nil at the end of the connection.
func (s *session) line(r *bufio.Reader) ([]byte, error) {
	if err := s.tls.SetReadDeadline(time.Now().Add(idleFor)); err != nil {
		return nil, nil
	}
	if _, err := r.Peek(1); err != nil {
		return nil, nil // it ended, was idle, or was closed to make room
	}
	if err := s.tls.SetReadDeadline(time.Now().Add(s.port.patience)); err != nil {
		return nil, nil
	}
	line, err := r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, s.last(fmt.Errorf("a line is longer than %d bytes", subjects.MaxControlLine))
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, s.last(errors.New("a line without its end"))
	}
	return []byte(strings.TrimRight(string(line), "\r\n")), nil
}

// last tells the peer why its connection ends, and returns that.
func (s *session) last(why error) error {
	_ = s.answer(0, subjects.ControlBad, why.Error()) // who is gone needs no reason
	return why
}

// begin notes a command under way; false: the connection was closed to make room.
func (s *session) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy++
	return s.busy > 1 || s.set.Busy(s.conn)
}

func (s *session) end() {
	<-s.slots
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy--; s.busy == 0 {
		s.set.Done(s.conn)
	}
}

// obey does what a command wants.
func (s *session) obey(ctx context.Context, c *subjects.ControlCommand) (code int, data string) {
	id, err := s.verify()
	if err == nil {
		err = mayGive(id, s.port.cfg.View().Status, c.Verb)
	}
	switch {
	case errors.Is(err, errNoStatus):
		return subjects.ControlUnavailable, err.Error()
	case err != nil:
		s.log.Info().Str("error", subjects.Printable(err.Error(), 300)).Msg("command refused")
		return subjects.ControlForbidden, err.Error()
	case !s.port.allow(s.peer):
		return subjects.ControlTooMany, fmt.Sprintf("more than %d commands a second", perSecond)
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	if c.Verb == subjects.ControlNotify {
		return s.notify(ctx, c)
	}
	if code, data, ok := s.port.cfg.Programs(ctx, c, s.peer); ok {
		return code, data
	}
	return subjects.ControlNotHere, "no program of this node knows watchers"
}

// notify passes on that a subscriber changed, to all that may hold something of it. The
// programs come last: they may take their time.
func (s *session) notify(ctx context.Context, c *subjects.ControlCommand) (int, string) {
	var err error
	if s.port.cfg.Changed != nil {
		err = s.port.cfg.Changed(ctx, c.Entity)
	}
	_, _, known := s.port.cfg.Programs(ctx, c, s.peer)
	switch {
	case errors.Is(err, overlay.ErrBadKey):
		return subjects.ControlBad, err.Error()
	case err != nil:
		return subjects.ControlUnavailable, err.Error()
	case s.port.cfg.Changed == nil && !known:
		return subjects.ControlNotHere, "this node keeps no subscribers"
	}
	return subjects.ControlOK, ""
}

// answer sends one line.
func (s *session) answer(id uint32, code int, data string) error {
	line := fmt.Sprintf("%d %d %s\r\n", id, code, subjects.Printable(data, 3*len(data)))
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.tls.SetWriteDeadline(time.Now().Add(s.port.patience)); err != nil {
		return err
	}
	_, err := io.WriteString(s.tls, line)
	return err
}
