package live_test

import (
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"thor/nodeagent/opensips"
	"thor/nodeagent/opensips/opensipstest"
	"thor/nodeagent/sets"
	"thor/nodeagent/sets/live"
)

// withOpenSIPS is a bench whose proxy is a fake OpenSIPS.
func withOpenSIPS(t *testing.T, f *opensipstest.Fake) *bench {
	t.Helper()
	f.Dir = t.TempDir()
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	rpc, err := opensips.NewClient(srv.URL + "/mi")
	if err != nil {
		t.Fatal(err)
	}
	c := &sets.Config{
		DatabaseDir: f.Dir, Dispatcher: []sets.Dispatcher{{Members: "sip_proxy"}, {Members: "voicemail_server", Group: 2}},
		RTPEngine: []sets.RTPEngine{{}, {Set: 3}}, Trusted: []sets.Trusted{{Members: "sip_proxy"}},
	}
	c.Fill()
	if ps := c.Validate(); len(ps) > 0 {
		t.Fatal(ps)
	}
	b := &bench{t: t, net: &network{}, log: &logbook{}, dir: f.Dir}
	b.targets = []live.Target{{Role: "sip_proxy", Proxy: live.OpenSIPS(rpc), Sets: c}}
	if b.keeper, err = live.New(b.net, b.targets, zerolog.New(b.log), nil); err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- b.keeper.Run(ctx) }()
	t.Cleanup(func() {
		end()
		if err := <-done; err != nil {
			t.Error(err)
		}
		rpc.Close()
		if t.Failed() {
			t.Logf("agent:\n%s\ncalls: %v", b.log, f.Calls())
		}
	})
	b.until("files", "<nil>", func() (string, error) {
		for _, n := range []string{"dispatcher", "rtpengine", "address", "version"} {
			if _, err := os.Stat(filepath.Join(f.Dir, n)); err != nil {
				return err.Error(), nil
			}
		}
		return "<nil>", nil
	})
	f.Restart()
	return b
}

func TestOpenSIPSFollowsTheMembers(t *testing.T) {
	for name, f := range map[string]*opensipstest.Fake{"names of 3.4": {}, "names of 4.0": {New: true}, "parameters of 3.1": {Old: true}} {
		t.Run(name, func(t *testing.T) {
			b := withOpenSIPS(t, f)
			dispatcher := func() (string, error) { return f.Dispatcher(), nil }
			relays := func() (string, error) { return f.Relays(), nil }
			b.net.say(nil, "sip_proxy a 192.0.2.1 up", "voicemail_server v 2001:db8::7 up", "media_relay r 192.0.2.9 up")
			b.until("dispatcher", "1 sip:192.0.2.1:5060 Active, 2 sip:[2001:db8::7]:5060 Active", dispatcher)
			b.until("relays", "0 udp:192.0.2.9:2223 100 true, 3 udp:192.0.2.9:2223 100 true", relays)
			b.until("trusted", "1 192.0.2.1/32", func() (string, error) { return f.Addresses(), nil })
			b.net.say(nil, "sip_proxy a 192.0.2.1 draining", "sip_proxy b 192.0.2.2 suspect", "voicemail_server v 2001:db8::7 up", "media_relay r 192.0.2.9 draining", "media_relay s 192.0.2.10 up")
			b.until("dispatcher", "1 sip:192.0.2.1:5060 Inactive, 1 sip:192.0.2.2:5060 Active, 2 sip:[2001:db8::7]:5060 Active", dispatcher)
			b.until("relays", "0 udp:192.0.2.9:2223 100 false, 0 udp:192.0.2.10:2223 100 true, 3 udp:192.0.2.9:2223 100 false, 3 udp:192.0.2.10:2223 100 true", relays)
			f.Restart()
			b.until("relays after a restart", "0 udp:192.0.2.9:2223 100 false, 0 udp:192.0.2.10:2223 100 true, 3 udp:192.0.2.9:2223 100 false, 3 udp:192.0.2.10:2223 100 true", relays)
			b.net.say(nil, "sip_proxy b 192.0.2.2 up", "media_relay r 192.0.2.9 up")
			b.until("dispatcher", "1 sip:192.0.2.2:5060 Active, 2 sip:[2001:db8::7]:5060 Active", dispatcher)
			b.until("relays", "0 udp:192.0.2.9:2223 100 true, 3 udp:192.0.2.9:2223 100 true", relays)
			b.until("faults", "dispatcher of the OpenSIPS of sip_proxy: voicemail_server has no members, its set stays as it is", b.faults)
		})
	}
}

// A reload keeps a relay disabled that was so before. One that serves again since nobody looked, as after
// a restart of the agent, has to be told so.
func TestARelayThatServesAgainIsEnabledAfterAReload(t *testing.T) {
	f := &opensipstest.Fake{}
	b := withOpenSIPS(t, f)
	relays := func() (string, error) { return f.Relays(), nil }
	b.net.say(nil, "sip_proxy a 192.0.2.1 up", "media_relay r 192.0.2.9 draining")
	b.until("a relay drains", "0 udp:192.0.2.9:2223 100 false, 3 udp:192.0.2.9:2223 100 false", relays)
	b.keeper.Use(nil)
	b.until("the tables are left alone", "", b.faults) // before, a role without members is one
	b.net.say(nil, "sip_proxy a 192.0.2.1 up", "media_relay r 192.0.2.9 up", "media_relay s 192.0.2.10 up")
	b.keeper.Use(b.targets)
	b.until("both serve", "0 udp:192.0.2.9:2223 100 true, 0 udp:192.0.2.10:2223 100 true, 3 udp:192.0.2.9:2223 100 true, 3 udp:192.0.2.10:2223 100 true", relays)
}

func TestAnOpenSIPSThatRefusesIsOneLine(t *testing.T) {
	f := &opensipstest.Fake{}
	b := withOpenSIPS(t, f)
	f.Refuse(200, `{"jsonrpc":"2.0","error":{"code":500,"message":"Internal error"},"id":1}`)
	b.net.say(nil, "sip_proxy a 192.0.2.1 up", "voicemail_server v 192.0.2.7 up", "media_relay r 192.0.2.9 up")
	const why = `of the OpenSIPS of sip_proxy: uptime: 500 "Internal error"`
	b.until("faults", strings.Join([]string{"dispatcher " + why, "rtpengine " + why, "trusted " + why}, "\n"), b.faults)
	f.Refuse(0, "")
	b.until("faults", "", b.faults)
	if n := b.log.count("sets cannot be changed, retrying"); n != 3 {
		t.Errorf("%d lines, one for each table is wanted", n)
	}
}
