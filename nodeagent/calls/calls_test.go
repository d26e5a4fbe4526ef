package calls_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"thor/nodeagent/calls"
	"thor/nodeagent/sets"
	"thor/overlay"
	"thor/overlay/lookup"
	"thor/subjects"
)

// status has three proxies and as many relays as are given, "r1 up".
func status(relays ...string) *subjects.Status {
	s := &subjects.Status{V: 1, Domain: "example.net", Epoch: 1, Generation: 1, Lookup: map[subjects.Role]subjects.Lookup{subjects.SIPProxy: {Bits: 18}}}
	put := func(role subjects.Role, node string, last int, state subjects.State) {
		s.Put(role, subjects.Member{
			Node: subjects.NodeID(node), State: state, Weight: 100,
			Addresses: []netip.Addr{netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", last)), netip.AddrFrom4([4]byte{192, 0, 2, byte(last)})},
		})
	}
	for i := 1; i <= 3; i++ {
		put(subjects.SIPProxy, fmt.Sprintf("p%d", i), i, subjects.Up)
	}
	for i, r := range relays {
		f := strings.Fields(r)
		put(subjects.MediaRelay, f[0], 40+i, subjects.State(f[1]))
	}
	return s
}

func find(t *testing.T, s *subjects.Status, last byte, id string) *calls.Call {
	t.Helper()
	c, err := calls.Find(s, subjects.SIPProxy, subjects.MediaRelay, netip.AddrFrom4([4]byte{192, 0, 2, last}), id)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// owner is who serves the slot of a name.
func owner(t *testing.T, s *subjects.Status, name string) subjects.NodeID {
	t.Helper()
	label, rest, _ := strings.Cut(name, ".")
	if rest != "sip-proxy.lookup.example.net" {
		t.Fatalf("name %q", name)
	}
	slot, ok := lookup.ParseLabel(18, label)
	r, err := lookup.NewRoster(18, lookup.Members(s.Roles[subjects.SIPProxy]))
	if !ok || err != nil {
		t.Fatalf("name %q: %v", name, err)
	}
	o, _, _, err := r.At(slot)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestAProxyWritesANameThatLeadsToIt(t *testing.T) {
	s := status("r1 up", "r2 up")
	names := make(map[string]bool)
	for i := byte(1); i <= 3; i++ {
		name := find(t, s, i, "a").Name
		names[name] = true
		if o := owner(t, s, name); o != subjects.NodeID(fmt.Sprintf("p%d", i)) {
			t.Errorf("%s of p%d leads to %s", name, i, o)
		}
		if other := find(t, s, i, "b").Name; other != name {
			t.Errorf("p%d writes %s and %s", i, name, other)
		}
	}
	if len(names) != 3 {
		t.Errorf("names: %v", names)
	}
	before := find(t, s, 1, "a").Name
	s.Roles[subjects.SIPProxy][0].State = subjects.Draining
	if name := find(t, s, 1, "a").Name; owner(t, s, name) == "p1" || owner(t, s, before) == "p1" {
		t.Errorf("p1 drains, and %s leads to it", name)
	}
	if o := owner(t, s, find(t, s, 99, "a").Name); o != "p2" && o != "p3" {
		t.Errorf("a proxy that is no member: %s", o)
	}
	s.Roles[subjects.SIPProxy] = nil
	if _, err := calls.Find(s, subjects.SIPProxy, subjects.MediaRelay, netip.MustParseAddr("192.0.2.1"), "a"); err == nil {
		t.Error("a name without a proxy")
	}
}

// All proxies choose the same relay of a call; one that goes takes only its own calls along,
// to where they would have gone next.
func TestTheRelayFollowsFromTheCallID(t *testing.T) {
	all := status("r1 up", "r2 up", "r3 suspect", "r4 draining")
	without := status("r1 up", "r3 up")
	count := make(map[subjects.NodeID]int)
	for i := range 300 {
		id := fmt.Sprintf("%d-7@192.0.2.77", i)
		c := find(t, all, 1, id).Relays
		if len(c) != 2 || c[0] == c[1] || c[0].Set != sets.RelaySet(c[0].Node) {
			t.Fatalf("%s: %v", id, c)
		}
		if o := find(t, all, 2, id).Relays; o[0] != c[0] || o[1] != c[1] {
			t.Errorf("%s: %v and %v", id, c, o)
		}
		count[c[0].Node]++
		want := c[0]
		if want.Node == "r2" {
			want = c[1]
		}
		if now := find(t, without, 1, id).Relays[0]; now != want {
			t.Errorf("%s was at %v, goes to %v", id, c, now)
		}
	}
	if len(count) != 3 || count["r4"] > 0 || min(count["r1"], count["r2"], count["r3"]) < 60 {
		t.Errorf("calls of each relay: %v", count)
	}
	if r := find(t, status("r1 draining"), 1, "a").Relays; len(r) != 0 {
		t.Errorf("all drain: %v", r)
	}
}

type source struct{ view overlay.View }

func (s *source) View() *overlay.View { return &s.view }

func TestThePage(t *testing.T) {
	src := &source{overlay.View{Status: status("r1 up")}}
	h := calls.Handler(src)
	ask := func(query, accept string) (int, string) {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/call?"+query, nil)
		r.Header.Set("Accept", accept)
		h.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	const good = "role=sip_proxy&address=192.0.2.1&relays=media_relay&id=6130"
	want := find(t, src.view.Status, 1, "a0")
	if code, text := ask(good, "text/plain"); code != 200 || text != fmt.Sprintf("%s\n%d\n", want.Name, sets.RelaySet("r1")) {
		t.Errorf("%d %q", code, text)
	}
	var got calls.Call
	if code, text := ask(strings.Replace(good, "192.0.2.1", "[2001:db8::1]", 1), ""); code != 200 || json.Unmarshal([]byte(text), &got) != nil ||
		got.Name != want.Name || len(got.Relays) != 1 || got.Relays[0] != want.Relays[0] {
		t.Errorf("%d %q", code, text)
	}
	for _, bad := range []string{
		"", "role=sip_proxy&address=192.0.2.1&relays=media_relay", good + "x", strings.Replace(good, "192.0.2.1", "here", 1),
		strings.Replace(good, "media_relay", "A.B", 1), strings.Replace(good, "6130", strings.Repeat("61", 1025), 1),
	} {
		if code, _ := ask(bad, ""); code != 400 {
			t.Errorf("%.80s: %d", bad, code)
		}
	}
	if code, text := ask(strings.Replace(good, "sip_proxy", "fax_server", 1), ""); code != 503 {
		t.Errorf("a role without members: %d %q", code, text)
	}
	src.view.Status = nil
	if code, _ := ask(good, ""); code != 503 {
		t.Errorf("no status: %d", code)
	}
}
