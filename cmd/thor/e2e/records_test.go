//go:build e2e

package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// answers are the records that each name server has of a name and type, joined; "-"
// of one that does not answer.
func (n *network) answers(name string, qtype uint16) []string {
	var out []string
	for _, server := range n.DNS {
		r, _, err := (&dns.Client{Timeout: 500 * time.Millisecond}).Exchange(new(dns.Msg).SetQuestion(name+"."+n.domain+".", qtype), server)
		if err != nil {
			out = append(out, "-")
			continue
		}
		var of []string
		for _, rr := range r.Answer {
			of = append(of, strings.TrimPrefix(rr.String(), rr.Header().String()))
		}
		out = append(out, strings.Join(of, " "))
	}
	return out
}

func (n *network) serials(t *testing.T) (serials []uint32, digests []string) {
	t.Helper()
	for _, server := range n.DNS {
		r, _, err := (&dns.Client{Timeout: time.Second}).Exchange(new(dns.Msg).SetQuestion(n.domain+".", dns.TypeSOA), server)
		if err != nil || len(r.Answer) != 1 {
			t.Fatal(server, err, r)
		}
		serials = append(serials, r.Answer[0].(*dns.SOA).Serial)
	}
	for _, m := range n.status().Roles["thor_dnsmanager"] {
		digests = append(digests, m.Attrs["zone"])
	}
	return serials, digests
}

// Records that are added by SOAP are in the answers of all name servers, under a new
// serial, and stay there while name servers, provisioning server and database restart.
func TestProvisionedRecords(t *testing.T) {
	need(t, "mariadbd", "mariadb-server")
	n := startNetwork(t, "127.94", "--nodes", "2")
	c := n.soap(t)
	everywhere := func(what, name string, qtype uint16, want string) {
		t.Helper()
		began := time.Now()
		eventually(t, 20*time.Second, fmt.Sprintf("%s: %s is %q at all name servers", what, name, want), func() bool {
			for _, got := range n.answers(name, qtype) {
				if got != want {
					return false
				}
			}
			return true
		})
		t.Logf("%6d ms  %s", time.Since(began).Milliseconds(), what)
	}
	record := func(name, kind, value string) string {
		return fmt.Sprintf("<record><name>%s</name><zone>%s</zone><type>%s</type><value>%s</value><ttl>60</ttl></record>", name, n.domain, kind, value)
	}
	before, digests := n.serials(t)
	if len(digests) != 2 || digests[0] != digests[1] {
		t.Fatalf("digests %v", digests)
	}
	c.must(t, "Dns", "addZone", "<zone><name>"+n.domain+"</name></zone>")
	if z, err := c.call("Dns", "getZone", "<zone>"+n.domain+"</zone>"); err != nil || !strings.Contains(z, "hostmaster@"+n.domain) || !strings.Contains(z, "arrayType=\"xsd:string[2]\"") {
		t.Errorf("what name servers say of the zone: %s, %v", z, err)
	}
	id := c.must(t, "Dns", "addRecord", record("www", "A", "192.0.2.1"))
	for _, bad := range []string{record("proxy", "A", "192.0.2.1"), record("node1", "CNAME", "elsewhere.example.org")} {
		if b, err := c.call("Dns", "addRecord", bad); err == nil || !strings.Contains(b, "<errorcode>3<") {
			t.Errorf("a name of the network: %s", b)
		}
	}
	everywhere("a record is added", "www", dns.TypeA, "192.0.2.1")
	eventually(t, 10*time.Second, "one new serial and one new digest everywhere", func() bool {
		after, now := n.serials(t)
		return after[0] == after[1] && after[0] > before[0] && len(now) == 2 && now[0] == now[1] && now[0] != digests[0]
	})
	c.must(t, "Dns", "updateRecord", "<record><id>"+id+"</id><value>192.0.2.2</value></record>")
	everywhere("it is changed", "www", dns.TypeA, "192.0.2.2")

	n.control(t, "stop", "provisioning1")
	n.kill9(t, "dns1")
	n.control(t, "start", "dns1")
	everywhere("a name server starts without a provisioning server", "www", dns.TypeA, "192.0.2.2")
	n.control(t, "start", "provisioning1")
	eventually(t, 30*time.Second, "the provisioning server answers", func() bool {
		_, err := c.call("Dns", "deleteRecord", "<recordId>"+id+"</recordId>")
		return err == nil
	})
	everywhere("the record is deleted", "www", dns.TypeA, "")
}
