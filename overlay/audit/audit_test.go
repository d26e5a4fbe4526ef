package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
)

// lines parses what a log wrote.
func lines(t *testing.T, b []byte) (out []map[string]any) {
	t.Helper()
	for line := range bytes.Lines(b) {
		var m map[string]any
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		out = append(out, m)
	}
	return out
}

func TestEntryIsOneLineWithAllItsFields(t *testing.T) {
	var b bytes.Buffer
	l, err := Open(Config{Stderr: &b, Node: "node1", Daemon: "node"})
	if err != nil {
		t.Fatal(err)
	}
	l.now = func() time.Time { return time.Date(2026, 11, 29, 1, 2, 3, 0, time.UTC) }
	l.Write(Entry{Who: "desk", Act: Drain, What: "sip_proxy", From: "desk", Outcome: OK})
	want := `{"time":"2026-11-29T01:02:03Z","comp":"audit","node":"node1","daemon":"node","who":"desk","act":"drain",` +
		`"what":"sip_proxy","from":"desk","outcome":"ok","count":1}` + "\n"
	if b.String() != want {
		t.Errorf("got %swant %s", b.String(), want)
	}
}

func TestForeignTextCannotForgeAnEntry(t *testing.T) {
	var b bytes.Buffer
	To(&b).Write(Entry{Who: "a\n{\"who\":\"admin\"}", What: strings.Repeat("x", 5000), Act: SOAP, Outcome: OK, Detail: "\x1b[2J"})
	got := lines(t, b.Bytes())
	if len(got) != 1 {
		t.Fatalf("%d lines: %s", len(got), b.String())
	}
	if n := len(got[0]["what"].(string)); n != maxText {
		t.Errorf("what has %d bytes", n)
	}
	e := Entry{Who: "a\nTHOR_WHO=admin"}.clean()
	for k, v := range (&Log{}).fields(&e) {
		if strings.ContainsAny(v, "\n\x1b") {
			t.Errorf("journal field %s is %q", k, v)
		}
	}
}

func TestNoLevelDropsAnEntry(t *testing.T) {
	var b bytes.Buffer
	errors := slog.New(slog.NewJSONHandler(&b, &slog.HandlerOptions{Level: slog.LevelError}))
	for _, l := range []*Log{To(&b), Through(errors)} {
		b.Reset()
		for range 100 {
			l.Write(Entry{Who: "desk", Act: Resume, Outcome: OK})
		}
		if n := bytes.Count(b.Bytes(), []byte("\n")); n != 100 {
			t.Errorf("%d of 100 entries", n)
		}
	}
}

func TestFileMayBeRotated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l, err := Open(Config{File: path})
	if err != nil {
		t.Fatal(err)
	}
	l.Write(Entry{Who: "a"})
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	l.Write(Entry{Who: "b"})
	for _, f := range []struct{ path, who string }{{path + ".1", "a"}, {path, "b"}} {
		b, err := os.ReadFile(f.path)
		if got := lines(t, b); err != nil || len(got) != 1 || got[0]["who"] != f.who {
			t.Errorf("%s: %s %v", filepath.Base(f.path), b, err)
		}
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v %v", fi.Mode(), err)
	}
	if _, err := Open(Config{File: filepath.Join(path, "no")}); err == nil {
		t.Error("a file that cannot be written was taken")
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestEntryThatCannotBeWrittenIsInTheDaemonsLog(t *testing.T) {
	var b bytes.Buffer
	l, err := Open(Config{Stderr: broken{}, Log: slog.New(slog.NewJSONHandler(&b, nil))})
	if err != nil {
		t.Fatal(err)
	}
	l.Write(Entry{Who: "desk", Act: Drain, What: "node3"})
	if s := b.String(); !strings.Contains(s, "disk full") || !strings.Contains(s, `"what":"node3"`) {
		t.Errorf("the daemon's log has %s", s)
	}
}

func TestTallyCountsEveryActOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		tally := NewTally(To(&b), time.Second)
		var g sync.WaitGroup
		for i := range 20_000 {
			g.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Microsecond) // virtual: 2 s of pulls
				tally.Add(Entry{Who: fmt.Sprintf("node%d", i%2), Act: Profile, What: fmt.Sprintf("u%d@example.com", i), Outcome: OK})
			})
		}
		g.Wait()
		tally.Add(Entry{Who: "node9", Act: Profile, What: "alice@example.com", Outcome: OK})
		time.Sleep(time.Second) // virtual: the last interval
		synctest.Wait()
		sum := make(map[string]float64)
		got := lines(t, b.Bytes())
		for _, m := range got {
			sum[m["who"].(string)] += m["count"].(float64)
		}
		if sum["node0"] != 10_000 || sum["node1"] != 10_000 || sum["node9"] != 1 || len(got) > 9 {
			t.Errorf("%v in %d entries", sum, len(got))
		}
		if last := got[len(got)-1]; last["what"] != "alice@example.com" {
			t.Errorf("a single act is named %q", last["what"])
		}
	})
}

func TestTallyIsBounded(t *testing.T) {
	var b bytes.Buffer
	tally := NewTally(To(&b), time.Hour)
	for i := range 3 * tallyKinds {
		tally.Add(Entry{Who: fmt.Sprint(i), Act: Profile, Outcome: Refused})
	}
	if n := len(tally.open); n > tallyKinds {
		t.Errorf("%d entries wait", n)
	}
	tally.Flush()
	if n := len(lines(t, b.Bytes())); n != 3*tallyKinds {
		t.Errorf("%d of %d entries", n, 3*tallyKinds)
	}
}

func FuzzEntryIsOneLine(f *testing.F) {
	f.Add("desk", "node3\n{}", "\x1b[2J", "\u2028")
	f.Fuzz(func(t *testing.T, who, what, outcome, detail string) {
		var b bytes.Buffer
		To(&b).Write(Entry{Who: who, Act: Drain, What: what, Outcome: outcome, Detail: detail})
		if got := lines(t, b.Bytes()); len(got) != 1 || got[0]["act"] != Drain || len(b.Bytes()) > 32<<10 {
			t.Errorf("%q", b.Bytes())
		}
		e := Entry{Who: who, Act: Drain, What: what, Outcome: outcome, Detail: detail}.clean()
		for _, r := range e.String() {
			if r != ' ' && !unicode.IsGraphic(r) {
				t.Errorf("the journal gets %q", e.String())
			}
		}
	})
}
