package membership_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"thor/manager/membership"
	"thor/subjects"
)

// held is a table that holds members to their certificates, and a clock.
type held struct {
	*membership.Table
	t   *testing.T
	now time.Time
	seq uint64
}

func newHeld(t *testing.T) *held {
	h := &held{Table: membership.New(membership.Config{Identities: true}), t: t, now: t0}
	h.Advance(h.now)
	return h
}

// pass lets d go by; beat is called each second.
func (h *held) pass(d time.Duration, beat ...func()) {
	for end := h.now.Add(d); h.now.Before(end); {
		h.now = h.now.Add(100 * time.Millisecond)
		if h.now.Sub(t0)%time.Second == 0 {
			for _, f := range beat {
				f()
			}
		}
		h.Advance(h.now)
	}
}

func (h *held) word(broker, node, serial string, w subjects.Identity) {
	h.t.Helper()
	w.V, w.Broker, w.Node, w.Serial = 1, subjects.NodeID(broker), subjects.NodeID(node), serial
	if w.NotAfter.IsZero() {
		w.NotAfter = t0.Add(time.Hour)
	}
	if len(w.Roles) == 0 {
		w.Roles = []subjects.Role{"sip_proxy"}
	}
	if err := w.Check(); err != nil {
		h.t.Fatal(err)
	}
	h.Identity(&w, false, h.now)
}

// broker lets a broker announce itself, with the ability to tell of certificates or without.
func (h *held) broker(name string, tells bool) {
	h.t.Helper()
	a := &subjects.Announcement{V: 1, Node: subjects.NodeID(name), Role: subjects.EventServer, Addresses: addresses("10.9.0.1")}
	if tells {
		a.Attrs = subjects.Attrs{subjects.AttrIdentity: "1"}
	}
	if err := h.Announce(a, h.now); err != nil {
		h.t.Fatal(err)
	}
}

func (h *held) say(node string, edit func(*subjects.Announcement), as ...string) error {
	h.seq++
	a := &subjects.Announcement{V: 1, Node: subjects.NodeID(node), Role: "sip_proxy", Boot: "b", Seq: h.seq, Addresses: addresses(as...)}
	if edit != nil {
		edit(a)
	}
	return h.Announce(a, h.now)
}

func (h *held) beats(node string, as ...string) func() { return func() { _ = h.say(node, nil, as...) } }

// shows is what the status says of node as a proxy.
func (h *held) shows(node string) string {
	s := &subjects.Status{V: 1}
	h.Fill(s)
	m := s.Member("sip_proxy", subjects.NodeID(node))
	if m == nil {
		return "-"
	}
	return fmt.Sprint(m.Addresses, " ", m.Priority, " ", m.Weight)
}

func (h *held) want(node, shows string) {
	h.t.Helper()
	if got := h.shows(node); got != shows {
		h.t.Errorf("%s shows %s, want %s", node, got, shows)
	}
}

// happened counts the events of a kind, those of brokers aside, and forgets all.
func (h *held) happened(kind subjects.EventKind) (n int) {
	for _, e := range h.Events() {
		if e.Kind == kind && e.Role != subjects.EventServer {
			n++
		}
	}
	return n
}

func TestNewClaimWaitsForTheWordAndIsThenTakenAtOnce(t *testing.T) {
	h := newHeld(t)
	h.broker("b1", true)
	if err := h.say("n1", nil, "10.0.0.1"); err != nil {
		t.Error(err)
	}
	h.pass(20*time.Second, h.beats("n1", "10.0.0.1"), func() { h.broker("b1", true) })
	h.want("n1", "-")
	if h.Waiting() != 1 || h.happened(subjects.EventRejected) != 1 {
		t.Errorf("%d wait, and one event says so", h.Waiting())
	}
	h.word("b1", "n1", "01", subjects.Identity{Addresses: addresses("10.0.0.1")})
	h.want("n1", "[10.0.0.1] 0 100")
	if h.Waiting() != 0 {
		t.Error("still waiting")
	}
}

