//go:build e2e

package e2e_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"thor/overlay/lookup"
	"thor/subjects"
)

// found is the answer of thor lookup for each key.
func (n *network) found(t *testing.T, keys ...string) (fs []subjects.LookupResult) {
	t.Helper()
	if err := json.Unmarshal([]byte(n.run(t, append([]string{"lookup", "sip_proxy", "-o", "json"}, keys...)...)), &fs); err != nil {
		t.Fatal(err)
	}
	return fs
}

// phone is a SIP phone of few words.
type phone struct {
	t    *testing.T
	conn *net.UDPConn
	user string
	cseq int
}

func newPhone(t *testing.T, user string) *phone {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &phone{t: t, conn: c, user: user}
}

// request sends a request by proxy and returns its final answer.
func (p *phone) request(method, uri, to, proxy string) string {
	p.t.Helper()
	p.cseq++
	me := p.conn.LocalAddr().String()
	msg := fmt.Sprintf("%s %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%s%d%d;rport\r\nMax-Forwards: 10\r\nFrom: <sip:%s@thor.test>;tag=1\r\nTo: <%s>\r\n"+
		"Call-ID: %s%d\r\nCSeq: %d %s\r\nContact: <sip:%s@%s>\r\nExpires: 60\r\nContent-Length: 0\r\n\r\n",
		method, uri, me, p.user, p.cseq, time.Now().UnixNano(), p.user, to, p.user, time.Now().UnixNano(), p.cseq, method, p.user, me)
	dst, err := net.ResolveUDPAddr("udp", proxy)
	if err != nil {
		p.t.Fatal(err)
	}
	buf := make([]byte, 64<<10)
	for try := range 10 { // UDP: again until there is an answer
		if _, err := p.conn.WriteToUDP([]byte(msg), dst); err != nil {
			p.t.Logf("send: %v", err)
		}
		_ = p.conn.SetReadDeadline(time.Now().Add(time.Duration(try+1) * 200 * time.Millisecond))
		for {
			m, _, err := p.conn.ReadFromUDP(buf)
			if err != nil {
				break
			}
			answer := string(buf[:m])
			if strings.HasPrefix(answer, "SIP/2.0 ") && !strings.HasPrefix(answer, "SIP/2.0 1") && strings.Contains(answer, fmt.Sprintf("CSeq: %d %s", p.cseq, method)) {
				return answer
			}
		}
	}
	p.t.Fatalf("%s of %s by %s: no answer", method, to, proxy)
	return ""
}

// receive waits for a request, answers it with 200 and returns it.
func (p *phone) receive() <-chan string {
	out := make(chan string, 1)
	go func() {
		defer close(out)
		buf := make([]byte, 64<<10)
		_ = p.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		m, from, err := p.conn.ReadFromUDP(buf)
		if err != nil {
			return
		}
		request := string(buf[:m])
		var b strings.Builder
		b.WriteString("SIP/2.0 200 OK\r\n")
		for line := range strings.SplitSeq(request, "\r\n") {
			for _, h := range []string{"Via:", "From:", "To:", "Call-ID:", "CSeq:", "Record-Route:"} {
				if strings.HasPrefix(line, h) {
					b.WriteString(line + "\r\n")
				}
			}
		}
		b.WriteString("Content-Length: 0\r\n\r\n")
		_, _ = p.conn.WriteToUDP([]byte(b.String()), from)
		out <- request
	}()
	return out
}

func header(msg, name string) string {
	for line := range strings.SplitSeq(msg, "\r\n") {
		if v, ok := strings.CutPrefix(line, name+": "); ok {
			return v
		}
	}
	return ""
}

const homePort = 5070 // beside the Kamailios of thor up

// homeProxy runs Kamailio with the example configuration beside a node of thor up.
func homeProxy(t *testing.T, kamailio, addr, secretFile string) *exec.Cmd {
	t.Helper()
	dir := t.TempDir()
	b, err := os.ReadFile("../../../deploy/examples/kamailio/lookup.cfg")
	if err != nil {
		t.Fatal(err)
	}
	cfg := filepath.Join(dir, "kamailio.cfg")
	mine := strings.NewReplacer("/etc/thor/local.secret", secretFile, "!192.0.2.1!", "!"+addr+"!", "!5060!", fmt.Sprintf("!%d!", homePort), "!127.0.0.1:9501!", "!"+addr+":9501!", "!example.net!", "!thor.test!").Replace(string(b))
	if err := os.WriteFile(cfg, []byte(mine), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(kamailio, "-DD", "-E", "-f", cfg, "-P", filepath.Join(dir, "pid"), "-Y", dir, "-w", dir, "-m", "16", "-M", "4")
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("--- kamailio of %s\n%s", addr, log.String())
		}
	})
	return cmd
}

