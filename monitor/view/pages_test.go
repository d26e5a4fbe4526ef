package view_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"thor/monitor/view"
	"thor/subjects"
)

// staffed is mixed with a table, name servers and brokers.
func staffed() *subjects.Status {
	n := mixed()
	attrs := func(as subjects.Attrs) func(*subjects.Member) { return func(m *subjects.Member) { m.Attrs = as } }
	n.member("thor_dnsmanager", "ns1", "192.0.2.53", attrs(subjects.Attrs{"zone": "00ff00ff00ff"}))
	n.member("thor_dnsmanager", "ns2", "192.0.2.54", attrs(subjects.Attrs{"zone": "00ff00ff00ff"}))
	n.member("thor_dnsmanager", "ns3", "192.0.2.55", attrs(subjects.Attrs{"zone": "abcdabcdabcd"}))
	for i, b := range []subjects.NodeID{"b1", "b2", "b3"} {
		n.member("thor_eventserver", b, fmt.Sprintf("192.0.2.%d", 61+i), attrs(subjects.Attrs{"clients": "8", "jetstream": "ok", "routes": "2"}))
	}
	n.Lookup = map[subjects.Role]subjects.Lookup{"sip_proxy": {Bits: 12, Digest: "0123456789abcdef"}}
	n.Losses = losing().Losses
	return n.Status
}

// answers are two answers to all that pages want, two seconds apart.
func answers(w view.Want) [2]*view.Answer {
	of := func(at time.Time, more uint64) *view.Answer {
		return &view.Answer{
			Of: w, At: at,
			Brokers: []view.Broker{
				{Node: "b1", Clients: 11, Peers: 2, In: 1000 + 60*more, Out: 5000 + 2500*more, Memory: 50 << 20, Stored: 3 << 20, Limit: 1 << 30, JetStream: true, Leader: "b2", Took: 1500 * time.Microsecond},
				{Node: "b2", Clients: 9, Peers: 1, In: 10, Out: 10, Slow: 2, Memory: 900, JetStream: true, Took: 2 * time.Millisecond},
			},
			NameServers: []view.NameServer{
				{Node: "ns1", Zone: &subjects.ZoneReport{Serial: 1287, Digest: "00ff00ff00ff", Answered: 100 + 3000*more}},
				{Node: "ns2", Zone: &subjects.ZoneReport{Serial: 1280, Digest: "00ff00ff00ff", AgeMS: 95_000, Answered: 7, Dropped: 4}},
				{Node: "ns3", Fault: "no answer within 1.5s"},
			},
			Shares: map[subjects.Role]view.Spread{"sip_proxy": {Slots: 4096, Of: []view.Share{
				{Node: "proxy1", Weight: 100, Slots: 2700, Heir: 1396}, {Node: "proxy2", Weight: 50, Slots: 1396, Heir: 2700},
			}}},
			Checks: []subjects.CheckReport{
				{Role: "sip_proxy", Name: "sip options udp 81.23.228.150:5060", State: subjects.CheckFailing, Reason: "x", Fault: "sip options udp 81.23.228.150:5060: timed out", TookMS: 2000, AgoMS: 300},
				{Role: "sip_proxy", Name: "command", State: subjects.CheckPassing, ReportOnly: true, TookMS: 12.34, AgoMS: 90_000},
				{Role: "sip_proxy", Name: "later", State: subjects.CheckUnknown},
				{Role: "media_relay", Name: "of another role", State: subjects.CheckPassing},
			},
		}
	}
	return [2]*view.Answer{of(noon.Add(-2*time.Second), 0), of(noon, 1)}
}

// desk is an operator's monitor that has got what it wants.
func desk(o view.Options, w, h int, keys ...string) view.Model {
	o.Operator = true
	m := view.NewModel(o).Resize(w, h).Show(view.Picture{Status: staffed(), Connected: true}, noon).Happened(somethingHappened(), noon)
	m = press(m, keys...)
	for _, a := range answers(m.Want()) {
		m = m.Answered(a, noon)
	}
	return m
}

