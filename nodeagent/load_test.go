package nodeagent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"thor/nodeagent/asterisk/asterisktest"
	"thor/nodeagent/kamailio"
	"thor/nodeagent/opensips"
	"thor/nodeagent/opensips/opensipstest"
	"thor/overlay"
	"thor/overlay/check"
	"thor/subjects"
)

// laden is a service that carries what a function of the time says.
type laden struct {
	fakeProbe
	share func(at time.Duration) int
	now   int
}

func (p *laden) Probe(ctx context.Context) error {
	p.now = p.share(time.Since(p.start))
	return p.fakeProbe.Probe(ctx)
}

func (p *laden) Share() (int, bool) { return p.now, true }

// stage is an agent of sip_proxy whose checks are probes, in virtual time.
func stage(t *testing.T, rc RoleConfig, probes ...prober) (*fakeNet, *Agent) {
	t.Helper()
	n := newFakeNet()
	n.Text = func(m overlay.Member) string { return fmt.Sprintf("%s %d %s", m.State, m.Weight, m.Attrs[ReportAttr]) }
	rc.Role = "sip_proxy"
	for i := range rc.Checks {
		rc.Checks[i].Kind, rc.Checks[i].Target = TCP, "127.0.0.1:1"
	}
	i := -1
	a, err := newAgent(Config{Roles: []RoleConfig{rc}, Metrics: prometheus.NewRegistry()}, n, func(*CheckConfig) (prober, error) {
		i++
		switch p := probes[i].(type) {
		case *laden:
			p.start = n.Start
		case *fakeProbe:
			p.start = n.Start
		}
		return probes[i], nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n, a
}

func TestAWeightFollowsTheLoadSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &laden{share: func(at time.Duration) int {
			if at < 60*time.Second || at > 200*time.Second {
				return 100
			}
			return 30 + int(at/time.Second)%5 // it trembles
		}}
		n, a := stage(t, RoleConfig{Weight: 50, Checks: make([]CheckConfig, 1)}, p)
		runFor(t, a, 5*time.Minute)
		n.expect(t, "0s up 50 ", "1m30s up 16 ", "3m30s up 25 ", "4m0s up 50 ", "5m0s leave 0 ")
	})
}

func TestTheLeastShareCountsAndTheFirstAnnouncementHasIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		half := &laden{share: func(time.Duration) int { return 50 }}
		less := &laden{share: func(time.Duration) int { return 20 }}
		less.takes = 300 * time.Millisecond // its result is the second
		n, a := stage(t, RoleConfig{Checks: make([]CheckConfig, 2)}, half, less)
		runFor(t, a, time.Minute)
		n.expect(t, "300ms up 20 ", "1m0s leave 0 ")
	})
}

func TestACheckThatOnlyReportsDecidesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ok := &fakeProbe{}
		odd := &laden{fakeProbe: fakeProbe{dead: []span{{9 * time.Second, 20 * time.Second}}}, share: func(time.Duration) int { return 10 }}
		n, a := stage(t, RoleConfig{Weight: 80, Checks: []CheckConfig{{}, {ReportOnly: true}}}, ok, odd)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		time.Sleep(15 * time.Second)
		synctest.Wait()
		if r := a.Reported(); len(r) != 1 || r[0] != "sip_proxy would be down, but the check only reports: fake: connection refused" {
			t.Errorf("%q", r)
		}
		if s := a.Status(); s[0].State != subjects.Up || s[0].Reason != "" {
			t.Errorf("%+v", s)
		}
		time.Sleep(15 * time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		n.expect(t, "0s up 80 ", "11s up 80 would be down: fake: connection refused", "22s up 80 ", "30s leave 0 ")
		if r := a.Reported(); len(r) != 0 {
			t.Errorf("%q", r)
		}
	})
}

// A role whose checks all only report is up as one without checks is.
func TestReportsAloneDoNotHoldUpARole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a := stage(t, RoleConfig{Checks: []CheckConfig{{ReportOnly: true}}}, &fakeProbe{dead: []span{{0, time.Hour}}})
		runFor(t, a, time.Minute)
		n.expect(t, "0s up 0 ", "0s up 0 would be down: fake: connection refused", "1m0s leave 0 ")
	})
}

