package sets_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"thor/nodeagent/sets"
	"thor/overlay/setting"
	"thor/subjects"
)

// status has a member for each line "role node address[,address] state weight [priority=N] [attr=value]".
func status(t *testing.T, lines ...string) *subjects.Status {
	t.Helper()
	s := &subjects.Status{V: 1, Epoch: 1, Generation: 1}
	for _, line := range lines {
		f := strings.Fields(line)
		m := subjects.Member{Node: subjects.NodeID(f[1]), State: subjects.State(f[3]), Attrs: subjects.Attrs{}}
		for a := range strings.SplitSeq(f[2], ",") {
			m.Addresses = append(m.Addresses, netip.MustParseAddr(a))
		}
		for _, x := range f[4:] {
			k, v, _ := strings.Cut(x, "=")
			switch k {
			case "weight":
				m.Weight = number(v)
			case "priority":
				m.Priority = number(v)
			default:
				m.Attrs[k] = v
			}
		}
		s.Put(subjects.Role(f[0]), m)
	}
	return s
}

func number(s string) (n int) {
	for _, c := range s {
		n = n*10 + int(c-'0')
	}
	return n
}

func tables(t *testing.T, c sets.Config) map[sets.Kind]*sets.Table {
	t.Helper()
	c.Fill()
	if ps := append(setting.Check(&c), c.Validate()...); len(ps) > 0 {
		t.Fatal(ps)
	}
	out := make(map[sets.Kind]*sets.Table)
	for _, x := range c.Tables() {
		out[x.Kind] = x
	}
	return out
}

const head = "# Kept by the thor node agent: what is changed here is lost.\n"

