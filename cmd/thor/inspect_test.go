package main

import (
	"os"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"thor/cmd/thor/internal/up"
	"thor/monitor/view"
)

func TestABrokersAnswerIsRead(t *testing.T) {
	const full = `{"server":{"name":"b1"},"statsz":{"mem":1000,"connections":5,"sent":{"msgs":7},"received":{"msgs":6},"slow_consumers":2,
		"routes":[{"name":"b2"},{"name":"b3"},{"name":"b2"},{"name":""},{"name":"b1"}],
		"jetstream":{"config":{"max_storage":100},"stats":{"storage":10},"meta":{"leader":"b2"}}}}`
	for _, c := range []struct {
		data string
		want *view.Broker
	}{
		{full, &view.Broker{Node: "b1", Clients: 5, Peers: 2, In: 6, Out: 7, Slow: 2, Memory: 1000, Stored: 10, Limit: 100, JetStream: true, Leader: "b2", Took: time.Second}},
		{`{"server":{"name":"b1"},"statsz":{"mem":-1,"connections":-5,"jetstream":{}}}`, &view.Broker{Node: "b1", JetStream: true, Leader: "b1", Took: time.Second}},
		{`{"server":{"name":"b1"},"statsz":{"jetstream":{"meta":{}}}}`, &view.Broker{Node: "b1", JetStream: true, Took: time.Second}},
		{`{"server":{"name":"b1"}}`, &view.Broker{Node: "b1", Took: time.Second}},
		{`{"server":{"name":"b1\u001b[2J"}}`, nil},
		{`{"server":{}}`, nil},
		{`[]`, nil},
		{``, nil},
	} {
		got, ok := brokerOf([]byte(c.data), time.Second)
		if ok != (c.want != nil) || ok && got != *c.want {
			t.Errorf("%s: %+v", c.data, got)
		}
	}
}

func TestFlagsAreQuotedForAShell(t *testing.T) {
	for in, want := range map[string]string{
		"/etc/thor/node.toml": "/etc/thor/node.toml", "a b": "'a b'", "": "''", "$(x)": "'$(x)'", "it's": `'it'\''s'`, "tls://a:1,tls://b:2": "tls://a:1,tls://b:2", "\x1b]52": "'\x1b]52'",
	} {
		if got := up.ShellWord(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}

func TestACopiedCommandReachesTheSameNetwork(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		environment map[string]string
		flags       []string
		want        string
	}{
		"the network of thor up, by default":            {},
		"a flag, which another one is no part of":       {nil, []string{"--dir", "/a b", "--timeout", "3s"}, " --dir '/a b'"},
		"a path of this directory":                      {nil, []string{"--dir", "net"}, " --dir " + here + "/net"},
		"the environment":                               {map[string]string{"THOR_DIR": "net"}, nil, " --dir " + here + "/net"},
		"a flag before the environment":                 {map[string]string{"THOR_DIR": "/net"}, []string{"--config", "/c"}, " --config /c"},
		"a file of the environment, and its exceptions": {map[string]string{"THOR_CONFIG": "/c", "THOR_CERT": "/crt", "THOR_DIR": "/net"}, nil, " --cert /crt --config /c"},
		"a file, for which the environment counts not":  {map[string]string{"THOR_CERT": "/crt"}, []string{"--config", "/c"}, " --config /c"},
		"brokers of the environment": {
			map[string]string{"THOR_BROKERS": "tls://a:1,tls://b:1", "THOR_CERT": "/crt", "THOR_KEY": "/key", "THOR_CA": "/ca", "THOR_CONFIG": "/c"},
			[]string{"--cert", "/mine"},
			" --brokers tls://a:1,tls://b:1 --ca /ca --cert /mine --key /key",
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, v := range []string{"THOR_BROKERS", "THOR_CONFIG", "THOR_DIR", "THOR_CERT", "THOR_KEY", "THOR_CA"} {
				t.Setenv(v, c.environment[v])
			}
			var r reach
			cmd := &cobra.Command{}
			r.flags(cmd)
			if err := cmd.ParseFlags(c.flags); err != nil {
				t.Fatal(err)
			}
			if got := r.again(); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}