func TestAClaimThatWaitsEndsWithItsConnection(t *testing.T) {
	h := newHeld(t)
	h.broker("b1", true)
	_ = h.say("n1", nil, "10.0.0.1")
	h.Disconnect(membership.Disconnect{Node: "n1", Boot: "b", Reason: "Client Closed"}, h.now)
	h.word("b1", "n1", "01", subjects.Identity{Addresses: addresses("10.0.0.1")})
	h.want("n1", "-")
}

func TestClaimsAreCutToTheCertificate(t *testing.T) {
	h := newHeld(t)
	h.word("b1", "n1", "01", subjects.Identity{Addresses: addresses("10.0.0.1", "10.0.0.2"), Bounds: map[subjects.Role]subjects.Bound{"sip_proxy": {Weight: 200, Priority: 5}}})
	big := func(a *subjects.Announcement) { a.Weight, a.Priority = 65535, 1 }
	for range 5 {
		if err := h.say("n1", big, "10.0.0.2"); err != nil {
			t.Fatal(err)
		}
		h.pass(time.Second)
	}
	h.want("n1", "[10.0.0.2] 5 200")
	if n := h.happened(subjects.EventRejected); n != 1 {
		t.Errorf("%d events", n)
	}
	h.pass(10*time.Second, func() { _ = h.say("n1", big, "10.0.0.2", "127.0.0.1") }) // it lives on with what it has
	h.want("n1", "[10.0.0.2] 5 200")
	if n := h.happened(subjects.EventRejected); n != 1 {
		t.Errorf("%d events", n)
	}
	_ = h.say("n1", func(a *subjects.Announcement) { a.Weight, a.Priority = 7, 9 }, "10.0.0.1")
	h.want("n1", "[10.0.0.1] 9 7")
}

func TestAForeignAddressIsRefusedAfterASecond(t *testing.T) {
	h := newHeld(t)
	h.word("b1", "n1", "01", subjects.Identity{Addresses: addresses("10.0.0.1")})
	if err := h.say("n1", nil, "10.0.0.2"); err != nil {
		t.Errorf("at once, while another broker may know more: %v", err)
	}
	h.pass(time.Second)
	if err := h.say("n1", nil, "10.0.0.2"); subjects.CodeOf(err) != subjects.CodeAddress {
		t.Errorf("after a second: %v", err)
	}
	if h.Waiting() != 0 {
		t.Error("brokers are asked again for a liar")
	}
	h.word("b2", "n1", "02", subjects.Identity{Addresses: addresses("10.0.0.2")})
	_ = h.say("n1", nil, "10.0.0.2", "10.0.0.1")
	h.want("n1", "[10.0.0.2 10.0.0.1] 0 100") // both certificates together
}

// No member is removed or changed for want of a word.
func TestListedMembersStay(t *testing.T) {
	for name, c := range map[string]struct {
		do    func(h *held) (beats []func())
		shows string
	}{
		"take-over by a manager that knows nothing": {func(h *held) []func() {
			s := &subjects.Status{V: 1}
			h.Fill(s)
			h.Table = membership.New(membership.Config{Identities: true})
			h.Adopt(s, h.now)
			return []func(){h.beats("n1", "10.0.0.1")}
		}, "[10.0.0.1] 0 150"},
		"loss of the broker that told": {func(h *held) []func() {
			return []func(){h.beats("n1", "10.0.0.1"), func() { h.broker("b2", true) }}
		}, "[10.0.0.1] 0 150"},
		"renewal with another address, announced as before": {func(h *held) []func() {
			h.word("b1", "n1", "02", subjects.Identity{Addresses: addresses("10.0.0.2"), NotAfter: t0.Add(48 * time.Hour)})
			return []func(){h.beats("n1", "10.0.0.1")}
		}, "[10.0.0.1] 0 150"},
		"renewal with another address, announced": {func(h *held) []func() {
			h.word("b1", "n1", "02", subjects.Identity{Addresses: addresses("10.0.0.2"), NotAfter: t0.Add(48 * time.Hour)})
			return []func(){h.beats("n1", "10.0.0.2")}
		}, "[10.0.0.2] 0 100"},
		"another address before its word": {func(h *held) []func() {
			return []func(){h.beats("n1", "10.0.0.2")}
		}, "[10.0.0.1] 0 150"},
		"a broker of an earlier version": {func(h *held) []func() {
			return []func(){h.beats("n1", "10.0.0.1"), func() { h.broker("b0", false) }}
		}, "[10.0.0.1] 0 150"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHeld(t)
			h.broker("b1", true)
			h.word("b1", "n1", "01", subjects.Identity{Addresses: addresses("10.0.0.1"), Bounds: map[subjects.Role]subjects.Bound{"sip_proxy": {Weight: 150}}})
			_ = h.say("n1", func(a *subjects.Announcement) { a.Weight = 150 }, "10.0.0.1")
			h.word("b1", "n2", "0a", subjects.Identity{Addresses: addresses("10.0.0.9")})
			h.pass(2*time.Second, h.beats("n2", "10.0.0.9"))
			h.Events()
			beats := c.do(h)
			beats = append(beats, h.beats("n2", "10.0.0.9"))
			weight := strings.HasSuffix(c.shows, "150")
			if weight { // as it announced before
				beats[0] = func() {
					_ = h.say("n1", func(a *subjects.Announcement) { a.Weight = 150 }, map[bool]string{true: "10.0.0.2", false: "10.0.0.1"}[name == "another address before its word"])
				}
			}
			h.pass(2*time.Hour, beats...) // past the end of its first certificate
			if n := h.happened(subjects.EventLeave); n != 0 {
				t.Errorf("%d removals", n)
			}
			h.want("n1", c.shows)
		})
	}
}

