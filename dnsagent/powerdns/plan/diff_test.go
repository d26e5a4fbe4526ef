package plan_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"thor/dnsagent/powerdns/plan"
	"thor/subjects"
)

// A table is what a database would hold.
type table struct {
	rows []plan.Stored
	next int64
}

func (t *table) add(s plan.Stored) {
	t.next++
	s.ID = t.next
	t.rows = append(t.rows, s)
}

// foreign adds a row of others.
func (t *table) foreign(name, kind, content string) {
	t.add(plan.Stored{Row: plan.Row{Name: name, Type: kind, Content: content, TTL: 60}, Auth: true})
}

// apply does what c says, as the writer does.
func (t *table) apply(c *plan.Changes) {
	for _, id := range c.Delete {
		t.rows = slices.DeleteFunc(t.rows, func(s plan.Stored) bool { return s.ID == id })
	}
	for i := range t.rows {
		for _, u := range c.Update {
			if u.ID == t.rows[i].ID {
				t.rows[i] = plan.Stored{ID: u.ID, Row: u.Row, Order: u.Order, Auth: true, Owned: t.rows[i].Owned}
			}
		}
		for _, m := range c.Mark {
			if m.ID == t.rows[i].ID {
				t.rows[i].Owned = true
			}
		}
	}
	for _, in := range c.Insert {
		t.add(plan.Stored{Row: in.Row, Order: in.Order, Auth: true, Owned: true})
	}
}

// texts are the rows that pass, sorted.
func (t *table) texts(pass func(plan.Stored) bool) (out []string) {
	for _, s := range t.rows {
		if pass(s) {
			out = append(out, fmt.Sprintf("%s %s %s %d %d", s.Name, s.Type, s.Content, s.TTL, s.Prio))
		}
	}
	slices.Sort(out)
	return out
}

func owned(s plan.Stored) bool   { return s.Owned }
func foreign(s plan.Stored) bool { return !s.Owned }

func row(name, kind, content string) plan.Row {
	return plan.Row{Name: name, Type: kind, Content: content, TTL: 10}
}

const apexSOA = "ns1.example.net hostmaster.example.net 0 14400 3600 604800 10"

func wish(generation uint32, rows ...plan.Row) plan.Wish {
	slices.SortStableFunc(rows, func(a, b plan.Row) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Type, b.Type)) })
	return plan.Wish{
		Rows: append([]plan.Row{row("example.net", "SOA", apexSOA)}, rows...), Apex: "example.net", Generation: generation, Raise: true,
		Order: plan.ParseOrder("example.net", "", false),
	}
}

// Whatever there is: afterwards the owned rows are those wished for, nothing is left
// to do, and rows of others are as they were.
func TestChangesLeadToTheWish(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 11))
	names := []string{"a.example.net", "b.example.net", "c.example.net", "example.net"}
	kinds := []string{"A", "AAAA", "TXT", "", "LUA"}
	random := func() plan.Row {
		r := row(names[rng.IntN(len(names))], kinds[rng.IntN(len(kinds))], fmt.Sprint("content ", rng.IntN(4)))
		if r.Type == "" {
			r.Content = ""
		}
		return r
	}
	for round := range 300 {
		var db table
		for range rng.IntN(6) {
			r := random()
			db.foreign("x"+r.Name, r.Type, r.Content)    // elsewhere
			db.foreign(r.Name, "MX", "mail.example.net") // beside ours
			if r.Type != "" {
				db.foreign(r.Name, r.Type, "other "+r.Content) // in a set of ours
			}
		}
		before := db.texts(foreign)
		generation := uint32(rng.IntN(100))
		for range 5 {
			var rows []plan.Row
			for range rng.IntN(12) {
				if r := random(); !slices.Contains(rows, r) {
					rows = append(rows, r)
				}
			}
			for i := range db.rows { // others change what is ours
				if s := &db.rows[i]; s.Owned && rng.IntN(5) == 0 {
					switch rng.IntN(4) {
					case 0:
						s.Content = "edited"
					case 1:
						s.Disabled = true
					case 2:
						s.TTL = 86400
					case 3:
						s.Name = "moved.example.net"
					}
				}
			}
			if rng.IntN(4) == 0 { // or delete it
				db.rows = slices.DeleteFunc(db.rows, func(s plan.Stored) bool { return s.Owned && rng.IntN(2) == 0 })
			}
			generation += uint32(rng.IntN(3))
			w := wish(generation, rows...)
			c := plan.Diff(db.rows, w)
			db.apply(c)
			var want table
			for _, r := range w.Rows {
				if r.Type == "SOA" {
					r.Content = strings.Replace(r.Content, " 0 ", fmt.Sprintf(" %d ", c.Serial), 1)
				}
				want.add(plan.Stored{Row: r, Owned: true})
			}
			if got := db.texts(owned); !slices.Equal(got, want.texts(owned)) {
				t.Fatalf("round %d: %q, want %q", round, got, want.texts(owned))
			}
			if again := plan.Diff(db.rows, w); !again.Empty() || again.Serial != c.Serial {
				t.Fatalf("round %d: not done yet: %+v", round, again)
			}
		}
		if got := db.texts(foreign); !slices.Equal(got, before) {
			t.Fatalf("round %d: rows of others were %q and are %q", round, before, got)
		}
	}
}

