package zone_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"thor/dnsagent/zone"
	"thor/subjects"
)

// tally asks n times and counts in how many answers each record stood, and how
// often it came first.
func tally(t *testing.T, z *zone.Zone, name string, qtype uint16, n int) (in, first map[string]int) {
	t.Helper()
	in, first = make(map[string]int), make(map[string]int)
	r := rng()
	var a zone.Answer
	for range n {
		z.Lookup(name, qtype, r, &a)
		for i, rr := range a.Answer {
			k := strings.TrimPrefix(rr.String(), rr.Header().String())
			in[k]++
			if i == 0 {
				first[k]++
			}
		}
	}
	return in, first
}

// chiSquare is Pearson's statistic of counts that should all be equal, and the
// bound it keeps with probability 0.99 (Wilson-Hilferty).
func chiSquare(counts map[string]int, members int) (x, bound float64) {
	sum := 0
	for _, c := range counts {
		sum += c
	}
	want := float64(sum) / float64(members)
	for _, c := range counts {
		x += (float64(c) - want) * (float64(c) - want) / want
	}
	x += want * float64(members-len(counts))
	df := float64(members - 1)
	h := 1 - 2/(9*df) + 2.326*math.Sqrt(2/(9*df))
	return x, df * h * h * h
}

func proxies(n int, weight func(i int) int) *subjects.Status {
	s := status(1)
	for i := range n {
		m := member(fmt.Sprintf("n%03d", i), fmt.Sprintf("10.0.%d.%d", i/250, 1+i%250))
		m.Weight = weight(i)
		s.Put(subjects.SIPProxy, m)
	}
	return s
}

func TestSliceOfEqualMembersIsUniform(t *testing.T) {
	z := build(t, zone.DefaultConfig("example.net"), proxies(200, func(int) int { return 50 }))
	for _, q := range []struct {
		name  string
		qtype uint16
	}{{"proxy.example.net.", dns.TypeA}, {"_sip._udp.example.net.", dns.TypeSRV}} {
		const n = 100_000
		in, first := tally(t, z, q.name, q.qtype, n)
		for what, counts := range map[string]map[string]int{"membership": in, "first place": first} {
			if x, bound := chiSquare(counts, 200); x > bound {
				t.Errorf("%s %s: chi-square %.1f > %.1f: not uniform", q.name, what, x, bound)
			}
		}
		var all []int
		for _, c := range in {
			all = append(all, c)
		}
		if lo, hi := slices.Min(all), slices.Max(all); float64(hi)/float64(lo) > 1.2 {
			t.Errorf("%s: between %d and %d of %d answers, want at most 1.2 apart", q.name, lo, hi, n)
		}
	}
}

func TestEveryPairOfASmallRoleIsEquallyLikely(t *testing.T) {
	cfg := zone.DefaultConfig("example.net")
	cfg.Slices = map[subjects.Role]int{subjects.SIPProxy: 2}
	z := build(t, cfg, proxies(5, func(int) int { return 0 }))
	pairs := make(map[string]int)
	r := rng()
	var a zone.Answer
	for range 20_000 {
		z.Lookup("proxy.example.net.", dns.TypeA, r, &a)
		pairs[fmt.Sprint(a.Answer[0].(*dns.A).A, a.Answer[1].(*dns.A).A)]++
	}
	if x, bound := chiSquare(pairs, 20); x > bound {
		t.Errorf("chi-square %.1f > %.1f over ordered pairs: %v", x, bound, pairs)
	}
}

func TestFirstRecordIsDrawnByWeight(t *testing.T) {
	s := proxies(10, func(i int) int { return 100 * (1 + i) }) // 100, 200, … 1000
	two := member("n009", "10.0.0.10 10.0.1.10")               // two addresses share its weight
	two.Weight = 1000
	s.Put(subjects.SIPProxy, two)
	z := build(t, zone.DefaultConfig("example.net"), s)
	const n = 100_000
	_, first := tally(t, z, "proxy.example.net.", dns.TypeA, n)
	first["10.0.0.10"] += first["10.0.1.10"]
	var x float64
	for i := range 10 {
		want := float64(n) * float64(1+i) / 55
		d := float64(first[fmt.Sprintf("10.0.0.%d", 1+i)]) - want
		x += d * d / want
	}
	if x > 21.67 { // 9 degrees of freedom, p = 0.01
		t.Errorf("chi-square %.1f: first places %v are not as the weights", x, first)
	}
}

