package local

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"thor/overlay"
	"thor/overlay/connlimit"
	"thor/overlay/lookup"
	"thor/subjects"
)

// Limits of the line service. Its clients connect, ask a few lines and go.
const (
	maxLine       = lookup.MaxKey + 128 // bytes of a request
	maxRequests   = 10_000              // of one connection
	lineTimeout   = 10 * time.Second    // for the next whole request, and to take an answer
	acceptRecover = 100 * time.Millisecond
)

// serveLines accepts connections until l is closed.
func (s *Server) serveLines(ctx context.Context, l net.Listener) {
	var g sync.WaitGroup
	defer g.Wait()
	t := connlimit.New(maxLines, maxLinesOfPeer)
	l = t.Listen(l)
	for {
		c, err := l.Accept()
		switch {
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			if err == nil {
				_ = c.Close()
			}
			return
		case err != nil: // out of descriptors, or the client has gone already
			s.log.Debug().Err(err).Str("service", "lines").Msg("accept")
			select {
			case <-ctx.Done():
			case <-time.After(acceptRecover):
			}
			continue
		}
		g.Go(func() {
			stop := context.AfterFunc(ctx, func() { _ = c.Close() })
			defer stop()
			defer c.Close()
			s.talk(t, c)
		})
	}
}

// talk answers the lines of one connection. Lines end with CR LF, as in the
// original, or LF.
func (s *Server) talk(t *connlimit.Set, c net.Conn) {
	r := bufio.NewReaderSize(c, maxLine)
	for range maxRequests {
		if err := c.SetDeadline(time.Now().Add(lineTimeout)); err != nil {
			return
		}
		line, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			_, _ = c.Write([]byte("error line too long\r\n")) // the last word
			return
		}
		if err != nil {
			return
		}
		if !t.Busy(c) {
			return // closed to make room
		}
		_, err = c.Write([]byte(s.answerLine(strings.TrimRight(string(line), "\r\n")) + "\r\n"))
		t.Done(c)
		if err != nil {
			return
		}
	}
}

// answerLine answers one request. Whatever is no address and neither Yes nor No
// is an error.
func (s *Server) answerLine(line string) string {
	f := strings.Fields(line)
	switch {
	case len(f) == 4 && f[0] == "lookup" && f[2] == "for":
		found, err := s.cfg.Source.Find(subjects.Role(f[1]), f[3])
		switch {
		case err != nil:
			return "error " + reason(err)
		case found.OwnerAddress.IsValid():
			return found.OwnerAddress.String()
		case found.HeirAddress.IsValid(): // the owner has just gone, so this is the new one
			return found.HeirAddress.String()
		case found.RemoteAddress.IsValid(): // both have: their site is lost
			return found.RemoteAddress.String()
		}
		return "error " + reason(overlay.ErrNoMembers)
	case len(f) == 4 && f[0] == "is_online" && f[2] == "as":
		addr, err := netip.ParseAddr(f[1])
		if err != nil {
			return "error not an address"
		}
		return yesNo(online(s.cfg.Source.View().Status, subjects.Role(f[3]), addr.Unmap()))
	}
	return "error ask: lookup ROLE for USER@DOMAIN, or: is_online ADDRESS as ROLE"
}

func yesNo(is bool) string {
	if is {
		return "Yes"
	}
	return "No"
}

// online reports whether a member of role has the address, draining or not: it
// is there, even if it wants no new work.
func online(s *subjects.Status, role subjects.Role, addr netip.Addr) bool {
	if s == nil {
		return false
	}
	ms := s.Roles[role]
	for i := range ms {
		for _, a := range ms[i].Addresses {
			if a == addr {
				return true
			}
		}
	}
	return false
}