func TestARowThatEqualsOursBecomesOurs(t *testing.T) {
	var db table
	db.foreign("a.example.net", "A", "192.0.2.1")
	db.foreign("a.example.net", "A", "192.0.2.2")
	c := plan.Diff(db.rows, wish(1, row("a.example.net", "A", "192.0.2.1")))
	if len(c.Mark) != 1 || c.Mark[0].ID != 1 || c.Foreign != 1 || len(c.Insert) != 1 {
		t.Fatalf("%+v", c)
	}
	db.apply(c)
	db.apply(plan.Diff(db.rows, wish(2)))
	if got := db.texts(func(s plan.Stored) bool { return s.Type == "A" }); len(got) != 1 || !strings.Contains(got[0], "192.0.2.2") {
		t.Errorf("left: %q", got)
	}
}

func TestAZoneHasOneSOA(t *testing.T) {
	var db table
	db.foreign("example.net", "SOA", "a.misconfigured.dns.server.invalid hostmaster.example.net 2026113001 10800 3600 604800 3600")
	db.foreign("example.net", "SOA", "x y 7 1 1 1 1")
	c := plan.Diff(db.rows, wish(5))
	db.apply(c)
	if len(db.rows) != 1 || !db.rows[0].Owned || c.Serial != 2026113002 {
		t.Errorf("%+v, serial %d", db.rows, c.Serial)
	}
}

func TestAliasesOfOthersExcludeOurRows(t *testing.T) {
	var db table
	db.foreign("Proxy.example.net", "CNAME", "www.example.org")
	db.foreign("alias.example.net", "TXT", `"theirs"`)
	db.foreign("fine.example.net", "TXT", `"theirs"`)
	c := plan.Diff(db.rows, wish(1, row("proxy.example.net", "A", "192.0.2.1"), row("alias.example.net", "CNAME", "proxy.example.net"), row("fine.example.net", "A", "192.0.2.1")))
	if !slices.Equal(c.Conflicts, []string{"alias.example.net", "proxy.example.net"}) {
		t.Errorf("conflicts %q", c.Conflicts)
	}
	db.apply(c)
	if got := db.texts(owned); len(got) != 2 { // the SOA, and fine
		t.Errorf("written: %q", got)
	}
}

func TestSerials(t *testing.T) {
	for _, c := range []struct {
		name       string
		stored     string // of the SOA row; empty: none
		generation uint32
		raise      bool // rows may be of another status
		differs    bool // and some are
		want       uint32
	}{
		{"new zone", "", 7, true, true, 7},
		{"next generation", "7", 8, true, true, 8},
		{"next generation, same rows", "7", 8, true, false, 8},
		{"nothing new", "8", 8, true, false, 8},
		{"other configuration, same generation", "8", 8, true, true, 9},
		{"its generation comes", "9", 9, true, false, 9},
		{"drawn anew or put back", "8", 8, false, true, 8},
		{"an operator's serial by date is ahead", "2026113001", 8, true, true, 2026113002},
		{"and nothing changed", "2026113001", 8, true, false, 2026113001},
		{"the generation wraps", "4294967295", 1, true, true, 1},
		{"the stored one wraps", "4294967295", 4294967290, true, true, 0},
		{"no number", "x", 8, true, false, 8},
		{"negative", "-1", 8, true, false, 8},
	} {
		var db table
		if c.stored != "" {
			db.add(plan.Stored{
				Row: row("example.net", "SOA", strings.Replace(apexSOA, " 0 ", " "+c.stored+" ", 1)), Auth: true, Owned: true,
				Order: plan.ParseOrder("example.net", "", false).Of("example.net"),
			})
		}
		w := wish(c.generation)
		if w.Raise = c.raise; c.differs {
			w.Rows = append(w.Rows, row("a.example.net", "A", "192.0.2.1"))
		}
		if got := plan.Diff(db.rows, w); got.Serial != c.want {
			t.Errorf("%s: serial %d, want %d", c.name, got.Serial, c.want)
		}
	}
}

