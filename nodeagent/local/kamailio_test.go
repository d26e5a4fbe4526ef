package local_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"thor/nodeagent/kamailio"
	"thor/nodeagent/local"
	"thor/nodeagent/secret"
	"thor/nodeagent/sipprobe"
	"thor/overlay/check"
)

const (
	proxyAddr = "127.0.47.1"
	agentAddr = proxyAddr + ":9501"
	rpcAddr   = proxyAddr + ":5062"
)

// startProxy runs register.cfg, and returns the end of its process.
func startProxy(t *testing.T, secretFile string, memory ...string) (ended <-chan struct{}) {
	t.Helper()
	return startExample(t, "register.cfg", secretFile, memory)
}

// startExample runs an example configuration with own values, in pairs, in the place of its own.
func startExample(t *testing.T, name, secretFile string, memory []string, values ...string) (ended <-chan struct{}) {
	t.Helper()
	m, _ := filepath.Glob("/usr/lib*/*/kamailio/modules/http_client.so")
	if _, err := exec.LookPath("kamailio"); err != nil || len(m) == 0 {
		const text = "kamailio with http_client is not installed (Debian packages kamailio, kamailio-utils-modules)"
		if os.Getenv("CI") == "true" {
			t.Fatal(text)
		}
		t.Skip(text)
	}
	b, err := os.ReadFile(filepath.Join("../../deploy/examples/kamailio", name))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "kamailio.cfg")
	cfg := strings.NewReplacer(append(values,
		"/etc/thor/local.secret", secretFile, "192.0.2.1", proxyAddr, "127.0.0.1:9501", agentAddr, "127.0.0.1:5062", rpcAddr,
		"children=4", "children=2\ntcp_children=2\nmpath=\""+filepath.Dir(m[0])+"/\"",
	)...).Replace(string(b))
	if err := os.WriteFile(file, []byte(cfg), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if memory == nil {
		memory = []string{"-m", "128", "-M", "16"} // MiB: shared, and of each process
	}
	cmd := exec.Command("kamailio", append(memory, "-f", file, "-DD", "-E", "-Y", dir, "-w", dir, "-P", filepath.Join(dir, "pid"))...)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-done
		if t.Failed() {
			t.Logf("kamailio:\n%s", out.Bytes())
		}
	})
	return done
}

func md5hex(s string) string { return fmt.Sprintf("%x", md5.Sum([]byte(s))) }

// register has alice register with a password, and returns the last status.
func register(t *testing.T, seq int, password string) string {
	t.Helper()
	c, err := net.Dial("udp", proxyAddr+":5060")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	request := func(cseq int, more string) (answer string) {
		q := fmt.Sprintf("REGISTER sip:example.net SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bKl%d%d\r\nMax-Forwards: 70\r\nFrom: <sip:alice@example.net>;tag=f\r\n"+
			"To: <sip:alice@example.net>\r\nCall-ID: local%d\r\nCSeq: %d REGISTER\r\nContact: <sip:alice@%s>\r\nExpires: 300\r\n%sContent-Length: 0\r\n\r\n",
			c.LocalAddr(), seq, cseq, seq, cseq, c.LocalAddr(), more)
		b := make([]byte, 8192)
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); { // it may be starting
			_, _ = c.Write([]byte(q))
			_ = c.SetReadDeadline(time.Now().Add(time.Second))
			if n, err := c.Read(b); err == nil && strings.Contains(string(b[:n]), fmt.Sprintf("CSeq: %d ", cseq)) {
				return string(b[:n])
			}
		}
		t.Fatal("the proxy does not answer")
		return ""
	}
	a := request(1, "")
	_, rest, challenged := strings.Cut(a, "nonce=\"")
	if !challenged {
		return a[8:11]
	}
	nonce, _, _ := strings.Cut(rest, "\"")
	response := md5hex(md5hex("alice:example.net:"+password) + ":" + nonce + ":" + md5hex("REGISTER:sip:example.net"))
	a = request(2, fmt.Sprintf("Authorization: Digest username=\"alice\", realm=\"example.net\", nonce=%q, uri=\"sip:example.net\", response=%q\r\n", nonce, response))
	return a[8:11]
}

// verdict has the proxy keep alice's registration, if she proves the password: the
// lines that route[AGENT] of register.cfg reads.
func verdict(password string) string {
	return "save\n\n\n\n\nalice\nexample.net\n" + md5hex("alice:example.net:"+password) + strings.Repeat("\n", 9)
}

// startAgent serves the digest of one password.
func startAgent(t *testing.T, k *secret.Key, password string) (stop func()) {
	t.Helper()
	s, err := local.New(local.Config{
		Source: newNetwork(t), HTTP: agentAddr, Key: k, Log: zerolog.New(zerolog.NewTestWriter(t)),
		Pages: map[string]http.Handler{
			"GET /subscriber/{key}/ha1": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, md5hex("alice:example.net:"+password))
			}),
			"GET /subscriber/register": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, verdict(password))
			}),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = func() { cancel(); <-done }
	select {
	case <-s.Ready():
	case <-time.After(10 * time.Second):
		t.Fatal("the agent does not listen")
	}
	return stop
}

