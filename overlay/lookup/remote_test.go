package lookup_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"thor/overlay/lookup"
	"thor/subjects"
)

// sited gives the members the sites in turn.
func sited(ms []lookup.Member, sites ...subjects.Site) []lookup.Member {
	ms = slices.Clone(ms)
	for i := range ms {
		ms[i].Site = sites[i%len(sites)]
	}
	return ms
}

// siteOf finds the site of a member by name.
func siteOf(ms []lookup.Member) map[subjects.NodeID]subjects.Site {
	out := make(map[subjects.NodeID]subjects.Site)
	for _, m := range ms {
		out[m.Node] = m.Site
	}
	return out
}

// ranked are the members with slots in the order of their rank in slot, by the
// definition: the owners of the tables without those before them.
func ranked(t *testing.T, bits int, slot uint32, ms []lookup.Member) (order []subjects.NodeID) {
	t.Helper()
	ms = slices.Clone(ms)
	for {
		r, err := lookup.NewRoster(bits, ms)
		if err != nil {
			t.Fatal(err)
		}
		owner, _, _, err := r.At(slot)
		if err != nil {
			return order
		}
		order = append(order, owner)
		ms = slices.DeleteFunc(ms, func(m lookup.Member) bool { return m.Node == owner })
	}
}

func TestTheRemoteIsTheFirstInRankInAnotherSite(t *testing.T) {
	for name, ms := range map[string][]lookup.Member{
		"three sites":           sited(setA(15), "ams", "fra", "par"),
		"equal weights":         sited(setB(12), "ams", "fra"),
		"some without":          sited(setA(12), "ams", "", "fra", ""),
		"one elsewhere":         sited(setB(9), "ams", "ams", "ams", "ams", "fra", "ams", "ams", "ams", "ams"),
		"a site for each":       sited(setA(5), "a", "b", "c", "d", "e"),
		"lonely in its weight":  sited(set(6, 1, 100, 65535), "b", "a", "a", "a"),
		"the second has no one": sited(setB(3), "ams", "", "fra"),
	} {
		tab, site := table(t, 10, ms), siteOf(ms)
		for s := range uint32(300) {
			p, _ := tab.At(s)
			order := ranked(t, 10, s, ms)
			i := slices.IndexFunc(order, func(n subjects.NodeID) bool { return site[n] != "" && site[n] != site[order[0]] })
			if p.Owner() != order[0] || p.Heir() != order[1] || p.Remote() != order[i] {
				t.Fatalf("%s: slot %d: %+v, the order is %v", name, s, namesOf(p), order)
			}
			if hs := p.Heirs(); hs[0] != p.Heir() || !p.Inherits(p.Remote()) || !p.Holds(p.Remote()) || !slices.Contains(p.Holders(), p.Remote()) ||
				len(hs) != len(slices.Compact([]subjects.NodeID{p.Heir(), p.Remote()})) {
				t.Fatalf("%s: slot %d: heirs %v, holders %v", name, s, hs, p.Holders())
			}
		}
	}
}

// Without two sites nothing is another than before.
func TestWithoutTwoSitesThereAreNoRemotes(t *testing.T) {
	plain := table(t, 10, setA(10))
	drained := sited(setA(10), "ams")
	drained[3].Site, drained[3].Draining = "fra", true // its site has no member that takes slots
	for name, ms := range map[string][]lookup.Member{"none": setA(10), "one": sited(setA(10), "ams"), "one and none": sited(setA(10), "ams", ""), "draining": drained} {
		tab := table(t, 10, ms)
		p, _ := tab.At(5)
		if tab.RemoteDigest() != "" || p.Remote() != "" || len(p.Heirs()) != 1 || p.Inherits("") || p.Holds("") || name != "draining" && tab.Digest() != plain.Digest() {
			t.Errorf("%s: %q, %+v", name, tab.RemoteDigest(), namesOf(p))
		}
	}
	if tab, err := plain.Update(sited(setA(10), "ams")); err != nil || tab != plain {
		t.Errorf("the first site makes another table: %v", err)
	}
	empty := sited(setB(3), "ams", "fra")
	for i := range empty {
		empty[i].Weight = 0
	}
	if tab := table(t, 10, empty); tab.RemoteDigest() != "" {
		t.Errorf("no members: %q", tab.RemoteDigest())
	}
	if p := (lookup.Assignment{}); p.Remote() != "" || len(p.Heirs()) != 0 || len(p.Holders()) != 0 {
		t.Errorf("no key: %v %v", p.Heirs(), p.Holders())
	}
}

// The sites are of the second digest alone.
func TestSitesLeaveTheFirstDigestAlone(t *testing.T) {
	plain := table(t, 10, setA(10))
	seen := map[string]bool{"": true}
	for _, sites := range [][]subjects.Site{{"ams", "fra"}, {"fra", "ams"}, {"ams", "fra", ""}, {"ams", "fra", "par"}, {"amsfra", "x"}} {
		tab := table(t, 10, sited(setA(10), sites...))
		if tab.Digest() != plain.Digest() || seen[tab.RemoteDigest()] {
			t.Errorf("%v: %s, %s", sites, tab.Digest(), tab.RemoteDigest())
		}
		seen[tab.RemoteDigest()] = true
	}
}

// siteStep is step with sites, or a member that moves to another site.
func siteStep(rng *rand.Rand, ms []lookup.Member, max int) []lookup.Member {
	sites := []subjects.Site{"ams", "fra", "par", "", "lhr"}
	pick := func() subjects.Site { return sites[rng.IntN(1+rng.IntN(len(sites)))] }
	if len(ms) > 0 && rng.IntN(20) == 0 {
		ms = slices.Clone(ms)
		ms[rng.IntN(len(ms))].Site = pick()
		return ms
	}
	next, who := step(rng, ms, max)
	if i := slices.IndexFunc(next, func(m lookup.Member) bool { return m.Node == who }); i >= 0 && !slices.ContainsFunc(ms, func(m lookup.Member) bool { return m.Node == who }) {
		next[i].Site = pick()
	}
	return next
}