func TestWhoIsBehindWaits(t *testing.T) {
	old, now := subjects.Mark{Epoch: 3, Generation: 9}, subjects.Mark{Epoch: 4, Generation: 1}
	for _, c := range []struct {
		own, stored subjects.Mark
		confirmed   bool
		behind      time.Duration
		want        bool
	}{
		{now, old, false, 0, true},
		{now, now, false, 0, true},
		{now, subjects.Mark{}, false, 0, true},
		{old, now, true, 0, false},
		{old, now, true, plan.Patience, true}, // the later one is of a network that is no more
		{old, now, false, time.Hour, false},
	} {
		if got := plan.MayWrite(c.own, c.stored, c.confirmed, c.behind); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestOrdernames(t *testing.T) {
	nsec := plan.ParseOrder("example.net", "", false)
	// NSEC3 of RFC 5155 appendix A: H(a.example) with the salt aabbccdd and 12 rounds.
	hashed := plan.ParseOrder("example", "1 1 12 aabbccdd", false)
	for _, c := range []struct {
		got  plan.Ordername
		want plan.Ordername
	}{
		{nsec.Of("example.net"), plan.Ordername{Set: true}},
		{nsec.Of("_sip._udp.example.net"), plan.Ordername{Text: "_udp _sip", Set: true}},
		{nsec.Of("n1.example.net"), plan.Ordername{Text: "n1", Set: true}},
		{hashed.Of("example"), plan.Ordername{Text: "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom", Set: true}},
		{hashed.Of("a.example"), plan.Ordername{Text: "35mthgpgcu1qg68fab165klnsnk3dpvl", Set: true}},
		{plan.ParseOrder("example.net", "1 0 0 -", true).Of("n1.example.net"), plan.Ordername{}},
		{plan.ParseOrder("example.net", "nonsense", false).Of("n1.example.net"), plan.Ordername{Text: "n1", Set: true}},
	} {
		if c.got != c.want {
			t.Errorf("%+v, want %+v", c.got, c.want)
		}
	}
}

// FuzzDiff: whatever rows there are, the changes lead to the wish and nothing is left
// to do then. Each line of the text is a row: an owner, a name, a type and a content.
func FuzzDiff(f *testing.F) {
	f.Add("thor a.example.net A 192.0.2.1\nx example.net SOA a b 4294967295 1 1 1 1\nthor  \nx A.example.net CNAME b", uint32(7), true)
	f.Fuzz(func(t *testing.T, text string, generation uint32, raise bool) {
		var db table
		for line := range strings.Lines(text) {
			p := append(strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 4), "", "", "", "")
			db.add(plan.Stored{Row: plan.Row{Name: p[1], Type: p[2], Content: p[3]}, Owned: p[0] == "thor"})
		}
		w := wish(generation, row("a.example.net", "A", "192.0.2.1"), row("a.example.net", "A", "192.0.2.2"), row("b.example.net", "CNAME", "a.example.net"))
		w.Raise = raise
		others := func() []string {
			return db.texts(func(s plan.Stored) bool {
				equal := slices.ContainsFunc(w.Rows, func(r plan.Row) bool { return r.Key() == s.Key() && r.Content == s.Content })
				return !s.Owned && !equal && s.Key() != (plan.Key{Name: "example.net", Type: "SOA"})
			})
		}
		before := others()
		first := plan.Diff(db.rows, w)
		db.apply(first)
		if again := plan.Diff(db.rows, w); !again.Empty() || again.Serial != first.Serial {
			t.Fatalf("not done: %+v", again)
		}
		if got := others(); !slices.Equal(got, before) {
			t.Fatalf("rows of others were %q and are %q", before, got)
		}
	})
}
