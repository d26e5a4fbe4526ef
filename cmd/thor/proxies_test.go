package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"thor/nodeagent"
	"thor/nodeagent/kamailio"
	"thor/subjects"
)

// What a drain waits for: the proxy of a role, and what its checks ask, each service once.
func TestCountersOfRoles(t *testing.T) {
	const url = "http://127.0.0.1:5062/RPC"
	client, err := kamailio.NewClient(url, nil)
	if err != nil {
		t.Fatal(err)
	}
	of := map[subjects.Role]*sipProxy{"sip_proxy": {proxyClient: client, url: url}}
	relay := nodeagent.CheckConfig{Kind: nodeagent.RTPEngine, Target: "127.0.0.1:2223"}
	trial := relay
	trial.Full, trial.ReportOnly = 100, true
	got := counters(nil, []nodeagent.RoleConfig{
		{Role: "sip_proxy", Checks: []nodeagent.CheckConfig{{Kind: nodeagent.SIP, Target: "127.0.0.1:5060"}, {Kind: nodeagent.Kamailio, Target: url, Proxy: client}}},
		{Role: "sip_gateway", Checks: []nodeagent.CheckConfig{{Kind: nodeagent.Kamailio, Target: url, Proxy: client}}},
		{Role: "media_relay", Checks: []nodeagent.CheckConfig{relay, trial, {Kind: nodeagent.RTPEngine, Target: "127.0.0.1:2224"}}},
		{Role: "voicemail_server", Checks: []nodeagent.CheckConfig{{Kind: nodeagent.Asterisk, Target: "http://127.0.0.1:8088/ari", AuthUser: "thor", PasswordFile: "/x"}}},
		{Role: "fax_server", Checks: []nodeagent.CheckConfig{{Kind: nodeagent.Program}}},
		{Role: "xcap_server", Checks: []nodeagent.CheckConfig{{Kind: nodeagent.TCP, Target: "127.0.0.1:80"}}},
	}, of)
	var lines []string
	for _, r := range slices.Sorted(maps.Keys(got)) {
		line := string(r) + ":"
		for _, c := range got[r] {
			line += " " + c.What
		}
		lines = append(lines, line)
	}
	want := "fax_server: tasks, media_relay: sessions sessions, sip_gateway: dialogs, sip_proxy: dialogs, voicemail_server: channels"
	if s := strings.Join(lines, ", "); s != want {
		t.Errorf("%s, not %s", s, want)
	}
	if _, err := got["voicemail_server"][0].Count(t.Context()); fmt.Sprint(err) != "asterisk: the password file cannot be read" {
		t.Error(err)
	}
}
