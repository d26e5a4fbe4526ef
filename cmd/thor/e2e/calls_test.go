//go:build e2e

package e2e_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A stage is the network in which calls are made: what SOAP provisions, Kamailio
// applies, and SIPp sees.
type stage struct {
	*network
	soap *soapClient
	sipp string
	db   *sql.DB
	uses int // ports of callers
	user map[string]*user
}

// A user is an account, with a phone at an address of its own.
type user struct {
	subscriber
	phone string // host:port
}

const callsNet = "127.97"

func (s *stage) at(node int) string { return fmt.Sprintf("%s.20.%d", callsNet, node) }

func (s *stage) nodeOf(u string) int {
	var n int
	_, _ = fmt.Sscanf(s.user[u].owner, "node%d", &n)
	return n
}

// entry is a node that is not u's owner.
func (s *stage) entry(u string) string { return s.at(s.nodeOf(u)%3 + 1) }

// People of the stage: who is at which node.
var cast = map[string]string{
	"alice": "node1", "bob": "node2", "carol": "node3", "dave": "node2", "erin": "node1", "frank": "node3",
}

// newStage has the accounts, whose names are such that they are at their nodes.
func newStage(t *testing.T) *stage {
	t.Helper()
	need(t, "mariadbd", "mariadb-server")
	need(t, "kamailio", "kamailio")
	s := &stage{sipp: need(t, "sipp", "sip-tester"), user: make(map[string]*user)}
	s.network = startNetwork(t, callsNet, "--nodes", "3")
	s.soap = s.network.soap(t)
	var err error
	if s.db, err = sql.Open("mysql", "root@unix("+filepath.Join(s.dir, "mariadb", "sock")+")/thor"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.db.Close() })
	s.soap.must(t, "Sip", "addDomain", "<domain><domain>"+sipDomain+"</domain></domain>")
	var keys []string
	for name := range cast {
		for i := range 30 {
			keys = append(keys, fmt.Sprintf("%s%d@%s", name, i, sipDomain))
		}
	}
	port := 16000
	for _, f := range s.found(t, keys...) {
		id, _, _ := strings.Cut(f.Key, "@")
		name := strings.TrimRight(id, "0123456789")
		if s.user[name] != nil || string(f.Owner) != cast[name] {
			continue
		}
		port += 2
		s.user[name] = &user{subscriber{name: id, password: "secret-of-" + id, owner: string(f.Owner)}, fmt.Sprintf("%s.40.1:%d", callsNet, port)}
		s.soap.must(t, "Sip", "addAccount", account(id, sipDomain, "<password>"+s.user[name].password+"</password><timeout>2</timeout>"))
	}
	if len(s.user) != len(cast) {
		t.Fatalf("only %d of the cast", len(s.user))
	}
	s.applied(t)
	return s
}

func (s *stage) uri(u string) string { return "sip:" + s.user[u].key() }

func (s *stage) id(u string) string { return sipID(s.user[u].name, sipDomain) }

// register registers the phone of u through another node than its own.
func (s *stage) register(t *testing.T, u, contact, first, final string) {
	t.Helper()
	x := s.user[u]
	if contact == "" {
		contact = x.phone
	}
	text := strings.NewReplacer("[local_ip]:[local_port]>", contact+">", "[field0]", x.name, "[field1]", sipDomain,
		"[field2]", fmt.Sprintf("[authentication username=%s password=%s]", x.name, x.password)).Replace(scenario(first, final))
	r := startXML(t, s.sipp, u+" registers", x.phone, s.entry(u), text)
	r.done(t)
}

// call has u call through another node than its own, with credentials.
func (s *stage) call(t *testing.T, what, u, to, final string, change ...func(*placed)) {
	t.Helper()
	x := s.user[u]
	c := placed{from: s.uri(u), to: to, user: x.name, password: x.password, challenged: "407", final: final}
	for _, f := range change {
		f(&c)
	}
	s.place(t, what, c, callsNet+".40.2", s.entry(u))
}

