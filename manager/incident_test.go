package manager_test

import (
	"slices"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"thor/broker/brokertest"
	"thor/manager"
	"thor/manager/membership"
	"thor/overlay"
	"thor/subjects"
)

// at joins as a node of a site; a manager trusts what sites nodes announce.
func at(t *testing.T, b *brokertest.B, site subjects.Site, name string, role subjects.Role) *peer {
	t.Helper()
	n, err := overlay.New(overlay.Config{Identity: b.Identity(name, role), Options: b.Options(name, role), Site: site})
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{node: n}
	if role == subjects.Manager {
		p.mgr, err = manager.New(manager.Config{
			Overlay: n, Domain: n.Identity().Domain, Addresses: n.Identity().Addresses, Membership: membership.Config{TrustAnnouncedSites: true},
			Log: zerolog.New(zerolog.NewTestWriter(t)).With().Timestamp().Str("node", name).Logger(),
		})
	} else {
		_, err = n.Join(overlay.Member{Role: role, Addresses: n.Identity().Addresses})
	}
	if err != nil {
		t.Fatal(err)
	}
	p.run(t)
	return p
}

// The active manager asks the other one what it hears before it removes a site that fell
// silent, and that one answers managers alone.
func TestAManagerSaysWhatItHearsBeforeASilentSiteGoes(t *testing.T) {
	brokertest.InBubble(t, func(t *testing.T, b *brokertest.B) {
		m1, m2 := at(t, b, "fra", "m1", subjects.Manager), at(t, b, "lon", "m2", subjects.Manager)
		at(t, b, "fra", "n2", subjects.SIPProxy)
		// A client that stays connected and falls silent.
		mute := b.Dial("n1", subjects.SIPProxy)
		say := func(seq uint64) {
			a := &subjects.Announcement{V: 1, Node: "n1", Role: subjects.SIPProxy, Boot: "boot-n1", Seq: seq, Addresses: b.Identity("n1", subjects.SIPProxy).Addresses, Site: "ams"}
			_ = mute.Publish(subjects.Presence(subjects.SIPProxy, "n1"), a.Encode())
		}
		for seq := range uint64(20) {
			say(seq + 1)
			time.Sleep(time.Second)
		}
		hearing := func() *subjects.Hearing {
			r, err := m1.node.Ask(t.Context(), subjects.ManagerRequest("m2", subjects.VerbHears), nil)
			if err != nil {
				t.Fatal(err)
			}
			h, err := subjects.ParseHearing(r.Data)
			if err != nil {
				t.Fatal(err)
			}
			return h
		}
		if h := hearing(); h.Nodes != 5 || h.Heard != 5 || h.Sites["ams"] != 1 || h.Sites["fra"] != 2 || h.Sites["lon"] != 1 || !h.Whole() {
			t.Errorf("%+v", h)
		}
		if _, err := mute.Request(subjects.ManagerRequest("m2", subjects.VerbHears), nil, 2*time.Second); err == nil {
			t.Error("a member is answered")
		}
		say(21)
		gone := func() bool { return m2.node.View().Status.Member(subjects.SIPProxy, "n1") == nil }
		time.Sleep(14 * time.Second)
		if h := hearing(); gone() || h.Hears("ams") || h.Whole() {
			t.Errorf("gone %v, heard %+v", gone(), h)
		}
		within(t, 2*time.Second, "the site is gone", gone)
		lost := m2.node.View().Status.Lost
		if !slices.ContainsFunc(lost, func(l subjects.Lost) bool {
			return l.Node == "n1" && l.Reason == "silent, with its whole site ams" && l.SilentSite() == "ams"
		}) {
			t.Errorf("lost: %+v", lost)
		}
	})
}
