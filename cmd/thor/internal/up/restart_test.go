package up

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestPausesGrow(t *testing.T) {
	var got []time.Duration
	for i := range 8 {
		got = append(got, pause(3*time.Second, i))
	}
	want := []time.Duration{3, 6, 12, 24, 48, 60, 60, 60}
	for i := range want {
		want[i] *= time.Second
	}
	if !slices.Equal(got, want) {
		t.Error(got)
	}
	if got := pause(5*time.Minute, 1000); got != 5*time.Minute {
		t.Errorf("a long first pause: %s", got)
	}
	if got := pause(time.Nanosecond, 1000); got != longestPause {
		t.Errorf("after a thousand: %s", got)
	}
}

func TestTheCauseIsTheLastErrorOfTheLog(t *testing.T) {
	for log, want := range map[string]string{
		"12:00:00 INF ready\n12:00:01 ERR cannot listen err=x\n12:00:02 INF ended\n": "12:00:01 ERR cannot listen err=x",
		"12:00:00 INF ready\nthor: node1/thor.toml:9: dns.listen[0]: in use\n":       "thor: node1/thor.toml:9: dns.listen[0]: in use",
		"thor.toml:3: network.http: port \"0\" is not 1 to 65535\n":                  `thor.toml:3: network.http: port "0" is not 1 to 65535`,
		`{"level":"error","message":"no"}` + "\n{\"level\":\"info\"}\n":              `{"level":"error","message":"no"}`,
		" 0(7) ERROR: <core> [core/tcp_main.c:2846]: tcp_init(): bind\n":             "0(7) ERROR: <core> [core/tcp_main.c:2846]: tcp_init(): bind",
		"2026-11-30 1:00:00 0 [ERROR] Can't start server: Bind on TCP/IP port\n":     "2026-11-30 1:00:00 0 [ERROR] Can't start server: Bind on TCP/IP port",
		"12:00:00 INF no ERROUR\n": "", "": "",
	} {
		if got := lastError([]byte(log)); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// saying collects what a supervisor says.
type saying struct {
	mu    sync.Mutex
	lines []string
}

func (s *saying) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, fmt.Sprintf(format, args...))
}

func (s *saying) has(n int, parts ...string) func() bool {
	return func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.lines) < n {
			return false
		}
		for _, p := range parts {
			if !strings.Contains(s.lines[n-1], p) {
				return false
			}
		}
		return true
	}
}

// A child that ends again and again is told with its cause, not with that of an
// earlier run, and each time it is left alone for longer.
func TestAChildThatKeepsEndingIsToldWithItsCause(t *testing.T) {
	s := supervise(t, map[string]string{"a": `n=$(cat n 2>/dev/null || echo 0); echo $((n+1)) > n
echo "12:00:00 INF begins"; [ $n = 1 ] || echo "12:00:01 ERR no port number=$n"; exit 1`})
	var told saying
	s.say, s.restartAfter = told.say, 20*time.Millisecond
	if _, err := s.start("a"); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(s.dir, "a", "log")
	for i, want := range [][]string{
		{"a ended: exit status 1: 12:00:01 ERR no port number=0; starting it again in 20ms", log},
		{"a ended: exit status 1: 12:00:00 INF begins; starting it again in 40ms"},
		{"a ended: exit status 1: 12:00:01 ERR no port number=2; starting it again in 80ms"},
	} {
		until(t, fmt.Sprintf("%d: %q", i+1, want), told.has(i+1, want...))
	}
	done, err := s.halt("a")
	if err != nil || done != "a stopped" && done != "a stopped: it is not started again" {
		t.Errorf("%q, %v", done, err)
	}
	if done, err := s.halt("a"); err != nil || done != "a did not run" {
		t.Errorf("%q, %v", done, err)
	}
}

func TestStartAndStopSayWhatTheyDid(t *testing.T) {
	s := supervise(t, map[string]string{"a": lingers})
	pid := begin(t, s)
	if done, err := s.start("a"); err != nil || done != fmt.Sprintf("a runs already, process %d", pid) {
		t.Errorf("%q, %v", done, err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "a", "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if done, err := s.halt("a"); err != nil || done != "a stopped" {
		t.Errorf("%q, %v", done, err)
	}
	done, err := s.start("a")
	next, _ := s.state("a")
	if err != nil || done != fmt.Sprintf("a started, process %d", next) || next == pid {
		t.Errorf("%q, %v", done, err)
	}
}

// Over the socket, as thor up stop and start ask.
func TestControlTellsWhatWasDone(t *testing.T) {
	s := supervise(t, map[string]string{"a": lingers, "b": lingers})
	if err := s.serveControl(t.Context()); err != nil {
		t.Fatal(err)
	}
	done, err := Control(t.Context(), s.dir, "start", []string{"a"})
	pid, _ := s.state("a")
	if err != nil || !slices.Equal(done, []string{fmt.Sprintf("a started, process %d", pid)}) {
		t.Errorf("%q, %v", done, err)
	}
	if done, err = Control(t.Context(), s.dir, "stop", []string{"b"}); err != nil || !slices.Equal(done, []string{"b did not run"}) {
		t.Errorf("%q, %v", done, err)
	}
	if done, err = Control(t.Context(), s.dir, "stop", []string{"c"}); err == nil || len(done) > 0 {
		t.Errorf("%q, %v", done, err)
	}
	s.mu.Lock()
	s.ending = true
	s.mu.Unlock()
	if done, err = Control(t.Context(), s.dir, "start", []string{"b"}); err == nil || err.Error() != "the network is ending" || len(done) > 0 {
		t.Errorf("%q, %v", done, err)
	}
}
