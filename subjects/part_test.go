package subjects_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"thor/subjects"
)

var (
	partRoles     = []subjects.Role{"media_relay", "sip_proxy", "thor_database"}
	partAddresses = []netip.Addr{netip.MustParseAddr("192.0.2.1")}
)

// nextStatus is s with some random changes of members, lookups and losses.
func nextStatus(r *rand.Rand, s *subjects.Status) *subjects.Status {
	at := time.Date(2026, 11, 24, 1, 2, 3, 0, time.UTC)
	n := s.Clone()
	n.Generation++
	for range 1 + r.IntN(3) {
		role, node := partRoles[r.IntN(len(partRoles))], subjects.NodeID(fmt.Sprintf("n%d", r.IntN(6)))
		out := func(p subjects.Pair) bool { return p == subjects.Pair{Node: node, Role: role} }
		n.Remove(role, node)
		n.Lost = slices.DeleteFunc(n.Lost, func(l subjects.Lost) bool { return out(l.Pair()) })
		n.Held = slices.DeleteFunc(n.Held, func(h subjects.Held) bool { return out(h.Pair()) })
		switch r.IntN(5) {
		case 0, 1:
			n.Put(role, subjects.Member{Node: node, State: subjects.Up, Weight: 1 + r.IntN(100), Since: at, Addresses: partAddresses})
		case 2:
			n.Lost = append(n.Lost, subjects.Lost{Node: node, Role: role, Since: at, Reason: "silent", Addresses: partAddresses})
		case 3:
			n.Held = append(n.Held, subjects.Held{Node: node, Role: role, Until: at, Reason: "flaps"})
		case 4:
			n.Lookup = map[subjects.Role]subjects.Lookup{role: {Bits: 18, Digest: fmt.Sprintf("%016x", r.IntN(4))}}
		}
		slices.SortFunc(n.Lost, func(a, b subjects.Lost) int { return a.Pair().Compare(b.Pair()) })
		slices.SortFunc(n.Held, func(a, b subjects.Held) int { return a.Pair().Compare(b.Pair()) })
	}
	return n
}

// Who follows some roles by their deltas has what the status says of them: each
// part is told, and no part that did not change.
func TestDeltasByRoleLeadToThePartsOfTheNextStatus(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	s := &subjects.Status{V: 1, Domain: "example.net", Epoch: 1, Generation: 1, Manager: "m1", Roles: map[subjects.Role][]subjects.Member{}}
	s.ClearLosses()
	told := 0
	for range 2000 {
		next := nextStatus(r, s)
		digests := next.RoleDigests()
		parts := subjects.Diff(s, next).ByRole(next)
		for _, role := range partRoles {
			have := s.Part([]subjects.Role{role})
			i := slices.IndexFunc(parts, func(d *subjects.RoleDelta) bool { return d.Role == role })
			if differs := s.RoleDigest(role) != next.RoleDigest(role); differs != (i >= 0) {
				t.Fatalf("%s differs: %v, told: %v", role, differs, i >= 0)
			}
			if want, ok := digests[role]; !ok && next.RoleDigest(role) != subjects.NoRoleDigest || ok && want != next.RoleDigest(role) {
				t.Fatalf("digest of %s: %q", role, want)
			}
			if i < 0 {
				continue
			}
			told++
			parts[i].Digest = next.RoleDigest(role)
			data, header := parts[i].Message()
			d, err := subjects.ReadRoleDelta(role, func(k string) string { return header[k] }, data)
			if err != nil {
				t.Fatal(err)
			}
			got, ok := have.ApplyRole(d)
			if !ok {
				t.Fatalf("%s does not lead from %s", data, have.EncodeFull(have.Encode()))
			}
			got, encoded := got.Moved(next.Mark(), next.Manager, next.Time, got.Encode())
			want := next.Part([]subjects.Role{role})
			if string(encoded) != string(want.Encode()) || string(got.EncodeFull(encoded)) != string(want.EncodeFull(want.Encode())) {
				t.Fatalf("got %s, want %s", encoded, want.Encode())
			}
			if _, ok := want.ApplyRole(&subjects.RoleDelta{V: 1, Role: role, Digest: have.RoleDigest(role), Lookup: d.Lookup}); ok {
				t.Fatal("a delta that leads elsewhere applies")
			}
			if string(have.Encode()) != string(s.Part([]subjects.Role{role}).Encode()) {
				t.Fatal("the status before was written to")
			}
		}
		s = next
	}
	if told < 1000 {
		t.Errorf("%d deltas", told)
	}
}