func TestACommandTellsAWeight(t *testing.T) {
	for _, c := range []struct {
		script string
		share  int
		known  bool
		want   string
	}{
		{"echo loaded; echo weight=40; echo weight=90", 40, true, ""},
		{"echo weight=0", 0, true, ""},
		{"echo weight=101", 0, false, ""},
		{"echo weight=-1", 0, false, ""},
		{"echo weight=x", 0, false, ""},
		{"true", 0, false, ""},
		{"echo weight=40; exit 1", 0, false, "exit status 1"},
	} {
		for _, weigh := range []bool{true, false} {
			p := proberOf(t, CheckConfig{Kind: Command, Weigh: weigh, Command: []string{"/bin/sh", "-c", c.script}})
			if got := faultOf(t, p, never); got != c.want {
				t.Errorf("%s: %q", c.script, got)
			}
			share, known := p.(check.Measurer).Share()
			if share != c.share && weigh || known != (c.known && weigh) {
				t.Errorf("%s, weigh %v: %d %v", c.script, weigh, share, known)
			}
		}
	}
}

func TestRTPEngineTellsItsLoad(t *testing.T) {
	answer := func(q string) []string {
		cookie, _, _ := strings.Cut(q, " ")
		return []string{cookie + " d10:statisticsd17:currentstatisticsd11:sessionsowni30e15:sessionsforeigni10e13:sessionstotali40eeee"}
	}
	p := proberOf(t, CheckConfig{Kind: RTPEngine, Full: 50, Target: udpServer(t, answer)})
	if got := faultOf(t, p, never); got != "" {
		t.Error(got)
	}
	if share, ok := p.(check.Measurer).Share(); share != 20 || !ok || !strings.HasPrefix(p.Name(), "rtpengine statistics ") {
		t.Error(share, ok, p.Name())
	}
	slow := proberOf(t, CheckConfig{Kind: RTPEngine, Full: 50, Target: udpServer(t, func(string) []string { return nil })})
	if got := faultOf(t, slow, soon); got != "no answer" {
		t.Error(got)
	}
}

// What a Kamailio that refuses answers is one clear line.
func TestKamailioIsAskedByItsRPC(t *testing.T) {
	for _, c := range []struct {
		name, answer string
		code, full   int
		share        int
		want         string
	}{
		{"alive", `{"jsonrpc":"2.0","result":{"now":"x","up_since":"Mon"},"id":1}`, 200, 0, 0, ""},
		{"dialogs", `{"jsonrpc":"2.0","result":{"starting":1,"connecting":0,"answering":0,"ongoing":24},"id":1}`, 200, 100, 75, ""},
		{"another secret", `no`, 403, 0, 0, "refused: its secret is another, or it has just started"},
		{"no method", `{"jsonrpc":"2.0","error":{"code":500,"message":"Method Not Found"},"id":1}`, 500, 0, 0, "refuses with 500"},
		{"no dialogs", `{"jsonrpc":"2.0","error":{"code":500,"message":"Method Not Found"},"id":1}`, 500, 100, 0, "kamailio counts no dialogs: load its module dialog, and call dlg_manage() for each INVITE"},
		{"no JSON", `<html>`, 200, 0, 0, "no valid answer"},
		{"nothing", ``, 404, 0, 0, "no answer (HTTP 404)"},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(c.code)
			_, _ = w.Write([]byte(c.answer))
		}))
		client, err := kamailio.NewClient(srv.URL+"/RPC", nil)
		if err != nil {
			t.Fatal(err)
		}
		p := proberOf(t, CheckConfig{Kind: Kamailio, Target: srv.URL + "/RPC", Full: c.full, Proxy: client})
		if got := faultOf(t, p, never); got != c.want {
			t.Errorf("%s: %q", c.name, got)
		}
		if share, ok := p.(check.Measurer).Share(); share != c.share || ok != (c.full > 0 && c.want == "") {
			t.Errorf("%s: %d %v", c.name, share, ok)
		}
		client.Close()
		srv.Close()
		if got := faultOf(t, p, never); got != "connection refused" {
			t.Errorf("%s, gone: %q", c.name, got)
		}
		client.Close()
	}
	f := &opensipstest.Fake{}
	f.SetDialogs(20, 5)
	srv := httptest.NewServer(f)
	defer srv.Close()
	client, err := opensips.NewClient(srv.URL + "/mi")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	p := proberOf(t, CheckConfig{Kind: OpenSIPS, Target: srv.URL + "/mi", Full: 100, Proxy: client})
	if got := faultOf(t, p, never); got != "" {
		t.Errorf("OpenSIPS: %q", got)
	}
	if share, ok := p.(check.Measurer).Share(); share != 75 || !ok {
		t.Errorf("OpenSIPS: %d %v", share, ok)
	}
	c := CheckConfig{Kind: Kamailio, Target: "http://127.0.0.1:1/RPC"}
	if _, err := c.prober(); err == nil || errors.Is(err, context.Canceled) {
		t.Error("made without a client")
	}
}