func TestPagesOfTheDeskLookAsTheyShould(t *testing.T) {
	for _, c := range []struct {
		file string
		keys []string
		w, h int
	}{
		{"lookup", []string{"4"}, 100, 14},
		{"lookup-by-share", []string{"4", "s", "S"}, 100, 14},
		{"dns", []string{"5"}, 120, 14},
		{"dns-80", []string{"5"}, 80, 14},
		{"brokers", []string{"6"}, 140, 14},
		{"brokers-80", []string{"6"}, 80, 14},
		{"detail", append(letters("/suspect"), "enter", "enter"), 110, 40},
		{"detail-lost", []string{"enter"}, 100, 24},
		{"detail-broker", []string{"6", "enter"}, 100, 30},
		{"detail-dns", []string{"5", "enter"}, 100, 30},
		{"by-since", []string{"s", "s", "s", "s"}, 110, 32},
		{"by-state-reversed", []string{"s", "S"}, 110, 32},
		{"drain", append(letters("/proxy1"), "enter", "d"), 110, 24},
	} {
		screen := desk(view.Options{}, c.w, c.h, c.keys...).Render()
		checkSize(t, c.file, screen, c.w, c.h)
		golden(t, "testdata/desk-"+c.file+".golden", stripOwn(screen))
	}
}

// What is not asked says so, and shows what the status knows.
func TestWithoutAnOperatorsCertificatePagesSayWhatIsMissing(t *testing.T) {
	m := view.NewModel(view.Options{}).Resize(120, 20).Show(view.Picture{Status: staffed(), Connected: true}, noon)
	for keys, want := range map[string]string{"5": "for operators only", "6": "~8"} {
		n := press(m, keys)
		if n.Want() != (view.Want{}) || !strings.Contains(n.Render(), want) {
			t.Errorf("page %s wants %+v:\n%s", keys, n.Want(), n.Render())
		}
	}
	if n := press(m, "4"); n.Want() != (view.Want{Shares: true}) {
		t.Errorf("the lookup wants %+v", n.Want())
	}
	n := press(m, "d")
	if s := n.Render(); !strings.Contains(s, "needs an operator's certificate") {
		t.Errorf("drain:\n%s", s)
	}
	for _, k := range []string{"y", "a"} {
		if _, o := press(n, k).Take(); o.Do != nil {
			t.Errorf("%s gives %+v", k, o.Do)
		}
	}
}

func TestPagesWantWhatTheyShow(t *testing.T) {
	m := desk(view.Options{}, 120, 30)
	for _, c := range []struct {
		keys []string
		want view.Want
	}{
		{nil, view.Want{}},
		{[]string{"2"}, view.Want{}},
		{[]string{"3"}, view.Want{}},
		{[]string{"4"}, view.Want{Shares: true}},
		{[]string{"5"}, view.Want{NameServers: true}},
		{[]string{"6"}, view.Want{Brokers: true}},
		{append(letters("/proxy1"), "enter", "enter"), view.Want{Shares: true, Checks: "proxy1", Role: "sip_proxy"}},
		{append(letters("/db1"), "enter", "enter"), view.Want{Checks: "db1", Role: "thor_database"}},
		{[]string{"6", "enter"}, view.Want{Brokers: true}},
		{[]string{"5", "enter"}, view.Want{NameServers: true}},
		{[]string{"5", "enter", "esc", "1"}, view.Want{}},
	} {
		if got := press(m, c.keys...).Want(); got != c.want {
			t.Errorf("%q: %+v, want %+v", c.keys, got, c.want)
		}
	}
}

func TestRatesAreOfTwoAnswersAndBeginAnewWithACounter(t *testing.T) {
	m := desk(view.Options{}, 140, 14, "6")
	if s := m.Render(); !regexp.MustCompile(`b1 .* 30 +1250 `).MatchString(s) {
		t.Errorf("rates of b1:\n%s", s)
	}
	again := answers(m.Want())[0] // a broker that was started again
	again.At = noon.Add(2 * time.Second)
	if s := m.Answered(again, noon).Render(); !regexp.MustCompile(`b1 .* - +- +0 `).MatchString(s) {
		t.Errorf("after a restart:\n%s", s)
	}
}

