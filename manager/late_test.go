package manager

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"thor/subjects"
)

// More arrives at once than there is room for: beats may be among what is lost,
// so no member is removed for silence.
func TestLostInputMakesBlind(t *testing.T) {
	inBubble(t, func(t *testing.T, m *lone) {
		m.in = make(chan *nats.Msg, 9) // room for what brokers say of certificates when asked
		stop, err := m.subscribe(m.cfg.Overlay.Conn())
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		if err := m.cfg.Overlay.Conn().Flush(); err != nil {
			t.Fatal(err)
		}
		m.leads(5, 0, 1000)
		now := func() {
			m.drain(time.Now())
			m.pass(20 * time.Millisecond)
		}
		n1 := m.broker.Dial("n1", subjects.SIPProxy)
		for i := range 50 {
			_ = n1.Publish(subjects.Presence(subjects.SIPProxy, "n1"), []byte(good(i+1)))
		}
		_ = n1.Flush()
		time.Sleep(time.Second)
		now()
		if guards := fmt.Sprint(m.core.Guards()); !strings.Contains(guards, "cut off") {
			t.Errorf("guards: %s", guards)
		}
		if !strings.Contains(m.log.String(), `"event":"missed"`) {
			t.Errorf("log: %s", m.log)
		}
		dropped := m.dropped
		now()
		if dropped < 40 || m.dropped != dropped {
			t.Errorf("missed %d, then %d", dropped, m.dropped)
		}
	})
}

// There is room for the end of a connection when what members announce has none.
func TestTheEndOfAConnectionHasItsOwnRoom(t *testing.T) {
	inBubble(t, func(t *testing.T, m *lone) {
		m.in = make(chan *nats.Msg, 64) // room for all that comes before the flood
		stop, err := m.subscribe(m.cfg.Overlay.Conn())
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		if err := m.cfg.Overlay.Conn().Flush(); err != nil {
			t.Fatal(err)
		}
		m.vouch(t)
		m.leads(5, 0, 1000)
		n2, err := nats.Connect("", append(m.broker.Options("n2", subjects.SIPProxy), nats.Name("b"))...)
		if err != nil {
			t.Fatal(err)
		}
		defer n2.Close()
		cid, err := n2.GetClientID()
		if err != nil {
			t.Fatal(err)
		}
		a := subjects.Announcement{
			V: 1, Node: "n2", Role: subjects.SIPProxy, Boot: "b", Seq: 1, Via: fmt.Sprintf("%s#%d", n2.ConnectedServerName(), cid),
			Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.1")},
		}
		if err := n2.Publish(subjects.Presence(a.Role, a.Node), a.Encode()); err != nil {
			t.Fatal(err)
		}
		n1 := m.broker.Dial("n1", subjects.SIPProxy)
		_ = n1.Publish(subjects.Presence(subjects.SIPProxy, "n1"), []byte(good(1)))
		_ = errors.Join(n1.Flush(), n2.Flush())
		synctest.Wait()
		for range 250 {
			m.drain(time.Now())
			m.pass(20 * time.Millisecond)
		}
		if n := len(m.status().Status.Roles[subjects.SIPProxy]); n != 2 {
			t.Fatalf("%d proxies in the status: %s", n, m.status().Encoded)
		}
		gone, seq := time.Duration(0), 1
		for began := time.Now(); gone == 0; time.Sleep(20 * time.Millisecond) {
			for range 200 {
				seq++
				_ = n1.Publish(subjects.Presence(subjects.SIPProxy, "n1"), []byte(good(seq)))
			}
			_ = n1.Flush()
			synctest.Wait()
			n2.Close() // there is no room now
			synctest.Wait()
			m.drain(time.Now())
			m.step(time.Now())
			if m.status().Status.Member(subjects.SIPProxy, "n2") == nil {
				gone = time.Since(began)
			}
			if time.Since(began) > 5*time.Second {
				t.Fatalf("missed %d, status %s", m.dropped, m.status().Encoded)
			}
		}
		if m.dropped < 40 || gone > 3*time.Second { // the grace of one that was not heard for long, twice at most
			t.Errorf("gone after %v, missed %d", gone, m.dropped)
		}
	})
}
