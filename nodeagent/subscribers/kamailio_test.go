package subscribers_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"thor/broker/brokertest"
	"thor/nodeagent/kamailio"
	"thor/nodeagent/local"
	"thor/nodeagent/registrar"
	"thor/nodeagent/secret"
	"thor/overlay/subscriber"
	"thor/subjects"
)

const patience = 20 * time.Second

// modules is where Kamailio's are; the test is skipped without those it needs.
func modules(t *testing.T) string {
	t.Helper()
	_, err := exec.LookPath("kamailio")
	m, _ := filepath.Glob("/usr/lib*/*/kamailio/modules/http_client.so")
	if err == nil && len(m) > 0 {
		return filepath.Dir(m[0])
	}
	const text = "kamailio with http_client is not installed (Debian packages kamailio, kamailio-utils-modules)"
	if os.Getenv("CI") == "true" {
		t.Fatal(text)
	}
	t.Skip(text)
	return ""
}

// secretOf makes a secret, and its file.
func secretOf(t *testing.T) (*secret.Key, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	k, err := secret.Load(file, -1)
	if err != nil {
		t.Fatal(err)
	}
	return k, file
}

// startKamailio runs the example configuration at an address, beside the agent
// that answers there.
func startKamailio(t *testing.T, modules, addr, secretFile string) {
	t.Helper()
	b, err := os.ReadFile("../../deploy/examples/kamailio/register.cfg")
	if err != nil {
		t.Fatal(err)
	}
	cfg := strings.NewReplacer(
		"/etc/thor/local.secret", secretFile, "192.0.2.1", addr, "127.0.0.1:9501", addr+":9501", "127.0.0.1:5062", addr+":5062", "children=4", "children=2\ntcp_children=2\nmpath=\""+modules+"/\"",
	).Replace(string(b))
	dir := t.TempDir()
	file := filepath.Join(dir, "kamailio.cfg")
	if err := os.WriteFile(file, []byte(cfg), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := exec.Command("kamailio", "-f", file, "-DD", "-E", "-m", "32", "-M", "4", "-Y", dir, "-w", dir, "-P", filepath.Join(dir, "pid"))
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-done
		if t.Failed() {
			t.Logf("kamailio at %s:\n%s", addr, out.Bytes())
		}
	})
}

// agents adds to the nodes of s what Kamailio asks, and what is asked of it.
func (s *site) agents(t *testing.T, key *secret.Key) {
	t.Helper()
	for name, n := range s.nodes {
		addr := n.Identity().Addresses[0].String()
		c, err := kamailio.NewClient("http://"+addr+":5062/RPC", key)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(registrar.Handle(n, map[subjects.Role]registrar.Source{subjects.SIPProxy: c}, zerolog.Nop()).Close)
		l, err := local.New(local.Config{Source: n, HTTP: addr + ":9501", Key: key, Pages: map[string]http.Handler{"/subscriber/": s.caches[name].Handler()}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- l.Run(ctx) }()
		t.Cleanup(func() { cancel(); <-done })
		select {
		case <-l.Ready():
		case <-time.After(patience):
			t.Fatal("the local service does not listen")
		}
	}
}

// A phone is a SIP client over UDP.
type phone struct {
	t    *testing.T
	conn *net.UDPConn
	seq  int
}

func newPhone(t *testing.T) *phone {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 46, 200)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &phone{t: t, conn: c}
}

func (p *phone) read(wait time.Duration) string {
	b := make([]byte, 8192)
	_ = p.conn.SetReadDeadline(time.Now().Add(wait))
	n, err := p.conn.Read(b)
	if err != nil {
		return ""
	}
	return string(b[:n])
}

// ask sends a request to a proxy, again while none answers, and returns the
// final answer.
func (p *phone) ask(proxy, request string) string {
	p.t.Helper()
	to, err := net.ResolveUDPAddr("udp4", proxy+":5060")
	if err != nil {
		p.t.Fatal(err)
	}
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if _, err := p.conn.WriteTo([]byte(request), to); err != nil {
			p.t.Fatal(err)
		}
		for a := p.read(500 * time.Millisecond); a != ""; a = p.read(3 * time.Second) {
			if !strings.HasPrefix(a, "SIP/2.0 1") && header(a, "Call-ID") == header(request, "Call-ID") && header(a, "CSeq") == header(request, "CSeq") {
				return a // and not a second answer to the request before
			}
		}
	}
	p.t.Fatalf("%s does not answer %.60q", proxy, request)
	return ""
}