func TestAnOperatorConfirmsBeforeAnythingIsDone(t *testing.T) {
	m := desk(view.Options{Flags: " --dir '/a b'"}, 110, 24, append(letters("/proxy1"), "enter")...)
	for _, c := range []struct {
		keys []string
		want *view.Action
	}{
		{[]string{"d"}, nil},
		{[]string{"d", "n"}, nil},
		{[]string{"d", "esc"}, nil},
		{[]string{"d", "q"}, nil},
		{[]string{"d", "x", "enter", "j"}, nil},
		{[]string{"d", "n", "y"}, nil},
		{[]string{"d", "y"}, &view.Action{Verb: view.Drain, Node: "proxy1", Role: "sip_proxy"}},
		{[]string{"d", "a"}, &view.Action{Verb: view.Drain, Node: "proxy1"}},
		{[]string{"r", "y"}, &view.Action{Verb: view.Resume, Node: "proxy1", Role: "sip_proxy"}},
		{[]string{"f", "y"}, &view.Action{Verb: view.Forget, Node: "proxy1", Role: "sip_proxy"}},
		{[]string{"enter", "d", "y"}, &view.Action{Verb: view.Drain, Node: "proxy1", Role: "sip_proxy"}},
		{[]string{"d", "c", "y"}, &view.Action{Verb: view.Drain, Node: "proxy1", Role: "sip_proxy"}},
	} {
		next, o := press(m, c.keys...).Take()
		if (o.Do == nil) != (c.want == nil) || o.Do != nil && *o.Do != *c.want {
			t.Errorf("%q gives %+v, want %+v", c.keys, o.Do, c.want)
		}
		if next.Done() {
			t.Errorf("%q ends the monitor", c.keys)
		}
		if _, again := next.Take(); again != (view.Order{}) {
			t.Errorf("%q is done twice", c.keys)
		}
	}
	_, o := press(m, "d", "c").Take()
	if o.Copy != "thor drain proxy1 --role sip_proxy --dir '/a b'" {
		t.Errorf("copied %q", o.Copy)
	}
	told := m.Told("proxy1 drained: sip_proxy", noon)
	if !strings.Contains(told.Render(), "proxy1 drained: sip_proxy") || strings.Contains(told.Tick(noon.Add(time.Minute)).Render(), "drained: sip_proxy") || strings.Contains(press(told, "j").Render(), "drained: sip_proxy") {
		t.Error("what came of it is not shown until the next key, or for longer than a while")
	}
}

func TestTheEquivalentCommandIsCopied(t *testing.T) {
	for keys, want := range map[string]string{
		"1": "thor members media_relay", "2": "thor events --since 24h --node n1", "3": "thor status",
		"4": "thor lookup sip_proxy --without proxy1", "5": "thor dns check", "6": "thor doctor",
		"6 enter": "thor events --since 24h --node b1",
	} {
		m := desk(view.Options{Flags: " --config x"}, 110, 40, strings.Fields(keys)...).Press("c")
		if _, o := m.Take(); o.Copy != want+" --config x" {
			t.Errorf("page %s copies %q", keys, o.Copy)
		}
		if !strings.Contains(m.Render(), "copied: "+want) {
			t.Errorf("page %s does not say what it copied", keys)
		}
	}
}

func TestMembersAreSortedByEachColumnAndTheOtherWayRound(t *testing.T) {
	// All members, lost and held ones included, by the name of their node as they are on the screen.
	order := func(m view.Model) (out []string) {
		for _, l := range strings.Split(stripOwn(m.Render()), "\n") {
			if f := strings.Fields(strings.TrimPrefix(l, ">")); len(f) > 4 && slices.Contains([]string{"●", "◐", "◌", "✗"}, f[0]) && !strings.HasPrefix(l, " thor") {
				out = append(out, strings.Join(f[1:2], " ")+" "+f[4])
			}
		}
		return out
	}
	m := desk(view.Options{}, 140, 60)
	byState := order(press(m, "s"))
	if len(byState) < 20 || !strings.HasPrefix(byState[0], "lost") || !strings.HasPrefix(byState[4], "held") || !strings.HasPrefix(byState[5], "suspect") || !strings.HasPrefix(byState[6], "draining") {
		t.Errorf("by state: %q", byState)
	}
	byNode := order(press(m, "s", "s"))
	if !slices.IsSortedFunc(byNode, func(a, b string) int { return strings.Compare(strings.Fields(a)[1], strings.Fields(b)[1]) }) {
		t.Errorf("by node: %q", byNode)
	}
	turned := order(press(m, "s", "s", "S"))
	if len(turned) != len(byNode) || strings.Fields(turned[0])[1] != strings.Fields(byNode[len(byNode)-1])[1] {
		t.Errorf("by node, reversed: %q", turned)
	}
	whole := m.Render()
	if got := press(m, "s", "s", "s", "s", "s", "s", "s").Render(); got != whole {
		t.Error("sorted by each column in turn it is not as before")
	}
}

