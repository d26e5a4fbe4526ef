//go:build e2e

package e2e_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A message of a scenario of SIPp.
type message struct {
	send     string // text, or
	recv     string // a method or status
	optional bool
	auth     bool // the credentials that follow answer it
	routes   bool // it has the dialog's way
	pause    int  // ms
}

// sippScenario is the XML. In sent text, BRANCH(n) stands for the branch of the
// message with that index.
func sippScenario(ms []message) string {
	var b strings.Builder
	b.WriteString("<?xml version=\"1.0\" encoding=\"ISO-8859-1\" ?>\n<scenario name=\"thor\">\n")
	for i, m := range ms {
		switch {
		case m.send != "":
			text := m.send
			for j := range i {
				text = strings.ReplaceAll(text, fmt.Sprintf("BRANCH(%d)", j), fmt.Sprintf("[branch-%d]", i-j))
			}
			text = strings.ReplaceAll(text, fmt.Sprintf("BRANCH(%d)", i), "[branch]")
			retrans := ""
			if !strings.HasPrefix(text, "ACK") && !strings.HasPrefix(text, "SIP/2.0 1") && !strings.HasPrefix(text, "SIP/2.0 2") {
				retrans = ` retrans="500"`
			}
			fmt.Fprintf(&b, "<send%s><![CDATA[\n%s\n]]></send>\n", retrans, strings.ReplaceAll(text, "\r\n", "\n"))
		case m.recv != "":
			attr := ""
			if m.optional {
				attr += ` optional="true"`
			}
			if m.auth {
				attr += ` auth="true"`
			}
			if m.routes {
				attr += ` rrs="true"`
			}
			kind := "request"
			if m.recv[0] >= '0' && m.recv[0] <= '9' {
				kind = "response"
			}
			fmt.Fprintf(&b, "<recv %s=%q%s></recv>\n", kind, m.recv, attr)
		default:
			fmt.Fprintf(&b, "<pause milliseconds=\"%d\"/>\n", m.pause)
		}
	}
	b.WriteString("</scenario>\n")
	return b.String()
}

const sdp = `v=0
o=u 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [local_ip]
t=0 0
m=audio 6000 RTP/AVP 0
`

// A placed call is what SIPp does as the caller.
type placed struct {
	from, to       string // URIs
	user, password string // "": there is no challenge
	challenged     string // with credentials: the first answer, usually 407
	final          string
	contact        string // host:port instead of the true one
	headers        string // more, with line ends
}

func (c placed) messages() []message {
	contact := c.contact
	if contact == "" {
		contact = "[local_ip]:[local_port]"
	}
	request := func(line string, branch, cseq int, method, to, more, body string) string {
		length := "0"
		if body != "" {
			length, more = "[len]", more+"Content-Type: application/sdp\n"
		}
		return fmt.Sprintf("%s SIP/2.0\nVia: SIP/2.0/UDP [local_ip]:[local_port];rport;branch=BRANCH(%d)\nMax-Forwards: 70\nFrom: <%s>;tag=[pid]c[call_number]\n"+
			"To: <%s>%s\nCall-ID: [call_id]\nCSeq: %d %s\nContact: <sip:c@%s>\n%sContent-Length: %s\n\n%s", line, branch, c.from, c.to, to, cseq, method, contact, more, length, body)
	}
	var ms []message
	invite := func(cseq int, more string) int {
		ms = append(ms, message{send: request("INVITE "+c.to, len(ms), cseq, "INVITE", "", c.headers+more, sdp)}, message{recv: "100", optional: true})
		return len(ms) - 2
	}
	at, cseq := invite(1, ""), 1
	if c.user != "" {
		ms = append(ms, message{recv: c.challenged, auth: true}, message{send: request("ACK "+c.to, at, 1, "ACK", "[peer_tag_param]", "", "")})
		cseq = 2
		at = invite(2, fmt.Sprintf("[authentication username=%s password=%s]\n", c.user, c.password))
	}
	ms = append(ms, message{recv: "180", optional: true}, message{recv: "180", optional: true}, message{recv: c.final, routes: true})
	if c.final != "200" {
		return append(ms, message{send: request("ACK "+c.to, at, cseq, "ACK", "[peer_tag_param]", "", "")})
	}
	ms = append(ms, message{send: request("ACK [next_url]", len(ms), cseq, "ACK", "[peer_tag_param]", "[routes]\n", "")}, message{pause: 100})
	return append(ms, message{send: request("BYE [next_url]", len(ms), cseq+1, "BYE", "[peer_tag_param]", "[routes]\n", "")}, message{recv: "200"})
}

