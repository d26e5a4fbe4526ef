package live_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"thor/nodeagent/kamailio"
	"thor/nodeagent/sets"
	"thor/nodeagent/sets/live"
)

// A double is a Kamailio with the module dispatcher alone, which does what a real one
// does at times that a test cannot choose. It is for bubbles, whose Wait orders accesses.
type double struct {
	live.KamailioRPC
	t       *testing.T
	file    string
	up      int
	down    error  // the answer of one that does not run
	busy    error  // the answer to a reload
	stale   int    // that many reloads succeed without reading the file
	before  func() // at the next reload
	reloads int
	has     []kamailio.Destination
}

func (d *double) UpSince(context.Context) (string, error) { return strconv.Itoa(d.up), d.down }

func (d *double) ReloadDispatcher(context.Context) error {
	d.reloads++
	if d.busy != nil {
		return d.busy
	}
	if d.stale > 0 {
		d.stale--
		return nil
	}
	if d.before != nil {
		d.before()
		d.before = nil
	}
	d.read()
	return nil
}

func (d *double) ReloadRTPEngine(context.Context) error {
	d.reloads++
	return d.busy
}

func (d *double) SetDispatcherState(context.Context, int, string, string) error { return nil }

func (d *double) Destinations(context.Context) ([]kamailio.Destination, error) { return d.has, nil }

func (d *double) restart() {
	d.up++
	d.read()
}

// read takes short lines too.
func (d *double) read() {
	d.has = nil
	for line := range strings.Lines(contents(d.t, d.file)) {
		f := strings.Fields(line)
		if group, err := strconv.Atoi(f[0]); err == nil {
			d.has = append(d.has, kamailio.Destination{Group: group, URI: f[1]})
		}
	}
}

func (d *double) String() string {
	var out []string
	for _, x := range d.has {
		out = append(out, fmt.Sprintf("%d %s", x.Group, strings.TrimSuffix(strings.TrimPrefix(x.URI, "sip:"), ":5060")))
	}
	return strings.Join(out, ", ")
}

func contents(t *testing.T, p string) string {
	t.Helper()
	b, err := os.ReadFile(p)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func put(t *testing.T, p, text string) {
	t.Helper()
	if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A stage has a Keeper of a double with the groups 1 of sip_proxy and 2 of
// voicemail_server, in a bubble.
type stage struct {
	*double
	net    *network
	log    *logbook
	keeper *live.Keeper
}

// pass lets d go by.
func (s *stage) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// faults are without those of roles that have no members.
func (s *stage) faults() string {
	var out []string
	for _, f := range s.keeper.Faults() {
		if !strings.Contains(f, "has no members") {
			out = append(out, f)
		}
	}
	return strings.Join(out, "\n")
}

func onStage(t *testing.T, prepare func(d *double), f func(t *testing.T, s *stage)) {
	t.Helper()
	c := &sets.Config{DispatcherFile: filepath.Join(t.TempDir(), "dispatcher.list"), Dispatcher: []sets.Dispatcher{{Members: "sip_proxy"}, {Members: "voicemail_server", Group: 2}}}
	onStageOf(t, c, prepare, f)
}

func onStageOf(t *testing.T, c *sets.Config, prepare func(d *double), f func(t *testing.T, s *stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c.Fill()
		s := &stage{double: &double{t: t, file: c.DispatcherFile}, net: &network{}, log: &logbook{}}
		if prepare != nil {
			prepare(s.double)
		}
		var err error
		if s.keeper, err = live.New(s.net, []live.Target{{Role: "sip_proxy", Proxy: live.Kamailio(s.double), Sets: c}}, zerolog.New(s.log), nil); err != nil {
			t.Fatal(err)
		}
		ctx, end := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.keeper.Run(ctx) }()
		t.Cleanup(func() {
			end()
			if err := <-done; err != nil {
				t.Error(err)
			}
			if t.Failed() {
				t.Logf("agent:\n%s", s.log)
			}
		})
		synctest.Wait()
		f(t, s)
	})
}

// busy is Kamailio's refusal to reload.
func busy(t *testing.T, message string) error {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"error":{"code":500,"message":%q}}`, message)
	}))
	defer srv.Close()
	c, err := kamailio.NewClient(srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err = c.ReloadDispatcher(t.Context()); !kamailio.Busy(err) {
		t.Fatal(err)
	}
	return err
}

var errDown = errors.New("does not run")
