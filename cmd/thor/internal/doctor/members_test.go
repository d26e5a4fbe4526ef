package doctor

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"thor/identity"
	"thor/subjects"
)

func TestBrokersThatAreAside(t *testing.T) {
	seen := &Network{Clocks: &Clocks{Pongs: []Pong{{Broker: "b1"}, {Broker: "b2"}}}}
	listed := &Network{Status: &subjects.Status{Roles: map[subjects.Role][]subjects.Member{subjects.EventServer: {{Node: "b1"}}}}}
	for _, c := range []struct {
		name string
		b    Broker
		n    *Network
		want string
	}{
		{"one of those that see each other", Broker{Node: "b1"}, seen, ""},
		{"one that they do not see", Broker{URL: "tls://c:1", Node: "b3"}, seen, "fault broker b3 at tls://c:1 answers, and is not among those that see each other -> journalctl -u thor-broker there; thor doctor --brokers tls://c:1"},
		{"one of the status", Broker{Node: "b1"}, listed, ""},
		{"one that the status lacks", Broker{Node: "b2"}, listed, "fault broker b2 at  answers, and is not among"},
		{"nothing is known of the others", Broker{Node: "b2"}, &Network{}, ""},
		{"there is no network", Broker{Node: "b2"}, nil, ""},
		{"it says so itself", Broker{Node: "b1", Alone: true}, seen, "fault broker b1 at  hears no other broker -> is its cluster port (6222) open"},
		{"it is revoked, and so alone", Broker{Node: "b1", Alone: true, Revoked: true}, seen, "fault the certificate of broker b1 at  is revoked: the others do not let it in -> end it there"},
		{"it was not reached", Broker{Node: "b3", Failed: Dial}, seen, ""},
		{"it has no name", Broker{}, seen, ""},
	} {
		got := lines(aside(&c.b, c.n))
		if c.want == "" && got != "" {
			t.Errorf("%s: %s", c.name, got)
		}
		contains(t, got, c.want)
	}
}

func TestCertificatesOfBrokersThatEnd(t *testing.T) {
	leaf := &x509.Certificate{NotBefore: noon.Add(-25 * 24 * time.Hour), NotAfter: noon.Add(5 * 24 * time.Hour)}
	contains(t, lines(ending(&Broker{URL: "tls://a:1", Leaf: leaf}, noon)), "fault the certificate of the broker at tls://a:1 expires in 5 days -> renew it there: thor ca renew")
	if got := ending(&Broker{Leaf: leaf}, noon.Add(-20*24*time.Hour)); got != nil {
		t.Errorf("%v", got)
	}
	if got := ending(&Broker{}, noon); got != nil {
		t.Errorf("%v", got)
	}
}

func TestCertificatesOfDaemonsThatEnd(t *testing.T) {
	day := 24 * time.Hour
	soon := subjects.Validity{From: noon.Add(-25 * day), Until: noon.Add(5 * day)}
	late := subjects.Validity{From: noon, Until: noon.Add(30 * day)}
	n := &Network{Daemons: []Daemon{{"node", "h1", soon}, {"broker", "h1", soon}, {"manager", "h1", late}, {"dns", "h2", subjects.Validity{From: noon.Add(-30 * day), Until: noon.Add(-time.Hour)}}, {"node", "h3", late}}}
	got := lines(certificates(n.Daemons, noon))
	const want = "fault the certificate of dns on h2 expired 1h0m ago -> thor ca request and thor ca sign --renew make the next one (docs/operate.md, Certificates); then there: systemctl reload thor-dns\n" +
		"fault the certificate of broker, node on h1 expires in 5 days -> thor ca request and thor ca sign --renew make the next one (docs/operate.md, Certificates); then there: systemctl reload thor-broker thor-node\n"
	if got != want {
		t.Errorf("%s", got)
	}
	if got := lines(certificates(n.Daemons[4:], noon)); got != "ok no certificate ends soon, of the 1 daemon(s) that answered\n" {
		t.Errorf("%q", got)
	}
	if got := certificates(nil, noon); got != nil {
		t.Errorf("of none: %v", got)
	}
	leaf := &x509.Certificate{NotBefore: soon.From, NotAfter: soon.Until}
	facts := &Facts{Now: noon, Identity: &identity.Identity{NotBefore: noon, NotAfter: noon.Add(30 * day)}, Network: n, Brokers: []Broker{{URL: "tls://a:1", Node: "h1", Leaf: leaf}}}
	if got := lines(Diagnose(facts)); strings.Contains(got, "the broker at tls://a:1 expires") || !strings.Contains(got, "broker, node on h1 expires") {
		t.Errorf("a broker that answered is judged twice, or not:\n%s", got)
	}
}

