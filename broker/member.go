package broker

import (
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"thor/identity"
)

// A member is a client's connection as nats-server sees it: in clear, and with
// what the client may not say left out. nats-server reads it from one goroutine
// and writes it from another.
type member struct {
	*tls.Conn
	front  *front
	id     *identity.Identity
	addr   memberAddr
	pace   *pace // nil: exempt
	tally  tally
	told   bool // of tls_required
	closed sync.Once

	filter  filter
	rest    []byte // of what the filter let through and nats-server did not read yet
	buckets [numTraffic]meter
	sids    map[string]struct{}
	ended   atomic.Bool
}

// A memberAddr is the address of a client. It leads the gate to the connection,
// and through it to the certificate.
type memberAddr struct {
	net.Addr
	member *member
}

func newMember(f *front, c *tls.Conn, id *identity.Identity) *member {
	m := &member{Conn: c, front: f, id: id, pace: f.pace(id)}
	m.addr = memberAddr{c.RemoteAddr(), m}
	m.tally = tally{node: id.Node, exempt: m.pace == nil}
	m.filter.r = m
	return m
}

// RemoteAddr implements net.Conn.
func (m *member) RemoteAddr() net.Addr { return &m.addr }

// Read implements net.Conn: it returns what the filter lets through.
func (m *member) Read(b []byte) (int, error) {
	for len(m.rest) == 0 {
		n, err := m.Conn.Read(b)
		if n == 0 && err != nil {
			return 0, err
		}
		out, bad := m.filter.feed(b[:n])
		if bad != nil {
			m.cut(bad)
			return 0, bad
		}
		if len(out) <= len(b) {
			n = copy(b, out)
			m.filter.slim()
			if n > 0 {
				return n, nil
			}
			continue
		}
		m.rest = out
	}
	n := copy(b, m.rest)
	if m.rest = m.rest[n:]; len(m.rest) == 0 {
		m.rest = nil
		m.filter.slim()
	}
	return n, nil
}

const info = "INFO {"

// Write implements net.Conn. The first INFO says what nats-server cannot know:
// that the port wants TLS.
func (m *member) Write(b []byte) (int, error) {
	if m.told {
		return m.Conn.Write(b)
	}
	m.told = true
	if len(b) < len(info) || string(b[:len(info)]) != info {
		return m.Conn.Write(b)
	}
	if _, err := m.Conn.Write(slices.Concat([]byte(info+`"tls_required":true,`), b[len(info):])); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Close implements net.Conn. It does not wait for a client that does not read.
func (m *member) Close() error {
	m.closed.Do(func() {
		m.front.leave(m)
		m.front.running.Go(func() { _ = m.Conn.Close() })
	})
	return nil
}

// cut tells the client why its connection ends; nats-server ends it, as Read
// fails.
func (m *member) cut(err error) {
	if m.ended.Swap(true) {
		return
	}
	// What nats-server was just writing may be torn: the connection ends anyway.
	_ = m.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	_, _ = fmt.Fprintf(m.Conn, "-ERR '%s'\r\n", err)
	m.front.cut(m, err)
}

// message implements referee.
func (m *member) message(subject []byte, size int) error {
	if size > maxPayload {
		return errPayload
	}
	if m.pace == nil {
		return nil
	}
	return m.take(classify(subject), size)
}

// control implements referee.
func (m *member) control() error {
	if m.pace == nil {
		return nil
	}
	return m.take(controls, 0)
}

func (m *member) take(class traffic, size int) error {
	r := m.pace[class]
	if r.largest > 0 && size > r.largest {
		return &violation{class.String(), "size"}
	}
	now := time.Now()
	if !m.buckets[class].take(r, 1, size, now) || !m.front.usage.take(m.id.Node, class, r, size, now) {
		return &violation{class.String(), "rate"}
	}
	return nil
}

// subscribed implements referee.
func (m *member) subscribed(sid []byte) error {
	if _, ok := m.sids[string(sid)]; ok {
		return nil
	}
	if !m.front.usage.subscribe(&m.tally, 1) {
		return &violation{"subscriptions", "of the node"}
	}
	if m.sids == nil {
		m.sids = make(map[string]struct{})
	}
	m.sids[string(sid)] = struct{}{}
	return nil
}

// unsubscribed implements referee. A subscription that is to end after so many
// messages counts no more: nats-server's limit of one connection still does.
func (m *member) unsubscribed(sid []byte) {
	if _, ok := m.sids[string(sid)]; ok {
		delete(m.sids, string(sid))
		m.front.usage.subscribe(&m.tally, -1)
	}
}

// replyPrefixes, before a node, are where answers to it may go.
var replyPrefixes = []string{"_ANSWER.", "_INBOX.", "_JS."}

// replyAllowed implements referee: answers go to the asker. Else who answers, a
// member or JetStream, would speak where the asker may not.
func (m *member) replyAllowed(reply []byte) bool {
	s := string(reply)
	for _, p := range replyPrefixes {
		if rest, ok := strings.CutPrefix(s, p); ok {
			rest, ok = strings.CutPrefix(rest, string(m.id.Node)+".")
			return ok && literal(rest)
		}
	}
	return false
}

// literal reports whether s is a subject without wildcards.
func literal(s string) bool {
	for token := range strings.SplitSeq(s, ".") {
		if token == "" || token == "*" || token == ">" {
			return false
		}
	}
	return true
}

// refused implements referee.
func (m *member) refused(why refusal) { m.front.refusedMessage(m, why) }
