package main

import (
	"bytes"
	"errors"
	"testing"

	"thor/overlay"
	"thor/subjects"
)

func TestAWaitTellsWhatIsLeft(t *testing.T) {
	d := drained{node: "node3", roles: []subjects.Role{"media_relay", "sip_proxy", "voicemail_server"}}
	count := func(sessions, dialogs int) *subjects.Work {
		return &subjects.Work{Roles: map[subjects.Role][]subjects.Count{
			"media_relay": {{What: subjects.Sessions, N: sessions}}, "sip_proxy": {{What: subjects.Dialogs, N: dialogs}}, "xcap_server": {{What: "x", N: 9}},
		}}
	}
	for i, x := range []struct {
		sessions, dialogs int
		line              string
		done              bool
	}{
		{3, 12, "node3: 3 sessions of media_relay, 12 dialogs of sip_proxy", false},
		{3, 12, "", false},
		{0, 2, "node3: 2 dialogs of sip_proxy", false},
		{0, 0, "", false},
		{1, 0, "node3: 1 session of media_relay", false},
		{0, 0, "", false},
		{0, 0, "", true},
	} {
		if line, done := d.see(count(x.sessions, x.dialogs)); line != x.line || done != x.done {
			t.Errorf("%d: %q %v, want %q %v", i, line, done, x.line, x.done)
		}
	}
	silent := count(0, 0)
	silent.Roles["media_relay"][0].Fault = "no answer"
	for i := range 2 * drainQuiet { // it was counted before: sessions may be left
		line, done := d.see(silent)
		if want := "node3: sessions of media_relay do not answer"; done || i == 0 && line != want {
			t.Errorf("%q %v", line, done)
		}
	}
	var out, warnings bytes.Buffer
	w := count(0, 0)
	w.Roles["sip_proxy"][0].Fault = "no answer"
	if err := d.end(&out, &warnings, w); !errors.Is(err, errDegraded) {
		t.Error(err)
	}
	want := "thor: drain node3: dialogs of sip_proxy are not counted: no answer\n" +
		"thor: drain node3: what voicemail_server carries is not counted: its [[node.role]] has no kamailio or opensips, and no check of a service that can tell\n"
	if warnings.String() != want || out.String() != "node3: nothing is left of what is counted\n" {
		t.Errorf("%s%s", warnings.String(), out.String())
	}
	out.Reset()
	d.roles = []subjects.Role{"media_relay", subjects.EventServer}
	if err := d.end(&out, &warnings, count(0, 0)); err != nil || out.String() != "node3: nothing is left, it may be stopped\n" {
		t.Errorf("%v %s", err, out.String())
	}
}

func TestAnOlderAgentIsTold(t *testing.T) {
	words := &subjects.DrainRequest{V: 1, For: 60}
	old := overlay.DrainReply{Drained: []subjects.Role{"sip_proxy"}}
	now := old
	now.Drains = map[subjects.Role]overlay.Drain{"sip_proxy": {}}
	for i, x := range []struct {
		q    *subjects.DrainRequest
		r    overlay.DrainReply
		told bool
	}{{words, old, true}, {words, now, false}, {&subjects.DrainRequest{V: 1}, old, false}, {nil, old, false}, {words, overlay.DrainReply{}, false}} {
		if got := unheeded(x.q, []overlay.DrainReply{x.r}); (got != "") != x.told {
			t.Errorf("%d: %q", i, got)
		}
	}
}
