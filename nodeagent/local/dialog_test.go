package local_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"thor/nodeagent/local"
	"thor/nodeagent/secret"
	"thor/subjects"
)

// A sipEnd is a UDP socket of a phone, a gateway or a proxy.
type sipEnd struct {
	t    *testing.T
	conn *net.UDPConn
	seq  int
}

func newSIPEnd(t *testing.T, addr string) *sipEnd {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &sipEnd{t: t, conn: c}
}

func (e *sipEnd) addr() string { return e.conn.LocalAddr().String() }

func (e *sipEnd) send(text string) {
	e.t.Helper()
	to := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(proxyAddr + ":5060"))
	if _, err := e.conn.WriteToUDP([]byte(strings.ReplaceAll(text, "\n", "\r\n")), to); err != nil {
		e.t.Fatal(err)
	}
}

// receive is the next message that begins so and holds the line; "" after d.
func (e *sipEnd) receive(d time.Duration, begin, line string) string {
	b := make([]byte, 8192)
	_ = e.conn.SetReadDeadline(time.Now().Add(d))
	for {
		n, err := e.conn.Read(b)
		if err != nil {
			return ""
		}
		if m := string(b[:n]); strings.HasPrefix(m, begin) && strings.Contains(m, line) {
			return m
		}
	}
}

// final is the final answer to the request of a call, "" if none comes within d.
func (e *sipEnd) final(d time.Duration, call string) string {
	for end := time.Now().Add(d); ; {
		if a := e.receive(time.Until(end), "SIP/2.0 ", call); !strings.HasPrefix(a, "SIP/2.0 1") {
			return a
		}
	}
}

// header is the values of a header, in order.
func header(m, name string) (out []string) {
	for line := range strings.SplitSeq(m, "\r\n") {
		if v, ok := strings.CutPrefix(line, name+": "); ok {
			out = append(out, v)
		}
	}
	return out
}

// A dialogRequest is what an end sends.
type dialogRequest struct {
	method, uri, call, from, to string
	contact, recorded           string
	routes                      []string
}

// request sends r and returns its number, with which its answers can be known.
func (e *sipEnd) request(r dialogRequest) (cseq string) {
	e.t.Helper()
	e.seq++
	cseq = fmt.Sprintf("CSeq: %d %s", e.seq, r.method)
	more := ""
	for _, x := range r.routes {
		more += "Route: " + x + "\n"
	}
	if r.recorded != "" {
		more += "Record-Route: " + r.recorded + "\n"
	}
	if r.contact != "" {
		more += "Contact: <" + r.contact + ">\n"
	}
	e.send(fmt.Sprintf("%s %s SIP/2.0\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bK%s%d\nMax-Forwards: 70\nFrom: %s\nTo: %s\nCall-ID: %s\n%s\n%sContent-Length: 0\n\n",
		r.method, r.uri, e.addr(), strings.ReplaceAll(e.addr(), ":", "x"), e.seq, r.from, r.to, r.call, cseq, more))
	return cseq
}

// answer answers request q, with the Contact of the end.
func (e *sipEnd) answer(q, status, contact string) {
	e.t.Helper()
	to := header(q, "To")[0]
	if !strings.Contains(to, ";tag=") {
		to += ";tag=callee"
	}
	var b strings.Builder
	b.WriteString("SIP/2.0 " + status + "\n")
	for _, name := range []string{"Via", "Record-Route", "From", "Call-ID", "CSeq"} {
		for _, v := range header(q, name) {
			b.WriteString(name + ": " + v + "\n")
		}
	}
	e.send(b.String() + "To: " + to + "\nContact: <" + contact + ">\nContent-Length: 0\n\n")
}

var inBrackets = regexp.MustCompile(`<([^>]*)>`)

func uriOf(value string) string {
	if m := inBrackets.FindStringSubmatch(value); m != nil {
		return m[1]
	}
	return ""
}