// The cursor stays with the member it is on, wherever that goes, and in sight.
func TestTheCursorStaysWithItsMember(t *testing.T) {
	chosen := func(m view.Model) string {
		for _, l := range strings.Split(stripOwn(m.Render()), "\n") {
			if strings.HasPrefix(l, ">") {
				return strings.Join(strings.Fields(l)[1:5], " ")
			}
		}
		return ""
	}
	m := press(live(view.Options{}, 80, 12), "j", "j", "j")
	if got := chosen(m); got != "◐ suspect 81.23.228.150 proxy2" {
		t.Fatalf("chosen: %q", got)
	}
	s := mixed().Status.Clone()
	s.Remove("media_relay", "relay1")
	s.Remove("media_relay", "relay2")
	s.Remove("sip_proxy", "proxy1")
	if got := chosen(m.Show(view.Picture{Status: s, Connected: true}, noon)); got != "◐ suspect 81.23.228.150 proxy2" {
		t.Errorf("after others left: %q", got)
	}
	s.Remove("sip_proxy", "proxy2")
	if got := chosen(m.Show(view.Picture{Status: s, Connected: true}, noon)); got == "" {
		t.Error("after it left nothing is chosen")
	}
	for h := 10; h < 40; h++ {
		for _, keys := range [][]string{{"G"}, {"g"}, {"pgdown"}, {"G", "pgup", "k"}} {
			if got := chosen(press(m.Resize(80, h), keys...)); got == "" {
				t.Errorf("%d rows, %q: the cursor is out of sight", h, keys)
			}
		}
	}
}

// The history is merged with what was heard meanwhile: in order, and nothing twice.
func TestEventsOfTheTimeBeforeAreMerged(t *testing.T) {
	all := somethingHappened()
	m := press(live(view.Options{}, 110, 24), "2") // it heard all
	m = m.Past(append([]subjects.Event{{Time: noon.Add(-50 * time.Hour), Kind: subjects.EventLeave, Role: "sip_proxy", Node: "old1", Detail: "silent"}}, all...), "the history begins at noon", noon)
	s := stripOwn(m.Render())
	if strings.Count(s, "proxy3") != 1 || !regexp.MustCompile(`(?s)Sep 18 10:00:00  leave .*old1.*Sep 20 11:00:00  elected.*Sep 20 11:59:40  join`).MatchString(s) {
		t.Errorf("got\n%s", s)
	}
	if s := view.NewModel(view.Options{}).Resize(110, 24).Past(nil, "no history: x", noon).Press("2").Render(); !strings.Contains(s, "no history: x") {
		t.Errorf("without events:\n%s", s)
	}
	many := make([]subjects.Event, 3000)
	for i := range many {
		many[i] = subjects.Event{Time: noon.Add(time.Duration(i-3000) * time.Hour), Kind: subjects.EventJoin, Node: subjects.NodeID(fmt.Sprintf("n%d", i))}
	}
	if s := m.Past(many, "", noon).Render(); !strings.Contains(s, "of 1000") || !strings.Contains(s, "n2999") {
		t.Errorf("of many events:\n%s", s)
	}
}

func TestEnterGoesDeeperAndEscComesBack(t *testing.T) {
	m := desk(view.Options{}, 110, 30)
	if s := press(m, "3", "enter").Render(); !strings.Contains(s, "[1 members]") || !strings.Contains(s, "filter: media_relay") {
		t.Errorf("a role leads to\n%s", s)
	}
	if s := press(m, "2", "enter").Render(); !strings.Contains(s, "[n1 as thor_monitor]") {
		t.Errorf("an event leads to\n%s", s)
	}
	before := press(m, "j").Render()
	if s := press(m, "j", "enter", "j", "j", "esc").Render(); s != before {
		t.Errorf("esc leads to\n%s", s)
	}
	gone := press(m, "j", "enter").Show(view.Picture{Status: newNetwork("example.org").Status, Connected: true}, noon)
	if s := gone.Render(); !strings.Contains(s, "is no member of") {
		t.Errorf("a member that left:\n%s", s)
	}
}

