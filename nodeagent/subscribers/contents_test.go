package subscribers

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"thor/overlay/lookup"
	"thor/overlay/subscriber"
	"thor/subjects"
)

var t0 = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

func profile(key string, revision uint64) *subscriber.Profile {
	return &subscriber.Profile{V: 1, Key: key, Revision: revision, HA1: fmt.Sprintf("ha1-%d", revision)}
}

func gone(key string, revision uint64) *subscriber.Profile {
	return &subscriber.Profile{V: 1, Key: key, Revision: revision, Deleted: true, Served: true}
}

func small() *contents { return newContents("n1", 20, time.Minute, 10*time.Second) }

// tableOf is the lookup of these nodes, each at its site if it has one ("n1@ams"); a name
// that ends in "!" drains.
func tableOf(t testing.TB, nodes ...string) *table {
	t.Helper()
	out := &table{members: make(map[subjects.NodeID]bool)}
	var ms []lookup.Member
	for _, n := range nodes {
		name, drains := strings.CutSuffix(n, "!")
		name, site, _ := strings.Cut(name, "@")
		ms = append(ms, lookup.Member{Node: subjects.NodeID(name), Weight: 100, Draining: drains, Site: subjects.Site(site)})
		out.members[subjects.NodeID(name)] = true
	}
	var err error
	if out.lookup, err = lookup.New(lookup.MinBits, ms); err != nil {
		t.Fatal(err)
	}
	return out
}

func keys(n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("user%d@example.net", i))
	}
	return out
}

func TestAnOlderRevisionNeverReplacesANewerOne(t *testing.T) {
	const k = "a@example.net"
	for range 200 {
		s := small()
		var newest uint64
		for _, r := range rand.Perm(8) {
			p := profile(k, uint64(r+1))
			if r%3 == 0 {
				p = gone(k, uint64(r+1))
			}
			newest = max(newest, p.Revision)
			if took := s.put(p, s.seq, true, t0); took != (p.Revision == newest) {
				t.Fatalf("revision %d was taken: %v, newest is %d", p.Revision, took, newest)
			}
			e, ok := s.get(k, t0)
			if !ok || e.revision != newest || e.absent() != ((newest-1)%3 == 0) {
				t.Fatalf("held %d current %v absent %v, newest is %d", e.revision, ok, e.absent(), newest)
			}
		}
	}
}

func TestADeletionKeepsItsRevision(t *testing.T) {
	s := small()
	s.put(gone("a@b", 5), 0, true, t0)
	if s.put(profile("a@b", 4), 0, true, t0) {
		t.Error("an older profile replaced the deletion")
	}
	if e, ok := s.get("a@b", t0.Add(time.Hour)); !ok || !e.absent() {
		t.Error("the deletion is forgotten")
	}
	s.invalidateAll()
	s.put(gone("a@b", 0), s.seq, true, t0) // the database has forgotten it
	if e, ok := s.get("a@b", t0); !ok || !e.absent() || e.revision != 5 {
		t.Error("what is gone and forgotten is in doubt for ever")
	}
	s.put(profile("a@b", 6), 0, true, t0)
	if e, ok := s.get("a@b", t0); !ok || e.absent() || e.ha1 != "ha1-6" {
		t.Error("the key is not there again")
	}
}

// No notice tells that a domain is served now, or no more.
func TestAnAbsenceInAForeignDomainIsBelievedBriefly(t *testing.T) {
	s := small()
	g := gone("a@b", 5)
	g.Served = false
	s.put(g, 0, true, t0)
	if _, ok := s.get("a@b", t0.Add(9*time.Second)); !ok {
		t.Error("asked again at once")
	}
	if e, ok := s.get("a@b", t0.Add(10*time.Second)); ok || e.revision != 5 || e.served {
		t.Error("not asked again")
	}
	s.invalidateAll()
	s.put(gone("a@b", 0), s.seq, true, t0.Add(20*time.Second)) // forgotten, and the domain is served by now
	if e, ok := s.get("a@b", t0.Add(29*time.Second)); !ok || e.revision != 5 || !e.served {
		t.Error("the newer answer does not count")
	}
}

func TestWhatNeverWasIsBelievedBriefly(t *testing.T) {
	s := small()
	s.put(gone("a@b", 0), 0, true, t0)
	if _, ok := s.get("a@b", t0.Add(9*time.Second)); !ok {
		t.Error("asked again at once")
	}
	if _, ok := s.get("a@b", t0.Add(10*time.Second)); ok {
		t.Error("believed for ever")
	}
}

func TestTheLeastUsedMakesRoom(t *testing.T) {
	s := small()
	ks := keys(21)
	for _, k := range ks[:20] {
		s.put(profile(k, 1), 0, true, t0)
	}
	s.get(ks[0], t0)
	s.put(profile(ks[20], 1), 0, true, t0)
	if s.entries[ks[0]] == nil || s.entries[ks[1]] != nil || s.profiles.len != 20 || s.evicted != 1 {
		t.Errorf("held: %v", s.keys())
	}
}

