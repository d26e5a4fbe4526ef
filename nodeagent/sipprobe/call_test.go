package sipprobe

import (
	"slices"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"
)

// A phone is called. Its fields are functions of the INVITE; it answers CANCEL and BYE as
// a phone does, unless told otherwise.
type phone struct {
	invite func(q sip.Message) []string
	cancel func(q, invite sip.Message) []string
	bye    func(q sip.Message) []string

	last sip.Message // the newest INVITE
}

func (p *phone) answer(m sip.Message) []string {
	q, ok := m.(*sip.Request)
	if !ok {
		return nil
	}
	switch q.Method {
	case sip.INVITE:
		p.last = m
		return p.invite(m)
	case sip.CANCEL:
		if p.cancel != nil {
			return p.cancel(m, p.last)
		}
		return []string{reply(m, 200), reply(p.last, 487)}
	case sip.BYE:
		if p.bye != nil {
			return p.bye(m)
		}
		return []string{reply(m, 200)}
	}
	return nil
}

// picksUp is an answered call by way of two proxies.
func picksUp(m sip.Message) string {
	return reply(m, 200, "Contact: <sip:echo@127.0.0.1:9;ob>", "Record-Route: <sip:192.0.2.2;lr>, <sip:192.0.2.1;lr;did=5a.1b2>")
}

func rings(code int) func(m sip.Message) []string {
	return func(m sip.Message) []string { return []string{reply(m, 100), reply(m, code)} }
}

// asksFirst asks for a password before it does what then does.
func asksFirst(code int, then func(m sip.Message) []string) func(m sip.Message) []string {
	header, proof := "WWW-Authenticate", "Authorization"
	if code == 407 {
		header, proof = "Proxy-Authenticate", "Proxy-Authorization"
	}
	return func(m sip.Message) []string {
		if proven(m.(*sip.Request), proof, "example.net", "abc") {
			return then(m)
		}
		return []string{reply(m, code, header+`: Digest realm="example.net", nonce="abc", qop="auth"`)}
	}
}

var calls = []struct {
	name  string
	phone phone
	want  string
	asked string // what the phone hears over UDP, the end of the call included
}{
	{"rings", phone{invite: rings(180)}, "", "INVITE CANCEL ACK"},
	{"rings by 183", phone{invite: rings(183)}, "", "INVITE CANCEL ACK"},
	{"rings twice", phone{invite: func(m sip.Message) []string { return []string{reply(m, 180), reply(m, 180)} }}, "", "INVITE CANCEL ACK"},
	{"answers", phone{invite: func(m sip.Message) []string { return []string{picksUp(m)} }}, "", "INVITE ACK BYE"},
	{"answers twice", phone{invite: func(m sip.Message) []string { return []string{picksUp(m), picksUp(m)} }}, "", "INVITE ACK BYE ACK"},
	{"answers while it is cancelled", phone{invite: rings(180), cancel: func(q, invite sip.Message) []string {
		return []string{reply(q, 200), picksUp(invite)}
	}}, "", "INVITE CANCEL ACK BYE"},
	{"answers, and then the CANCEL", phone{invite: rings(180), cancel: func(q, invite sip.Message) []string {
		return []string{picksUp(invite), reply(q, 481)}
	}}, "", "INVITE CANCEL ACK BYE"},
	{"busy", phone{invite: func(m sip.Message) []string { return []string{reply(m, 100), reply(m, 486)} }}, "answered 486", "INVITE ACK"},
	{"busy twice", phone{invite: func(m sip.Message) []string { return []string{reply(m, 486), reply(m, 486)} }}, "answered 486", "INVITE ACK ACK"},
	{"503", phone{invite: func(m sip.Message) []string { return []string{reply(m, 503)} }}, "answered 503", "INVITE ACK"},
	{"a proxy asks", phone{invite: asksFirst(407, rings(180))}, "", "INVITE ACK INVITE CANCEL ACK"},
	{"the phone asks", phone{invite: asksFirst(401, rings(180))}, "", "INVITE ACK INVITE CANCEL ACK"},
	{"asks again and again", phone{invite: asksFirst(407, func(m sip.Message) []string {
		return []string{reply(m, 407, `Proxy-Authenticate: Digest realm="example.net", nonce="abc"`)}
	})}, refusedText, "INVITE ACK INVITE ACK"},
	{"BYE is asked too", phone{
		invite: asksFirst(407, func(m sip.Message) []string { return []string{picksUp(m)} }),
		bye:    asksFirst(407, func(m sip.Message) []string { return []string{reply(m, 200)} }),
	}, "", "INVITE ACK INVITE ACK BYE BYE"},
	{"hangs up by itself", phone{invite: func(m sip.Message) []string { return []string{picksUp(m)} }, bye: func(q sip.Message) []string {
		own := sip.NewRequest(sip.BYE, sip.Uri{Scheme: "sip", User: "probe", Host: "127.0.0.1"})
		for _, h := range []string{"Via: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKy", "From: <sip:echo@example.net>;tag=x", "To: <sip:probe@example.net>", "Call-ID: " + q.CallID().Value(), "CSeq: 1 BYE"} {
			name, value, _ := strings.Cut(h, ": ")
			own.AppendHeader(sip.NewHeader(name, value))
		}
		own.SetBody(nil)
		return []string{own.String()}
	}}, "", "INVITE ACK BYE SIP/2.0"},
}

