package local_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"thor/nodeagent/local"
	"thor/overlay"
	"thor/overlay/lookup"
	"thor/subjects"
)

// network is a Source that holds one status.
type network struct {
	status *subjects.Status
	table  *lookup.Table
	bus    func(context.Context, *overlay.Request) *subjects.Reply
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	s := &subjects.Status{V: 1, Domain: "example.net", Epoch: 3, Generation: 7, Roles: map[subjects.Role][]subjects.Member{}}
	for i, n := range []subjects.NodeID{"p1", "p2", "p3"} {
		s.Put(subjects.SIPProxy, subjects.Member{
			Node: n, State: subjects.Up, Weight: 100,
			Addresses: []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}), netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", i+1))},
		})
	}
	s.Put(subjects.MediaRelay, subjects.Member{Node: "r1", State: subjects.Draining, Weight: 100, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.9")}})
	table, err := lookup.New(18, lookup.Members(s.Roles[subjects.SIPProxy]))
	if err != nil {
		t.Fatal(err)
	}
	return &network{status: s, table: table}
}

func (n *network) View() *overlay.View { return &overlay.View{Status: n.status} }

func (n *network) Find(role subjects.Role, key string) (subjects.LookupResult, error) {
	if role == subjects.VoicemailServer {
		return subjects.LookupResult{}, overlay.ErrNoMembers
	}
	if role != subjects.SIPProxy {
		return subjects.LookupResult{}, overlay.ErrNoTable
	}
	p, err := n.table.Find(key)
	if err != nil {
		return subjects.LookupResult{}, err
	}
	return subjects.LookupResult{
		Key: key, Slot: p.Slot(), Owner: p.Owner(), Heir: p.Heir(), Epoch: 3, Generation: 7,
		OwnerAddress: n.status.Member(role, p.Owner()).Address(), HeirAddress: n.status.Member(role, p.Heir()).Address(),
	}, nil
}

func (n *network) Handle(role, verb string, h func(context.Context, *overlay.Request) *subjects.Reply) {
	if role == "_" && verb == "lookup" {
		n.bus = h
	}
}

func start(t *testing.T, cfg local.Config) *local.Server {
	t.Helper()
	cfg.Log = zerolog.New(zerolog.NewTestWriter(t))
	s, err := local.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	select {
	case <-s.Ready():
	case <-time.After(10 * time.Second):
		t.Fatal("not ready")
	}
	return s
}

func get(t *testing.T, url, accept, host string) (code int, kind, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", accept)
	r.Host = host
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Content-Type"), string(b)
}

func TestHTTPTellsWhereASubscriberIsServed(t *testing.T) {
	n := newNetwork(t)
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "{\"subscriber\":%q}\n", r.PathValue("key"))
	})
	s := start(t, local.Config{Source: n, HTTP: "127.0.0.1:0", Pages: map[string]http.Handler{"GET /subscriber/{key...}": page}})
	base := "http://" + s.Address("http").String()

	want, _ := n.Find(subjects.SIPProxy, "alice@example.com")
	code, kind, body := get(t, base+"/lookup/sip_proxy/alice@example.com", "", "")
	var f subjects.LookupResult
	if err := json.Unmarshal([]byte(body), &f); err != nil || f != want || code != 200 || kind != "application/json" {
		t.Errorf("%d %s %s: %v", code, kind, body, err)
	}
	for _, accept := range []string{"text/plain", "text/plain;q=0.9"} {
		code, kind, body = get(t, base+"/lookup/sip_proxy/sip:alice@EXAMPLE.com", accept, "")
		if text := fmt.Sprintf("%s\n%s\n", want.OwnerAddress, want.HeirAddress); code != 200 || body != text || !strings.HasPrefix(kind, "text/plain") {
			t.Errorf("%d %s %q, want %q", code, kind, body, text)
		}
	}
	if _, _, body = get(t, base+"/lookup/sip_proxy/heidi%2Fdesk%3Fx@example.com", "", ""); !strings.Contains(body, `"key":"heidi/desk?x@example.com"`) {
		t.Errorf("escaped key: %s", body)
	}
	if code, _, body = get(t, base+"/subscriber/alice@example.com", "", ""); code != 401 || strings.Contains(body, "alice") {
		t.Errorf("a secret page, asked without proof: %d %s", code, body)
	}
	for path, want := range map[string]string{"sip_proxy/192.0.2.1": "Yes\n", "sip_proxy/2001:db8::2": "Yes\n", "media_relay/192.0.2.1": "No\n"} {
		if code, _, body := get(t, base+"/online/"+path, "text/plain", ""); code != 200 || body != want {
			t.Errorf("online %s: %d %q", path, code, body)
		}
		if _, _, body := get(t, base+"/online/"+path, "", ""); body != fmt.Sprintf(`{"online":%v}`, want == "Yes\n")+"\n" {
			t.Errorf("online %s: %s", path, body)
		}
	}
	for _, c := range []struct {
		path, host string
		code       int
		text       string
	}{
		{"/lookup/sip_proxy/alice", "", 400, "bad key"},
		{"/lookup/sip_proxy/", "", 400, "bad key"},
		{"/lookup/none/a@b", "", 404, "no lookup table"},
		{"/lookup/voicemail_server/a@b", "", 503, "no members"},
		{"/online/sip_proxy/p1", "", 400, "not an address"},
		{"/other", "", 404, ""},
		{"/lookup/sip_proxy/a@b", "evil.example:9501", 403, "by address"},
	} {
		code, _, body := get(t, base+c.path, "", c.host)
		if code != c.code || !strings.Contains(body, c.text) {
			t.Errorf("%s: %d %s", c.path, code, body)
		}
	}
	if code, _, _ := get(t, base+"/lookup/sip_proxy/a@b", "", "localhost:1"); code != 200 {
		t.Errorf("by localhost: %d", code)
	}
	if code, _, body := get(t, base+"/lookup/sip_proxy/alice", "text/plain", ""); code != 400 || strings.HasPrefix(body, "{") {
		t.Errorf("error as text: %d %q", code, body)
	}
}

