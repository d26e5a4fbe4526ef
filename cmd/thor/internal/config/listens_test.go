package config_test

import (
	"strings"
	"testing"

	"thor/cmd/thor/internal/config"
)

// Each case is what follows [network], and what is said of it: the key, and a word of
// the problem. No words: the file is good.
func TestListenersThatCollideAreFound(t *testing.T) {
	role := "[[node.role]]\nrole = \"sip_proxy\"\n"
	for name, c := range map[string]struct{ text, key, says string }{
		"all daemons of a host": {"[broker]\nlisten = \"192.0.2.1:4222\"\ncluster_listen = \"192.0.2.1:6222\"\nroutes = [\"tls://192.0.2.1:6222\", \"tls://192.0.2.2:6222\", \"tls://192.0.2.3:6222\"]\n[manager]\n[dns]\nlisten = [\"192.0.2.1:53\", \"[2001:db8::1]:53\"]\n" +
			"[database]\nuri = \"mysql://thor@192.0.2.1:3306/thor\"\n[provisioning]\nlisten = \":9200\"\nurl = \"https://p.example.net:9200\"\n[node]\ncontrol = \"192.0.2.1:25061\"\n" + role, "", ""},
		"clients and routes": {"[broker]\nlisten = \"192.0.2.1:4222\"\ncluster_listen = \"192.0.2.1:4222\"\nroutes = [\"tls://192.0.2.1:6222\", \"tls://192.0.2.2:6222\", \"tls://192.0.2.3:6222\"]\n", "broker.cluster_listen", "is the port of broker.listen too"},
		"a wildcard and an address": {
			"[broker]\nlisten = \"192.0.2.1:9200\"\n[provisioning]\nlisten = \":9200\"\nurl = \"https://p.example.net:9200\"\n",
			"provisioning.listen", "is the port of broker.listen too (:9200 and 192.0.2.1:9200)",
		},
		"wildcards of both families":  {"[broker]\nlisten = \"0.0.0.0:4222\"\nadvertise = \"192.0.2.1:4222\"\n[manager]\nhttp = \"[::]:4222\"\n", "manager.http", "broker.listen"},
		"one address, two ports":      {"[broker]\nlisten = \"127.0.0.1:4222\"\nhttp = \"127.0.0.1:4223\"\n", "", ""},
		"two addresses, one port":     {"[broker]\nlisten = \"192.0.2.1:4222\"\nhttp = \"127.0.0.1:4222\"\n", "", ""},
		"a name of loopback":          {"[broker]\nlisten = \"127.0.0.1:4222\"\nhttp = \"localhost:4222\"\n", "broker.http", "broker.listen"},
		"an address mapped to IPv6":   {"[broker]\nlisten = \"127.0.0.1:4222\"\nhttp = \"[::ffff:127.0.0.1]:4222\"\n", "broker.http", "broker.listen"},
		"the default of another":      {"[manager]\n[dns]\nlisten = [\"192.0.2.1:53\"]\nhttp = \"127.0.0.1:9503\"\n", "dns.http", "is the port of manager.http too"},
		"a default that is moved":     {"[manager]\nhttp = \"127.0.0.1:9504\"\n[dns]\nlisten = [\"192.0.2.1:53\"]\nhttp = \"127.0.0.1:9503\"\n", "", ""},
		"a default that is off":       {"[manager]\nhttp = \"\"\n[dns]\nlisten = [\"192.0.2.1:53\"]\nhttp = \"127.0.0.1:9503\"\n", "", ""},
		"DNS twice":                   {"[dns]\nlisten = [\"192.0.2.1:53\", \"0.0.0.0:53\"]\n", "dns.listen[1]", "dns.listen[0]"},
		"DNS and HTTP":                {"[dns]\nlisten = [\"127.0.0.1:9507\"]\n[node]\n" + role, "dns.listen[0]", "is the port of node.metrics too"},
		"pages and metrics of a node": {"[node]\nmetrics = \"127.0.0.1:9501\"\n" + role, "node.metrics", "node.http"},
		"lookups and the cluster":     {"[broker]\nlisten = \"192.0.2.1:4222\"\ncluster_listen = \":9500\"\ncluster_advertise = \"192.0.2.1:9500\"\nroutes = [\"tls://192.0.2.1:9500\", \"tls://192.0.2.2:9500\", \"tls://192.0.2.3:9500\"]\n[node]\n" + role, "broker.cluster_listen", "node.lookup"},
		"a SIP proxy of this host": {
			"[broker]\nlisten = \"192.0.2.1:5060\"\n" + role + "[[node.role.check]]\nkind = \"sip\"\ntarget = \"192.0.2.1:5060\"\n",
			"broker.listen", "is the port of the service that node.role[0].check[0].target names too",
		},
		"a SIP proxy elsewhere":   {"[broker]\nlisten = \":5060\"\nadvertise = \"192.0.2.1:5060\"\n" + role + "[[node.role.check]]\nkind = \"sip\"\ntarget = \"192.0.2.7:5060\"\n", "", ""},
		"a SIP proxy on loopback": {"[node]\ncontrol = \":5060\"\n" + role + "[[node.role.check]]\nkind = \"sip\"\ntarget = \"127.0.0.1:5060\"\n", "node.control", "node.role[0].check[0].target"},
		"rtpengine and TCP":       {"[broker]\nlisten = \"127.0.0.1:2223\"\n[[node.role]]\nrole = \"media_relay\"\n[[node.role.check]]\nkind = \"rtpengine\"\ntarget = \"127.0.0.1:2223\"\n", "", ""},
		"rtpengine and DNS":       {"[dns]\nlisten = [\"127.0.0.1:2223\"]\n[[node.role]]\nrole = \"media_relay\"\n[[node.role.check]]\nkind = \"rtpengine\"\ntarget = \"127.0.0.1:2223\"\n", "dns.listen[0]", "node.role[0].check[0].target"},
		"a Kamailio's RPC":        {"[node]\nmetrics = \"127.0.0.1:5060\"\n" + role + "kamailio = \"http://127.0.0.1:5060/RPC\"\n", "node.metrics", "node.role[0].kamailio"},
		"a check of our own page": {"[manager]\n" + role + "[[node.role.check]]\nkind = \"http\"\ntarget = \"http://127.0.0.1:9503/readyz\"\n", "", ""},
	} {
		_, ps := config.Examine(write(t, network+c.text))
		switch {
		case c.key == "" && len(ps) > 0, c.key != "" && len(ps) != 1:
			t.Errorf("%s: %v", name, ps)
		case c.key != "" && (ps[0].Key != c.key || !strings.Contains(ps[0].Text, c.says)):
			t.Errorf("%s: %v, want %s: %s", name, ps, c.key, c.says)
		}
	}
}

