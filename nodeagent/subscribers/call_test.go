package subscribers_test

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"thor/overlay/subscriber"
	"thor/subjects"
)

// The lines of an answer to a script.
const (
	lineDo = iota
	lineNext
	lineHop
	lineURI
	lineRefusal
	lineUser
	lineRealm
	lineHA1
	lineSeconds
	lineOffline
	lineBusy
	lineSilent
	lineAway
	lineDivert
	lineKey
	lineProxy
)

const outside = "192.0.2.77"

// script asks as a script does, and returns the lines; all empty if there are none.
func (p *peer) script(page, from, to, source, hop, more string) []string {
	x := func(s string) string { return hex.EncodeToString([]byte(s)) }
	w := p.get(fmt.Sprintf("/subscriber/%s?method=INVITE&source=%s&from=%s&to=%s&hop=%s%s", page, source, x(from), x(to), x(hop), more))
	if w.Code != http.StatusOK {
		return append([]string{fmt.Sprint(w.Code)}, make([]string, 20)...)
	}
	return append(strings.Split(w.Body.String(), "\n"), make([]string, 20)...)
}

func (p *peer) call(from, to string) []string {
	return p.script("call", "sip:"+from, "sip:"+to, outside, "", "")
}

func (p *peer) address() string { return p.node.Identity().Addresses[1].String() }

// put commits a profile.
func (n *network) put(p1 *peer, key string, f func(*subscriber.Profile)) {
	n.t.Helper()
	ns := n.store.change(key, "ha1-of-"+key, false)
	n.store.mu.Lock()
	f(n.store.rows[key])
	n.store.mu.Unlock()
	p1.live.Push(ns)
	n.within(time.Second, "pushed", func() bool { return n.store.waiting() == 0 })
}

// calls is a network with a subscriber at each of two nodes.
func calls(t *testing.T, f func(t *testing.T, n *network, p1 *peer, ps map[string]*peer, a, b string)) {
	inBubble(t, func(t *testing.T, n *network) {
		p1, ps := trio(n)
		n.store.serves = map[string]bool{"example.net": true}
		a, b := p1.keyOf("n1", "n2"), p1.keyOf("n2", "n3")
		n.put(p1, a, func(*subscriber.Profile) {})
		n.put(p1, b, func(*subscriber.Profile) {})
		f(t, n, p1, ps, a, b)
	})
}

func expect(t *testing.T, what string, got []string, want map[int]string) {
	t.Helper()
	for line, w := range want {
		if got[line] != w {
			t.Errorf("%s: line %d is %q, want %q in %q", what, line, got[line], w, got)
		}
	}
}

