package sipprobe

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// proxyConfig is a Kamailio that registers and calls with a password.
const proxyConfig = `#!KAMAILIO
debug=1
log_stderror=yes
children=1
tcp_children=1
auto_aliases=no
alias="example.net"
mpath="%[1]s/"
listen=udp:%[2]s
listen=tcp:%[2]s
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "auth.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
modparam("auth", "qop", "auth")
request_route {
  if (is_method("OPTIONS") && $rU == $null) { sl_send_reply("483", "Alive"); exit; }
  if (is_method("CANCEL")) { if (t_check_trans()) { t_relay(); } exit; }
  if (has_totag()) {
    if (loose_route()) { t_relay(); exit; }
    if (is_method("ACK") && t_check_trans()) { t_relay(); }
    exit;
  }
  if (is_method("REGISTER")) {
    if (!pv_www_authenticate("$td", "%[3]s", "0")) { auth_challenge("$td", "1"); exit; }
    save("location");
    exit;
  }
  if (!pv_proxy_authenticate("$fd", "%[3]s", "0")) { auth_challenge("$fd", "1"); exit; }
  consume_credentials();
  record_route();
  $du = "sip:%[4]s";
  t_relay();
}
`

// uas is a phone of SIPp that rings until it is cancelled, or answers.
func uas(answers bool) string {
	response := func(status, cseq string) string {
		return "<send><![CDATA[\nSIP/2.0 " + status + "\n[last_Via:]\n[last_From:]\n[last_To:];tag=[call_number]\n[last_Call-ID:]\n" + cseq +
			"\n[last_Record-Route:]\nContact: <sip:echo@[local_ip]:[local_port]>\nContent-Length: 0\n\n]]></send>\n"
	}
	s := `<?xml version="1.0" encoding="ISO-8859-1" ?>` + "\n<scenario name=\"phone\">\n<recv request=\"INVITE\"><action><ereg regexp=\".*\" search_in=\"hdr\" header=\"Via:\" assign_to=\"via\"/>" +
		"<ereg regexp=\".*\" search_in=\"hdr\" header=\"CSeq:\" assign_to=\"cseq\"/></action></recv>\n"
	if answers {
		return s + response("200 OK", "[last_CSeq:]") + "<recv request=\"ACK\"></recv>\n<recv request=\"BYE\"></recv>\n" + response("200 OK", "[last_CSeq:]") +
			"<Reference variables=\"via,cseq\"/></scenario>\n"
	}
	return s + response("180 Ringing", "[last_CSeq:]") + "<recv request=\"CANCEL\"></recv>\n" + response("200 OK", "[last_CSeq:]") +
		strings.ReplaceAll(response("487 Request Terminated", "CSeq:[$cseq]"), "[last_Via:]", "Via:[$via]") + "<recv request=\"ACK\"></recv>\n<Reference variables=\"via,cseq\"/></scenario>\n"
}

func program(t *testing.T, name, debian string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	text := fmt.Sprintf("%s is not installed (Debian package %s)", name, debian)
	if os.Getenv("CI") == "true" {
		t.Fatal(text)
	}
	t.Skip(text)
	return ""
}

// start runs a program until the test ends; out is what it says.
func start(t *testing.T, cmd *exec.Cmd) (done <-chan error, out *bytes.Buffer) {
	t.Helper()
	out = new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended, over := make(chan error, 1), make(chan struct{})
	go func() { ended <- cmd.Wait(); close(over) }()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-over
		if t.Failed() {
			t.Logf("%s:\n%s", cmd.Path, out.Bytes())
		}
	})
	return ended, out
}

// free is a UDP and TCP port that nothing has.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.56.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// proxy starts a Kamailio that sends calls on to phone, and waits until it answers.
func proxy(t *testing.T, phone string) string {
	t.Helper()
	kamailio := program(t, "kamailio", "kamailio")
	modules, _ := filepath.Glob("/usr/lib*/*/kamailio/modules/auth.so")
	if len(modules) == 0 {
		t.Fatal("no modules of kamailio")
	}
	addr, dir := free(t), t.TempDir()
	file := filepath.Join(dir, "kamailio.cfg")
	if err := os.WriteFile(file, fmt.Appendf(nil, proxyConfig, filepath.Dir(modules[0]), addr, canary, phone), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, exec.Command(kamailio, "-m", "32", "-M", "4", "-f", file, "-DD", "-E", "-Y", dir, "-w", dir, "-P", filepath.Join(dir, "pid")))
	p := must[*Options](t)(NewOptions(Config{Transport: "udp", Target: addr}))
	eventually(t, "kamailio answers", func() bool { return faultOf(t, p, time.Second) == "" })
	return addr
}

func TestProbesOfARealProxy(t *testing.T) {
	sipp := program(t, "sipp", "sip-tester")
	phone := free(t)
	addr := proxy(t, phone)
	for _, on := range []string{"udp", "tcp"} {
		c := configOf(t, on, addr)
		c.Accepts = func(code int) bool { return code == 483 }
		o := must[*Options](t)(NewOptions(c))
		c.Accepts = nil
		r := must[*Register](t)(NewRegister(c))
		wrong := configOf(t, on, addr)
		if err := os.WriteFile(wrong.PasswordFile, []byte("another\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if got := faultOf(t, o, never); got != "" {
				t.Errorf("OPTIONS over %s: %q", on, got)
			}
			if got := faultOf(t, r, never); got != "" {
				t.Errorf("REGISTER over %s: %q", on, got)
			}
		}
		if got := faultOf(t, must[*Register](t)(NewRegister(wrong)), never); got != refusedText {
			t.Errorf("REGISTER over %s with another password: %q", on, got)
		}
		if got := faultOf(t, must[*Call](t)(NewCall(wrong)), never); got != refusedText {
			t.Errorf("INVITE over %s with another password: %q", on, got)
		}
		for _, answers := range []bool{false, true} {
			t.Run(fmt.Sprintf("a call over %s, answered %v", on, answers), func(t *testing.T) {
				file := filepath.Join(t.TempDir(), "uas.xml")
				if err := os.WriteFile(file, []byte(uas(answers)), 0o600); err != nil {
					t.Fatal(err)
				}
				host, port, _ := net.SplitHostPort(phone)
				cmd := exec.Command(sipp, "-sf", file, "-i", host, "-p", port, "-m", "1", "-nostdin", "-timeout", "20s", "-trace_err")
				cmd.Dir = filepath.Dir(file)
				done, _ := start(t, cmd)
				p := must[*Call](t)(NewCall(c))
				if got := faultOf(t, p, never); got != "" {
					t.Errorf("%q", got)
				}
				if err := <-done; err != nil { // 0: the whole scenario, to the ACK or the BYE
					t.Error(err)
				}
			})
		}
	}
}
