package control

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"thor/broker/brokertest"
	"thor/identity"
	"thor/overlay"
	"thor/subjects"
)

// A world is a control port with what it was told.
type world struct {
	*testing.T
	net    *brokertest.Net
	creds  *identity.Credentials
	port   *Port
	view   atomic.Pointer[overlay.View]
	answer func(*subjects.ControlCommand) (int, string, bool)
	log    lines

	mu      sync.Mutex
	changed []string
}

// lines is a log.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, string(b))
	return len(b), nil
}

func (l *lines) count(part string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, x := range l.all {
		if strings.Contains(x, part) {
			n++
		}
	}
	return n
}

func newWorld(t *testing.T, edit ...func(*Config)) *world {
	t.Helper()
	w := &world{T: t, net: brokertest.New(t)}
	w.creds = w.net.Credentials("node1", "sip_proxy")
	w.members(map[subjects.Role][]string{
		"xcap_server": {"x1", "x2"}, "provisioning_server": {"pr1"}, "media_relay": {"r1"}, "sip_proxy": {"node1"},
	})
	cfg := Config{
		Listen: "127.0.0.1:0", Credentials: w.creds, View: w.view.Load, Log: zerolog.New(&w.log),
		Changed: func(_ context.Context, key string) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.changed = append(w.changed, key)
			return nil
		},
		Programs: func(ctx context.Context, c *subjects.ControlCommand, _ subjects.NodeID) (int, string, bool) {
			if w.answer == nil {
				return 0, "", false
			}
			return w.answer(c)
		},
	}
	for _, e := range edit {
		e(&cfg)
	}
	var err error
	if w.port, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	w.port.patience = 3 * time.Second
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.port.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	<-w.port.Ready()
	return w
}

func (w *world) members(of map[subjects.Role][]string) {
	s := &subjects.Status{V: subjects.Version, Domain: brokertest.Domain, Roles: make(map[subjects.Role][]subjects.Member)}
	for role, nodes := range of {
		for _, n := range nodes {
			s.Roles[role] = append(s.Roles[role], subjects.Member{Node: subjects.NodeID(n), State: subjects.Up})
		}
	}
	w.view.Store(&overlay.View{Status: s})
}

// A peer is a connection of another node.
type peer struct {
	*world
	conn net.Conn
	in   *bufio.Reader
}

// dial connects with the certificate of a node with these roles.
func (w *world) dial(node string, roles ...subjects.Role) *peer {
	w.Helper()
	c, err := w.tryDial(w.net.Credentials(node, roles...).Certificate())
	if err != nil {
		w.Fatal(err)
	}
	return c
}

func (w *world) tryDial(cert *tls.Certificate) (*peer, error) {
	cfg := &tls.Config{InsecureSkipVerify: true} // it is a certificate for clients, of the node at that address
	if cert != nil {
		cfg.Certificates = []tls.Certificate{*cert}
	}
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", w.port.Address().String(), cfg)
	if err != nil {
		return nil, err
	}
	w.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return &peer{w, c, bufio.NewReader(c)}, nil
}

func (p *peer) say(text string) {
	p.Helper()
	if _, err := io.WriteString(p.conn, text); err != nil {
		p.Fatal(err)
	}
}

// expect is the next answer.
func (p *peer) expect(want string) {
	p.Helper()
	line, err := p.in.ReadString('\n')
	if err != nil || strings.TrimRight(line, "\r\n") != want {
		p.Errorf("%q %v, want %q", line, err, want)
	}
}

// closed expects the end of the connection.
func (p *peer) closed() {
	p.Helper()
	if rest, err := io.ReadAll(p.in); len(rest) > 0 {
		p.Errorf("%q, %v", rest, err)
	} else if t, ok := errors.AsType[net.Error](err); ok && t.Timeout() {
		p.Errorf("still open: %v", err)
	}
}

func TestChangesAreToldByThoseWhoMay(t *testing.T) {
	w := newWorld(t)
	x := w.dial("x1", "xcap_server")
	x.say("1 notify update sip_account Alice@Example.com\r\n2 notify delete sip_account bob@example.com\n")
	got := map[string]bool{}
	for range 2 {
		line, err := x.in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		got[line] = true
	}
	if !got["1 200 \r\n"] || !got["2 200 \r\n"] {
		t.Errorf("%v", got)
	}
	pr := w.dial("pr1", "provisioning_server")
	pr.say("7 notify update sip_account carol@example.com\n")
	pr.expect("7 200 ")
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.changed) != 3 {
		t.Errorf("%v", w.changed)
	}
}

