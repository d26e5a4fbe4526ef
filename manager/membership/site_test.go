package membership_test

import (
	"testing"
	"time"

	"thor/manager/membership"
	"thor/subjects"
)

func (h *held) site(node subjects.NodeID) (counts, announced subjects.Site) {
	h.t.Helper()
	s := &subjects.Status{}
	h.Fill(s)
	m := s.Member("sip_proxy", node)
	if m == nil {
		h.t.Fatalf("%s is not listed", node)
	}
	return m.Site, m.AnnouncedSite
}

func from(site subjects.Site) func(*subjects.Announcement) {
	return func(a *subjects.Announcement) { a.Site = site }
}

// The certificate says where a node is. What is only announced is told apart, and counts only
// where the configuration says so.
func TestASiteCountsThatTheCertificateNames(t *testing.T) {
	h := newHeld(t)
	expect := func(when string, site, announced subjects.Site) {
		t.Helper()
		if s, a := h.site("n1"); s != site || a != announced {
			t.Errorf("%s: site %q, announced %q, want %q and %q", when, s, a, site, announced)
		}
	}
	h.broker("b1", true)
	h.word("b1", "n1", "01", subjects.Identity{Addresses: addresses("10.0.0.1")})
	if err := h.say("n1", from("ams"), "10.0.0.1"); err != nil {
		t.Fatal(err)
	}
	expect("the certificate names no site", "", "ams")
	h.pass(2 * time.Second)
	h.word("b1", "n1", "02", subjects.Identity{Addresses: addresses("10.0.0.1"), Site: "ams"})
	expect("a certificate that names it is told", "ams", "")
	h.pass(2 * time.Second)
	if err := h.say("n1", from("fra"), "10.0.0.1"); err != nil {
		t.Fatal(err)
	}
	expect("another one is announced", "ams", "")
	h.pass(2 * time.Second)
	h.word("b1", "n1", "03", subjects.Identity{Addresses: addresses("10.0.0.1"), Site: "fra", NotAfter: t0.Add(time.Minute)})
	expect("a certificate for that, which ends earlier, is told too", "fra", "")
	h.pass(2 * time.Second)
	if err := h.say("n1", nil, "10.0.0.1"); err != nil {
		t.Fatal(err)
	}
	expect("none is announced, as by a client without the SDK", "ams", "")
	h.pass(2 * time.Second)
	h.word("b1", "n1", "02", subjects.Identity{Addresses: addresses("10.0.0.1")})
	expect("a broker of a version without sites tells of the same certificate", "ams", "")
	h.RevokeCertificates(func(w *subjects.Identity) bool { return w.Serial == "02" }, h.now)
	expect("the certificate is revoked that ends last", "fra", "")
}

// A certificate that has ended says nothing of the site any more.
func TestTheSiteOfAnEndedCertificateDoesNotCount(t *testing.T) {
	h := newHeld(t)
	h.broker("b1", true)
	h.word("b1", "n1", "01", subjects.Identity{Addresses: addresses("10.0.0.1"), Site: "ams"})
	h.word("b1", "n1", "02", subjects.Identity{Addresses: addresses("10.0.0.1"), Site: "fra", NotAfter: t0.Add(time.Minute)})
	beat := func() {
		if err := h.say("n1", from("fra"), "10.0.0.1"); err != nil {
			t.Error(err)
		}
	}
	beat()
	if site, _ := h.site("n1"); site != "fra" {
		t.Fatalf("site %q", site)
	}
	h.pass(25*time.Minute, beat)
	if site, announced := h.site("n1"); site != "ams" || announced != "" {
		t.Errorf("site %q, announced %q", site, announced)
	}
}

func TestAnAnnouncedSiteCountsWhereItIsTrusted(t *testing.T) {
	h := &held{Table: membership.New(membership.Config{TrustAnnouncedSites: true}), t: t, now: t0}
	h.Advance(h.now)
	if err := h.say("n1", from("ams"), "10.0.0.1"); err != nil {
		t.Fatal(err)
	}
	if s, a := h.site("n1"); s != "ams" || a != "" {
		t.Errorf("site %q, announced %q", s, a)
	}
}

// A manager that takes over knows the site from the status until a broker tells it of the
// certificate.
func TestATakeOverKeepsSites(t *testing.T) {
	h := newHeld(t)
	m := subjects.Member{Node: "n1", Addresses: addresses("10.0.0.1"), State: subjects.Up, Weight: 100, Since: t0, Site: "ams"}
	h.Adopt(&subjects.Status{V: 1, Epoch: 1, Generation: 1, Roles: map[subjects.Role][]subjects.Member{"sip_proxy": {m}}}, h.now)
	for _, said := range []subjects.Site{"ams", ""} {
		h.pass(2 * time.Second)
		if err := h.say("n1", from(said), "10.0.0.1"); err != nil {
			t.Fatal(err)
		}
		if s, a := h.site("n1"); s != "ams" || a != "" {
			t.Errorf("announced %q: site %q, announced %q", said, s, a)
		}
	}
	h.pass(2 * time.Second)
	h.word("b1", "n1", "01", subjects.Identity{Addresses: addresses("10.0.0.1"), Site: "fra"})
	if s, _ := h.site("n1"); s != "fra" {
		t.Errorf("site %q, and the certificate says fra", s)
	}
}
