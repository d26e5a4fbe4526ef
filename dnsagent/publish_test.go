package dnsagent

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"thor/dnsagent/dnssec"
	"thor/dnsagent/zone"
	"thor/subjects"
)

// fiveRoles are those of the members of large.
var fiveRoles = []subjects.Role{subjects.SIPProxy, subjects.MediaRelay, subjects.XCAPServer, "chat_room", "web"}

// large is a network of n members, each with five roles.
func large(n int) *subjects.Status {
	st := &subjects.Status{V: 1, Domain: "sipthor.net", Epoch: 1, Generation: 1}
	for _, r := range fiveRoles {
		for i := range n {
			m := subjects.Member{Node: subjects.NodeID(fmt.Sprintf("m%04d", i)), State: subjects.Up}
			m.Addresses = append(m.Addresses, addr4(10, 9, byte(i/250), byte(1+i%250)))
			st.Put(r, m)
		}
	}
	return st
}

// without is st, one generation later, without a member of some roles.
func without(st *subjects.Status, node subjects.NodeID, roles ...subjects.Role) *subjects.Status {
	out := st.Clone()
	out.Generation++
	for _, r := range roles {
		out.Remove(r, node)
	}
	return out
}

// publishings are the kinds that are measured.
var publishings = []struct {
	what   string
	change []subjects.Role // of one member that comes or goes; nil: all is made from nothing
}{
	{"from nothing", nil},
	{"one member in one role", fiveRoles[:1]},
	{"one member in five roles", fiveRoles},
}

// BenchmarkPublish1000MembersOf5Roles is what a name server does with a new status: zone, signatures and
// packed answers, made from nothing, or after a member came or went in one role or in all five of
// them. The time of the processor, on all cores, is told beside the time that passed.
func BenchmarkPublish1000MembersOf5Roles(b *testing.B) {
	st := large(1000)
	builder, err := zone.NewBuilder(zone.DefaultConfig("sipthor.net"))
	if err != nil {
		b.Fatal(err)
	}
	var cfg Config
	withKeys(b, 1)(&cfg)
	keys, err := ReadKeys(cfg.KeyFile)
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range publishings {
		for what, k := range map[string]*dnssec.Keys{"unsigned": nil, "signed": keys} {
			b.Run(c.what+"/"+what, func(b *testing.B) {
				var now *served
				before, turn := processorTime(b), []*subjects.Status{st, without(st, "m0500", c.change...)}
				for i := 0; b.Loop(); i++ {
					now = publishing(b, builder, k, now, turn[i%2])
					if c.change == nil {
						now = nil
					}
				}
				b.ReportMetric(float64((processorTime(b)-before).Microseconds())/1000/float64(b.N), "cpu-ms/op")
			})
		}
	}
}

// publishing is what follows a status.
func publishing(t testing.TB, builder *zone.Builder, keys *dnssec.Keys, prev *served, st *subjects.Status) *served {
	t.Helper()
	var z *zone.Zone
	if prev != nil {
		z = prev.zone
	}
	z, err := builder.BuildAfter(z, st)
	if err != nil {
		t.Fatal(err)
	}
	return newServed(z, keys, nil, prev)
}

// processorTime is what this process has used.
func processorTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// After each of many changes the packed answers are those of the general path, with what was packed and
// signed before; and what did not change keeps its signatures.
func TestPackedAnswersAreRightAfterChanges(t *testing.T) {
	for what, change := range map[string]func(*Config){"unsigned": func(*Config) {}, "signed": withKeys(t, 1)} {
		t.Run(what, func(t *testing.T) {
			p := bothPaths(t, 1232, change)
			a := p.quick.agent
			st, seed := manyProxies(t, 30), uint64(0)
			keys := a.files.Load().zoneKeys
			for step := range 20 {
				switch step % 4 {
				case 0:
					st = without(st, subjects.NodeID(fmt.Sprintf("more%03d", step)), subjects.SIPProxy)
				case 1: // another address, which its role and its host have
					st = without(st, "")
					m := *st.Member(subjects.SIPProxy, "node01")
					m.Addresses = append(slices.Clip(m.Addresses), addr4(10, 7, 7, byte(step)))
					st.Put(subjects.SIPProxy, m)
				case 2:
					st = without(st, "node02", fiveRoles...)
				case 3:
					st = without(st, "")
					for _, m := range network2009(t).Roles[subjects.SIPProxy] {
						st.Put(subjects.SIPProxy, m)
					}
				}
				a.mu.Lock()
				a.publish(publishing(t, a.builder, keys, a.served.Load(), st).zone)
				a.mu.Unlock()
				p.zone = a.served.Load().packed
				for _, name := range differentNames {
					for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypeNAPTR, dns.TypeSOA, dns.TypeMX, dns.TypeNS} {
						seed++
						p.compare(t, packet(0, [4]uint16{1, 0, 0, 1}, question(name, qtype, dns.ClassINET), opt(1232, 0, 0x8000)), seed)
					}
				}
			}
		})
	}
}

func TestSignaturesOfWhatDidNotChangeAreKept(t *testing.T) {
	p := bothPaths(t, 1232, withKeys(t, 1))
	a, r := p.general.agent, p.general
	st := manyProxies(t, 30)
	signature := func(name string, qtype uint16) string {
		request := packet(0, [4]uint16{1, 0, 0, 1}, question(name, qtype, dns.ClassINET), opt(1232, 0, 0x8000))
		for _, rr := range parsed(t, r.respond(request)).Answer {
			if sig, ok := rr.(*dns.RRSIG); ok {
				return sig.Signature
			}
		}
		t.Fatalf("%s %s has no signature", name, dns.Type(qtype))
		return ""
	}
	r.client = addr4(192, 0, 2, 1)
	ask := func() (host, keys, soa string) {
		r.at(testTime)
		return signature("node01.sipthor.net", dns.TypeA), signature("sipthor.net", dns.TypeDNSKEY), signature("sipthor.net", dns.TypeSOA)
	}
	publish := func(st *subjects.Status, keys *dnssec.Keys) {
		a.served.Store(publishing(t, a.builder, keys, a.served.Load(), st))
	}
	keys := a.files.Load().zoneKeys
	publish(st, keys)
	host, set, soa := ask()
	publish(without(st, "more003", subjects.SIPProxy), keys)
	host2, set2, soa2 := ask()
	if host2 != host || set2 != set || soa2 == soa {
		t.Errorf("host kept: %v, keys kept: %v, SOA kept: %v", host2 == host, set2 == set, soa2 == soa)
	}
	var cfg Config
	withKeys(t, 1)(&cfg)
	others, err := ReadKeys(cfg.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	publish(st, others)
	if host3, _, _ := ask(); host3 == host {
		t.Error("a signature by a key that is not in use any more")
	}
}