func TestVeryUnequalWeightsStillFillTheSlice(t *testing.T) {
	z := build(t, zone.DefaultConfig("example.net"), proxies(9, func(i int) int { return 1 + 65534*(i/8) }))
	in, first := tally(t, z, "proxy.example.net.", dns.TypeA, 4000)
	if first["10.0.0.9"] < 3990 {
		t.Errorf("the heavy member came first in %d of 4000", first["10.0.0.9"])
	}
	delete(in, "10.0.0.9")
	if x, bound := chiSquare(in, 8); x > bound {
		t.Errorf("chi-square %.1f > %.1f: the light ones are not drawn evenly: %v", x, bound, in)
	}
}

func TestWeightsCountOnce(t *testing.T) {
	weights := func(n int) map[string]bool {
		z := build(t, zone.DefaultConfig("example.net"), proxies(n, func(i int) int { return 10 * (1 + i) }))
		seen := make(map[string]bool)
		for range 50 {
			for _, rr := range ask(t, z, "_sip._udp.example.net", "SRV").Answer {
				seen[fmt.Sprint(rr.(*dns.SRV).Weight)] = true
			}
		}
		return seen
	}
	if got := weights(4); len(got) != 4 || !got["10"] || !got["40"] {
		t.Errorf("all fit: weights %v, want those of the members", got)
	}
	if got := weights(5); len(got) != 1 || !got["100"] {
		t.Errorf("drawn by weight: weights %v, want the same for all", got)
	}
}

func TestGlueIsOfTheChosenTargetsOnly(t *testing.T) {
	s := proxies(50, func(int) int { return 1 })
	for i, m := range s.Roles[subjects.SIPProxy] {
		m.Addresses = append(m.Addresses, member("x", fmt.Sprintf("2001:db8::%x", i+1)).Addresses...)
		s.Put(subjects.SIPProxy, m)
	}
	z := build(t, zone.DefaultConfig("example.net"), s)
	r := rng()
	var a zone.Answer
	for range 200 {
		z.Lookup("_sip._tcp.example.net.", dns.TypeSRV, r, &a)
		var targets, glue []string
		for _, rr := range a.Answer {
			targets = append(targets, rr.(*dns.SRV).Target)
		}
		for i := 0; i < len(a.Additional); i += 2 {
			if a.Additional[i].Header().Rrtype != dns.TypeA || a.Additional[i+1].Header().Rrtype != dns.TypeAAAA ||
				a.Additional[i].Header().Name != a.Additional[i+1].Header().Name {
				t.Fatalf("glue is not set after set: %v", a.Additional)
			}
			glue = append(glue, a.Additional[i].Header().Name)
		}
		if !slices.Equal(targets, glue) || len(targets) != 4 {
			t.Fatalf("targets %q, glue of %q", targets, glue)
		}
	}
}

func TestSliceSizeIsConfiguredPerRole(t *testing.T) {
	cfg := zone.DefaultConfig("example.net")
	cfg.Slice = 2
	cfg.Slices = map[subjects.Role]int{"chat_room": 8, subjects.SIPProxy: 1}
	s := proxies(20, func(int) int { return 0 })
	s.Roles["chat_room"] = s.Roles[subjects.SIPProxy]
	s.Roles[subjects.MediaRelay] = s.Roles[subjects.SIPProxy]
	z := build(t, cfg, s)
	for name, want := range map[string]int{"proxy": 1, "chat-room": 8, "relay": 2} {
		if a := ask(t, z, name+".example.net", "A"); len(a.Answer) != want {
			t.Errorf("%s: %d records, want %d", name, len(a.Answer), want)
		}
	}
}

func BenchmarkBuild1000MembersOf5Roles(b *testing.B) {
	s := status(1)
	for i := range 1000 {
		m := member(fmt.Sprintf("n%04d", i), fmt.Sprintf("10.0.%d.%d", i/250, 1+i%250))
		for _, r := range []subjects.Role{subjects.SIPProxy, subjects.MediaRelay, subjects.XCAPServer, "chat_room", "web"} {
			s.Put(r, m)
		}
	}
	builder, err := zone.NewBuilder(zone.DefaultConfig("example.net"))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := builder.Build(s); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLookupSRV4Of200(b *testing.B) {
	z := build(b, zone.DefaultConfig("example.net"), proxies(200, func(int) int { return 0 }))
	r := rng()
	var a zone.Answer
	b.ReportAllocs()
	for b.Loop() {
		z.Lookup("_sip._udp.example.net.", dns.TypeSRV, r, &a)
	}
}
