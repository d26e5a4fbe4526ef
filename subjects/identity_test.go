package subjects_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"thor/subjects"
)

func word() *subjects.Identity {
	return &subjects.Identity{
		V: 1, Broker: "b1", Node: "n1", Serial: "0a5f", Issuer: "c0ffee", NotAfter: time.Date(2026, 12, 24, 1, 2, 3, 0, time.UTC),
		Roles: []subjects.Role{"media_relay", "sip_proxy"}, Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.1")},
		Bounds: map[subjects.Role]subjects.Bound{"sip_proxy": {Weight: 200}},
	}
}

func TestIdentityOnTheWire(t *testing.T) {
	const want = `{"v":1,"broker":"b1","node":"n1","serial":"0a5f","issuer":"c0ffee","not_after":"2026-12-24T01:02:03Z",` +
		`"roles":["media_relay","sip_proxy"],"addresses":["10.0.0.1"],"bounds":{"sip_proxy":{"weight":200}}}`
	if got := string(word().Encode()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if _, err := subjects.ParseIdentity(subjects.IdentityOf("b1"), []byte(want)); err != nil {
		t.Error(err)
	}
}

func TestBadIdentitiesAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*subjects.Identity)
		code subjects.Code
	}{
		"another version":         {func(w *subjects.Identity) { w.V = 2 }, subjects.CodeVersion},
		"no broker":               {func(w *subjects.Identity) { w.Broker = "" }, subjects.CodeName},
		"another broker":          {func(w *subjects.Identity) { w.Broker = "b2" }, subjects.CodeForeign},
		"a wildcard":              {func(w *subjects.Identity) { w.Node = "*" }, subjects.CodeName},
		"no serial":               {func(w *subjects.Identity) { w.Serial = "" }, subjects.CodeText},
		"a serial in capitals":    {func(w *subjects.Identity) { w.Serial = "0A" }, subjects.CodeText},
		"a long serial":           {func(w *subjects.Identity) { w.Serial = strings.Repeat("a", 65) }, subjects.CodeText},
		"an issuer of words":      {func(w *subjects.Identity) { w.Issuer = "CN=ca" }, subjects.CodeText},
		"no end":                  {func(w *subjects.Identity) { w.NotAfter = time.Time{} }, subjects.CodeRange},
		"no role":                 {func(w *subjects.Identity) { w.Roles = nil }, subjects.CodeRange},
		"17 roles":                {func(w *subjects.Identity) { w.Roles = make([]subjects.Role, 17) }, subjects.CodeRange},
		"a role twice":            {func(w *subjects.Identity) { w.Roles = []subjects.Role{"a", "a"} }, subjects.CodeName},
		"an unknown role of ours": {func(w *subjects.Identity) { w.Roles[0] = "thor_root" }, subjects.CodeName},
		"33 addresses":            {func(w *subjects.Identity) { w.Addresses = make([]netip.Addr, 33) }, subjects.CodeAddress},
		"address 0.0.0.0":         {func(w *subjects.Identity) { w.Addresses[0] = netip.IPv4Unspecified() }, subjects.CodeAddress},
		"a bound of no role":      {func(w *subjects.Identity) { w.Bounds["xcap_server"] = subjects.Bound{Weight: 1} }, subjects.CodeName},
		"a bound below zero":      {func(w *subjects.Identity) { w.Bounds["sip_proxy"] = subjects.Bound{Weight: -1} }, subjects.CodeRange},
		"a bound above all":       {func(w *subjects.Identity) { w.Bounds["sip_proxy"] = subjects.Bound{Priority: 65536} }, subjects.CodeRange},
	} {
		w := word()
		c.edit(w)
		if _, err := subjects.ParseIdentity(subjects.IdentityOf("b1"), w.Encode()); subjects.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBoundsAndTheirDefaults(t *testing.T) {
	for _, c := range []struct {
		role             subjects.Role
		bound            subjects.Bound
		weight, priority int
		wantW, wantP     int
	}{
		{"sip_proxy", subjects.Bound{}, 0, 0, 100, 0},
		{"sip_proxy", subjects.Bound{}, 65535, 1, 100, 1},
		{"sip_proxy", subjects.Bound{}, 50, 50, 50, 50},
		{"sip_proxy", subjects.Bound{Weight: 200}, 65535, 0, 200, 0},
		{"sip_proxy", subjects.Bound{Weight: 30}, 0, 0, 30, 0}, // no weight is 100
		{"thor_database", subjects.Bound{}, 0, 1, 100, 10},
		{"thor_database", subjects.Bound{}, 0, 50, 100, 50},
		{"thor_database", subjects.Bound{Priority: 5}, 0, 1, 100, 5},
		{"thor_database", subjects.Bound{Priority: 5}, 0, 0, 100, 0}, // none comes last
		{"thor_manager", subjects.Bound{}, 0, 1, 100, 1},
	} {
		if w, p := c.bound.Of(c.role).Clamp(c.weight, c.priority); w != c.wantW || p != c.wantP {
			t.Errorf("%+v: %d, %d", c, w, p)
		}
	}
	both := subjects.Bound{Weight: 200, Priority: 10}.Union(subjects.Bound{Weight: 100, Priority: 5})
	if (both != subjects.Bound{Weight: 200, Priority: 5}) {
		t.Errorf("union %+v", both)
	}
}
