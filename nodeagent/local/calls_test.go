package local_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"thor/nodeagent/local"
	"thor/nodeagent/secret"
)

// slotName is what the agent of these tests tells a proxy to write into Record-Route.
const slotName = "0hq3.sip-proxy.lookup.example.net"

// startCalls runs calls.cfg with one server, one other proxy, and no relay.
func startCalls(t *testing.T, file, server, other string) {
	t.Helper()
	dir := openDir(t)
	for name, text := range map[string]string{
		"sets/dispatcher.list":     "2 sip:" + server + " 0 0 node=s;rweight=100\n",
		"sets/address.list":        "1 " + other + "\n1 " + proxyAddr + "\n",
		"sets/rtpengine/version":   "table_name(string) table_version(int)\nrtpengine:1\n",
		"sets/rtpengine/rtpengine": "setid(int) url(string) weight(int) disabled(int)\n",
		"calls.secret":             fmt.Sprintf("#!substdef \"!CALLS_SECRET!%s!g\"\n", strings.Repeat("5a", 32)),
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sets, err := os.ReadFile("../../deploy/examples/kamailio/sets.cfg")
	if err != nil {
		t.Fatal(err)
	}
	included := filepath.Join(dir, "sets.cfg")
	if err := os.WriteFile(included, []byte(strings.ReplaceAll(string(sets), "/var/lib/thor-kamailio", filepath.Join(dir, "sets"))), 0o600); err != nil {
		t.Fatal(err)
	}
	startExample(t, "calls.cfg", file, nil, "/etc/thor/calls.secret", filepath.Join(dir, "calls.secret"), `"sets.cfg"`, `"`+included+`"`)
}

// tellsNames is an agent that tells a proxy what to write into Record-Route.
func tellsNames(t *testing.T, k *secret.Key) {
	t.Helper()
	s, err := local.New(local.Config{
		Source: newNetwork(t), HTTP: agentAddr, Key: k, Log: zerolog.New(zerolog.NewTestWriter(t)),
		Pages: map[string]http.Handler{"GET /call": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, slotName+"\n")
		})},
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

// Names in Record-Route lead no further than addresses do: the proxy passes on what belongs to
// a dialog, to the proxy that has it, or itself when that is dead.
func TestOnlyDialogsPassByNames(t *testing.T) {
	file := filepath.Join(openDir(t), "secret")
	k, err := secret.Load(file, -1)
	if err != nil {
		t.Fatal(err)
	}
	caller, server := newSIPEnd(t, "127.0.47.21:5070"), newSIPEnd(t, "127.0.47.22:5070")
	gateway, other := newSIPEnd(t, "127.0.47.23:5060"), newSIPEnd(t, "127.0.47.9:5060")
	tellsNames(t, k)
	startCalls(t, file, server.addr(), "127.0.47.9")
	d := opened(t, "first", "sip:bob@example.net", caller, server)
	if len(d.route) != 1 || !strings.HasPrefix(d.route[0], "<sip:"+slotName+";at="+proxyAddr+";relay=0;") {
		t.Fatalf("Record-Route: %v", d.route)
	}
	toll, toGateway := "sip:+31900123@"+gateway.addr(), "<sip:"+gateway.addr()+";lr>"
	refused(t, caller, gateway, d, "<sip:"+slotName+";lr>", []stray{
		{what: "by the address of the proxy", uri: toll, call: d.call, routes: []string{"<sip:" + proxyAddr + ";lr>"}},
		{what: "kept by a stranger", uri: toll, call: d.call, routes: []string{"<sip:" + slotName + ";at=127.0.47.23;lr>"}},
		{what: "kept by a stranger, a further route", uri: toll, call: d.call, routes: []string{"<sip:" + slotName + ";at=127.0.47.23;lr>", toGateway}},
		{what: "a neighbor that signs itself", uri: toll, call: d.call, routes: []string{"<sip:" + slotName + ";from=127.0.47.23;lr>", toGateway}},
		{what: "a name of another network", uri: toll, call: d.call, routes: []string{"<sip:0hq3.sip-proxy.lookup.example.org;lr>"}},
	})

	// New calls go to servers, whatever they say.
	for _, x := range []struct{ method, uri, want string }{
		{"INVITE", toll, "403"}, {"MESSAGE", toll, "405"}, {"MESSAGE", "sip:bob@example.net", "405"}, {"REGISTER", "sip:example.net", "405"},
	} {
		c := caller.request(dialogRequest{method: x.method, uri: x.uri, call: "new " + x.method + x.want, from: d.from, to: "<" + x.uri + ">", contact: "sip:x@10.9.9.9"})
		if a := caller.final(5*time.Second, c); !strings.HasPrefix(a, "SIP/2.0 "+x.want) {
			t.Errorf("%s %s: %.60q", x.method, x.uri, a)
		}
	}
	for _, x := range []dialogRequest{
		{method: "BYE", uri: d.callee, routes: []string{d.route[0], "<sip:elsewhere.example;lr>"}},
		{method: "BYE", uri: "sip:x@elsewhere.example", routes: d.route},
	} {
		x.call, x.from, x.to = d.call, d.from, d.to
		if a := caller.final(5*time.Second, caller.request(x)); !strings.HasPrefix(a, "SIP/2.0 403") {
			t.Errorf("a name that the proxy would have to resolve, %s by %v: %.60q", x.uri, x.routes, a)
		}
	}
	// What anyone can have the proxy send goes by UDP alone: over TCP it would reach what
	// listens on the machine of the proxy.
	l, err := net.Listen("tcp", gateway.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	overTCP := gateway.addr() + ";transport=TCP"
	for _, x := range []dialogRequest{
		{method: "BYE", uri: "sip:x@" + overTCP, routes: d.route},
		{method: "BYE", uri: "sip:x@192.0.2.9;alias=" + strings.Replace(gateway.addr(), ":", "~", 1) + "~2", routes: d.route},
		{method: "BYE", uri: d.callee, routes: []string{d.route[0], "<sip:" + overTCP + ";lr>"}},
	} {
		x.call, x.from, x.to = d.call, d.from, d.to
		if a := caller.final(5*time.Second, caller.request(x)); !strings.HasPrefix(a, "SIP/2.0 403") {
			t.Errorf("a stranger's way over TCP, %s by %v: %.60q", x.uri, x.routes, a)
		}
	}
	c := caller.request(dialogRequest{
		method: "INVITE", uri: "sip:bob@example.net", call: "by a way", from: d.from, to: "<sip:bob@example.net>", contact: "sip:x@10.9.9.9",
		routes: []string{"<sip:" + slotName + ";lr>", toGateway},
	})
	q := server.receive(5*time.Second, "INVITE ", c)
	if q == "" || header(q, "Route") != nil || gateway.receive(200*time.Millisecond, "", "From: ") != "" {
		t.Errorf("a new call that names its way reaches %q", q)
	}
	server.answer(q, "486 Busy Here", "sip:bob@10.8.8.8")

	// Within the dialog, from both sides; and by the address of the proxy too.
	for _, route := range []string{d.route[0], strings.Replace(d.route[0], slotName, proxyAddr, 1), strings.Replace(d.route[0], slotName, "00aa.sip-proxy.lookup.example.net", 1)} {
		c := caller.request(dialogRequest{method: "INFO", uri: d.callee, call: d.call, from: d.from, to: d.to, routes: []string{route}})
		q := server.receive(5*time.Second, "INFO sip:bob@10.8.8.8 ", c)
		if q == "" {
			t.Fatalf("INFO of the caller by %s does not arrive: %q", route, caller.receive(time.Second, "SIP/2.0 ", c))
		}
		server.answer(q, "200 OK", "sip:bob@10.8.8.8")
		if caller.receive(5*time.Second, "SIP/2.0 200", c) == "" {
			t.Errorf("INFO of the caller by %s is not answered", route)
		}
	}
	c = server.request(dialogRequest{method: "INFO", uri: d.caller, call: d.call, from: d.to, to: d.from, routes: d.back})
	if q := caller.receive(5*time.Second, "INFO sip:x@10.9.9.9:5070 ", c); q == "" {
		t.Error("INFO of the callee does not arrive")
	} else {
		caller.answer(q, "200 OK", "sip:x@10.9.9.9:5070")
	}

	// A dialog of the other proxy is handed to it with its route; if it is dead, this one does it.
	theirs := strings.Replace(d.route[0], "at="+proxyAddr, "at=127.0.47.9", 1)
	for _, method := range []string{"INVITE", "BYE"} {
		c := caller.request(dialogRequest{method: method, uri: d.callee, call: d.call, from: d.from, to: d.to, routes: []string{theirs}, contact: "sip:x@10.9.9.9:5070"})
		q := other.receive(5*time.Second, method+" "+d.callee+" ", c)
		if q == "" || len(header(q, "Route")) != 1 || header(q, "Route")[0] != theirs {
			t.Fatalf("the other proxy gets %q", q)
		}
		if method == "INVITE" && !strings.Contains(header(q, "Contact")[0], ";thor=") {
			t.Errorf("the contact is not signed: %v", header(q, "Contact"))
		}
		if q = server.receive(5*time.Second, method+" sip:bob@10.8.8.8 ", c); q == "" || header(q, "Route") != nil {
			t.Fatalf("%s of a dialog of a dead proxy: %q", method, q)
		}
		server.answer(q, "200 OK", "sip:bob@10.8.8.8")
		if caller.receive(5*time.Second, "SIP/2.0 200", c) == "" {
			t.Errorf("%s of a dialog of a dead proxy is not answered", method)
		}
	}
	// An ACK goes both ways.
	c = caller.request(dialogRequest{method: "ACK", uri: d.callee, call: d.call, from: d.from, to: d.to, routes: []string{theirs}})
	if other.receive(5*time.Second, "ACK ", c) == "" || server.receive(5*time.Second, "ACK sip:bob@10.8.8.8 ", c) == "" {
		t.Error("the ACK does not go to the other proxy and to the callee")
	}
}
