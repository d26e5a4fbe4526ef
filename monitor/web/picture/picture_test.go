package picture_test

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"thor/monitor/web/picture"
	"thor/overlay/lookup"
	"thor/subjects"
)

var start = time.Date(2026, 11, 30, 2, 0, 0, 0, time.UTC)

func member(node string, state subjects.State) subjects.Member {
	return subjects.Member{Node: subjects.NodeID(node), State: state, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Weight: 100, Since: start}
}

func status() *subjects.Status {
	s := &subjects.Status{V: 1, Domain: "example.net", Epoch: 2, Generation: 7, Manager: "m1", Time: start}
	s.ClearLosses()
	s.Put(subjects.Manager, subjects.Member{Node: "m1", State: subjects.Up, Attrs: subjects.Attrs{subjects.AttrExpect: "sip_proxy=5 voicemail_server=1"}})
	s.Put("sip_proxy", member("n1", subjects.Up))
	s.Put("sip_proxy", member("n2", subjects.Suspect))
	s.Put("sip_proxy", member("n3", subjects.Draining))
	return s
}

func TestARoleIsCountedAgainstWhatIsExpected(t *testing.T) {
	s := status()
	if e := s.Expected(); e["sip_proxy"] != 5 {
		t.Fatalf("the form of the attribute is another one: %v", e)
	}
	s.Lost = []subjects.Lost{{Node: "n4", Role: "sip_proxy", Since: start, Reason: "connection lost"}}
	s.Held = []subjects.Held{{Node: "n0", Role: "sip_proxy", Until: start.Add(time.Minute), Reason: "flaps"}}
	for _, c := range []struct{ expected, of int }{{7, 7}, {5, 5}, {0, 5}} { // up, suspect, draining, lost, held
		r := picture.NewRole(s, "sip_proxy", c.expected, nil)
		if r.Serving != 2 || r.Total != 3 || r.Suspect != 1 || r.Draining != 1 || r.Lost != 1 || r.Held != 1 || r.Of != c.of || !r.Short {
			t.Errorf("expected %d: %+v", c.expected, r)
		}
		var nodes []string
		for _, m := range r.Members {
			nodes = append(nodes, m.Node+" "+m.State)
		}
		if got := strings.Join(nodes, ", "); got != "n0 held, n1 up, n2 suspect, n3 draining, n4 lost" {
			t.Error(got)
		}
	}
	s.ClearLosses()
	if r := picture.NewRole(s, "sip_proxy", 0, nil); r.Short || r.Of != 3 || r.Serving != 2 {
		t.Errorf("a drain is a wish: %+v", r)
	}
	h := picture.NewHead(s, nil)
	if got := strings.Join(h.RoleNames, " "); got != "sip_proxy thor_manager voicemail_server" || !h.Healthy || h.Members != 4 {
		t.Errorf("%+v", h)
	}
	if r := picture.NewRole(s, "voicemail_server", 1, nil); r.Serving != 0 || r.Of != 1 || !r.Short || r.Members == nil {
		t.Errorf("%+v", r)
	}
	if r := picture.NewRole(s, subjects.Manager, 0, nil); !r.Members[0].Active || !r.Infrastructure {
		t.Errorf("%+v", r)
	}
}

