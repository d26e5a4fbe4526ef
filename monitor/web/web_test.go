package web_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"thor/monitor/web"
	"thor/overlay"
	"thor/overlay/lookup"
	"thor/subjects"
)

// network is one that a test makes up.
type network struct {
	views  chan *overlay.View
	tables chan *lookup.Table
}

func (n *network) Watch(context.Context) <-chan *overlay.View { return n.views }

func (n *network) Tables(ctx context.Context, _ subjects.Role) <-chan *lookup.Table {
	out := make(chan *lookup.Table)
	go func() {
		defer close(out)
		for {
			select {
			case t := <-n.tables:
				select {
				case out <- t:
				case <-ctx.Done():
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

func (n *network) Find(role subjects.Role, key string) (subjects.LookupResult, error) {
	switch {
	case role != "sip_proxy":
		return subjects.LookupResult{}, overlay.ErrNoTable
	case !strings.Contains(key, "@"):
		return subjects.LookupResult{}, overlay.ErrBadKey
	}
	return subjects.LookupResult{Key: key, Slot: 3, Owner: "n1", Heir: "n2"}, nil
}

func (n *network) Confirmed() time.Time { return time.Time{} }

const canary = `<img src=x onerror=alert(1)>`

func status(generation uint64, nodes ...string) *subjects.Status {
	s := &subjects.Status{V: 1, Domain: "example.net", Epoch: 1, Generation: generation, Manager: "m1", Time: time.Now()}
	s.ClearLosses()
	s.Put(subjects.Manager, subjects.Member{Node: "m1", State: subjects.Up})
	for _, n := range nodes {
		s.Put("sip_proxy", subjects.Member{Node: subjects.NodeID(n), State: subjects.Up, Weight: 100, Reason: canary, Attrs: subjects.Attrs{"site": canary}})
	}
	t, _ := lookup.New(lookup.MinBits, lookup.Members(s.Roles["sip_proxy"]))
	s.Lookup = map[subjects.Role]subjects.Lookup{"sip_proxy": {Bits: lookup.MinBits, Digest: t.Digest()}}
	return s
}

func view(s *subjects.Status) *overlay.View {
	return &overlay.View{Status: s, Connected: true, Received: time.Now()}
}

// start serves a network, and gives the page's URL.
func start(t *testing.T, edit func(*web.Config)) (*network, *web.Server, string) {
	t.Helper()
	n := &network{views: make(chan *overlay.View, 1), tables: make(chan *lookup.Table)}
	c := web.Config{Listen: "127.0.0.1:0", Network: n, Myself: "web1"}
	if edit != nil {
		edit(&c)
	}
	s, err := web.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	<-s.Ready()
	return n, s, "http://" + s.Addr().String()
}

func get(t *testing.T, method, url string, edit func(*http.Request)) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		edit(r)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func TestOnlyPagesOfThisHostMayRead(t *testing.T) {
	_, _, url := start(t, func(c *web.Config) { c.Hosts = []string{"noc.example.net"} })
	host := func(h string) func(*http.Request) { return func(r *http.Request) { r.Host = h } }
	header := func(kv ...string) func(*http.Request) {
		return func(r *http.Request) {
			for i := 0; i < len(kv); i += 2 {
				r.Header.Set(kv[i], kv[i+1])
			}
		}
	}
	for _, c := range []struct {
		name, method, path string
		edit               func(*http.Request)
		code               int
	}{
		{"the page", "GET", "/", nil, 200},
		{"its head", "HEAD", "/", nil, 200},
		{"the status", "GET", "/api/status", nil, 200},
		{"another path", "GET", "/metrics", nil, 404},
		{"a file of the page", "GET", "/core.js", nil, 404},
		{"POST", "POST", "/api/status", nil, 405},
		{"PUT", "PUT", "/", nil, 405},
		{"DELETE", "DELETE", "/", nil, 405},
		{"OPTIONS", "OPTIONS", "/api/status", nil, 405},
		{"a method that is none", "BREW", "/", nil, 405},
		{"a stranger's name for this address", "GET", "/api/status", host("rebind.example.com"), 421},
		{"that name with the port", "GET", "/", host("rebind.example.com:80"), 421},
		{"loopback as part of a name", "GET", "/", host("127.0.0.1.example.com"), 421},
		{"no host", "GET", "/", host("."), 421},
		{"localhost", "GET", "/", host("localhost:9000"), 200},
		{"loopback of six", "GET", "/", host("[::1]:9000"), 200},
		{"a name of the file", "GET", "/", host("NOC.example.net"), 200},
		{"fetched by another site", "GET", "/api/status", header("Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "cors"), 403},
		{"an image of another site", "GET", "/", header("Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"), 403},
		{"a link of another site", "GET", "/", header("Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"), 200},
		{"a link to the status", "GET", "/api/status", header("Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "navigate"), 403},
	} {
		r, body := get(t, c.method, url+c.path, c.edit)
		if r.StatusCode != c.code {
			t.Errorf("%s: %d, want %d: %s", c.name, r.StatusCode, c.code, body)
		}
		if r.Header.Get("X-Content-Type-Options") != "nosniff" || r.Header.Get("X-Frame-Options") != "DENY" {
			t.Errorf("%s: %v", c.name, r.Header)
		}
		if c.code == 405 && r.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: Allow %q", c.name, r.Header.Get("Allow"))
		}
	}
}

func TestThePageRunsNothingButItself(t *testing.T) {
	_, _, url := start(t, nil)
	r, body := get(t, "GET", url+"/", nil)
	policy := r.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'sha256-", "style-src 'sha256-", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "trusted-types 'none'", "require-trusted-types-for 'script'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy lacks %s: %s", want, policy)
		}
	}
	if strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") || strings.Contains(policy, "*") {
		t.Error(policy)
	}
	for _, bad := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "<script src", "<link rel=\"stylesheet", "/*script*/", "/*style*/", " style=", " onclick="} {
		if strings.Contains(body, bad) {
			t.Errorf("the page holds %q", bad)
		}
	}
	for rest := body; ; { // no address of another host but names of XML
		_, after, ok := strings.Cut(rest, "http://")
		if !ok {
			break
		}
		if !strings.HasPrefix(after, "www.w3.org/2000/svg") {
			t.Errorf("the page names http://%.40s", after)
		}
		rest = after
	}
	if strings.Contains(body, "https://") {
		t.Error("the page names another host")
	}
	again, _ := get(t, "GET", url+"/", func(q *http.Request) { q.Header.Set("If-None-Match", r.Header.Get("ETag")) })
	if again.StatusCode != http.StatusNotModified {
		t.Errorf("%d for the page that the browser has", again.StatusCode)
	}
}

// A message is an event of a stream.
type message struct {
	event, data string
}

// stream reads the events of a page until the test ends.
func stream(t *testing.T, url string) <-chan message {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, err := http.NewRequestWithContext(ctx, "GET", url+"/api/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Fatal(got)
	}
	out := make(chan message, 256)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer resp.Body.Close()
		s := bufio.NewScanner(resp.Body)
		s.Buffer(nil, 4<<20)
		var m message
		for s.Scan() {
			if e, ok := strings.CutPrefix(s.Text(), "event: "); ok {
				m.event = e
			} else if d, ok := strings.CutPrefix(s.Text(), "data: "); ok {
				m.data = d
				out <- m
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return out
}

// picture is what a test looks at in a status message.
type picture struct {
	Generation uint64
	RoleNames  []string `json:"role_names"`
	Reasons    []string
	Roles      []struct {
		Role    string
		Members []struct{ Node, State, Reason string }
		Ring    *struct {
			Shares []struct{ Node string }
			Moved  *struct{ Slots int }
		}
	}
}

func await(t *testing.T, in <-chan message, event string, take func(data string) bool) {
	t.Helper()
	limit := time.After(20 * time.Second)
	for {
		select {
		case m := <-in:
			if m.event == event && take(m.data) {
				return
			}
		case <-limit:
			t.Fatalf("no such %s", event)
		}
	}
}

func parse(t *testing.T, data string) (p picture) {
	t.Helper()
	if err := json.Unmarshal([]byte(data), &p); err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	return p
}

func TestAStreamTellsEachChangeAndNoMore(t *testing.T) {
	n, s, url := start(t, nil)
	in := stream(t, url)
	n.views <- view(status(5, "n1", "n2"))
	await(t, in, "status", func(d string) bool {
		p := parse(t, d)
		if strings.Contains(d, "<") {
			t.Errorf("HTML in %s", d)
		}
		return p.Generation == 5 && len(p.Roles) == 2 && p.Roles[0].Members[1].Reason == canary
	})
	three, _ := lookup.New(lookup.MinBits, []lookup.Member{{Node: "n1", Weight: 1}, {Node: "n2", Weight: 1}, {Node: "n3", Weight: 1}})
	two, _ := lookup.New(lookup.MinBits, []lookup.Member{{Node: "n1", Weight: 1}, {Node: "n2", Weight: 1}})
	n.tables <- three
	await(t, in, "status", func(d string) bool {
		p := parse(t, d)
		return len(p.Roles) == 1 && p.Roles[0].Ring != nil && len(p.Roles[0].Ring.Shares) == 3 && p.Roles[0].Ring.Moved == nil
	})
	n.tables <- two
	await(t, in, "status", func(d string) bool {
		p := parse(t, d)
		return len(p.Roles) == 1 && p.Roles[0].Ring.Moved != nil && p.Roles[0].Ring.Moved.Slots > 0
	})
	n.views <- view(status(6, "n1"))
	await(t, in, "status", func(d string) bool {
		p := parse(t, d)
		if p.Generation != 6 {
			return false
		}
		if len(p.Roles) != 1 || p.Roles[0].Role != "sip_proxy" || len(p.RoleNames) != 2 {
			t.Errorf("the managers did not change: %s", d)
		}
		return true
	})
	s.Happened(&subjects.Event{Kind: subjects.EventLeave, Node: "n2", Role: "sip_proxy", Detail: canary})
	await(t, in, "event", func(d string) bool { return strings.Contains(d, `"n2"`) && !strings.Contains(d, "<") })
	await(t, in, "link", func(d string) bool { return strings.Contains(d, `"connected":true`) })
}

func TestALateStreamGetsAllThatIsKnown(t *testing.T) {
	n, s, url := start(t, nil)
	s.Happened(&subjects.Event{Kind: subjects.EventJoin, Node: "n2", Time: time.Unix(20, 0).UTC()})
	s.HappenedBefore([]subjects.Event{{Kind: subjects.EventJoin, Node: "n1", Time: time.Unix(10, 0).UTC()}, {Kind: subjects.EventJoin, Node: "n2", Time: time.Unix(20, 0).UTC()}})
	first := stream(t, url)
	n.views <- view(status(5, "n1"))
	await(t, first, "status", func(d string) bool { return parse(t, d).Generation == 5 })
	in := stream(t, url)
	await(t, in, "status", func(d string) bool { return len(parse(t, d).Roles) == 2 })
	await(t, in, "event", func(d string) bool {
		var es []struct{ Node string }
		if err := json.Unmarshal([]byte(d), &es); err != nil || len(es) != 2 || es[0].Node != "n1" || es[1].Node != "n2" {
			t.Errorf("%s %v", d, err)
		}
		return true
	})
	_, all := get(t, "GET", url+"/api/status", nil)
	if p := parse(t, all); p.Generation != 5 || len(p.Roles) != 2 || !strings.Contains(all, `"link":{`) {
		t.Error(all)
	}
}

func TestThePastTheHistoryAndSearchesAreAnswered(t *testing.T) {
	when := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	n, _, url := start(t, func(c *web.Config) {
		c.Past = func(_ context.Context, at time.Time) (*subjects.Status, string, error) {
			if !at.Equal(when) {
				return nil, "", errors.New("another time")
			}
			return status(3, "n1", "n2"), "perhaps", nil
		}
		c.History = func(context.Context, time.Time) ([]subjects.Event, time.Time, error) {
			return []subjects.Event{{Kind: subjects.EventJoin, Node: "n1", Detail: canary}}, when, nil
		}
	})
	n.views <- view(status(9, "n1"))
	stamp := when.Format(time.RFC3339)
	for _, c := range []struct {
		path string
		code int
		want string
	}{
		{"/api/status?at=" + stamp, 200, `"generation":3`},
		{"/api/status?at=" + stamp, 200, `"doubt":"perhaps"`},
		{"/api/status?at=" + stamp + "&ring=sip_proxy", 200, `"shares":[{"node":"n1"`},
		{"/api/status?at=" + when.Add(-time.Second).Format(time.RFC3339), 503, "another time"},
		{"/api/status?at=yesterday", 400, "write the time like"},
		{"/api/status?at=" + time.Now().Add(time.Hour).UTC().Format(time.RFC3339), 400, "future"},
		{"/api/status?at=" + when.In(time.FixedZone("", 24*3600)).Format("2006-01-02T15:04:05") + "%2B24:00", 200, `"generation":3`},
		{"/api/history?since=0000-01-01T00:00:00Z", 400, "1970"},
		{"/api/history?since=" + stamp, 200, `"n1"`},
		{"/api/history", 400, "write the time like"},
		{"/api/lookup?role=sip_proxy&key=alice@example.net", 200, `"owner":"n1","heir":"n2"`},
		{"/api/lookup?role=sip_proxy&key=alice", 400, "neither"},
		{"/api/lookup?role=" + "x&key=a@b", 404, "no lookup table"},
	} {
		r, body := get(t, "GET", url+c.path, nil)
		if r.StatusCode != c.code || !strings.Contains(body, c.want) || strings.Contains(body, "<") {
			t.Errorf("%s: %d %s, want %d %s", c.path, r.StatusCode, body, c.code, c.want)
		}
		if r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s is %s", c.path, r.Header.Get("Content-Type"))
		}
	}
}

func TestCommandsHaveFlagsOfOneLine(t *testing.T) {
	for flags, good := range map[string]bool{"": true, "--config '/etc/thor/my desk.toml'": true, "--dir /x\nreboot": false, "--dir \x1b[2J": false} {
		c := web.Config{Flags: flags}
		if ps := c.Validate(); (len(ps) == 0) != good {
			t.Errorf("%q: %v", flags, ps)
		}
	}
	_, _, url := start(t, func(c *web.Config) { c.Flags = "--dir '/a b'" })
	if _, body := get(t, "GET", url+"/api/status", nil); !strings.Contains(body, `"flags":"--dir '/a b'"`) {
		t.Error(body)
	}
}

func TestAnAddressThatIsNotLoopbackNeedsTLS(t *testing.T) {
	for _, listen := range []string{"192.0.2.1:8680", ":8680", "0.0.0.0:8680", "[::]:8680", "noc.example.net:8680"} {
		if _, err := web.New(web.Config{Network: &network{}, Listen: listen}); !errors.Is(err, web.ErrNotCertified) {
			t.Errorf("%s: %v", listen, err)
		}
	}
	for _, listen := range []string{"", "localhost:1", "127.9.9.9:1", "[::1]:1"} {
		if _, err := web.New(web.Config{Network: &network{}, Listen: listen}); err != nil {
			t.Errorf("%s: %v", listen, err)
		}
	}
}

// A stream outlives the time that the server has for a request, 10 s.
func TestAStreamOutlivesTheTimeOutForAnswers(t *testing.T) {
	t.Parallel()
	_, _, url := start(t, func(c *web.Config) { c.WriteTime = 500 * time.Millisecond })
	in := stream(t, url)
	n := 0 // one a second
	await(t, in, "link", func(string) bool { n++; return n == 3 })
}

// follower opens a stream from an address, which lasts until it is closed.
func follower(t *testing.T, url, from string) (code int, line string, end func()) {
	t.Helper()
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	tr := &http.Transport{DialContext: d.DialContext}
	r, err := (&http.Client{Transport: tr}).Get(url + "/api/events")
	if err != nil {
		t.Fatal(err)
	}
	end = func() { r.Body.Close(); tr.CloseIdleConnections() }
	t.Cleanup(end)
	if line, err = bufio.NewReader(r.Body).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, line, end
}

func TestOneClientLeavesStreamsToOthers(t *testing.T) {
	const each, all = 64, 128
	_, _, url := start(t, nil)
	var ends []func()
	for i := range each {
		code, line, end := follower(t, url, "127.0.0.1")
		if code != http.StatusOK {
			t.Fatalf("stream %d of a client: %d %s", i+1, code, line)
		}
		ends = append(ends, end)
	}
	if code, line, _ := follower(t, url, "127.0.0.1"); code != http.StatusTooManyRequests || line != "64 pages are open for this client: close one of them\n" {
		t.Errorf("one more: %d %q", code, line)
	}
	for i := range all - each {
		if code, line, _ := follower(t, url, "127.0.0.2"); code != http.StatusOK {
			t.Fatalf("stream %d of another client: %d %s", i+1, code, line)
		}
	}
	if code, line, _ := follower(t, url, "127.0.0.3"); code != http.StatusServiceUnavailable || line != "128 pages are open: close one of them\n" {
		t.Errorf("a third client: %d %q", code, line)
	}
	ends[0]()
	for deadline := time.Now().Add(20 * time.Second); ; { // the server notices the end with its next beat
		code, line, end := follower(t, url, "127.0.0.3")
		if code == http.StatusOK {
			end()
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("after the end of a stream: %d %s", code, line)
		}
	}
}
