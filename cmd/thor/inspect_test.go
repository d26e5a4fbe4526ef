package main

import (
	"testing"
	"time"

	"github.com/spf13/cobra"

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
		if got := quoted(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
	var r reach
	c := &cobra.Command{}
	r.flags(c)
	if err := c.ParseFlags([]string{"--dir", "/a b", "--timeout", "3s"}); err != nil {
		t.Fatal(err)
	}
	if got := r.again(); got != " --dir '/a b'" {
		t.Errorf("the flags for another command are %q", got)
	}
}
