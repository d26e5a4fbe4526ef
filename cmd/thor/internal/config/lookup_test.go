package config_test

import (
	"errors"
	"testing"

	"thor/cmd/thor/internal/config"
)

func TestLookupTablesAndLocalServices(t *testing.T) {
	f, err := config.Load(write(t, network+`
[manager.lookup]
sip_proxy = 20
own_role = 0
[node]
lookup = ""
[[node.role]]
role = "sip_proxy"
`))
	if err != nil {
		t.Fatal(err)
	}
	if l := f.Manager.Lookup; len(l) != 2 || l["sip_proxy"] != 20 || l["own_role"] != 0 {
		t.Errorf("lookup %v", l)
	}
	if f.Node.HTTP != "127.0.0.1:9501" || f.Node.Lines != "" {
		t.Errorf("http %q, lookup %q", f.Node.HTTP, f.Node.Lines)
	}
	_, err = config.Load(write(t, network+`
[manager.lookup]
sip_proxy = 9
voicemail_server = 25
thor_database = 18
Bad = 18
xcap_server = "18"
[node]
http = "9501"
lookup = "127.0.0.1:0"
[[node.role]]
role = "sip_proxy"
`))
	var ps config.Problems
	if !errors.As(err, &ps) {
		t.Fatal(err)
	}
	for _, key := range []string{
		"manager.lookup.sip_proxy", "manager.lookup.voicemail_server", "manager.lookup.thor_database", "manager.lookup.Bad",
		"manager.lookup.xcap_server", "node.http", "node.lookup",
	} {
		if !ps.Has(key) {
			t.Errorf("no problem at %s:\n%v", key, ps)
		}
	}
}

func TestExpectedMembers(t *testing.T) {
	f, err := config.Load(write(t, network+`
[manager.expect]
sip_proxy = 3
thor_dnsmanager = 2
`))
	if err != nil {
		t.Fatal(err)
	}
	if e := f.Manager.Expect; len(e) != 2 || e["sip_proxy"] != 3 || e["thor_dnsmanager"] != 2 {
		t.Errorf("expect %v", e)
	}
	_, err = config.Load(write(t, network+`
[manager.expect]
sip_proxy = 0
Bad = 3
media_relay = "3"
`))
	var ps config.Problems
	if !errors.As(err, &ps) {
		t.Fatal(err)
	}
	for _, key := range []string{"manager.expect.sip_proxy", "manager.expect.Bad", "manager.expect.media_relay"} {
		if !ps.Has(key) {
			t.Errorf("no problem at %s:\n%v", key, ps)
		}
	}
}
