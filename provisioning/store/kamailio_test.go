package store_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"thor/provisioning/ngnpro"
)

// kamailioConfig makes each method ask one of the projected tables.
const kamailioConfig = `#!KAMAILIO
debug=1
log_stderror=yes
children=1
disable_tcp=yes
auto_aliases=no
dns=no
rev_dns=no
mpath="%[1]s/"
listen=udp:%[2]s
loadmodule "db_mysql.so"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "auth.so"
loadmodule "auth_db.so"
loadmodule "alias_db.so"
loadmodule "domain.so"
loadmodule "group.so"
loadmodule "permissions.so"
modparam("auth_db|alias_db|domain|group|permissions", "db_url", "%[3]s")
modparam("auth_db|alias_db|group", "use_domain", 1)
modparam("auth_db", "calculate_ha1", 0)
modparam("auth_db", "password_column", "ha1")
modparam("auth_db", "password_column_2", "ha1b")
modparam("auth_db", "load_credentials", "")
modparam("permissions", "db_mode", 1)
request_route {
  if ($rm == "REGISTER") {
    if (!www_authenticate("$fd", "subscriber")) { www_challenge("$fd", "0"); exit; }
    sl_send_reply("200", "OK");
  } else if ($rm == "OPTIONS") {
    if (alias_db_lookup("dbaliases")) { sl_send_reply("200", "leads to $rU at $rd"); } else { sl_send_reply("404", "no alias"); }
  } else if ($rm == "INFO") {
    if (is_domain_local("$fd") && is_user_in("From", "quota")) { sl_send_reply("200", "in it"); } else { sl_send_reply("403", "not in it"); }
  } else if ($rm == "MESSAGE") {
    if (allow_source_address("1") && allow_trusted()) { sl_send_reply("200", "trusted"); } else { sl_send_reply("403", "not trusted"); }
  }
  exit;
}
`

// startKamailio runs a real Kamailio on the schema.
func (w *world) startKamailio() (addr string) {
	t := w.t
	t.Helper()
	program, err := exec.LookPath("kamailio")
	modules, _ := filepath.Glob("/usr/lib*/*/kamailio/modules/db_mysql.so")
	if err != nil || len(modules) == 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("Kamailio or its MySQL module is not installed (Debian packages kamailio, kamailio-mysql-modules)")
		}
		t.Skip("Kamailio or its MySQL module is not installed (Debian packages kamailio, kamailio-mysql-modules)")
	}
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	w.ok(err)
	addr = l.LocalAddr().String()
	_ = l.Close()
	w.sql("CREATE USER IF NOT EXISTS 'kamailio'@'%' IDENTIFIED BY 'kamailio'; GRANT SELECT ON " + w.dsn.Name() + ".* TO 'kamailio'@'%'")
	dir := t.TempDir()
	cfg := filepath.Join(dir, "kamailio.cfg")
	uri := "mysql://kamailio:kamailio@" + w.dsn.Address() + "/" + w.dsn.Name()
	w.ok(os.WriteFile(cfg, fmt.Appendf(nil, kamailioConfig, filepath.Dir(modules[0]), addr, uri), 0o600))
	var out bytes.Buffer
	cmd := exec.Command(program, "-f", cfg, "-DD", "-E", "-m", "64", "-M", "8", "-Y", dir, "-w", dir, "-P", filepath.Join(dir, "pid"))
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	w.ok(cmd.Start())
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-done
		if t.Failed() {
			t.Logf("kamailio:\n%s", out.Bytes())
		}
	})
	return addr
}

// A caller sends requests to Kamailio.
type caller struct {
	w    *world
	conn net.Conn
	seq  int
}

