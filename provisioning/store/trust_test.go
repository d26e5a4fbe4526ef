package store_test

import (
	"fmt"
	"slices"
	"testing"

	"thor/overlay/subscriber"
	"thor/provisioning/ngnpro"
)

func TestTrust(t *testing.T) {
	w := newWorld(t)
	w.domain("d.example")
	w.domain("e.example")
	w.ok(w.Peers.Add(w.ctx, admin, &ngnpro.TrustedPeer{IP: "192.0.2.1", Transit: new(true)}))
	w.ok(w.Peers.Add(w.ctx, admin, &ngnpro.TrustedPeer{IP: "2001:db8::/48", Blocked: new(true)}))
	x, err := w.Pushes.Trust(w.ctx)
	w.ok(err)
	want := []subscriber.TrustedPeer{{Network: "192.0.2.1/32", Transit: true}, {Network: "2001:db8::/48", Blocked: true}}
	if !slices.Equal(x.Peers, want) || !slices.Equal(x.Domains, []string{"d.example", "e.example"}) || x.MorePeers || x.MoreDomains {
		t.Errorf("%+v", x)
	}
	w.ok(w.Peers.Delete(w.ctx, admin, "192.0.2.1"))
	if x, err = w.Pushes.Trust(w.ctx); err != nil || len(x.Peers) != 1 {
		t.Errorf("%+v, %v", x, err)
	}
}

// Of a name that is nobody's a node has to know whether it may be a stranger's.
func TestServed(t *testing.T) {
	w := newWorld(t)
	w.domain("d.example")
	w.account("a@d.example")
	_, err := w.Accounts.Delete(w.ctx, admin, id("a@d.example"))
	w.ok(err)
	for key, want := range map[string]bool{"a@d.example": true, "never@d.example": true, "never@else.example": false} {
		if x, err := w.Pushes.Subscriber(w.ctx, key); err != nil || !x.Deleted || x.Served != want {
			t.Errorf("%s: %+v, %v", key, x, err)
		}
	}
}

// The phonebook matters to nodes as far as accept rules name its groups.
func TestMembersOfAcceptedGroups(t *testing.T) {
	w := newWorld(t)
	w.domain("d.example")
	w.account("a@d.example")
	a := id("a@d.example")
	entry := func(user, group string) *ngnpro.PhonebookEntry {
		return &ngnpro.PhonebookEntry{URI: fmt.Sprintf("sip:%s@d.example", user), Group: group}
	}
	ns, err := w.Phonebook.Add(w.ctx, admin, a, entry("m", "family"))
	if err != nil || len(ns) != 0 {
		t.Errorf("without rules nodes hear of a phonebook: %v, %v", ns, err)
	}
	_, err = w.Screening.SetAcceptRules(w.ctx, admin, a, &ngnpro.AcceptRules{Persistent: []ngnpro.AcceptRule{{Start: "08:00", Stop: "24:00", Groups: []string{"family"}, Days: 127}}})
	w.ok(err)
	before, err := w.Pushes.Subscriber(w.ctx, "a@d.example")
	w.ok(err)
	w.ok(only(w.Phonebook.Add(w.ctx, admin, a, entry("x", "other"))))
	if ns, err = w.Phonebook.Add(w.ctx, admin, a, entry("n", "family")); err != nil || len(ns) != 1 || ns[0].Revision <= before.Revision {
		t.Errorf("nodes do not hear of a phonebook: %v, %v", ns, err)
	}
	x, err := w.Pushes.Subscriber(w.ctx, "a@d.example")
	w.ok(err)
	if m := x.Accept.Members; len(m) != 1 || !slices.Equal(m["family"], []string{"sip:m@d.example", "sip:n@d.example"}) {
		t.Errorf("members %v", m)
	}
	w.ok(only(w.Phonebook.Delete(w.ctx, admin, a, "sip:m@d.example")))
	if x, err = w.Pushes.Subscriber(w.ctx, "a@d.example"); err != nil || len(x.Accept.Members["family"]) != 1 {
		t.Errorf("%+v, %v", x.Accept, err)
	}
	w.check()
}