func TestWatchersComeFromAProgram(t *testing.T) {
	w := newWorld(t)
	x := w.dial("x1", "xcap_server")
	x.say("1 get sip_watchers for alice@example.com\n")
	x.expect("1 501 no program of this node knows watchers")
	w = newWorld(t)
	w.answer = func(c *subjects.ControlCommand) (int, string, bool) {
		return 200, `[{"online":true,"of":"` + c.Entity + `"}]`, true
	}
	x = w.dial("x1", "xcap_server")
	x.say("1 get sip_watchers for alice@example.com\n")
	x.expect(`1 200 [{"online":true,"of":"alice@example.com"}]`)
	w.answer = func(*subjects.ControlCommand) (int, string, bool) { return 200, "two\nlines\r\n3 200 forged", true }
	x.say("2 get sip_watchers for alice@example.com\n")
	x.expect("2 200 two\uFFFDlines\uFFFD\uFFFD3 200 forged")
}

func TestOthersAreRefused(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		node    string
		role    subjects.Role
		command string
		want    string
	}{
		{"r1", "media_relay", "notify update sip_account a@b", "1 403 no role of r1 may give the command notify"},
		{"r1", "media_relay", "get sip_watchers for a@b", "1 403 no role of r1 may give the command get sip_watchers"},
		{"pr1", "provisioning_server", "get sip_watchers for a@b", "1 403 no role of pr1 may give the command get sip_watchers"},
		{"x9", "xcap_server", "notify update sip_account a@b", "1 403 x9 is no member in a role that may give the command notify"},
		{"op", subjects.Operator, "notify update sip_account a@b", "1 403 no role of op may give the command notify"},
		{"x1", "xcap_server", "notify update domain b", `1 400 "domain" is no type of entity that is known: sip_account is`},
		{"x1", "xcap_server", "quit", `1 400 "quit" is no command that is known`},
	} {
		p := w.dial(c.node, c.role)
		p.say("1 " + c.command + "\n")
		p.expect(c.want)
	}
	w.view.Store(&overlay.View{})
	p := w.dial("x1", "xcap_server")
	p.say("1 notify update sip_account a@b\n")
	p.expect("1 503 the network's status is not known yet")
	if len(w.changed) > 0 {
		t.Errorf("%v", w.changed)
	}
}

// A change that cannot be passed on now has to be told again. Programs are told in any
// case, after all else.
func TestAChangeThatIsNotPassedOnIsRefused(t *testing.T) {
	fails := make(chan error, 1)
	order := make(chan string, 2)
	w := newWorld(t, func(c *Config) {
		c.Changed = func(context.Context, string) error { order <- "changed"; return <-fails }
	})
	w.answer = func(*subjects.ControlCommand) (int, string, bool) { order <- "programs"; return 200, "", true }
	x := w.dial("x1", "xcap_server")
	for i, c := range []struct {
		err  error
		want string
	}{
		{nil, "200 "},
		{fmt.Errorf("no key: %w", overlay.ErrBadKey), "400 no key: " + overlay.ErrBadKey.Error()},
		{overlay.ErrNoStatus, "503 " + overlay.ErrNoStatus.Error()},
		{overlay.ErrNoTable, "503 " + overlay.ErrNoTable.Error()},
		{overlay.ErrTableDiffers, "503 " + overlay.ErrTableDiffers.Error()},
		{overlay.ErrNotFollowed, "503 " + overlay.ErrNotFollowed.Error()},
	} {
		fails <- c.err
		x.say(fmt.Sprintf("%d notify update sip_account a@b\n", i+1))
		x.expect(fmt.Sprintf("%d %s", i+1, c.want))
		if first, second := <-order, <-order; first != "changed" || second != "programs" {
			t.Errorf("%v: %s is told before %s", c.err, first, second)
		}
	}
}

// A list of revocations is in force for connections that are open.
func TestARevokedCertificateIsRefusedOnAnOpenConnection(t *testing.T) {
	w := newWorld(t)
	x := w.dial("x1", "xcap_server")
	x.say("1 notify update sip_account a@b\n")
	x.expect("1 200 ")
	id := w.net.Credentials("x1", "xcap_server").Identity()
	list, err := w.net.Authority.Revoke(id.Serial)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.creds.Revocations().Update(list, w.creds.Authorities()); err != nil {
		t.Fatal(err)
	}
	x.say("2 notify update sip_account a@b\n")
	line, err := x.in.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "2 403 ") || !strings.Contains(line, "revoked") {
		t.Errorf("%q %v", line, err)
	}
	if p, err := w.tryDial(w.net.Credentials("x1", "xcap_server").Certificate()); err == nil {
		p.closed() // TLS 1.3: the client learns of a refusal with its first read
	}
}

