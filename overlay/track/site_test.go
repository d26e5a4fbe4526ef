package track

import (
	"net/netip"
	"testing"
	"time"

	"thor/subjects"
)

// sited is a status with n1, in site, and its tick.
func sited(site subjects.Site) (*subjects.Status, *subjects.Tick) {
	s := &subjects.Status{V: 1, Domain: "example.net", Epoch: 1, Generation: 1, Manager: "m1", Time: time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)}
	s.Put("sip_proxy", subjects.Member{Node: "n1", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, State: subjects.Up, Weight: 100, Site: site})
	s.ClearLosses()
	k := tickOf(s)
	k.SitesDigest = s.SitesDigest()
	return s, k
}

// A standby of an earlier version answers without sites. The status is current, and who holds
// it goes on asking for the sites.
func TestSitesThatAnAnswerLacksAreFetched(t *testing.T) {
	tr := New(30*time.Second, func(time.Duration) time.Duration { return 0 })
	now := time.Now()
	tr.Online(now)
	old, _ := sited("")
	s, k := sited("ams")
	answer := func(s *subjects.Status) {
		t.Helper()
		now = now.Add(time.Second)
		if req, _ := tr.Advance(now); req == nil || !req.Sites {
			t.Fatalf("asks %+v", req)
		}
		if _, err := tr.Snapshot(s, s.EncodeFull(s.Encode()), 0, now); err != nil {
			t.Fatal(err)
		}
	}
	answer(old)
	if _, err := tr.Tick(k, now); err != nil || tr.Missing() || tr.Names(k) {
		t.Fatalf("%v, missing %v", err, tr.Missing())
	}
	answer(s)
	if got := tr.Status.Member("sip_proxy", "n1").Site; got != "ams" || !tr.Names(k) {
		t.Fatalf("site %q", got)
	}
	if changed, _ := tr.Tick(k, now); changed || !tr.Next().After(now.Add(time.Second)) {
		t.Error("it asks again")
	}
	// A manager of an earlier version leads: what is known of sites is of the past.
	k.SitesDigest = ""
	if changed, _ := tr.Tick(k, now); !changed || tr.Status.Member("sip_proxy", "n1").Site != "" {
		t.Error("the sites of a manager that knows none stay")
	}
}
