package subjects_test

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"thor/subjects"
)

func TestParseSiteAcceptsLabelsOnly(t *testing.T) {
	for _, s := range []string{"", "ams", "eu-west-1", "-", "0", strings.Repeat("a", 32)} {
		if got, err := subjects.ParseSite(s); err != nil || got != subjects.Site(s) {
			t.Errorf("%q: %q, %v", s, got, err)
		}
	}
	for _, s := range []string{"Ams", "a b", "a.b", "ä", "a_b", "a\n", " ", strings.Repeat("a", 33)} {
		if got, err := subjects.ParseSite(s); !errors.Is(err, subjects.ErrBadSite) || got != "" {
			t.Errorf("%q: %q, %v", s, got, err)
		}
	}
}

// sited has members with a site, with an announced one, with none, and with attributes that
// look like one.
func sited() *subjects.Status {
	at := time.Date(2026, 11, 24, 1, 2, 3, 0, time.UTC)
	member := func(n subjects.NodeID) subjects.Member {
		return subjects.Member{Node: n, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, State: subjects.Up, Weight: 100, Since: at}
	}
	s := &subjects.Status{V: 1, Domain: "example.net", Epoch: 1, Generation: 2, Manager: "m1", Time: at}
	tricky := member("n1")
	tricky.Attrs = subjects.Attrs{"a": `},"site":"x"`, "announced_site": "z", "site": "y"}
	tricky.Reason = `"attrs":{},"site":"x"`
	s.Put("media_relay", tricky)
	tricky.Node, tricky.Site = "n2", "ams"
	s.Put("sip_proxy", tricky)
	for n, site := range map[subjects.NodeID]subjects.Site{"n3": "", "n4": "fra"} {
		m := member(n)
		m.AnnouncedSite = site
		s.Put("sip_proxy", m)
	}
	s.Lost, s.Held = []subjects.Lost{}, []subjects.Held{}
	return s
}

// A member of an earlier version encodes the status without sites: it is the digest of that
// which ticks and deltas have.
func TestSitesAreNoPartOfTheStatusDigest(t *testing.T) {
	s := sited()
	plain := s.WithoutSites()
	if !bytes.Equal(s.Encode(), plain.Encode()) || s.RoleDigest("sip_proxy") != plain.RoleDigest("sip_proxy") {
		t.Error("sites change the digest")
	}
	if s.SitesDigest() == "" || plain.SitesDigest() != "" || !bytes.Equal(plain.EncodeFull(plain.Encode()), plain.EncodeLosses(plain.Encode())) {
		t.Error("the sites of a status without any are told")
	}
	one := s.Clone()
	one.Roles["sip_proxy"][0].Site, one.Roles["sip_proxy"][0].AnnouncedSite = "", "ams"
	if one.SitesDigest() == s.SitesDigest() {
		t.Error("a site that counts and one that is only announced have the same digest")
	}
	if d := subjects.Diff(s, one); len(d.Changes) != 1 || d.Changes[0].Op != subjects.Updated {
		t.Errorf("%+v", d.Changes)
	}
}

func TestAFullEncodingHasTheSites(t *testing.T) {
	s := sited()
	full := s.EncodeFull(s.Encode())
	encoded, losses := subjects.SplitFull(full)
	if !bytes.Equal(encoded, s.Encode()) || losses != s.LossesDigest() {
		t.Errorf("split into\n%s\nwant\n%s", encoded, s.Encode())
	}
	got, err := subjects.ParseStatus(full)
	if err != nil || got.SitesDigest() != s.SitesDigest() || got.Member("sip_proxy", "n2").Site != "ams" || got.Member("sip_proxy", "n4").AnnouncedSite != "fra" {
		t.Errorf("%v: %s", err, full)
	}
	view, err := subjects.ParseRoleView(s.View("sip_proxy").Encode())
	if err != nil || view.Members[0].Site != "ams" || view.Members[2].Place() != "fra" {
		t.Errorf("%v: %+v", err, view)
	}
	if got := s.Places(); len(got) != 2 || got[0] != "ams" || got[1] != "fra" {
		t.Errorf("places: %v", got)
	}
	bad := sited()
	bad.Roles["sip_proxy"][0].Site = "A"
	if bad.Check() == nil {
		t.Error("a status with a malformed site passes")
	}
}

