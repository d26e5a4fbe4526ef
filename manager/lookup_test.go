package manager_test

import (
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"thor/broker/brokertest"
	"thor/manager"
	"thor/overlay"
	"thor/overlay/lookup"
	"thor/subjects"
)

// candidateWith is candidate with lookup tables of other sizes.
// Each line of its log goes to hear.
func candidateWith(t *testing.T, b *brokertest.B, name string, bits map[subjects.Role]int, hear func(string)) *peer {
	t.Helper()
	p := join(t, b, name, subjects.Manager)
	m, err := manager.New(manager.Config{
		Overlay: p.node, Domain: p.node.Identity().Domain, Addresses: p.node.Identity().Addresses, Lookup: bits,
		Log: zerolog.New(io.MultiWriter(zerolog.NewTestWriter(t), lines(hear))).With().Timestamp().Logger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	p.mgr = m
	p.run(t)
	return p
}

// lines makes a writer of a function.
type lines func(string)

func (f lines) Write(p []byte) (int, error) {
	f(string(p))
	return len(p), nil
}

// heard collects what is published on a subject.
func heard(t *testing.T, p *peer, subject string) <-chan *nats.Msg {
	t.Helper()
	ch := make(chan *nats.Msg, 10_000)
	if _, err := p.node.Conn().ChanSubscribe(subject, ch); err != nil {
		t.Fatal(err)
	}
	return ch
}

func TestStatusNamesTheTableOfEachRole(t *testing.T) {
	brokertest.InBubble(t, func(t *testing.T, b *brokertest.B) {
		candidateWith(t, b, "m1", map[subjects.Role]int{"voicemail_server": 10, "xcap_server": 0}, func(string) {})
		watcher := join(t, b, "w1", subjects.Monitor)
		watcher.run(t)
		<-watcher.node.Ready()
		ticks, views := heard(t, watcher, subjects.StatusTick), heard(t, watcher, subjects.View(subjects.SIPProxy))
		for n, r := range map[string]subjects.Role{
			"n1": subjects.SIPProxy, "n2": subjects.SIPProxy, "n3": subjects.VoicemailServer, "n4": subjects.XCAPServer,
			"n5": subjects.MediaRelay, "n6": subjects.ProvisioningServer, "n7": "own_role",
		} {
			member(t, b, n, r)
		}
		status := func() *subjects.Status { return watcher.node.View().Status }
		within(t, 10*time.Second, "all joined", func() bool { return status() != nil && len(status().Roles) == 8 })
		s := status()
		want := map[subjects.Role]int{subjects.SIPProxy: 18, subjects.VoicemailServer: 10, "own_role": 18}
		if len(s.Lookup) != len(want) {
			t.Errorf("lookups: %+v", s.Lookup)
		}
		for r, bits := range want {
			table, err := lookup.New(bits, lookup.Members(s.Roles[r]))
			if err != nil {
				t.Fatal(err)
			}
			if got := s.Lookup[r]; got != (subjects.Lookup{Bits: bits, Digest: table.Digest()}) {
				t.Errorf("%s: %+v, want %d bits, %s", r, got, bits, table.Digest())
			}
		}
		time.Sleep(10 * time.Second)
		k, err := subjects.ParseTick(last(t, ticks).Data)
		if err != nil || k.Lookup[subjects.SIPProxy] != s.Lookup[subjects.SIPProxy] {
			t.Errorf("tick: %+v %v", k, err)
		}
		v, err := subjects.ParseRoleView(last(t, views).Data)
		if err != nil || v.Lookup == nil || *v.Lookup != s.Lookup[subjects.SIPProxy] {
			t.Errorf("view: %+v %v", v, err)
		}
	})
}

// last is the newest message of ch.
func last(t *testing.T, ch <-chan *nats.Msg) (m *nats.Msg) {
	t.Helper()
	for {
		select {
		case m = <-ch:
		default:
			if m == nil {
				t.Fatal("nothing was heard")
			}
			return m
		}
	}
}

// A manager that would spread subscribers over another number of slots must not
// lead, even when it is the only one left, and says why. Once nobody is in the
// role it may.
func TestManagerConfiguredForOtherSlotsStaysStandby(t *testing.T) {
	brokertest.InBubble(t, func(t *testing.T, b *brokertest.B) {
		good := candidate(t, b, "m1", "")
		proxy := member(t, b, "n1", subjects.SIPProxy)
		watcher := join(t, b, "w1", subjects.Monitor)
		watcher.run(t)
		status := func() *subjects.Status { return watcher.node.View().Status }
		within(t, 10*time.Second, "n1 is in", func() bool { return status() != nil && status().Member(subjects.SIPProxy, "n1") != nil })
		events := heard(t, watcher, subjects.Events)

		var elected atomic.Int32
		odd := candidateWith(t, b, "m2", map[subjects.Role]int{subjects.SIPProxy: 20}, func(line string) {
			if strings.Contains(line, `"event":"elected"`) && strings.Contains(line, "became the active manager") {
				elected.Add(1)
			}
		})
		reason := func() string {
			if m := status().Member(subjects.Manager, "m2"); m != nil {
				return m.Attrs["held_back"]
			}
			return ""
		}
		within(t, 10*time.Second, "m2 says why it will not lead", func() bool { return reason() != "" })
		if r := reason(); !strings.Contains(r, "sip_proxy") || !strings.Contains(r, "2^20") || !strings.Contains(r, "2^18") {
			t.Errorf("reason: %s", r)
		}
		within(t, 5*time.Second, "event", func() bool { return hasEvent(t, events, subjects.EventLookup, "m2") })

		good.stop()
		time.Sleep(time.Minute)
		if odd.mgr.Active() {
			t.Fatal("a manager with other slots leads")
		}
		again := candidate(t, b, "m3", "")
		within(t, 20*time.Second, "m3 leads", again.mgr.Active)
		if n := elected.Load(); n != 0 {
			t.Errorf("m2 took the lease %d times, in vain", n)
		}
		proxy.stop()
		within(t, 20*time.Second, "nobody is in the role", func() bool { return status().Roles[subjects.SIPProxy] == nil && reason() == "" })
		again.stop()
		within(t, 20*time.Second, "m2 leads", odd.mgr.Active)
		member(t, b, "n2", subjects.SIPProxy)
		within(t, 20*time.Second, "the role has the new number of slots", func() bool { return status().Lookup[subjects.SIPProxy].Bits == 20 })
	})
}

func hasEvent(t *testing.T, ch <-chan *nats.Msg, kind subjects.EventKind, node subjects.NodeID) bool {
	t.Helper()
	for {
		select {
		case m := <-ch:
			e, err := subjects.ParseEvent(m.Data)
			if err != nil {
				t.Fatal(err)
			}
			if e.Kind == kind && e.Node == node {
				return true
			}
		default:
			return false
		}
	}
}

// What a member says of its own table reaches the operators once.
func TestManagerTellsOfMembersWhoseTableDiffers(t *testing.T) {
	brokertest.InBubble(t, func(t *testing.T, b *brokertest.B) {
		candidate(t, b, "m1", "")
		watcher := join(t, b, "w1", subjects.Monitor)
		watcher.run(t)
		<-watcher.node.Ready()
		events := heard(t, watcher, subjects.Events)
		n := join(t, b, "n1", subjects.SIPProxy)
		ms, err := n.node.Join(overlay.Member{
			Role: subjects.SIPProxy, Addresses: n.node.Identity().Addresses, Attrs: subjects.Attrs{subjects.LookupDiffers: "sip_proxy: computed 1, told 2"},
		})
		if err != nil {
			t.Fatal(err)
		}
		n.run(t)
		within(t, 10*time.Second, "event", func() bool { return hasEvent(t, events, subjects.EventLookup, "n1") })
		time.Sleep(10 * time.Second)
		if hasEvent(t, events, subjects.EventLookup, "n1") {
			t.Error("the same was told again")
		}
		ms.Update(func(m *overlay.Member) { m.Attrs = nil })
		within(t, 10*time.Second, "its end", func() bool { return hasEvent(t, events, subjects.EventLookup, "n1") })
	})
}

func TestImpossibleSlotsAreRefused(t *testing.T) {
	brokertest.InBubble(t, func(t *testing.T, b *brokertest.B) {
		for _, c := range []map[subjects.Role]int{
			{subjects.SIPProxy: 9}, {subjects.SIPProxy: 25}, {subjects.SIPProxy: -1}, {subjects.Database: 18}, {"Sip": 18},
		} {
			p := join(t, b, "m1", subjects.Manager)
			if _, err := manager.New(manager.Config{Overlay: p.node, Domain: p.node.Identity().Domain, Addresses: p.node.Identity().Addresses, Lookup: c}); err == nil {
				t.Errorf("%v accepted", c)
			}
		}
	})
}
