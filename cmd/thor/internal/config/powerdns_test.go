package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"thor/cmd/thor/internal/config"
	"thor/dnsagent/powerdns/plan"
)

// withPowerDNS examines a file with the section [dns.powerdns].
func withPowerDNS(t *testing.T, text string) (*config.File, config.Problems) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "thor.toml")
	head := "[network]\ndomain = \"example.net\"\nbrokers = [\"tls://192.0.2.1:4222\"]\ncertificate = \"c\"\nkey = \"k\"\nca = \"a\"\nstate = \"s\"\n"
	if err := os.WriteFile(path, []byte(head+"[dns]\nlisten = [\"192.0.2.1:53\"]\n[dns.powerdns]\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	return config.Examine(path)
}

func TestTheDatabaseOfAPowerDNS(t *testing.T) {
	f, ps := withPowerDNS(t, "uri = \"mysql://thor@127.0.0.1/pdns\"\npassword_file = \"secret\"\nserver = \"[::1]:53\"\nverify = \"30s\"\n")
	if len(ps) > 0 {
		t.Fatal(ps)
	}
	p := f.DNS.PowerDNS.Writer
	if p.Mode != plan.Lua || p.Kind != "NATIVE" || p.Verify != 30*time.Second || p.Server.String() != "[::1]:53" || !filepath.IsAbs(p.PasswordFile) {
		t.Errorf("%+v", p)
	}
}

func TestAPowerDNSThatCannotBeIsToldWithItsLine(t *testing.T) {
	for text, want := range map[string]string{
		"mode = \"lua\"": "dns.powerdns.uri: is missing",
		"uri = \"mysql://thor@127.0.0.1/pdns\"\nmode = \"all\"":                    `:12: dns.powerdns.mode: "all" is not lua or rotate`,
		"uri = \"mysql://thor@127.0.0.1/pdns\"\nkind = \"SLAVE\"":                  `:12: dns.powerdns.kind: "SLAVE" is not NATIVE or MASTER`,
		"uri = \"mysql://thor@127.0.0.1/pdns\"\nverify = \"10ms\"":                 ":12: dns.powerdns.verify: 10ms is not 1s to 1h",
		"uri = \"mysql://thor@127.0.0.1/pdns\"\nserver = \"localhost\"":            ":12: dns.powerdns.server: ",
		"uri = \"mysql://thor@127.0.0.1/pdns\"\nca = \"ca.crt\"":                   ":12: dns.powerdns.ca: is an authority to trust, but uri does not say tls=true",
		"uri = \"mysql://thor:c4n4ry@127.0.0.1/pdns\"\npassword_file = \"secret\"": ":12: dns.powerdns.password_file: stands beside a password in the URI",
		"uri = \"mysql://thor:c4n4ry@127.0.0.1\"":                                  ":11: dns.powerdns.uri: database URI: names no database",
		"uri = \"mysql://thor@127.0.0.1/pdns\"\nservers = \"127.0.0.1:53\"":        ":12: dns.powerdns.servers: unknown key",
		"uri = \"mysql://thor@127.0.0.1/pdns\"\n[dns.powerdns.more]\n":             "dns.powerdns.more: unknown key",
	} {
		_, ps := withPowerDNS(t, text)
		if len(ps) != 1 || !strings.Contains(ps.Error(), want) || strings.Contains(ps.Error(), "c4n4ry") {
			t.Errorf("%s\n%v\nwant %s", text, ps, want)
		}
	}
}
