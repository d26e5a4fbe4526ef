package nodeagent

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"thor/overlay/check"
	"thor/subjects"
)

// needs finds a program that a test cannot do without.
func needs(t *testing.T, program, pkg string) string {
	t.Helper()
	p, err := exec.LookPath(program)
	if err == nil {
		return p
	}
	text := fmt.Sprintf("%s is not installed (Debian package %s)", program, pkg)
	if os.Getenv("CI") == "true" {
		t.Fatal(text)
	}
	t.Skip(text)
	return ""
}

// A program is a process group that a test started.
type program struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan struct{}
	once sync.Once
}

func launch(t *testing.T, argv ...string) *program {
	t.Helper()
	var out bytes.Buffer
	p := &program{t: t, cmd: exec.Command(argv[0], argv[1:]...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &out, &out
	p.cmd.Dir = t.TempDir()
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = p.cmd.Wait(); close(p.done) }()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s:\n%s", argv[0], out.Bytes())
		}
	})
	return p
}

// signal sends s to the whole group while its leader lives.
func (p *program) signal(s syscall.Signal) {
	p.t.Helper()
	if err := syscall.Kill(-p.cmd.Process.Pid, s); err != nil {
		p.t.Errorf("%v to %s: %v", s, p.cmd.Path, err)
	}
}

// kill ends the group at once and waits for its leader.
func (p *program) kill() {
	p.once.Do(func() { _ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) })
	<-p.done
}

// agentFor runs an agent of one role and one check on a network that writes down
// what is announced, and returns how to wait for an announcement.
func agentFor(t *testing.T, cc CheckConfig) (await func(what string, state subjects.State, reason string)) {
	t.Helper()
	n := newFakeNet()
	a, err := newAgent(Config{Roles: []RoleConfig{{Role: "sip_proxy", Checks: []CheckConfig{cc}}}}, n, (*CheckConfig).prober)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	ctx, cancel := contextOf(t)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return func(what string, state subjects.State, reason string) {
		t.Helper()
		eventually(t, fmt.Sprintf("%s: %s %q", what, state, reason), func() bool {
			m := n.Member("sip_proxy")
			return m.State == state && m.Reason == reason
		})
	}
}

// quick is the check of tests with real programs.
func quick(kind Kind, transport, target string) CheckConfig {
	return CheckConfig{Kind: kind, Transport: transport, Target: target, Timing: check.Timing{Interval: 200 * time.Millisecond}}
}

