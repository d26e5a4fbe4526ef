package zone_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/miekg/dns"

	"thor/dnsagent/zone"
	"thor/overlay/lookup"
	"thor/subjects"
)

// change makes the next status of a network: one of everything that a zone is made of.
func change(r *rand.Rand, s *subjects.Status) *subjects.Status {
	n := s.Clone()
	n.Generation++
	roles := []subjects.Role{subjects.SIPProxy, subjects.MediaRelay, subjects.DNSManager, "chat_room", "n3"} // the last one is named as a node
	role := roles[r.IntN(len(roles))]
	node := fmt.Sprintf("n%d", r.IntN(12))
	m := member(node, fmt.Sprintf("192.0.2.%d", 1+r.IntN(20)))
	m.Weight = r.IntN(3)
	if r.IntN(3) == 0 {
		m.Addresses = append(m.Addresses, member(node, fmt.Sprintf("2001:db8::%d", 1+r.IntN(5))).Addresses...)
	}
	if r.IntN(5) == 0 {
		m.State = subjects.Draining
	}
	switch r.IntN(10) {
	case 0, 1, 2:
		n.Remove(role, subjects.NodeID(node))
	case 3:
		n.Departed = []subjects.Departed{{Node: subjects.NodeID(node), Addresses: m.Addresses, Until: time.Unix(1, 0)}}
	case 4:
		n.Departed = nil
	case 5:
		n.Lookup = map[subjects.Role]subjects.Lookup{role: {Bits: lookup.MinBits + r.IntN(3)}}
	case 6:
		m.Addresses = member(node, "192.0.2.1").Addresses // as others have in other roles
		for _, role := range roles[:4] {
			n.Put(role, m)
		}
	case 7: // another one with the same port, weight and address
		if ms := n.Roles[role]; len(ms) > 0 {
			m = ms[0]
			n.Remove(role, m.Node)
			m.Node += "x"
			n.Put(role, m)
		}
	default:
		n.Put(role, m)
	}
	return n
}

// A zone that was built after another one is the same zone, with the same answers, as one that was built
// from nothing; and the one before is what it was.
func TestAZoneThatSharesWithTheOneBeforeIsTheSame(t *testing.T) {
	cfg := zone.DefaultConfig("example.net")
	cfg.Slice = 3
	cfg.Static = []string{"www CNAME proxy", "@ MX 10 n1", "@ MX 10 n2", "_x._tcp SRV 1 2 3 n3", "n5 TXT host", "n4 A 198.51.100.1"}
	b, err := zone.NewBuilder(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := rng()
	s := status(1)
	var prev *zone.Zone
	shared, before := 0, ""
	for range 600 {
		z, err := b.BuildAfter(prev, s)
		if err != nil {
			t.Fatal(err)
		}
		fresh, err := b.Build(s)
		if err != nil {
			t.Fatal(err)
		}
		if z.Text() != fresh.Text() || !reflect.DeepEqual(z.Names(), fresh.Names()) {
			t.Fatalf("after another one:\n%s\nfrom nothing:\n%s", z.Text(), fresh.Text())
		}
		if prev != nil && prev.Text() != before {
			t.Fatalf("a zone in use became\n%s\nwas\n%s", prev.Text(), before)
		}
		sameAnswers(t, z, fresh, r.Uint64())
		for _, name := range z.Names() {
			if prev != nil && z.Shares(name, prev) {
				shared++
			}
		}
		prev, before = z, z.Text()
		for range 1 + r.IntN(3) {
			s = change(r, s)
		}
	}
	if shared < 10*600 {
		t.Errorf("only %d names were shared", shared)
	}
}

// sameAnswers asks both zones for all their names, and some that are made when they are asked for.
func sameAnswers(t *testing.T, z, fresh *zone.Zone, seed uint64) {
	t.Helper()
	names := append([]string{"0.sip-proxy.lookup.example.net.", "_sip._udp.00.sip-proxy.lookup.example.net.", "proxy.all.example.net.", "chat-room.all.example.net.", "none.example.net."}, fresh.Names()...)
	var got, want zone.Answer
	for _, name := range names {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypeMX, dns.TypeNS} {
			z.Lookup(name, qtype, rand.New(rand.NewPCG(seed, 1)), &got)
			fresh.Lookup(name, qtype, rand.New(rand.NewPCG(seed, 1)), &want)
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("%s %s: %v, from nothing %v", name, dns.Type(qtype), got, want)
			}
		}
	}
}
