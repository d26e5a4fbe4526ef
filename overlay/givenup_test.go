package overlay_test

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"thor/identity"
	"thor/overlay"
	"thor/subjects"
)

// A broker may answer with an error that the client library does not know; that closes the
// connection for good. The process ends then, with what was said, and does not go on
// unheard.
func TestAnErrorThatEndsTheConnectionForGoodEndsRun(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		fmt.Fprint(c, `INFO {"server_id":"X","server_name":"b1","version":"2.12.0","proto":1,"headers":true,"client_id":7,"max_payload":1048576}`+"\r\n")
		for in := bufio.NewScanner(c); in.Scan(); {
			switch {
			case in.Text() == "PING":
				fmt.Fprint(c, "PONG\r\n")
			case strings.HasPrefix(in.Text(), "SUB "+subjects.Answers("n1")):
				fmt.Fprint(c, "-ERR 'a new kind of trouble'\r\n")
			}
		}
	}()
	n, err := overlay.New(overlay.Config{
		Identity: &identity.Identity{Node: "n1", Roles: []subjects.Role{subjects.SIPProxy}}, Brokers: []string{"nats://" + l.Addr().String()}, Log: testLog(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- n.Run(t.Context()) }()
	select {
	case err := <-done:
		if err == nil || !strings.Contains(err.Error(), "ended for good: nats: a new kind of trouble") {
			t.Errorf("Run: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("Run goes on")
	}
}
