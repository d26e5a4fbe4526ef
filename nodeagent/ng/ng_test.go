package ng

import (
	"context"
	"fmt"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"thor/overlay/check"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// relay answers what answer makes of each question, to its cookie.
func relay(t *testing.T, answer func(cookie, question string) []string) string {
	t.Helper()
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 4096)
		for {
			n, from, err := l.ReadFrom(b)
			if err != nil {
				return
			}
			cookie, question, _ := strings.Cut(string(b[:n]), " ")
			for _, a := range answer(cookie, question) {
				_, _ = l.WriteTo([]byte(a), from)
			}
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.LocalAddr().String()
}

// stats is the beginning of what rtpengine 10.5.3.5 (Debian 12) answers.
const stats = "d10:statisticsd17:currentstatisticsd11:sessionsowni%de15:sessionsforeigni%de13:sessionstotali%de15:transcodedmediai0ee15:totalstatisticsd6:uptime1:3eee"

func TestStatisticsAreRead(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer func(cookie string) []string
		want   Statistics
		fault  string
	}{
		{"sessions", func(c string) []string { return []string{c + " " + fmt.Sprintf(stats, 3, 1, 4)} }, Statistics{3, 4}, ""},
		{"an earlier answer first", func(c string) []string {
			return []string{c[:strings.LastIndex(c, "-")] + "-99 " + fmt.Sprintf(stats, 9, 9, 9), c + " " + fmt.Sprintf(stats, 1, 0, 1)}
		}, Statistics{1, 1}, ""},
		{"another's first", func(c string) []string {
			return []string{"x " + fmt.Sprintf(stats, 9, 9, 9), c + " " + fmt.Sprintf(stats, 1, 0, 1)}
		}, Statistics{1, 1}, ""},
		{"an error", func(c string) []string {
			return []string{c + " d6:result5:error12:error-reason20:Unrecognized commande"}
		}, Statistics{}, "does not say how many sessions it has"},
		{"less than none", func(c string) []string { return []string{c + " " + fmt.Sprintf(stats, -1, 0, -1)} }, Statistics{}, "does not say how many sessions it has"},
		{"cut off", func(c string) []string { return []string{c + " " + fmt.Sprintf(stats, 3, 1, 4)[:60]} }, Statistics{}, "no valid answer"},
		{"silence", func(string) []string { return nil }, Statistics{}, "no answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			x := New(relay(t, func(cookie, question string) []string {
				if question != "d7:command10:statisticse" {
					t.Errorf("asked %q", question)
				}
				return c.answer(cookie)
			}))
			defer x.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			got, err := x.Statistics(ctx)
			fault := ""
			if err != nil {
				fault = check.Explain(err).Text
			}
			if got != c.want || fault != c.fault {
				t.Errorf("%v, %q", got, fault)
			}
		})
	}
}

func TestDecode(t *testing.T) {
	for text, want := range map[string]any{
		"i-7e": int64(-7), "3:abc": "abc", "le": []any{}, "li1e1:xe": []any{int64(1), "x"},
		"d1:ali1eee": map[string]any{"a": []any{int64(1)}},
		"":           nil, "i": nil, "ie": nil, "4:abc": nil, "-1:": nil, "l": nil, "di1ei2ee": nil, "d1:ae": nil, "99999999999999999999999:x": nil,
		strings.Repeat("l", 100) + strings.Repeat("e", 100): nil,
	} {
		got, err := decode([]byte(text))
		if (err != nil) != (want == nil) || want != nil && !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(fmt.Sprintf(stats, 1, 2, 3)))
	f.Add([]byte("d1:ad1:ble1:cee"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, err := decode(b); (v == nil) != (err != nil) {
			t.Errorf("%v, %v", v, err)
		}
	})
}
