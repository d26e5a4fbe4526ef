package config_test

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"thor/cmd/thor/internal/config"
	"thor/dnsagent/zone"
	"thor/subjects"
)

// zoneOf is the configuration of the zone that text, a [dns] section, means.
func zoneOf(t *testing.T, text string) zone.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "thor.toml")
	head := "[network]\ndomain = \"example.net\"\nbrokers = [\"tls://192.0.2.1:4222\"]\ncertificate = \"c\"\nkey = \"k\"\nca = \"a\"\nstate = \"s\"\n"
	if err := os.WriteFile(path, []byte(head+"[dns]\nlisten = [\"192.0.2.1:53\"]\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	zc := f.DNS.Zone("example.net")
	if ps := zc.Validate(); len(ps) > 0 {
		t.Fatalf("%v", ps)
	}
	return zc
}

func TestAFileThatSaysNothingOfTheZoneMeansTheDefault(t *testing.T) {
	got, want := zoneOf(t, ""), zone.DefaultConfig("example.net")
	if got.Digest() != want.Digest() {
		t.Errorf("%+v", got)
	}
}

// The example writes out every default, so it cannot fall behind.
func TestTheExampleOfAZoneIsTheDefault(t *testing.T) {
	f, err := config.Load("../../../../deploy/examples/zone.toml")
	if err != nil {
		t.Fatal(err)
	}
	got, want := f.DNS.Zone("example.net"), zone.DefaultConfig("example.net")
	if got.Digest() != want.Digest() {
		t.Errorf("the example means %+v", got)
	}
}

// Everything of zone.Config can be said in a file, and changes the digest.
func TestTheFileShapesTheZone(t *testing.T) {
	def := zoneOf(t, "")
	digests := map[string]string{def.Digest(): "the default"}
	for text, ok := range map[string]func(zone.Config) bool{
		`ns = ["ns.example.org"]`:       func(c zone.Config) bool { return c.NameServers[0] == "ns.example.org" },
		`primary = "ns.example.org"`:    func(c zone.Config) bool { return c.Primary == "ns.example.org" },
		`contact = "ops@example.org"`:   func(c zone.Config) bool { return c.Contact == "ops@example.org" },
		`slice = 3`:                     func(c zone.Config) bool { return c.Slice == 3 },
		`slices = {sip_proxy = 2}`:      func(c zone.Config) bool { return c.Slices[subjects.SIPProxy] == 2 },
		`static = ["a IN A 192.0.2.9"]`: func(c zone.Config) bool { return len(c.Static) == 1 },
		`ttl = "7s"`:                    func(c zone.Config) bool { return c.TTL.Role == 7*time.Second },
		`ttl_host = "8s"`:               func(c zone.Config) bool { return c.TTL.Host == 8*time.Second },
		`ttl_naptr = "9s"`:              func(c zone.Config) bool { return c.TTL.NAPTR == 9*time.Second },
		`ttl_ns = "10s"`:                func(c zone.Config) bool { return c.TTL.NS == 10*time.Second },
		`ttl_soa = "11s"`:               func(c zone.Config) bool { return c.TTL.SOA == 11*time.Second },
		`ttl_static = "12s"`:            func(c zone.Config) bool { return c.TTL.Static == 12*time.Second },
		`ttl_negative = "5s"`:           func(c zone.Config) bool { return c.TTL.Negative == 5*time.Second },
		`refresh = "14s"`:               func(c zone.Config) bool { return c.Timers.Refresh == 14*time.Second },
		`retry = "15s"`:                 func(c zone.Config) bool { return c.Timers.Retry == 15*time.Second },
		`expire = "16s"`:                func(c zone.Config) bool { return c.Timers.Expire == 16*time.Second },
		`default_services = false`:      func(c zone.Config) bool { return len(c.Services) == 0 && c.Services != nil },
		"[[dns.service]]\nrole = \"thor_dnsmanager\"\nhost = \"ns\"": func(c zone.Config) bool {
			return len(c.Services) == len(zone.DefaultConfig("x").Services)+1 && c.Services[0].Host == "ns"
		},
		"[[dns.service]]\nrole = \"sip_proxy\"\nhost = \"sip\"\n[[dns.service.srv]]\nname = \"_sip._tcp\"\nport = 5070\npriority = 5\nnaptr = \"SIP+D2T\"\norder = 7": func(c zone.Config) bool {
			proxies := slices.DeleteFunc(c.Services, func(s zone.Service) bool { return s.Role != subjects.SIPProxy })
			return reflect.DeepEqual(proxies, []zone.Service{{Role: subjects.SIPProxy, Host: "sip", SRV: []zone.SRV{
				{Name: "_sip._tcp", Port: 5070, Priority: 5, NAPTR: "SIP+D2T", Order: 7},
			}}})
		},
	} {
		c := zoneOf(t, text)
		if twin := digests[c.Digest()]; twin != "" {
			t.Errorf("%s has the digest of %s", text, twin)
		}
		digests[c.Digest()] = text
		if !ok(c) {
			t.Errorf("%s: %+v", text, c)
		}
	}
}
