//go:build e2e

package e2e_test

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// proxies are the targets that a server names, sorted; nil if it does not answer.
func proxies(server string) []string {
	m := new(dns.Msg).SetQuestion("_sip._udp.thor.test.", dns.TypeSRV)
	c := &dns.Client{Timeout: 500 * time.Millisecond}
	r, _, err := c.Exchange(m, server)
	if err != nil || r.Rcode != dns.RcodeSuccess {
		return nil
	}
	out := []string{}
	for _, rr := range r.Answer {
		if srv, ok := rr.(*dns.SRV); ok {
			out = append(out, strings.TrimSuffix(srv.Target, ".thor.test."))
		}
	}
	slices.Sort(out)
	return out
}

// A PowerDNS beside each name server, and one database: whatever dies, they answer
// with the members that there are.
func TestPowerDNS(t *testing.T) {
	if _, err := os.Stat("/usr/share/pdns-backend-mysql/schema/schema.mysql.sql"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("PowerDNS is missing: Debian packages pdns-server and pdns-backend-mysql")
		}
		t.Skip("PowerDNS is not installed (Debian packages pdns-server and pdns-backend-mysql)")
	}
	n := startNetwork(t, "127.143", "--powerdns", "--damping=false")
	if len(n.PowerDNS) != 2 {
		t.Fatalf("network.json tells of %q", n.PowerDNS)
	}
	agree := func(when string, want ...string) {
		t.Helper()
		began := time.Now()
		for _, server := range slices.Concat(n.DNS, n.PowerDNS) {
			eventually(t, 20*time.Second, when+": "+server+" answers with "+strings.Join(want, " "), func() bool {
				return slices.Equal(proxies(server), want)
			})
		}
		t.Logf("%6d ms  %s", time.Since(began).Milliseconds(), when)
	}
	agree("at the start", "node1", "node2", "node3")
	n.control(t, "stop", "node2-sip")
	agree("a SIP server is stopped", "node1", "node3")
	n.control(t, "start", "node2-sip")
	agree("it is started", "node1", "node2", "node3")
	n.run(t, "drain", "node3")
	agree("a node is drained", "node1", "node2")

	n.kill9(t, "mariadb")
	n.run(t, "resume", "node3")
	n.control(t, "start", "mariadb")
	agree("the database was killed while a node came back", "node1", "node2", "node3")

	n.kill9(t, "dns1") // the one that writes, perhaps
	n.control(t, "stop", "node1-sip")
	for _, server := range append(slices.Clone(n.PowerDNS[1:]), n.DNS[1]) {
		eventually(t, 20*time.Second, "with one name server: "+server, func() bool { return slices.Equal(proxies(server), []string{"node2", "node3"}) })
	}
	n.control(t, "start", "dns1", "node1-sip")
	agree("both name servers are back", "node1", "node2", "node3")

	n.kill9(t, "powerdns1")
	n.run(t, "drain", "node2")
	n.control(t, "start", "powerdns1")
	agree("a PowerDNS was killed meanwhile", "node1", "node3")
}