func TestCallJudgesAndEnds(t *testing.T) {
	for _, c := range calls {
		for _, on := range []string{"udp", "tcp"} {
			t.Run(c.name+" over "+on, func(t *testing.T) {
				t.Parallel()
				phone := c.phone
				start := onUDP
				if on == "tcp" {
					if c.name == "hangs up by itself" {
						t.Skip("the harness reads requests alone")
					}
					start = onTCP
				}
				s := start(t, phone.answer)
				p := must[*Call](t)(NewCall(configOf(t, on, s.addr)))
				if got := faultOf(t, p, never); got != c.want {
					t.Errorf("%q, not %q", got, c.want)
				}
				want := strings.Fields(c.asked)
				if on == "tcp" && strings.HasSuffix(c.name, "twice") {
					want = want[:len(want)-1] // the connection ends with the call
				}
				eventually(t, "the end of the call: "+c.asked, func() bool { return len(s.all()) >= len(want) })
				p.Close()
				if got := s.all(); !slices.Equal(got[:len(want)], want) {
					t.Errorf("%v, not %v", got, want)
				}
			})
		}
	}
}

// A call that never gets so far fails by the timeout, and leaves nothing that rings.
func TestCallThatDoesNotRing(t *testing.T) {
	for _, c := range []struct {
		name   string
		invite func(m sip.Message) []string
		want   string
		asked  string
	}{
		{"silence", func(sip.Message) []string { return nil }, "no answer", "INVITE"},
		{"trying", func(m sip.Message) []string { return []string{reply(m, 100)} }, notReachedText, "INVITE CANCEL ACK"},
		{"queued", func(m sip.Message) []string { return []string{reply(m, 182)} }, notReachedText, "INVITE CANCEL ACK"},
		{"another call", func(m sip.Message) []string { return []string{swap(reply(m, 180), "Call-ID", "x")} }, "no valid answer", "INVITE"},
		{"another CSeq", func(m sip.Message) []string { return []string{swap(reply(m, 180), "CSeq", "7 INVITE")} }, "no valid answer", "INVITE"},
		{"no SIP", func(sip.Message) []string { return []string{"\x00garbage"} }, "no valid answer", "INVITE"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			phone := phone{invite: c.invite}
			s := onUDP(t, phone.answer)
			p := must[*Call](t)(NewCall(configOf(t, "udp", s.addr)))
			if got := faultOf(t, p, soon); got != c.want {
				t.Errorf("%q, not %q", got, c.want)
			}
			want := strings.Fields(c.asked)
			eventually(t, c.asked, func() bool { return len(s.all()) >= len(want) })
			p.Close()
			if got := s.all(); !slices.Equal(got, want) {
				t.Errorf("%v, not %v", got, want)
			}
		})
	}
}

// A phone that rings when the probe is over is cancelled all the same.
func TestCallThatRingsTooLateIsCancelled(t *testing.T) {
	phone := phone{invite: func(sip.Message) []string { return nil }}
	s := onUDP(t, phone.answer)
	p := must[*Call](t)(NewCall(configOf(t, "udp", s.addr)))
	if got := faultOf(t, p, soon); got != "no answer" {
		t.Errorf("%q", got)
	}
	eventually(t, "the INVITE comes again", func() bool { // on its own: no test sends it
		return len(s.all()) >= 2
	})
	phoneRings(s, &phone)
	eventually(t, "CANCEL", func() bool { return slices.Contains(s.all(), "CANCEL") })
}