func TestCertificatesOfOthersAreNoPeers(t *testing.T) {
	w := newWorld(t)
	foreign := brokertest.New(t).Credentials("x1", "xcap_server").Certificate()
	for name, cert := range map[string]*tls.Certificate{"of another authority": foreign, "none": nil} {
		p, err := w.tryDial(cert)
		if err != nil {
			continue
		}
		_, _ = io.WriteString(p.conn, "1 notify update sip_account a@b\n")
		if rest, _ := io.ReadAll(p.in); len(rest) > 0 {
			t.Errorf("%s: %q", name, rest)
		}
	}
	brokertest.Eventually(t, 10*time.Second, "two lines", func() error {
		if n := w.log.count("control connection refused"); n != 2 {
			return fmt.Errorf("%d lines", n)
		}
		return nil
	})
}

// What a peer does wrong ends its own connection with one line, and no other. Each text fits into one TLS
// record: the other end closes while the second of a longer one is written.
func TestRubbishDisturbsNobodyElse(t *testing.T) {
	w := newWorld(t)
	good := w.dial("x2", "xcap_server")
	for _, c := range []struct{ text, want string }{
		{"GET / HTTP/1.1\r\n\r\n", "0 400 a line is ID COMMAND, ID a number of 1 to 4294967295"},
		{strings.Repeat("x", 1150), "0 400 a line is longer than 1100 bytes"},
		{"1 notify update", "0 400 a line without its end"},
		{"\x00\xff\xfe\n", "0 400 a line is ID COMMAND, ID a number of 1 to 4294967295"},
		{"\n", "0 400 a line is ID COMMAND, ID a number of 1 to 4294967295"},
	} {
		before := w.log.count("cut off")
		p := w.dial("x1", "xcap_server")
		p.say(c.text)
		p.expect(c.want)
		p.closed()
		if n := w.log.count("cut off") - before; n != 1 {
			t.Errorf("%.20q: %d lines in the log", c.text, n)
		}
		good.say("5 notify update sip_account a@b\n")
		good.expect("5 200 ")
	}
	raw, err := net.Dial("tcp", w.port.Address().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	_, _ = io.WriteString(raw, "1 notify update sip_account a@b\n") // no TLS
	silent, err := net.Dial("tcp", w.port.Address().String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	_ = silent.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.ReadAll(silent); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("a silent connection stays")
	}
	good.say("6 notify update sip_account a@b\n")
	good.expect("6 200 ")
}

// A peer that takes no answers is cut off, and keeps nobody from anything.
func TestAPeerThatDoesNotReadIsCutOff(t *testing.T) {
	w := newWorld(t)
	w.answer = func(*subjects.ControlCommand) (int, string, bool) { return 200, strings.Repeat("x", 100_000), true }
	slow := w.dial("x1", "xcap_server")
	ended := make(chan error, 1)
	go func() {
		for i := 1; ; i++ {
			if _, err := fmt.Fprintf(slow.conn, "%d get sip_watchers for a@b\n", i); err != nil {
				ended <- err
				return
			}
		}
	}()
	good := w.dial("x2", "xcap_server")
	for i := 1; i <= 20; i++ {
		good.say(fmt.Sprintf("%d notify update sip_account a@b\n", i))
		good.expect(fmt.Sprintf("%d 200 ", i))
	}
	if err := <-ended; errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("its connection stays: %v", err)
	}
}

func TestANodeHasSoManyCommands(t *testing.T) {
	w := newWorld(t)
	x := w.dial("x1", "xcap_server")
	go func() {
		for i := 1; i <= 3*burst; i++ {
			_, _ = fmt.Fprintf(x.conn, "%d notify update sip_account a@b\n", i)
		}
	}()
	refused := 0
	for range 3 * burst {
		line, err := x.in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(line, " 429 ") {
			refused++
		}
	}
	if refused == 0 {
		t.Error("none of a flood was refused")
	}
	other := w.dial("x2", "xcap_server")
	other.say("1 notify update sip_account a@b\n")
	other.expect("1 200 ")
}

// One address has so many connections: its idle ones make room, those of others stay.
func TestConnectionsOfAPeerMakeRoom(t *testing.T) {
	w := newWorld(t)
	addr := netip.MustParseAddr("127.0.0.2")
	cert := w.net.Credentials("x1", "xcap_server").Certificate()
	other := w.dial("x2", "xcap_server") // from 127.0.0.1
	var oldest net.Conn
	for range maxConnsOfPeer + 5 {
		c, err := tls.DialWithDialer(&net.Dialer{LocalAddr: &net.TCPAddr{IP: addr.AsSlice()}}, "tcp", w.port.Address().String(),
			&tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{*cert}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.WriteString(c, "1 notify update sip_account a@b\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := bufio.NewReader(c).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		if oldest == nil {
			oldest = c
		}
	}
	if _, err := io.ReadAll(oldest); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection that was idle longest stays")
	}
	other.say("1 notify update sip_account a@b\n")
	other.expect("1 200 ")
}