// send returns the whole answer to a request.
func (c *caller) send(method, uri, from, more string) string {
	c.w.t.Helper()
	c.seq++
	q := fmt.Sprintf("%s %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bKthor%d\r\nMax-Forwards: 70\r\nFrom: <sip:%s>;tag=a%d\r\nTo: <%s>\r\n"+
		"Call-ID: %d@thor\r\nCSeq: %d %s\r\n%sContent-Length: 0\r\n\r\n", method, uri, c.conn.LocalAddr(), c.seq, from, c.seq, uri, c.seq, c.seq, method, more)
	for end := time.Now().Add(patience); time.Now().Before(end); { // it may be starting
		_, _ = c.conn.Write([]byte(q)) // refused while it starts
		_ = c.conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		b := make([]byte, 4096)
		if n, err := c.conn.Read(b); err == nil && strings.Contains(string(b[:n]), fmt.Sprintf("CSeq: %d ", c.seq)) {
			return string(b[:n])
		}
	}
	c.w.t.Fatalf("Kamailio does not answer %s", method)
	return ""
}

func status(answer string) string {
	line, _, _ := strings.Cut(answer, "\r\n")
	return strings.TrimPrefix(line, "SIP/2.0 ")
}

var nonceOf = regexp.MustCompile(`nonce="([^"]+)"`)

// register answers Kamailio's challenge with a password.
func (c *caller) register(key, password string) string {
	c.w.t.Helper()
	u := id(key)
	uri := "sip:" + u.Domain
	m := nonceOf.FindStringSubmatch(c.send("REGISTER", uri, key, ""))
	if m == nil {
		c.w.t.Fatal("no challenge")
	}
	response := md5hex(md5hex(u.Username+":"+u.Domain+":"+password) + ":" + m[1] + ":" + md5hex("REGISTER:"+uri))
	return status(c.send("REGISTER", uri, key, fmt.Sprintf("Authorization: Digest username=%q, realm=%q, nonce=%q, uri=%q, response=%q\r\n",
		u.Username, u.Domain, m[1], uri, response)))
}

// A real Kamailio starts on our tables and acts on what is provisioned.
func TestKamailioReadsTheProjection(t *testing.T) {
	w := newWorld(t)
	w.domain("d.example")
	w.account("a@d.example", func(a *ngnpro.SipAccount) { a.Groups = &[]string{"quota"} })
	w.alias("x@d.example", "a@d.example")
	w.ok(w.Peers.Add(w.ctx, admin, &ngnpro.TrustedPeer{IP: "127.0.0.1"}))
	addr := w.startKamailio()
	conn, err := net.Dial("udp", addr)
	w.ok(err)
	defer conn.Close()
	c := &caller{w: w, conn: conn}
	want := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	want("right password", c.register("a@d.example", "secret"), "200 OK")
	want("wrong password", c.register("a@d.example", "guess"), "401 Unauthorized")
	want("unknown user", c.register("b@d.example", "secret"), "401 Unauthorized")
	want("alias", status(c.send("OPTIONS", "sip:x@d.example", "a@d.example", "")), "200 leads to a at d.example")
	want("no alias", status(c.send("OPTIONS", "sip:y@d.example", "a@d.example", "")), "404 no alias")
	want("group", status(c.send("INFO", "sip:x@d.example", "a@d.example", "")), "200 in it")
	want("peer", status(c.send("MESSAGE", "sip:x@d.example", "a@d.example", "")), "200 trusted")

	_, err = w.Accounts.Update(w.ctx, admin, &ngnpro.SipAccount{ID: id("a@d.example"), Password: new("changed"), Groups: &[]string{}})
	w.ok(err)
	want("the password before", c.register("a@d.example", "secret"), "401 Unauthorized")
	want("the password now", c.register("a@d.example", "changed"), "200 OK")
	want("out of the group", status(c.send("INFO", "sip:x@d.example", "a@d.example", "")), "403 not in it")
	_, err = w.Accounts.Delete(w.ctx, admin, id("a@d.example"))
	w.ok(err)
	want("deleted", c.register("a@d.example", "changed"), "401 Unauthorized")
	want("its alias", status(c.send("OPTIONS", "sip:x@d.example", "a@d.example", "")), "404 no alias")
}
