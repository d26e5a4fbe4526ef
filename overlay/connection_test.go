package overlay

import (
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"thor/broker/brokertest"
	"thor/overlay/pulse"
)

// What the connection must be told, since the client library's defaults would
// give up, follow strangers, or send old beats.
func TestConnectionNeverGivesUpAndKeepsNothingForLater(t *testing.T) {
	n, err := New(Config{
		Credentials: brokertest.New(t).Credentials("n1", "sip_proxy"), Brokers: []string{"tls://127.0.0.1:1"}, Boot: "b00t",
		Options: []nats.Option{nats.Timeout(7 * time.Second)},
	})
	if err != nil {
		t.Fatal(err)
	}
	o := nats.GetDefaultOptions()
	for _, set := range n.conn.options() {
		if err := set(&o); err != nil {
			t.Fatal(err)
		}
	}
	for what, ok := range map[string]bool{
		"reconnects for ever":           o.AllowReconnect && o.MaxReconnect == -1 && o.RetryOnFailedConnect && o.IgnoreAuthErrorAbort,
		"buffers nothing":               o.ReconnectBufSize == -1,
		"dials the configured list":     o.IgnoreDiscoveredServers && !o.NoRandomize,
		"leaves pings to package pulse": o.PingInterval == pingEvery && pingEvery > pulse.QuietAfter+pulse.Patience(5*time.Second),
		"is named by its boot":          o.Name == "b00t",
		"has an inbox of its own":       o.InboxPrefix == "_INBOX.n1",
		"hears itself":                  !o.NoEcho,
		"begins with TLS":               o.TLSHandshakeFirst && o.Secure && o.TLSConfig != nil && n.conn.dialer.tls != nil && n.conn.dialer.SkipTLSHandshake(),
		"takes the caller's options":    o.Timeout == 7*time.Second,
		"has a delay of its own making": o.CustomReconnectDelayCB != nil,
	} {
		if !ok {
			t.Errorf("not so: it %s", what)
		}
	}
}

func TestSubjectOfAPermissionViolation(t *testing.T) {
	for text, want := range map[string]struct {
		subject string
		publish bool
	}{
		`nats: permissions violation: Permissions Violation for Publish to "thor.role.a.n1"`:                   {"thor.role.a.n1", true},
		`nats: permissions violation: Permissions Violation for Subscription to "thor.status"`:                 {"thor.status", false},
		`nats: permissions violation: Permissions Violation for Subscription to "thor.status" using queue "q"`: {"thor.status", false},
		`nats: permissions violation: Permissions Violation for Publish with Reply of "thor.x"`:                {"", false},
		`nats: permissions violation: Permissions Violation for Publish to "`:                                  {"", true},
		"": {"", false},
	} {
		if s, p := violation(text); s != want.subject || p != want.publish {
			t.Errorf("%s: %q %v", text, s, p)
		}
	}
}

func TestConfiguredBrokersAreDialledAsTheyAre(t *testing.T) {
	list := []string{"tls://127.0.0.1:1", "tls://127.0.0.1:2"}
	b := newBrokerList(list)
	if got, err := b.resolve(t.Context()); err != nil || !slices.Equal(got, list) {
		t.Errorf("%v %v", got, err)
	}
}