func TestCallersProveThemselvesAtTheirNode(t *testing.T) {
	calls(t, func(t *testing.T, n *network, p1 *peer, ps map[string]*peer, a, b string) {
		n1, n2, n3 := ps["n1"], ps["n2"], ps["n3"]
		entry := n3.call(a, b)
		expect(t, "elsewhere", entry, map[int]string{lineDo: "pass", lineNext: n1.address() + "," + n2.address(), lineHA1: "", lineProxy: ""})
		at := n1.script("call", "sip:"+a, "sip:"+b, n3.address(), entry[lineHop], "")
		expect(t, "at the caller's node", at, map[int]string{
			lineDo: "pass", lineNext: n2.address() + "," + n3.address(), lineUser: a[:strings.Index(a, "@")], lineRealm: "example.net",
			lineHA1: "ha1-of-" + a, lineProxy: "proxy",
		})
		there := n2.script("call", "sip:"+a, "sip:"+b, n1.address(), at[lineHop], "")
		expect(t, "at the callee's node", there, map[int]string{lineDo: "serve", lineHA1: "", lineKey: b, lineNext: n3.address(), lineHop: "find"})
		expect(t, "the device may be here", n3.script("call", "sip:"+a, "sip:"+b, n2.address(), "find", ""), map[int]string{lineDo: "serve", lineKey: ""})
		expect(t, "both here", n1.call(a, a), map[int]string{lineDo: "serve", lineHA1: "ha1-of-" + a, lineKey: a})
		expect(t, "a way from a proxy", n3.script("call", "sip:"+a, "sip:"+b, n2.address(), "", "&route=1"), map[int]string{lineDo: "route"})

		// Nobody else says what proxies do.
		for _, hop := range []string{"find", "1", "heir", at[lineHop], entry[lineHop], there[lineDivert], "caller;account=" + b, "callee;known=1"} {
			for _, more := range []string{"", "&route=1"} {
				expect(t, "a stranger with "+hop, n1.script("call", "sip:"+a, "sip:"+b, outside, hop, more), map[int]string{lineHA1: "ha1-of-" + a, lineProxy: ""})
			}
		}
		expect(t, "diverted, by a header", n2.script("call", "sip:"+a, "sip:x@elsewhere.example", n1.address(), there[lineDivert], ""), map[int]string{lineDo: "pass", lineHA1: ""})

		for _, from := range []string{"nobody@example.net", "example.net", "%6eobody@EXAMPLE.net:5060"} {
			e := n3.script("call", "sip:"+from, "sip:"+b, outside, "", "")
			for hops := 0; e[lineDo] == "pass" && hops < 2; hops++ {
				for _, p := range ps {
					if strings.HasPrefix(e[lineNext], p.address()) {
						e = p.script("call", "sip:"+from, "sip:"+b, n3.address(), e[lineHop], "")
					}
				}
			}
			expect(t, "from "+from, e, map[int]string{lineRefusal: "403 Not Your Name"})
		}
		n.put(p1, a, func(s *subscriber.Profile) { s.HA1 = "" })
		expect(t, "without a password", n1.call(a, b), map[int]string{lineDo: "refuse", lineHA1: ""})
	})
}

func TestWhatTheCallersProfileForbids(t *testing.T) {
	calls(t, func(t *testing.T, n *network, p1 *peer, ps map[string]*peer, a, b string) {
		n1, n3 := ps["n1"], ps["n3"]
		n.put(p1, a, func(s *subscriber.Profile) { s.Barring = []string{b[:4]} })
		expect(t, "barred", n1.call(a, b), map[int]string{lineDo: "refuse", lineRefusal: "403 Destination Barred", lineHA1: "ha1-of-" + a})
		expect(t, "not barred", n1.call(a, "other@far.example"), map[int]string{lineRefusal: "", lineHA1: "ha1-of-" + a})
		n.put(p1, a, func(s *subscriber.Profile) { s.ACL = []string{"10.0.0.0/8"} })
		expect(t, "from elsewhere", n1.call(a, b), map[int]string{lineDo: "refuse", lineHA1: ""})
		good := n3.script("call", "sip:"+a, "sip:"+b, "10.1.1.1", "", "")
		expect(t, "through another node", n1.script("call", "sip:"+a, "sip:"+b, n3.address(), good[lineHop], ""), map[int]string{lineDo: "pass", lineHA1: "ha1-of-" + a})
		expect(t, "by its own word", n1.script("call", "sip:"+a, "sip:"+b, outside, good[lineHop], ""), map[int]string{lineDo: "refuse", lineHA1: ""})
		n.put(p1, a, func(s *subscriber.Profile) { s.Groups = []string{"blocked"} })
		expect(t, "blocked calls", n1.call(a, b), map[int]string{lineDo: "refuse", lineRefusal: "403 Account Blocked", lineHA1: "ha1-of-" + a})
		r := n1.script("register", "", "sip:"+a, outside, "", "")
		expect(t, "blocked registers", r, map[int]string{lineDo: "refuse", lineRefusal: "403 Account Blocked", lineHA1: "ha1-of-" + a})
	})
}