func TestFilesHoldTheMembers(t *testing.T) {
	for _, c := range []struct {
		name   string
		cfg    sets.Config
		kind   sets.Kind
		status []string
		want   string
	}{
		{
			"states, weights and priorities",
			sets.Config{DispatcherFile: "/d", Dispatcher: []sets.Dispatcher{{Members: "sip_proxy"}}},
			sets.KindDispatcher,
			[]string{
				"sip_proxy b 192.0.2.2 draining weight=50", "sip_proxy a 192.0.2.1 up priority=10",
				"sip_proxy c 192.0.2.3 suspect weight=1", "other x 192.0.2.9 up",
			},
			head + "1 sip:192.0.2.1:5060 0 65526 node=a;rweight=100\n1 sip:192.0.2.2:5060 4 0 node=b;rweight=50\n1 sip:192.0.2.3:5060 2 0 node=c;rweight=1\n",
		},
		{
			"weights above 100 are scaled",
			sets.Config{DispatcherFile: "/d", Dispatcher: []sets.Dispatcher{{Members: "sip_proxy"}}},
			sets.KindDispatcher,
			[]string{"sip_proxy a 192.0.2.1 up weight=400", "sip_proxy b 192.0.2.2 up weight=100", "sip_proxy c 192.0.2.3 up weight=1"},
			head + "1 sip:192.0.2.1:5060 0 0 node=a;rweight=100\n1 sip:192.0.2.2:5060 0 0 node=b;rweight=25\n1 sip:192.0.2.3:5060 0 0 node=c;rweight=1\n",
		},
		{
			"ports, transports and families",
			sets.Config{DispatcherFile: "/d", Dispatcher: []sets.Dispatcher{
				{Members: "sip_proxy", Transport: "tls"},
				{Members: "sip_proxy", Group: 2, Transport: "tcp", Endpoint: sets.Endpoint{PortAttr: "tcp_port", Address: "ipv6"}},
				{Members: "sip_proxy", Group: 3, Endpoint: sets.Endpoint{Port: 5070, Address: "ipv4"}},
			}},
			sets.KindDispatcher,
			[]string{"sip_proxy a 2001:db8::1,192.0.2.1 up tcp_port=5065", "sip_proxy b 192.0.2.2 up port=5090 tcp_port=odd"},
			head + "1 sip:[2001:db8::1]:5061;transport=tls 0 0 node=a;rweight=100\n1 sip:192.0.2.2:5090;transport=tls 0 0 node=b;rweight=100\n" +
				"2 sip:[2001:db8::1]:5065;transport=tcp 0 0 node=a;rweight=100\n" +
				"3 sip:192.0.2.1:5070 0 0 node=a;rweight=100\n3 sip:192.0.2.2:5090 0 0 node=b;rweight=100\n",
		},
		{
			"one address, two nodes",
			sets.Config{DispatcherFile: "/d", Dispatcher: []sets.Dispatcher{{Members: "sip_proxy"}}},
			sets.KindDispatcher,
			[]string{"sip_proxy a 192.0.2.1 up", "sip_proxy b 192.0.2.1 up", "sip_proxy c ::ffff:192.0.2.3 up"},
			head + "1 sip:192.0.2.1:5060 0 0 node=a;rweight=100\n1 sip:192.0.2.3:5060 0 0 node=c;rweight=100\n",
		},
		{
			"relays",
			sets.Config{RTPEngineDir: "/r", RTPEngine: []sets.RTPEngine{{}, {Members: "big_relay", Set: 7}}},
			sets.KindRTPEngine,
			[]string{
				"media_relay a 192.0.2.1 up weight=30", "media_relay b 2001:db8::1 draining port=22222",
				"media_relay c 192.0.2.3 suspect", "big_relay d 192.0.2.4 up",
			},
			"setid(int) url(string) weight(int) disabled(int)\n0:udp\\:192.0.2.1\\:2223:30:0\n0:udp6\\:[2001\\:db8\\:\\:1]\\:22222:100:1\n" +
				"0:udp\\:192.0.2.3\\:2223:100:0\n7:udp\\:192.0.2.4\\:2223:100:0\n",
		},
		{
			"trusted addresses, all of each member",
			sets.Config{TrustedFile: "/t", Trusted: []sets.Trusted{{Members: "sip_proxy"}, {Members: "voicemail_server", Group: 2}}},
			sets.KindTrusted,
			[]string{"sip_proxy a 192.0.2.1,2001:db8::1 up", "sip_proxy b 192.0.2.2 draining", "voicemail_server v 192.0.2.7 suspect"},
			head + "1 192.0.2.1\n1 2001:db8::1\n1 192.0.2.2\n2 192.0.2.7\n",
		},
	} {
		tab := tables(t, c.cfg)[c.kind]
		next, kept := tab.Next(nil, status(t, c.status...))
		if got := string(tab.Encode(next)); got != c.want || len(kept) > 0 {
			t.Errorf("%s: kept %v\n%s\nnot\n%s", c.name, kept, got, c.want)
		}
		if back, strange := tab.Decode([]byte(c.want)); !back.Equal(next) || strange > 0 {
			t.Errorf("%s: read back as %v with %d strange lines, not %v", c.name, back, strange, next)
		}
	}
}

func TestSetsAreNeverEmptied(t *testing.T) {
	tab := tables(t, sets.Config{DispatcherFile: "/d", Dispatcher: []sets.Dispatcher{{Members: "sip_proxy"}, {Members: "voicemail_server", Group: 2}}})[sets.KindDispatcher]
	full, kept := tab.Next(nil, status(t, "sip_proxy a 192.0.2.1 up", "voicemail_server v 192.0.2.7 up"))
	if len(kept) > 0 || full.Len() != 2 {
		t.Fatal(full, kept)
	}
	next, kept := tab.Next(full, status(t, "sip_proxy b 192.0.2.2 up"))
	if !reflect.DeepEqual(kept, []subjects.Role{"voicemail_server"}) || !reflect.DeepEqual(next[2], full[2]) || next[1][0].Address != "sip:192.0.2.2:5060" {
		t.Errorf("%v, kept %v", next, kept)
	}
	next, kept = tab.Next(full, status(t))
	if !next.Equal(full) || len(kept) != 2 {
		t.Errorf("%v, kept %v", next, kept)
	}
	if next, kept = tab.Next(nil, status(t)); next.Len() != 0 || len(kept) != 2 {
		t.Errorf("%v, kept %v", next, kept)
	}
	stranger, _ := tab.Decode([]byte("1 sip:192.0.2.1:5060 0 0 node=a;rweight=100\n9 sip:192.0.2.9:5060 0 0 node=z;rweight=100\n"))
	if next, _ = tab.Next(stranger, status(t)); len(next) != 1 || len(next[1]) != 1 {
		t.Errorf("a group that is not configured stays: %v", next)
	}
}

