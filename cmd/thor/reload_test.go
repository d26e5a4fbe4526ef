package main

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"thor/subjects"
)

// answers are the records of one question to a name server.
func answers(t *testing.T, server, name string, kind uint16) []string {
	t.Helper()
	var q dns.Msg
	q.SetQuestion(name, kind)
	r, _, err := (&dns.Client{Timeout: 5 * time.Second}).Exchange(&q, server)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, rr := range r.Answer {
		out = append(out, strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	return out
}

func says(t *testing.T, log string, all ...string) {
	t.Helper()
	for _, want := range all {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %q:\n%s", want, log)
		}
	}
}

// One network for all, since its start costs more than the rest.
func TestSIGHUPRereadsTheConfiguration(t *testing.T) {
	t.Parallel()
	n := newTestNet(t)
	n.issue("b1", subjects.EventServer)
	n.issue("m1", subjects.Manager)
	n.issue("ns1", subjects.DNSManager)
	n.issue("n1", subjects.SIPProxy, subjects.MediaRelay)
	n.configure("b1", "[broker]\nlisten = \""+strings.TrimPrefix(n.broker, "tls://")+"\"\n")
	n.configure("m1", "[manager]\n[dns]\nlisten = [\"nowhere\"]\n") // another daemon's mistake is not the manager's
	n.start("broker", "b1")
	manager := n.start("manager", "m1")
	server := freePort(t)
	dnsText := "[dns]\nlisten = [\"" + server + "\"]\nstatic = [\"www IN A 192.0.2.1\"]\n"
	n.configure("ns1", dnsText)
	ns := n.start("dns", "ns1")
	nodeText := "[node]\nhttp = \"\"\nlookup = \"\"\n[[node.role]]\nrole = \"sip_proxy\"\n"
	n.configure("n1", nodeText)
	node := n.start("node", "n1")
	ops := n.watch()
	s := await(t, ops, "all members", func(s *subjects.Status) bool {
		return s.Member(subjects.SIPProxy, "n1") != nil && s.Member(subjects.DNSManager, "ns1") != nil
	})
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for len(answers(t, server, "www.example.net.", dns.TypeA)) == 0 { // until it has a status
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("the name server never answered")
		}
	}
	digest, since := s.Member(subjects.DNSManager, "ns1").Attrs["zone"], s.Member(subjects.SIPProxy, "n1").Since

	t.Run("static records and the digest", func(t *testing.T) {
		n.configure("ns1", strings.Replace(dnsText, "192.0.2.1", "192.0.2.2", 1)+"slice = 1\n")
		says(t, ns.reload(), `"changed":["dns.slice","dns.static"]`, "configuration re-read",
			`"comp":"audit","node":"ns1","daemon":"dns","who":"local","act":"reload"`, `"outcome":"ok","detail":"changed: [dns.slice dns.static]"`)
		if got := answers(t, server, "www.example.net.", dns.TypeA); len(got) != 1 || got[0] != "192.0.2.2" {
			t.Errorf("www: %q", got)
		}
		await(t, ops, "another digest of the zone", func(s *subjects.Status) bool {
			m := s.Member(subjects.DNSManager, "ns1")
			return m != nil && m.Attrs["zone"] != digest
		})
	})
	t.Run("a broken file", func(t *testing.T) {
		n.configure("ns1", strings.Replace(dnsText, "192.0.2.1", "nowhere", 1)+"slices = 3\nttl = 5\n")
		log := ns.reload()
		says(t, log, "old configuration stays in use", "ns1.toml:13: dns.static[0]: ", "ns1.toml:14: dns.slices: ", "ns1.toml:15: dns.ttl: ",
			`"act":"reload"`, `"outcome":"failed","detail":"the file was refused"`)
		if strings.Contains(log, "configuration re-read") {
			t.Error("a broken file was taken")
		}
		if got := answers(t, server, "www.example.net.", dns.TypeA); len(got) != 1 || got[0] != "192.0.2.2" {
			t.Errorf("www: %q", got)
		}
	})
	t.Run("a mistake in another daemon's section", func(t *testing.T) {
		n.configure("ns1", strings.Replace(dnsText, "192.0.2.1", "192.0.2.2", 1)+"slice = 2\n[manager]\npriority = 70000\n[nodes]\n")
		says(t, ns.reload(), `"changed":["dns.slice"]`, "another daemon's section is wrong", "ns1.toml:16: manager.priority: ", "nodes: unknown key")
	})
	t.Run("what needs a restart", func(t *testing.T) {
		other := freePort(t)
		n.configure("ns1", strings.Replace(strings.Replace(dnsText, server, other, 1), "192.0.2.1", "192.0.2.3", 1)+"[log]\nlevel = \"debug\"\n")
		says(t, ns.reload(), `"key":"dns.listen"`, `ns1.toml:12"`, "needs a restart", `"changed":["log.level","dns.slice","dns.static"]`)
		if got := answers(t, server, "www.example.net.", dns.TypeA); len(got) != 1 || got[0] != "192.0.2.3" {
			t.Errorf("www: %q", got)
		}
		if c, err := net.Dial("tcp", other); err == nil {
			c.Close()
			t.Error("it listens on the new address")
		}
	})
	t.Run("a role more", func(t *testing.T) {
		n.configure("n1", nodeText+"priority = 9\n[[node.role]]\nrole = \"media_relay\"\naddresses = [\"127.0.0.2\"]\n")
		says(t, node.reload(), `"changed":["node.role"]`)
		s := await(t, ops, "the new role and the new priority", func(s *subjects.Status) bool {
			m := s.Member(subjects.SIPProxy, "n1")
			return s.Member(subjects.MediaRelay, "n1") != nil && m != nil && m.Priority == 9
		})
		if m := s.Member(subjects.SIPProxy, "n1"); !m.Since.Equal(since) {
			t.Errorf("the old role was touched: since %s, was %s", m.Since, since)
		}
	})
	t.Run("a role the certificate lacks", func(t *testing.T) {
		n.configure("n1", nodeText+"[[node.role]]\nrole = \"xcap_server\"\n")
		says(t, node.reload(), "n1.toml:16: node.role[1]: ", "not in the certificate of n1", "old configuration stays in use")
	})
	t.Run("a role less", func(t *testing.T) {
		n.configure("n1", strings.Replace(nodeText, "sip_proxy", "media_relay", 1))
		says(t, node.reload(), `"changed":["node.role"]`)
		await(t, ops, "the role gone, and the other with its default addresses", func(s *subjects.Status) bool {
			m := s.Member(subjects.MediaRelay, "n1")
			return s.Member(subjects.SIPProxy, "n1") == nil && m != nil && len(m.Addresses) == 2
		})
	})
	t.Run("a manager's priority", func(t *testing.T) {
		n.configure("m1", "[manager]\npriority = 7\ndead = \"20s\"\n")
		says(t, manager.reload(), `"changed":["manager.priority"]`, `"key":"manager.dead"`)
		await(t, ops, "the priority", func(s *subjects.Status) bool {
			m := s.Member(subjects.Manager, "m1")
			return m != nil && m.Priority == 7 && s.Manager == "m1"
		})
	})
	t.Run("a bad certificate does not keep the configuration from changing", func(t *testing.T) {
		n.write("ns1.key", "no key")
		n.configure("ns1", dnsText)
		says(t, ns.reload(), "old certificate stays in use", "configuration re-read", `"log.level"`)
		before := len(ns.logged())
		n.issue("ns1", subjects.DNSManager) // as who copies the files one after the other, and sends the signal too soon
		for end := time.Now().Add(30 * time.Second); !strings.Contains(ns.logged()[before:], `"certificate re-read"`); <-time.After(50 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("the certificate is not read again:\n%s", ns.logged()[before:])
			}
		}
		says(t, ns.reload(), "certificate re-read")
	})
}
