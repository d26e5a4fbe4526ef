package broker

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
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
	seen *nats.Subscription
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
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(nc.Close)
	w := &twin{s: s}
	if w.seen, err = nc.SubscribeSync(">"); err != nil {
		f.Fatal(err)
	}
	return w
}

// say sends the chunks as one client and returns the messages that come of it.
// ok is false if nats-server ended the connection.
func (w *twin) say(t *testing.T, chunks [][]byte) (messages []string, ok bool) {
	t.Helper()
	c, err := w.s.InProcessConn()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	w.n++
	mark := fmt.Sprintf("end.%d", w.n)
	read := make(chan bool, 1)
	go func() {
		all, _ := readUntil(c, mark)
		read <- all
	}()
	_ = c.SetDeadline(time.Now().Add(2 * time.Second))
	_, err = c.Write([]byte("CONNECT {\"headers\":true,\"verbose\":false}\r\nSUB " + mark + " end\r\n"))
	for _, b := range chunks {
		if err == nil && len(b) > 0 {
			_, err = c.Write(b)
		}
	}
	if err == nil {
		_, err = c.Write([]byte("PUB " + mark + " 0\r\n\r\n"))
	}
	ok = err == nil && <-read
	if !ok { // what it has published arrives before this
		if err := w.flush(); err != nil {
			t.Fatal(err)
		}
	}
	for {
		wait := time.Second
		if !ok {
			wait = 20 * time.Millisecond
		}
		m, err := w.seen.NextMsg(wait)
		if errors.Is(err, nats.ErrTimeout) && !ok {
			return messages, false
		}
		if err != nil {
			t.Fatal(err)
		}
		if m.Subject == mark {
			return messages, true
		}
		if strings.HasPrefix(m.Subject, "end.") || strings.HasPrefix(m.Subject, "$") {
			continue
		}
		messages = append(messages, fmt.Sprintf("%s|%s|%v|%s", m.Subject, m.Reply, m.Header, m.Data))
	}
}

func (w *twin) flush() error {
	nc, err := nats.Connect("", nats.InProcessServer(w.s))
	if err != nil {
		return err
	}
	defer nc.Close()
	return nc.Flush()
}

func readUntil(r io.Reader, mark string) (bool, error) {
	var last []byte
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		last = append(last, buf[:n]...)
		if bytes.Contains(last, []byte("MSG "+mark)) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		last = last[max(0, len(last)-64):]
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
		for cut := range len(s) + 1 {
			f.Add([]byte(s), cut)
		}
	}
	w := newTwin(f)
	f.Fuzz(func(t *testing.T, in []byte, cut int) {
		if len(in) > 8<<10 {
			return
		}
		j := &judge{own: own}
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
		if bad == nil && (fl.state != inLine || len(fl.line) > 0) {
			return // unfinished: the mark would become a part of it
		}
		got, ok := w.say(t, through)
		refused := slices.ContainsFunc(j.log, func(s string) bool { return strings.HasPrefix(s, "refused") })
		if bad == nil && !ok && !slices.ContainsFunc(j.log, func(s string) bool { return strings.HasPrefix(s, "sub") || strings.HasPrefix(s, "message") }) {
			t.Fatalf("nats-server does not take what the filter lets through: %q", through)
		}
		for _, m := range got {
			if reply := strings.Split(m, "|")[1]; reply != "" && !strings.HasPrefix(reply, own) {
				t.Fatalf("reply %q", reply)
			}
		}
		if bad == nil && !refused {
			if !bytes.Equal(bytes.Join(through, nil), in) {
				t.Fatalf("%q became %q", in, through)
			}
			return
		}
		plain, _ := w.say(t, [][]byte{in})
		for _, m := range got { // in order, as a part of what would have been without the filter
			i := slices.Index(plain, m)
			if i < 0 {
				t.Fatalf("message %q is none that the client sent: %q", m, plain)
			}
			plain = plain[i+1:]
		}
	})
}

var _ net.Conn = (*member)(nil)