func TestWhereMetricsAreServed(t *testing.T) {
	for name, c := range map[string]struct{ text, section, address, key, problem string }{
		"the default":             {"[manager]\n", "manager", "127.0.0.1:9503", "manager.http", ""},
		"of the node":             {"[[node.role]]\nrole = \"sip_proxy\"\n", "node", "127.0.0.1:9507", "node.metrics", ""},
		"of the section":          {"[dns]\nlisten = [\"192.0.2.1:53\"]\nhttp = \"192.0.2.1:80\"\n", "dns", "192.0.2.1:80", "dns.http", ""},
		"off":                     {"[manager]\nhttp = \"\"\n", "manager", "", "manager.http", ""},
		"of the file's daemon":    {"http = \"127.0.0.1:80\"\n[manager]\n", "manager", "127.0.0.1:80", "network.http", ""},
		"of no daemon":            {"[manager]\n", "dns", "", "", ""},
		"of the file, two ways":   {"http = \"127.0.0.1:80\"\n[manager]\nhttp = \"127.0.0.1:81\"\n", "manager", "127.0.0.1:80", "network.http", "manager.http"},
		"one for several daemons": {"http = \"127.0.0.1:80\"\n[manager]\n[node]\n" + "[[node.role]]\nrole = \"sip_proxy\"\n", "manager", "127.0.0.1:80", "network.http", "network.http"},
	} {
		f, ps := config.Examine(write(t, network+c.text))
		if address, key := f.Metrics(c.section); address != c.address || key != c.key {
			t.Errorf("%s: %q of %q", name, address, key)
		}
		if c.problem == "" && len(ps) > 0 || c.problem != "" && (len(ps) != 1 || ps[0].Key != c.problem) {
			t.Errorf("%s: %v", name, ps)
		}
	}
}