func TestUnknownNamesEvictNoProfile(t *testing.T) {
	s := small()
	for _, k := range keys(20) {
		s.put(profile(k, 1), 0, true, t0)
	}
	for i := range 1000 {
		s.put(gone(fmt.Sprintf("scanner%d@example.net", i), 0), 0, true, t0)
	}
	if s.profiles.len != 20 || s.absences.len != 2 || len(s.entries) != 22 {
		t.Errorf("%d profiles, %d absences, %d entries", s.profiles.len, s.absences.len, len(s.entries))
	}
}

func TestDoubtEndsOnlyWithALaterQuestion(t *testing.T) {
	s := small()
	s.put(profile("a@b", 1), s.seq, true, t0)
	asked := s.seq
	s.invalidate("a@b")
	s.put(profile("a@b", 1), asked, true, t0) // asked before the doubt
	if _, ok := s.get("a@b", t0); ok {
		t.Error("an answer to an earlier question ended the doubt")
	}
	s.put(profile("a@b", 1), s.seq, true, t0)
	if _, ok := s.get("a@b", t0); !ok {
		t.Error("still in doubt")
	}
	asked = s.seq
	s.invalidateAll()
	s.put(profile("b@b", 1), asked, true, t0)
	_, a := s.get("a@b", t0)
	_, b := s.get("b@b", t0)
	if a || b {
		t.Error("doubt about everything left something out")
	}
	s.expect("a@b", 3)
	s.put(profile("a@b", 2), s.seq, true, t0)
	if _, ok := s.get("a@b", t0); ok {
		t.Error("revision 2 is believed though 3 is known to exist")
	}
	s.put(profile("a@b", 3), s.seq, true, t0)
	if _, ok := s.get("a@b", t0); !ok {
		t.Error("revision 3 is not believed")
	}
	s.gap = true
	if _, ok := s.get("a@b", t0); ok {
		t.Error("believed while cut off")
	}
}

// The lists and the map agree whatever happens.
func TestContentsStayConsistent(t *testing.T) {
	s := small()
	ks := keys(60)
	tables := []*table{tableOf(t, "n1", "n2"), tableOf(t, "n1", "n2", "n3"), tableOf(t, "n2", "n3"), tableOf(t, "n1!", "n2", "n3")}
	now, at := t0, tables[0]
	for range 5000 {
		k := ks[rand.IntN(len(ks))]
		now = now.Add(time.Duration(rand.IntN(2000)) * time.Millisecond)
		switch rand.IntN(12) {
		case 0:
			next := tables[rand.IntN(len(tables))]
			s.move(at, next, s.keys(), now)
			at = next
		case 1:
			s.sweep(now)
		case 2:
			s.put(gone(k, uint64(rand.IntN(3))), s.seq, at.find(k).Holds("n1"), now)
		case 3:
			s.invalidate(k)
		case 4:
			s.get(k, now)
		default:
			s.put(profile(k, uint64(rand.IntN(9))), s.seq, at.find(k).Holds("n1"), now)
		}
		n := 0
		for _, l := range []*list{&s.profiles, &s.absences} {
			i := 0
			var prev *entry
			for e := l.first; e != nil; prev, e = e, e.next {
				if e.prev != prev || e.list != l || s.entries[e.key] != e || e.absent() != (l == &s.absences) {
					t.Fatalf("broken list at %+v", e)
				}
				if now.After(e.lost.Add(s.grace)) && !e.lost.IsZero() && !s.due().Before(now) {
					t.Fatalf("%s is nobody's business any more and is not to be swept", e.key)
				}
				i++
			}
			if i != l.len || l.last != prev {
				t.Fatalf("list of %d says %d", i, l.len)
			}
			n += i
		}
		if n != len(s.entries) || s.profiles.len > s.max || s.absences.len > s.max/10 {
			t.Fatalf("%d in lists, %d entries", n, len(s.entries))
		}
	}
}

// walk is what each node of a lookup would do at a change, all of them holding
// what they are to hold before.
func walk(t *testing.T, old, next *table, ks []string) (told map[string][]subjects.NodeID) {
	t.Helper()
	told = make(map[string][]subjects.NodeID)
	for n := range old.members {
		if !next.members[n] {
			continue
		}
		s := newContents(n, len(ks), time.Minute, time.Second)
		for _, k := range ks {
			if old.find(k).Holds(n) {
				s.put(profile(k, 1), s.seq, true, t0)
			}
		}
		for to, some := range s.move(old, next, s.keys(), t0) {
			for _, k := range some {
				told[k] = append(told[k], to)
			}
		}
	}
	return told
}

