package batch_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"thor/dnsagent/batch"
)

func listen(t *testing.T, addr string) *net.UDPConn {
	t.Helper()
	pc, err := net.ListenPacket("udp", addr)
	if err != nil {
		t.Skipf("no socket at %s: %v", addr, err)
	}
	t.Cleanup(func() { _ = pc.Close() })
	_ = pc.SetDeadline(time.Now().Add(20 * time.Second))
	return pc.(*net.UDPConn)
}

func TestEveryPacketGetsItsReply(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		server := listen(t, addr)
		c, err := batch.New(server, 100, 200)
		if err != nil {
			t.Fatal(err)
		}
		const packets = 3*batch.Max + 1
		clients := []*net.UDPConn{listen(t, addr), listen(t, addr)}
		for i := range packets {
			if _, err := clients[i%2].WriteTo(fmt.Appendf(nil, "%d of %d", i, i%2), server.LocalAddr()); err != nil {
				t.Fatal(err)
			}
		}
		for got, most := 0, 0; got < packets; {
			n, err := c.Receive()
			if err != nil {
				t.Fatal(err)
			}
			for i := range n {
				if from := c.From(i); from != server.LocalAddr().(*net.UDPAddr).AddrPort().Addr() {
					t.Fatalf("packet from %s", from)
				}
				c.Reply(i, copy(c.Room(), append([]byte("reply to "), c.Packet(i)...)))
			}
			if failed := c.Send(); failed != 0 {
				t.Fatalf("%d of %d were not sent", failed, n)
			}
			got, most = got+n, max(most, n)
			if got == packets && most < batch.Max {
				t.Errorf("at most %d packets at once", most)
			}
		}
		b := make([]byte, 300)
		for i := range packets {
			n, err := clients[i%2].Read(b)
			if want := fmt.Sprintf("reply to %d of %d", i, i%2); err != nil || string(b[:n]) != want {
				t.Fatalf("%q, %v, want %q", b[:n], err, want)
			}
		}
	}
}

func TestALongPacketIsCutAndAReplyThatCannotBeSentHarmsNoOther(t *testing.T) {
	server, client := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	c, err := batch.New(server, 10, 1<<17)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := client.WriteTo([]byte("0123456789abcdef"), server.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	failed := 0
	for got := 0; got < 2; {
		n, err := c.Receive()
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if p := string(c.Packet(i)); p != "0123456789" {
				t.Errorf("packet %q", p)
			}
			if got+i == 0 {
				c.Reply(i, 1<<17) // no datagram is that long
			} else {
				c.Reply(i, copy(c.Room(), "fine"))
			}
		}
		failed += c.Send()
		got += n
	}
	b := make([]byte, 100)
	if n, err := client.Read(b); failed != 1 || err != nil || string(b[:n]) != "fine" {
		t.Errorf("%d failed, then %q, %v", failed, b[:n], err)
	}
}

func TestTheDeadlineEndsReceive(t *testing.T) {
	server := listen(t, "127.0.0.1:0")
	c, err := batch.New(server, 10, 10)
	if err != nil {
		t.Fatal(err)
	}
	_ = server.SetReadDeadline(time.Unix(1, 0))
	if _, err := c.Receive(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
}