// place makes a call from an address.
func (s *stage) place(t *testing.T, what string, c placed, from, entry string) {
	t.Helper()
	began := time.Now()
	s.uses++
	if startSIPp(t, s.sipp, what, fmt.Sprintf("%s:%d", from, 17000+2*s.uses), entry, c.messages()).done(t) {
		t.Logf("%6d ms  %s: %s", time.Since(began).Milliseconds(), what, c.final)
	}
}

// rings runs f while the phone of u does what ms says, which has to happen.
func (s *stage) rings(t *testing.T, u string, ms []message, f func()) {
	t.Helper()
	r := startSIPp(t, s.sipp, "the phone of "+u, s.user[u].phone, "", ms)
	f()
	r.done(t)
}

func (s *stage) divert(t *testing.T, u string, to ...string) {
	t.Helper()
	x := ""
	for i := 0; i < len(to); i += 2 {
		x += "<" + to[i] + ">" + to[i+1] + "</" + to[i] + ">"
	}
	s.soap.must(t, "Sip", "setCallDiversions", s.id(u)+"<diversions>"+x+"</diversions>")
	s.applied(t)
}

// applied waits until the nodes of every subscriber have acknowledged all changes.
func (s *stage) applied(t *testing.T) {
	t.Helper()
	for began := time.Now(); ; <-time.After(5 * time.Millisecond) {
		var n int
		if err := s.db.QueryRow("SELECT COUNT(*) FROM sip_revisions WHERE pending IS NOT NULL").Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return
		}
		if time.Since(began) > 10*time.Second {
			t.Fatalf("%d changes are not at the nodes", n)
		}
	}
}

// Every provisioned feature, as phones see it, over real proxies of which none is
// caller's and callee's node at once.
func TestCallsAreAsProvisioned(t *testing.T) {
	s := newStage(t)
	for _, u := range []string{"alice", "bob", "carol", "frank"} {
		s.register(t, u, "", "401", "200")
	}
	s.authentication(t)
	s.aliases(t)
	s.diversions(t)
	s.blocked(t)
	s.screening(t)
	s.trusted(t)
	s.behindNAT(t)
	s.deadOwner(t)
}

func (s *stage) authentication(t *testing.T) {
	t.Helper()
	s.rings(t, "bob", answers(""), func() { s.call(t, "with credentials", "alice", s.uri("bob"), "200") })
	s.call(t, "without credentials", "alice", s.uri("bob"), "407", func(c *placed) { c.user = "" })
	s.call(t, "with a wrong password", "alice", s.uri("bob"), "407", func(c *placed) { c.password = "wrong" })
	s.call(t, "in another's name, with one's own credentials", "alice", s.uri("bob"), "403", func(c *placed) { c.from = s.uri("frank") })
	s.call(t, "in another's name and under its user name, with one's own password", "alice", s.uri("bob"), "407", func(c *placed) {
		c.from, c.user = s.uri("frank"), s.user["frank"].name
	})
	for _, from := range []string{"sip:nobody@" + sipDomain, "sip:" + sipDomain} {
		s.call(t, "in the name of "+from, "alice", s.uri("bob"), "403", func(c *placed) { c.from, c.user = from, "" })
	}
	s.call(t, "in another's name, as if a proxy had said so", "alice", s.uri("bob"), "407", func(c *placed) {
		c.user, c.headers = "", "Thor-Hop: callee;caller=x%40"+sipDomain+";known=1\n"
	})
	s.call(t, "nobody", "alice", "sip:nobody@"+sipDomain, "404")
	s.rings(t, "bob", answers(""), func() {
		s.call(t, "a stranger", "alice", s.uri("bob"), "200", func(c *placed) { c.from, c.user = "sip:x@elsewhere.example", "" })
	})
	s.call(t, "a stranger to a stranger", "alice", "sip:y@far.example", "403", func(c *placed) { c.from, c.user = "sip:x@elsewhere.example", "" })
}