func TestRegistrationsGoToTheOwner(t *testing.T) {
	calls(t, func(t *testing.T, n *network, p1 *peer, ps map[string]*peer, a, b string) {
		n1, n2, n3 := ps["n1"], ps["n2"], ps["n3"]
		e := n3.script("register", "", "sip:"+strings.ToUpper(a), outside, "", "")
		expect(t, "elsewhere", e, map[int]string{lineDo: "pass", lineNext: n1.address() + "," + n2.address(), lineHA1: ""})
		expect(t, "at the owner", n1.script("register", "", "sip:"+a, n3.address(), e[lineHop], ""), map[int]string{lineDo: "save", lineHA1: "ha1-of-" + a, lineProxy: "proxy"})
		expect(t, "at the heir", n2.script("register", "", "sip:"+a, n3.address(), e[lineHop]+";heir", ""), map[int]string{lineDo: "save", lineHA1: "ha1-of-" + a})
		expect(t, "at the heir, says a phone", n2.script("register", "", "sip:"+a, outside, e[lineHop]+";heir", ""), map[int]string{lineDo: "pass", lineHA1: ""})
		expect(t, "two owners", n3.script("register", "", "sip:"+a, n2.address(), e[lineHop], ""), map[int]string{lineDo: "refuse", lineRefusal: "503 Owner Changes"})
		expect(t, "of a proxy before", n1.script("register", "", "sip:"+a, n3.address(), "1", ""), map[int]string{lineDo: "save"})
		n.put(p1, a, func(s *subscriber.Profile) { s.ACL = []string{"192.0.2.0/24"} })
		expect(t, "through another node", n1.script("register", "", "sip:"+a, n3.address(), e[lineHop], ""), map[int]string{lineDo: "save"})
		expect(t, "from an address that it may not", n1.script("register", "", "sip:"+a, "198.51.100.1", "", ""), map[int]string{lineDo: "refuse", lineHA1: ""})
		for _, to := range []string{"nobody-at-all@example.net", "", "sip:example.net"} {
			if got := n1.script("register", "", to, outside, "", ""); got[lineDo] != "refuse" && got[lineDo] != "pass" || got[lineHA1] != "" {
				t.Errorf("%q: %q", to, got)
			}
		}
		if w := n1.get("/subscriber/register?source=x&to=zz"); w.Code != http.StatusBadRequest {
			t.Errorf("nonsense: %d", w.Code)
		}
	})
}