// checksOf has checks of the node agent ask the proxy: a test account with each password,
// and the RPC without proof.
func checksOf(t *testing.T, passwords map[string]string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	text := func(err error) string {
		if err == nil {
			return ""
		}
		return check.Explain(err).Text
	}
	for password, want := range passwords {
		file := filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, transport := range []string{"udp", "tcp"} {
			p, err := sipprobe.NewRegister(sipprobe.Config{Transport: transport, Target: proxyAddr + ":5060", Account: "alice@example.net", PasswordFile: file})
			if err != nil {
				t.Fatal(err)
			}
			if got := text(p.Probe(ctx)); got != want {
				t.Errorf("a check with the password %s over %s: %q, not %q", password, transport, got, want)
			}
			p.Close()
		}
	}
	c, err := kamailio.NewClient("http://"+rpcAddr+"/RPC", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.UpSince(ctx); text(err) != "refused: its secret is another, or it has just started" {
		t.Errorf("the RPC without proof: %v", err)
	}
}

// What another user of the machine tries against a real proxy and its agent.
func TestAnotherUserBesideKamailio(t *testing.T) {
	file := filepath.Join(openDir(t), "secret")
	k, err := secret.Load(file, -1)
	if err != nil {
		t.Fatal(err)
	}
	stop := startAgent(t, k, "good")
	proxy := startProxy(t, file)
	if got := register(t, 1, "good"); got != "200" {
		t.Errorf("beside its agent: %s", got)
	}
	if got := register(t, 2, "stolen"); got != "401" {
		t.Errorf("with a wrong password: %s", got)
	}
	checksOf(t, map[string]string{"good": "", "stolen": "refuses the password of the test account"})
	out := as(t, nobody, nobody, "digests", agentAddr, rpcAddr, file)
	for _, line := range strings.Split(out, "\n") {
		t.Log("another user: " + line)
	}
	if strings.Contains(out, md5hex("alice:example.net:good")) || strings.Count(out, "refused") != 6 {
		t.Error("another user reads digests, or commands Kamailio")
	}
	select {
	case <-proxy:
		t.Fatal("another user ended Kamailio")
	default:
	}
	// The agent itself may.
	c, err := kamailio.NewClient("http://"+rpcAddr+"/RPC", k)
	if err != nil {
		t.Fatal(err)
	}
	n, err := c.Online(t.Context())
	for end := time.Now().Add(10 * time.Second); err != nil && time.Now().Before(end); { // not in the second in which the proxy started
		n, err = c.Online(t.Context())
	}
	if err != nil || n["example.net"] != 1 {
		t.Errorf("the agent asks who is registered: %v %v", n, err)
	}
	stop()
	squatter := listenAs(t, nobody, "squat", agentAddr)
	for i := range 4 { // each of its processes, and each form of a lie
		if got := register(t, 10+i, "stolen"); got != "503" {
			t.Errorf("with the password of a program that took the agent's port: %s", got)
		}
	}
	squatter()
	stop = startAgent(t, k, "good")
	defer stop()
	for i := range 4 {
		if got := register(t, 20+i, "good"); got != "200" {
			t.Errorf("with the agent back: %s", got)
		}
	}
}

// listenAs starts a program as another user and returns once it listens.
func listenAs(t *testing.T, uid uint32, what, addr string) (stop func()) {
	t.Helper()
	ended := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(ended)
		start := outsider(ctx, t, uid, uid, what, addr)
		_ = start.Run() // killed
	}()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	for end := time.Now().Add(10 * time.Second); ; {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
			return stop
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// steal is what another user asks the agent and Kamailio for.
func steal(agent, rpc, file string) {
	try := func(name, method, url, body, header string) {
		q, err := http.NewRequest(method, url, strings.NewReader(body))
		if err != nil {
			fmt.Println(name, err)
			return
		}
		if header != "" {
			q.Header.Set(secret.Header, header)
		}
		r, err := http.DefaultClient.Do(q)
		if err != nil {
			fmt.Println(name, err)
			return
		}
		b, _ := io.ReadAll(r.Body)
		word := "answered"
		if r.StatusCode == 401 || r.StatusCode == 403 {
			word = "refused"
		}
		fmt.Printf("%s: %s %d %.200q\n", name, word, r.StatusCode, b)
	}
	const digest = "/subscriber/alice@example.net/ha1"
	guess, _ := secret.Parse(strings.Repeat("0", secret.Size))
	ask, _ := guess.Sign(secret.Ask, digest, time.Now())
	try("digest", "GET", "http://"+agent+digest, "", "")
	try("digest, a guessed secret", "GET", "http://"+agent+digest, "", ask)
	for _, m := range []string{"core.kill", "ul.rm", "ul.dump"} {
		body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":["location","alice@example.net"]}`, m)
		try(m, "POST", "http://"+rpc+"/RPC", body, "")
	}
	const kill = `{"jsonrpc":"2.0","id":1,"method":"core.kill"}`
	call, _ := guess.Sign(secret.RPC, kill, time.Now())
	try("core.kill, a guessed secret", "POST", "http://"+rpc+"/RPC", kill, call)
	_, err := os.ReadFile(file)
	fmt.Println("file:", err)
}

// squat answers in the agent's place, with a digest of its own.
func squat(addr string) {
	n := 0
	digest := verdict("stolen")
	_ = http.ListenAndServe(addr, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n++
		nonce, mac, _ := strings.Cut(r.Header.Get(secret.Header), " ")
		guess, _ := secret.Parse(strings.Repeat("0", secret.Size))
		switch n % 4 {
		case 0:
			_, _ = io.WriteString(w, digest)
		case 1:
			_, _ = io.WriteString(w, strings.Repeat("0", secret.Size)+"\n"+digest)
		case 2: // what it heard
			_, _ = io.WriteString(w, mac+"\n"+digest)
		case 3:
			_, _ = io.WriteString(w, guess.Seal(nonce, 200, digest))
		}
	}))
}
