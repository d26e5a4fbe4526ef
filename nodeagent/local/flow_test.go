package local_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"thor/nodeagent/local"
	"thor/nodeagent/secret"
)

// A Contact may name a gateway that trusts the proxy, to have the proxy call there.
// Calls to a device go to where its registration came from.
func TestACallGoesToWhereTheRegistrationCameFrom(t *testing.T) {
	file := filepath.Join(openDir(t), "secret")
	k, err := secret.Load(file, -1)
	if err != nil {
		t.Fatal(err)
	}
	phone, caller, gateway := newSIPEnd(t, "127.0.47.22:5070"), newSIPEnd(t, "127.0.47.21:5070"), newSIPEnd(t, "127.0.47.23:5060")
	home(t, k)
	startProxy(t, file)
	bob := dialogRequest{method: "REGISTER", uri: "sip:example.net", from: "<sip:bob@example.net>;tag=f", to: "<sip:bob@example.net>", contact: "sip:bob@" + phone.addr()}
	answer := ""
	for end := time.Now().Add(20 * time.Second); answer == "" && time.Now().Before(end); { // the proxy may be starting
		phone.request(bob)
		answer = phone.receive(time.Second, "SIP/2.0 200", "")
	}
	for i, contact := range []string{
		"sip:bob@" + phone.addr(),
		"sip:+31900123@" + phone.addr() + ";maddr=127.0.47.23",
		"sip:+31900123@" + phone.addr() + ";alias=127.0.47.23~5060~1",
		"sip:+31900123@" + gateway.addr(),
		"sip:bob@" + phone.addr() + ">;q=0.1, <sip:+31900123@" + gateway.addr(),
	} {
		bob.call, bob.contact = fmt.Sprintf("registration %d", i), contact
		if c := phone.request(bob); phone.receive(5*time.Second, "SIP/2.0 200", c) == "" {
			t.Fatalf("%s is not registered", contact)
		}
		call := fmt.Sprintf("call %d", i)
		caller.request(dialogRequest{method: "INVITE", uri: "sip:bob@example.net", call: call, from: "<sip:x@elsewhere.example>;tag=f", to: bob.to, contact: "sip:x@" + caller.addr()})
		if phone.receive(5*time.Second, "INVITE ", "Call-ID: "+call) == "" {
			t.Errorf("%s: the phone is not called", contact)
		}
		if m := gateway.receive(200*time.Millisecond, "", "From: "); m != "" {
			t.Errorf("%s: the gateway received\n%s", contact, m)
		}
	}

	caller.request(dialogRequest{method: "INVITE", uri: "sip:bob@example.net", call: "maddr", from: "<sip:x@elsewhere.example>;tag=f", to: bob.to, contact: "sip:x@" + caller.addr() + ";maddr=127.0.47.23"})
	q := phone.receive(5*time.Second, "INVITE ", "Call-ID: maddr")
	if q == "" {
		t.Fatal("the phone is not called")
	}
	phone.answer(q, "200 OK", "sip:bob@"+phone.addr())
	c := phone.request(dialogRequest{
		method: "INFO", uri: uriOf(header(q, "Contact")[0]), call: "maddr", from: header(q, "To")[0] + ";tag=callee", to: header(q, "From")[0],
		routes: header(q, "Record-Route"),
	})
	if caller.receive(5*time.Second, "INFO ", c) == "" {
		t.Error("the caller is not reached in the dialog")
	}
	if m := gateway.receive(200*time.Millisecond, "", "From: "); m != "" {
		t.Errorf("in the dialog the gateway received\n%s", m)
	}
}

// A Call-ID may hold blanks, and so may what stands between the brackets of a Contact: a sign
// of one must not be one of another call and another target.
func TestASignIsOfOneCallAndOneTarget(t *testing.T) {
	file := filepath.Join(openDir(t), "secret")
	k, err := secret.Load(file, -1)
	if err != nil {
		t.Fatal(err)
	}
	phone, caller, gateway := newSIPEnd(t, "127.0.47.22:5070"), newSIPEnd(t, "127.0.47.21:5070"), newSIPEnd(t, "127.0.47.23:5060")
	screen(t, k, phone.addr(), "127.0.47.9")
	startProxy(t, file)
	opened(t, "first", "sip:bob@example.net", caller, phone)
	toll, begin := "sip:+31900123@"+gateway.addr(), "sip:x@"+caller.addr()+";p=a"
	caller.request(dialogRequest{method: "INVITE", uri: "sip:bob@example.net", call: "C", from: "<sip:x@elsewhere.example>;tag=f", to: "<sip:bob@example.net>", contact: begin + " target " + toll})
	q := phone.receive(5*time.Second, "INVITE ", "Call-ID: C\r\n")
	if q == "" {
		return // it is no call
	}
	_, sign, _ := strings.Cut(uriOf(header(q, "Contact")[0]), ";thor=")
	c := caller.request(dialogRequest{
		method: "INVITE", uri: toll + ";thor=" + sign, call: "C target " + begin, from: "<sip:x@elsewhere.example>;tag=f", to: "<sip:bob@example.net>;tag=t",
		routes: []string{"<sip:" + proxyAddr + ";lr>"}, contact: "sip:x@" + caller.addr(),
	})
	if a := caller.receive(5*time.Second, "SIP/2.0 ", c); !strings.HasPrefix(a, "SIP/2.0 403") {
		t.Errorf("with the sign %q of %q: %.60q", sign, header(q, "Contact"), a)
	}
	if m := gateway.receive(200*time.Millisecond, "", "From: "); m != "" {
		t.Errorf("the gateway received\n%s", m)
	}
}

// home is an agent at whose node every subscriber is, and nothing is to be proved.
func home(t *testing.T, k *secret.Key) {
	t.Helper()
	page := func(answer string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answer) })
	}
	s, err := local.New(local.Config{
		Source: newNetwork(t), HTTP: agentAddr, Key: k, Log: zerolog.New(zerolog.NewTestWriter(t)),
		Pages: map[string]http.Handler{
			"GET /subscriber/register": page("save" + strings.Repeat("\n", 15)),
			"GET /subscriber/call":     page("serve" + strings.Repeat("\n", 8) + "20" + strings.Repeat("\n", 7)),
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
