package connlimit

import (
	"net"
	"net/netip"
	"strings"
	"testing"
)

// end is a connection of a test.
type end struct {
	net.Conn
	name string
}

// What makes room: the longest idle of the peer that has too many, then of all;
// clients that have proved themselves last, and nothing that is being answered.
func TestTheLongestIdleMakesRoom(t *testing.T) {
	s := New(4, 3)
	conns := make(map[string]*end)
	for _, step := range []struct{ do, want string }{
		{"enter a1", ""},
		{"enter a2", ""},
		{"busy a1", ""},
		{"done a1", ""}, // a2 waits longer now
		{"enter a3", ""},
		{"enter a4", "a2"},
		{"enter b1", ""},
		{"busy a1", ""},
		{"trust a1", ""},
		{"done a1", ""},
		{"enter c1", "a3"},
		{"busy a4", ""},
		{"busy c1", ""},
		{"enter c2", "b1"},
		{"busy c2", ""},
		{"enter c3", "a1"},
		{"busy c3", ""},
		{"enter c4", "c4"}, // of c: all are being answered
		{"enter d1", "d1"},
		{"leave a4", ""},
		{"enter d1", ""},
	} {
		what, name, _ := strings.Cut(step.do, " ")
		if conns[name] == nil {
			conns[name] = &end{name: name}
		}
		c, got := conns[name], ""
		switch what {
		case "enter":
			for _, out := range s.enter(c, name[:1]) {
				got += out.(*end).name
			}
		case "busy":
			if !s.Busy(c) {
				got = "closed"
			}
		case "trust":
			s.Trust(c)
		case "done":
			s.Done(c)
		case "leave":
			s.leave(c)
		}
		if got != step.want {
			t.Fatalf("%s: %q, want %q", step.do, got, step.want)
		}
	}
	if s.Busy(conns["b1"]) {
		t.Error("one that was closed goes on")
	}
}

type remote struct {
	net.Conn
	addr string
}

func (r remote) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(r.addr))
}

type named struct{ remote }

func (named) Peer() string { return "uid 7" }

func TestPeers(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1:5": "192.0.2.1", "[::ffff:192.0.2.1]:5": "192.0.2.1", "[::1]:5": "::1", "[2001:db8:1:2:3:4:5:6]:5": "2001:db8:1:2::",
	} {
		if got := peerOf(remote{addr: addr}); got != want {
			t.Errorf("%s: %s", addr, got)
		}
	}
	if got := peerOf(named{remote{addr: "[::1]:5"}}); got != "uid 7" {
		t.Errorf("a user: %s", got)
	}
}
