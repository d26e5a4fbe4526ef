//go:build e2e

package e2e_test

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// SIPp tells what happens in a call by commands, which are meant for a second SIPp, and
// goes on when it is told to.
const sippTells = `<sendCmd><![CDATA[
Call-ID: [call_id]
Event: %s
Port: [field0]
Relay: [$ip]:[$port]

]]></sendCmd>
`

const sippSDP = `v=0
o=u 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [local_ip]
t=0 0
m=audio %s RTP/AVP 0
a=rtpmap:0 PCMU/8000
`

// sippRequest is a request of the caller.
func sippRequest(method string, cseq int, in bool, more, body string) string {
	uri, to, routes := "sip:USER@DOMAIN", "", ""
	if in {
		uri, to, routes = "[next_url]", "[peer_tag_param]", "[routes]\n"
	}
	length, retrans := "0", ` retrans="500"`
	if body != "" {
		length, more = "[len]", more+"Content-Type: application/sdp\n"
	}
	if method == "ACK" {
		retrans = ""
	}
	return fmt.Sprintf("<send%s><![CDATA[\n%s %s SIP/2.0\nVia: SIP/2.0/UDP [local_ip]:[local_port];rport;branch=[branch]\nMax-Forwards: 70\n%sFrom: <sip:caller@DOMAIN>;tag=[pid]c[call_number]\n"+
		"To: <sip:USER@DOMAIN>%s\nCall-ID: [call_id]\nCSeq: %d %s\nContact: <sip:c@[local_ip]:[local_port]>\n%sContent-Length: %s\n\n%s]]></send>\n",
		retrans, method, uri, routes, to, cseq, method, more, length, body)
}

const sippAnswered = `<recv response="100" optional="true"></recv>
<recv response="180" optional="true"></recv>
<recv response="200" rrs="true"><action>
<ereg regexp="c=IN IP4 ([0-9.]+)" search_in="msg" check_it="true" assign_to="c,ip"/>
<ereg regexp="m=audio ([0-9]+)" search_in="msg" check_it="true" assign_to="m,port"/>
</action></recv>
`

// callerOf is the scenario of the caller: the call stays until it is told to go on, there is a
// re-INVITE, and the caller ends it, or the callee does.
func callerOf(user, domain, proxy string) string {
	more := ""
	if proxy != "" {
		more = "X-Proxy: " + proxy + "\n"
	}
	offer := fmt.Sprintf(sippSDP, "[field0]")
	s := sippRequest("INVITE", 1, false, more, offer) + sippAnswered + sippRequest("ACK", 1, true, "", "") + fmt.Sprintf(sippTells, "up")
	if user == "ends" {
		s += "<recv request=\"BYE\"></recv>\n<send><![CDATA[\n" + answer("200 OK", "Server: SIPp", "") + "]]></send>\n"
	} else {
		s += "<recvCmd></recvCmd>\n" + sippRequest("INVITE", 2, true, "", offer) + sippAnswered + sippRequest("ACK", 2, true, "", "") + fmt.Sprintf(sippTells, "again") +
			"<recvCmd></recvCmd>\n" + sippRequest("BYE", 3, true, "", "") + "<recv response=\"100\" optional=\"true\"></recv>\n<recv response=\"200\"></recv>\n"
	}
	s = strings.ReplaceAll(s, ";tag=[pid]p[call_number]", "") + fmt.Sprintf(sippTells, "done")
	return "<?xml version=\"1.0\" encoding=\"ISO-8859-1\" ?>\n<scenario name=\"caller\">\n" + strings.NewReplacer("USER", user, "DOMAIN", domain).Replace(s) +
		"<Reference variables=\"c,m\"/>\n</scenario>\n"
}

// brief is a caller whose call is over at once.
func brief(domain string) string {
	s := sippRequest("INVITE", 1, false, "", fmt.Sprintf(sippSDP, "[field0]")) + sippAnswered + sippRequest("ACK", 1, true, "", "") +
		fmt.Sprintf(sippTells, "up") + "<pause milliseconds=\"300\"/>\n" + sippRequest("BYE", 2, true, "", "") +
		"<recv response=\"100\" optional=\"true\"></recv>\n<recv response=\"200\"></recv>\n" + fmt.Sprintf(sippTells, "done")
	begins := "<sendCmd><![CDATA[\nCall-ID: [call_id]\nEvent: begins\n\n]]></sendCmd>\n"
	return "<?xml version=\"1.0\" encoding=\"ISO-8859-1\" ?>\n<scenario name=\"brief\">\n" + begins + strings.NewReplacer("USER", "stays", "DOMAIN", domain).Replace(s) +
		"<Reference variables=\"c,m\"/>\n</scenario>\n"
}

