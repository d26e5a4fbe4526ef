package plan_test

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"thor/dnsagent/powerdns/plan"
	"thor/dnsagent/zone"
	"thor/subjects"
)

// build makes the zone of a network with so many proxies.
func build(t testing.TB, domain string, proxies int, weight func(i int) int, static ...string) *zone.Zone {
	t.Helper()
	s := &subjects.Status{V: subjects.Version, Domain: domain, Epoch: 1, Generation: 7}
	for i := range proxies {
		s.Put(subjects.SIPProxy, subjects.Member{
			Node: subjects.NodeID(fmt.Sprintf("p%04d", i)), State: subjects.Up, Weight: weight(i),
			Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 14: byte(i >> 8), 15: byte(i)})},
		})
	}
	cfg := zone.DefaultConfig(domain)
	cfg.Static = static
	z, err := zone.Build(cfg, s)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func even(int) int { return 100 }

// of are the rows of one name and type, as texts.
func of(s *plan.Set, name, kind string) (out []string) {
	for _, r := range s.Rows {
		if r.Name == name && r.Type == kind {
			out = append(out, fmt.Sprintf("%d %d %s", r.TTL, r.Prio, r.Content))
		}
	}
	return out
}

func TestRowsAreOfTheFormThatPowerDNSReads(t *testing.T) {
	z := build(t, "example.net", 1, even, "@ MX 10 mail", "mail A 192.0.2.25", "www CNAME proxy", `@ TXT "a \" b"`, "null MX 0 .")
	s := plan.Rows(z, plan.Lua, 1)
	for _, c := range []struct{ name, kind, want string }{
		{"example.net", "SOA", "3600 0 example.net hostmaster.example.net 7 14400 3600 604800 10"},
		{"example.net", "MX", "300 10 mail.example.net"},
		{"example.net", "TXT", `300 0 "a \" b"`},
		{"example.net", "NAPTR", `300 0 10 100 "s" "SIPS+D2T" "" _sips._tcp.example.net.`},
		{"null.example.net", "MX", "300 0 ."},
		{"www.example.net", "CNAME", "300 0 proxy.example.net"},
		{"_sip._udp.example.net", "SRV", "10 10 100 5060 p0000.example.net"},
		{"proxy.example.net", "A", "10 0 10.0.0.0"},
		{"p0000.example.net", "AAAA", "60 0 2001:db8::"},
		{"_udp.example.net", "", "0 0 "},
		{"relay.example.net", "", "0 0 "},
	} {
		if got := of(s, c.name, c.kind); len(got) == 0 || got[0] != c.want {
			t.Errorf("%s %s: %q, want %q", c.name, c.kind, got, c.want)
		}
	}
	if len(s.LeftOut) > 0 || s.Redraw != 0 {
		t.Errorf("left out %v, redraw %v", s.LeftOut, s.Redraw)
	}
}

func TestLargerSetsAreDrawnByPowerDNSOrRotated(t *testing.T) {
	z := build(t, "example.net", 9, even)
	lua := plan.Rows(z, plan.Lua, 1)
	got := of(lua, "proxy.example.net", "LUA")
	if len(got) != 2 || !strings.HasPrefix(got[0], `10 0 A ";local a={'10.0.0.0','10.0.0.1',`) || !strings.Contains(got[0], "for i=1,4 do") {
		t.Errorf("%q", got)
	}
	if srv := of(lua, "_sip._udp.example.net", "LUA"); len(srv) != 1 || !strings.Contains(srv[0], "'10 100 5060 p0008.example.net.'") {
		t.Errorf("%q", srv)
	}
	if lua.Redraw != 0 || len(of(lua, "proxy.example.net", "A")) > 0 {
		t.Errorf("redraw %v", lua.Redraw)
	}
	seen := make(map[string]bool)
	for seed := range uint64(50) {
		s := plan.Rows(z, plan.Rotate, seed)
		a := of(s, "proxy.example.net", "A")
		if len(a) != 4 || len(of(s, "_sip._udp.example.net", "SRV")) != 4 || s.Redraw != 10*time.Second {
			t.Fatalf("rotated %q, redraw %v", a, s.Redraw)
		}
		if again := plan.Rows(z, plan.Rotate, seed); !slices.Equal(of(again, "proxy.example.net", "A"), a) {
			t.Fatalf("seed %d draws %q and %q", seed, a, of(again, "proxy.example.net", "A"))
		}
		for _, r := range a {
			seen[r] = true
		}
	}
	if len(seen) != 9 {
		t.Errorf("50 rotations show %d of 9 members", len(seen))
	}
}

var sums = regexp.MustCompile(`c=\{\[0\]=0,([0-9,]+)\}`)