// Names, reasons and attributes of the network never reach the terminal as escape
// sequences, on no page, and never a command line.
func TestNothingFromTheNetworkIsAnEscape(t *testing.T) {
	const canary = "\x1b]52;c;Y2FuYXJ5\x07\x1b[2J\x9b31m\r\n$(canary);`canary`"
	bad := func(p string) string { return p + canary }
	n := newNetwork(bad("domain"))
	for _, r := range []subjects.Role{"sip_proxy", subjects.Role(bad("role")), "thor_dnsmanager", "thor_eventserver"} {
		n.member(r, subjects.NodeID(bad("node")), "192.0.2.1", func(m *subjects.Member) {
			m.State, m.Reason, m.Version = subjects.State(bad("state")), bad("reason"), bad("version")
			m.Attrs = subjects.Attrs{bad("attr"): bad("value"), "zone": bad("zone"), "routes": bad("r"), "clients": bad("c"), "jetstream": bad("j")}
		})
	}
	n.Manager = subjects.NodeID(bad("manager"))
	n.Lookup = map[subjects.Role]subjects.Lookup{"sip_proxy": {Bits: 12, Digest: bad("digest")}}
	n.Losses = subjects.Losses{
		Lost: []subjects.Lost{{Node: subjects.NodeID(bad("lost")), Role: "sip_proxy", Reason: bad("why")}},
		Held: []subjects.Held{{Node: subjects.NodeID(bad("held")), Role: subjects.Role(bad("role")), Reason: bad("why"), Until: noon}},
	}
	node := subjects.NodeID(bad("node"))
	event := subjects.Event{Time: noon, Kind: subjects.EventKind(bad("kind")), Role: subjects.Role(bad("role")), Node: node, Detail: bad("detail")}
	first := view.NewModel(view.Options{Operator: true, Color: true}).Resize(160, 50).
		Show(view.Picture{Status: n.Status, Connected: true, Doubts: []string{"ours"}}, noon).Happened([]subjects.Event{event}, noon).Past([]subjects.Event{event}, bad("past"), noon)
	for _, keys := range [][]string{nil, {"G"}, {"2"}, {"3"}, {"4"}, {"5"}, {"6"}, {"enter"}, {"G", "enter"}, {"4", "enter"}, {"5", "enter"}, {"6", "enter"}, {"2", "enter"}, {"d"}, {"s"}, {"6", "f"}} {
		m := press(first, keys...)
		m = m.Answered(&view.Answer{
			Of: m.Want(), At: noon, ChecksFault: bad("fault"), BrokersFault: bad("fault"),
			Brokers:     []view.Broker{{Node: node, JetStream: true, Leader: node}},
			NameServers: []view.NameServer{{Node: node, Zone: &subjects.ZoneReport{Digest: bad("zone")}, Fault: bad("fault")}},
			Shares:      map[subjects.Role]view.Spread{"sip_proxy": {Slots: 4096, Of: []view.Share{{Node: node, Weight: 1, Slots: 4096}}, Fault: bad("fault")}},
			Checks:      []subjects.CheckReport{{Role: "sip_proxy", Name: bad("check"), State: subjects.CheckState(bad("state")), Fault: bad("fault")}},
		}, noon)
		m = m.Told(bad("told"), noon)
		for what, out := range map[string]string{"page": m.Render(), "small": m.Resize(70, 20).Render(), "tiny": m.Resize(30, 5).Render(), "without UTF-8": m.Render()} {
			out = stripOwn(out)
			if i := strings.IndexFunc(out, func(r rune) bool { return r != '\n' && !unicode.IsGraphic(r) }); i >= 0 {
				t.Errorf("%q, %s: %q at %d of\n%s", keys, what, out[i:min(len(out), i+8)], i, out)
			}
		}
		if _, o := press(m, "c").Take(); strings.ContainsAny(o.Copy, "\x1b\x07\u009b\r\n$;`") {
			t.Errorf("%q copies %q", keys, o.Copy)
		}
		if _, o := press(m, "y").Take(); o.Do != nil {
			t.Errorf("%q does %+v", keys, o.Do)
		}
	}
}

func BenchmarkAKeyWithAThousandMembers(b *testing.B) {
	m := view.NewModel(view.Options{Color: true}).Resize(160, 50).Show(view.Picture{Status: thousand(), Connected: true}, noon)
	for b.Loop() {
		m = m.Press("j")
		m.Render()
	}
}

// thousand are a thousand proxies.
func thousand() *subjects.Status {
	s := newNetwork("example.org").Status
	ms := make([]subjects.Member, 1000)
	for i := range ms {
		n := newNetwork("x").member("sip_proxy", subjects.NodeID(fmt.Sprintf("n%05d", i)), fmt.Sprintf("10.0.%d.%d", i/250, i%250))
		ms[i] = n.Roles["sip_proxy"][0]
	}
	s.Roles = map[subjects.Role][]subjects.Member{"sip_proxy": ms}
	return s
}

func BenchmarkASecondWithAThousandMembers(b *testing.B) {
	m := view.NewModel(view.Options{Color: true}).Resize(160, 50).Show(view.Picture{Status: thousand(), Connected: true}, noon)
	now := noon
	for b.Loop() {
		now = now.Add(time.Second)
		m = m.Tick(now)
		m.Render()
	}
}