// phoneStays answers, and follows the caller. ACKs may come twice.
var phoneStays = `<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="stays">
<recv request="INVITE" rrs="true"></recv>
<send><![CDATA[
` + answer("180 Ringing", "[last_Record-Route:]\nContact: <sip:p@[local_ip]:[local_port]>", "") + `]]></send>
<send retrans="500"><![CDATA[
` + answer("200 OK", "[last_Record-Route:]\nContact: <sip:p@[local_ip]:[local_port]>\nContent-Type: application/sdp", fmt.Sprintf(sippSDP, "MEDIA")) + `]]></send>
<recv request="ACK"></recv>
<label id="1"/>
<recv request="ACK" optional="true" next="1"></recv>
<recv request="INVITE" optional="true" next="2"></recv>
<recv request="BYE"></recv>
<send next="3"><![CDATA[
` + inDialog(answer("200 OK", "Server: SIPp", "")) + `]]></send>
<label id="2"/>
<send retrans="500"><![CDATA[
` + inDialog(answer("200 OK", "Contact: <sip:p@[local_ip]:[local_port]>\nContent-Type: application/sdp", fmt.Sprintf(sippSDP, "MEDIA"))) + `]]></send>
<recv request="ACK" next="1"></recv>
<label id="3"/>
<timewait milliseconds="4000"/>
</scenario>
`

// phoneEnds answers, and ends the call when it is told to.
var phoneEnds = `<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="ends">
<recv request="INVITE" rrs="true"></recv>
<send><![CDATA[
` + answer("180 Ringing", "[last_Record-Route:]\nContact: <sip:p@[local_ip]:[local_port]>", "") + `]]></send>
<send retrans="500"><![CDATA[
` + answer("200 OK", "[last_Record-Route:]\nContact: <sip:p@[local_ip]:[local_port]>\nContent-Type: application/sdp", fmt.Sprintf(sippSDP, "MEDIA")) + `]]></send>
<recv request="ACK"><action><ereg regexp="tag=([^;]*)" search_in="hdr" header="From:" check_it="true" assign_to="t,tag"/></action></recv>
<sendCmd><![CDATA[
Call-ID: [call_id]
Event: answered

]]></sendCmd>
<recvCmd></recvCmd>
<send retrans="500"><![CDATA[
BYE [next_url] SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];rport;branch=[branch]
Max-Forwards: 70
[routes]
From: <sip:ends@DOMAIN>;tag=[pid]p[call_number]
To: <sip:caller@DOMAIN>;tag=[$tag]
Call-ID: [call_id]
CSeq: 1 BYE
Content-Length: 0

]]></send>
<recv response="200"></recv>
<Reference variables="t"/>
</scenario>
`

// inDialog is an answer to a request that has the tag.
func inDialog(text string) string {
	return strings.Replace(text, ";tag=[pid]p[call_number]", "", 1)
}

// A heard is what SIPp told of a call.
type heard struct {
	call, event string
	port        int
	relay       netip.AddrPort
	at          time.Time
}

// A wire is the connection on which a SIPp tells and is told.
type wire struct {
	l  net.Listener
	mu sync.Mutex
	c  net.Conn
	on func(heard)
}

// newWire calls on for each event, one after the other.
func newWire(t testing.TB, on func(heard)) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{l: l, on: on}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		w.mu.Lock()
		w.c = c
		w.mu.Unlock()
		for r := bufio.NewReader(c); ; {
			text, err := r.ReadString(27)
			if err != nil {
				return
			}
			w.on(parseHeard(text))
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		w.mu.Lock()
		if w.c != nil {
			_ = w.c.Close()
		}
		w.mu.Unlock()
		<-done
	})
	return w
}

var heardLine = regexp.MustCompile(`(?m)^([A-Za-z-]+): *(\S*)\r?$`)

func parseHeard(text string) heard {
	h := heard{at: time.Now(), event: "aborted"} // which SIPp says in its own way
	for _, m := range heardLine.FindAllStringSubmatch(text, -1) {
		switch m[1] {
		case "Call-ID":
			h.call = m[2]
		case "Event":
			h.event = m[2]
		case "Port":
			h.port, _ = strconv.Atoi(m[2])
		case "Relay":
			h.relay, _ = netip.ParseAddrPort(m[2])
		}
	}
	return h
}

// goOn tells SIPp to go on with a call.
func (w *wire) goOn(call string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.c != nil {
		_, _ = fmt.Fprintf(w.c, "Call-ID: %s\r\nGo: on\r\n\r\n\x1b", call) // one that is gone has aborted its calls
	}
}

// pace is between calls that are told to go on.
const pace = 10 * time.Millisecond

