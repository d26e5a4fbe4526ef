package config_test

import (
	"slices"
	"strings"
	"testing"

	"thor/cmd/thor/internal/config"
)

func load(t *testing.T, text string) *config.File {
	t.Helper()
	f, err := config.Load(write(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestReloadTakesWhatMayChangeAndNamesWhatNeedsARestart(t *testing.T) {
	dns := "[dns]\nlisten = [\"127.0.0.1:53\"]\nslice = 3\nstatic = [\"a IN A 192.0.2.1\"]\n[manager]\npriority = 7\ndead = \"9s\"\n"
	for _, c := range []struct {
		name, section, from, to string
		changed, restart        []string
	}{
		{"nothing", "dns", "slice = 3", "slice = 3", nil, nil},
		{"a comment", "dns", "[dns]", "# new\n[dns]", nil, nil},
		{"slice", "dns", "slice = 3", "slice = 5", []string{"dns.slice"}, nil},
		{"static", "dns", "192.0.2.1\"]", "192.0.2.2\"]", []string{"dns.static"}, nil},
		{"default written out", "dns", "[dns]", "[dns]\nttl = \"10s\"", nil, nil},
		{"log level", "dns", "[dns]", "[log]\nlevel = \"debug\"\n[dns]", []string{"log.level"}, nil},
		{"log format", "dns", "[dns]", "[log]\nformat = \"json\"\n[dns]", nil, []string{"log.format"}},
		{"listen", "dns", "127.0.0.1:53", "127.0.0.1:54", nil, []string{"dns.listen"}},
		{"domain", "dns", "example.net", "example.org", nil, []string{"network.domain"}},
		{"brokers", "dns", "192.0.2.1:4222", "192.0.2.2:4222", nil, []string{"network.brokers"}},
		{"http", "dns", "[dns]", "[dns]\nhttp = \"127.0.0.1:9\"", nil, []string{"dns.http"}},
		{"another daemon's", "dns", "priority = 7", "priority = 8", nil, nil},
		{"priority", "manager", "priority = 7", "priority = 8", []string{"manager.priority"}, nil},
		{"dead", "manager", "9s", "8s", nil, []string{"manager.dead"}},
		{"both kinds", "dns", "listen = [\"127.0.0.1:53\"]\nslice = 3", "listen = [\"127.0.0.1:54\"]\nslice = 1", []string{"dns.slice"}, []string{"dns.listen"}},
	} {
		// In one directory, so that relative paths do not differ.
		p := write(t, network+dns)
		old, err := config.Load(p)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Replace(network+dns, c.from, c.to, 1)
		if c.from != c.to && text == network+dns {
			t.Fatalf("%s: %q is not in the file", c.name, c.from)
		}
		rewrite(t, p, text)
		next, err := config.Load(p)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		now, changed, restart := old.Reload(next, c.section)
		if !slices.Equal(changed, c.changed) || !slices.Equal(restart, c.restart) {
			t.Errorf("%s: changed %q, restart %q", c.name, changed, restart)
		}
		if now.DNS.Server.Listen[0] != "127.0.0.1:53" && c.section == "dns" || now.Network.Domain != "example.net" {
			t.Errorf("%s: took over what needs a restart: %v, %s", c.name, now.DNS.Server.Listen, now.Network.Domain)
		}
		if now.DNS.Server.Zone.Slice != next.DNS.Server.Zone.Slice {
			t.Errorf("%s: slice is %d", c.name, now.DNS.Server.Zone.Slice)
		}
		if again, _, r := old.Reload(next, c.section); again == nil || !slices.Equal(r, restart) {
			t.Errorf("%s: the file read again was changed: %q", c.name, r)
		}
	}
}

func TestRolesAndCandidatesChangeWithoutARestart(t *testing.T) {
	text := network + "[[node.role]]\nrole = \"sip_proxy\"\n[database]\nuri = \"mysql://u@h/d\"\n"
	old := load(t, text)
	for section, to := range map[string]string{
		"node":     text + "[[node.role]]\nrole = \"media_relay\"\n",
		"database": strings.Replace(text, "uri = \"mysql://u@h/d\"", "[[database.candidate]]\nuri = \"mysql://u@h/d\"", 1),
	} {
		_, changed, restart := old.Reload(load(t, to), section)
		own := slices.DeleteFunc(restart, func(k string) bool { return strings.HasPrefix(k, "network.") }) // other directories
		if len(own) > 0 || len(changed) == 0 {
			t.Errorf("%s: changed %q, restart %q", section, changed, own)
		}
	}
}

func TestCandidatesInheritFromTheSection(t *testing.T) {
	f := load(t, network+`
[database]
password_file = "secret"
priority = 20
interval = "500ms"
[[database.candidate]]
uri = "mysql://u@h1/d"
[[database.candidate]]
uri = "mysql://u@h2/d"
priority = 30
interval = "5s"
password_file = "other"
mode = "read-only"
`)
	list, keys := f.Database.All()
	if len(list) != 2 || keys[1] != "database.candidate[1]" {
		t.Fatalf("%v %q", list, keys)
	}
	a, b := list[0], list[1]
	if a.Priority != 20 || a.Mode != "read-write" || a.Interval.String() != "500ms" || a.Timeout.String() != "500ms" || !strings.HasSuffix(a.PasswordFile, "/secret") {
		t.Errorf("first: %+v", a)
	}
	if b.Priority != 30 || b.Mode != "read-only" || b.Interval.String() != "5s" || b.Timeout.String() != "500ms" || !strings.HasSuffix(b.PasswordFile, "/other") {
		t.Errorf("second: %+v", b)
	}
	_, err := config.Load(write(t, network+"[database]\nuri = \"mysql://u@h/d\"\n[[database.candidate]]\nmode = \"both\"\n"))
	for _, want := range []string{":9: database.uri: stands beside", ":10: database.candidate[0].uri: is missing", ":11: database.candidate[0].mode"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