// Of a network with sites a picture counts them, a lost one too; of one without it says nothing.
func TestSitesAreCounted(t *testing.T) {
	s := status()
	both := func() string {
		b, err := json.Marshal([]any{picture.NewHead(s, nil), picture.NewRole(s, "sip_proxy", 0, nil), picture.NewEvent(&subjects.Event{Kind: subjects.EventGuard, Detail: "panic: ams"})})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if got := both(); strings.Contains(got, `site"`) || strings.Contains(got, `"sites`) || strings.Contains(got, `"announced`) {
		t.Errorf("without sites: %s", got)
	}
	ams, fra := member("n5", subjects.Up), member("n6", subjects.Suspect)
	ams.Site, fra.AnnouncedSite = "ams", "fra"
	s.Put("sip_proxy", ams)
	s.Put("sip_proxy", fra)
	s.Lost = []subjects.Lost{{Node: "n7", Role: "sip_proxy", Since: start, Reason: subjects.SilentWith("lon")}, {Node: "n8", Role: "sip_proxy", Since: start, Reason: "connection lost"}}
	want := []picture.Site{
		{Site: "ams", Serving: 1, Total: 1}, {Site: "fra", Serving: 1, Total: 1, Suspect: 1, Announced: true}, {Site: "lon", Lost: 1, Since: start},
	}
	if h := picture.NewHead(s, nil); !slices.Equal(h.Sites, want) {
		t.Errorf("%+v", h.Sites)
	}
	at := make(map[string]string)
	for _, m := range picture.NewRole(s, "sip_proxy", 0, nil).Members {
		at[m.Node] = m.Site + "|" + m.Announced
	}
	if at["n5"] != "ams|" || at["n6"] != "|fra" || at["n7"] != "lon|" || at["n8"] != "|" || at["n1"] != "|" {
		t.Errorf("%v", at)
	}
	if e := picture.NewEvent(&subjects.Event{Kind: subjects.EventGuardEnd, Detail: "site: ams"}); e.Site != "ams" {
		t.Errorf("%+v", e)
	}
}

func TestNothingIsKnownYet(t *testing.T) {
	h := picture.NewHead(nil, []string{"no connection to a broker"})
	b, err := json.Marshal(h)
	if err != nil || h.Known || h.Healthy || strings.Contains(string(b), "null") {
		t.Errorf("%s %v", b, err)
	}
}

// What members announce may hold anything that the wire allows, passwords and HTML
// included.
func TestForeignTextIsMaskedAndPrintable(t *testing.T) {
	s := status()
	m := member("n9", subjects.Up)
	m.Reason = "mysql://thor:hunter2@db/x \u202e\x1b[31m"
	m.Attrs = subjects.Attrs{"dburi": "mysql://thor:hunter2@db/x", "password": "hunter2", "site": "<b>ams</b>"}
	s.Put("sip_proxy", m)
	e := subjects.Event{Kind: "join", Node: "n9", Detail: "mysql://thor:hunter2@db/x\x07"}
	b, err := json.Marshal([]any{picture.NewRole(s, "sip_proxy", 0, nil), picture.NewEvent(&e), picture.NewHead(s, []string{"\x1b]0;x\x07"})})
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"hunter2", "\x1b", `\u001b`, "\u202e", `\u202e`, `\u0007`, "<b>"} {
		if strings.Contains(string(b), bad) {
			t.Errorf("%q is in %s", bad, b)
		}
	}
	if !strings.Contains(string(b), "xxxxxx") || !strings.Contains(string(b), `\u003cb\u003eams`) {
		t.Errorf("%s", b)
	}
}

func table(t *testing.T, members ...lookup.Member) *lookup.Table {
	t.Helper()
	x, err := lookup.New(lookup.MinBits, members)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestTheRingSaysWhatMoved(t *testing.T) {
	a, b, c := lookup.Member{Node: "a", Weight: 100}, lookup.Member{Node: "b", Weight: 100}, lookup.Member{Node: "c", Weight: 100}
	three := table(t, a, b, c)
	before := picture.NewRing(three, nil, nil)
	total := 0
	had := make(map[string]int)
	for _, x := range before.Shares {
		total += x.Slots
		had[x.Node] = x.Slots
	}
	if total != before.Slots || before.Slots != 1<<lookup.MinBits || len(before.Shares) != 3 || before.Moved != nil {
		t.Fatalf("%+v", before)
	}
	two := table(t, a, c)
	moved, gained := picture.Change(three, two, start)
	after := picture.NewRing(two, moved, gained)
	if moved.Slots != had["b"] || moved.Pairs != 2 || !moved.At.Equal(start) {
		t.Fatalf("%+v", moved)
	}
	for _, x := range after.Shares {
		if x.Slots != had[x.Node]+x.Gained {
			t.Errorf("%s had %d, has %d, gained %d", x.Node, had[x.Node], x.Slots, x.Gained)
		}
	}
	for _, m := range moved.Moves {
		if m.From != "b" || m.To == "b" {
			t.Errorf("%+v", m)
		}
	}
	if m, _ := picture.Change(two, two, start); m != nil {
		t.Errorf("nothing moved: %+v", m)
	}
	if m, _ := picture.Change(nil, two, start); m != nil {
		t.Errorf("it is not known what was before: %+v", m)
	}
	if r := picture.NewRing(table(t), nil, nil); len(r.Shares) != 0 || r.Shares == nil {
		t.Errorf("%+v", r)
	}
}

func TestManyMovesAreCut(t *testing.T) {
	var many []lookup.Member
	for i := range picture.MaxMoves + 20 {
		many = append(many, lookup.Member{Node: subjects.NodeID("n" + string(rune('a'+i/26)) + string(rune('a'+i%26))), Weight: 100})
	}
	moved, _ := picture.Change(table(t, many...), table(t, many[1:]...), start)
	if len(moved.Moves) > picture.MaxMoves || moved.Pairs < 10 {
		t.Errorf("%d moves named of %d", len(moved.Moves), moved.Pairs)
	}
	for i := 1; i < len(moved.Moves); i++ {
		if moved.Moves[i].Slots > moved.Moves[i-1].Slots {
			t.Fatal("the largest do not come first")
		}
	}
}
