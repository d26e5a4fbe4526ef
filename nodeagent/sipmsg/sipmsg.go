// Package sipmsg reads SIP messages that may be hostile, for the probe that
// asks a SIP server and for the responder that stands in for one. Parsing is
// sipgo's; the bounds are ours: a head has a limit, and no memory is set aside
// for a body because a Content-Length says so. Bodies are skipped, since neither
// user looks at them.
package sipmsg

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// MaxHead is the number of bytes of start line and headers that Read accepts,
// MaxBody that of a body that it skips. A datagram is never longer than both.
const (
	MaxHead = 16 << 10
	MaxBody = 64 << 10
)

// ErrNotSIP is wrapped by the errors that say that something else came.
var ErrNotSIP = errors.New("not a SIP message")

// Parse reads the head of the message at the beginning of b.
func Parse(b []byte) (sip.Message, error) {
	if len(b) > MaxHead {
		b = b[:MaxHead]
	}
	m, _, err := sip.NewParser().ParseHeaders(b, false)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrNotSIP, err)
	}
	version := ""
	switch m := m.(type) {
	case *sip.Request:
		version = m.SipVersion
	case *sip.Response:
		version = m.SipVersion
	}
	if !strings.EqualFold(version, "SIP/2.0") {
		return nil, fmt.Errorf("%w: version %.20q", ErrNotSIP, version)
	}
	return m, nil
}

// Read reads one message from a stream, passing over empty lines before it, which
// keep connections alive (RFC 5626 3.5.1), and over its body. An error is that of
// r or wraps ErrNotSIP; after either the stream is of no further use.
func Read(r *bufio.Reader) (sip.Message, error) {
	var head []byte
	for {
		line, err := r.ReadSlice('\n')
		if len(head)+len(line) > MaxHead {
			return nil, fmt.Errorf("%w: headers of more than %d bytes", ErrNotSIP, MaxHead)
		}
		if err == bufio.ErrBufferFull {
			head = append(head, line...)
			continue
		}
		if err != nil {
			if err == io.EOF && len(head)+len(line) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		blank := string(line) == "\r\n"
		if blank && len(head) == 0 {
			continue
		}
		head = append(head, line...)
		if blank && bytes.HasSuffix(head, []byte("\r\n\r\n")) {
			break
		}
	}
	m, err := Parse(head)
	if err != nil {
		return nil, err
	}
	return m, skipBody(r, m)
}

func skipBody(r *bufio.Reader, m sip.Message) error {
	n := 0
	if h := m.ContentLength(); h != nil {
		n = int(*h)
	}
	if n > MaxBody {
		return fmt.Errorf("%w: body of more than %d bytes", ErrNotSIP, MaxBody)
	}
	if _, err := r.Discard(n); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	return nil
}