func TestDaemonsOfAnotherVersion(t *testing.T) {
	st := &subjects.Status{Roles: map[subjects.Role][]subjects.Member{
		subjects.DNSManager: {{Node: "h2", Version: "0.1"}, {Node: "h1", Version: "0.1"}, {Node: "h3", Version: "0.2"}},
		subjects.SIPProxy:   {{Node: "h1", Version: "0.1"}, {Node: "x"}},
		"media_relay":       {{Node: "h1", Version: "0.1"}},
		subjects.Monitor:    {{Node: "h9", Version: "0.0"}, {Node: "h8", Version: "0.1", Attrs: subjects.Attrs{subjects.AttrPort: "8680"}}},
		subjects.Database:   {{Node: "h9", Version: "10.11.19-MariaDB"}},
	}}
	const want = "note thor dns of h1 h2 is version 0.1, this program is 0.2 -> if the program there was upgraded: thor restart --daemon dns\n" +
		"note thor node of h1 is version 0.1, this program is 0.2 -> if the program there was upgraded: thor restart --daemon node\n" +
		"note thor web of h8 is version 0.1, this program is 0.2 -> if the program there was upgraded: thor restart --daemon web\n"
	if got := lines(versions(st, "0.2")); got != want {
		t.Errorf("%s", got)
	}
	if got := versions(st, ""); got != nil {
		t.Errorf("%v", got)
	}
}

func TestDisksOfBrokers(t *testing.T) {
	st := &subjects.Status{Roles: map[subjects.Role][]subjects.Member{subjects.EventServer: {
		{Node: "b1", Attrs: subjects.Attrs{subjects.AttrDisk: "85"}},
		{Node: "b2", Attrs: subjects.Attrs{subjects.AttrDisk: "95"}},
		{Node: "b3"},
		{Node: "b4", Attrs: subjects.Attrs{subjects.AttrDisk: "full"}},
	}}}
	const advice = " -> make room on it: a broker that cannot write goes on without JetStream\n"
	if got, want := lines(disks(st)), "note the disk of broker b1 is 85 % full"+advice+"fault the disk of broker b2 is 95 % full"+advice; got != want {
		t.Errorf("%s", got)
	}
}

func TestPowerDNSOfNameServers(t *testing.T) {
	st := &subjects.Status{Manager: "m1", Roles: map[subjects.Role][]subjects.Member{subjects.DNSManager: {
		{Node: "ns1", State: subjects.Up, Attrs: subjects.Attrs{subjects.AttrPowerDNS: "writing"}}, {Node: "ns2", State: subjects.Up, Attrs: subjects.Attrs{subjects.AttrPowerDNS: "standby"}}, {Node: "ns3", State: subjects.Up},
	}}}
	if got := lines(powerDNS(st)); got != "ok the database of PowerDNS is kept: ns1 writing, ns2 standby\n" {
		t.Errorf("%s", got)
	}
	st.Roles[subjects.DNSManager][1].Attrs[subjects.AttrPowerDNSFault] = "database of PowerDNS at a:1: refused"
	const want = "fault PowerDNS of ns2: database of PowerDNS at a:1: refused -> journalctl -u thor-dns there"
	contains(t, lines(powerDNS(st)), want)
	got := lines(network(&Network{Status: st, Connected: true}, noon))
	contains(t, got, want)
	if n := len(powerDNSLines(got)); n != 1 { // not again as a reason of the status
		t.Errorf("%d lines:\n%s", n, got)
	}
	if got := powerDNS(&subjects.Status{}); got != nil {
		t.Errorf("%v", got)
	}
}

func TestALossHasItsCommand(t *testing.T) {
	st := &subjects.Status{Manager: "m1"}
	st.Lost = []subjects.Lost{{Node: "n2", Role: subjects.SIPProxy, Since: noon.Add(-time.Minute), Reason: "connection closed"}}
	contains(t, lines(network(&Network{Status: st, Connected: true}, noon)), "n2 lost 1 min ago (connection closed)", "thor forget NODE if it is gone for good")
}

func powerDNSLines(text string) (out []string) {
	for l := range strings.Lines(text) {
		if strings.Contains(l, "PowerDNS of ") || strings.Contains(l, "with PowerDNS") {
			out = append(out, l)
		}
	}
	return out
}
