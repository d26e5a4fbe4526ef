package subjects_test

import (
	"errors"
	"strings"
	"testing"

	"thor/subjects"
)

func TestControlCommands(t *testing.T) {
	for _, c := range []struct {
		line string
		want subjects.ControlCommand
		text string
	}{
		{"7 notify update sip_account alice@example.com", subjects.ControlCommand{ID: 7, Verb: subjects.ControlNotify, Operation: "update", Type: "sip_account", Entity: "alice@example.com"}, "notify update sip_account alice@example.com"},
		{"4294967295  notify  delete sip_account a@b ", subjects.ControlCommand{ID: 4294967295, Verb: subjects.ControlNotify, Operation: "delete", Type: "sip_account", Entity: "a@b"}, "notify delete sip_account a@b"},
		{"1 get sip_watchers for émile@example.com", subjects.ControlCommand{ID: 1, Verb: subjects.ControlWatchers, Entity: "émile@example.com"}, "get sip_watchers for émile@example.com"},
	} {
		got, err := subjects.ParseControl(c.line)
		if err != nil || got != c.want || got.Text() != c.text {
			t.Errorf("%q: %+v %v, want %+v", c.line, got, err, c.want)
		}
	}
	for _, line := range []string{"", " ", "0 get sip_watchers for a@b", "-1 x", "+1 x", "4294967296 x", "x get sip_watchers for a@b", "get sip_watchers for a@b", "1x get"} {
		if _, err := subjects.ParseControl(line); !errors.Is(err, subjects.ErrControlID) {
			t.Errorf("%q: %v", line, err)
		}
	}
	for _, line := range []string{
		"1", "1 ", "1 quit", "1 notify update sip_account", "1 notify update sip_account a@b c", "1 notify drop sip_account a@b", "1 notify update domain a@b",
		"1 notify update sip_account alice", "1 notify update sip_account @b", "1 notify update sip_account a@", "1 get sip_watchers of a@b",
		"1 get sip_watchers for a\x00@b", "1 get sip_watchers for a\xff@b", "1 get sip_watchers for a@b\u202e", "1 get sip_watchers for " + strings.Repeat("a", 2000) + "@b",
	} {
		if got, err := subjects.ParseControl(line); err == nil || errors.Is(err, subjects.ErrControlID) || got.ID != 1 || strings.ContainsAny(err.Error(), "\n\r\x00") {
			t.Errorf("%q: %+v %v", line, got, err)
		}
	}
}

func TestEveryControlVerbHasItsRoles(t *testing.T) {
	if len(subjects.ControlRoles("quit")) > 0 {
		t.Error("a verb that is none has roles")
	}
	for _, r := range subjects.ControlRights() {
		if c, err := subjects.ParseControl("1 " + r.Form); err != nil || c.Verb != r.Verb || len(subjects.ControlRoles(c.Verb)) == 0 {
			t.Errorf("%+v: %+v %v", r, c, err)
		}
	}
}

func FuzzParseControl(f *testing.F) {
	for _, r := range subjects.ControlRights() {
		f.Add("12 " + r.Form)
	}
	f.Add("1 notify update sip_account \x00@\n")
	f.Add("\x16\x03\x01\x02")
	f.Fuzz(func(t *testing.T, line string) {
		c, err := subjects.ParseControl(line)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r\x00") || len(err.Error()) > 500 {
				t.Fatalf("%q: not one line: %q", line, err)
			}
			return
		}
		text := c.Text()
		again, err := subjects.ParseControl("1 " + text)
		if err != nil || again.Text() != text || strings.ContainsAny(text, "\n\r\x00") || len(subjects.ControlRoles(c.Verb)) == 0 {
			t.Fatalf("%q is %q, which is %+v %v", line, text, again, err)
		}
	})
}
