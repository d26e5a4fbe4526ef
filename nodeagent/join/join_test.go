package join_test

import (
	"bufio"
	"context"
	"encoding/json"
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

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"thor/broker/brokertest"
	"thor/dbagent/location"
	"thor/nodeagent"
	"thor/nodeagent/join"
	"thor/nodeagent/local"
	"thor/overlay"
	"thor/subjects"
)

const patience = 20 * time.Second

// A machine has an agent with the roles fax_server and voicemail_server, which programs
// join, and sip_proxy, which is up by itself, on a real broker.
type machine struct {
	*testing.T
	socket  string
	agent   *nodeagent.Agent
	service *join.Service // in virtual time
	heard   chan *subjects.Announcement
	dial    func() (net.Conn, error) // nil: to socket
	net     *toldNetwork
	broker  *brokertest.Net
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	brokers := brokertest.Start(t)
	m := &machine{T: t, broker: brokers, net: &toldNetwork{views: make(chan *overlay.View, 1)}, heard: make(chan *subjects.Announcement, 1000)}
	sub, err := brokers.Dial("m1", subjects.Manager).Subscribe(subjects.AllPresences, func(msg *nats.Msg) {
		if a, err := subjects.ParseAnnouncement(msg.Subject, msg.Data); err == nil {
			m.heard <- a
		}
	})
	if err == nil {
		err = sub.SetPendingLimits(-1, -1)
	}
	if err != nil {
		t.Fatal(err)
	}
	on, err := overlay.New(overlay.Config{
		Credentials: brokers.Credentials("node1", "fax_server", "voicemail_server", "sip_proxy"), Brokers: brokers.URLs(), StateDir: t.TempDir(), Boot: "b00t",
	})
	if err != nil {
		t.Fatal(err)
	}
	m.net.Node = on
	byProgram := []nodeagent.CheckConfig{{Kind: nodeagent.Program}}
	m.agent, err = nodeagent.New(nodeagent.Config{Overlay: on, Roles: []nodeagent.RoleConfig{
		{Role: "fax_server", Checks: byProgram}, {Role: "voicemail_server", Checks: byProgram}, {Role: "sip_proxy"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	m.socket = filepath.Join(shortDir(t), "s")
	here, err := local.New(local.Config{
		Source: on, Socket: m.socket, Group: -1, SocketPages: join.New(m.agent, m.net, zerolog.New(zerolog.NewTestWriter(t))).Pages(),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, run := range []func(context.Context) error{on.Run, m.agent.Run, here.Run} {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- run(ctx) }()
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	<-on.Ready()
	<-here.Ready()
	<-m.agent.Ready()
	return m
}

// shortDir is a directory whose name leaves room for a socket's.
func shortDir(t *testing.T) string {
	t.Helper()
	d, err := os.MkdirTemp("", "j")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(d) })
	return d
}

// expect waits for an announcement of role.
func (m *machine) expect(role subjects.Role, state subjects.State, reason string) *subjects.Announcement {
	m.Helper()
	end := time.After(patience)
	last := "nothing"
	for {
		select {
		case a := <-m.heard:
			if a.Role != role {
				continue
			}
			if last = fmt.Sprintf("%s %q", a.State, a.Reason); a.State == state && a.Reason == reason {
				return a
			}
		case <-end:
			m.Fatalf("%s is not announced %s %q; last: %s", role, state, reason, last)
		}
	}
}

// A program is an HTTP client that has joined, or follows.
type program struct {
	*machine
	lines *bufio.Reader
	code  int
	body  io.WriteCloser
}

// ask sends a request; its body stays open when body is nil.
func (m *machine) ask(method, path string, first string) *program {
	m.Helper()
	r, w := io.Pipe()
	dial := m.dial
	if dial == nil {
		dial = func() (net.Conn, error) { return net.Dial("unix", m.socket) }
	}
	client := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return dial() }}}
	within := time.Minute
	if m.dial != nil { // in virtual time
		within = 24 * time.Hour
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	m.Cleanup(cancel)
	var body io.Reader
	if method == http.MethodPost {
		body = r
		go func() { _, _ = io.WriteString(w, first) }()
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://node"+path, body)
	if err != nil {
		m.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		m.Fatal(err)
	}
	m.Cleanup(func() { _ = w.Close(); _ = res.Body.Close(); client.CloseIdleConnections() })
	return &program{machine: m, lines: bufio.NewReader(res.Body), code: res.StatusCode, body: w}
}

// read returns the next line that has the key.
func (p *program) read(key string) map[string]any {
	p.Helper()
	var seen []string
	for {
		line, err := p.lines.ReadString('\n')
		if err != nil {
			p.Fatalf("no line with %q: %v, after %q", key, err, seen)
		}
		seen = append(seen, line)
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			p.Fatalf("%q: %v", line, err)
		}
		if _, ok := v[key]; ok {
			return v
		}
	}
}

func (p *program) say(line string) {
	p.Helper()
	if _, err := io.WriteString(p.body, line+"\n"); err != nil {
		p.Error(err)
	}
}

func TestAProgramJoinsDrainsAndLeaves(t *testing.T) {
	m := newMachine(t)
	p := m.ask("POST", "/join/fax_server", `{"version":"3.1","weight":50,"attrs":{"lines":"30"}}`+"\n")
	if p.code != http.StatusOK {
		t.Fatalf("status %d", p.code)
	}
	if a := m.expect("fax_server", subjects.Up, ""); a.Version != "3.1" || a.Weight != 50 || a.Attrs["lines"] != "30" {
		t.Errorf("announced %+v", a)
	}
	if j := p.read("joined")["joined"].(map[string]any); j["node"] != "node1" || j["role"] != "fax_server" || j["boot"] != "b00t" {
		t.Errorf("joined %v", j)
	}
	if s := p.read("self")["self"].(map[string]any); s["state"] != "up" {
		t.Errorf("self %v", s)
	}
	p.say(`{"state":"draining"}`)
	m.expect("fax_server", subjects.Draining, "its program drains")
	p.say(`{"state":"up","weight":20}`)
	if a := m.expect("fax_server", subjects.Up, ""); a.Weight != 20 || a.Version != "3.1" {
		t.Errorf("announced %+v", a)
	}
	if n, err := m.agent.ProgramWork("fax_server"); err == nil {
		t.Errorf("it carries %d, of which it did not say anything", n)
	}
	p.say(`{"work":12}`)
	brokertest.Eventually(t, patience, "its work is known", func() error {
		if n, err := m.agent.ProgramWork("fax_server"); n != 12 || err != nil {
			return fmt.Errorf("%d, %w", n, err)
		}
		return nil
	})
	if err := m.agent.Drain(); err != nil {
		t.Fatal(err)
	}
	for p.read("self")["self"].(map[string]any)["state"] != "draining" {
	}
	if err := m.agent.Resume(); err != nil {
		t.Fatal(err)
	}
	p.say(`{"leave":true}`)
	m.expect("fax_server", subjects.Leave, "")
	if n, err := m.agent.ProgramWork("fax_server"); n != 0 || err != nil {
		t.Errorf("gone, it carries %d, %v", n, err)
	}
	if rest, err := io.ReadAll(p.lines); err != nil || strings.Contains(string(rest), "error") {
		t.Errorf("%q, %v", rest, err)
	}
	m.ask("POST", "/join/fax_server", "{}\n")
	m.expect("fax_server", subjects.Up, "")
}

func TestTheEndOfAProgramIsTheEndOfItsMember(t *testing.T) {
	m := newMachine(t)
	p := m.ask("POST", "/join/fax_server", "{}\n")
	m.expect("fax_server", subjects.Up, "")
	_ = p.body.Close()
	m.expect("fax_server", subjects.Down, "its program ended without leaving")
}

// Another process than this one is found by the number that the kernel tells.
func TestASecondProgramIsRefusedWithTheNumberOfTheFirst(t *testing.T) {
	m := newMachine(t)
	m.ask("POST", "/join/fax_server", "{}\n")
	p := m.ask("POST", "/join/fax_server", "{}\n")
	b, _ := io.ReadAll(p.lines)
	if want := fmt.Sprintf(`{"error":"role fax_server: process %d has joined"}`+"\n", os.Getpid()); p.code != http.StatusConflict || string(b) != want {
		t.Errorf("%d %q, want %q", p.code, b, want)
	}
}

func TestWhatIsWrongIsOneLine(t *testing.T) {
	m := newMachine(t)
	for _, c := range []struct {
		role, first string
		code        int
		text        string
	}{
		{"media_relay", "{}\n", 404, `role media_relay is not joined by a program on this node`},
		{"sip_proxy", "{}\n", 404, `role sip_proxy is not joined by a program on this node`},
		{"a..b", "{}\n", 404, `role a..b is not joined`},
		{"fax_server", "[]\n", 400, "not a JSON object"},
		{"fax_server", "{\n", 400, "a line is refused"},
		{"fax_server", `{"colour":"red"}` + "\n", 400, `unknown field \"colour\"`},
		{"fax_server", `{"weight":"x"}` + "\n", 400, "a line is refused"},
		{"fax_server", `{"weight":65536}` + "\n", 400, "weight"},
		{"fax_server", `{"weight":-1}` + "\n", 400, "weight"},
		{"fax_server", `{} {}` + "\n", 400, "behind its JSON object"},
		{"fax_server", `{"version":"` + strings.Repeat("x", 20_000) + `"}` + "\n", 400, "longer than 16384 bytes"},
		{"fax_server", `{"version":"` + strings.Repeat("x", 5_000) + `"}` + "\n", 400, "version"},
		{"fax_server", `{"watch":["sip_proxy","sip_proxy"]}` + "\n", 400, "there twice"},
		{"fax_server", `{"watch":["no role"]}` + "\n", 400, "role"},
	} {
		p := m.ask("POST", "/join/"+c.role, c.first)
		b, _ := io.ReadAll(p.lines)
		if p.code != c.code || !strings.Contains(string(b), c.text) || strings.Count(string(b), "\n") != 1 || len(b) > 400 {
			t.Errorf("%s %.40q: %d %q, want %d %q", c.role, c.first, p.code, b, c.code, c.text)
		}
	}
	p := m.ask("POST", "/join/fax_server", "{}\n")
	p.say(`{"state":"sideways"}`)
	if e := p.read("error")["error"]; e != `state "sideways" is neither up nor draining` {
		t.Errorf("%q", e)
	}
	p.say(`{"weight":65536}`)
	if e := p.read("error")["error"].(string); !strings.Contains(e, "weight") {
		t.Errorf("%q", e)
	}
	for _, n := range []string{"-1", "1000000001"} {
		p.say(`{"work":` + n + `}`)
		if e := p.read("error")["error"]; e != "work "+n+" is not 0 to 1000000000" {
			t.Errorf("%q", e)
		}
	}
	m.expect("fax_server", subjects.Up, "")
	p.say("rubbish")
	if e := p.read("error")["error"]; e != "a line is not a JSON object" {
		t.Errorf("%q", e)
	}
	m.expect("fax_server", subjects.Down, "its program is cut off: a line is not a JSON object")
}

// What it said last is longer than a reason may be.
func TestAProgramThatIsCutOffWithALongLineIsDown(t *testing.T) {
	m := newMachine(t)
	p := m.ask("POST", "/join/fax_server", "{}\n")
	m.expect("fax_server", subjects.Up, "")
	p.say(`{"` + strings.Repeat("x", 180) + `":1}`)
	p.read("error")
	for end := time.After(patience); ; {
		select {
		case a := <-m.heard:
			if a.Role == "fax_server" && a.State == subjects.Down {
				return
			}
		case <-end:
			t.Fatal("it is not announced down")
		}
	}
}

// curl and Python are clients that others wrote.
func TestCurlJoins(t *testing.T) {
	m := newMachine(t)
	cmd := exec.CommandContext(deadline(t), needs(t, "curl", "curl"), "-sN", "--unix-socket", m.socket, "-X", "POST", "-T", ".", "http://node/join/fax_server")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	_, _ = io.WriteString(in, "{\"version\":\"curl\"}\n")
	p := &program{machine: m, lines: bufio.NewReader(out), body: in}
	p.read("joined")
	if a := m.expect("fax_server", subjects.Up, ""); a.Version != "curl" {
		t.Errorf("announced %+v", a)
	}
	p.say(`{"state":"draining"}`)
	m.expect("fax_server", subjects.Draining, "its program drains")
	second := m.ask("POST", "/join/fax_server", "{}\n")
	if b, _ := io.ReadAll(second.lines); !strings.Contains(string(b), fmt.Sprintf("process %d ", cmd.Process.Pid)) {
		t.Errorf("%q does not name curl, %d", b, cmd.Process.Pid)
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	m.expect("fax_server", subjects.Down, "its program ended without leaving")
}

func TestPythonJoins(t *testing.T) {
	m := newMachine(t)
	out, err := exec.CommandContext(deadline(t), needs(t, "python3", "python3"), "testdata/join.py", m.socket, "fax_server").CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "node1 up left" {
		t.Fatalf("%v: %s", err, out)
	}
	m.expect("fax_server", subjects.Leave, "")
}

// A locator answers for the database as the one of thor database does.
func (m *machine) locator(reply *subjects.Reply) {
	m.Helper()
	_, err := m.broker.Dial("db1", subjects.Database).Subscribe(subjects.Credentials("db1", "*", "*"), func(msg *nats.Msg) {
		r := reply
		if msg.Subject != subjects.Credentials("db1", "fax_server", "node1") {
			r = &subjects.Reply{V: subjects.Version, Code: subjects.ErrorForbidden, Text: "this role is not cleared for the database"}
		}
		_ = msg.Respond(subjects.Encode(r))
	})
	if err != nil {
		m.Fatal(err)
	}
}

func TestTheDatabaseIsToldToClearedRoles(t *testing.T) {
	m := newMachine(t)
	expect := func(path string, code int, want string) {
		t.Helper()
		p := m.ask("GET", path, "")
		b, _ := io.ReadAll(p.lines)
		if p.code != code || strings.TrimSpace(string(b)) != want {
			t.Errorf("%s: %d %s, want %d %s", path, p.code, b, code, want)
		}
	}
	expect("/database/fax_server", 503, `{"error":"the network's status is not known yet"}`)
	m.net.view.Store(&overlay.View{Status: &subjects.Status{Roles: map[subjects.Role][]subjects.Member{}}})
	expect("/database/fax_server", 503, `{"error":"no database for read-write is announced"}`)
	m.net.view.Store(&overlay.View{Status: &subjects.Status{Roles: map[subjects.Role][]subjects.Member{
		subjects.Database: {{Node: "db1", State: subjects.Up, Priority: 1}},
	}}})
	dsn, err := location.Parse("mysql://thor:s3cret@db1:3306/thor")
	if err != nil {
		t.Fatal(err)
	}
	m.locator(&subjects.Reply{V: subjects.Version, Data: location.EncodeCredentials(dsn, location.ReadWrite)})
	brokertest.Eventually(t, patience, "the locator answers", func() error {
		if p := m.ask("GET", "/database/fax_server", ""); p.code != http.StatusOK {
			return fmt.Errorf("status %d", p.code)
		}
		return nil
	})
	expect("/database/fax_server", 200, `{"node":"db1","uri":"mysql://thor:s3cret@db1/thor","mode":"read-write"}`)
	expect("/database/sip_proxy", 403, `{"error":"role sip_proxy is not cleared for the database: see [database] cleared of db1"}`)
	expect("/database/media_relay", 404, `{"error":"role media_relay is not one of this node"}`)
	expect("/database/fax_server?mode=write", 400, `{"error":"mode is read-write or read-only"}`)
}

// deadline bounds a program of others.
func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

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
