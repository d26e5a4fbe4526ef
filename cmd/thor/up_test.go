package main

import (
	"strings"
	"testing"
	"time"

	"thor/cmd/thor/internal/up"
)

// What thor up prints can be pasted into the shell that ran it.
func TestTheGreetingCallsTheProgramAsItWasCalled(t *testing.T) {
	n := &up.Network{Domain: "thor.test", DNS: []string{"127.0.0.1:5354"}, Web: "http://127.0.0.1:8680/"}
	got := greeting(called("./thor"), up.Options{Dir: "/tmp/a net"}, n, 1500*time.Millisecond)
	for _, want := range []string{
		"ready after 1.5 s\n",
		"  ./thor monitor --dir '/tmp/a net' ",
		"  ./thor drain node2 --dir '/tmp/a net' ; ./thor resume node2 --dir '/tmp/a net' ",
		"  ./thor doctor --dir '/tmp/a net' ",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if got := greeting("thor", up.Options{Dir: up.DefaultDir()}, n, 0); !strings.Contains(got, "  thor monitor ") || strings.Contains(got, "--dir") {
		t.Errorf("in the default directory:\n%s", got)
	}
	for name, want := range map[string]string{"/opt/thor/bin/thor": "/opt/thor/bin/thor", "it's here/thor": `'it'\''s here/thor'`, "a;b": "'a;b'"} {
		if got := called(name); got != want {
			t.Errorf("%s is called %s", name, got)
		}
	}
}