func TestAChangeTellsEveryNewcomerOnce(t *testing.T) {
	ks := keys(2000)
	for name, c := range map[string]struct{ old, next *table }{
		"join":                 {tableOf(t, "n1", "n2", "n3"), tableOf(t, "n1", "n2", "n3", "n4")},
		"leave":                {tableOf(t, "n1", "n2", "n3", "n4"), tableOf(t, "n1", "n2", "n3")},
		"drain":                {tableOf(t, "n1", "n2", "n3", "n4"), tableOf(t, "n1", "n2", "n3", "n4!")},
		"end of a drain":       {tableOf(t, "n1", "n2", "n3", "n4!"), tableOf(t, "n1", "n2", "n3")},
		"resume":               {tableOf(t, "n1", "n2", "n3", "n4!"), tableOf(t, "n1", "n2", "n3", "n4")},
		"the second one":       {tableOf(t, "n1"), tableOf(t, "n1", "n2")},
		"the second site":      {tableOf(t, "n1", "n2", "n3"), tableOf(t, "n1@ams", "n2@ams", "n3@fra")},
		"a site is lost":       {tableOf(t, "n1@ams", "n2@ams", "n3@fra", "n4@fra", "n5@par"), tableOf(t, "n3@fra", "n4@fra", "n5@par")},
		"leave, join together": {tableOf(t, "n1", "n2", "n3", "n4"), tableOf(t, "n1", "n2", "n3", "n5")},
	} {
		t.Run(name, func(t *testing.T) {
			told := walk(t, c.old, c.next, ks)
			moved := 0
			for _, k := range ks {
				from, to := c.old.find(k), c.next.find(k)
				want := make(map[subjects.NodeID]bool)
				for _, n := range to.Holders() {
					if !from.Holds(n) {
						want[n] = true
					}
				}
				got := slices.Sorted(slices.Values(told[k]))
				if !slices.Equal(got, slices.Sorted(maps.Keys(want))) {
					t.Fatalf("%s from %v to %v: told %v", k, from, to, got)
				}
				moved += len(want)
			}
			if moved == 0 && name != "end of a drain" {
				t.Error("nothing moved: no test of anything")
			}
		})
	}
}

func TestTheOwnerBeforeAnswersForAWhile(t *testing.T) {
	old, next := tableOf(t, "n1", "n2"), tableOf(t, "n1", "n2", "n3", "n4", "n5")
	s := newContents("n1", 1000, time.Minute, time.Second)
	ks := keys(1000)
	for _, k := range ks {
		s.put(profile(k, 1), s.seq, true, t0)
	}
	s.move(old, next, s.keys(), t0)
	before, after := 0, 0
	s.sweep(t0.Add(time.Minute - 1))
	for _, k := range ks {
		from, to := old.find(k), next.find(k)
		e, fresh := s.get(k, t0)
		if e == nil {
			t.Fatalf("%s is forgotten too early", k)
		}
		if want := from.Owner() == "n1" && to.Owner() != "n1"; t0.Add(bridge-1).Before(e.serve) != want || t0.Add(bridge).Before(e.serve) {
			t.Fatalf("%s from %v to %v: answered for others %v", k, from, to, !want)
		}
		if fresh != to.Holds("n1") {
			t.Fatalf("%s from %v to %v: believed %v", k, from, to, fresh)
		}
		before++
	}
	s.sweep(t0.Add(time.Minute))
	for _, k := range ks {
		if is := s.entries[k] != nil; is != next.find(k).Holds("n1") {
			t.Fatalf("%s at %v: held %v", k, next.find(k), is)
		} else if is {
			after++
		}
	}
	if before != 1000 || after == 0 || after == 1000 {
		t.Errorf("held %d and %d", before, after)
	}
	s.move(next, old, s.keys(), t0.Add(2*time.Minute)) // all is n1's and n2's again
	for _, k := range s.keys() {
		if _, fresh := s.get(k, t0.Add(2*time.Minute)); !fresh {
			t.Fatalf("%s was n1's all the time and is in doubt", k)
		}
	}
}

func TestWhatWasAnothersMeanwhileIsInDoubt(t *testing.T) {
	two, five := tableOf(t, "n1", "n2"), tableOf(t, "n1", "n2", "n3", "n4", "n5")
	s := newContents("n1", 1000, time.Minute, time.Second)
	for _, k := range keys(1000) {
		s.put(profile(k, 1), s.seq, true, t0)
	}
	s.move(two, five, s.keys(), t0)
	s.move(five, two, s.keys(), t0.Add(time.Second))
	doubted := 0
	for _, k := range keys(1000) {
		_, fresh := s.get(k, t0.Add(time.Second))
		if fresh != five.find(k).Holds("n1") {
			t.Fatalf("%s: believed %v", k, fresh)
		}
		if !fresh {
			doubted++
		}
	}
	if doubted == 0 {
		t.Error("no test of anything")
	}
}

func TestFold(t *testing.T) {
	for in, want := range map[string]string{
		"Alice@Example.NET": "alice@example.net", "sip:alice@example.net": "alice@example.net", "SIPS:A@b": "a@b", "a": "a",
	} {
		if got := fold(in); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
}

func BenchmarkMove(b *testing.B) {
	old, next := tableOf(b, "n1", "n2", "n3"), tableOf(b, "n1", "n2", "n3", "n4")
	s := newContents("n1", 100_000, time.Minute, time.Second)
	ks := keys(100_000)
	for _, k := range ks {
		s.put(profile(k, 1), s.seq, true, t0)
	}
	b.ReportAllocs()
	for b.Loop() {
		s.move(old, next, ks[:moveAtOnce], t0)
	}
}
