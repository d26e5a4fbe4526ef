//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/nats-io/nats.go"

	"thor/cmd/thor/internal/config"
	"thor/cmd/thor/internal/up"
	"thor/identity"
	"thor/overlay"
	"thor/subjects"
)

// site is the network of deploy/examples, each host in a namespace of its own,
// and a desk at which its operator sits.
type site struct {
	*network // what the desk sees
	hosts    []*host
	desk     *host
	daemons  map[string]*process // "host1 broker"
}

var daemonNames = []string{"broker", "manager", "dns", "node"}

// The examples that an operator copies are a network that works: the files are
// used as they are, hosts share nothing but the CA's certificate, and one of
// them is behind NAT.
func TestExampleHosts(t *testing.T) {
	kamailio := need(t, "kamailio", "kamailio")
	s := newSite(t)
	began := time.Now()
	for _, h := range s.hosts {
		s.startHost(t, h, kamailio)
	}
	s.operate(t)
	s.settle(t)
	eventually(t, 20*time.Second, "three proxies are up", func() bool { return s.serving("host1", "host2", "host3") })
	t.Logf("%6d ms  from nothing to three hosts", time.Since(began).Milliseconds())

	s.brokersAreOneCluster(t)
	s.everyNameServerAnswersElsewhere(t)
	s.joinThroughDNS(t)
	dns, rec := s.resolve(t), s.record(t, nats.SetCustomDialer(hostDialer{s.desk}))
	rec.must("host1", "host2", "host3")

	t.Log("(a) kill -9 of the active manager")
	before := s.status()
	s.daemons[string(before.Manager)+" manager"].kill(t)
	eventually(t, 20*time.Second, "another host leads", func() bool {
		now := s.status()
		return now.Epoch > before.Epoch && now.Manager != before.Manager
	})
	s.daemons[string(before.Manager)+" manager"].run(t)
	s.settle(t)

	t.Log("(b) a certificate is revoked, the list is published from one host")
	s.revoke(t)

	t.Log("(c) a standby's host loses its link")
	s.loseLink(t, dns, rec)

	dns.end()
	if f := append(dns.failures(), rec.failures()...); len(f) > 0 {
		t.Errorf("%d faults:\n%s", len(f), strings.Join(f[:min(len(f), 20)], "\n"))
	}
	t.Logf("%d DNS queries, %d statuses seen", dns.queries.Load(), rec.updates)
}

