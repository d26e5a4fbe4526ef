package broker

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"thor/identity"
	"thor/subjects"
)

// A clientConn is a client's connection as nats-server sees it: in clear, and with
// what the client may not say left out. nats-server reads it from one goroutine
// and writes it from another.
type clientConn struct {
	*tls.Conn
	front *front
	id    *identity.Identity
	addr  clientAddr
	rates *rates // nil: exempt
	// replies are the prefixes of the reply subjects that the client may name.
	replies []string
	use     connUse
	told    bool         // of tls_required
	batch   *batchWriter // nil: nats-server's writes go out as they come
	hears   atomic.Bool  // it subscribed to BrokerNotice
	closed  sync.Once

	filter  filter
	rest    []byte // of what the filter let through and nats-server did not read yet
	buckets [numTraffic]meter
	subs    subscriptionSet
	cid     atomic.Uint64 // nats-server's number of it; 0 before it is let in
	ended   atomic.Bool
}

// A clientAddr is the address of a client. It leads the gate to the connection,
// and through it to the certificate.
type clientAddr struct {
	net.Addr
	conn *clientConn
}

func newClientConn(f *front, tc *tls.Conn, id *identity.Identity) *clientConn {
	c := &clientConn{Conn: tc, front: f, id: id, rates: f.rates(id), replies: subjects.ReplyPrefixes(id.Node)}
	c.addr = clientAddr{tc.RemoteAddr(), c}
	c.use = connUse{node: id.Node, exempt: c.rates == nil}
	c.filter.r = c
	if id.Has(subjects.Manager) {
		c.batch = newBatchWriter(tc)
	}
	return c
}

// RemoteAddr implements net.Conn.
func (c *clientConn) RemoteAddr() net.Addr { return &c.addr }

// Read implements net.Conn: it returns what the filter lets through.
func (c *clientConn) Read(b []byte) (int, error) {
	for len(c.rest) == 0 {
		c.subs.settle()
		n, err := c.Conn.Read(b)
		if n == 0 && err != nil {
			return 0, err
		}
		out, bad := c.filter.feed(b[:n])
		if bad != nil {
			c.cut(bad)
			return 0, bad
		}
		if len(out) <= len(b) {
			n = copy(b, out)
			c.filter.slim()
			if n > 0 {
				return n, nil
			}
			continue
		}
		c.rest = out
	}
	n := copy(b, c.rest)
	if c.rest = c.rest[n:]; len(c.rest) == 0 {
		c.rest = nil
		c.filter.slim()
	}
	return n, nil
}

const info = "INFO {"

// Write implements net.Conn. The first INFO says what nats-server cannot know:
// that the port wants TLS, and that the broker is alone.
func (c *clientConn) Write(b []byte) (int, error) {
	if c.told && c.batch != nil {
		return c.batch.write(b)
	}
	if c.told {
		return c.Conn.Write(b)
	}
	c.told = true
	if len(b) < len(info) || string(b[:len(info)]) != info {
		return c.Conn.Write(b)
	}
	more := `"tls_required":true,`
	if c.front.alone() {
		more += `"` + subjects.InfoAlone + `":true,`
	}
	if _, err := c.Conn.Write(slices.Concat([]byte(info+more), b[len(info):])); err != nil {
		return 0, err
	}
	return len(b), nil
}

// SetWriteDeadline implements net.Conn.
func (c *clientConn) SetWriteDeadline(t time.Time) error {
	if c.batch != nil {
		return nil // it sets its own, for the writes that it makes
	}
	return c.Conn.SetWriteDeadline(t)
}

// Close implements net.Conn. It does not wait for a client that does not read.
func (c *clientConn) Close() error {
	c.closed.Do(func() {
		c.front.leave(c)
		c.front.running.Go(func() {
			if c.batch != nil {
				c.batch.close()
			}
			_ = c.Conn.Close()
		})
	})
	return nil
}

// mildError begins the words of an error after which client libraries connect again. One
// that they do not know makes them close the connection for good.
const mildError = "Permissions Violation: "

// cut tells the client why its connection ends; nats-server ends it, as Read
// fails.
func (c *clientConn) cut(err error) {
	if c.ended.Swap(true) {
		return
	}
	// What nats-server was just writing may be torn: the connection ends anyway.
	_ = c.Conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	text := err.Error()
	if v := (*violation)(nil); errors.As(err, &v) {
		text = mildError + text
	}
	_, _ = fmt.Fprintf(c.Conn, "-ERR '%s'\r\n", text)
	c.front.cut(c, err)
}

// message implements policy.
func (c *clientConn) message(subject []byte, headers, size int) error {
	if size > maxPayload {
		return errPayload
	}
	if c.rates == nil {
		return nil
	}
	class := classify(subject)
	if most := c.rates[class].largest; most > 0 && size-headers > most {
		return &violation{class.String(), "size"}
	}
	return c.take(class, size)
}

// control implements policy.
func (c *clientConn) control() error {
	if c.rates == nil {
		return nil
	}
	return c.take(controls, 0)
}

func (c *clientConn) take(class traffic, size int) error {
	r := c.rates[class]
	own := &c.buckets[class]
	now := time.Now()
	if !own.take(r, 1, size, now) || !c.front.usage.take(c.id.Node, class, r, size, own.within(r, quietShare), now) {
		return &violation{class.String(), "rate"}
	}
	return nil
}

// inspects implements policy: the direct get of JetStream obeys what a request
// says, however much that is, before the answers are counted as pending.
func (c *clientConn) inspects(subject []byte) bool {
	return c.rates != nil && classify(subject) == histories
}

// sound implements policy.
func (c *clientConn) sound(payload []byte) bool {
	_, err := subjects.ParseHistoryRequest(payload)
	return err == nil
}

// replyAllowed implements policy: answers go to the asker. Otherwise the
// answerer, a member or JetStream, would publish where the asker may not.
func (c *clientConn) replyAllowed(reply []byte) bool {
	for _, p := range c.replies {
		if len(reply) > len(p) && string(reply[:len(p)]) == p {
			return literal(string(reply[len(p):]))
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

// refused implements policy.
func (c *clientConn) refused(why refusal) { c.front.refusedMessage(c, why) }
