package kamailio

import (
	"context"
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"
)

const dialogConfig = `#!KAMAILIO
debug=1
log_stderror=yes
children=1
tcp_children=2
auto_aliases=no
dns=no
rev_dns=no
tcp_accept_no_cl=yes
mpath="%s/"
listen=udp:%s
listen=tcp:%s
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "rr.so"
loadmodule "xhttp.so"
loadmodule "jsonrpcs.so"
loadmodule "dialog.so"
modparam("jsonrpcs", "transport", 1)
request_route {
  if ($rm == "ACK" || $rm == "BYE") { loose_route(); t_relay(); exit; }
  record_route();
  dlg_manage();
  t_relay();
}
event_route[xhttp:request] { jsonrpc_dispatch(); }
`

// The dialogs of a real Kamailio, from the INVITE to the BYE.
func TestDialogsOfARealKamailio(t *testing.T) {
	const addr = "127.0.91.10:25070"
	startWith(t, addr, dialogConfig)
	c, err := NewClient("http://"+addr+"/RPC", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	dialogs := func(want int) {
		t.Helper()
		for end := time.Now().Add(patience); ; {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			n, err := c.Dialogs(ctx)
			cancel()
			if err == nil && n == want {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%d dialogs, %v, want %d", n, err, want)
			}
			<-time.After(50 * time.Millisecond)
		}
	}
	dialogs(0)
	callee := answers(t)
	caller, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = caller.Close() })
	request := func(method, tag, route string) string {
		q := fmt.Sprintf("%s sip:bob@%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bK%s\r\nMax-Forwards: 70\r\nFrom: <sip:alice@example.net>;tag=a\r\n"+
			"To: <sip:bob@example.net>%s\r\nCall-ID: thor\r\nCSeq: 1 %s\r\nContact: <sip:alice@%s>\r\n%sContent-Length: 0\r\n\r\n",
			method, callee, caller.LocalAddr(), method, tag, method, caller.LocalAddr(), route)
		if _, err := caller.Write([]byte(strings.Replace(q, "CSeq: 1 BYE", "CSeq: 2 BYE", 1))); err != nil {
			t.Fatal(err)
		}
		if method == "ACK" {
			return ""
		}
		for {
			b := make([]byte, 4096)
			_ = caller.SetReadDeadline(time.Now().Add(patience))
			n, err := caller.Read(b)
			if err != nil {
				t.Fatalf("%s: %v", method, err)
			}
			if strings.HasPrefix(string(b[:n]), "SIP/2.0 200") {
				return string(b[:n])
			}
		}
	}
	ok := request("INVITE", "", "")
	route := regexp.MustCompile(`Record-Route: (.*)\r\n`).FindStringSubmatch(ok)
	if route == nil {
		t.Fatalf("no route in\n%s", ok)
	}
	in := "Route: " + route[1] + "\r\n"
	request("ACK", ";tag=b", in)
	dialogs(1)
	request("BYE", ";tag=b", in)
	dialogs(0)
}

// answers is the address of a phone that says 200 to all but ACK.
func answers(t *testing.T) net.Addr {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.91.10:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	go func() {
		b := make([]byte, 4096)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			q := string(b[:n])
			if strings.HasPrefix(q, "ACK") {
				continue
			}
			var out strings.Builder
			out.WriteString("SIP/2.0 200 OK\r\n")
			for line := range strings.SplitSeq(q, "\r\n") {
				switch name, _, _ := strings.Cut(line, ":"); name {
				case "Via", "From", "Call-ID", "CSeq", "Record-Route":
					out.WriteString(line + "\r\n")
				case "To":
					out.WriteString(strings.TrimSuffix(line, ";tag=b") + ";tag=b\r\n")
				}
			}
			fmt.Fprintf(&out, "Contact: <sip:bob@%s>\r\nContent-Length: 0\r\n\r\n", c.LocalAddr())
			_, _ = c.WriteTo([]byte(out.String()), from)
		}
	}()
	return c.LocalAddr()
}

// Without the module the answer says what to do.
func TestAKamailioWithoutDialogsIsTold(t *testing.T) {
	const addr = "127.0.91.11:25070"
	start(t, addr)
	c, err := NewClient("http://"+addr+"/RPC", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	for end := time.Now().Add(patience); ; <-time.After(50 * time.Millisecond) {
		_, err = c.Dialogs(t.Context())
		if err != nil && strings.Contains(err.Error(), "load its module dialog") {
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}
