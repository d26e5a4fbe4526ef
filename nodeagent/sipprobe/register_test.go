package sipprobe

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/emiago/sipgo/sip"

	"thor/nodeagent/password"
)

// registrar asks for a password as challenge says, and takes the right one.
func registrar(challenge string, code int) func(m sip.Message) []string {
	header, proof := "WWW-Authenticate", "Authorization"
	if code == 407 {
		header, proof = "Proxy-Authenticate", "Proxy-Authorization"
	}
	return func(m sip.Message) []string {
		if proven(m.(*sip.Request), proof, "example.net", "abc") {
			return []string{reply(m, 200)}
		}
		return []string{reply(m, code, header+": "+challenge)}
	}
}

func always(f func(m sip.Message) string) func(m sip.Message) []string {
	return func(m sip.Message) []string { return []string{f(m)} }
}

func TestRegisterJudgesTheAnswer(t *testing.T) {
	const plain = `Digest realm="example.net", nonce="abc"`
	for _, c := range []struct {
		name   string
		answer func(m sip.Message) []string
		want   string
		asked  int
	}{
		{"200 without a question", always(func(m sip.Message) string { return reply(m, 200) }), "", 1},
		{"RFC 2069", registrar(plain, 401), "", 2},
		{"qop auth", registrar(plain+`, qop="auth", algorithm=MD5`, 401), "", 2},
		{"of several qops", registrar(plain+`, qop="auth-int, auth"`, 401), "", 2},
		{"SHA-256", registrar(plain+`, qop="auth", algorithm=SHA-256`, 401), "", 2},
		{"a proxy asks", registrar(plain, 407), "", 2},
		{"an algorithm that is not known", registrar(plain+`, algorithm=ROT13`, 401), methodText, 1},
		{"no challenge", always(func(m sip.Message) string { return reply(m, 401) }), methodText, 1},
		{"Basic", registrar(`Basic realm="example.net"`, 401), methodText, 1},
		{"another password", registrar(`Digest realm="example.net", nonce="other"`, 401), refusedText, 2},
		{"stale without end", registrar(`Digest realm="example.net", nonce="old", stale=true`, 401), refusedText, 3},
		{"403", always(func(m sip.Message) string { return reply(m, 403) }), "answered 403", 1},
		{"503", always(func(m sip.Message) string { return reply(m, 503) }), "answered 503", 1},
		{"100 and 200", func(m sip.Message) []string { return []string{reply(m, 100), reply(m, 200)} }, "", 1},
		{"100 only", always(func(m sip.Message) string { return reply(m, 100) }), "no answer", 2},
		{"silence", func(sip.Message) []string { return nil }, "no answer", 2},
		{"no SIP", always(func(sip.Message) string { return "\x00garbage" }), "no valid answer", 2},
		{"another Call-ID", always(func(m sip.Message) string { return swap(reply(m, 200), "Call-ID", "x") }), "no valid answer", 2},
		{"another branch", always(func(m sip.Message) string {
			return swap(reply(m, 200), "Via", "SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKx")
		}), "no answer", 2},
		{"another method", always(func(m sip.Message) string { return swap(reply(m, 200), "CSeq", "1 OPTIONS") }), "no valid answer", 2},
	} {
		for _, on := range []string{"udp", "tcp"} {
			t.Run(c.name+" over "+on, func(t *testing.T) {
				t.Parallel()
				start := onUDP
				if on == "tcp" {
					start = onTCP
				}
				s := start(t, c.answer)
				p := must[*Register](t)(NewRegister(configOf(t, on, s.addr)))
				timeout, want, asked := never, c.want, c.asked
				if strings.HasPrefix(want, "no ") {
					timeout = soon
					if on == "tcp" { // nothing is repeated, and what is no answer is passed over
						asked, want = 1, "no answer"
					}
				}
				if got := faultOf(t, p, timeout); got != want {
					t.Errorf("%q, not %q", got, want)
				}
				if n := len(s.all()); n != asked {
					t.Errorf("asked %d times, not %d", n, asked)
				}
			})
		}
	}
}

// A registration that is renewed is one contact, under one Call-ID with rising numbers.
func TestRegisterRenewsOneContact(t *testing.T) {
	s := onUDP(t, registrar(`Digest realm="example.net", nonce="abc"`, 401))
	p := must[*Register](t)(NewRegister(configOf(t, "udp", s.addr)))
	for range 2 {
		if got := faultOf(t, p, never); got != "" {
			t.Fatal(got)
		}
	}
	contact, id := "", ""
	for i := range 4 {
		q := s.text(i)
		for _, want := range []string{
			"REGISTER sip:example.net SIP/2.0\r\n", "To: <sip:probe@example.net>\r\n", "From: <sip:probe@example.net>;tag=", "Expires: 60\r\n", fmt.Sprintf("CSeq: %d REGISTER\r\n", i+1),
		} {
			if !strings.Contains(q, want) {
				t.Errorf("%q is not in\n%s", want, q)
			}
		}
		c, cid := headerOf(q, "Contact"), headerOf(q, "Call-ID")
		if i > 0 && (c != contact || cid != id) {
			t.Errorf("%s %s, before %s %s", c, cid, contact, id)
		}
		contact, id = c, cid
	}
	if contact != "<sip:probe@127.0.0.1:9>" {
		t.Error(contact)
	}
}

func headerOf(q, name string) string {
	_, rest, _ := strings.Cut(q, "\r\n"+name+": ")
	v, _, _ := strings.Cut(rest, "\r\n")
	return v
}

func TestRegisterSurvivesALostDatagramAndAnAnswerThatComesTwice(t *testing.T) {
	var n atomic.Int32
	answer := registrar(`Digest realm="example.net", nonce="abc"`, 401)
	s := onUDP(t, func(m sip.Message) []string {
		if n.Add(1)%2 == 1 {
			return nil
		}
		a := answer(m)[0]
		return []string{a, a}
	})
	p := must[*Register](t)(NewRegister(configOf(t, "udp", s.addr)))
	for range 2 {
		if got := faultOf(t, p, never); got != "" {
			t.Error(got)
		}
	}
	if n.Load() != 8 {
		t.Errorf("asked %d times", n.Load())
	}
}

func TestAPasswordFileThatOthersMayReadIsRefused(t *testing.T) {
	s := onUDP(t, registrar(`Digest realm="example.net", nonce="abc"`, 401))
	c := configOf(t, "udp", s.addr)
	p := must[*Register](t)(NewRegister(c))
	for _, damage := range []func() error{
		func() error { return os.Chmod(c.PasswordFile, 0o644) },
		func() error { return os.Remove(c.PasswordFile) },
		func() error { return os.WriteFile(c.PasswordFile, []byte("\n"), 0o600) },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if got := faultOf(t, p, never); got != passwordText {
			t.Errorf("%q", got)
		}
		if password.Check(c.PasswordFile) == nil {
			t.Error("the file passes")
		}
	}
	c.PasswordFile = ""
	if got := faultOf(t, must[*Register](t)(NewRegister(c)), never); got != "answered 401" {
		t.Errorf("without a password: %q", got)
	}
}

func TestParseAccount(t *testing.T) {
	for s, ok := range map[string]bool{
		"probe@example.net": true, "a.b+c@192.0.2.1": true,
		"": false, "probe": false, "@x": false, "x@": false, "a@b@c": false, "sip:a@b": false, "a b@c": false, "a@b;x": false, "a@b\r\nX: y": false, "ä@b": false,
	} {
		if _, err := ParseAccount(s); (err == nil) != ok {
			t.Errorf("%q: %v", s, err)
		}
	}
}