// screen is an agent whose network has one more proxy, other. Calls to bob are
// diverted to his phone, those to ext, by callers who may, go to another network.
func screen(t *testing.T, k *secret.Key, bob, other string) {
	t.Helper()
	n := newNetwork(t)
	n.status.Put(subjects.SIPProxy, subjects.Member{Node: "p9", State: subjects.Up, Weight: 100, Addresses: []netip.Addr{netip.MustParseAddr(other)}})
	s, err := local.New(local.Config{
		Source: n, HTTP: agentAddr, Key: k, Log: zerolog.New(zerolog.NewTestWriter(t)),
		Pages: map[string]http.Handler{
			"GET /subscriber/call": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				verdict := "divert\n\n\nsip:bob@" + bob
				if r.FormValue("diverted") == "1" || r.FormValue("to") == fmt.Sprintf("%x", "sip:ext@"+bob) {
					verdict = "relay\n\n\n"
				}
				_, _ = io.WriteString(w, verdict+strings.Repeat("\n", 12))
			}),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	select {
	case <-s.Ready():
	case <-time.After(10 * time.Second):
		t.Fatal("the agent does not listen")
	}
}

// A dialog is one between caller and callee over the proxy, as each of them knows it.
type dialog struct {
	call, from, to string
	route          []string // of the caller
	back           []string // of the callee
	callee, caller string   // where requests to them go
}

// opened has a stranger call, and the callee answer.
func opened(t *testing.T, call, to string, caller, callee *sipEnd) dialog {
	t.Helper()
	d := dialog{call: call, from: "<sip:x@elsewhere.example>;tag=caller", to: "<" + to + ">"}
	var q string
	for end := time.Now().Add(20 * time.Second); q == "" && time.Now().Before(end); { // the proxy may be starting
		caller.request(dialogRequest{method: "INVITE", uri: to, call: call, from: d.from, to: d.to, contact: "sip:x@10.9.9.9:5070"})
		q = callee.receive(time.Second, "INVITE ", "Call-ID: "+call)
	}
	if q == "" {
		t.Fatal("the call does not arrive")
	}
	d.caller, d.back = uriOf(header(q, "Contact")[0]), header(q, "Record-Route")
	callee.answer(q, "200 OK", "sip:bob@10.8.8.8")
	a := caller.receive(5*time.Second, "SIP/2.0 200", "Call-ID: "+call)
	if a == "" {
		t.Fatal("the call is not answered")
	}
	d.to, d.callee = header(a, "To")[0], uriOf(header(a, "Contact")[0])
	d.route = header(a, "Record-Route")
	for i, j := 0, len(d.route)-1; i < j; i, j = i+1, j-1 {
		d.route[i], d.route[j] = d.route[j], d.route[i]
	}
	return d
}

// A stray is a request that claims to be of a dialog.
type stray struct {
	what, uri, call string
	routes          []string
	from            string // another caller than that of the dialog
}

// refused sends what would lead out of the dialog d, and more, through the proxy, which is
// known by own.
func refused(t *testing.T, caller, gateway *sipEnd, d dialog, own string, more []stray) {
	t.Helper()
	_, sign, _ := strings.Cut(d.callee, ";thor=")
	sign = ";thor=" + sign
	toll, toGateway := "sip:+31900123@"+gateway.addr(), "<sip:"+gateway.addr()+";lr>"
	for _, x := range append([]stray{
		{what: "no dialog at all", uri: toll, call: "none", routes: []string{own}},
		{what: "no dialog, two routes", uri: toll, call: "none", routes: []string{own, toGateway}},
		{what: "no dialog, a strict router", uri: "sip:" + proxyAddr, call: "none", routes: []string{"<" + toll + ">"}},
		{what: "another target", uri: toll, call: d.call, routes: d.route},
		{what: "another target, another tag", uri: toll, call: d.call, routes: d.back},
		{what: "a further route", uri: d.callee, call: d.call, routes: append(append([]string(nil), d.route...), toGateway)},
		{what: "a further route, another target", uri: toll, call: d.call, routes: append(append([]string(nil), d.route...), toGateway)},
		{what: "by the name of the further route", uri: toll, call: d.call, routes: []string{own, "<sip:127.0.47.9@" + gateway.addr() + ";lr>"}},
		{what: "a target of another call", uri: d.callee, call: "other", routes: d.route},
		{what: "a target that names its own way", uri: strings.Replace(d.callee, ";alias=", ";alias=127.0.47.23~5060~1;x=", 1), call: d.call, routes: d.route},
		{what: "the sign of another target", uri: toll + sign, call: d.call, routes: d.route},
	}, more...) {
		for _, method := range []string{"INVITE", "MESSAGE", "SUBSCRIBE", "REFER"} {
			c := caller.request(dialogRequest{method: method, uri: x.uri, call: x.call, from: cmp.Or(x.from, d.from), to: d.to, routes: x.routes, contact: "sip:x@" + gateway.addr()})
			a := caller.receive(5*time.Second, "SIP/2.0 ", c)
			for strings.HasPrefix(a, "SIP/2.0 1") {
				a = caller.receive(5*time.Second, "SIP/2.0 ", c)
			}
			if !strings.HasPrefix(a, "SIP/2.0 403") && !strings.HasPrefix(a, "SIP/2.0 404") {
				t.Errorf("%s, %s: %.60q", x.what, method, a)
			}
		}
	}
	if m := gateway.receive(200*time.Millisecond, "", "From: "); m != "" {
		t.Errorf("the gateway received\n%s", m)
	}
}

// Whoever can reach a proxy writes a To tag and a Route, also such as he has from a
// dialog of his own. The proxy passes on what belongs to a dialog, and nothing else.
func TestOnlyDialogsPassByTheirRoute(t *testing.T) {
	file := filepath.Join(openDir(t), "secret")
	k, err := secret.Load(file, -1)
	if err != nil {
		t.Fatal(err)
	}
	caller, callee := newSIPEnd(t, "127.0.47.21:5070"), newSIPEnd(t, "127.0.47.22:5070")
	gateway, other, far := newSIPEnd(t, "127.0.47.23:5060"), newSIPEnd(t, "127.0.47.9:5060"), newSIPEnd(t, "127.0.47.24:5060")
	screen(t, k, callee.addr(), "127.0.47.9")
	startProxy(t, file)
	d := opened(t, "first", "sip:bob@example.net", caller, callee)
	ext := opened(t, "ext", "sip:ext@"+callee.addr(), caller, callee)
	refused(t, caller, gateway, d, "<sip:"+proxyAddr+";lr>", []stray{
		{what: "the way of another caller", uri: "sip:+31900123@" + gateway.addr(), call: ext.call, routes: append(append([]string(nil), ext.route...), "<sip:"+gateway.addr()+";lr>"), from: "<sip:x@elsewhere.example>;tag=other"},
	})

	// What belongs to it, from both sides; the contacts are those that cannot be reached as they are.
	for _, method := range []string{"INVITE", "INFO", "REFER", "BYE"} {
		c := caller.request(dialogRequest{method: method, uri: d.callee, call: d.call, from: d.from, to: d.to, routes: d.route, contact: "sip:x@10.9.9.9:5071"})
		q := callee.receive(5*time.Second, method+" sip:bob@10.8.8.8 ", c)
		if q == "" {
			t.Fatalf("%s of the caller does not arrive", method)
		}
		callee.answer(q, "200 OK", "sip:bob2@10.8.8.8")
		a := caller.receive(5*time.Second, "SIP/2.0 200", c)
		if a == "" {
			t.Fatalf("%s of the caller is not answered", method)
		}
		d.callee, d.caller = uriOf(header(a, "Contact")[0]), uriOf(header(q, "Contact")[0])
		back := dialogRequest{method: method, uri: d.caller, call: d.call, from: d.to, to: d.from, routes: d.back, contact: "sip:bob@10.8.8.8"}
		c = callee.request(back)
		if q = caller.receive(5*time.Second, method+" sip:x@10.9.9.9:5071 ", c); q == "" {
			t.Fatalf("%s of the callee does not arrive", method)
		}
		caller.answer(q, "200 OK", "sip:x@10.9.9.9:5071")
		if a = callee.receive(5*time.Second, "SIP/2.0 200", c); a == "" {
			t.Fatalf("%s of the callee is not answered", method)
		}
		d.caller, d.callee = uriOf(header(a, "Contact")[0]), uriOf(header(q, "Contact")[0])
	}

	// Another proxy of the network is a way, one of another network only for who may call there.
	r := dialogRequest{method: "INVITE", uri: "sip:y@far.example", call: d.call, from: d.from, to: d.to, contact: "sip:x@" + caller.addr()}
	r.routes = append(append([]string(nil), d.route...), "<sip:"+other.addr()+";lr>")
	if c := caller.request(r); other.receive(5*time.Second, "INVITE ", c) == "" {
		t.Error("another proxy of the network is not reached")
	}
	r.call, r.to, r.routes = ext.call, ext.to, append(append([]string(nil), ext.route...), "<sip:"+far.addr()+";lr>")
	if c := caller.request(r); far.receive(5*time.Second, "INVITE ", c) == "" {
		t.Error("a proxy of another network is not reached")
	}

	// So is the proxy from which the call came, if it is the one it says.
	for _, x := range []struct {
		at   *sipEnd
		want bool
	}{{caller, true}, {gateway, false}} {
		call := "behind " + x.at.addr()
		c := caller.request(dialogRequest{
			method: "INVITE", uri: "sip:bob@example.net", call: call, from: d.from, to: "<sip:bob@example.net>",
			contact: "sip:x@10.9.9.9", recorded: "<sip:" + x.at.addr() + ";lr>",
		})
		q := callee.receive(5*time.Second, "INVITE ", c)
		if q == "" {
			t.Fatal("a call by a proxy does not arrive")
		}
		callee.answer(q, "200 OK", "sip:bob@10.8.8.8")
		c = callee.request(dialogRequest{
			method: "INVITE", uri: uriOf(header(q, "Contact")[0]), call: call, from: header(q, "To")[0] + ";tag=callee", to: d.from,
			routes: header(q, "Record-Route"), contact: "sip:bob@10.8.8.8",
		})
		a := callee.receive(5*time.Second, "SIP/2.0 ", c) // 100, or a refusal
		if x.want != (x.at.receive(300*time.Millisecond, "INVITE ", c) != "") || x.want == strings.HasPrefix(a, "SIP/2.0 403") {
			t.Errorf("back to %s: %.40q", x.at.addr(), a)
		}
	}
}