func TestWhatTheCalleesProfileSays(t *testing.T) {
	calls(t, func(t *testing.T, n *network, p1 *peer, ps map[string]*peer, a, b string) {
		n1, n2 := ps["n1"], ps["n2"]
		call := func(caller string) []string {
			return n2.script("call", "sip:whoever@example.net", "sip:"+b, n1.address(), "callee;caller="+caller, "")
		}
		n.put(p1, b, func(s *subscriber.Profile) {
			s.Timeout = 20
			s.Diversions = map[string]string{"FNOL": "sip:l@x", "FBUS": "sip:b@x", "FNOA": "sip:a@x", "FUNV": "sip:v@x"}
			s.Reject = []string{"sip:bad@example.net"}
		})
		expect(t, "rings", call(a), map[int]string{
			lineDo: "serve", lineSeconds: "20", lineOffline: "sip:l@x", lineBusy: "sip:b@x", lineSilent: "sip:a@x", lineAway: "sip:v@x",
		})
		expect(t, "rejected, and diverted", call("bad@example.net"), map[int]string{lineDo: "divert", lineURI: "sip:v@x", lineRefusal: "403 Call Rejected"})
		n.put(p1, b, func(s *subscriber.Profile) { s.Reject = []string{"sip:bad@example.net"} })
		expect(t, "rejected", call("bad@example.net"), map[int]string{lineDo: "refuse", lineRefusal: "403 Call Rejected"})
		n.put(p1, b, func(s *subscriber.Profile) {
			s.Groups = []string{"blocked"}
			s.Diversions = map[string]string{"FUNC": "sip:c@x"}
		})
		expect(t, "blocked", call(a), map[int]string{lineDo: "refuse", lineRefusal: "403 Account Blocked"})
		n.put(p1, b, func(s *subscriber.Profile) { s.Diversions = map[string]string{"FUNC": "sip:" + a} })
		d := call(a)
		expect(t, "all calls", d, map[int]string{lineDo: "divert", lineURI: "sip:" + a, lineRefusal: "", lineKey: b})
		on := n2.script("call", "sip:x@example.net", "sip:"+a, n1.address(), d[lineDivert], "&diverted=1")
		expect(t, "goes on", on, map[int]string{lineDo: "pass", lineNext: n1.address() + "," + n2.address(), lineHA1: ""})
		// In a circle.
		n.put(p1, a, func(s *subscriber.Profile) { s.Diversions = map[string]string{"FUNC": "sip:" + b} })
		at, key := map[string]*peer{a: n1, b: n2}, a
		for i := 0; on[lineDo] == "pass"; i++ {
			if i > 10 {
				t.Fatal("in a circle for ever")
			}
			got := at[key].script("call", "sip:x@example.net", "sip:"+key, n2.address(), on[lineHop], "")
			if got[lineDo] != "divert" {
				expect(t, "in a circle", got, map[int]string{lineDo: "refuse", lineRefusal: "482 Too Many Diversions"})
				break
			}
			on = at[key].script("call", "sip:x@example.net", got[lineURI], n2.address(), got[lineDivert], "&diverted=1")
			key = strings.TrimPrefix(got[lineURI], "sip:")
		}
	})
}

func TestAliases(t *testing.T) {
	calls(t, func(t *testing.T, n *network, p1 *peer, ps map[string]*peer, a, b string) {
		n1, n2, n3 := ps["n1"], ps["n2"], ps["n3"]
		alias := ""
		for i := 0; alias == "" || p1.at(alias).Owner() != "n3"; i++ {
			alias = fmt.Sprintf("alias%d@example.net", i)
		}
		n.put(p1, alias, func(s *subscriber.Profile) { s.AliasOf, s.HA1 = b, "" })
		n.put(p1, b, func(s *subscriber.Profile) { s.Aliases = []string{alias} })
		e := n3.script("call", "sip:"+a, "sip:"+alias, n1.address(), "callee;caller="+a, "")
		expect(t, "a call", e, map[int]string{lineDo: "pass", lineNext: n2.address() + "," + n3.address(), lineURI: "sip:" + b})
		expect(t, "at the account", n2.script("call", "sip:"+a, e[lineURI], n3.address(), e[lineHop], ""), map[int]string{lineDo: "serve", lineKey: b})
		e = n3.call(alias, a)
		expect(t, "a caller", e, map[int]string{lineDo: "pass", lineNext: n2.address() + "," + n3.address()})
		expect(t, "has the account's credentials", n2.script("call", "sip:"+alias, "sip:"+a, n3.address(), e[lineHop], ""), map[int]string{lineDo: "pass", lineHA1: "ha1-of-" + b})
		expect(t, "another's alias", n2.script("call", "sip:"+a, "sip:"+a, n3.address(), e[lineHop], ""), map[int]string{lineDo: "refuse", lineRefusal: "403 Not Your Name"})
	})
}

