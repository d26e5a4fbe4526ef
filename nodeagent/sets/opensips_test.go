package sets_test

import (
	"testing"

	"thor/nodeagent/sets"
)

// The tables of OpenSIPS hold the members, and are read as they are written.
func TestTablesOfOpenSIPSHoldTheMembers(t *testing.T) {
	tabs := tables(t, sets.Config{
		DatabaseDir: "/db", Dispatcher: []sets.Dispatcher{{Members: "sip_proxy"}, {Members: "voicemail_server", Group: 2, Transport: "tls"}},
		RTPEngine: []sets.RTPEngine{{}}, Trusted: []sets.Trusted{{Members: "sip_proxy"}},
	})
	s := status(t,
		"sip_proxy b 192.0.2.2 draining weight=50", "sip_proxy a 192.0.2.1 up priority=10", "sip_proxy c 2001:db8::3 suspect",
		"voicemail_server v 192.0.2.7 up weight=400", "media_relay r 192.0.2.9 draining weight=30", "media_relay s 2001:db8::9 up port=22222")
	for kind, want := range map[sets.Kind]string{
		sets.KindDispatcher: "id(int,auto) setid(int) destination(string) socket(string,null) state(int) probe_mode(int) weight(string) priority(int) attrs(string,null) description(string,null)\n" +
			"1:1:sip\\:192.0.2.1\\:5060::0:0:100:65526:node=a:\n2:1:sip\\:192.0.2.2\\:5060::1:0:50:0:node=b:\n3:1:sip\\:[2001\\:db8\\:\\:3]\\:5060::0:0:100:0:node=c:\n" +
			"4:2:sip\\:192.0.2.7\\:5061;transport=tls::0:0:100:0:node=v:\n",
		sets.KindRTPEngine: "id(int,auto) socket(string) set_id(int)\n1:udp\\:192.0.2.9\\:2223=30:0\n2:udp6\\:[2001\\:db8\\:\\:9]\\:22222=100:0\n",
		sets.KindTrusted: "id(int,auto) grp(int) ip(string) mask(int) port(int) proto(string) pattern(string,null) context_info(string,null)\n" +
			"1:1:192.0.2.1:32:0:any::\n2:1:192.0.2.2:32:0:any::\n3:1:2001\\:db8\\:\\:3:128:0:any::\n",
	} {
		tab := tabs[kind]
		next, kept := tab.Next(nil, s)
		if got := string(tab.Encode(next)); got != want || len(kept) > 0 {
			t.Errorf("%s: kept %v\n%s\nnot\n%s", kind, kept, got, want)
		}
		if kind == sets.KindRTPEngine { // its file has no states
			for _, es := range next {
				for i := range es {
					es[i].State = sets.RelayOn
				}
			}
		}
		if back, strange := tab.Decode([]byte(want)); !back.Equal(next) || strange > 0 {
			t.Errorf("%s: read back as %v with %d strange lines, not %v", kind, back, strange, next)
		}
		if version := string(tab.Beside["/db/version"]); version != "table_name(string) table_version(int)\naddress:5\ndispatcher:9\nrtpengine:1\n" {
			t.Errorf("version %q", version)
		}
	}
}

// Lines of others are seen, so that they are not lost.
func TestLinesOfOthersInTablesOfOpenSIPS(t *testing.T) {
	tabs := tables(t, sets.Config{
		DatabaseDir: "/db", Dispatcher: []sets.Dispatcher{{Members: "sip_proxy"}}, RTPEngine: []sets.RTPEngine{{}}, Trusted: []sets.Trusted{{Members: "sip_proxy"}},
	})
	for kind, lines := range map[sets.Kind][]string{
		sets.KindDispatcher: {"1:1:sip\\:192.0.2.1\\:5060::0:0:100:0::by hand", "1:1:sip\\:192.0.2.1\\:5060::2:0:100:0:node=a:", "1:1:x", "1:1:x::0:0:1 2:0:n:", "1:1:x::0:0::0:n:"},
		sets.KindRTPEngine:  {"1:udp\\:192.0.2.9\\:2223:0", "1:udp\\:192.0.2.9\\:2223=x:0", "1:0"},
		sets.KindTrusted:    {"1:1:192.0.2.0:24:0:any:x:", "1:1:host:32:0:any::", "1:1:192.0.2.1:32:5060:udp::"},
	} {
		head := string(tabs[kind].Encode(nil))
		for _, line := range lines {
			if s, strange := tabs[kind].Decode([]byte(head + line + "\n")); strange != 1 || s.Len() > 0 {
				t.Errorf("%s %q: %v, %d strange", kind, line, s, strange)
			}
		}
		if _, strange := tabs[kind].Decode([]byte("other(int)\n1\n")); strange == 0 {
			t.Errorf("%s: other columns are not noticed", kind)
		}
	}
}

// OpenSIPS takes the state of a relay for one set, so that each is told by itself.
func TestARelayOfOpenSIPSDrainsInOneSet(t *testing.T) {
	tab := tables(t, sets.Config{DatabaseDir: "/db", RTPEngine: []sets.RTPEngine{{}, {Members: "big_relay", Set: 7}}})[sets.KindRTPEngine]
	before, _ := tab.Next(nil, status(t, "media_relay r 192.0.2.9 up", "big_relay r 192.0.2.9 up"))
	after, _ := tab.Next(before, status(t, "media_relay r 192.0.2.9 draining", "big_relay r 192.0.2.9 up"))
	c := tab.Compare(before, after)
	if c.Reload || len(c.States) != 1 || c.States[0] != (sets.StateChange{Number: 0, Address: "udp:192.0.2.9:2223", State: sets.RelayOff}) {
		t.Errorf("%+v", c)
	}
}