// answer is what a phone sends for a request.
func answer(status string, more, body string) string {
	return fmt.Sprintf("SIP/2.0 %s\n[last_Via:]\n[last_From:]\n[last_To:];tag=[pid]p[call_number]\n[last_Call-ID:]\n[last_CSeq:]\n%s\nContent-Length: %s\n\n%s",
		status, more, map[bool]string{true: "[len]", false: "0"}[body != ""], body)
}

// What phones do.
func answers(contact string) []message {
	if contact == "" {
		contact = "[local_ip]:[local_port]"
	}
	more := "[last_Record-Route:]\nContact: <sip:p@" + contact + ">"
	return []message{
		{recv: "INVITE", routes: true},
		{send: answer("180 Ringing", more, "")},
		{send: answer("200 OK", more+"\nContent-Type: application/sdp", sdp)},
		{recv: "ACK"},
		{recv: "BYE"},
		{send: strings.Replace(answer("200 OK", "", ""), ";tag=[pid]p[call_number]", "", 1)},
	}
}

func isBusy() []message {
	return []message{{recv: "INVITE"}, {send: answer("486 Busy Here", "", "")}, {recv: "ACK"}}
}

func isSilent() []message {
	ended := strings.Replace(answer("487 Request Terminated", "", ""), "[last_CSeq:]", "CSeq: [last_cseq_number] INVITE", 1)
	return []message{
		{recv: "INVITE"},
		{send: answer("180 Ringing", "[last_Record-Route:]\nContact: <sip:p@[local_ip]:[local_port]>", "")},
		{recv: "CANCEL"},
		{send: answer("200 OK", "", "")},
		{send: ended},
		{recv: "ACK"},
	}
}

// A running is a SIPp.
type running struct {
	what, dir string
	cmd       *exec.Cmd
	out       bytes.Buffer
}

// startSIPp runs a scenario once: as a phone at listen (host:port), or from there
// to a proxy.
func startSIPp(t *testing.T, bin, what, listen, proxy string, ms []message) *running {
	t.Helper()
	return startXML(t, bin, what, listen, proxy, sippScenario(ms))
}

// startXML is startSIPp with a scenario as SIPp reads it.
func startXML(t *testing.T, bin, what, listen, proxy, xml string) *running {
	t.Helper()
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		t.Fatal(err)
	}
	r := &running{what: what, dir: t.TempDir()}
	if err := os.WriteFile(filepath.Join(r.dir, "s.xml"), []byte(xml), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{
		"-sf", "s.xml", "-m", "1", "-i", host, "-p", port, "-recv_timeout", "15000", "-timeout", "25s", "-timeout_error", "-nostdin",
		"-trace_err", "-trace_msg", "-message_file", "messages.log", "-error_file", "errors.log",
	}
	if proxy != "" {
		args = append([]string{proxy + ":5060", "-l", "1"}, args...)
	}
	r.cmd = exec.Command(bin, args...)
	r.cmd.Dir, r.cmd.Stdout, r.cmd.Stderr = r.dir, &r.out, &r.out
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.cmd.Process.Kill() })
	if proxy == "" {
		ip := net.ParseIP(host).To4()
		n, err := strconv.Atoi(port)
		if err != nil || ip == nil {
			t.Fatalf("%s: %v", listen, err)
		}
		socket := fmt.Sprintf(" %02X%02X%02X%02X:%04X ", ip[3], ip[2], ip[1], ip[0], n)
		for began := time.Now(); ; <-time.After(5 * time.Millisecond) { // not by trying its port, which would take it away
			if b, err := os.ReadFile("/proc/net/udp"); err == nil && strings.Contains(string(b), socket) {
				break
			}
			if time.Since(began) > 10*time.Second {
				t.Fatalf("%s does not listen: %s", what, r.out.String())
			}
		}
	}
	return r
}

// done waits until the scenario is at its end, and fails the test if it went
// another way.
func (r *running) done(t *testing.T) bool {
	t.Helper()
	err := r.cmd.Wait()
	if err == nil {
		return true
	}
	e, _ := os.ReadFile(filepath.Join(r.dir, "errors.log"))
	m, _ := os.ReadFile(filepath.Join(r.dir, "messages.log"))
	t.Errorf("%s: sipp: %v\n%.2500s\n--- messages\n%.6000s", r.what, err, e, m)
	return false
}
