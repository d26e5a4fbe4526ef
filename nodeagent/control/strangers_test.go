package control

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"thor/overlay/connlimit"
)

// Clients without a certificate fill the port: a peer that has proved itself, and waits
// for longer than they, stays.
func TestStrangersPushNoPeerOut(t *testing.T) {
	w := newWorld(t)
	const most = 4
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	set := connlimit.New(most, most)
	ctx, cancel := context.WithCancel(context.Background())
	var g sync.WaitGroup
	t.Cleanup(func() { cancel(); _ = l.Close(); g.Wait() })
	g.Go(func() {
		for limited := set.Listen(l); ; {
			c, err := limited.Accept()
			if err != nil {
				return
			}
			g.Go(func() {
				defer c.Close()
				stop := context.AfterFunc(ctx, func() { _ = c.Close() })
				defer stop()
				w.port.talk(ctx, set, c)
			})
		}
	})
	w.port.addr = l.Addr()
	w.port.turns = make(chan struct{}, 1) // strangers who say nothing hold none
	x := w.dial("x1", "xcap_server")
	x.say("1 notify update sip_account a@b\n")
	x.expect("1 200 ")
	var strangers []net.Conn
	for range 3 * most {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		strangers = append(strangers, c)
	}
	for _, c := range strangers[:2*most] { // the older ones made room
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("a stranger stays")
		}
	}
	x.say("2 notify update sip_account a@b\n")
	x.expect("2 200 ")
}

// So many handshakes compute at once. One that waits for its client takes no turn.
func TestHandshakesTakeTurns(t *testing.T) {
	w := newWorld(t)
	synctest.Test(t, func(t *testing.T) {
		p, err := New(w.port.cfg)
		if err != nil {
			t.Fatal(err)
		}
		for range cap(p.turns) {
			p.turns <- struct{}{}
		}
		here, there := net.Pipe()
		go p.talk(t.Context(), connlimit.New(1, 1), there)
		sent := make(chan struct{})
		go func() {
			_, _ = here.Write([]byte{22}) // the first byte of a handshake
			close(sent)
		}()
		synctest.Wait()
		select {
		case <-sent:
			t.Error("a handshake begins while so many compute")
		default:
		}
		<-p.turns
		synctest.Wait()
		select {
		case <-sent:
		default:
			t.Error("a handshake does not begin when it is its turn")
		}
		if n := len(p.turns); n != cap(p.turns)-1 {
			t.Errorf("%d turns are taken while a handshake waits", n)
		}
		_ = here.Close()
		synctest.Wait()
		if n := len(p.turns); n != cap(p.turns)-1 {
			t.Errorf("%d turns are taken after its end", n)
		}
	})
}
