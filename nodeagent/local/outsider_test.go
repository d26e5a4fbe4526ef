package local_test

import (
	"bufio"
	"context"
	"errors"
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

	"thor/nodeagent/local"
	"thor/nodeagent/secret"
)

const (
	nobody  = 65534
	members = 54321 // a group of the test's own
)

// outsider is this program as another user, who does what TestOutsider knows.
func outsider(ctx context.Context, t *testing.T, uid, gid uint32, what string, args ...string) *exec.Cmd {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs root, to start a program as another user")
		}
		t.Skip("needs root, to start a program as another user")
	}
	dir := openDir(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "outsider")
	b, err := os.ReadFile(self)
	if err = errors.Join(err, os.WriteFile(program, b, 0o755)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, program, "-test.run=^TestOutsider$")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "THOR_OUTSIDER="+what, "THOR_OUTSIDER_ARGS="+strings.Join(args, "\n"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
	return cmd
}

// as runs what of TestOutsider as another user, and returns what it prints.
func as(t *testing.T, uid, gid uint32, what string, args ...string) string {
	t.Helper()
	out, err := outsider(t.Context(), t, uid, gid, what, args...).Output()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	text, _, _ := strings.Cut(string(out), "PASS\n")
	return strings.TrimSpace(text)
}

// TestOutsider is what another user of the machine tries. It is no test.
func TestOutsider(t *testing.T) {
	args := strings.Split(os.Getenv("THOR_OUTSIDER_ARGS"), "\n")
	switch os.Getenv("THOR_OUTSIDER") {
	case "socket":
		c := onSocket(args[0])
		r, err := c.Get("http://localhost" + args[1])
		if err != nil {
			fmt.Println("error", err)
			return
		}
		b, _ := io.ReadAll(r.Body)
		fmt.Println(r.StatusCode, string(b))
	case "secret":
		b, err := os.ReadFile(args[0])
		fmt.Println(len(b), err)
	case "digests":
		steal(args[0], args[1], args[2])
	case "squat":
		squat(args[0])
	}
}

// onSocket is a client of a Unix socket.
func onSocket(path string) *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}, DisableKeepAlives: true,
	}}
}

func digests() map[string]http.Handler {
	return map[string]http.Handler{"GET /subscriber/{key...}": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("key") == "none" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = io.WriteString(w, "digest of "+r.PathValue("key"))
	})}
}

// openDir is a directory that every user may enter.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "local")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestTheSocketIsForItsGroup(t *testing.T) {
	dir := openDir(t)
	path := filepath.Join(dir, "node.sock")
	start(t, local.Config{Source: newNetwork(t), Socket: path, Group: members, Pages: digests()})
	r, err := onSocket(path).Get("http://localhost/subscriber/alice")
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(r.Body); r.StatusCode != 200 || string(b) != "digest of alice" {
		t.Errorf("its own user: %d %s", r.StatusCode, b)
	}
	if got := as(t, nobody, nobody, "socket", path, "/subscriber/alice"); !strings.Contains(got, "permission denied") {
		t.Errorf("another user: %s", got)
	}
	if got := as(t, nobody, members, "socket", path, "/subscriber/alice"); got != "200 digest of alice" {
		t.Errorf("a member of the group: %s", got)
	}
	// A way around the mode of the file leads to the credentials.
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if got := as(t, nobody, nobody, "socket", path, "/subscriber/alice"); !strings.HasPrefix(got, "error") {
		t.Errorf("another user, on a socket open to all: %s", got)
	}
	if got := as(t, nobody, nobody, "socket", path, "/lookup/sip_proxy/a@b"); !strings.HasPrefix(got, "error") {
		t.Errorf("another user, on a socket open to all: %s", got)
	}
}

// Without a group the socket is its user's and root's.
func TestTheSocketWithoutAGroup(t *testing.T) {
	path := filepath.Join(openDir(t), "node.sock")
	start(t, local.Config{Source: newNetwork(t), Socket: path, Group: -1, Pages: digests()})
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", fi.Mode(), err)
	}
	if got := as(t, nobody, 0, "socket", path, "/subscriber/alice"); !strings.Contains(got, "permission denied") {
		t.Errorf("a member of root's group: %s", got)
	}
}

func TestTheSecretIsReadByItsGroup(t *testing.T) {
	file := filepath.Join(openDir(t), "secret")
	if _, err := secret.Load(file, members); err != nil {
		t.Fatal(err)
	}
	if got := as(t, nobody, nobody, "secret", file); !strings.HasPrefix(got, "0 open") {
		t.Errorf("another user reads %s", got)
	}
	if got := as(t, nobody, members, "secret", file); !strings.HasSuffix(got, "<nil>") {
		t.Errorf("a member of the group: %s", got)
	}
}

// ask puts a question over TCP, proved by a header.
func ask(t *testing.T, s *local.Server, path, header string) (status int, body string) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Address("http").String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Accept", "text/plain")
	if header != "" {
		q.Header.Set(secret.Header, header)
	}
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

