package monitor_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"thor/monitor"
	"thor/overlay"
	"thor/subjects"
)

func TestNewRefusesWhatCannotWork(t *testing.T) {
	if _, err := monitor.New(monitor.Config{}); err == nil {
		t.Error("a monitor without a source is accepted")
	}
	if _, err := monitor.New(monitor.Config{Source: fixed(), Color: "sometimes"}); err == nil || !strings.Contains(err.Error(), "sometimes") {
		t.Errorf("color sometimes: %v", err)
	}
}

// plain runs a monitor whose Out is no terminal.
func plain(t *testing.T, ctx context.Context, s monitor.Source) (string, error) {
	t.Helper()
	var out bytes.Buffer
	m, err := monitor.New(monitor.Config{Source: s, Out: &out, In: strings.NewReader(""), Node: "m1"})
	if err != nil {
		t.Fatal(err)
	}
	if m.Interactive() {
		t.Error("a buffer is taken for a terminal")
	}
	err = m.Run(ctx)
	return out.String(), err
}

func TestOffATerminalThePlainScreenComesOnce(t *testing.T) {
	old, none := sampleView(), &overlay.View{Connected: true, Stale: true}
	old.FromDisk, old.Stale, old.Connected = true, true, false
	old.Status.Domain = "old.example.org"
	out, err := plain(t, t.Context(), fixed(none, old, sampleView()))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out, "SIP Thor network for sipthor.net at ") || !strings.Contains(out, "\n    81.23.228.150   myself\n") {
		t.Errorf("got\n%s", out)
	}
	if strings.ContainsRune(out, '\x1b') || strings.Contains(out, "s3cr3t") {
		t.Errorf("escape sequences or a password in\n%q", out)
	}
}

func TestAnUnconfirmedStatusIsPrintedAndReported(t *testing.T) {
	for name, change := range map[string]func(*overlay.View){
		"stale":     func(v *overlay.View) { v.Stale = true },
		"no link":   func(v *overlay.View) { v.Connected = false },
		"from disk": func(v *overlay.View) { v.FromDisk = true },
	} {
		synctest.Test(t, func(t *testing.T) {
			v := sampleView()
			change(v)
			start := time.Now()
			out, err := plain(t, t.Context(), fixed(v))
			if !errors.Is(err, monitor.ErrStale) || !strings.Contains(out, "sip_proxy members:") {
				t.Errorf("%s: %v\n%s", name, err, out)
			}
			if waited := time.Since(start); waited != monitor.DefaultWait {
				t.Errorf("%s: waited %v for a better one", name, waited)
			}
		})
	}
}

func TestWithoutAStatusNothingIsPrinted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out, err := plain(t, t.Context(), fixed(&overlay.View{}))
		if !errors.Is(err, monitor.ErrNoStatus) || out != "" {
			t.Errorf("%v, %q", err, out)
		}
	})
}

func TestAnInterruptedWaitIsANormalEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if out, err := plain(t, ctx, fixed(&overlay.View{})); err != nil || out != "" {
		t.Errorf("%v, %q", err, out)
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestAReaderThatIsGoneIsReported(t *testing.T) {
	m, err := monitor.New(monitor.Config{Source: fixed(sampleView()), Out: broken{}, In: strings.NewReader("")})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Run(t.Context()); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v", err)
	}
}

// What is not heard degrades a confirmed status too.
func TestDoubtsAreReported(t *testing.T) {
	for _, doubts := range [][]string{nil, {"broker b2 is not heard"}} {
		awaited := false
		m, err := monitor.New(monitor.Config{
			Source: fixed(sampleView()), Out: io.Discard, In: strings.NewReader(""),
			Await: func(_ context.Context, st *subjects.Status) { awaited = st != nil },
			Doubts: func(*subjects.Status) []string {
				if !awaited {
					t.Error("asked before it is worth it")
				}
				return doubts
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Run(t.Context()); errors.Is(err, monitor.ErrStale) != (doubts != nil) {
			t.Errorf("with doubts %q: %v", doubts, err)
		}
	}
}
