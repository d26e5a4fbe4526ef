package overlay

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"thor/subjects"
)

func TestAProcessKnowsThatItIsKeptOut(t *testing.T) {
	roles := []subjects.Role{"media_relay", "sip_proxy", "xcap_server"}
	s := &subjects.Status{V: 1, Roles: map[subjects.Role][]subjects.Member{}}
	s.Put("media_relay", subjects.Member{Node: "n1", State: subjects.Up})
	s.Losses = subjects.Losses{
		Lost: []subjects.Lost{{Node: "n1", Role: "xcap_server", Reason: "check failed: no answer"}, {Node: "n2", Role: "xcap_server", Reason: "silent"}},
		Held: []subjects.Held{{Node: "n1", Role: "sip_proxy", Until: t0, Reason: "left and came back too often"}},
	}
	var got []string
	for _, a := range absences(&View{Status: s}, "n1", roles) {
		got = append(got, a.String())
	}
	want := []string{
		"sip_proxy: announced, but held down until " + t0.UTC().Format(time.RFC3339) + ": left and came back too often",
		"xcap_server: announced, but lost: check failed: no answer",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if a := absences(&View{Status: s, FromDisk: true}, "n1", roles); len(a) != 0 {
		t.Errorf("of an earlier run: %v", a)
	}
	if a := absences(&View{}, "n1", roles); len(a) != 0 {
		t.Errorf("of no status: %v", a)
	}

	var b bytes.Buffer
	l := absenceLog{log: slog.New(slog.NewTextHandler(&b, nil))}
	lines := func() int { n := strings.Count(b.String(), "\n"); b.Reset(); return n }
	l.note(absences(&View{Status: s}, "n1", roles))
	if n := lines(); n != 2 {
		t.Errorf("%d lines", n)
	}
	s.Held[0].Until = t0.Add(time.Minute)
	if l.note(absences(&View{Status: s}, "n1", roles)); lines() != 0 {
		t.Error("another end is told")
	}
	s.ClearLosses()
	if l.note(absences(&View{Status: s}, "n1", roles)); lines() != 2 {
		t.Error("the end is not told")
	}
	if l.note(nil); lines() != 0 {
		t.Error("the end is told twice")
	}
}