// Real Kamailios find the home of each subscriber by their node agents, wherever
// a request comes in, and agree with thor lookup, the line service and DNS.
func TestKamailioFindsTheHomeOfASubscriber(t *testing.T) {
	kamailio := need(t, "kamailio", "kamailio")
	const proxies = 3
	n := startNetwork(t, "127.94", "--nodes", fmt.Sprint(proxies))
	n.watch(t)
	eventually(t, 30*time.Second, "all proxies are up", func() bool { return n.status().Counts()[subjects.SIPProxy] == proxies })
	addr := make(map[subjects.NodeID]string)
	running := make(map[string]*exec.Cmd)
	var entries []string
	for _, m := range n.status().Roles[subjects.SIPProxy] {
		addr[m.Node] = m.Address().String()
		running[m.Address().String()] = homeProxy(t, kamailio, m.Address().String(), filepath.Join(n.dir, string(m.Node), "local.secret"))
		entries = append(entries, fmt.Sprintf("%s:%d", m.Address(), homePort))
	}
	var keys []string
	for i := range 30 {
		keys = append(keys, fmt.Sprintf("user%d@thor.test", i))
	}
	homes := make(map[string]int)
	var phones []*phone
	fs := n.found(t, keys...)
	for i, f := range fs {
		user := fmt.Sprintf("user%d", i)
		p := newPhone(t, user)
		answer := p.request("REGISTER", "sip:thor.test", "sip:"+user+"@THOR.test:5060", entries[i%proxies])
		if home := header(answer, "X-Thor-Home"); !strings.HasPrefix(answer, "SIP/2.0 200") || home != addr[f.Owner] {
			t.Fatalf("%s registered at %q, its home is %s:\n%s", user, home, addr[f.Owner], answer)
		}
		homes[addr[f.Owner]]++
		phones = append(phones, p)
		n.agree(t, f, addr)
		if i%10 != 0 {
			continue
		}
		// A message from elsewhere reaches the phone, by its home.
		got := p.receive()
		answer = newPhone(t, "caller").request("MESSAGE", "sip:"+user+"@thor.test", "sip:"+user+"@thor.test", entries[(i+1)%proxies])
		if !strings.HasPrefix(answer, "SIP/2.0 200") {
			t.Errorf("message to %s: %s", user, answer)
		}
		if request := <-got; !strings.HasPrefix(request, "MESSAGE ") {
			t.Errorf("%s received %q", user, request)
		}
	}
	if len(homes) != proxies {
		t.Errorf("homes: %v", homes)
	}
	if answer := newPhone(t, "bad").request("REGISTER", "sip:thor.test", "sip:@thor.test", entries[0]); !strings.HasPrefix(answer, "SIP/2.0 404") {
		t.Errorf("nobody registered: %s", answer)
	}

	noRelay(t, entries)

	// A home that does not answer, and is not noticed yet: the heir serves.
	i := slices.IndexFunc(fs, func(f subjects.LookupResult) bool { return addr[f.Owner]+fmt.Sprint(":", homePort) != entries[0] })
	_ = running[addr[fs[i].Owner]].Process.Signal(syscall.SIGTERM)
	eventually(t, 10*time.Second, "the home does not answer any more", func() bool {
		c, err := net.ListenPacket("udp", fmt.Sprint(addr[fs[i].Owner], ":", homePort))
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	answer := newPhone(t, fmt.Sprint("user", i)).request("REGISTER", "sip:thor.test", "sip:"+fs[i].Key, entries[0])
	if home := header(answer, "X-Thor-Home"); home != addr[fs[i].Heir] {
		t.Errorf("the home of %s is dead, its heir is %s: %s", fs[i].Key, fs[i].Heir, answer)
	}

	// A drained node gets no new registrations: the heir does. Who is registered
	// there is found.
	j := slices.IndexFunc(fs, func(f subjects.LookupResult) bool { return f.Heir != fs[i].Owner && f.Owner != fs[i].Owner })
	f := fs[j]
	n.run(t, "drain", string(f.Owner))
	for _, node := range []subjects.NodeID{f.Owner, f.Heir} {
		eventually(t, 10*time.Second, "the node knows of the drain", func() bool {
			var now subjects.LookupResult
			_, b := get(t, "http://"+addr[node]+":9501/lookup/sip_proxy/"+f.Key)
			return json.Unmarshal([]byte(b), &now) == nil && now.Owner == f.Heir && now.Previous == f.Owner && now.PreviousAddress.String() == addr[f.Owner]
		})
	}
	for _, node := range []subjects.NodeID{f.Owner, f.Heir} {
		got := phones[j].receive()
		answer := newPhone(t, "caller").request("MESSAGE", "sip:"+f.Key, "sip:"+f.Key, fmt.Sprintf("%s:%d", addr[node], homePort))
		if request := <-got; !strings.HasPrefix(answer, "SIP/2.0 200") || !strings.HasPrefix(request, "MESSAGE ") {
			t.Errorf("a message through %s to %s, registered at %s before it drained: %.40q %.40q", node, f.Key, f.Owner, answer, request)
		}
	}
	eventually(t, 10*time.Second, "the heir is the home", func() bool {
		answer := newPhone(t, "again").request("REGISTER", "sip:thor.test", "sip:"+f.Key, entries[0])
		return header(answer, "X-Thor-Home") == addr[f.Heir]
	})
	if again := n.found(t, f.Key)[0]; again.Owner != f.Heir || again.Previous != f.Owner {
		t.Errorf("drained: %+v, was %+v", again, f)
	}
}

// noRelay sends what would go to a stranger if the proxies believed it.
func noRelay(t *testing.T, entries []string) {
	t.Helper()
	stranger, from := newPhone(t, "stranger"), newPhone(t, "thief")
	away := stranger.conn.LocalAddr().String()
	for i, entry := range entries {
		to, err := net.ResolveUDPAddr("udp", entry)
		if err != nil {
			t.Fatal(err)
		}
		const head = "%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%s%d;rport\r\nMax-Forwards: 10\r\nFrom: <sip:thief@thor.test>;tag=1\r\n" +
			"Call-ID: %s%d\r\nContact: <sip:thief@%s>\r\nContent-Length: 0\r\n"
		me := from.conn.LocalAddr().String()
		request := func(first, id, more string) string {
			return fmt.Sprintf(head, first, me, id, i, id, i, me) + more + "\r\n"
		}
		for _, q := range []string{
			request("MESSAGE sip:user1@thor.test", "far", "To: <sip:user1@thor.test>\r\nCSeq: 1 MESSAGE\r\nX-Thor-Hop: x\r\nRoute: <sip:"+away+";lr>\r\n"),
			request("MESSAGE sip:user1@thor.test", "near", "To: <sip:user1@thor.test>\r\nCSeq: 1 MESSAGE\r\nRoute: <sip:"+entry+";lr>, <sip:"+away+";lr>\r\n"),
			request("ACK sip:x@"+away, "ack", "To: <sip:x@thor.test>;tag=2\r\nCSeq: 1 ACK\r\n"),
		} {
			if _, err := from.conn.WriteToUDP([]byte(q), to); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = stranger.conn.SetReadDeadline(time.Now().Add(2 * time.Second))
	b := make([]byte, 8192)
	if m, _, err := stranger.conn.ReadFromUDP(b); err == nil {
		t.Errorf("an open relay: %s", b[:m])
	}
}

// agree asks the line service of a node and both name servers the same.
func (n *network) agree(t *testing.T, f subjects.LookupResult, addr map[subjects.NodeID]string) {
	t.Helper()
	for _, a := range addr {
		c, err := net.DialTimeout("tcp", a+":9500", time.Second)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = fmt.Fprintf(c, "lookup sip_proxy for %s\r\n", f.Key)
		var line string
		_, _ = fmt.Fscanln(c, &line)
		_ = c.Close()
		if line != addr[f.Owner] {
			t.Errorf("%s: line service of %s says %q, owner is %s", f.Key, a, line, f.Owner)
		}
		break // one node a key
	}
	name := lookup.Label(18, f.Slot) + ".sip-proxy.lookup." + n.domain + "."
	for _, s := range n.DNS {
		var q dns.Msg
		q.SetQuestion("_sip._udp."+name, dns.TypeSRV)
		a, _, err := (&dns.Client{Timeout: 2 * time.Second}).Exchange(&q, s)
		if err != nil || len(a.Answer) != 2 {
			t.Fatalf("%s: %v %v", q.Question[0].Name, a, err)
		}
		for i, want := range []subjects.NodeID{f.Owner, f.Heir} {
			if srv, ok := a.Answer[i].(*dns.SRV); !ok || srv.Target != string(want)+"."+n.domain+"." || int(srv.Priority) != 10*(i+1) {
				t.Errorf("%s: %v, want %s", f.Key, a.Answer[i], want)
			}
		}
		q.SetQuestion(name, dns.TypeA)
		if a, _, err = (&dns.Client{Timeout: 2 * time.Second}).Exchange(&q, s); err != nil || len(a.Answer) != 1 || a.Answer[0].(*dns.A).A.String() != addr[f.Owner] {
			t.Errorf("%s: %v %v, want %s", name, a, err, addr[f.Owner])
		}
	}
}