func header(msg, name string) string {
	for l := range strings.Lines(msg) {
		if k, v, ok := strings.Cut(l, ":"); ok && strings.EqualFold(strings.TrimSpace(k), name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func param(h, name string) string {
	_, v, _ := strings.Cut(h, name+"=\"")
	v, _, _ = strings.Cut(v, "\"")
	return v
}

func md5hex(s string) string { return fmt.Sprintf("%x", md5.Sum([]byte(s))) }

// register registers user with a password, under the name as in the credentials,
// and returns the status.
func (p *phone) register(proxy, user, password, as string) string {
	p.t.Helper()
	a, _ := p.registers(proxy, user, password, as, as, "")
	return a
}

// registers does so with the digest of the name known, and with more headers. It
// returns the whole answer too.
func (p *phone) registers(proxy, user, password, as, known, headers string) (status, answer string) {
	p.t.Helper()
	const domain = "example.net"
	p.seq++
	request := func(cseq int, more string) string {
		return fmt.Sprintf("REGISTER sip:%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bKthor%d%d\r\nMax-Forwards: 70\r\nFrom: <sip:%s@%s>;tag=f\r\n"+
			"To: <sip:%s@%s>\r\nCall-ID: %d-%s@%s\r\nCSeq: %d REGISTER\r\nContact: <sip:%s@%s>\r\nExpires: 300\r\nUser-Agent: phone\r\n%sContent-Length: 0\r\n\r\n",
			domain, p.conn.LocalAddr(), p.seq, cseq, user, domain, user, domain, p.seq, user, p.conn.LocalAddr(), cseq, user, p.conn.LocalAddr(), headers+more)
	}
	a := p.ask(proxy, request(1, ""))
	challenge := header(a, "WWW-Authenticate")
	if challenge == "" {
		return a[8:11], a
	}
	realm, nonce := param(challenge, "realm"), param(challenge, "nonce")
	response := md5hex(md5hex(known+":"+realm+":"+password) + ":" + nonce + ":" + md5hex("REGISTER:sip:"+domain))
	a = p.ask(proxy, request(2, fmt.Sprintf("Authorization: Digest username=%q, realm=%q, nonce=%q, uri=\"sip:%s\", response=%q\r\n", as, realm, nonce, domain, response)))
	return a[8:11], a
}

// The example configuration of Kamailio, three times, with this cache and the
// lookup beside each.
func TestKamailioAuthenticatesFromTheCache(t *testing.T) {
	m := modules(t)
	s := newSite(t, brokertest.Start(t))
	key, file := secretOf(t)
	s.agents(t, key)
	for i := range 3 {
		startKamailio(t, m, fmt.Sprintf("127.0.46.%d", i+1), file)
	}
	account := func(user, password string) {
		t.Helper()
		s.live.Push(s.store.change(user+"@example.net", md5hex(user+":example.net:"+password), false))
		brokertest.Eventually(t, patience, "the push is acknowledged", func() error {
			if n := s.store.waiting(); n > 0 {
				return fmt.Errorf("%d wait", n)
			}
			return nil
		})
	}
	p := newPhone(t)
	for i := range 6 { // some at their owner, some not
		user := fmt.Sprintf("user%d", i)
		account(user, "first")
		proxy := fmt.Sprintf("127.0.46.%d", i%3+1)
		if got := p.register(proxy, user, "wrong", user); got != "401" {
			t.Errorf("%s with a wrong password: %s", user, got)
		}
		if got := p.register(proxy, user, "first", user); got != "200" {
			t.Errorf("%s at %s: %s", user, proxy, got)
		}
		account(user, "second")
		if got := p.register(proxy, user, "first", user); got != "401" {
			t.Errorf("%s with its former password: %s", user, got)
		}
		if got := p.register(proxy, strings.ToUpper(user), "second", user); got != "200" {
			t.Errorf("%s with its new password: %s", user, got)
		}
	}
	// The digest is the subscriber's own, only the name in the credentials is not.
	if got, _ := p.registers("127.0.46.1", "user1", "second", "user2", "user1", ""); got != "403" {
		t.Errorf("one subscriber registers as another: %s", got)
	}
	if got := p.register("127.0.46.1", "nobody", "x", "nobody"); got != "404" {
		t.Errorf("an unknown subscriber: %s", got)
	}
	s.checkRegistrations(t, p)
	s.checkCall(t, p)
	account("user9", "second")
	s.checkRoutes(t)
	account("user20", "second")
	s.checkPassedOn(t)
	for i := range 6 {
		account(fmt.Sprintf("user%d", 10+i), "second")
	}
	s.checkDrain(t, newPhone(t), key)
}

// checkRoutes sends what only a proxy may.
func (s *site) checkRoutes(t *testing.T) {
	t.Helper()
	victim, own := newPhone(t), newPhone(t)
	away := victim.conn.LocalAddr().String()
	for i := range 3 {
		proxy := fmt.Sprintf("127.0.46.%d", i+1)
		if got, a := own.registers(proxy, "user9", "second", "user9", "user9", "Path: <sip:"+away+";lr>\r\n"); got != "200" {
			t.Errorf("a phone that names a way back: %s", a)
		}
		s.messages(t, own, []int{9}, "naming a way back")
		for _, hop := range []string{"", "Thor-Hop: 1\r\n"} {
			for _, uri := range []string{"sip:user1@example.net", "sip:x@" + away} {
				q := fmt.Sprintf("MESSAGE %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bKroute%d%s%s\r\nMax-Forwards: 70\r\nFrom: <sip:x@example.net>;tag=m\r\n"+
					"To: <sip:user1@example.net>\r\nCall-ID: route%d%s%s\r\nCSeq: 1 MESSAGE\r\nRoute: <sip:%s;lr>, <sip:%s;lr>\r\n%sContent-Length: 0\r\n\r\n",
					uri, victim.conn.LocalAddr(), i, hop[:min(4, len(hop))], uri[4:5], i, hop[:min(4, len(hop))], uri[4:5], proxy, away, hop)
				if _, err := newPhone(t).conn.WriteTo([]byte(q), &net.UDPAddr{IP: net.ParseIP(proxy), Port: 5060}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for a := victim.read(time.Second); a != ""; a = victim.read(500 * time.Millisecond) {
		if !strings.HasPrefix(a, "SIP/2.0 ") {
			t.Errorf("an open relay: %s", a)
		}
	}
	s.checkStreams(t)
}

// checkPassedOn registers through a proxy that knows an older status than the next one,
// which passes the request on once more. The test is that proxy. Calls find the way back.
func (s *site) checkPassedOn(t *testing.T) {
	t.Helper()
	const user = "user20"
	var others []net.IP // than the owner's
	for name, n := range s.nodes {
		l, _, err := n.Lookup(subjects.SIPProxy, user+"@example.net")
		if err != nil {
			t.Fatal(err)
		}
		if l.Owner() != name {
			others = append(others, n.Identity().Addresses[0].AsSlice())
		}
	}
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: others[0]})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	p := &phone{t: t, conn: c, seq: 700}
	at := c.LocalAddr().String()
	if got, a := p.registers(others[1].String(), user, "second", user, user, "Path: <sip:"+at+";lr>\r\nThor-Hop: register;origin=127.0.46.200\r\n"); got != "200" {
		t.Fatalf("passed on twice: %s", a)
	}
	s.messages(t, p, []int{20}, "passed on twice")
}

// checkStreams tries to have a proxy write to what listens on its own machine: what is
// not signed in a dialog goes by UDP alone.
func (s *site) checkStreams(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.46.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := newPhone(t)
	at := l.Addr().String()
	for i, x := range []struct{ uri, route string }{
		{"sip:x@" + at + ";transport=TCP", ""},
		{"sip:x@192.0.2.9;alias=" + strings.Replace(at, ":", "~", 1) + "~2", ""},
		{"sip:x@" + p.conn.LocalAddr().String(), ", <sip:" + at + ";transport=tcp;lr>"},
	} {
		q := fmt.Sprintf("BYE %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bKstream%d\r\nMax-Forwards: 70\r\nFrom: <sip:x@example.net>;tag=m\r\n"+
			"To: <sip:user1@example.net>;tag=n\r\nCall-ID: stream%d\r\nCSeq: 1 BYE\r\nRoute: <sip:127.0.46.1;lr>%s\r\nContent-Length: 0\r\n\r\n",
			x.uri, p.conn.LocalAddr(), i, i, x.route)
		if a := p.ask("127.0.46.1", q); !strings.HasPrefix(a, "SIP/2.0 403") {
			t.Errorf("a stranger's way over TCP, %s%s: %.60q", x.uri, x.route, a)
		}
	}
	_ = l.(*net.TCPListener).SetDeadline(time.Now())
	if c, err := l.Accept(); err == nil {
		_ = c.Close()
		t.Error("the proxy opened a connection for a stranger")
	}
}

// checkRegistrations asks the nodes as the SOAP server does.
func (s *site) checkRegistrations(t *testing.T, p *phone) {
	t.Helper()
	var keys []string
	for i := range 7 {
		keys = append(keys, fmt.Sprintf("user%d@example.net", i))
	}
	// A Kamailio answers no call that was made in the second of its start.
	brokertest.Eventually(t, 10*time.Second, "locations of six", func() error {
		found, err := s.live.Locations(t.Context(), keys)
		if err == nil && len(found) != 6 {
			err = fmt.Errorf("%v", found)
		}
		return err
	})
	found, err := s.live.Locations(t.Context(), keys)
	if err != nil || len(found) != 6 {
		t.Errorf("locations: %v %v", found, err)
	}
	port := p.conn.LocalAddr().(*net.UDPAddr).Port
	for k, ls := range found {
		if len(ls) == 0 || ls[0].Address != "127.0.46.200" || ls[0].Port != port || ls[0].UserAgent != "phone" || ls[0].Transport != "udp" {
			t.Errorf("%s: %+v", k, ls)
		}
	}
	stats, err := s.live.Statistics(t.Context())
	sum := 0
	for _, x := range stats {
		sum += x.Sections[subscriber.OnlineAccounts]["example.net"]
	}
	if err != nil || len(stats) != 3 || sum != 6 {
		t.Errorf("statistics: %+v %v", stats, err)
	}
}

// checkCall calls each subscriber through a proxy that need not be its own.
func (s *site) checkCall(t *testing.T, callee *phone) {
	t.Helper()
	caller := newPhone(t)
	for i := range 6 {
		user := fmt.Sprintf("user%d", i)
		to, err := net.ResolveUDPAddr("udp4", fmt.Sprintf("127.0.46.%d:5060", (i+1)%3+1))
		if err != nil {
			t.Fatal(err)
		}
		q := fmt.Sprintf("INVITE sip:%s@example.net SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bKcall%d\r\nMax-Forwards: 70\r\nFrom: <sip:x@example.net>;tag=c\r\n"+
			"To: <sip:%s@example.net>\r\nCall-ID: call%d@thor\r\nCSeq: 1 INVITE\r\nContact: <sip:x@%s>\r\nContent-Length: 0\r\n\r\n",
			user, caller.conn.LocalAddr(), i, user, i, caller.conn.LocalAddr())
		if _, err := caller.conn.WriteTo([]byte(q), to); err != nil {
			t.Fatal(err)
		}
		invite := callee.read(3 * time.Second)
		for invite != "" && !strings.Contains(invite, fmt.Sprintf("Call-ID: call%d@thor", i)) {
			invite = callee.read(3 * time.Second) // repetitions of the one before
		}
		if !strings.HasPrefix(invite, "INVITE sip:"+user) && !strings.HasPrefix(invite, "INVITE sip:"+strings.ToUpper(user)) {
			t.Errorf("%s is not called: %q, the caller heard %q", user, invite, caller.read(time.Second))
			continue
		}
		if hops := strings.Count(invite, "Via:"); hops > 5 { // the caller, its proxy, the caller's and the subscriber's node, and the proxy of the device
			t.Errorf("%s was called over %d hops:\n%s", user, hops, invite)
		}
	}
}

// checkDrain drains a node: who is registered there is called, and who registers
// again is at the new owner, which outlives it.
func (s *site) checkDrain(t *testing.T, p *phone, secret *secret.Key) {
	t.Helper()
	key := func(i int) string { return fmt.Sprintf("user%d@example.net", i) }
	of := func(node subjects.NodeID) (mine []int) {
		for i := 10; i < 16; i++ {
			if l, _, err := s.nodes[node].Lookup(subjects.SIPProxy, key(i)); err == nil && l.Owner() == node {
				mine = append(mine, i)
			}
		}
		return mine
	}
	var node subjects.NodeID
	for n := range s.nodes {
		if node == "" || len(of(n)) > len(of(node)) {
			node = n
		}
	}
	mine := of(node)
	for _, i := range mine {
		user := fmt.Sprintf("user%d", i)
		if got := p.register("127.0.46.2", user, "second", user); got != "200" {
			t.Fatalf("%s: %s", user, got)
		}
	}
	if err := s.nodes[node].Drain("sip_proxy"); err != nil {
		t.Fatal(err)
	}
	brokertest.Eventually(t, patience, "everybody knows that it drains", func() error {
		for _, n := range s.nodes {
			if l, _, err := n.Lookup(subjects.SIPProxy, key(mine[0])); err != nil || l.Owner() == node || l.Previous() != node {
				return fmt.Errorf("%s: %+v %w", n.ID(), l, err)
			}
		}
		return nil
	})
	s.messages(t, p, mine, "registered before it drained")
	for n, i := range mine {
		user := fmt.Sprintf("user%d", i)
		if got := p.register(fmt.Sprintf("127.0.46.%d", n%3+1), user, "second", user); got != "200" {
			t.Fatalf("%s: %s", user, got)
		}
	}
	s.messages(t, p, mine, "registered while it drains")
	for _, i := range mine {
		l, _, err := s.nodes[node].Lookup(subjects.SIPProxy, key(i))
		if err != nil || !strings.Contains(registered(t, secret, s.nodes[l.Owner()].Identity().Addresses[0].String()), key(i)) {
			t.Errorf("%s registered while %s drains, and is not at its owner: %+v %v", key(i), node, l, err)
		}
	}
}

// registered is what the Kamailio at an address holds.
func registered(t *testing.T, key *secret.Key, address string) string {
	t.Helper()
	const body = `{"jsonrpc":"2.0","id":1,"method":"ul.dump"}`
	q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+":5062/RPC", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	proof, _ := key.Sign(secret.RPC, body, time.Now())
	q.Header.Set(secret.Header, proof)
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// messages sends one to each of the users through every proxy.
func (s *site) messages(t *testing.T, callee *phone, users []int, when string) {
	t.Helper()
	for callee.read(50*time.Millisecond) != "" { // of before
	}
	caller := newPhone(t)
	for _, i := range users {
		for j := range 3 {
			caller.seq++
			id := fmt.Sprintf("message%d-%d-%d", caller.conn.LocalAddr().(*net.UDPAddr).Port, i, j)
			q := fmt.Sprintf("MESSAGE sip:user%d@example.net SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bK%s\r\nMax-Forwards: 70\r\nFrom: <sip:x@example.net>;tag=m\r\n"+
				"To: <sip:user%d@example.net>\r\nCall-ID: %s\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n",
				i, caller.conn.LocalAddr(), id, i, id)
			if _, err := caller.conn.WriteTo([]byte(q), &net.UDPAddr{IP: net.IPv4(127, 0, 46, byte(j+1)), Port: 5060}); err != nil {
				t.Fatal(err)
			}
			if a := callee.read(3 * time.Second); header(a, "Call-ID") != id {
				t.Errorf("user%d, %s, through proxy %d: %.30q; the caller heard %.40q", i, when, j+1, a, caller.read(time.Second))
				continue
			} else if header(a, "Thor-Hop") != "" {
				t.Errorf("a phone sees marks of proxies: %s", a)
			} else {
				callee.answer(a)
			}
			if a := caller.read(3 * time.Second); !strings.HasPrefix(a, "SIP/2.0 200") {
				t.Errorf("user%d, %s: the caller hears %.40q", i, when, a)
			}
		}
	}
}

// answer says 200 to a request.
func (p *phone) answer(request string) {
	p.t.Helper()
	out := "SIP/2.0 200 OK\r\n"
	for l := range strings.Lines(request) {
		switch k, _, _ := strings.Cut(l, ":"); k {
		case "Via", "From", "Call-ID", "CSeq", "Record-Route":
			out += l
		case "To":
			out += strings.TrimRight(l, "\r\n") + ";tag=callee\r\n"
		}
	}
	var via string
	for l := range strings.Lines(request) {
		if v, ok := strings.CutPrefix(l, "Via: SIP/2.0/UDP "); ok {
			if via, _, _ = strings.Cut(v, ";"); !strings.Contains(via, ":") {
				via += ":5060"
			}
			break
		}
	}
	to, err := net.ResolveUDPAddr("udp4", via)
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.conn.WriteTo([]byte(out+"Contact: <sip:callee@"+p.conn.LocalAddr().String()+">\r\nContent-Length: 0\r\n\r\n"), to); err != nil {
		p.t.Fatal(err)
	}
}
