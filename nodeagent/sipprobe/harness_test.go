package sipprobe

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"
	"go.uber.org/goleak"

	"thor/nodeagent/sipmsg"
	"thor/overlay/check"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// soon is the timeout of probes that are meant to fail by it, never the bound of others.
const (
	soon  = 300 * time.Millisecond
	never = 10 * time.Second

	canary = "canary-7f3a"
)

// A server answers each message with what answer makes of it.
type server struct {
	t      *testing.T
	answer func(m sip.Message) []string
	l      net.PacketConn
	addr   string

	mu  sync.Mutex
	got []string // what came, in order
}

func (s *server) heard(text string, m sip.Message) []string {
	s.mu.Lock()
	s.got = append(s.got, text)
	answer := s.answer
	s.mu.Unlock()
	if strings.Contains(text, canary) {
		s.t.Errorf("the password is in %q", text)
	}
	return answer(m)
}

// all is what came so far: the method and the CSeq of requests.
func (s *server) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, g := range s.got {
		line, _, _ := strings.Cut(g, "\r\n")
		method, _, _ := strings.Cut(line, " ")
		out = append(out, method)
	}
	return out
}

func (s *server) text(i int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got[i]
}

// onUDP makes a server over UDP.
func onUDP(t *testing.T, answer func(m sip.Message) []string) *server {
	t.Helper()
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, answer: answer, l: l, addr: l.LocalAddr().String()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 65536)
		for {
			n, from, err := l.ReadFrom(b)
			if err != nil {
				return
			}
			m, err := sipmsg.Parse(b[:n])
			if err != nil {
				t.Errorf("a probe sends %q: %v", b[:n], err)
				continue
			}
			for _, a := range s.heard(string(b[:n]), m) {
				_, _ = l.WriteTo([]byte(a), from)
			}
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return s
}

// onTCP makes a server over TCP.
func onTCP(t *testing.T, answer func(m sip.Message) []string) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, answer: answer, addr: l.Addr().String()}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				in := bufio.NewReader(c)
				for {
					m, err := sipmsg.Read(in)
					if err != nil {
						return
					}
					for _, a := range s.heard(m.(*sip.Request).String(), m) {
						_, _ = c.Write([]byte(a))
					}
				}
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); serving.Wait() })
	return s
}

// reply is a response to m, of an end with the tag "x".
func reply(m sip.Message, code int, headers ...string) string {
	q := m.(*sip.Request)
	if h := q.To(); code > 100 && !h.Params.Has("tag") {
		h.Params.Add("tag", "x")
	}
	a := sip.NewResponseFromRequest(q, code, "Whatever", nil)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		a.AppendHeader(sip.NewHeader(name, value))
	}
	return a.String()
}

// swap gives a header of s another value.
func swap(s, name, value string) string {
	before, rest, _ := strings.Cut(s, "\r\n"+name+": ")
	_, after, _ := strings.Cut(rest, "\r\n")
	return before + "\r\n" + name + ": " + value + "\r\n" + after
}

// proven reports whether q has the right answer to a challenge of realm with nonce.
func proven(q *sip.Request, header, realm, nonce string) bool {
	h := q.GetHeader(header)
	if h == nil {
		return false
	}
	c, err := digest.ParseCredentials(h.Value())
	if err != nil || c.Realm != realm || c.Nonce != nonce || c.Username != "probe" || c.URI != q.Recipient.String() {
		return false
	}
	chal := &digest.Challenge{Realm: realm, Nonce: nonce, Algorithm: c.Algorithm}
	if c.QOP != "" {
		chal.QOP = []string{c.QOP}
	}
	want, err := digest.Digest(chal, digest.Options{
		Method: string(q.Method), URI: c.URI, Username: "probe", Password: canary, Cnonce: c.Cnonce, Count: c.Nc,
	})
	return err == nil && want.Response == c.Response
}

// secretFile holds the password.
func secretFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte(canary+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func configOf(t *testing.T, transport, target string) Config {
	return Config{Transport: transport, Target: target, Account: "probe@example.net", Callee: "echo@example.net", PasswordFile: secretFile(t)}
}

type prober interface {
	check.Prober
	Name() string
}

// must closes p at the end of the test.
func must[P prober](t *testing.T) func(p P, err error) P {
	return func(p P, err error) P {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		return p
	}
}

// faultOf asks once and returns the fault's text, "" for alive.
func faultOf(t *testing.T, p prober, timeout time.Duration) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	err := p.Probe(ctx)
	if err == nil {
		return ""
	}
	f := check.Explain(err)
	if text := fmt.Sprint(f.Text, f.Cause, p.Name()); strings.Contains(text, canary) {
		t.Errorf("the password is in %q", text)
	}
	return f.Text
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	end := time.NewTimer(never)
	defer end.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-end.C:
			t.Fatalf("not within %v: %s", never, what)
		}
	}
}

func parse(text string) (sip.Message, error) { return sipmsg.Parse([]byte(text)) }
