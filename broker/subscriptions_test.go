package broker_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"thor/broker"
	"thor/broker/brokertest"
	"thor/subjects"
)

// A speaker says what it likes in the NATS protocol.
type speaker struct {
	t *testing.T
	*tls.Conn
	r *bufio.Reader
}

func speak(t *testing.T, n *brokertest.Net, node string, roles ...subjects.Role) *speaker {
	t.Helper()
	c, err := tls.Dial("tcp", n.Brokers[0].Config.Listen, n.Credentials(node, roles...).ClientTLS())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return &speaker{t, c, bufio.NewReader(c)}
}

// say sends text and returns what comes until PONG or the end of the connection.
func (s *speaker) say(text string) (heard string, err error) {
	_, _ = s.Write([]byte(text + "PING\r\n")) // a connection that ended shows below
	for {
		line, err := s.r.ReadString('\n')
		if heard += line; err != nil || line == "PONG\r\n" {
			return heard, err
		}
	}
}

func several(from, to int, format string) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		b.WriteString(strings.ReplaceAll(format, "#", fmt.Sprint(i)))
	}
	return b.String()
}

// A subscription that is to end after a million messages counts as any other.
func TestSubscriptionsThatEndLaterCount(t *testing.T) {
	t.Parallel()
	const most = 10
	for name, text := range map[string]string{
		"each at once": several(0, most, "SUB _INBOX.n1.# #\r\nUNSUB # 1000000\r\n"),
		"in two steps": several(0, most, "SUB _INBOX.n1.# #\r\n") + several(0, most, "UNSUB # 2\r\n"),
		"by old names": several(0, most, "SUB _INBOX.n1.# #\r\nUNSUB # 5\r\nSUB _INBOX.n1.x# #\r\n"),
		"with blanks":  several(0, most, "SUB _INBOX.n1.# #\r\nUNSUB #  00000009\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := brokertest.New(t)
			n.Add("b1", func(c *broker.Config) { c.NodeSubscriptions = most })
			s := speak(t, n, "n1", "sip_proxy")
			if heard, err := s.say("CONNECT {}\r\n" + text); err != nil {
				t.Fatalf("%d subscriptions: %v %q", most, err, heard)
			}
			if heard, err := s.say(several(100, 101, "SUB _INBOX.n1.# #\r\n")); err == nil || !strings.Contains(heard, "limit exceeded: subscriptions") {
				t.Errorf("one more: %v %q", err, heard)
			}
			s = speak(t, n, "n2", "sip_proxy")
			if _, err := s.say("CONNECT {}\r\n" + several(0, most, "SUB _INBOX.n2.# #\r\n")); err != nil {
				t.Errorf("another node: %v", err)
			}
		})
	}
}

// Clients that make a subscription for each question do not run out of them.
func TestSubscriptionsThatEndedCountNoMore(t *testing.T) {
	t.Parallel()
	n := brokertest.New(t)
	n.Add("b1", func(c *broker.Config) { c.NodeSubscriptions = 10 })
	m := n.Dial("m1", subjects.Manager)
	if _, err := m.Subscribe(subjects.StatusGet, func(q *nats.Msg) { _ = q.Respond([]byte("x")) }); err != nil {
		t.Fatal(err)
	}
	flush(t, m)
	idle := speak(t, n, "n1", "sip_proxy") // has subscriptions that ended, and says nothing more
	heard, err := idle.say("CONNECT {}\r\n" + several(0, 10, "SUB _INBOX.n1.i# #\r\nUNSUB # 1\r\nPUB "+subjects.StatusGet+" _INBOX.n1.i# 0\r\n\r\n"))
	if err != nil {
		t.Fatal(heard, err)
	}
	for strings.Count(heard, "MSG ") < 10 {
		line, err := idle.r.ReadString('\n')
		if heard += line; err != nil {
			t.Fatal(heard, err)
		}
	}
	if _, err := idle.say(""); err != nil {
		t.Fatal(err)
	}
	nc := n.Brokers[0].Dial(append(n.Options("n1", "sip_proxy"), nats.UseOldRequestStyle())...)
	for i := range 60 { // burst of recounts: 10, each finds several
		if _, err := nc.Request(subjects.StatusGet, nil, 5*time.Second); err != nil {
			t.Fatalf("question %d: %v", i, err)
		}
	}
}

// What cannot be read counts against the node as what is too much.
func TestThreeProtocolErrorsRefuseTheNode(t *testing.T) {
	t.Parallel()
	n := brokertest.Start(t)
	m := n.Dial("m1", subjects.Manager)
	told, err := m.SubscribeSync(subjects.CutNode)
	if err != nil {
		t.Fatal(err)
	}
	flush(t, m)
	for i, bad := range []string{"GET / HTTP/1.1\r\n", "CONNECT {}\r\nCONNECT {}\r\n", "PUB a -1\r\n"} {
		s := speak(t, n, "n1", "media_relay")
		if heard, err := s.say(bad); err == nil || !strings.Contains(heard, "-ERR") {
			t.Errorf("%q: %q %v", bad, heard, err)
		}
		msg, err := told.NextMsg(soon)
		if err != nil {
			t.Fatalf("%q: managers are not told: %v", bad, err)
		}
		if x, err := subjects.ParseCut(msg.Data); err != nil || x.Node != "n1" || (x.Refused > 0) != (i == 2) {
			t.Errorf("%q: managers are told %+v, %v", bad, x, err)
		}
	}
	if err := refusal(t, n.Brokers[0], n.Options("n1", "media_relay")...); err == nil || !strings.Contains(err.Error(), "refused for") {
		t.Errorf("after three protocol errors: %v", err)
	}
	flush(t, n.Dial("n2", "media_relay"))
	for range 4 { // of one that publishes for everybody: never refused
		s := speak(t, n, "m2", subjects.Manager)
		if _, err := s.say("x\r\n"); err == nil {
			t.Error("a manager goes on")
		}
	}
	if err := refusal(t, n.Brokers[0], n.Options("m2", subjects.Manager)...); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("a manager: %v", err)
	}
}