func TestAsteriskIsAskedForItsModulesAndItsLoad(t *testing.T) {
	f := &asterisktest.Fake{User: "thor", Password: "canary-7f3a"}
	f.SetChannels(30)
	srv := httptest.NewServer(f)
	defer srv.Close()
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("canary-7f3a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := CheckConfig{Kind: Asterisk, Target: srv.URL + "/ari", AuthUser: "thor", PasswordFile: file, Modules: []string{"app_voicemail.so"}}
	for _, full := range []int{0, 120} {
		cfg.Full = full
		p := proberOf(t, cfg)
		for _, c := range []struct{ status, want string }{
			{"", "app_voicemail.so is not loaded"}, {"Not Running", "app_voicemail.so is loaded, but does not run"}, {"Running", ""},
		} {
			f.Module("app_voicemail.so", c.status)
			if got := faultOf(t, p, never); got != c.want || strings.Contains(p.Name(), "canary") {
				t.Errorf("%q: %q", c.status, got)
			}
		}
		if share, ok := p.(check.Measurer).Share(); ok != (full > 0) || ok && share != 75 {
			t.Errorf("full %d: %d %v", full, share, ok)
		}
	}
	slow := tcpServer(t, nil, func(c net.Conn) { _, _ = bufio.NewReader(c).ReadString(0) })
	cfg.Target = "http://" + slow + "/ari"
	if got := faultOf(t, proberOf(t, cfg), soon); got != "no answer" {
		t.Errorf("%q", got)
	}
}

// A relay that answers too late and a Kamailio that refuses are one line each, however
// long that lasts; a role beside them does not notice.
func TestBadServicesAreOneLineEachAndDisturbNoOther(t *testing.T) {
	slow := udpServer(t, func(string) []string { return nil })
	good := udpServer(t, func(q string) []string { return []string{sipAnswer(q, 200)} })
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	defer refuses.Close()
	client, err := kamailio.NewClient(refuses.URL+"/RPC", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	n := newFakeNet()
	n.ID.Roles = append(n.ID.Roles, "voicemail_server")
	quick := check.Timing{Interval: 100 * time.Millisecond, Timeout: 100 * time.Millisecond}
	var log lines
	reg := prometheus.NewRegistry()
	a, err := newAgent(Config{Log: zerolog.New(&log), Metrics: reg, Roles: []RoleConfig{
		{Role: "media_relay", Checks: []CheckConfig{{Kind: RTPEngine, Target: slow, Full: 10, Timing: quick}}},
		{Role: "sip_proxy", Checks: []CheckConfig{{Kind: SIP, Target: good}, {Kind: Kamailio, Target: refuses.URL + "/RPC", Proxy: client, Timing: quick}}},
		{Role: "voicemail_server", Checks: []CheckConfig{{Kind: SIP, Target: good, Timing: check.Timing{Interval: 100 * time.Millisecond, Timeout: 100 * time.Millisecond}, Counts: check.Counts{Fall: 100}}}},
	}}, n, (*CheckConfig).prober)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := contextOf(t)
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	want := map[subjects.Role]string{
		"media_relay": "down rtpengine statistics " + slow + ": no answer",
		"sip_proxy":   "down kamailio rpc " + refuses.URL + "/RPC: refused: its secret is another, or it has just started",
	}
	eventually(t, "the roles are announced, and probed again and again", func() bool {
		for _, s := range a.Status() {
			if w := want[s.Role]; string(s.State)+" "+s.Reason != w && w != "" || w == "" && s.State != subjects.Up {
				return false
			}
		}
		return probes(t, reg, "failed") >= 20
	})
	for _, w := range want {
		if got := log.count(strings.TrimPrefix(w, "down ")); got != 2 { // the check, and the role that is announced
			t.Errorf("%d lines say %q", got, w)
		}
	}
	if said := strings.Count(strings.Join(n.Lines(), "\n"), "voicemail_server"); said != 1 {
		t.Errorf("the other role was announced %d times: %q", said, n.Lines())
	}
}

// probes is how many had a result.
func probes(t *testing.T, reg *prometheus.Registry, result string) (sum float64) {
	t.Helper()
	fs, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fs {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == "thor_nodeagent_probes_total" && l.GetName() == "result" && l.GetValue() == result {
					sum += m.GetCounter().GetValue()
				}
			}
		}
	}
	return sum
}

// lines are a log that a test reads.
type lines struct {
	mu sync.Mutex
	b  []byte
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b = append(l.b, p...)
	return len(p), nil
}

// count is how many lines of the level info hold text.
func (l *lines) count(text string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(string(l.b)) {
		if strings.Contains(line, text) && strings.Contains(line, `"level":"info"`) {
			n++
		}
	}
	return n
}