func TestOnlyStatesThatDifferAreTold(t *testing.T) {
	all := tables(t, sets.Config{
		DispatcherFile: "/d", Dispatcher: []sets.Dispatcher{{Members: "m"}}, RTPEngineDir: "/r", RTPEngine: []sets.RTPEngine{{Members: "m"}},
		TrustedFile: "/t", Trusted: []sets.Trusted{{Members: "m"}},
	})
	const a, b = "m a 192.0.2.1 up", "m b 192.0.2.2 up"
	for _, c := range []struct {
		name     string
		kind     sets.Kind
		old, new []string
		want     sets.Change
	}{
		{"nothing", sets.KindDispatcher, []string{a, b}, []string{b, a}, sets.Change{}},
		{"joins", sets.KindDispatcher, []string{a}, []string{a, b}, sets.Change{Reload: true}},
		{"leaves", sets.KindDispatcher, []string{a, b}, []string{a}, sets.Change{Reload: true}},
		{"weight", sets.KindDispatcher, []string{a, b}, []string{a, b + " weight=7"}, sets.Change{Reload: true}},
		{
			"drains and is suspect", sets.KindDispatcher,
			[]string{a, b},
			[]string{"m a 192.0.2.1 draining", "m b 192.0.2.2 suspect"},
			sets.Change{States: []sets.StateChange{{1, "sip:192.0.2.1:5060", "d"}, {1, "sip:192.0.2.2:5060", "t"}}},
		},
		{"resumes", sets.KindDispatcher, []string{"m a 192.0.2.1 draining"}, []string{a}, sets.Change{States: []sets.StateChange{{1, "sip:192.0.2.1:5060", "a"}}}},
		{"relay goes: no new sessions before the reload", sets.KindRTPEngine, []string{a, b}, []string{a}, sets.Change{Reload: true, States: []sets.StateChange{{0, "udp:192.0.2.2:2223", "0"}}}},
		{"relay drains", sets.KindRTPEngine, []string{a}, []string{"m a 192.0.2.1 draining"}, sets.Change{States: []sets.StateChange{{0, "udp:192.0.2.1:2223", "0"}}}},
		{"relay is suspect: it serves", sets.KindRTPEngine, []string{a}, []string{"m a 192.0.2.1 suspect"}, sets.Change{}},
		{"trusted drains: it is trusted", sets.KindTrusted, []string{a}, []string{"m a 192.0.2.1 draining"}, sets.Change{}},
		{"trusted leaves", sets.KindTrusted, []string{a, b}, []string{a}, sets.Change{Reload: true}},
	} {
		tab := all[c.kind]
		old, _ := tab.Next(nil, status(t, c.old...))
		next, _ := tab.Next(old, status(t, c.new...))
		if got := tab.Compare(old, next); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, not %+v", c.name, got, c.want)
			continue
		}
		for _, s := range c.want.States {
			old.Apply(s)
		}
		if got := tab.Compare(old, next); got.Reload != c.want.Reload || len(got.States) > 0 {
			t.Errorf("%s: told, and still %+v", c.name, got)
		}
	}
}