func (s *stage) aliases(t *testing.T) {
	t.Helper()
	bob := s.user["bob"].name
	for i := range 3 { // at different nodes
		name := fmt.Sprintf("office%d", i)
		s.soap.must(t, "Sip", "addAlias", fmt.Sprintf("<alias><id><username>%s</username><domain>%s</domain></id><target><username>%s</username><domain>%s</domain></target></alias>",
			name, sipDomain, bob, sipDomain))
		s.applied(t)
		s.rings(t, "bob", answers(""), func() { s.call(t, "by an alias", "alice", "sip:"+name+"@"+sipDomain, "200") })
		s.rings(t, "carol", answers(""), func() {
			s.call(t, "from an alias", "bob", s.uri("carol"), "200", func(c *placed) { c.from = "sip:" + name + "@" + sipDomain })
		})
		s.call(t, "from another's alias", "alice", s.uri("carol"), "403", func(c *placed) { c.from = "sip:" + name + "@" + sipDomain })
	}
}

func (s *stage) diversions(t *testing.T) {
	t.Helper()
	carol := func(what, to string) {
		t.Helper()
		s.rings(t, "carol", answers(""), func() { s.call(t, what, "alice", to, "200") })
	}
	s.divert(t, "bob", "FUNC", s.uri("carol"))
	carol("all calls", s.uri("bob"))
	s.divert(t, "bob", "FBUS", s.uri("carol"))
	s.rings(t, "bob", isBusy(), func() { carol("busy", s.uri("bob")) })
	s.divert(t, "bob", "FNOA", s.uri("carol"))
	s.rings(t, "bob", isSilent(), func() { carol("no answer", s.uri("bob")) })
	s.divert(t, "erin", "FNOL", s.uri("carol"))
	carol("not online", s.uri("erin"))
	s.divert(t, "erin")
	s.call(t, "not online, nowhere else", "alice", s.uri("erin"), "480")
	s.divert(t, "bob")
	s.rings(t, "bob", isBusy(), func() { s.call(t, "busy, nowhere else", "alice", s.uri("bob"), "486") })

	// To another network, and in a circle.
	outside := callsNet + ".40.9:16999"
	s.divert(t, "bob", "FUNC", "sip:ext@"+outside)
	r := startSIPp(t, s.sipp, "a phone elsewhere", outside, "", answers(""))
	s.call(t, "to another network", "alice", s.uri("bob"), "200")
	r.done(t)
	s.divert(t, "carol", "FUNC", s.uri("bob"))
	s.divert(t, "bob", "FUNC", s.uri("carol"))
	s.call(t, "in a circle", "alice", s.uri("bob"), "482")
	s.divert(t, "carol")
	s.divert(t, "bob")
}

func (s *stage) blocked(t *testing.T) {
	t.Helper()
	s.register(t, "dave", "", "401", "200")
	s.soap.must(t, "Sip", "addToGroup", s.id("dave")+"<group>blocked</group>")
	s.applied(t)
	s.register(t, "dave", "", "401", "403")
	s.call(t, "to one who is blocked", "alice", s.uri("dave"), "403")
	s.call(t, "from one who is blocked", "dave", s.uri("bob"), "403")
	s.soap.must(t, "Sip", "removeFromGroup", s.id("dave")+"<group>blocked</group>")
	s.applied(t)
	s.rings(t, "bob", answers(""), func() { s.call(t, "from one who is blocked no more", "dave", s.uri("bob"), "200") })
	s.rings(t, "dave", answers(""), func() { s.call(t, "to one who is blocked no more", "alice", s.uri("dave"), "200") })
}

