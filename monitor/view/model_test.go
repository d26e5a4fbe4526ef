package view_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"

	"thor/monitor/view"
	"thor/subjects"
)

// own are the escape sequences that the model itself writes.
var own = regexp.MustCompile(`\x1b\[(1|2|7|(1;)?38;2;\d+;\d+;\d+)?m`)

// stripOwn takes them away, and nothing else.
func stripOwn(s string) string { return own.ReplaceAllString(s, "") }

// mixed is a network with one of everything.
func mixed() network {
	n := newNetwork("sipthor.net")
	n.member("media_relay", "relay1", "81.23.228.129").member("media_relay", "relay2", "85.17.186.7")
	n.member("sip_proxy", "proxy1", "81.23.228.129")
	n.member("sip_proxy", "proxy2", "81.23.228.150", state(subjects.Suspect, "OPTIONS udp:81.23.228.150:5060 timed out 2 times", 95*time.Second))
	n.member("sip_proxy", "proxy3", "85.17.186.7", state(subjects.Draining, "drained by operator ops1", 40*time.Minute))
	n.member("thor_database", "db1", "10.0.0.131", priority(10), database("mysql://sipthor:s3cr3t@db1/sipthor"))
	n.member("thor_database", "db2", "10.0.0.132", priority(50), database("mysql://sipthor:s3cr3t@db2/sipthor"))
	n.member("thor_manager", "n1", "81.23.228.150", priority(50)).member("thor_manager", "n2", "85.17.186.7", priority(50))
	n.member("thor_monitor", "n1", "81.23.228.150")
	n.member("voicemail_server", "vm1", "2001:db8::25", func(m *subjects.Member) {
		m.Plain, m.Weight, m.Attrs = true, 250, subjects.Attrs{"note": "日本語 ok", "control_port": "25061"}
	})
	return n
}

func somethingHappened() []subjects.Event {
	return []subjects.Event{
		{Time: noon.Add(-time.Hour), Kind: subjects.EventElected, Node: "n1", Detail: "epoch 3"},
		{Time: noon.Add(-40 * time.Minute), Kind: subjects.EventUpdate, Role: "sip_proxy", Node: "proxy3", Detail: "draining: drained by operator ops1"},
		{Time: noon.Add(-95 * time.Second), Kind: subjects.EventUpdate, Role: "sip_proxy", Node: "proxy2", Detail: "suspect: OPTIONS timed out 2 times"},
		{Time: noon.Add(-20 * time.Second), Kind: subjects.EventJoin, Role: "thor_monitor", Node: "n1"},
	}
}

func live(o view.Options, w, h int) view.Model {
	o.Node, o.StaleAfter = "n1", 30*time.Second
	m := view.NewModel(o).Resize(w, h)
	return m.Show(view.Picture{Status: mixed().Status, Connected: true}, noon).Happened(somethingHappened(), noon)
}

func press(m view.Model, keys ...string) view.Model {
	for _, k := range keys {
		m = m.Press(k)
	}
	return m
}

func letters(s string) []string { return strings.Split(s, "") }

// checkSize fails unless the screen fills the terminal and no more.
func checkSize(t *testing.T, what, screen string, w, h int) {
	t.Helper()
	lines := strings.Split(screen, "\n")
	if len(lines) > h {
		t.Errorf("%s: %d lines on %d rows", what, len(lines), h)
	}
	for _, l := range lines {
		if n := ansi.StringWidth(l); n > w {
			t.Errorf("%s: a line takes %d of %d columns: %q", what, n, w, l)
		}
	}
}

func TestScreensLookAsTheyShould(t *testing.T) {
	lost := view.Picture{Status: mixed().Status, Stale: true}
	for _, c := range []struct {
		file string
		m    view.Model
		w, h int
	}{
		{"110x24", live(view.Options{}, 110, 24), 110, 24},
		{"80x16", live(view.Options{}, 80, 16), 80, 16},
		{"59x9", live(view.Options{}, 59, 9), 59, 9},
		{"60x10", live(view.Options{}, 60, 10), 60, 10},
		{"filter", press(live(view.Options{}, 80, 16), append([]string{"/"}, letters("proxy TIMED")...)...), 80, 16},
		{"filter-kept", press(live(view.Options{}, 80, 16), "/", "d", "b", "enter"), 80, 16},
		{"filter-nothing", press(live(view.Options{}, 80, 16), "/", "z", "z"), 80, 16},
		{"help", press(live(view.Options{}, 80, 20), "?"), 80, 20},
		{"events", press(live(view.Options{}, 80, 12), "2"), 80, 12},
		{"roles", press(live(view.Options{}, 80, 20), "3"), 80, 20},
		{"stale", live(view.Options{}, 80, 16).Show(view.Picture{Status: mixed().Status, Stale: true, Connected: true}, noon.Add(10*time.Second)).Tick(noon.Add(12 * time.Second)), 80, 16},
		{"lost", live(view.Options{}, 80, 16).Show(lost, noon).Tick(noon.Add(12 * time.Second)), 80, 16},
		{"from-disk", view.NewModel(view.Options{}).Resize(80, 16).Show(view.Picture{Status: mixed().Status, Stale: true, FromDisk: true}, noon), 80, 16},
		{"before-anything", view.NewModel(view.Options{Domain: "sipthor.net"}).Resize(80, 10).Tick(noon), 80, 10},
		{"ascii", live(view.Options{ASCII: true}, 110, 24), 110, 24},
	} {
		screen := c.m.Render()
		checkSize(t, c.file, screen, c.w, c.h)
		golden(t, "testdata/live-"+c.file+".golden", stripOwn(screen))
		if c.file == "ascii" && strings.ContainsFunc(screen, func(r rune) bool { return r > 0x7f }) {
			t.Error("the ASCII screen is not ASCII")
		}
	}
}