func TestLinesOfOthersAreCounted(t *testing.T) {
	all := tables(t, sets.Config{
		DispatcherFile: "/d", Dispatcher: []sets.Dispatcher{{Members: "m"}}, RTPEngineDir: "/r", RTPEngine: []sets.RTPEngine{{Members: "m"}},
		TrustedFile: "/t", Trusted: []sets.Trusted{{Members: "m"}},
	})
	const columns = "setid(int) url(string) weight(int) disabled(int)\n"
	for _, c := range []struct {
		kind          sets.Kind
		text          string
		read, strange int
	}{
		{sets.KindDispatcher, "", 0, 0},
		{sets.KindDispatcher, head + "\n  # by hand\n1 sip:192.0.2.1:5060 0 0 node=a;rweight=1\n", 1, 0},
		{sets.KindDispatcher, "1 sip:192.0.2.50:5060\n2 sip:192.0.2.60:5060 0\n", 0, 2},
		{sets.KindDispatcher, "1 sip:192.0.2.1:5060 0 0 node=a;rweight=1\n1 sip:192.0.2.50:5060 9 0 weight=1\n", 1, 1},
		{sets.KindTrusted, "1 192.0.2.1\n1 192.0.2.0 24\n1 192.0.2.0/24\n1 2001:DB8::1\n", 1, 3},
		{sets.KindRTPEngine, columns + "0:udp\\:192.0.2.1\\:2223:30:0\n", 1, 0},
		{sets.KindRTPEngine, columns + "0:udp\\:192.0.2.1\\:2223:30\n", 0, 1},
		{sets.KindRTPEngine, "weight(int) url(string) setid(int) disabled(int)\n30:udp\\:192.0.2.1\\:2223:0:0\n", 0, 2},
	} {
		if s, strange := all[c.kind].Decode([]byte(c.text)); s.Len() != c.read || strange != c.strange {
			t.Errorf("%s %q: %v, %d strange lines, not %d and %d", c.kind, c.text, s, strange, c.read, c.strange)
		}
	}
}

func TestARelayThatASetWantsOnIsNotToldOff(t *testing.T) {
	tab := tables(t, sets.Config{RTPEngineDir: "/r", RTPEngine: []sets.RTPEngine{{Members: "m"}, {Members: "n", Set: 1}}})[sets.KindRTPEngine]
	const off, on = "0", "1"
	const m, n, n2 = "m a 192.0.2.1 up", "n a 192.0.2.1 up", "n b 192.0.2.2 up"
	const mDrains, nDrains = "m a 192.0.2.1 draining", "n a 192.0.2.1 draining"
	const url = "udp:192.0.2.1:2223"
	for _, c := range []struct {
		name     string
		old, new []string
		want     sets.Change
	}{
		{"leaves one set", []string{m, n, n2}, []string{m, n2}, sets.Change{Reload: true}},
		{"drains in one set: a reload tells it of that one", []string{m, n}, []string{m, nDrains}, sets.Change{Reload: true}},
		{"leaves one set, drains in the other", []string{m, n, n2}, []string{mDrains, n2}, sets.Change{Reload: true, States: []sets.StateChange{{0, url, off}, {1, url, off}}}},
		{"drains in both", []string{m, n}, []string{mDrains, nDrains}, sets.Change{States: []sets.StateChange{{0, url, off}, {1, url, off}}}},
		{"resumes in one set", []string{mDrains, nDrains}, []string{m, nDrains}, sets.Change{States: []sets.StateChange{{0, url, on}}}},
	} {
		old, _ := tab.Next(nil, status(t, c.old...))
		next, _ := tab.Next(old, status(t, c.new...))
		if got := tab.Compare(old, next); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, not %+v", c.name, got, c.want)
		}
	}
}