func TestPartOfAStatus(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	s := &subjects.Status{V: 1, Domain: "example.net", Epoch: 3, Generation: 7, Manager: "m1", Roles: map[subjects.Role][]subjects.Member{}}
	s.ClearLosses()
	for range 40 {
		s = nextStatus(r, s)
	}
	s.Departed = []subjects.Departed{{Node: "n9"}}
	p := s.Part([]subjects.Role{"thor_database", "sip_proxy", "sip_proxy", "voicemail_server"})
	if want := []subjects.Role{"sip_proxy", "thor_database", "voicemail_server"}; !slices.Equal(p.Only, want) {
		t.Errorf("limited to %v", p.Only)
	}
	if len(p.Departed) != 0 || p.Roles["media_relay"] != nil || p.Mark() != s.Mark() || !p.LossesKnown() {
		t.Errorf("part %s", p.Encode())
	}
	if string(p.Encode()) != string(reflected(p)) {
		t.Errorf("encoded as %s", p.Encode())
	}
	full := p.EncodeFull(p.Encode())
	again, err := subjects.ParseStatus(full)
	if err != nil {
		t.Fatal(err)
	}
	for _, role := range p.Only {
		if again.RoleDigest(role) != s.RoleDigest(role) {
			t.Errorf("%s has another digest in the part", role)
		}
	}
	if !again.Covers([]subjects.Role{"sip_proxy"}) || again.Covers(partRoles) || !s.Covers(partRoles) {
		t.Error("what the part covers")
	}
	if strings.Contains(string(s.Encode()), `"only"`) {
		t.Error("a whole status names roles")
	}
	m := subjects.Mark{Epoch: 4, Generation: 9}
	at := time.Date(2026, 11, 24, 1, 2, 4, 0, time.UTC)
	moved, encoded := p.Moved(m, "m2", at, p.Encode())
	if moved.Mark() != m || string(encoded) != string(moved.Encode()) || p.Mark() == m {
		t.Errorf("moved: %s", encoded)
	}
	for name, bad := range map[string]string{
		"another role":       `{"v":1,"roles":{"sip_proxy":[]},"only":["media_relay"]}`,
		"another lookup":     `{"v":1,"roles":{},"lookup":{"sip_proxy":{"bits":18,"digest":"0123456789abcdef"}},"only":["media_relay"]}`,
		"not sorted":         `{"v":1,"roles":{},"only":["sip_proxy","media_relay"]}`,
		"twice":              `{"v":1,"roles":{},"only":["sip_proxy","sip_proxy"]}`,
		"no role name":       `{"v":1,"roles":{},"only":[""]}`,
		"more than allowed ": `{"v":1,"roles":{},"only":["a` + strings.Repeat(`","a`, subjects.MaxFollowed) + `"]}`,
	} {
		if _, err := subjects.ParseStatus([]byte(bad)); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestRoleDeltaOfAnotherSubjectOrSizeIsRefused(t *testing.T) {
	none := func(string) string { return "" }
	big := &subjects.RoleDelta{V: 1, Epoch: 1, Generation: 2, Role: "sip_proxy", Digest: "0123456789abcdef"}
	for i := range 300 {
		big.Set = append(big.Set, subjects.Member{Node: subjects.NodeID(fmt.Sprintf("n%04d", i)), State: subjects.Up, Addresses: partAddresses})
	}
	data, header := big.Message()
	if header == nil || len(data) > subjects.MaxDelta {
		t.Fatalf("%d bytes, header %v", len(data), header)
	}
	if d, err := subjects.ReadRoleDelta("sip_proxy", func(k string) string { return header[k] }, data); err != nil || len(d.Set) != 300 {
		t.Error(err)
	}
	for i := range 15_000 {
		big.Set = append(big.Set, subjects.Member{Node: subjects.NodeID(fmt.Sprintf("x%05d", i)), State: subjects.Up, Addresses: partAddresses, Reason: strings.Repeat("r", 190)})
	}
	data, header = big.Message()
	if d, err := subjects.ReadRoleDelta("sip_proxy", func(k string) string { return header[k] }, data); err != nil || !d.Reload || d.Digest != big.Digest {
		t.Errorf("too big: %+v %v", d, err)
	}
	for name, bad := range map[string]string{
		"another role":         `{"v":1,"role":"media_relay"}`,
		"another role's loss":  `{"v":1,"role":"sip_proxy","lost":{"set":[{"node":"n1","role":"media_relay"}],"gone":[]}}`,
		"another role's end":   `{"v":1,"role":"sip_proxy","held":{"set":[],"gone":[{"node":"n1","role":"media_relay"}]}}`,
		"no node":              `{"v":1,"role":"sip_proxy","set":[{"node":"*","state":"up"}]}`,
		"a mark that is a lie": `{"v":1,"role":"sip_proxy","epoch":9007199254740993}`,
		"a bad lookup":         `{"v":1,"role":"sip_proxy","lookup":{"bits":1,"digest":"0123456789abcdef"}}`,
		"a bad loss":           `{"v":1,"role":"sip_proxy","lost":{"set":[{"node":"*","role":"sip_proxy"}],"gone":[]}}`,
		"another version":      `{"v":2,"role":"sip_proxy"}`,
		"too long":             `{"v":1,"role":"sip_proxy","x":"` + strings.Repeat("x", subjects.MaxDelta) + `"}`,
	} {
		if _, err := subjects.ReadRoleDelta("sip_proxy", none, []byte(bad)); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if subjects.ChangedRole(subjects.ChangesOf("sip_proxy")) != "sip_proxy" || subjects.ChangedRole(subjects.StatusDelta) != "" || subjects.ChangedRole("thor.role.x") != "" {
		t.Error("the role of a subject")
	}
}

func TestRequestForTooManyRolesIsRefused(t *testing.T) {
	r := &subjects.SnapshotRequest{V: 1, Roles: partRoles}
	if got, err := subjects.ParseSnapshotRequest(r.Encode()); err != nil || !slices.Equal(got.Roles, partRoles) {
		t.Error(got, err)
	}
	for range subjects.MaxFollowed {
		r.Roles = append(r.Roles, "sip_proxy")
	}
	if _, err := subjects.ParseSnapshotRequest(r.Encode()); err == nil {
		t.Error("taken")
	}
	if _, err := subjects.ParseSnapshotRequest([]byte(`{"v":1,"roles":[""]}`)); err == nil {
		t.Error("a role without a name is taken")
	}
	if _, err := subjects.ParseRoleTick([]byte(`{"v":1,"roles":{"":"0123456789abcdef"}}`)); err == nil {
		t.Error("a tick with a role without a name is taken")
	}
	if _, err := subjects.ParseRoleTick([]byte(`{"v":1,"roles":{"sip_proxy":"` + strings.Repeat("0", 65) + `"}}`)); err == nil {
		t.Error("a tick with a long digest is taken")
	}
}

func TestARoleTickIsChecked(t *testing.T) {
	k, err := subjects.ParseRoleTick((&subjects.RoleTick{V: 1, Epoch: 3, Generation: 4, Beat: 2000, Members: 7, Roles: map[subjects.Role]string{"sip_proxy": "0123456789abcdef"}}).Encode())
	if err != nil || k.Mark() != (subjects.Mark{Epoch: 3, Generation: 4}) || k.Digest("sip_proxy") != "0123456789abcdef" || k.Digest("media_relay") != subjects.NoRoleDigest {
		t.Error(k, err)
	}
	for _, bad := range []string{"x", `{"v":2}`, `{"v":1,"epoch":9007199254740993}`, `{"v":1,"beat":-1}`, `{"v":1,"members":-1}`, `{"v":1,"beat":9999999}`} {
		if _, err := subjects.ParseRoleTick([]byte(bad)); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

func BenchmarkRoleDigest(b *testing.B) {
	s := &subjects.Status{V: 1, Roles: map[subjects.Role][]subjects.Member{}}
	for i := range 5000 {
		s.Roles["sip_proxy"] = append(s.Roles["sip_proxy"], subjects.Member{
			Node: subjects.NodeID(fmt.Sprintf("n%05d", i)), State: subjects.Up, Weight: 100, Since: time.Date(2026, 11, 24, 1, 2, 3, 0, time.UTC),
			Addresses: partAddresses, Attrs: subjects.Attrs{"port": "5060"},
		})
	}
	for b.Loop() {
		s.RoleDigest("sip_proxy")
	}
}
