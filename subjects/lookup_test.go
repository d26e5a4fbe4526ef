package subjects_test

import (
	"strings"
	"testing"

	"thor/subjects"
)

const otherDigest = "ffffffffffffffff"

func withLookup(s *subjects.Status, bits int, digest string, roles ...subjects.Role) *subjects.Status {
	s.Lookup = make(map[subjects.Role]subjects.Lookup)
	for _, r := range roles {
		s.Lookup[r] = subjects.Lookup{Bits: bits, Digest: digest}
	}
	return s
}

func TestDeltaCarriesLookups(t *testing.T) {
	const digest = "0123456789abcdef"
	plain := status(1, "n1")
	one := withLookup(status(2, "n1", "n2"), 18, digest, "sip_proxy")
	two := withLookup(status(3, "n1"), 18, otherDigest, "sip_proxy", "voicemail_server")
	for _, c := range []struct {
		from, to *subjects.Status
		changes  int
	}{{plain, one, 1}, {one, two, 2}, {two, plain, 2}, {one, withLookup(status(4, "n1", "n2"), 18, digest, "sip_proxy"), 0}} {
		before := string(c.from.Encode())
		d, err := subjects.ParseDelta(subjects.Diff(c.from, c.to).Encode())
		if err != nil {
			t.Fatal(err)
		}
		if len(d.Lookup) != c.changes || d.Empty() != (c.changes == 0) {
			t.Errorf("delta to %d: %+v, empty %v", c.to.Generation, d.Lookup, d.Empty())
		}
		got, enc, ok := c.from.Apply(d)
		if !ok || string(enc) != string(c.to.Encode()) || string(got.Encode()) != string(enc) {
			t.Errorf("apply to %d: %v\n%s\n%s", c.to.Generation, ok, enc, c.to.Encode())
		}
		if string(c.from.Encode()) != before {
			t.Error("apply wrote to the old status")
		}
	}
	if v := one.View("sip_proxy"); v.Lookup == nil || *v.Lookup != one.Lookup["sip_proxy"] {
		t.Errorf("view: %+v", v.Lookup)
	}
	if v := one.View("media_relay"); v.Lookup != nil {
		t.Errorf("view of a role without table: %+v", v.Lookup)
	}
}

func TestImpossibleLookupsAreRefused(t *testing.T) {
	for _, l := range []string{
		`{"bits":9,"digest":"0123456789abcdef"}`, `{"bits":25,"digest":"0123456789abcdef"}`, `{"bits":-1,"digest":"0123456789abcdef"}`,
		`{"bits":18,"digest":"0123456789ABCDEF"}`, `{"bits":18,"digest":"0123"}`, `{"bits":18}`, `{"bits":18,"digest":"\u001b123456789abcde"}`,
		`18`, `{"bits":"18","digest":"0123456789abcdef"}`,
	} {
		tail := `,"lookup":{"sip_proxy":` + l + `}}`
		with := func(b []byte, old string) []byte { return []byte(strings.TrimSuffix(string(b), old) + tail) }
		if _, err := subjects.ParseStatus(with(status(1, "n1").Encode(), `,"lookup":{}}`)); subjects.CodeOf(err) == "" {
			t.Errorf("status with %s: %v", l, err)
		}
		d := subjects.Delta{V: 1, Generation: 2}
		if _, err := subjects.ParseDelta(with(d.Encode(), "}")); subjects.CodeOf(err) == "" {
			t.Errorf("delta with %s: %v", l, err)
		}
		k := subjects.Tick{V: 1}
		if _, err := subjects.ParseTick(with(k.Encode(), "}")); subjects.CodeOf(err) == "" {
			t.Errorf("tick with %s: %v", l, err)
		}
		v := `{"v":1,"role":"sip_proxy","members":[],"lookup":` + l + `}`
		if _, err := subjects.ParseRoleView([]byte(v)); subjects.CodeOf(err) == "" {
			t.Errorf("view with %s: %v", l, err)
		}
	}
}