// A script reaches a relay by the set that it has for itself, also while it drains.
func TestEachRelayHasASetOfItsOwn(t *testing.T) {
	tab := tables(t, sets.Config{RTPEngineDir: "/r", RTPEngine: []sets.RTPEngine{{Each: true}, {Members: "big_relay", Set: 7, Each: true}}})[sets.KindRTPEngine]
	a, b, c := sets.RelaySet("a"), sets.RelaySet("b"), sets.RelaySet("c")
	if a == b || b == c || a == c || min(a, b, c) < 1<<30 || max(a, b, c) >= 1<<31 {
		t.Fatal(a, b, c)
	}
	text := func(s sets.Sets) string {
		var out []string
		for _, n := range []int{0, 7, a, b, c} {
			for _, e := range s[n] {
				name := map[int]string{a: "a", b: "b", c: "c"}[n]
				out = append(out, fmt.Sprintf("%s%d=%s:%s", name, min(n, 7), strings.TrimSuffix(strings.TrimPrefix(e.Address, "udp:192.0.2."), ":2223"), e.State))
			}
		}
		return strings.Join(out, " ")
	}
	full, kept := tab.Next(nil, status(t, "media_relay a 192.0.2.1 up", "media_relay b 192.0.2.2 draining", "big_relay c 192.0.2.3 up"))
	const want = "0=1:1 0=2:0 7=3:1 a7=1:1 b7=2:1 c7=3:1"
	if got := text(full); got != want || len(kept) > 0 || len(full) != 5 {
		t.Errorf("%s, kept %v, not %s", got, kept, want)
	}
	if back, strange := tab.Decode(tab.Encode(full)); !back.Equal(full) || strange > 0 {
		t.Errorf("read back as %v with %d strange lines", back, strange)
	}
	// The relays of the role without members stay, one of the other role that left does not.
	next, kept := tab.Next(full, status(t, "big_relay d 192.0.2.4 up"))
	if got := text(next); got != "0=1:1 0=2:0 7=4:1 a7=1:1 b7=2:1" || len(kept) != 1 || len(next[sets.RelaySet("d")]) != 1 || len(next) != 5 {
		t.Errorf("%v, kept %v", next, kept)
	}
	up, _ := tab.Next(full, status(t, "media_relay a 192.0.2.1 up", "media_relay b 192.0.2.2 up", "big_relay c 192.0.2.3 up"))
	gone, _ := tab.Next(full, status(t, "media_relay a 192.0.2.1 up", "big_relay c 192.0.2.3 up"))
	for _, x := range []struct {
		what     string
		old, new sets.Sets
		want     sets.Change
	}{
		{"drains", up, full, sets.Change{Reload: true}},
		{"resumes", full, up, sets.Change{States: []sets.StateChange{{0, "udp:192.0.2.2:2223", "1"}}}},
		{"dies", up, gone, sets.Change{Reload: true, States: []sets.StateChange{{0, "udp:192.0.2.2:2223", "0"}, {b, "udp:192.0.2.2:2223", "0"}}}},
	} {
		if got := tab.Compare(x.old, x.new); !reflect.DeepEqual(got, x.want) {
			t.Errorf("%s: %+v, not %+v", x.what, got, x.want)
		}
	}
}

func TestOddConfigurationsAreRefused(t *testing.T) {
	for _, c := range []struct {
		cfg  sets.Config
		want string
	}{
		{sets.Config{Dispatcher: []sets.Dispatcher{{Members: "a"}}}, "dispatcher_file: is missing: dispatcher has sets"},
		{sets.Config{TrustedFile: "/t"}, "trusted_file: has no sets: add [[…sets.trusted]]"},
		{sets.Config{RTPEngineDir: "/r", RTPEngine: []sets.RTPEngine{{}, {}}}, "rtpengine[1].set: 0 is there twice"},
		{sets.Config{DispatcherFile: "/d", Dispatcher: []sets.Dispatcher{{Members: "a", Group: 3}, {Members: "b", Group: 3}}}, "dispatcher[1].group: 3 is there twice"},
		{sets.Config{DispatcherFile: "/d", Dispatcher: []sets.Dispatcher{{Members: "a", Transport: "ws"}}}, `dispatcher[0].transport: "ws" is not udp, tcp or tls`},
		{sets.Config{DispatcherFile: "/d", Dispatcher: []sets.Dispatcher{{Members: "A B"}}}, "dispatcher[0].members: "},
	} {
		c.cfg.Fill()
		ps := append(setting.Check(&c.cfg), c.cfg.Validate()...)
		if len(ps) != 1 || !strings.HasPrefix(ps[0].Error(), c.want) {
			t.Errorf("%q, not %q", ps, c.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	all := (&sets.Config{DispatcherFile: "/d", RTPEngineDir: "/r", TrustedFile: "/t"}).Tables()
	f.Add("1 sip:192.0.2.1:5060 0 0 node=a;rweight=1\n0:udp\\:192.0.2.1\\:2223:30:0\n1 192.0.2.1\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, tab := range all {
			s, _ := tab.Decode([]byte(text))
			if again, strange := tab.Decode(tab.Encode(s)); !again.Equal(s) || strange > 0 {
				t.Errorf("%s: %q is %v, and then %v with %d strange lines", tab.Kind, text, s, again, strange)
			}
		}
	})
}