// An answering is a SIPp that answers. RTP that reaches it comes back.
type answering struct {
	*wire
	mu       sync.Mutex
	answered []string
}

// take returns the calls that were answered since the last time.
func (a *answering) take() (calls []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	calls, a.answered = a.answered, nil
	return calls
}

func (s *scene) answer(t testing.TB, name string, port, media int, scenario string) *answering {
	t.Helper()
	a := &answering{}
	a.wire = newWire(t, func(h heard) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if h.event == "answered" {
			a.answered = append(a.answered, h.call)
		}
	})
	dir := filepath.Join(s.dir, "phone-"+name)
	text := strings.NewReplacer("DOMAIN", s.domain, "MEDIA", strconv.Itoa(media)).Replace(scenario)
	echo(t, calleesPhone, media)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "s.xml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{
		"-sf", "s.xml", "-i", calleesPhone, "-p", strconv.Itoa(port), "-nostdin", "-nd",
		"-trace_err", "-error_file", "errors.log", "-trace_msg", "-message_file", "messages.log",
	}
	if strings.Contains(text, "sendCmd") {
		args = append(args, "-3pcc", a.l.Addr().String())
	}
	spawn(t, dir, s.sipp, args...)
	return a
}

// A calling is a SIPp that calls.
type calling struct {
	*wire
	t     testing.TB
	cmd   *exec.Cmd
	dir   string
	media *media

	mu     sync.Mutex
	events map[string]map[string]heard // by call and event
	order  []heard
}

// call has SIPp make n calls, so many a second.
func (s *scene) call(t testing.TB, what, scenario string, n, rate int, m *media) *calling {
	t.Helper()
	c := &calling{t: t, media: m, dir: t.TempDir(), events: make(map[string]map[string]heard)}
	c.wire = newWire(t, c.hear)
	csv := "SEQUENTIAL\n"
	for i := range n {
		port := 9
		if m != nil {
			port = m.streams[i].port
		}
		csv += fmt.Sprintf("%d;\n", port)
	}
	for name, text := range map[string]string{"s.xml": scenario, "ports.csv": csv} {
		if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.ports++
	log, err := os.Create(filepath.Join(c.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	c.cmd = exec.Command(s.sipp, s.first, "-sf", "s.xml", "-inf", "ports.csv", "-m", strconv.Itoa(n), "-l", strconv.Itoa(n), "-r", strconv.Itoa(rate),
		"-i", callersPhone, "-p", strconv.Itoa(10000+10*s.ports), "-3pcc", c.l.Addr().String(), "-recv_timeout", "32000", "-nostdin", "-nd",
		"-trace_err", "-error_file", "errors.log", "-trace_msg", "-message_file", "messages.log")
	c.cmd.Dir, c.cmd.Stdout, c.cmd.Stderr = c.dir, log, log
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait()
		if t.Failed() {
			e, _ := os.ReadFile(filepath.Join(c.dir, "errors.log"))
			t.Logf("%s: sipp:\n%.4000s", what, e)
			if keep := os.Getenv("THOR_E2E_KEEP"); keep != "" {
				_ = os.CopyFS(filepath.Join(keep, filepath.Base(c.dir)+strings.ReplaceAll(what, " ", "-")), os.DirFS(c.dir))
			}
		}
	})
	return c
}

func (c *calling) hear(h heard) {
	if c.media != nil {
		switch h.event {
		case "up", "again":
			c.media.to(h.port, h.relay)
		case "done":
			c.media.stop(h.port)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.events[h.call] == nil {
		c.events[h.call] = make(map[string]heard)
	}
	c.events[h.call][h.event] = h
	c.order = append(c.order, h)
}

// goOnAll tells SIPp to go on with all calls of which an event was heard, 100 a second.
func (c *calling) goOnAll(event string) {
	for _, h := range c.calls(event) {
		c.goOn(h.call)
		<-time.After(pace)
	}
}

// count is of how many calls an event was heard.
func (c *calling) count(event string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.events {
		if _, ok := e[event]; ok {
			n++
		}
	}
	return n
}

// calls are those of which an event was heard, in order.
func (c *calling) calls(event string) (out []heard) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range c.order {
		if h.event == event {
			out = append(out, h)
		}
	}
	return out
}

// of is an event of a call.
func (c *calling) of(call, event string) heard {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.events[call][event]
}

// await waits for an event of n calls.
func (c *calling) await(t testing.TB, within time.Duration, event string, n int) time.Duration {
	t.Helper()
	return eventually(t, within, fmt.Sprintf("%d calls are %s", n, event), func() bool { return c.count(event)+c.count("aborted") >= n })
}