func kamailioConfig(t *testing.T, addr, cert, key string) string {
	t.Helper()
	modules := "/usr/lib/x86_64-linux-gnu/kamailio/modules/"
	if m, err := filepath.Glob("/usr/lib*/*/kamailio/modules/sl.so"); err == nil && len(m) > 0 {
		modules = filepath.Dir(m[0]) + "/"
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	cfg := fmt.Sprintf(`#!KAMAILIO
debug=1
log_stderror=yes
children=1
tcp_children=1
auto_aliases=no
dns=no
rev_dns=no
mpath=%q
listen=udp:%s
listen=tcp:%s
`, modules, addr, addr)
	load := "loadmodule \"sl.so\"\nloadmodule \"textops.so\"\n"
	if _, err := os.Stat(modules + "tls.so"); err == nil {
		cfg += "enable_tls=yes\nlisten=tls:" + net.JoinHostPort(host, "1"+port[1:]) + "\n"
		load += fmt.Sprintf("loadmodule \"tls.so\"\nmodparam(\"tls\", \"certificate\", %q)\nmodparam(\"tls\", \"private_key\", %q)\nmodparam(\"tls\", \"tls_method\", \"TLSv1.2+\")\n", cert, key)
	}
	cfg += load + "request_route {\n  if (is_method(\"OPTIONS\")) { sl_send_reply(\"200\", \"OK\"); exit; }\n  sl_send_reply(\"405\", \"Method Not Allowed\");\n}\n"
	file := filepath.Join(t.TempDir(), "kamailio.cfg")
	if err := os.WriteFile(file, []byte(cfg), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestAgentFollowsKamailio(t *testing.T) {
	kamailio := needs(t, "kamailio", "kamailio")
	dir := t.TempDir()
	cert, pool := selfSigned(t, time.Now().Add(24*time.Hour))
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]*pem.Block{"cert": {Type: "CERTIFICATE", Bytes: cert.Certificate[0]}, "key": {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const addr = "127.0.91.2:25060"
	cfg := kamailioConfig(t, addr, filepath.Join(dir, "cert"), filepath.Join(dir, "key"))
	start := func() *program {
		return launch(t, kamailio, "-f", cfg, "-DD", "-E", "-m", "32", "-M", "4", "-Y", dir, "-P", filepath.Join(dir, "pid"))
	}
	p := start()
	over := map[string]func(string, subjects.State, string){
		"udp": agentFor(t, quick(SIP, "udp", addr)),
		"tcp": agentFor(t, quick(SIP, "tcp", addr)),
	}
	prefix := map[string]string{"udp": "sip options udp " + addr + ": ", "tcp": "sip options tcp " + addr + ": "}
	if b, err := os.ReadFile(cfg); err == nil && strings.Contains(string(b), "enable_tls") {
		c := quick(SIP, "tls", "127.0.91.2:15060")
		c.Roots, c.ServerName = pool, "127.0.0.1"
		over["tls"], prefix["tls"] = agentFor(t, c), "sip options tls 127.0.91.2:15060: "
	} else {
		t.Log("without TLS: Debian package kamailio-tls-modules")
	}
	all := func(what string, state subjects.State, fault string) {
		t.Helper()
		for transport, await := range over {
			reason := ""
			if fault != "" {
				reason = prefix[transport] + fault
			}
			await(what+" over "+transport, state, reason)
		}
	}
	all("started", subjects.Up, "")
	p.signal(syscall.SIGSTOP)
	all("frozen", subjects.Down, "no answer")
	p.signal(syscall.SIGCONT)
	all("thawed", subjects.Up, "")
	p.kill()
	all("killed", subjects.Down, "connection refused")
	p = start()
	all("started again", subjects.Up, "")
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	<-p.done
	all("stopped", subjects.Down, "connection refused")
}

func TestAgentFollowsRTPEngine(t *testing.T) {
	rtpengine := needs(t, "rtpengine", "rtpengine-daemon")
	const addr = "127.0.91.3:22222"
	start := func() *program {
		return launch(t, rtpengine, "--foreground", "--table=-1", "--interface=127.0.91.3", "--listen-ng="+addr, "--num-threads=1",
			"--port-min=30000", "--port-max=30100", "--log-stderr", "--config-file=none", "--pidfile="+filepath.Join(t.TempDir(), "pid"))
	}
	p := start()
	await := agentFor(t, quick(RTPEngine, "", addr))
	await("started", subjects.Up, "")
	p.signal(syscall.SIGSTOP)
	await("frozen", subjects.Down, "rtpengine ping "+addr+": no answer")
	p.signal(syscall.SIGCONT)
	await("thawed", subjects.Up, "")
	p.kill()
	await("killed", subjects.Down, "rtpengine ping "+addr+": connection refused")
}

// answers is a scenario of SIPp: OPTIONS is answered with the status put in.
const answers = `<?xml version="1.0"?>
<scenario name="options">
  <recv request="OPTIONS"/>
  <send><![CDATA[
SIP/2.0 %s
[last_Via:]
[last_From:]
[last_To:];tag=[pid]-[call_number]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>
</scenario>
`

func TestAgentFollowsSIPp(t *testing.T) {
	sipp := needs(t, "sipp", "sip-tester")
	for _, c := range []struct {
		transport, flag, status string
		state                   subjects.State
		fault                   string
	}{
		{"udp", "u1", "200 OK", subjects.Up, ""},
		{"tcp", "t1", "200 OK", subjects.Up, ""},
		{"udp", "u1", "486 Busy Here", subjects.Up, ""},
		{"udp", "u1", "503 Service Unavailable", subjects.Down, "answered 503"},
	} {
		t.Run(c.transport+" "+c.status[:3], func(t *testing.T) {
			scenario := filepath.Join(t.TempDir(), "options.xml")
			if err := os.WriteFile(scenario, []byte(fmt.Sprintf(answers, c.status)), 0o600); err != nil {
				t.Fatal(err)
			}
			const addr = "127.0.91.4:25060"
			p := launch(t, sipp, "-sf", scenario, "-i", "127.0.91.4", "-p", "25060", "-t", c.flag, "-nostdin")
			await := agentFor(t, quick(SIP, c.transport, addr))
			reason := "sip options " + c.transport + " " + addr + ": "
			want := reason + c.fault
			if c.fault == "" {
				want = ""
			}
			await("started", c.state, want)
			p.kill()
			await("killed", subjects.Down, reason+"connection refused")
		})
	}
}