func TestOverTCPDigestsNeedTheSecret(t *testing.T) {
	k, err := secret.Load(filepath.Join(t.TempDir(), "secret"), -1)
	if err != nil {
		t.Fatal(err)
	}
	other, err := secret.Load(filepath.Join(t.TempDir(), "secret"), -1)
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, local.Config{Source: newNetwork(t), HTTP: "127.0.0.1:0", Key: k, Pages: digests()})
	const alice = "/subscriber/alice?for=register"
	now := time.Now()
	header, nonce := k.Sign(secret.Ask, alice, now)
	status, body := ask(t, s, alice, header)
	if b, ok := k.Open(nonce, status, body); !ok || status != 200 || b != "digest of alice" {
		t.Errorf("with proof: %d %s", status, body)
	}
	empty, nonce := k.Sign(secret.Ask, "/subscriber/none", now)
	status, body = ask(t, s, "/subscriber/none", empty)
	if b, ok := k.Open(nonce, status, body); !ok || status != 404 || b != "" {
		t.Errorf("with proof, nothing there: %d %s", status, body)
	}
	foreign, _ := other.Sign(secret.Ask, alice, now)
	elsewhere, _ := k.Sign(secret.Ask, "/subscriber/bob", now)
	early, _ := k.Sign(secret.Ask, alice, now.Add(-time.Minute))
	rpc, _ := k.Sign(secret.RPC, alice, now)
	for name, h := range map[string]string{
		"no proof": "", "a used proof": header, "another secret": foreign, "the proof of another path": elsewhere, "an old proof": early,
		"the proof of a call": rpc, "rubbish": "x",
	} {
		if status, body := ask(t, s, alice, h); status != 401 || strings.Contains(body, "digest") {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	lookup, nonce := k.Sign(secret.Ask, "/lookup/sip_proxy/alice@example.com", now)
	status, body = ask(t, s, "/lookup/sip_proxy/alice@example.com", lookup)
	if b, ok := k.Open(nonce, status, body); !ok || status != 200 || strings.Count(b, "\n") != 2 {
		t.Errorf("a lookup with proof: %d %s", status, body)
	}
	if status, body := ask(t, s, "/lookup/sip_proxy/alice@example.com", ""); status != 200 || strings.Count(body, "\n") != 2 {
		t.Errorf("a lookup without proof: %d %s", status, body)
	}
}

func TestWithoutASecretTCPGivesNoDigests(t *testing.T) {
	s := start(t, local.Config{Source: newNetwork(t), HTTP: "127.0.0.1:0", Pages: digests()})
	for _, h := range []string{"", "1700000000.000000 " + strings.Repeat("0", 64)} {
		if status, body := ask(t, s, "/subscriber/alice", h); status != 401 || strings.Contains(body, "digest") {
			t.Errorf("%q: %d %s", h, status, body)
		}
	}
}

// Idle connections by the thousand leave room for who asks something, and do not
// add up in the agent.
func TestIdleConnectionsMakeRoom(t *testing.T) {
	dir := openDir(t)
	path := filepath.Join(dir, "node.sock")
	s := start(t, local.Config{Source: newNetwork(t), HTTP: "127.0.0.1:0", Lines: "127.0.0.1:0", Socket: path, Group: -1, Pages: digests()})
	for _, x := range []struct {
		network, addr string
		n             int
		works         func() error
	}{
		{"tcp", s.Address("http").String(), 9000, func() error {
			if status, body := ask(t, s, "/lookup/sip_proxy/a@b", ""); status != 200 {
				return fmt.Errorf("%d %s", status, body)
			}
			return nil
		}},
		{"unix", path, 2000, func() error {
			r, err := onSocket(path).Get("http://localhost/subscriber/alice")
			if err == nil && r.StatusCode != 200 {
				return fmt.Errorf("%d", r.StatusCode)
			}
			return err
		}},
		{"tcp", s.Address("lines").String(), 500, func() error {
			c, err := net.Dial("tcp", s.Address("lines").String())
			if err != nil {
				return err
			}
			defer c.Close()
			_, _ = io.WriteString(c, "is_online 192.0.2.1 as sip_proxy\r\n")
			if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || line != "Yes\r\n" {
				return fmt.Errorf("%q %v", line, err)
			}
			return nil
		}},
	} {
		var held []net.Conn
		for range x.n {
			c, err := net.Dial(x.network, x.addr)
			if err != nil {
				t.Fatalf("%s: connection %d: %v", x.addr, len(held), err)
			}
			held = append(held, c)
		}
		if err := x.works(); err != nil {
			t.Errorf("%s, beside %d idle connections: %v", x.addr, x.n, err)
		}
		open := x.n
		for end := time.Now().Add(20 * time.Second); open > 192 && time.Now().Before(end); { // the kernel may have some yet
			open = 0
			for _, c := range held {
				_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
				if _, err := c.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
					open++
				}
			}
		}
		for _, c := range held {
			_ = c.Close()
		}
		if open > 192 {
			t.Errorf("%s: %d of %d idle connections are open", x.addr, open, x.n)
		}
	}
}
