package membership

import (
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"thor/subjects"
)

var stateNames = map[state]string{
	stateUp: "up", stateInherited: "inherited", stateClosing: "closing", stateFailing: "failing", stateLost: "lost", stateSilent: "silent",
	stateHeldDown: "held down", stateLeft: "left", stateRevoked: "revoked", stateDropped: "dropped",
}

// An exhibit is a table with five members that beat, and one more that the test moves.
type exhibit struct {
	t   *testing.T
	tab *Table
	now time.Time
	seq uint64
	via string
}

func (x *exhibit) name() string {
	m := x.tab.members[key{"sip_proxy", "n1"}]
	if m == nil {
		return "none"
	}
	return stateNames[m.state()]
}

func (x *exhibit) say(node subjects.NodeID, via string, s subjects.State) {
	x.seq++
	_ = x.tab.Announce(&subjects.Announcement{
		V: 1, Node: node, Role: "sip_proxy", Boot: "a", Seq: x.seq, Via: via, State: s, Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.1")},
	}, x.now)
}

// pass lets d pass; the others beat.
func (x *exhibit) pass(d time.Duration) {
	for end := x.now.Add(d); x.now.Before(end); {
		x.now = x.now.Add(100 * time.Millisecond)
		for _, n := range []subjects.NodeID{"o1", "o2", "o3", "o4", "o5"} {
			x.say(n, "b2#1", subjects.Up)
		}
		x.tab.Advance(x.now)
	}
}

func (x *exhibit) end() {
	x.tab.Disconnect(Disconnect{Node: "n1", Boot: "a", Via: x.via, Reason: "Client Closed"}, x.now)
}

// adopt adopts what the table says, with or without the member.
func (x *exhibit) adopt(listed bool) {
	s := &subjects.Status{V: 1, Time: x.now}
	x.tab.Fill(s)
	s.Remove("sip_proxy", "n1")
	if listed {
		s.Lost, s.Held = []subjects.Lost{}, []subjects.Held{}
		s.Put("sip_proxy", subjects.Member{Node: "n1", State: subjects.Up, Weight: 100, Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.1")}})
	}
	x.tab.Adopt(s, x.now)
}

// reach brings the member into a state; nil: there is none of that name.
func reach(state string) func(x *exhibit) {
	return map[string]func(x *exhibit){
		"none": func(*exhibit) {},
		"up": func(x *exhibit) {
			x.say("n1", x.via, subjects.Up)
			x.pass(3 * time.Second)
			x.say("n1", x.via, subjects.Up)
		},
		"inherited": func(x *exhibit) { x.adopt(true) },
		"closing":   func(x *exhibit) { x.to("up"); x.end() },
		"failing":   func(x *exhibit) { x.to("up"); x.say("n1", x.via, subjects.Down) },
		"lost":      func(x *exhibit) { x.to("closing"); x.pass(3 * time.Second) },
		"silent":    func(x *exhibit) { x.to("up"); x.pass(11 * time.Second) },
		"held down": func(x *exhibit) {
			x.to("up")
			for range 3 {
				x.say("n1", x.via, subjects.Down)
				x.say("n1", x.via, subjects.Up)
			}
		},
		"left":    func(x *exhibit) { x.to("up"); x.say("n1", x.via, subjects.Leave) },
		"revoked": func(x *exhibit) { x.to("up"); x.tab.Revoked("n1", "a", "", x.now) },
		"dropped": func(x *exhibit) { x.to("inherited"); x.adopt(false) },
	}[state]
}

func (x *exhibit) to(state string) {
	x.t.Helper()
	reach(state)(x)
	if got := x.name(); got != state {
		x.t.Fatalf("it is %s, not %s", got, state)
	}
}

// happen are the events, in the order of the columns.
var happen = []func(x *exhibit){
	func(x *exhibit) { x.say("n1", "b2#7", subjects.Up) },
	func(x *exhibit) { x.say("n1", "b2#7", subjects.Down) },
	(*exhibit).end,
	func(x *exhibit) { x.end(); x.pass(3 * time.Second) },
	func(x *exhibit) { x.pass(13 * time.Second) },
	func(x *exhibit) { x.say("n1", "b2#7", subjects.Leave) },
	func(x *exhibit) { x.adopt(true) },
	func(x *exhibit) { x.adopt(false) },
}

// TestTheTableOfStates plays each cell of the table in the package comment.
func TestTheTableOfStates(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(doc), "adopted: not listed\n")
	table, _, _ = strings.Cut(table, "//\n")
	rows := 0
	for line := range strings.Lines(table) {
		f := regexp.MustCompile(`\s{2,}`).Split(strings.TrimSpace(strings.TrimPrefix(line, "//")), -1)
		if len(f) != 2+len(happen) || reach(f[0]) == nil {
			t.Fatalf("row %q", f)
		}
		rows++
		for i, want := range f[2:] {
			t.Run(f[0]+" event "+string(rune('1'+i)), func(t *testing.T) {
				x := &exhibit{t: t, tab: New(Config{}), now: time.Date(2026, 11, 30, 1, 2, 3, 0, time.UTC), via: "b2#6"}
				x.pass(12 * time.Second)
				x.to(f[0])
				m := x.tab.members[key{"sip_proxy", "n1"}]
				if yes := m.isListed(); yes != (f[1] == "yes") {
					t.Errorf("in the status: %v, the table says %q", yes, f[1])
				}
				if want == "-" {
					return
				}
				if want == "." {
					want = f[0]
				}
				if happen[i](x); x.name() != want {
					t.Errorf("leads to %s, the table says %s", x.name(), want)
				}
			})
		}
	}
	if rows != len(stateNames)+1 {
		t.Errorf("%d rows", rows)
	}
}