func TestWeightsAreRunningSumsWithin32Bits(t *testing.T) {
	for name, weight := range map[string]func(i int) int{
		"small":  func(i int) int { return 1 + i%3 },
		"usual":  func(i int) int { return 50 + 100*(i%3) },
		"widest": func(i int) int { return []int{1, 65535}[i%2] },
	} {
		z := build(t, "example.net", 250, weight)
		content := of(plan.Rows(z, plan.Lua, 1), "proxy.example.net", "LUA")[0]
		m := sums.FindStringSubmatch(content)
		if m == nil {
			t.Fatalf("%s: no sums in %.300s", name, content)
		}
		last, shares := uint64(0), make(map[int]uint64)
		for i, f := range strings.Split(m[1], ",") {
			n, err := strconv.ParseUint(f, 10, 32)
			if err != nil || n <= last {
				t.Fatalf("%s: sum %d is %s after %d", name, i, f, last)
			}
			shares[weight(i)] = n - last
			last = n
		}
		lo, hi := weight(0), weight(1)
		if ratio, want := float64(shares[hi])/float64(shares[lo]), float64(hi)/float64(lo); ratio < want*0.99 || ratio > want*1.01 {
			t.Errorf("%s: shares %v", name, shares)
		}
	}
}

// A set of thousands does not fit a row: a part of it does, and another one later.
func TestAPartOfAVeryLargeSetIsInARow(t *testing.T) {
	z := build(t, "example.net", 2000, even)
	seen := make(map[string]bool)
	for seed := range uint64(60) {
		s := plan.Rows(z, plan.Lua, seed)
		if s.Redraw != 10*time.Second || len(s.LeftOut) > 0 {
			t.Fatalf("redraw %v, left out %v", s.Redraw, s.LeftOut)
		}
		for _, r := range s.Rows {
			if len(r.Content) > 32<<10 {
				t.Fatalf("%s %s: %d bytes", r.Name, r.Type, len(r.Content))
			}
		}
		members := strings.Split(of(s, "proxy.example.net", "LUA")[0], "'")
		if len(members) != 2*256+1 {
			t.Fatalf("%d members in the row", len(members)/2)
		}
		for _, m := range members {
			seen[m] = true
		}
	}
	if len(seen) < 1950 {
		t.Errorf("60 parts show %d of 2000 members", len(seen))
	}
}

// Names as long as they can be, with the longest node and role names.
func TestNamesAtTheirLimits(t *testing.T) {
	domain := strings.Repeat("d", 61) + "." + strings.Repeat("e", 60) + ".xx" // 125, the longest
	s := &subjects.Status{V: subjects.Version, Domain: domain, Epoch: 1, Generation: 7}
	role := subjects.Role("r" + strings.Repeat("o", 62))
	for i := range 300 {
		s.Put(role, subjects.Member{
			Node: subjects.NodeID(fmt.Sprintf("%s%03d", strings.Repeat("n", 60), i)), State: subjects.Up,
			Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})},
		})
	}
	cfg := zone.DefaultConfig(domain)
	cfg.Services = []zone.Service{{Role: role, Host: strings.Repeat("h", 63), SRV: []zone.SRV{{Name: "_" + strings.Repeat("s", 62) + "._" + strings.Repeat("p", 62), Port: 65535}}}}
	// 4 characters for each byte, as a zone file writes it.
	cfg.Static = []string{strings.Repeat(`\001`, 60) + "." + strings.Repeat(`\002`, 50) + " TXT x"}
	z, err := zone.Build(cfg, s)
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []plan.Mode{plan.Lua, plan.Rotate} {
		set := plan.Rows(z, mode, 1)
		for _, r := range set.Rows {
			if len(r.Name) > 255 || len(r.Content) > 64000 || len(r.Type) > 10 {
				t.Errorf("a row of %d, %d and %d characters", len(r.Name), len(r.Type), len(r.Content))
			}
		}
		if len(set.LeftOut) != 1 || set.LeftOut[0].Type != "TXT" || !strings.Contains(set.LeftOut[0].Why, "255 fit") {
			t.Errorf("left out: %+v", set.LeftOut)
		}
	}
}

// A status names members. Whatever their names are, PowerDNS runs no code of theirs.
func TestNamesOfMembersAreNoCode(t *testing.T) {
	s := &subjects.Status{V: subjects.Version, Domain: "example.net", Epoch: 1, Generation: 7}
	for _, node := range []string{"p1", "p2", "x'}os.execute('id')--", `x"y`, "x\\y", "x\ny", "x]]y"} {
		s.Put(subjects.SIPProxy, subjects.Member{Node: subjects.NodeID(node), State: subjects.Up, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}})
	}
	z, err := zone.Build(zone.DefaultConfig("example.net"), s)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range plan.Rows(z, plan.Lua, 1).Rows {
		if r.Type != "LUA" {
			continue
		}
		list, _, _ := strings.Cut(strings.TrimPrefix(r.Content, `SRV ";local a={`), "}")
		if want := []string{"'10 100 506X p1.example.net.'", "'10 100 506X p2.example.net.'"}; !slices.Equal(strings.Split(regexp.MustCompile("506[01]").ReplaceAllString(list, "506X"), ","), want) {
			t.Errorf("%s: %s", r.Name, r.Content)
		}
	}
}