func (s *stage) screening(t *testing.T) {
	t.Helper()
	set := func(op, u, what string) {
		t.Helper()
		s.soap.must(t, "Sip", op, s.id(u)+what)
		s.applied(t)
	}
	bob := func(what, caller string) {
		t.Helper()
		s.rings(t, "bob", answers(""), func() { s.call(t, what, caller, s.uri("bob"), "200") })
	}
	set("setBarringPrefixes", "alice", "<prefixes><item>+31900</item></prefixes>")
	s.call(t, "to a barred number", "alice", "sip:0031900123@"+sipDomain, "403")
	s.call(t, "to a barred number, in disguise", "alice", "sip:%2B31-900-123@"+sipDomain, "403")
	s.call(t, "to another number", "alice", "sip:0031200123@"+sipDomain, "404")
	set("setRejectMembers", "bob", "<members><item>"+s.uri("alice")+"</item></members>")
	s.call(t, "a rejected caller", "alice", s.uri("bob"), "403")
	bob("another caller", "frank")
	s.divert(t, "bob", "FUNV", s.uri("carol"))
	s.rings(t, "carol", answers(""), func() { s.call(t, "a rejected caller, diverted", "alice", s.uri("bob"), "200") })
	s.divert(t, "bob")
	set("setRejectMembers", "bob", "<members></members>")

	set("setAcceptRules", "bob", "<rules><temporary><groups><item>nobody</item></groups><duration>5</duration></temporary></rules>")
	s.call(t, "nobody is accepted", "frank", s.uri("bob"), "403")
	set("setAcceptRules", "bob", "<rules><persistent><item><start>00:00</start><stop>24:00</stop><groups><item>friends</item></groups><days>127</days></item></persistent></rules>")
	set("addPhonebookEntry", "bob", "<entry><uri>"+s.uri("frank")+"</uri><name>Frank</name><group>friends</group></entry>")
	bob("a friend is accepted", "frank")
	s.call(t, "another is not", "alice", s.uri("bob"), "403")
	set("setAcceptRules", "bob", "<rules></rules>")

	set("addToGroup", "bob", "<group>anonymous-reject</group>")
	s.call(t, "without a name", "alice", s.uri("bob"), "433", func(c *placed) { c.from, c.user = "sip:anonymous@anonymous.invalid", "" })
	set("removeFromGroup", "bob", "<group>anonymous-reject</group>")

	s.soap.must(t, "Sip", "updateAccount", account(s.user["alice"].name, sipDomain, "<acl><item><ip>10.0.0.0</ip><mask>8</mask></item></acl>"))
	s.applied(t)
	s.register(t, "alice", "", "403", "")
	s.call(t, "from an address that is not allowed", "alice", s.uri("bob"), "403", func(c *placed) { c.user = "" })
	s.soap.must(t, "Sip", "updateAccount", account(s.user["alice"].name, sipDomain, "<acl><item><ip>"+callsNet+".40.0</ip><mask>24</mask></item></acl>"))
	s.applied(t)
	bob("from one that is", "alice")
}

func (s *stage) trusted(t *testing.T) {
	t.Helper()
	from, c := callsNet+".40.5", placed{from: "sip:+31201234567@peer.example", to: s.uri("bob"), final: "200"}
	local := c
	local.from, local.final = s.uri("frank"), "407"
	s.place(t, "not yet a peer", local, from, s.at(1))
	s.soap.must(t, "Sip", "addTrustedPeer", "<peer><ip>"+from+"</ip></peer>")
	local.final = "200"
	<-time.After(6 * time.Second) // nodes ask every 5 s
	s.rings(t, "bob", answers(""), func() { s.place(t, "a trusted peer", local, from, s.at(1)) })
	s.soap.must(t, "Sip", "updateTrustedPeer", "<peer><ip>"+from+"</ip><blocked>true</blocked></peer>")
	<-time.After(6 * time.Second)
	c.final = "403"
	s.place(t, "a blocked peer", c, from, s.at(1))
}

// behindNAT: phones that know only addresses that cannot be reached.
func (s *stage) behindNAT(t *testing.T) {
	t.Helper()
	s.register(t, "erin", "10.9.9.9:5060", "401", "200")
	s.rings(t, "erin", answers("10.9.9.9:5060"), func() {
		s.call(t, "both behind a NAT", "frank", s.uri("erin"), "200", func(c *placed) { c.contact = "10.8.8.8:5060" })
	})
}

// deadOwner: the node of bob is dead, and at first no other has noticed.
func (s *stage) deadOwner(t *testing.T) {
	t.Helper()
	for _, p := range []string{"node2", "node2-sip"} {
		if err := syscall.Kill(-s.pid(t, p), syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	s.rings(t, "carol", answers(""), func() { s.call(t, "from one whose node is dead", "bob", s.uri("carol"), "200") })
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("the heir was asked at once, after %s: this shows nothing of a death that is not noticed", took)
	}
	s.register(t, "bob", "", "401", "200")
	s.rings(t, "bob", answers(""), func() { s.call(t, "to one whose node is dead", "frank", s.uri("bob"), "200") })
	for _, p := range []string{"node2-sip", "node2"} {
		_ = syscall.Kill(-s.pid(t, p), syscall.SIGCONT)
	}
}
