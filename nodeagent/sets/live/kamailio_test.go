package live_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// config is a Kamailio that includes the example of the sets.
const config = `#!KAMAILIO
debug=1
log_stderror=yes
children=1
tcp_children=2
auto_aliases=no
tcp_accept_no_cl=yes
mpath="%[1]s/"
listen=udp:%[2]s
listen=tcp:%[2]s
%[4]s
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "xhttp.so"
loadmodule "jsonrpcs.so"
modparam("jsonrpcs", "transport", 1)
include_file "%[3]s"
request_route {
  route(FROM_PROXY);
  if ($rc < 0) { sl_send_reply("403", "Stranger"); exit; }
  if (!ds_select_dst("1", "4")) { sl_send_reply("503", "None"); exit; }
  append_to_reply("X-Next: $du\r\n");
  sl_send_reply("302", "There");
}
event_route[xhttp:request] {
  if ($hu == "/RPC") { jsonrpc_dispatch(); exit; }
  xhttp_reply("404", "Not Found", "text/plain", "");
}
`

// A proxy is a real Kamailio that can be ended and started again.
type proxy struct {
	t         *testing.T
	addr, dir string
	delta     int
	more      string // lines of configuration
	out       bytes.Buffer
	cmd       *exec.Cmd
	done      chan struct{}
}

// free is an address and a port that nothing listens on: the tests may run twice at once.
func free(t *testing.T, address string) string {
	t.Helper()
	l, err := net.Listen("tcp", address+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func newProxy(t *testing.T, addr, dir string, delta int) *proxy {
	t.Helper()
	if _, err := exec.LookPath("kamailio"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("kamailio is not installed (Debian package kamailio)")
		}
		t.Skip("kamailio is not installed (Debian package kamailio)")
	}
	p := &proxy{t: t, addr: addr, dir: dir, delta: delta}
	t.Cleanup(func() {
		p.end()
		if t.Failed() {
			t.Logf("kamailio:\n%s", p.out.Bytes())
		}
	})
	return p
}

func (p *proxy) start() {
	p.t.Helper()
	modules, err := filepath.Glob("/usr/lib*/*/kamailio/modules/xhttp.so")
	if err != nil || len(modules) == 0 {
		p.t.Fatal("no Kamailio modules (Debian package kamailio)")
	}
	run := p.t.TempDir()
	example, err := os.ReadFile("../../../deploy/examples/kamailio/sets.cfg")
	if err != nil {
		p.t.Fatal(err)
	}
	text := strings.Replace(string(example), "!SETS_DIR!/var/lib/thor-kamailio!g", "!SETS_DIR!"+p.dir+"!g", 1)
	text = strings.Replace(text, `"dispatcher", "reload_delta", 0`, fmt.Sprintf(`"dispatcher", "reload_delta", %d`, p.delta), 1)
	if strings.Contains(text, "/var/lib") || p.delta > 0 && !strings.Contains(text, fmt.Sprintf(`reload_delta", %d`, p.delta)) {
		p.t.Fatal("the example has changed")
	}
	included, cfg := filepath.Join(run, "sets.cfg"), filepath.Join(run, "kamailio.cfg")
	err = errors.Join(os.WriteFile(included, []byte(text), 0o600),
		os.WriteFile(cfg, fmt.Appendf(nil, config, filepath.Dir(modules[0]), p.addr, included, p.more), 0o600))
	if err != nil {
		p.t.Fatal(err)
	}
	p.cmd = exec.Command("kamailio", "-f", cfg, "-DD", "-E", "-m", "64", "-M", "8", "-Y", run, "-w", run, "-P", filepath.Join(run, "pid"))
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) { _ = cmd.Wait(); close(done) }(p.cmd, p.done)
}

func (p *proxy) end() {
	if p.cmd == nil {
		return
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.done
	p.cmd = nil
}
