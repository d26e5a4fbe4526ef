package dnsagent

import (
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"thor/dnsagent/zone"
	"thor/subjects"
)

// The networks of the outsiders' tests: clients of fra are in 127.53.1.0/24, others stand
// where the name server does, in ams.
const fraClient, otherClient = "127.53.1.", "127.53.2."

// near is a name server in ams that has the networks of these tests, at an address that both
// unbound and BIND ask.
func near(t *testing.T, ecs bool) *server {
	return start(t, sited(1, "ams", "fra"), func(c *Config) {
		c.Site, c.ClientSubnet = "ams", ecs
		c.Zone.Preferences = []zone.Preference{{Role: subjects.SIPProxy, Prefer: zone.PreferSite, Min: 2}}
		c.Zone.Sites = map[string]subjects.Site{fraClient + "0/24": "fra", "2001:db8:f::/48": "fra"}
	})
}

// What dig is told about the network of a client, and what it makes of a malformed option.
func TestDigGetsMembersNearTheSubnet(t *testing.T) {
	need(t, "dig", "bind9-dnsutils")
	s := near(t, true)
	host, port, _ := net.SplitHostPort(s.addr)
	dig := func(args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), "dig", append([]string{"@" + host, "-p", port, "+norec", "+tries=1", "+nobadcookie"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("dig %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	for _, c := range []struct {
		subnet, echo string // echo: as dig prints it, with the scope
		site         subjects.Site
	}{
		{fraClient + "0/24", fraClient + "0/24/24", "fra"},
		{fraClient + "7/32", fraClient + "7/32/24", "fra"},
		{"127.53.0.0/16", "127.53.0.0/16/24", "ams"}, // of a wider network the first address counts, and the scope is longer
		{otherClient + "0/24", otherClient + "0/24/23", "ams"},
		{"2001:db8:f:1::/64", "2001:db8:f:1::/64/48", "fra"},
		{"0.0.0.0/0", "0.0.0.0/0/0", "ams"},
		{"::/0", "::/0/0", "ams"},
	} {
		for _, proto := range []string{"+notcp", "+tcp"} {
			got := dig("+subnet="+c.subnet, proto, "proxy.sipthor.net", "A")
			if !strings.Contains(got, "CLIENT-SUBNET: "+c.echo+"\n") || !strings.Contains(got, "status: NOERROR") {
				t.Errorf("%s %s: want the echo %s in\n%s", c.subnet, proto, c.echo, got)
			}
			if sites := sitesIn(addressesIn(got)); !only(sites, c.site) {
				t.Errorf("%s %s: members of %v, want %s", c.subnet, proto, sites, c.site)
			}
		}
	}
	for args, echo := range map[string]string{ // no preference had a part in these
		"nobody.sipthor.net A": fraClient + "0/24/0", "sipthor.net SOA": fraClient + "0/24/0", "node00.sipthor.net AAAA": fraClient + "0/24/0",
	} {
		if got := dig(append([]string{"+subnet=" + fraClient + "0/24"}, strings.Fields(args)...)...); !strings.Contains(got, "CLIENT-SUBNET: "+echo+"\n") {
			t.Errorf("%s: want the echo %s in\n%s", args, echo, got)
		}
	}
	for what, option := range map[string]string{
		"bits behind the prefix":   "000118007f350107",
		"a scope in the question":  "000118187f3501",
		"shorter than its prefix":  "000118007f35",
		"longer than its prefix":   "000110007f3501",
		"a prefix of 33 bits":      "000121007f35010700",
		"an unknown family":        "000908007f",
		"no more than the family":  "0001",
		"nothing at all":           "",
		"IPv4 written within IPv6": "0002800000000000000000000000ffff7f350107",
	} {
		for _, proto := range []string{"+notcp", "+tcp"} {
			if got := dig("+ednsopt=8:"+option, proto, "proxy.sipthor.net", "A"); !strings.Contains(got, "status: FORMERR") {
				t.Errorf("%s, %s:\n%s", what, proto, got)
			}
		}
	}
	off := near(t, false)
	host, port, _ = net.SplitHostPort(off.addr)
	if got := dig("+subnet="+fraClient+"0/24", "proxy.sipthor.net", "A"); strings.Contains(got, "CLIENT-SUBNET") || !only(sitesIn(addressesIn(got)), "ams") {
		t.Errorf("client subnet is off:\n%s", got)
	}
}

// addressesIn are the addresses of A records in what dig prints.
func addressesIn(out string) (found []string) {
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) == 5 && f[3] == "A" {
			found = append(found, f[4])
		}
	}
	return found
}