func TestAnAnnouncementNamesItsSite(t *testing.T) {
	a := &subjects.Announcement{V: 1, Node: "n1", Role: "sip_proxy", Boot: "b", Seq: 1, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Site: "ams"}
	got, err := subjects.ParseAnnouncement("thor.role.sip_proxy.n1", a.Encode())
	if err != nil || got.Site != "ams" {
		t.Fatal(got, err)
	}
	a.Name()
	b := *a
	b.Site = "fra"
	if b.Name(); a.Hash == b.Hash {
		t.Error("a short beat of another site would stand for it")
	}
	if got := b.Shorten().Restore(&b); got.Site != "fra" {
		t.Error("a short beat loses the site")
	}
	a.Site = "no site"
	if a.Check() == nil {
		t.Error("a malformed site passes")
	}
}

// The digest of the remotes goes where sites go, and no digest covers it.
func TestTheDigestOfTheRemotesGoesWithTheSites(t *testing.T) {
	plain := subjects.Lookup{Bits: 18, Digest: "0123456789abcdef"}
	odd := subjects.Attrs{"bits": "18", "digest": "0123456789abcdef", "remote_digest": "0123456789abcdef"}
	s := &subjects.Status{V: 1, Domain: "example.net", Epoch: 1, Generation: 1, Lookup: map[subjects.Role]subjects.Lookup{subjects.SIPProxy: plain, "a_role": plain}}
	s.Put(subjects.SIPProxy, subjects.Member{Node: "n1", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, State: subjects.Up, Weight: 100, Attrs: odd, Site: "ams"})
	encoded, digest := string(s.Encode()), s.RoleDigest(subjects.SIPProxy)
	with := s.Clone()
	with.Lookup[subjects.SIPProxy] = subjects.Lookup{Bits: 18, Digest: "0123456789abcdef", RemoteDigest: "fedcba9876543210"}
	if string(with.Encode()) != encoded || with.RoleDigest(subjects.SIPProxy) != digest {
		t.Errorf("a digest covers it: %s", with.Encode())
	}
	full := with.EncodeFull(with.Encode())
	got, err := subjects.ParseStatus(full)
	if err != nil || got.Lookup[subjects.SIPProxy] != with.Lookup[subjects.SIPProxy] || got.Lookup["a_role"] != plain {
		t.Errorf("%s: %v", full, err)
	}
	if head, _ := subjects.SplitFull(full); string(head) != encoded {
		t.Errorf("without sites it is %s, want %s", head, encoded)
	}
	if v := with.View(subjects.SIPProxy); !strings.Contains(string(v.Encode()), `"remote_digest":"fedcba9876543210"`) {
		t.Errorf("the list of the role: %s", v.Encode())
	}
	if w := with.WithoutSites(); w.Lookup[subjects.SIPProxy] != plain {
		t.Errorf("without sites: %+v", w.Lookup)
	}
	with.Lookup[subjects.SIPProxy] = subjects.Lookup{Bits: 18, Digest: "0123456789abcdef", RemoteDigest: "no digest"}
	if err := with.Check(); err == nil {
		t.Error("a digest that is none is accepted")
	}
}

func TestWhatSaysThatAWholeSiteIsSilent(t *testing.T) {
	for reason, want := range map[string]subjects.Site{
		subjects.SilentWith("ams"): "ams", "silent, with its whole site ams": "ams", "silent": "", "silent, with its whole site": "",
		"silent, with its whole site A B": "", "connection lost": "", "": "",
	} {
		if l := (subjects.Lost{Reason: reason}); l.SilentSite() != want {
			t.Errorf("%q: %q, want %q", reason, l.SilentSite(), want)
		}
	}
	for _, c := range []struct {
		kind   subjects.EventKind
		detail string
		want   subjects.Site
	}{
		{subjects.EventGuard, "site: ams: all 3 nodes are silent, the other sites are heard", "ams"},
		{subjects.EventGuardEnd, "site: ams", "ams"},
		{subjects.EventGuard, "site: all 3 nodes of ams are silent, the other sites are heard", ""}, // as managers of the version before say it
		{subjects.EventGuard, "panic: ams: x", ""},
		{subjects.EventLeave, "site: ams", ""},
	} {
		if e := (subjects.Event{Kind: c.kind, Detail: c.detail}); e.GuardedSite() != c.want {
			t.Errorf("%s %q: %q, want %q", c.kind, c.detail, e.GuardedSite(), c.want)
		}
	}
}
