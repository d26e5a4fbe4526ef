package media

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"thor/overlay"
	"thor/overlay/media"
	"thor/subjects"
)

type network map[string]func(context.Context, *overlay.Request) *subjects.Reply

func (n network) Handle(role, verb string, h func(context.Context, *overlay.Request) *subjects.Reply) {
	n[role+"."+verb] = h
}

func (n network) ask(t *testing.T, q *media.Request) *media.Report {
	t.Helper()
	q.V = subjects.Version
	reply := n[subjects.Agent+"."+subjects.VerbMedia](t.Context(), &overlay.Request{Data: q.Encode()})
	if reply.Code != "" {
		t.Fatal(reply.Text)
	}
	r, err := media.ParseReport(reply.Data)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// startRTPEngine runs a real one, and returns where its ng protocol listens.
func startRTPEngine(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("rtpengine")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("rtpengine is not installed (Debian package rtpengine-daemon)")
		}
		t.Skip("rtpengine is not installed (Debian package rtpengine-daemon)")
	}
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	target := l.LocalAddr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--foreground", "--log-stderr", "--table=-1", "--interface=127.0.0.1", "--listen-ng="+target, "--pidfile="+filepath.Join(t.TempDir(), "pid"),
		"--port-min=42000", "--port-max=42999")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return target
}

// command sends rtpengine a question; false: no answer yet.
func command(t *testing.T, target, id, dict string) bool {
	t.Helper()
	conn, err := net.Dial("udp", target)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if conn.LocalAddr().String() == target {
		return false // the kernel gave this socket the port that rtpengine does not have yet: it would hear itself
	}
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := fmt.Fprintf(conn, "%s d%se", id, dict); err != nil {
		return false
	}
	b := make([]byte, 4096)
	n, err := conn.Read(b)
	if err == nil && !strings.Contains(string(b[:n]), "6:result2:ok") && !strings.Contains(string(b[:n]), "pong") {
		t.Fatalf("%s", b[:n])
	}
	return err == nil
}

// call begins and answers a call between two sockets.
func call(t *testing.T, target, id string) (caller, callee net.PacketConn) {
	t.Helper()
	var ends [2]net.PacketConn
	for i := range ends {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		ends[i] = c
	}
	caller, callee = ends[0], ends[1]
	port := func(c net.PacketConn) int { return c.LocalAddr().(*net.UDPAddr).Port }
	sdp := func(port int) string {
		s := fmt.Sprintf("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio %d RTP/AVP 8\r\n", port)
		return fmt.Sprintf("%d:%s", len(s), s)
	}
	head := fmt.Sprintf("7:call-id%d:%s", len(id), id)
	if !command(t, target, id+"1", head+"7:command5:offer8:from-tag2:ft3:sdp"+sdp(port(caller))) ||
		!command(t, target, id+"2", head+"7:command6:answer8:from-tag2:ft6:to-tag2:tt3:sdp"+sdp(port(callee))) {
		t.Fatal("no answer")
	}
	return caller, callee
}

func TestCallsOfARealRTPEngine(t *testing.T) {
	target := startRTPEngine(t)
	for end := time.Now().Add(20 * time.Second); !command(t, target, "ping", "7:command4:ping"); {
		if time.Now().After(end) {
			t.Fatal("rtpengine does not answer")
		}
	}
	caller, callee := call(t, target, "first@x")
	call(t, target, "second@x")
	n := network{}
	a := Handle(n, map[subjects.Role][]string{subjects.MediaRelay: {target, "127.0.0.1:9"}}, zerolog.Nop())
	r := n.ask(t, &media.Request{Calls: true})
	if len(r.Relays) != 2 || r.Relays[1].Fault == "" || r.Relays[0].Fault != "" || r.Relays[0].Sessions != 2 || len(r.Relays[0].Calls) != 2 || r.Relays[0].Role != subjects.MediaRelay {
		t.Fatalf("%+v", r)
	}
	r = n.ask(t, &media.Request{CallID: "first@x"})
	if len(r.Relays[0].Calls) != 1 {
		t.Fatalf("%+v", r)
	}
	c := r.Relays[0].Calls[0]
	if c.ID != "first@x" || c.FromTag != "ft" || c.ToTag != "tt" || c.Created == 0 || len(c.Streams) != 1 {
		t.Fatalf("%+v", c)
	}
	s := c.Streams[0]
	if s.Type != "audio" || s.Caller.Remote != caller.LocalAddr().String() || s.Callee.Remote != callee.LocalAddr().String() ||
		!strings.HasPrefix(s.Caller.Local, "127.0.0.1:42") || !strings.HasPrefix(s.Callee.Local, "127.0.0.1:42") || s.Caller.Local == s.Callee.Local {
		t.Errorf("%+v", s)
	}
	// The callee sends from its own port to the relay's for it.
	send(t, callee, s.Callee.Local)
	for end := time.Now().Add(10 * time.Second); ; {
		s = n.ask(t, &media.Request{CallID: "first@x"}).Relays[0].Calls[0].Streams[0]
		if s.Callee.Packets > 0 && s.Callee.Bytes > 0 && s.Caller.Packets == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("no packets: %+v", s)
		}
		<-time.After(50 * time.Millisecond)
	}
	if r := n.ask(t, &media.Request{CallID: "none"}); len(r.Relays[0].Calls) != 0 || r.Relays[0].Fault != "" {
		t.Errorf("an unknown call: %+v", r)
	}
	if r := n.ask(t, &media.Request{}); r.Relays[0].Sessions != 2 || len(r.Relays[0].Calls) != 0 {
		t.Errorf("the sums: %+v", r)
	}
	a.Use(nil)
	if r := n.ask(t, &media.Request{}); len(r.Relays) != 0 {
		t.Errorf("without relays: %+v", r)
	}
	if reply := n[subjects.Agent+"."+subjects.VerbMedia](t.Context(), &overlay.Request{Data: []byte("{")}); reply.Code != subjects.ErrorBad {
		t.Errorf("%+v", reply)
	}
}

// send sends some RTP.
func send(t *testing.T, from net.PacketConn, to string) {
	t.Helper()
	at, err := net.ResolveUDPAddr("udp", to)
	if err != nil {
		t.Fatal(err)
	}
	for i := range byte(5) {
		if _, err := from.WriteTo(append([]byte{0x80, 8, 0, i, 0, 0, 0, i, 1, 2, 3, 4}, make([]byte, 160)...), at); err != nil {
			t.Fatal(err)
		}
	}
}