// sitesIn are the sites of addresses of sited.
func sitesIn(addresses []string) map[subjects.Site]bool {
	out := make(map[subjects.Site]bool)
	for _, a := range addresses {
		out[map[bool]subjects.Site{true: "ams", false: "fra"}[(a[len(a)-1]-'0')%2 == 0]] = true
	}
	return out
}

// askFrom asks a resolver for the proxies, as a client with an address does, and returns
// their addresses, sorted.
func askFrom(t *testing.T, client, resolver string) []string {
	t.Helper()
	c := &dns.Client{Timeout: 10 * time.Second, Dialer: &net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.UDPAddr{IP: net.ParseIP(client)}}}
	r, _, err := c.Exchange(new(dns.Msg).SetQuestion("proxy.sipthor.net.", dns.TypeA), resolver)
	if err != nil || r.Rcode != dns.RcodeSuccess || len(r.Answer) == 0 {
		t.Fatalf("from %s: %v %v", client, r, err)
	}
	var out []string
	for _, rr := range r.Answer {
		out = append(out, rr.(*dns.A).A.String())
	}
	slices.Sort(out)
	return out
}

// unbound tells the name server of the networks of its clients, and keeps the answers of each
// apart, for as long as their TTL.
func TestUnboundTellsOfItsClients(t *testing.T) {
	need(t, "unbound", "unbound")
	if out, _ := exec.Command("unbound", "-V").CombinedOutput(); !strings.Contains(string(out), "subnetcache") {
		t.Skip("this unbound is built without its module subnetcache")
	}
	s := near(t, true)
	host, _, _ := net.SplitHostPort(s.addr)
	resolver := s.resolver(t, "access-control: 127.0.0.0/8 allow", `module-config: "subnetcache iterator"`,
		"send-client-subnet: "+host, "client-subnet-always-forward: yes", "max-client-subnet-ipv4: 24")
	slicesOf := make(map[subjects.Site]map[string]bool)
	for i := range 20 {
		for from, site := range map[string]subjects.Site{fraClient: "fra", otherClient: "ams"} {
			got := askFrom(t, fmt.Sprint(from, i+1), resolver)
			if !only(sitesIn(got), site) {
				t.Errorf("from %s%d: %v, want members of %s", from, i+1, got, site)
			}
			if slicesOf[site] == nil {
				slicesOf[site] = make(map[string]bool)
			}
			slicesOf[site][strings.Join(got, " ")] = true
		}
	}
	for site, seen := range slicesOf {
		if len(seen) > 3 { // 20 draws of three members out of six have more; a TTL or two may have ended meanwhile
			t.Errorf("%s: unbound did not keep the answers of one network: %v", site, seen)
		}
	}
}

// A resolver that tells nothing is one client itself: it gets members of the site where it stands.
func TestBINDGetsMembersNearIt(t *testing.T) {
	need(t, "named", "bind9")
	s := near(t, true)
	host, ours, _ := net.SplitHostPort(s.addr)
	for address, site := range map[string]subjects.Site{fraClient + "53": "fra", otherClient + "53": "ams"} {
		dir, port := t.TempDir(), freePort(t)
		daemon(t, "named", "-g", "-n", "1", "-c", put(t, filepath.Join(dir, "conf"), fmt.Sprintf(`options {
	directory %q;
	listen-on port %d { 127.0.0.1; };
	listen-on-v6 { none; };
	query-source address %s;
	pid-file none;
	session-keyfile none;
	recursion yes;
	allow-query { 127.0.0.0/8; };
	dnssec-validation no;
	managed-keys-directory ".";
	empty-zones-enable no;
	max-cache-ttl 1;
};
controls { };
zone "sipthor.net" { type forward; forward only; forwarders { %s port %s; }; };
`, dir, port, address, host, ours)))
		resolver := fmt.Sprintf("127.0.0.1:%d", port)
		eventually(t, "named answers", func() bool {
			r, _, err := (&dns.Client{Timeout: time.Second}).Exchange(new(dns.Msg).SetQuestion("proxy.sipthor.net.", dns.TypeA), resolver)
			return err == nil && len(r.Answer) > 0
		})
		for _, client := range []string{fraClient + "7", otherClient + "7"} { // where its client stands is not known
			if got := askFrom(t, client, resolver); !only(sitesIn(got), site) {
				t.Errorf("BIND at %s asked by %s: %v, want members of %s", address, client, got, site)
			}
		}
	}
}