func TestScriptsFindThePreviousOwnerInTheThirdLine(t *testing.T) {
	a, b, c := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::2"), netip.MustParseAddr("192.0.2.3")
	for _, x := range []struct {
		found subjects.LookupResult
		want  string
	}{
		{subjects.LookupResult{OwnerAddress: a, HeirAddress: b}, "192.0.2.1\n2001:db8::2\n"},
		{subjects.LookupResult{OwnerAddress: a, HeirAddress: b, PreviousAddress: c}, "192.0.2.1\n2001:db8::2\n192.0.2.3\n"},
		{subjects.LookupResult{OwnerAddress: a, PreviousAddress: c}, "192.0.2.1\n\n192.0.2.3\n"},
		{subjects.LookupResult{HeirAddress: b}, "2001:db8::2\n"}, // the owner has just gone
		{subjects.LookupResult{HeirAddress: b, PreviousAddress: c}, "2001:db8::2\n\n192.0.2.3\n"},
		{subjects.LookupResult{OwnerAddress: a, HeirAddress: b, Heir: "n2", RemoteAddress: b, Remote: "n2"}, "192.0.2.1\n2001:db8::2\n"},
		{subjects.LookupResult{OwnerAddress: a, HeirAddress: b, Heir: "n2", RemoteAddress: c, Remote: "n3"}, "192.0.2.1\n2001:db8::2\n\n192.0.2.3\n"},
	} {
		if got := local.AsText(x.found); got != x.want {
			t.Errorf("%+v: %q, want %q", x.found, got, x.want)
		}
	}
}

func dial(t *testing.T, s *local.Server) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", s.Address("lines").String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c, bufio.NewReader(c)
}

func TestLinesOfTheOriginal(t *testing.T) {
	n := newNetwork(t)
	s := start(t, local.Config{Source: n, Lines: "127.0.0.1:0"})
	c, r := dial(t, s)
	want, _ := n.Find(subjects.SIPProxy, "alice@example.com")
	for _, x := range []struct{ ask, answer string }{
		{"lookup sip_proxy for alice@example.com\r\n", want.OwnerAddress.String()},
		{"lookup sip_proxy for sip:alice@EXAMPLE.com;transport=tls\n", want.OwnerAddress.String()},
		{"is_online 192.0.2.1 as sip_proxy\r\n", "Yes"},
		{"is_online 2001:db8::1 as sip_proxy\r\n", "Yes"},
		{"is_online ::ffff:192.0.2.1 as sip_proxy\r\n", "Yes"},
		{"is_online 192.0.2.9 as media_relay\r\n", "Yes"},
		{"is_online 192.0.2.1 as media_relay\r\n", "No"},
		{"is_online 192.0.2.77 as sip_proxy\r\n", "No"},
		{"is_online p1 as sip_proxy\r\n", "error not an address"},
		{"lookup sip_proxy for alice\r\n", "error bad key: neither user@domain nor a SIP URI"},
		{"lookup none for a@b\r\n", "error no lookup table for this role"},
		{"lookup voicemail_server for a@b\r\n", "error no members"},
		{"\r\n", "error ask: lookup ROLE for USER@DOMAIN, or: is_online ADDRESS as ROLE"},
		{"\x00\xff lookup\r\n", "error ask: lookup ROLE for USER@DOMAIN, or: is_online ADDRESS as ROLE"},
	} {
		if _, err := io.WriteString(c, x.ask); err != nil {
			t.Fatal(err)
		}
		line, err := r.ReadString('\n')
		if err != nil || line != x.answer+"\r\n" {
			t.Fatalf("%q: %q %v, want %q", x.ask, line, err, x.answer)
		}
	}
	// Several in one packet, and one in pieces.
	_, _ = io.WriteString(c, "is_online 192.0.2.1 as sip_proxy\r\nis_online 192.0.2.1 as media_relay\r\nis_online 192.0.2.2 ")
	_, _ = io.WriteString(c, "as sip_proxy\r\n")
	for _, want := range []string{"Yes\r\n", "No\r\n", "Yes\r\n"} {
		if line, err := r.ReadString('\n'); err != nil || line != want {
			t.Fatalf("%q %v, want %q", line, err, want)
		}
	}
	_, _ = io.WriteString(c, strings.Repeat("x", 5000))
	if rest, _ := io.ReadAll(r); string(rest) != "error line too long\r\n" && len(rest) > 0 { // or the reset overtook it
		t.Errorf("after an endless line: %q", rest)
	}
}