// A manager that knew nothing took over what another one, or a disk of long ago, said.
func TestClaimsTakenOverAreComparedWithCertificates(t *testing.T) {
	said := func(m subjects.Member) *subjects.Status {
		m.Node, m.Since = "n1", t0.Add(-time.Hour)
		return &subjects.Status{V: 1, Roles: map[subjects.Role][]subjects.Member{"sip_proxy": {m}}}
	}
	for name, c := range map[string]struct {
		member  subjects.Member
		beats   bool
		late    bool // the broker tells of the certificate after ten seconds
		unknown bool // or never
		shows   string
		events  int // refusals
	}{
		"as the certificate says":           {member: subjects.Member{State: subjects.Up, Addresses: addresses("10.0.0.1"), Weight: 150}, shows: "[10.0.0.1] 0 150"},
		"a foreign address beside its own":  {member: subjects.Member{State: subjects.Up, Addresses: addresses("10.0.0.1", "10.6.6.6"), Weight: 100}, shows: "[10.0.0.1] 0 100", events: 1},
		"too heavy":                         {member: subjects.Member{State: subjects.Up, Addresses: addresses("10.0.0.1"), Weight: 9000}, shows: "[10.0.0.1] 0 150", events: 1},
		"beats with a foreign address":      {member: subjects.Member{State: subjects.Up, Addresses: addresses("10.6.6.6"), Weight: 100}, beats: true, shows: "[10.0.0.1] 0 100", events: 1},
		"suspect, the last of its role":     {member: subjects.Member{State: subjects.Suspect, Reason: "silent", Addresses: addresses("10.0.0.1", "10.6.6.6"), Weight: 9000}, shows: "[10.0.0.1] 0 150", events: 1},
		"its certificate is told later":     {member: subjects.Member{State: subjects.Up, Addresses: addresses("10.0.0.1", "10.6.6.6"), Weight: 100}, late: true, shows: "[10.0.0.1] 0 100", events: 1},
		"nothing is known of a certificate": {member: subjects.Member{State: subjects.Up, Addresses: addresses("10.0.0.1"), Weight: 150}, unknown: true, shows: "[10.0.0.1] 0 150"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHeld(t)
			h.broker("b1", true)
			word := func() {
				h.word("b1", "n1", "01", subjects.Identity{Addresses: addresses("10.0.0.1"), Bounds: map[subjects.Role]subjects.Bound{"sip_proxy": {Weight: 150}}})
			}
			h.Adopt(said(c.member), h.now)
			if !c.late && !c.unknown {
				word()
			}
			tick := []func(){func() { h.broker("b1", true) }}
			if c.beats {
				tick = append(tick, h.beats("n1", "10.6.6.6"))
			}
			h.pass(10*time.Second, tick...)
			if c.late {
				word()
			}
			h.pass(2*time.Second, tick...)
			h.want("n1", c.shows)
			if n := h.happened(subjects.EventRejected); n != c.events {
				t.Errorf("%d refusals are told, want %d", n, c.events)
			}
		})
	}
}

