package main

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"thor/broker/brokertest"
	"thor/cmd/thor/internal/config"
	"thor/overlay"
	"thor/subjects"
)

var updateLog = flag.Bool("update-log", false, "write the golden log lines anew")

// TestLogLinesOfTheSDK compares what a daemon's log has of the SDK, in each of its
// formats, with a golden file: rules of operators match these lines.
func TestLogLinesOfTheSDK(t *testing.T) {
	defer zerolog.SetGlobalLevel(zerolog.GlobalLevel())
	var all strings.Builder
	for _, c := range []struct{ name, format, journal string }{
		{"JSON", "json", ""}, {"JSON in the journal", "json", "8:1"}, {"console", "console", ""},
	} {
		t.Setenv("JOURNAL_STREAM", c.journal)
		t.Setenv("NO_COLOR", "1")
		all.WriteString("== " + c.name + "\n" + sdkLines(t, c.format))
	}
	path := filepath.Join("testdata", "sdklog.golden")
	if *updateLog {
		if err := os.WriteFile(path, []byte(all.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if all.String() != string(want) {
		t.Errorf("log lines differ:\n%s\nwant\n%s", all.String(), want)
	}
}

// sdkLines are the lines of a node that finds damaged files, joins, is drained,
// is told nonsense, and loses its managers, in order of their text.
func sdkLines(t *testing.T, format string) string {
	t.Helper()
	defer runtime.GC()
	defer runtime.GC()
	dir := t.TempDir()
	var out lockedBuffer
	brokertest.InBubble(t, func(t *testing.T, b *brokertest.B) {
		for name, content := range map[string]string{"status.json": "x", "drain.json": `{"v":1,"drained":["A"]}`} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		log := newLogger(config.Log{Format: format, Level: "debug"}, &out)
		n, err := overlay.New(overlay.Config{
			Identity: b.Identity("n1", subjects.SIPProxy), Options: b.Options("n1", subjects.SIPProxy), StateDir: dir, Boot: "b00t",
			Brokers: []string{"nats://<&>.example:1"}, Log: sdkLog(log),
		})
		if err != nil {
			t.Fatal(err)
		}
		n.Handle("no role", "x\u0007", nil)
		n.Handle("sip_proxy", subjects.VerbDrain, nil)
		m, err := n.Join(overlay.Member{Role: subjects.SIPProxy, Weight: 200})
		if err != nil {
			t.Fatal(err)
		}
		m.Update(func(m *overlay.Member) { m.State = subjects.Leave })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- n.Run(ctx) }()
		<-n.Ready()
		if err := n.Drain(subjects.SIPProxy); err != nil {
			t.Fatal(err)
		}
		manager := b.Dial("m1", subjects.Manager)
		status := &subjects.Status{
			V: 1, Domain: "example.net", Epoch: 1, Generation: 1, Manager: "m1", Roles: map[subjects.Role][]subjects.Member{},
		}
		if _, err := manager.Subscribe(subjects.StatusGet, func(r *nats.Msg) { _ = r.Respond(status.Encode()) }); err != nil {
			t.Fatal(err)
		}
		tick := subjects.Tick{V: 1, Epoch: 1, Generation: 1, Digest: subjects.Digest(status.Encode()), Manager: "m1"}
		for _, data := range [][]byte{tick.Encode(), []byte("x\u0007")} {
			if err := manager.Publish(subjects.StatusTick, data); err != nil {
				t.Fatal(err)
			}
		}
		if err := manager.PublishRequest(subjects.RequestFrom("m1", "n1", subjects.SIPProxy, subjects.VerbDuplicate), "_INBOX.m1.x", []byte(`{"v":1,"boots":["a<b>","b00t"]}`)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // virtual: the status gets stale
		synctest.Wait()
		manager.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	lines := strings.SplitAfter(strings.ReplaceAll(out.String(), dir, "DIR"), "\n")
	slices.Sort(lines)
	return stamps.ReplaceAllString(strings.Join(lines, ""), "TIME")
}

// stamps are the times of lines; nothing else in them looks like one.
var stamps = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[^"]*|\d\d:\d\d:\d\d`)

// A lockedBuffer takes lines of several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}