func TestEveryScreenFitsEveryTerminal(t *testing.T) {
	for _, size := range [][2]int{{1, 1}, {2, 1}, {59, 50}, {60, 10}, {61, 11}, {79, 24}, {80, 19}, {80, 20}, {132, 40}, {300, 100}, {1, 100}} {
		m := live(view.Options{Color: true}, size[0], size[1])
		for _, keys := range [][]string{nil, {"2"}, {"2", "space"}, {"3"}, {"?"}, {"/", "p"}, {"l", "l", "G"}} {
			checkSize(t, fmt.Sprint(size, keys), press(m, keys...).Render(), size[0], size[1])
		}
	}
}

func TestWithoutColourNoColourIsWritten(t *testing.T) {
	coloured := live(view.Options{Color: true}, 110, 24).Render()
	plain := live(view.Options{}, 110, 24).Render()
	if !strings.Contains(coloured, "38;2;86;180;233") || !strings.Contains(coloured, "38;2;230;159;0") {
		t.Error("with colour, blue or orange is missing")
	}
	for _, seq := range []string{"\x1b[3", ";3", "\x1b[4", ";4", "\x1b[9"} {
		if strings.Contains(plain, seq) {
			t.Errorf("without colour there is %q", seq)
		}
	}
	if stripOwn(coloured) != stripOwn(plain) {
		t.Error("colour carries something that the text does not")
	}
	if light := live(view.Options{Color: true}, 110, 24).Ground(true).Render(); light == coloured || stripOwn(light) != stripOwn(plain) {
		t.Error("a light ground changes nothing, or the text")
	}
}

func TestAStalePictureStaysFadesAndTellsItsAge(t *testing.T) {
	m := live(view.Options{}, 110, 24)
	if s := m.Tick(noon.Add(time.Hour)).Render(); strings.Contains(s, "stale") {
		t.Error("a confirmed picture is called stale because time passes")
	}
	m = m.Show(view.Picture{Status: mixed().Status, Stale: true}, noon).Tick(noon.Add(12 * time.Second))
	s := m.Render()
	if !strings.Contains(s, "stale 12 s") || !strings.Contains(s, "\x1b[2m  ● up        81.23.228.129  proxy1") {
		t.Errorf("not faded, or without its age:\n%s", s)
	}
	m = m.Show(view.Picture{Status: mixed().Status, Connected: true}, noon.Add(20*time.Second))
	if s := m.Render(); strings.Contains(s, "stale") || !strings.Contains(s, "● connected") {
		t.Error("the picture stays stale after the link came back")
	}
}