// A table that is kept up to date is the one built anew, remotes included.
func TestRemotesKeptUpToDateAreThoseBuiltAnew(t *testing.T) {
	withRemotes, kept := 0, 0
	for _, h := range []struct{ bits, members, steps int }{{10, 5, 1500}, {10, 25, 1500}, {10, 80, 400}, {12, 300, 60}} {
		rng := rand.New(rand.NewPCG(uint64(h.bits), uint64(h.members)))
		var ms []lookup.Member
		tab := table(t, h.bits, ms)
		for i := range h.steps {
			next := siteStep(rng, ms, h.members)
			if i == 0 {
				for range h.members {
					next = siteStep(rng, next, h.members)
				}
			}
			now, err := tab.Update(next)
			if err != nil {
				t.Fatal(err)
			}
			fresh := table(t, h.bits, next)
			if fresh.RemoteDigest() != now.RemoteDigest() || fresh.Digest() != now.Digest() || !sameAssignments(fresh, now) {
				t.Fatalf("%d members, step %d: %s updated, %s built anew", h.members, i, now.RemoteDigest(), fresh.RemoteDigest())
			}
			if !now.Same(next) || now != tab && tab.Same(next) {
				t.Fatalf("step %d: Same is wrong", i)
			}
			if now.RemoteDigest() != "" {
				withRemotes++
			}
			if now == tab {
				kept++
			}
			ms, tab = next, now
		}
	}
	if withRemotes < 2000 || kept == 0 {
		t.Errorf("%d steps with remotes, %d that changed nothing: the test says little", withRemotes, kept)
	}
}

// The figures (lookup that survives a building): of 100,000 keys every
// owner has its remote in another site; a site's loss moves its own keys alone, to
// the first in rank that is left, which is heir or remote unless both were lost.
func TestALostSiteMovesItsOwnKeysAlone(t *testing.T) {
	const keys = 100_000
	for name, ms := range map[string][]lookup.Member{
		"three sites, weights mixed": sited(setA(30), "ams", "fra", "par"),
		"two sites, one small":       sited(setB(30), "ams", "ams", "fra", "ams", "ams"),
		"ten sites":                  sited(setB(100), "a", "b", "c", "d", "e", "f", "g", "h", "i", "j"),
	} {
		tab, site := table(t, lookup.DefaultBits, ms), siteOf(ms)
		without := slices.DeleteFunc(slices.Clone(ms), func(m lookup.Member) bool { return m.Site == ms[0].Site })
		left, err := tab.Update(without)
		if err != nil {
			t.Fatal(err)
		}
		moved, beyond, same, known := 0, 0, 0, 0
		for i := range keys {
			k := fmt.Sprintf("user%d@example.net", i)
			a, err := tab.Find(k)
			if err != nil {
				t.Fatal(err)
			}
			b, err := left.Find(k)
			if err != nil {
				t.Fatal(err)
			}
			if site[a.Remote()] == site[a.Owner()] || a.Remote() == "" {
				same++
			}
			lost := site[a.Owner()] == ms[0].Site
			if a.Owner() == b.Owner() {
				if lost {
					t.Fatalf("%s: the owner of %s is lost", name, k)
				}
				continue
			}
			moved++
			if !lost {
				beyond++
			}
			if a.Inherits(b.Owner()) {
				known++
			}
		}
		t.Logf("%s: %d of %d keys moved, %d of them to heir or remote; %d beyond the site's; owner and remote in one site: %d", name, moved, keys, known, beyond, same)
		if beyond != 0 || same != 0 || known != moved || moved == 0 {
			t.Errorf("%s: %d keys moved, %d to heir or remote, %d beyond the site's; owner and remote in one site: %d", name, moved, known, beyond, same)
		}
	}
}

// FuzzRemote compares the update with the table built anew, and the roster.
func FuzzRemote(f *testing.F) {
	f.Add(uint64(1), uint64(2), 5, 9)
	f.Add(uint64(7), uint64(0), 40, 3)
	f.Fuzz(func(t *testing.T, a, b uint64, n, steps int) {
		rng := rand.New(rand.NewPCG(a, b))
		var ms []lookup.Member
		for range 3 * (1 + uint(n)%60) {
			ms = siteStep(rng, ms, int(1+uint(n)%60))
		}
		tab := table(t, 10, ms)
		for range 1 + uint(steps)%8 {
			ms = siteStep(rng, ms, int(1+uint(n)%60))
			var err error
			if tab, err = tab.Update(ms); err != nil {
				t.Fatal(err)
			}
		}
		fresh := table(t, 10, ms)
		if fresh.RemoteDigest() != tab.RemoteDigest() || !sameAssignments(fresh, tab) {
			t.Fatalf("%v: %s updated, %s built anew", ms, tab.RemoteDigest(), fresh.RemoteDigest())
		}
		r, err := lookup.NewRoster(10, ms)
		if err != nil {
			t.Fatal(err)
		}
		for s := range uint32(64) {
			p, _ := tab.At(s)
			owner, heir, remote, _ := r.At(s)
			if cmp.Or(p.Owner(), owner) != owner || p.Heir() != heir || p.Remote() != remote {
				t.Fatalf("slot %d: %+v, the roster has %s %s %s", s, namesOf(p), owner, heir, remote)
			}
		}
	})
}
