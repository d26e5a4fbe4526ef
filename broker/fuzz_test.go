package broker

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// A twin is a nats-server that lets clients do anything, to compare what the
// filter lets through with what a client sends.
type twin struct {
	s    *server.Server
	seen chan string
	n    int
}

func newTwin(f *testing.F) *twin {
	s, err := server.NewServer(&server.Options{DontListen: true, NoSigs: true, NoLog: true, MaxPayload: maxPayload})
	if err != nil {
		f.Fatal(err)
	}
	s.Start()
	f.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		f.Fatal("not ready")
	}
	c, err := s.InProcessConn()
	if err != nil {
		f.Fatal(err)
	}
	w := &twin{s: s, seen: make(chan string, 1<<16)}
	go w.watch(c)
	if _, err := c.Write([]byte("CONNECT {\"headers\":true,\"verbose\":false}\r\nSUB > 1\r\nPING\r\n")); err != nil {
		f.Fatal(err)
	}
	<-w.seen // PONG
	return w
}

// watch reads what is published. It is no library: those end a connection on
// messages that nats-server lets pass.
func (w *twin) watch(c net.Conn) {
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		a := strings.Fields(line)
		switch {
		case len(a) == 0:
		case a[0] == "PING":
			_, _ = c.Write([]byte("PONG\r\n"))
		case a[0] == "PONG":
			w.seen <- line
		case a[0] == "MSG" || a[0] == "HMSG":
			n, _ := strconv.Atoi(a[len(a)-1])
			body := make([]byte, n+2)
			if _, err := io.ReadFull(r, body); err != nil {
				return
			}
			if !bytes.Contains(body, []byte(`"request":{"header":`)) { // a trace comes when it likes
				w.seen <- line + string(body)
			}
		}
	}
}

// say sends the chunks as one client and returns the messages that come of it.
func (w *twin) say(t *testing.T, chunks [][]byte) (messages []string) {
	t.Helper()
	c, err := w.s.InProcessConn()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	w.n++
	mark := fmt.Sprintf("end.%d", w.n)
	go func() { _, _ = io.Copy(io.Discard, c) }()
	_ = c.SetDeadline(time.Now().Add(2 * time.Second))
	_, err = c.Write([]byte("CONNECT {\"headers\":true,\"verbose\":false}\r\n"))
	// The blank at the end is read once all before it is dealt with, and
	// completes nothing.
	for _, b := range append(chunks, []byte(" ")) {
		if err == nil && len(b) > 0 {
			_, err = c.Write(b)
		}
	}
	w.publish(t, mark)
	for {
		select {
		case m := <-w.seen:
			if strings.Contains(m, mark+" ") {
				return messages
			}
			messages = append(messages, m)
		case <-time.After(5 * time.Second):
			t.Fatal("no mark")
		}
	}
}

func (w *twin) publish(t *testing.T, subject string) {
	t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(w.s))
	if err == nil {
		defer nc.Close()
		err = errors.Join(nc.Publish(subject, nil), nc.Flush())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// FuzzFront compares a client that speaks through the filter with one that
// speaks to nats-server itself: what comes of it is the same, less the messages
// that the filter refuses; and no reply subject leaves the client's own.
func FuzzFront(f *testing.F) {
	const own = "_INBOX.n1."
	for _, s := range []string{
		"PUB a 2\r\nhi\r\nPUB b _INBOX.n1.x 2\r\nho\r\nPING\r\n",
		"HPUB a 18 20\r\n" + hdr + "hi\r\n",
		"HPUB a evil 18 20\r\n" + hdr + "hi\r\nPUB a 0\r\n\r\n",
		"HPUB a 34 36\r\nNATS/1.0\r\nNats-Trace-Dest: foo\r\n\r\nhi\r\nPUB a 0\r\n\r\n",
		"pub a\t_INBOX.n2.x  3\nabc\r\nSUB a 1\r\nUNSUB 1 3\r\nPONG\r\n",
		"PUB a 17\r\nPUB b evil 0\r\n\r\nX\r\nPING\r\n",
		"PUB a\r\r b 1\r\nx\r\nPUB a 1\r\nxx\r\n", "PUB a b\rc 1\r\nx\r\n", "PING\rx\r\nPUB a 0\r\n\r\n",
		"CONNECT {\"verbose\":true}\r\nPUB a 0\r\n\r\n", "GET / HTTP/1.0\r\n\r\n", "\x16\x03\x01", "-ERR 'x'\r\n",
		"SUB a 99999\r\nPUB a _R_.x 1\r\ny\r\n", "PUB a.*.> 1\r\nx\r\nPUB $JS.API.INFO _INBOX.n1.x 0\r\n\r\n",
	} {
		for cut := 0; cut <= len(s); cut += 1 + len(s)/4 { // each seed is played to a server: TestFilterLetsThroughWhatItsPolicyAllows has every cut
			f.Add([]byte(s), cut)
		}
	}
	w := newTwin(f)
	f.Fuzz(func(t *testing.T, in []byte, cut int) {
		if len(in) > 8<<10 {
			return
		}
		j := &recorder{own: own}
		fl := filter{r: j}
		cut = max(0, min(cut, len(in)))
		var through [][]byte
		var bad error
		for _, part := range [][]byte{in[:cut], in[cut:]} {
			out, err := fl.feed(slices.Clone(part))
			if err != nil {
				bad = err
				break
			}
			through = append(through, slices.Clone(out))
		}
		got := w.say(t, through)
		refused := slices.ContainsFunc(j.log, func(s string) bool { return strings.HasPrefix(s, "refused") })
		for _, m := range got {
			line, _, _ := strings.Cut(m, "\r\n")
			a, sizes := strings.Fields(line), 1
			if a[0] == "HMSG" {
				sizes = 2
			}
			if len(a) == 4+sizes && !strings.HasPrefix(a[3], own) {
				t.Fatalf("reply in %q", line)
			}
		}
		if bad == nil && !refused {
			if !bytes.Equal(append(bytes.Join(through, nil), fl.line...), in) {
				t.Fatalf("%q became %q", in, through)
			}
			return
		}
		plain := w.say(t, [][]byte{in})
		for _, m := range got { // in order, as a part of what would have been without the filter
			i := slices.Index(plain, m)
			if i < 0 {
				t.Fatalf("message %q is none that the client sent: %q", m, plain)
			}
			plain = plain[i+1:]
		}
	})
}

var _ net.Conn = (*clientConn)(nil)