// Brokers and managers are upgraded in any order: members join as before while
// some broker tells nothing of certificates.
func TestMixedVersionsOfBrokers(t *testing.T) {
	h := newHeld(t)
	old, fresh := func() { h.broker("b1", false) }, func() { h.broker("b2", true) }
	h.pass(5*time.Second, old, h.beats("n1", "10.0.0.1")) // no broker tells anything
	h.want("n1", "[10.0.0.1] 0 100")
	h.word("b2", "n2", "01", subjects.Identity{Addresses: addresses("10.0.0.2")})
	_ = h.say("n3", nil, "10.0.0.3")
	h.want("n3", "-")
	h.pass(5*time.Second, old, fresh, h.beats("n1", "10.0.0.1"), h.beats("n2", "10.0.0.2"), h.beats("n3", "10.0.0.3"))
	for _, n := range []string{"n1", "n2", "n3"} {
		h.want(n, fmt.Sprintf("[10.0.0.%s] 0 100", n[1:]))
	}
	upgraded := func() { h.broker("b1", true) }
	h.pass(5*time.Second, upgraded, fresh, h.beats("n1", "10.0.0.1"), h.beats("n2", "10.0.0.2"), h.beats("n3", "10.0.0.3"), h.beats("n4", "10.0.0.4"))
	if n := h.happened(subjects.EventLeave); n != 0 {
		t.Errorf("%d removals", n)
	}
	h.want("n3", "[10.0.0.3] 0 100")
	h.want("n4", "-") // now it takes a word
}

func TestARevokedCertificateTakesOutTheDead(t *testing.T) {
	revoke := func(h *held, serials ...string) {
		h.RevokeCertificates(func(w *subjects.Identity) bool { return slices.Contains(serials, w.Serial) }, h.now)
	}
	dead := func(t *testing.T) *held {
		h := newHeld(t)
		h.word("b1", "n1", "01", subjects.Identity{Addresses: addresses("10.0.0.1")})
		_ = h.say("n1", nil, "10.0.0.1")
		h.pass(20 * time.Second)
		h.want("n1", "[10.0.0.1] 0 100") // a suspect, as the last of its role
		return h
	}
	t.Run("at once", func(t *testing.T) {
		h := dead(t)
		revoke(h, "01")
		h.want("n1", "-")
		if n := h.happened(subjects.EventRevoked); n != 1 {
			t.Errorf("%d events", n)
		}
		_ = h.say("n1", nil, "10.0.0.1")
		h.pass(3*time.Second, h.beats("n1", "10.0.0.1"))
		h.want("n1", "-")
	})
	t.Run("another certificate is revoked", func(t *testing.T) {
		h := dead(t)
		revoke(h, "02")
		h.want("n1", "[10.0.0.1] 0 100")
	})
	t.Run("another live certificate names the role", func(t *testing.T) {
		h := dead(t)
		h.word("b1", "n1", "02", subjects.Identity{Addresses: addresses("10.0.0.1")})
		revoke(h, "01")
		h.want("n1", "[10.0.0.1] 0 100")
		revoke(h, "01", "02")
		h.want("n1", "-")
	})
	t.Run("another live certificate names another role", func(t *testing.T) {
		h := dead(t)
		h.word("b1", "n1", "02", subjects.Identity{Roles: []subjects.Role{"media_relay"}, Addresses: addresses("10.0.0.1")})
		revoke(h, "01")
		h.want("n1", "-")
	})
	t.Run("by a status that was kept", func(t *testing.T) {
		h := dead(t)
		s := &subjects.Status{V: 1}
		h.Fill(s)
		words := h.Identities()
		h.Table = membership.New(membership.Config{Identities: true})
		for _, w := range words {
			h.Identity(w, true, h.now)
		}
		h.Adopt(s, h.now)
		h.want("n1", "-")
	})
	t.Run("a new certificate brings it back", func(t *testing.T) {
		h := dead(t)
		revoke(h, "01")
		h.word("b1", "n1", "02", subjects.Identity{Addresses: addresses("10.0.0.1")})
		h.pass(6 * time.Second)
		_ = h.say("n1", nil, "10.0.0.1")
		h.want("n1", "[10.0.0.1] 0 100")
	})
	t.Run("departed too", func(t *testing.T) {
		h := newHeld(t)
		h.word("b1", "n1", "01", subjects.Identity{Addresses: addresses("10.0.0.1")})
		h.word("b1", "n2", "02", subjects.Identity{Addresses: addresses("10.0.0.2")})
		_ = h.say("n1", nil, "10.0.0.1")
		_ = h.say("n2", nil, "10.0.0.2")
		_ = h.say("n1", func(a *subjects.Announcement) { a.State = subjects.Leave }, "10.0.0.1")
		if c := h.Counts(); c.Departed != 1 {
			t.Fatalf("%+v", c)
		}
		h.pass(3*time.Second, h.beats("n2", "10.0.0.2"))
		revoke(h, "01")
		if c := h.Counts(); c.Departed != 0 {
			t.Errorf("%+v", c)
		}
	})
}