func TestLookupOverTheBus(t *testing.T) {
	n := newNetwork(t)
	s, err := local.New(local.Config{Source: n})
	if err != nil || s == nil || n.bus == nil {
		t.Fatal(err)
	}
	q := subjects.LookupRequest{V: 1, Role: subjects.SIPProxy, Keys: []string{"alice@example.com", "sip:bob@example.com"}}
	p := n.bus(t.Context(), &overlay.Request{Data: q.Encode()})
	var fs []subjects.LookupResult
	if err := json.Unmarshal(p.Data, &fs); err != nil || p.Code != "" || len(fs) != 2 || fs[1].Key != q.Keys[1] || fs[0].Owner == "" {
		t.Errorf("%+v %v", p, err)
	}
	for payload, code := range map[string]subjects.ErrorCode{
		"": subjects.ErrorBad, `{"v":2,"role":"sip_proxy","keys":["a@b"]}`: subjects.ErrorBad, `{"v":1,"role":"sip_proxy","keys":[]}`: subjects.ErrorBad,
		`{"v":1,"role":"sip_proxy","keys":["a@b","bad"]}`: subjects.ErrorFailed, `{"v":1,"role":"none","keys":["a@b"]}`: subjects.ErrorFailed,
	} {
		if p := n.bus(t.Context(), &overlay.Request{Data: []byte(payload)}); p.Code != code || p.Text == "" {
			t.Errorf("%s: %+v", payload, p)
		}
	}
}

// A port that another process has does not end the node: it is a fault, and tried
// again.
func TestATakenPortIsTriedAgain(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	faults := make(chan string, 8)
	s, err := local.New(local.Config{Source: newNetwork(t), Lines: l.Addr().String(), Fault: func(service, text string) { faults <- service + ": " + text }})
	if err != nil {
		t.Fatal(err)
	}
	local.SetRetry(s, time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	select {
	case <-s.Ready():
		t.Error("ready without its port")
	case err := <-done:
		t.Fatalf("ended: %v", err)
	default:
	}
	if got, want := <-faults, "lines: local lines "+l.Addr().String()+": address already in use"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	_ = l.Close()
	if got := <-faults; got != "lines: " {
		t.Errorf("%q after it was free", got)
	}
	<-s.Ready()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A supervisor's listener is used, and stays open for the next process.
func TestAnInheritedListenerIsUsed(t *testing.T) {
	mine, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mine.Close()
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		f, err := mine.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		held, err := net.FileListener(f)
		_ = f.Close()
		if err != nil {
			t.Fatal(err)
		}
		s, err := local.New(local.Config{Source: newNetwork(t), HTTP: mine.Addr().String(), Inherited: []net.Listener{other, held}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		<-s.Ready()
		if code, _, _ := get(t, "http://"+mine.Addr().String()+"/online/sip_proxy/192.0.2.1", "", ""); code != 200 {
			t.Errorf("answers %d", code)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if c, err := net.Dial("tcp", other.Addr().String()); err == nil {
		_ = c.Close()
		t.Error("a listener that no service is configured for is open")
	}
}

func TestBadPagesAreRefused(t *testing.T) {
	for _, p := range []string{"GET /lookup/{role}/{key...}", "GET", "/{x"} {
		if _, err := local.New(local.Config{Source: newNetwork(t), Pages: map[string]http.Handler{p: http.NotFoundHandler()}}); err == nil {
			t.Errorf("%q accepted", p)
		}
	}
	if _, err := local.New(local.Config{}); err == nil {
		t.Error("no source accepted")
	}
}

// The socket is made under another name, which is told to nobody.
func TestTheSocketIsToldByItsName(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.sock")
	var log bytes.Buffer
	s, err := local.New(local.Config{Source: newNetwork(t), Socket: path, Group: -1, Log: zerolog.New(&log)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	<-s.Ready()
	if got := s.Address("socket").String(); got != path {
		t.Errorf("Address is %s", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if want := `"addr":"` + path + `"`; !strings.Contains(log.String(), want) {
		t.Errorf("no %s in %s", want, &log)
	}
}
