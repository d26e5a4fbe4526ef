package overlay

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"thor/subjects"
)

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSavedStatusComesBackByteForByte(t *testing.T) {
	s := store{dir: filepath.Join(t.TempDir(), "made", "on", "demand")}
	if err := s.open(); err != nil {
		t.Fatal(err)
	}
	if st, _, _, err := s.loadStatus("example.net"); st != nil || err != nil {
		t.Fatalf("empty directory: %v %v", st, err)
	}
	h := someStatuses(2)
	for i, st := range h {
		at := t0.Add(time.Duration(i) * time.Second)
		if err := s.saveStatus(st.Encode(), at); err != nil {
			t.Fatal(err)
		}
		got, enc, saved, err := s.loadStatus("example.net")
		if err != nil || string(enc) != string(st.Encode()) || got.Mark() != st.Mark() || !saved.Equal(at) {
			t.Fatalf("%v %v %s", err, saved, enc)
		}
	}
	nothingLeftBehind(t, s)
}

func nothingLeftBehind(t *testing.T, s store) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(s.dir, ".*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestWhatAKilledProcessLeftIsRemoved(t *testing.T) {
	s := store{dir: t.TempDir()}
	for _, name := range []string{statusFile, drainFile, listsFile} {
		if err := os.WriteFile(filepath.Join(s.dir, "."+name+"4711"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.saveDrains(drainSet{"sip_proxy": {}}); err != nil {
		t.Fatal(err)
	}
	if err := s.open(); err != nil {
		t.Fatal(err)
	}
	nothingLeftBehind(t, s)
	if got, err := s.loadDrains(); err != nil || len(got) != 1 {
		t.Errorf("%v %v", got, err)
	}
}

// A process killed after the first of two steps of saveStatus leaves what it had.
func TestCutShortSaveLosesNothing(t *testing.T) {
	h, s := someStatuses(2), store{dir: t.TempDir()}
	for _, st := range h {
		if err := s.saveStatus(st.Encode(), t0); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := s.keepOlder(); err != nil {
			t.Fatal(err)
		}
	}
	nothingLeftBehind(t, s)
	newest := h[len(h)-1]
	if got, _, _, err := s.loadStatus("example.net"); err != nil || got.Mark() != newest.Mark() {
		t.Errorf("%v %v", got, err)
	}
	for _, name := range []string{statusFile, olderFile} {
		if got, _, _, err := s.readStatus(name, "example.net"); err != nil || got.Mark() != newest.Mark() {
			t.Errorf("%s: %v %v", name, got, err)
		}
	}
}

// A damaged newest copy is refused in favour of the one before; a damage of both
// leaves nothing, never something wrong.
func TestDamagedCopyIsRefusedForTheOlderOne(t *testing.T) {
	h := someStatuses(2)
	good := t.TempDir()
	for _, st := range h {
		if err := (store{dir: good}).saveStatus(st.Encode(), t0); err != nil {
			t.Fatal(err)
		}
	}
	newest, older := read(t, filepath.Join(good, statusFile)), read(t, filepath.Join(good, olderFile))
	flip := func(b []byte, i int) []byte {
		b = bytes.Clone(b)
		b[i] ^= 0x20
		return b
	}
	for name, b := range map[string][]byte{
		"empty":         {},
		"no head":       []byte("{}\n{}\n"),
		"cut":           newest[:len(newest)-20],
		"head only":     newest[:bytes.IndexByte(newest, '\n')],
		"longer":        append(bytes.Clone(newest), "x\n"...),
		"other address": bytes.Replace(newest, []byte("10.0.0.1"), []byte("10.0.0.9"), 1),
		"bit in status": flip(newest, len(newest)-40),
		"bit in date":   flip(newest, bytes.Index(newest, []byte(`"saved":"2026`))+9),
		"other version": bytes.Replace(newest, []byte(`{"v":1`), []byte(`{"v":2`), 1),
		"another file":  []byte("nonsense"),
	} {
		t.Run(name, func(t *testing.T) {
			s := store{dir: t.TempDir()}
			write(t, filepath.Join(s.dir, statusFile), b)
			write(t, filepath.Join(s.dir, olderFile), older)
			st, _, _, err := s.loadStatus("example.net")
			if err == nil || !strings.Contains(err.Error(), statusFile) {
				t.Errorf("not told: %v", err)
			}
			if st == nil || st.Mark() != h[0].Mark() {
				t.Fatalf("got %v", st)
			}
			if err := s.saveStatus(h[1].Encode(), t0); err != nil {
				t.Fatal(err)
			}
			if b := read(t, filepath.Join(s.dir, olderFile)); !bytes.Equal(b, older) {
				t.Error("the damaged copy took the place of the older one")
			}
			write(t, filepath.Join(s.dir, statusFile), b)
			write(t, filepath.Join(s.dir, olderFile), b)
			if st, _, _, err := s.loadStatus("example.net"); st != nil || err == nil {
				t.Errorf("both damaged: %v %v", st, err)
			}
		})
	}
}

func TestStatusOfAnotherNetworkIsRefused(t *testing.T) {
	s := store{dir: t.TempDir()}
	if err := s.saveStatus(someStatuses(1)[0].Encode(), t0); err != nil {
		t.Fatal(err)
	}
	if st, _, _, err := s.loadStatus("example.org"); st != nil || err == nil {
		t.Errorf("%v %v", st, err)
	}
}

func TestDrainsAreKeptAndNonsenseIsTold(t *testing.T) {
	s := store{dir: t.TempDir()}
	until := time.Date(2026, 12, 1, 14, 0, 0, 0, time.UTC)
	for _, d := range []drainSet{{subjects.Agent: {}}, {"media_relay": {}, "sip_proxy": {By: "op", Reason: "why", Until: until}}, {}} {
		if err := s.saveDrains(d); err != nil {
			t.Fatal(err)
		}
		if got, err := s.loadDrains(); err != nil || !maps.Equal(got, d) {
			t.Errorf("%v %v", got, err)
		}
	}
	for _, b := range []string{"", "[]", `{"drained":[`} {
		write(t, filepath.Join(s.dir, drainFile), []byte(b))
		if got, err := s.loadDrains(); err == nil || len(got) != 0 {
			t.Errorf("%q: %v %v", b, got, err)
		}
		if aside := read(t, filepath.Join(s.dir, drainBad)); string(aside) != b {
			t.Errorf("%q is set aside as %q", b, aside)
		}
		if got, err := s.loadDrains(); err != nil || len(got) != 0 {
			t.Errorf("after %q: %v %v", b, got, err)
		}
	}
	write(t, filepath.Join(s.dir, drainFile), []byte(`{"v":1,"drained":["A B","sip_proxy",7,"_"]}`))
	got, err := s.loadDrains()
	if !maps.Equal(got, drainSet{"sip_proxy": {}, subjects.Agent: {}}) || err == nil ||
		!strings.Contains(err.Error(), "entry 1") || !strings.Contains(err.Error(), "entry 3") {
		t.Errorf("good entries beside bad ones: %v %v", got, err)
	}
	none := store{}
	if err := none.saveDrains(nil); err == nil {
		t.Error("says it kept what it could not")
	}
	if err := none.saveStatus([]byte("{}"), t0); err != nil {
		t.Error(err)
	}
}

func TestStatusThatCannotBeWrittenIsAnError(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	write(t, file, nil)
	if err := (store{dir: filepath.Join(file, "below")}).open(); err == nil {
		t.Error("a directory below a file")
	}
	if err := (store{dir: filepath.Join(dir, "missing")}).saveStatus([]byte("{}"), t0); err == nil {
		t.Error("written to a directory that is not there")
	}
}