// A revoked connection calls itself as it likes, and the node may have another
// certificate: what a live one covers is not disturbed.
func TestARevocationLeavesWhatALiveCertificateCovers(t *testing.T) {
	const stays = "[10.0.0.1] 0 100"
	for _, c := range []struct {
		name, boot, serial, shows, later string
		live                             subjects.Identity
	}{
		{"in the same role, by its own name", "b", "01", stays, stays, subjects.Identity{}},
		{"in the same role, by another name", "x", "01", stays, stays, subjects.Identity{}},
		{"in the same role, without a name", "", "01", stays, stays, subjects.Identity{}},
		{"one of another role", "b", "01", "-", "-", subjects.Identity{Roles: []subjects.Role{"media_relay"}}},
		{"one of another role, by another name", "x", "01", "-", "-", subjects.Identity{Roles: []subjects.Role{"media_relay"}}},
		{"one with other addresses", "b", "01", "-", "-", subjects.Identity{Addresses: addresses("10.0.0.7")}},
		{"a certificate that is not known", "b", "77", stays, stays, subjects.Identity{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHeld(t)
			if c.live.Addresses == nil {
				c.live.Addresses = addresses("10.0.0.1")
			}
			h.word("b1", "n1", "01", subjects.Identity{Addresses: addresses("10.0.0.1")})
			h.word("b1", "n1", "02", c.live)
			_ = h.say("n1", nil, "10.0.0.1")
			h.want("n1", stays)
			h.pass(3*time.Second, h.beats("n1", "10.0.0.1")) // by now all certificates are known
			h.Revoked("n1", c.boot, c.serial, h.now)         // before the manager has the list
			h.want("n1", c.shows)
			for range 20 {
				h.pass(500*time.Millisecond, h.beats("n1", "10.0.0.1"))
				h.want("n1", c.shows)
			}
			h.RevokeCertificates(func(w *subjects.Identity) bool { return w.Serial == "01" }, h.now)
			for range 20 {
				h.want("n1", c.later)
				h.pass(500*time.Millisecond, h.beats("n1", "10.0.0.1"))
			}
			h.RevokeCertificates(func(*subjects.Identity) bool { return true }, h.now)
			h.want("n1", "-")
		})
	}
}

// Refusals are events, and these are kept for days: one member makes few of them.
func TestRefusalsOfOneMemberAreToldSeldom(t *testing.T) {
	h := newHeld(t)
	h.broker("b1", true)
	h.word("b1", "n1", "01", subjects.Identity{Addresses: addresses("10.0.0.1")})
	for i := range 600 { // a minute
		_ = h.say("n1", func(a *subjects.Announcement) { a.Weight = 100 + i%7*10 }, "10.0.0.1")
		h.pass(100 * time.Millisecond)
	}
	if n := h.happened(subjects.EventRejected); n < 2 || n > 7 {
		t.Errorf("%d refusals are told in a minute", n)
	}
	h.want("n1", "[10.0.0.1] 0 100")
}