// phoneRings has the phone ring for the INVITEs that come from now on.
func phoneRings(s *server, p *phone) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = func(m sip.Message) []string {
		if m.(*sip.Request).Method == sip.INVITE {
			p.last = m
			return []string{reply(m, 180)}
		}
		return p.answer(m)
	}
}

// What is sent in the dialog follows the route of the answer (RFC 3261 12.2.1.1).
func TestCallFollowsTheRoute(t *testing.T) {
	phone := phone{invite: asksFirst(407, func(m sip.Message) []string { return []string{picksUp(m)} })}
	s := onUDP(t, phone.answer)
	p := must[*Call](t)(NewCall(configOf(t, "udp", s.addr)))
	if got := faultOf(t, p, never); got != "" {
		t.Fatal(got)
	}
	eventually(t, "BYE", func() bool { return len(s.all()) == 5 })
	invite, ack, bye := s.text(2), s.text(3), s.text(4)
	const routes = "Route: <sip:192.0.2.1;lr;did=5a.1b2>\r\nRoute: <sip:192.0.2.2;lr>\r\n"
	for _, x := range []struct{ text, want string }{
		{invite, "INVITE sip:echo@example.net SIP/2.0\r\n"},
		{invite, "Content-Type: application/sdp\r\n"},
		{invite, "m=audio 9 RTP/AVP 0 8\r\na=inactive\r\n"},
		{ack, "ACK sip:echo@127.0.0.1:9;ob SIP/2.0\r\n"},
		{ack, "CSeq: 2 ACK\r\n"},
		{ack, routes},
		{ack, "Proxy-Authorization: Digest "},
		{bye, "BYE sip:echo@127.0.0.1:9;ob SIP/2.0\r\n"},
		{bye, "CSeq: 3 BYE\r\n"},
		{bye, "To: <sip:echo@example.net>;tag=x\r\n"},
		{bye, routes},
	} {
		if !strings.Contains(x.text, x.want) {
			t.Errorf("%q is not in\n%s", x.want, x.text)
		}
	}
	if headerOf(invite, "Call-ID") != headerOf(bye, "Call-ID") || headerOf(ack, "Via") == headerOf(invite, "Via") {
		t.Errorf("%s\n%s\n%s", invite, ack, bye)
	}
}

func TestCodesOfACallCanBeNamed(t *testing.T) {
	phone := phone{invite: func(m sip.Message) []string { return []string{reply(m, 180), reply(m, 486)} }}
	s := onUDP(t, phone.answer)
	for code, want := range map[int]string{486: "", 180: "", 487: "answered 486"} {
		c := configOf(t, "udp", s.addr)
		c.Accepts = func(x int) bool { return x == code }
		if got := faultOf(t, must[*Call](t)(NewCall(c)), never); got != want {
			t.Errorf("%d: %q, not %q", code, got, want)
		}
	}
}

func FuzzCall(f *testing.F) {
	f.Add("SIP/2.0 180 Ringing", "x", "1 INVITE")
	f.Add("SIP/2.0 200 OK", "x", "1 INVITE")
	f.Add("SIP/2.0 401 No", "", "2 INVITE")
	f.Add("BYE sip:x SIP/2.0", "x", "1 BYE")
	f.Fuzz(func(t *testing.T, start, tag, cseq string) {
		c := call{accepts: reached, transport: "udp", callee: sip.Uri{User: "echo", Host: "example.net"}, caller: sip.Uri{User: "probe", Host: "example.net"}}
		invite := string(c.begin())
		text := start + "\r\nVia: " + headerOf(invite, "Via") + "\r\nFrom: " + headerOf(invite, "From") + "\r\nTo: <sip:x>;tag=" + tag + "\r\nCall-ID: " + c.callID + "\r\nCSeq: " + cseq + "\r\n\r\n"
		m, err := parse(text)
		if err != nil {
			return
		}
		for range 3 {
			c.receive(m)
			c.expire()
		}
		if !c.decided {
			t.Error("no verdict")
		}
	})
}
