package work

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"thor/overlay"
	"thor/subjects"
)

type network map[string]func(context.Context, *overlay.Request) *subjects.Reply

func (n network) Handle(role, verb string, h func(context.Context, *overlay.Request) *subjects.Reply) {
	n[role+"."+verb] = h
}

// One service that hangs and one that fails keep nothing from the others; who asks
// again within a second gets the same.
func TestWorkIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		n := network{}
		a := Handle(n, map[subjects.Role][]Counter{
			"sip_proxy": {{subjects.Dialogs, func(context.Context) (int, error) { asked++; return 7, nil }}},
			"media_relay": {
				{subjects.Sessions, func(context.Context) (int, error) { return 0, errors.New("says\nno") }},
				{subjects.Sessions, func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() }},
			},
		}, zerolog.Nop())
		ask := func() *subjects.Work {
			r := n[subjects.Agent+"."+subjects.VerbWork](t.Context(), nil)
			w, err := subjects.ParseWork(r.Data)
			if err != nil {
				t.Fatal(err)
			}
			return w
		}
		began := time.Now()
		w := ask()
		if time.Since(began) != countTime || len(w.Roles) != 2 || w.Roles["sip_proxy"][0] != (subjects.Count{What: "dialogs", N: 7}) {
			t.Errorf("%v after %v", w, time.Since(began))
		}
		if r := w.Roles["media_relay"]; len(r) != 2 || !strings.HasPrefix(r[0].Fault, "says") || r[1].Fault == "" {
			t.Errorf("%v", r)
		}
		a.Use(map[subjects.Role][]Counter{"sip_proxy": {{subjects.Dialogs, func(context.Context) (int, error) { asked++; return 8, nil }}}})
		time.Sleep(2 * fresh)
		if w := ask(); len(w.Roles) != 1 || w.Roles["sip_proxy"][0].N != 8 {
			t.Errorf("%v", w)
		}
		if ask(); asked != 2 {
			t.Errorf("asked %d times", asked)
		}
	})
}

// The sessions of a real rtpengine.
func TestSessionsOfRTPEngine(t *testing.T) {
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
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(program, "--foreground", "--log-stderr", "--table=-1", "--interface=127.0.0.1", "--listen-ng="+target, "--pidfile="+log.Name()+".pid",
		"--port-min=41000", "--port-max=41100")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	c := RTPEngine(target)
	for end := time.Now().Add(20 * time.Second); ; {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		n, err := c.Count(ctx)
		cancel()
		if err == nil && n == 0 {
			break
		}
		if time.Now().After(end) {
			text, _ := os.ReadFile(log.Name())
			t.Fatalf("%d, %v\n%s", n, err, text)
		}
		<-time.After(50 * time.Millisecond)
	}
	offer(t, target)
	if n, err := c.Count(t.Context()); n != 1 || err != nil {
		t.Errorf("%d sessions, %v", n, err)
	}
}

// offer begins a call.
func offer(t *testing.T, target string) {
	t.Helper()
	conn, err := net.Dial("udp", target)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	sdp := "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8\r\n"
	if _, err := fmt.Fprintf(conn, "c1 d7:call-id3:abc7:command5:offer8:from-tag2:ft3:sdp%d:%se", len(sdp), sdp); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	b := make([]byte, 4096)
	n, err := conn.Read(b)
	if err != nil || !strings.Contains(string(b[:n]), "6:result2:ok") {
		t.Fatalf("%s %v", b[:n], err)
	}
}
