package dnsagent

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"thor/dnsagent/dnssec"
)

// signings are the zone without signatures and with them.
func signings(t *testing.T, f func(t *testing.T, keys *dnssec.Keys)) {
	t.Helper()
	t.Run("unsigned", func(t *testing.T) { f(t, nil) })
	t.Run("signed", func(t *testing.T) {
		k := new(dnssec.Keys)
		if _, err := k.New(); err != nil {
			t.Fatal(err)
		}
		f(t, k)
	})
}

// bad are the lines of messages, not those of the count at the end.
var bad = regexp.MustCompile(`(?m)^ *[0-9.]+ (WARNING|ERROR|CRITICAL)\b.*$`)

// Zonemaster finds nothing worse than a notice, while members stay and while they come
// and go.
func TestZonemasterFindsNothingWrong(t *testing.T) {
	need(t, "zonemaster-cli", "zonemaster-cli")
	signings(t, func(t *testing.T, keys *dnssec.Keys) {
		f := newFakeRoot(t, keys, false)
		check := func(what string, moves bool) {
			t.Helper()
			out := f.run(t, "zonemaster-cli", "sipthor.net", "--hints", "hints", "--level", "INFO", "--show-module", "--show-testcase", "--no-progress", "--no-time", "--count", "--raw")
			if !strings.Contains(out, "DNSSEC") || !strings.Contains(out, "NAMESERVER") {
				t.Fatalf("%s: not a whole test:\n%s", what, out)
			}
			for _, line := range bad.FindAllString(out, -1) {
				// It asks one server after the other: a change between them is a change, not a fault.
				if !moves || !strings.Contains(line, "MULTIPLE_SOA_SERIALS") {
					t.Errorf("%s: %s", what, line)
				}
			}
			if t.Failed() {
				t.Logf("%s:\n%s", what, out)
			}
		}
		check("at rest", false)
		end := f.churn(t)
		check("while members come and go", true)
		end()
	})
}

// dnsviz has no errors and no warnings.
func TestDNSVizFindsNothingWrong(t *testing.T) {
	need(t, "dnsviz", "dnsviz")
	signings(t, func(t *testing.T, keys *dnssec.Keys) {
		f := newFakeRoot(t, keys, false)
		check := func(what string) {
			t.Helper()
			f.run(t, "dnsviz", "probe", "-A", "-a", "sipthor.net", "-x", "sipthor.net:ns1.sipthor.net="+ours4[0]+",ns1.sipthor.net=["+ours6[0]+"],ns2.sipthor.net="+ours4[1]+",ns2.sipthor.net=["+ours6[1]+"]",
				"-R", "SOA,NS,A,NAPTR,MX,TXT,SRV", "-E", "-o", "probe.json", "sipthor.net", "_sip._udp.sipthor.net", "proxy.sipthor.net", "www.sipthor.net", "nobody.sipthor.net")
			args := []string{"grok", "-l", "warning", "-r", "probe.json"}
			if out := strings.TrimSpace(f.run(t, "dnsviz", args...)); out != "" && out != "{}" {
				t.Errorf("%s: %s", what, out)
			}
			if keys == nil {
				return
			}
			trusted := ""
			for _, k := range keys.DNSKEY("sipthor.net.") {
				trusted += k.String() + "\n"
			}
			put(t, filepath.Join(f.dir, "trusted"), trusted)
			out := f.run(t, "dnsviz", "print", "-t", "trusted", "-r", "probe.json")
			if strings.Count(out, "[.]") < 50 {
				t.Errorf("%s: not a whole test:\n%s", what, out)
			}
			for line := range strings.Lines(out) {
				// The DS is of a parent that is not signed: what is trusted is the key.
				if (strings.Contains(line, "[!]") || strings.Contains(line, "[-]") || strings.Contains(line, "[?]")) && !strings.Contains(line, " DS: ") {
					t.Errorf("%s: not secure: %s", what, line)
				}
			}
		}
		check("at rest")
		end := f.churn(t)
		check("while members come and go")
		end()
	})
}

// A resolver that trusts the key of the parent alone finds the DS there, and proves what the
// zone says, and that it denies.
func TestTheParentsDSLeadsToTheZone(t *testing.T) {
	need(t, "unbound", "unbound")
	k := new(dnssec.Keys)
	if _, err := k.New(); err != nil {
		t.Fatal(err)
	}
	f := newFakeRoot(t, k, true)
	ask := func(args ...string) string {
		out, err := exec.Command("ip", append([]string{"netns", "exec", f.ns, "dig", "+tries=2", "+time=5"}, args...)...).Output()
		if err != nil {
			return ""
		}
		return string(out)
	}
	anchor := ""
	eventually(t, "net is signed", func() bool {
		anchor = ask("@192.5.6.30", "+short", "net.", "DNSKEY")
		return strings.HasPrefix(anchor, "257 3 13 ") && strings.Contains(ask("@192.5.6.30", "+dnssec", "sipthor.net.", "DS"), "RRSIG")
	})
	conf := put(t, filepath.Join(f.dir, "unbound.conf"), fmt.Sprintf(`server:
	interface: 127.0.0.1
	do-not-query-localhost: no
	directory: %q
	chroot: ""
	username: ""
	pidfile: ""
	do-daemonize: no
	use-syslog: no
	num-threads: 1
	root-hints: hints
	module-config: "validator iterator"
	trust-anchor: "net. DNSKEY %s"
	val-log-level: 2
remote-control:
	control-enable: no
`, f.dir, strings.TrimSpace(anchor)))
	daemon(t, "ip", "netns", "exec", f.ns, "unbound", "-d", "-c", conf)
	eventually(t, "the resolver answers", func() bool { return strings.Contains(ask("@127.0.0.1", "sipthor.net.", "SOA"), "NOERROR") })
	for _, q := range []string{"sipthor.net SOA", "sipthor.net DNSKEY", "sipthor.net DS", "proxy.sipthor.net A", "_sip._udp.sipthor.net SRV", "www.sipthor.net A", "nobody.sipthor.net A", "sipthor.net TXT"} {
		if out := ask(append([]string{"@127.0.0.1", "+adflag"}, strings.Fields(q)...)...); !strings.Contains(out, "NOERROR") || !strings.Contains(out, "flags: qr rd ra ad;") {
			t.Errorf("%s is not proved:\n%s", q, out)
		}
	}
}