func TestStrangersAndPeers(t *testing.T) {
	calls(t, func(t *testing.T, n *network, p1 *peer, ps map[string]*peer, a, b string) {
		n2 := ps["n2"]
		stranger, far := "", ""
		for i := 0; stranger == "" || p1.at(stranger).Owner() != "n2"; i++ {
			stranger = fmt.Sprintf("s%d@elsewhere.example", i)
		}
		for i := 0; far == "" || p1.at(far).Owner() != "n2"; i++ {
			far = fmt.Sprintf("f%d@far.example", i)
		}
		expect(t, "a stranger calls", n2.call(stranger, b), map[int]string{lineDo: "serve", lineHA1: "", lineKey: b})
		expect(t, "a stranger calls a stranger", n2.call(stranger, far), map[int]string{lineDo: "refuse", lineRefusal: "403 Relaying Denied"})
		expect(t, "a subscriber calls a stranger", n2.call(b, far), map[int]string{lineDo: "relay", lineHA1: "ha1-of-" + b})
		expect(t, "nobody is there", n2.call(b, n2.address()), map[int]string{lineDo: "refuse"})
		n.store.mu.Lock()
		n.store.trust = subscriber.Trust{
			Peers:   []subscriber.TrustedPeer{{Network: outside + "/32"}, {Network: "198.51.100.0/24", Transit: true}, {Network: "198.51.100.7/32", Blocked: true}},
			Domains: []string{"example.net"},
		}
		n.store.mu.Unlock()
		n.within(10*time.Second, "peers are trusted", func() bool { return n2.call(a, b)[lineDo] == "serve" })
		expect(t, "a peer", n2.call(b, b), map[int]string{lineDo: "serve", lineHA1: ""})
		expect(t, "a peer, elsewhere", n2.call(b, far), map[int]string{lineDo: "refuse"})
		expect(t, "in transit", n2.script("call", "sip:x@y", "sip:"+far, "198.51.100.1", "", ""), map[int]string{lineDo: "relay"})
		expect(t, "a blocked peer", n2.script("call", "sip:x@y", "sip:"+b, "198.51.100.7", "", ""), map[int]string{lineDo: "refuse", lineRefusal: "403 Peer Blocked"})

		// Provisioning is down: who is known to be a stranger still gets through.
		n.store.setDown(true)
		time.Sleep(15 * time.Second) // what is known of strangers is forgotten
		call := func(from, to string) []string {
			return n2.script("call", "sip:"+from, "sip:"+to, "203.0.113.1", "", "")
		}
		expect(t, "a stranger calls meanwhile", call(stranger, b), map[int]string{lineDo: "serve", lineHA1: ""})
		expect(t, "a subscriber meanwhile", call(b, b), map[int]string{lineDo: "serve", lineHA1: "ha1-of-" + b})
		unknown := ""
		for i := 0; unknown == "" || p1.at(unknown).Owner() != "n2"; i++ {
			unknown = fmt.Sprintf("u%d@example.net", i)
		}
		expect(t, "one who may be an impostor", call(unknown, b), map[int]string{lineDo: "503"})
	})
}

func TestMailboxes(t *testing.T) {
	calls(t, func(t *testing.T, n *network, p1 *peer, ps map[string]*peer, a, b string) {
		n2 := ps["n2"]
		n.put(p1, b, func(s *subscriber.Profile) {
			s.Mailbox, s.Diversions = "1000001", map[string]string{"FNOL": "<voice-mailbox>"}
		})
		hop := "callee;caller=" + a
		call := func() []string { return n2.script("call", "sip:"+a, "sip:"+b, ps["n1"].address(), hop, "") }
		expect(t, "without a server", call(), map[int]string{lineOffline: ""})
		v := n.join("v1", subjects.VoicemailServer)
		v.member(subjects.VoicemailServer, nil)
		v.run()
		want := "sip:1000001@" + v.address()
		n.within(10*time.Second, "a server", func() bool { return call()[lineOffline] == want })
		s := call()
		expect(t, "on to it", n2.script("call", "sip:"+a, want, ps["n1"].address(), s[lineDivert], "&diverted=1"), map[int]string{lineDo: "relay"})
		expect(t, "a stranger to it", n2.script("call", "sip:x@y", want, outside, "", ""), map[int]string{lineDo: "pass"})
	})
}
