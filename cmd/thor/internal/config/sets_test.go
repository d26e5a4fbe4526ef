package config_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"thor/cmd/thor/internal/config"
)

const roleWithSets = `[[node.role]]
role = "sip_proxy"
kamailio = "http://127.0.0.1:5062/RPC"
[node.role.sets]
dispatcher_file = "dispatcher.list"
rtpengine_dir = "/var/lib/thor-kamailio/rtpengine"
[[node.role.sets.dispatcher]]
members = "sip_proxy"
transport = "tls"
[[node.role.sets.dispatcher]]
members = "voicemail_server"
group = 2
port = 5070
[[node.role.sets.rtpengine]]
[[node.role]]
role = "media_relay"
`

func TestSetsOfAProxy(t *testing.T) {
	p := write(t, network+roleWithSets)
	f, err := config.Load(p)
	if err != nil {
		t.Fatal(err)
	}
	if f.Node.Roles[1].Sets != nil {
		t.Error("a role without sets has some")
	}
	s := f.Node.Roles[0].Sets
	if s.DispatcherFile != filepath.Join(filepath.Dir(p), "dispatcher.list") || len(s.Dispatcher) != 2 || len(s.RTPEngine) != 1 {
		t.Fatalf("%+v", s)
	}
	if d := s.Dispatcher[0]; d.Group != 1 || d.Port != 5061 || d.PortAttr != "port" || d.Address != "first" {
		t.Errorf("defaults: %+v", d)
	}
	if d := s.Dispatcher[1]; d.Group != 2 || d.Port != 5070 || d.Transport != "udp" {
		t.Errorf("%+v", d)
	}
	if r := s.RTPEngine[0]; r.Members != "media_relay" || r.Port != 2223 {
		t.Errorf("defaults: %+v", r)
	}
	const role = "[[node.role]]\nrole = \"sip_proxy\"\nkamailio = \"http://127.0.0.1:5062/RPC\"\n[node.role.sets]\n"
	const group = "[[node.role.sets.dispatcher]]\nmembers = \"sip_proxy\"\n"
	const relays, trusted = "[[node.role.sets.rtpengine]]\n", "[[node.role.sets.trusted]]\nmembers = \"sip_proxy\"\n"
	const other = "[[node.role]]\nrole = \"voicemail_server\"\nkamailio = \"http://127.0.0.1:5072/RPC\"\n[node.role.sets]\n"
	const opensips = "[[node.role]]\nrole = \"sip_proxy\"\nopensips = \"http://127.0.0.1:8888/mi\"\n"
	if f, err := config.Load(write(t, network+opensips+"[node.role.sets]\ndatabase_dir = \"/db\"\n"+group+"[[node.role.check]]\nkind = \"opensips\"\nfull = 100\n")); err != nil {
		t.Error(err)
	} else if c := f.Node.Roles[0].Checks[0]; c.Target != "http://127.0.0.1:8888/mi" {
		t.Errorf("the check of the role's OpenSIPS asks %q", c.Target)
	}
	for key, text := range map[string]string{
		"node.role[0].opensips":                   opensips + "kamailio = \"http://127.0.0.1:5062/RPC\"\n",
		"node.role[0].sets.database_dir":          role + "database_dir = \"/db\"\n" + group,
		"node.role[1].sets.database_dir":          opensips + "[node.role.sets]\ndatabase_dir = \"/db\"\n" + group + strings.Replace(other, "kamailio", "opensips", 1) + "database_dir = \"/db/\"\n" + group,
		"node.role[0].sets":                       "[[node.role]]\nrole = \"sip_proxy\"\n[node.role.sets]\ndispatcher_file = \"d\"\n" + group,
		"node.role[0].sets.dispatcher_file":       role + group,
		"node.role[0].sets.trusted_file":          role + "trusted_file = \"t\"\n",
		"node.role[0].sets.dispatcher[1].group":   role + "dispatcher_file = \"d\"\n" + group + group,
		"node.role[0].sets.dispatcher[0].port":    role + "dispatcher_file = \"d\"\n" + group + "port = 70000\n",
		"node.role[0].sets.dispatcher[0].members": role + "dispatcher_file = \"d\"\n[[node.role.sets.dispatcher]]\n",
		"node.role[0].sets.dispatcher_list":       role + "dispatcher_list = \"d\"\n",
		"node.role[1].sets.dispatcher_file":       role + "dispatcher_file = \"d\"\n" + group + other + "dispatcher_file = \"./x/../d\"\n" + group,
		"node.role[1].sets.rtpengine_dir":         role + "rtpengine_dir = \"/d\"\n" + relays + other + "rtpengine_dir = \"/d/\"\n" + relays,
		"node.role[1].sets.trusted_file":          role + "trusted_file = \"d\"\n" + trusted + other + "trusted_file = \"d\"\n" + trusted,
		"node.role[0].sets.rtpengine_dir":         role + "dispatcher_file = \"/d/version\"\nrtpengine_dir = \"/d\"\n" + group + relays,
	} {
		_, err := config.Load(write(t, network+text))
		var ps config.Problems
		if !errors.As(err, &ps) || !ps.Has(key) || len(ps) != 1 {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestSetsChangeAtRunTime(t *testing.T) {
	p := write(t, network+roleWithSets)
	before, err := config.Load(p)
	if err != nil {
		t.Fatal(err)
	}
	rewrite(t, p, network+strings.Replace(roleWithSets, "group = 2", "group = 3", 1))
	after, err := config.Load(p)
	if err != nil {
		t.Fatal(err)
	}
	_, changed, restart := before.Reload(after, "node")
	if len(changed) != 1 || changed[0] != "node.role" || len(restart) > 0 {
		t.Errorf("changed %v, restart %v", changed, restart)
	}
}
