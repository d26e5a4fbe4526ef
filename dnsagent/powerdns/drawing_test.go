package powerdns_test

import (
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"thor/dnsagent/powerdns"
	"thor/dnsagent/powerdns/plan"
	"thor/dnsagent/zone"
	"thor/provisioning/store/mariadbtest"
	"thor/subjects"
)

func TestSlicesAreRotated(t *testing.T) {
	d := newDatabase(t, mariadbtest.Shared(t))
	p := startPDNS(t, d)
	w := run(t, d, func(c *powerdns.Config) { beside(p)(c); c.Mode = plan.Rotate })
	n := newNetwork(t, func(c *zone.Config) { c.TTL.Role = time.Second })
	populate(n, 12)
	z := n.zone()
	w.Offer(z, true)
	seen := make(map[string]bool)
	eventually(t, "all members are shown in the course of time", func() error {
		r, err := p.ask("proxy.example.net", 1)
		if err != nil {
			return err
		}
		if len(r.Answer) != 4 && r.Rcode == 0 {
			return fmt.Errorf("%d records", len(r.Answer))
		}
		for _, rr := range r.Answer {
			seen[rr.String()] = true
		}
		if len(seen) < 8 {
			return fmt.Errorf("%d of 12", len(seen))
		}
		return nil
	})
	if err := p.has(z.Serial()); err != nil {
		t.Errorf("rotation alone changed the serial: %v", err)
	}
}

// Where PowerDNS does not run LUA records, slices are rotated until it does.
func TestWithoutLuaSlicesAreRotated(t *testing.T) {
	d := newDatabase(t, mariadbtest.Shared(t))
	p := startPDNS(t, d)
	without := withoutLua(t, p)
	w := run(t, d, func(c *powerdns.Config) { c.Control, c.Server = p.socket(), without.addr })
	n := newNetwork(t, nil)
	populate(n, 12)
	z := n.zone()
	w.Offer(z, true)
	rows := func(want bool) {
		t.Helper()
		eventually(t, fmt.Sprintf("rows with LUA: %v", want), func() error {
			if got := d.rows("SELECT COUNT(*) FROM records WHERE type = 'LUA' AND name = 'proxy.example.net'") != "0"; got != want {
				return fmt.Errorf("%v", got)
			}
			return nil
		})
		eventually(t, "all answers are of the zone", func() error { return allowed(p, z) })
	}
	rows(false)
	if !strings.Contains(w.log.String(), "does not run LUA records") {
		t.Error("it is not told")
	}
	without.lua.Store(true)
	rows(true)
}

// A front is a name server before a PowerDNS that runs no LUA records, until lua says so.
type front struct {
	addr netip.AddrPort
	lua  atomic.Bool
}

func withoutLua(t testing.TB, p *pdns) *front {
	t.Helper()
	f := &front{}
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.addr = c.LocalAddr().(*net.UDPAddr).AddrPort()
	s := &dns.Server{PacketConn: c, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		r, err := p.ask(q.Question[0].Name, q.Question[0].Qtype)
		if err != nil || strings.HasPrefix(q.Question[0].Name, "_lua.") && !f.lua.Load() {
			r = new(dns.Msg)
		}
		r.SetRcode(q, r.Rcode)
		r.Authoritative = true
		_ = w.WriteMsg(r)
	})}
	go func() { _ = s.ActivateAndServe() }()
	t.Cleanup(func() { _ = s.Shutdown() })
	return f
}

// An operator who forbids LUA records for the zone is obeyed.
func TestForbiddenLuaIsLeftOut(t *testing.T) {
	d := newDatabase(t, mariadbtest.Shared(t))
	d.exec("INSERT INTO domains (name, type) VALUES ('example.net', 'NATIVE'); INSERT INTO domainmetadata (domain_id, kind, content) VALUES (1, 'ENABLE-LUA-RECORDS', '0')")
	p := startPDNS(t, d)
	w := run(t, d, beside(p))
	n := newNetwork(t, nil)
	populate(n, 12)
	z := n.zone()
	w.Offer(z, true)
	eventually(t, "all answers are of the zone", func() error { return allowed(p, z) })
	if got := d.rows("SELECT content FROM domainmetadata WHERE kind = 'ENABLE-LUA-RECORDS'"); got != "0" {
		t.Errorf("the metadata became %s", got)
	}
}

// The order of names for DNSSEC is the one that PowerDNS would make.
func TestOrderIsThatOfRectify(t *testing.T) {
	d := newDatabase(t, mariadbtest.Shared(t))
	p := startPDNS(t, d)
	for _, how := range []string{"", "1 0 3 aabb", "1 0 0 -"} {
		t.Run(how, func(t *testing.T) {
			d.exec("DELETE FROM records; DELETE FROM comments; DELETE FROM domainmetadata; DELETE FROM domains; DELETE FROM cryptokeys")
			w := run(t, d, beside(p))
			n := newNetwork(t, nil)
			populate(n, 5)
			z := n.zone()
			w.Offer(z, true)
			eventually(t, "the zone is there", func() error { return p.has(z.Serial()) })
			p.util("secure-zone", "example.net")
			if how != "" {
				p.util("set-nsec3", "example.net", how)
			}
			const orders = "SELECT name, ordername FROM records WHERE type IS NOT NULL AND type <> '' ORDER BY name, type, content"
			w.stop()
			w = run(t, d, beside(p))
			n.put(subjects.SIPProxy, "p100", 0, "192.0.2.200")
			z = n.zone()
			w.Offer(z, true)
			eventually(t, "the next zone is written", func() error { return p.has(z.Serial()) })
			w.stop()
			own := d.rows(orders)
			p.util("rectify-zone", "example.net")
			if theirs := d.rows(orders); own != theirs {
				t.Errorf("ours\n%s\nPowerDNS':\n%s", own, theirs)
			}
		})
	}
}

// util runs pdnsutil.
func (p *pdns) util(args ...string) {
	p.t.Helper()
	if out, err := exec.Command("/usr/bin/pdnsutil", append([]string{"--config-dir=" + p.dir}, args...)...).CombinedOutput(); err != nil {
		p.t.Fatalf("pdnsutil %v: %v: %s", args, err, out)
	}
}