// newSite makes the hosts, the authority on the desk, and what each host gets
// from it.
func newSite(t *testing.T) *site {
	t.Helper()
	l := newLab(t)
	s := &site{
		hosts: []*host{
			l.host(t, "host1", "192.0.2.1", "192.0.2.1", "192.0.2.254"),
			l.host(t, "host2", "192.0.2.2", "192.0.2.2", "192.0.2.254"),
			l.host(t, "host3", "10.0.3.3", "198.51.100.3", "10.0.3.254"),
		},
		desk:    l.host(t, "desk", "203.0.113.10", "203.0.113.10", "203.0.113.254"),
		daemons: make(map[string]*process),
	}
	s.desk.thor(t, "ca", "init", "--domain", "example.net")
	for _, h := range s.hosts {
		s.equip(t, h, h.name, h.public, subjects.EventServer, subjects.Manager, subjects.DNSManager, subjects.SIPProxy)
		example, err := os.ReadFile(filepath.Join("../../../deploy/examples", h.name+".toml"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(h.dir, "thor.toml"), example, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.equip(t, s.desk, "desk", s.desk.address, subjects.Operator, subjects.Monitor)
	return s
}

// equip brings a certificate from the desk to a host, and the CA's.
func (s *site) equip(t *testing.T, h *host, node, ip string, roles ...subjects.Role) {
	t.Helper()
	args := []string{"ca", "issue", "--node", node, "--ip", ip, "--out", node}
	for _, r := range roles {
		args = append(args, "--role", string(r))
	}
	s.desk.thor(t, args...)
	for from, to := range map[string]string{node + ".key": "node.key", node + ".crt": "node.crt", "ca/ca.crt": "ca.crt"} {
		b, err := os.ReadFile(filepath.Join(s.desk.dir, from))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(h.dir, to), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// startHost starts the daemons of a host as its systemd units do: the paths
// come from the environment, the rest from the example.
func (s *site) startHost(t *testing.T, h *host, kamailio string) {
	t.Helper()
	cfg := fmt.Sprintf(answersOptions, h.address)
	if err := os.WriteFile(filepath.Join(h.dir, "kamailio.cfg"), []byte(cfg), 0o600); err != nil {
		t.Fatal(err)
	}
	h.start(t, "kamailio", nil, kamailio, "-DD", "-E", "-f", "kamailio.cfg",
		"-P", filepath.Join(h.dir, "kamailio.pid"), "-Y", h.dir, "-w", h.dir, "-m", "16", "-M", "4")
	for _, d := range daemonNames {
		env := []string{
			"THOR_CERT=" + filepath.Join(h.dir, "node.crt"), "THOR_KEY=" + filepath.Join(h.dir, "node.key"),
			"THOR_CA=" + filepath.Join(h.dir, "ca.crt"), "THOR_STATE=" + filepath.Join(h.dir, "state", d),
		}
		s.daemons[h.name+" "+d] = h.start(t, d, env, thor, d, "--config", "thor.toml")
	}
}

const answersOptions = `#!KAMAILIO
debug=1
log_stderror=yes
children=1
tcp_children=1
auto_aliases=no
listen=udp:%s:5060
loadmodule "sl.so"
request_route {
	sl_send_reply("200", "OK");
}
`

// operate connects the desk.
func (s *site) operate(t *testing.T) {
	t.Helper()
	f, err := config.Load("../../../deploy/examples/host1.toml")
	if err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(s.desk.dir, name) }
	s.network = &network{dir: s.desk.dir, domain: f.Network.Domain, Network: &up.Network{
		Domain: f.Network.Domain, Brokers: f.Network.Brokers,
		Operator: up.Operator{Cert: in("node.crt"), Key: in("node.key"), CA: in("ca.crt")},
	}}
	for _, h := range s.hosts {
		s.DNS = append(s.DNS, h.public+":53")
	}
	creds, err := identity.Load(identity.Files{Cert: s.Operator.Cert, Key: s.Operator.Key, CA: s.Operator.CA})
	if err != nil {
		t.Fatal(err)
	}
	s.view, err = overlay.New(overlay.Config{
		Credentials: creds, Brokers: s.Brokers,
		Dial: func(_ context.Context, network, address string) (net.Conn, error) {
			return hostDialer{s.desk}.Dial(network, address)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.view.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	eventually(t, 40*time.Second, "a status", func() bool { return s.status() != nil })
}

// serving reports whether the sip_proxy members are exactly nodes, each up.
func (s *site) serving(nodes ...string) bool {
	var up []string
	for _, m := range s.status().Roles[subjects.SIPProxy] {
		if m.State == subjects.Up {
			up = append(up, string(m.Node))
		}
	}
	return slices.Equal(up, nodes)
}

func (s *site) brokersAreOneCluster(t *testing.T) {
	t.Helper()
	eventually(t, 20*time.Second, "each broker has routes to both others, and JetStream", func() bool {
		n := 0
		for _, m := range s.status().Roles[subjects.EventServer] {
			if m.Attrs["routes"] == "2" && m.Attrs["jetstream"] == "ok" {
				n++
			}
		}
		return n == len(s.hosts)
	})
	for _, h := range s.hosts {
		for _, role := range []subjects.Role{subjects.EventServer, subjects.Manager, subjects.DNSManager, subjects.SIPProxy} {
			m := s.status().Member(role, subjects.NodeID(h.name))
			if m == nil || !slices.Equal(m.Addresses, []netip.Addr{netip.MustParseAddr(h.public)}) {
				t.Errorf("%s of %s is not known by %s: %+v", role, h.name, h.public, m)
			}
		}
	}
}

// everyNameServerAnswersElsewhere asks each name server from each other host.
func (s *site) everyNameServerAnswersElsewhere(t *testing.T) {
	t.Helper()
	var all []string
	for _, h := range s.hosts {
		all = append(all, h.public)
	}
	for i, h := range s.hosts {
		for _, from := range append(slices.Clone(s.hosts), s.desk) {
			if from == h {
				continue
			}
			var got []string
			eventually(t, 5*time.Second, fmt.Sprintf("%s answers %s with all proxies", h.name, from.name), func() bool {
				got = from.addresses(t, s.DNS[i], "proxy."+s.domain+".")
				return slices.Equal(got, all)
			})
		}
	}
}

// addresses asks a name server from the host.
func (h *host) addresses(t *testing.T, server, name string) (out []string) {
	t.Helper()
	var q dns.Msg
	q.SetQuestion(name, dns.TypeA)
	err := h.enter(func() {
		a, _, err := (&dns.Client{Timeout: time.Second}).Exchange(&q, server)
		if err != nil {
			return
		}
		for _, rr := range a.Answer {
			if x, ok := rr.(*dns.A); ok {
				out = append(out, x.A.String())
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

// resolve asks all name servers all the time, from the desk.
func (s *site) resolve(t *testing.T) *resolver {
	r := newResolver(s.domain, s.DNS, 50*time.Millisecond, dns.TypeSRV, dns.TypeA)
	for _, h := range s.hosts {
		r.addresses[h.name] = h.public
	}
	for _, server := range r.servers {
		for _, types := range [][]uint16{r.types, {dns.TypeSOA}} {
			r.wg.Go(func() {
				if err := s.desk.enter(func() { r.ask(server, types...) }); err != nil {
					t.Error(err)
				}
			})
		}
	}
	t.Cleanup(r.end)
	return r
}

// joinThroughDNS has a host that knows the domain and a resolver become a member:
// it finds brokers and their ports in the zone, by the names in their certificates.
func (s *site) joinThroughDNS(t *testing.T) {
	t.Helper()
	caller := s.desk.lab.host(t, "caller", "203.0.113.21", "203.0.113.21", "203.0.113.254")
	s.equip(t, caller, "caller", caller.address, "test_caller")
	toml := s.agentConfig("srv:"+s.domain, "test_caller")
	for name, text := range map[string]string{"thor.toml": toml, "resolv.conf": "nameserver " + s.hosts[0].public + "\nnameserver " + s.hosts[2].public + "\n"} {
		if err := os.WriteFile(filepath.Join(caller.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// The mounts of a namespace are its own: see ip-netns(8).
	p := caller.start(t, "node", nil, "sh", "-c", `mount --bind resolv.conf /etc/resolv.conf && exec "$@"`, "sh", thor, "node", "--config", "thor.toml")
	eventually(t, 20*time.Second, "who knows the domain alone is a member", func() bool { return s.status().Member("test_caller", "caller") != nil })
	p.kill(t)
}

// agentConfig is the file of a node agent with one role and no check.
func (s *site) agentConfig(broker string, role subjects.Role) string {
	return fmt.Sprintf("[network]\ndomain = %q\nbrokers = [%q]\ncertificate = \"node.crt\"\nkey = \"node.key\"\nca = \"ca.crt\"\nstate = \"state\"\n\n[[node.role]]\nrole = %q\n",
		s.domain, broker, role)
}

// revoke ends a member whose only broker is that of the host behind NAT; the
// list is published to the broker of host1.
func (s *site) revoke(t *testing.T) {
	t.Helper()
	desk := s.desk
	guest := desk.lab.host(t, "guest", "203.0.113.20", "203.0.113.20", "203.0.113.254")
	s.equip(t, guest, "guest", guest.address, "fax_server")
	if err := os.WriteFile(filepath.Join(guest.dir, "thor.toml"), []byte(s.agentConfig(s.Brokers[2], "fax_server")), 0o600); err != nil {
		t.Fatal(err)
	}
	guest.start(t, "node", nil, thor, "node", "--config", "thor.toml")
	eventually(t, 20*time.Second, "the guest is a member", func() bool { return s.status().Member("fax_server", "guest") != nil })
	in := func(name string) string { return filepath.Join(guest.dir, name) }
	creds, err := identity.Load(identity.Files{Cert: in("node.crt"), Key: in("node.key"), CA: in("ca.crt")})
	if err != nil {
		t.Fatal(err)
	}
	for i, h := range s.hosts {
		if err := guest.knock(t, creds, s.Brokers[i]); err != nil {
			t.Errorf("the broker of %s refuses the guest before the revocation: %v", h.name, err)
		}
	}
	desk.thor(t, "ca", "revoke", "guest", "--brokers", s.Brokers[0], "--cert", "node.crt", "--key", "node.key", "--ca", "ca.crt")
	eventually(t, 5*time.Second, "the guest is gone", func() bool { return s.status().Member("fax_server", "guest") == nil })
	for i, h := range s.hosts {
		if err := guest.knock(t, creds, s.Brokers[i]); !isRefusal(err) {
			t.Errorf("the broker of %s does not refuse the revoked certificate: %v", h.name, err)
		}
		if _, err := os.Stat(filepath.Join(h.dir, "state", "broker", "revocations.pem")); err != nil {
			t.Errorf("%s keeps no revocation list: %v", h.name, err)
		}
	}
	if s.status().Member("fax_server", "guest") != nil {
		t.Error("the revoked member is back")
	}
}

// knock is that of the harness, from the host.
func (h *host) knock(t *testing.T, creds *identity.Credentials, broker string) (err error) {
	t.Helper()
	if e := h.enter(func() { err = knock(creds, broker) }); e != nil {
		t.Fatal(e)
	}
	return err
}

// loseLink cuts off the host of a standby: it goes after silence, no other
// does, its own name server goes on with what it knew, and all of it returns.
func (s *site) loseLink(t *testing.T, dns *resolver, rec *recorder) {
	t.Helper()
	i := slices.IndexFunc(s.hosts, func(h *host) bool { return h.name != string(s.status().Manager) && h.address == h.public })
	lost := s.hosts[i]
	var rest []string
	for _, h := range s.hosts {
		if h != lost {
			rest = append(rest, h.name)
		}
	}
	rec.must(rest...)
	faults := dns.failures()
	epoch := s.status().Epoch
	lost.link(t, "down")
	eventually(t, 30*time.Second, "its members are gone", func() bool {
		for _, role := range []subjects.Role{subjects.EventServer, subjects.Manager, subjects.DNSManager, subjects.SIPProxy} {
			if s.status().Member(role, subjects.NodeID(lost.name)) != nil {
				return false
			}
		}
		return s.serving(rest...)
	})
	if got := lost.addresses(t, s.DNS[i], "proxy."+s.domain+"."); len(got) != len(s.hosts) {
		t.Errorf("the name server of the host that is cut off answers %v", got)
	}
	if s.status().Epoch != epoch {
		t.Errorf("the manager changed from epoch %d to %d", epoch, s.status().Epoch)
	}
	lost.link(t, "up")
	eventually(t, 60*time.Second, "its members are back", func() bool { return s.serving("host1", "host2", "host3") })
	s.settle(t)
	s.brokersAreOneCluster(t)
	eventually(t, 20*time.Second, "all name servers answer with all", func() bool { return dns.everywhere("host1", "host2", "host3") })
	for _, f := range dns.failures()[len(faults):] {
		if !strings.Contains(f, " "+s.DNS[i]+" ") {
			t.Errorf("a name server elsewhere failed: %s", f)
		}
	}
	dns.forget(s.DNS[i])
}