func TestARoleThatVanishesKeepsItsHeading(t *testing.T) {
	s := mixed().Status.Clone()
	s.Remove("voicemail_server", "vm1")
	s.Remove("media_relay", "relay1")
	m := live(view.Options{}, 110, 40).Show(view.Picture{Status: s, Connected: true}, noon)
	got := stripOwn(m.Render())
	for _, want := range []string{"voicemail_server 0/0 was 1  ✗ no member serves", "media_relay 1/1 was 2"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// The events get the rows that the members leave free, and no row of theirs.
func TestTheLatestEventsUseFreeRows(t *testing.T) {
	var events []subjects.Event
	for i := range 60 {
		events = append(events, subjects.Event{Time: noon.Add(time.Duration(i) * time.Second), Kind: subjects.EventJoin, Role: "sip_proxy", Node: subjects.NodeID(fmt.Sprintf("e%02d", i))})
	}
	before := 0
	for height := 20; height <= 60; height++ {
		m := live(view.Options{}, 110, height).Happened(events, noon)
		screen := stripOwn(m.Render())
		checkSize(t, fmt.Sprint(height), screen, 110, height)
		shown := len(regexp.MustCompile(`\be\d\d\b`).FindAllString(screen, -1))
		if shown < before || shown < 3 || !strings.Contains(screen, " e59") {
			t.Errorf("%d rows show %d events, %d of them at one less", height, shown, before)
		}
		if !strings.Contains(press(m, "G").Render(), "vm1") {
			t.Errorf("%d rows: the last member cannot be seen", height)
		}
		if all := strings.Contains(screen, "vm1"); all && shown > 3 && strings.Contains(screen, "\n\n\n") {
			t.Errorf("%d rows: rows are empty while events wait:\n%s", height, screen)
		}
		before = shown
	}
	if before < 30 {
		t.Errorf("60 rows show %d events", before)
	}
}

func TestKeysMoveThroughThePages(t *testing.T) {
	m := live(view.Options{}, 80, 10)
	first := m.Render()
	if m = press(m, "j", "down", "k"); m.Render() == first {
		t.Error("scrolling down does nothing")
	}
	if m = press(m, "up", "k", "k"); m.Render() != first {
		t.Error("scrolling up does not end at the top")
	}
	end := press(m, "G").Render()
	if !strings.Contains(end, "vm1") || press(m, "G", "j", "pgdown").Render() != end {
		t.Error("G does not show the last member, or one can scroll past it")
	}
	if press(m, "G", "g").Render() != first {
		t.Error("g does not go back to the first")
	}
	if s := press(m, "l", "l").Render(); s == first || press(m, "l", "h").Render() != first {
		t.Error("sideways scrolling does nothing, or not back")
	}
	for keys, want := range map[string]string{
		"1": "[1 members]", "2": "[2 events]", "3": "[3 roles]", "4": "[4 lookup]", "5": "[5 name servers]", "6": "[6 brokers]",
	} {
		if !strings.Contains(press(m, keys).Render(), want) {
			t.Errorf("key %s does not show %s", keys, want)
		}
	}
	if press(m, "tab", "tab", "tab", "tab", "tab", "tab").Render() != first || press(m, "tab", "shift+tab").Render() != first {
		t.Error("tab does not go round")
	}
	for _, k := range []string{"x", "f1", "", "ctrl+x", "\x1b", "é"} {
		if press(m, k).Render() != first {
			t.Errorf("key %q does something", k)
		}
	}
}

// On a low terminal the help says that there is more, and shows it.
func TestHelpScrolls(t *testing.T) {
	const first, last = "members, events, roles", "how long no active manager"
	for _, c := range []struct {
		rows        int
		keys        []string
		top, bottom bool
	}{
		{10, nil, true, false},
		{10, []string{"G"}, false, true},
		{10, []string{"G", "g"}, true, false},
		{10, []string{"pgdown", "pgdown", "pgdown"}, false, true},
		{10, []string{"G", "esc", "?"}, true, false},
		{21, []string{"down", "down"}, true, true},
		{22, []string{"down", "G"}, true, true},
	} {
		screen := press(live(view.Options{}, 80, c.rows), append([]string{"?"}, c.keys...)...).Render()
		if strings.Contains(screen, first) != c.top || strings.Contains(screen, last) != c.bottom {
			t.Errorf("%d rows, %q:\n%s", c.rows, c.keys, screen)
		}
		if strings.Contains(screen, "scroll") != (c.rows < 22) {
			t.Errorf("%d rows: the last line says\n%s", c.rows, screen[strings.LastIndex(screen, "\n"):])
		}
	}
}

func TestQuitKeys(t *testing.T) {
	m := live(view.Options{}, 80, 24)
	for _, keys := range [][]string{{"q"}, {"ctrl+c"}, {"?", "q"}, {"/", "ctrl+c"}, {"2", "q"}} {
		if !press(m, keys...).Done() {
			t.Errorf("%q does not quit", keys)
		}
	}
	for _, keys := range [][]string{{"/", "q"}, {"esc"}, {"?", "esc"}, {"?", "?"}} {
		if press(m, keys...).Done() {
			t.Errorf("%q quits", keys)
		}
	}
}

func TestFilterIsEdited(t *testing.T) {
	m := press(live(view.Options{}, 80, 16), "/")
	for _, c := range []struct {
		keys []string
		want string
	}{
		{letters("ab"), "filter: ab▏"},
		{[]string{"a", "é", "backspace"}, "filter: a▏"},
		{[]string{"backspace"}, "filter: ▏"},
		{[]string{"a", "b", "space", "c", "ctrl+w"}, "filter: ab ▏"},
		{[]string{"a", "b", "ctrl+u"}, "filter: ▏"},
		{[]string{"a", "up", "f1", "tab"}, "filter: a▏"},
		{letters(strings.Repeat("日", 100)), "filter: 日日"},
		{[]string{"a", "enter"}, "filter: a "},
	} {
		if got := press(m, c.keys...).Render(); !strings.Contains(got+" ", c.want) {
			t.Errorf("%q: no %q in\n%s", c.keys, c.want, got)
		}
	}
	if got := m.Paste("sip\x1b[2J\nproxy").Render(); !strings.Contains(got, "filter: sip [2J proxy▏") {
		t.Errorf("pasting gives\n%s", got)
	}
	if got := press(m, "x", "enter", "esc").Render(); strings.Contains(got, "filter:") {
		t.Errorf("esc does not clear the filter:\n%s", got)
	}
}

func TestAFilterFindsNoMaskedPassword(t *testing.T) {
	m := press(live(view.Options{}, 80, 16), append([]string{"/"}, letters("s3cr3t")...)...)
	if got := m.Render(); !strings.Contains(got, "no member passes the filter") {
		t.Errorf("got\n%s", got)
	}
}

func TestPausedEventsHoldStillAndCountWhatComes(t *testing.T) {
	m := press(live(view.Options{}, 110, 24), "2", "space")
	m = m.Happened([]subjects.Event{{Time: noon, Kind: subjects.EventLeave, Role: "sip_proxy", Node: "proxy9", Detail: "died"}}, noon)
	if s := stripOwn(m.Render()); strings.Contains(s, "proxy9") || !strings.Contains(s, "paused, 1 new") {
		t.Errorf("paused:\n%s", s)
	}
	if s := stripOwn(press(m, "space").Render()); !strings.Contains(s, "proxy9") || strings.Contains(s, "paused") {
		t.Errorf("going on:\n%s", s)
	}
}

func TestEventsFollowTheNewestUntilScrolled(t *testing.T) {
	m := press(live(view.Options{}, 80, 12), "2")
	add := func(m view.Model, from, n int) view.Model {
		var es []subjects.Event
		for i := range n {
			es = append(es, subjects.Event{Time: noon, Kind: subjects.EventJoin, Role: "sip_proxy", Node: subjects.NodeID(fmt.Sprintf("n%d", from+i))})
		}
		return m.Happened(es, noon)
	}
	m = add(m, 0, 5000)
	if s := m.Render(); !strings.Contains(s, "n4999") || !strings.Contains(s, "of 1000") {
		t.Errorf("not at the newest of the last thousand:\n%s", s)
	}
	m = add(press(m, "up"), 5000, 1)
	if s := m.Render(); strings.Contains(s, "n5000") {
		t.Errorf("scrolled up, it still follows:\n%s", s)
	}
	if s := add(press(m, "G"), 5001, 1).Render(); !strings.Contains(s, "n5001") {
		t.Errorf("back at the end, it does not follow:\n%s", s)
	}
}

func TestStatesBeforeAreNotChangedByLaterOnes(t *testing.T) {
	m := live(view.Options{}, 110, 24)
	before := m.Render()
	press(m, "2", "space").Happened(somethingHappened(), noon).Resize(20, 5).Render()
	m.Show(view.Picture{}, noon.Add(time.Hour)).Tick(noon.Add(2 * time.Hour)).Render()
	if m.Render() != before {
		t.Error("a later state changed an earlier one")
	}
}

func BenchmarkRenderTenThousandMembers(b *testing.B) {
	s := newNetwork("example.org").Status
	ms := make([]subjects.Member, 10000)
	for i := range ms {
		n := newNetwork("x").member("sip_proxy", subjects.NodeID(fmt.Sprintf("n%05d", i)), fmt.Sprintf("10.0.%d.%d", i/250, i%250))
		ms[i] = n.Roles["sip_proxy"][0]
	}
	s.Roles = map[subjects.Role][]subjects.Member{"sip_proxy": ms}
	m := view.NewModel(view.Options{Color: true}).Resize(110, 40)
	for b.Loop() {
		m = m.Show(view.Picture{Status: s, Connected: true}, noon)
		m.Render()
	}
}

func TestATinyTerminalShowsAsManyRolesAsItHasLines(t *testing.T) {
	n := sipthor2009()
	for _, c := range []struct{ w, h, lines int }{{40, 12, 5}, {40, 2, 2}, {20, 5, 5}, {200, 3, 1}, {1, 1, 1}} {
		m := view.NewModel(view.Options{Node: nodeAt("81.23.228.150")}).Resize(c.w, c.h).Show(view.Picture{Status: n.Status, Connected: true}, noon)
		lines := strings.Split(m.Render(), "\n")
		if len(lines) != c.lines {
			t.Errorf("%dx%d: %d lines:\n%s", c.w, c.h, len(lines), m.Render())
		}
		if c.h > 4 && c.w == 40 && (!strings.Contains(lines[0], "healthy") || !strings.Contains(lines[3], "thor_monitor 1/1")) {
			t.Errorf("%dx%d:\n%s", c.w, c.h, m.Render())
		}
	}
}
