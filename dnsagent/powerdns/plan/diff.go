package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Stored row is one that the database holds.
type Stored struct {
	ID int64
	Row
	Order    Ordername
	Disabled bool
	Auth     bool
	Owned    bool // written by a name server of ours, as the marks beside it say
}

// A Change is an owned row and what it is to become.
type Change struct {
	ID    int64
	Row   Row
	Order Ordername
}

// An Insert is a row that is missing.
type Insert struct {
	Row   Row
	Order Ordername
}

// Changes lead from the rows that there are to those that there should be.
type Changes struct {
	Insert []Insert
	Update []Change
	Delete []int64
	Mark   []Stored // rows that are as they should be, and become owned
	Serial uint32   // of the SOA row afterwards
	// Foreign counts the rows of others that are in sets of ours: PowerDNS answers
	// with both.
	Foreign int
	// Conflicts are names at which rows of others and a CNAME exclude each other. No
	// rows are written there.
	Conflicts []string
}

// Empty reports whether nothing is to be done.
func (c *Changes) Empty() bool {
	return len(c.Insert)+len(c.Update)+len(c.Delete)+len(c.Mark) == 0
}

// A Wish is what the rows of a zone are to be.
type Wish struct {
	Rows       []Row  // those of a set one after the other
	Apex       string // without the final dot
	Generation uint32 // the SOA's serial, if no later one was used before
	// Raise has every change of a row raise the serial. Without it the rows are
	// those of a status that was written before: drawn anew, or put back.
	Raise bool
	Order Order
}

// Diff compares. Rows of others are left as they are, but for two kinds: one that
// equals a row of ours becomes ours, and so does the SOA, which a zone has once.
func Diff(present []Stored, w Wish) *Changes {
	d := &differ{Changes: &Changes{}, order: w.Order.Of, present: present}
	sets := groups(present)
	d.conflicts(w.Rows)
	apex := Key{w.Apex, "SOA"}
	var soa []Row
	for rows := w.Rows; len(rows) > 0; {
		k, n := rows[0].Key(), 1
		for n < len(rows) && rows[n].Key() == k {
			n++
		}
		if k == apex {
			soa = rows[:n]
		} else {
			d.set(sets.take(k), d.allowed(k, rows[:n]))
		}
		rows = rows[n:]
	}
	d.soa = sets.take(apex)
	for _, i := range sets.first {
		for ; i >= 0; i = sets.next[i] {
			if present[i].Owned {
				d.Delete = append(d.Delete, present[i].ID)
			}
		}
	}
	d.oneSOA(soa, w)
	slices.Sort(d.Delete)
	slices.SortFunc(d.Update, func(a, b Change) int { return cmp.Compare(a.ID, b.ID) })
	return d.Changes
}

// grouped are stored rows by their keys: the index of the first, and of the next one
// after each; negative: none.
type grouped struct {
	rows  []Stored
	first map[Key]int
	next  []int
}

func groups(rows []Stored) *grouped {
	g := &grouped{rows, make(map[Key]int, len(rows)), make([]int, len(rows))}
	for i := range rows {
		k := rows[i].Key()
		g.next[i] = -1
		if j, ok := g.first[k]; ok {
			g.next[i] = j
		}
		g.first[k] = i
	}
	return g
}

// take returns the rows of a set, in their order, and forgets them.
func (g *grouped) take(k Key) (out []Stored) {
	i, ok := g.first[k]
	if !ok {
		return nil
	}
	delete(g.first, k)
	for ; i >= 0; i = g.next[i] {
		out = append(out, g.rows[i])
	}
	slices.Reverse(out)
	return out
}

type differ struct {
	*Changes
	order   func(name string) Ordername
	present []Stored
	soa     []Stored        // the SOA rows of them
	refused map[string]bool // names where nothing may be written
}

// conflicts finds the names at which a CNAME would not be alone (RFC 1034 3.6.2).
func (d *differ) conflicts(want []Row) {
	var others []Stored
	for _, s := range d.present {
		if !s.Owned && !s.Disabled && s.Type != "" {
			s.Name = strings.ToLower(s.Name)
			others = append(others, s)
		}
	}
	if len(others) == 0 {
		return
	}
	d.refused = make(map[string]bool)
	at := make(map[string][]Row) // of ours, at names of others
	for _, s := range others {
		at[s.Name] = nil
	}
	for _, r := range want {
		if rows, ok := at[r.Name]; ok {
			at[r.Name] = append(rows, r)
		}
	}
	for _, s := range others {
		ours := at[s.Name]
		equal := slices.ContainsFunc(ours, func(r Row) bool { return r.Type == s.Type && same(s.Row, r) })
		alias := s.Type == "CNAME" || slices.ContainsFunc(ours, func(r Row) bool { return r.Type == "CNAME" })
		if len(ours) > 0 && alias && !equal && !d.refused[s.Name] {
			d.refused[s.Name] = true
			d.Conflicts = append(d.Conflicts, s.Name)
		}
	}
	slices.Sort(d.Conflicts)
}

func (d *differ) allowed(k Key, rows []Row) []Row {
	if d.refused[k.Name] {
		return nil
	}
	return rows
}

// set compares the rows of one set.
func (d *differ) set(present []Stored, want []Row) {
	used := make([]bool, len(present))
	take := func(ok func(Stored) bool) int {
		for i, s := range present {
			if !used[i] && ok(s) {
				used[i] = true
				return i
			}
		}
		return -1
	}
	var missing []Row
	for _, r := range want {
		i := take(func(s Stored) bool { return s.Owned && same(s.Row, r) })
		if i < 0 {
			i = take(func(s Stored) bool { return same(s.Row, r) })
		}
		if i < 0 {
			missing = append(missing, r)
			continue
		}
		d.keep(present[i], r)
	}
	for _, r := range missing {
		if i := take(func(s Stored) bool { return s.Owned }); i >= 0 {
			d.Update = append(d.Update, Change{present[i].ID, r, d.order(r.Name)})
			continue
		}
		d.Insert = append(d.Insert, Insert{r, d.order(r.Name)})
	}
	for i, s := range present {
		switch {
		case used[i]:
		case s.Owned:
			d.Delete = append(d.Delete, s.ID)
		case len(want) > 0 && !s.Disabled:
			d.Foreign++
		}
	}
}

// keep makes the row s what r says, and ours.
func (d *differ) keep(s Stored, r Row) {
	if !s.Owned {
		d.Mark = append(d.Mark, s)
	}
	if order := d.order(r.Name); s.Row != r || s.Disabled || !s.Auth || s.Order != order {
		d.Update = append(d.Update, Change{s.ID, r, order})
	}
}

// same reports whether two rows of one set are the same record.
func same(a, b Row) bool {
	return a.Content == b.Content && (a.Prio == b.Prio || a.Type != "SRV" && a.Type != "MX")
}

// oneSOA makes one SOA row of those that there are.
func (d *differ) oneSOA(want []Row, w Wish) {
	if len(want) == 0 {
		return
	}
	present := d.soa
	changed := w.Raise && len(d.Insert)+len(d.Update)+len(d.Delete) > 0
	r := want[0]
	slices.SortStableFunc(present, func(a, b Stored) int { return cmp.Compare(rank(a), rank(b)) })
	old, known := uint32(0), false
	for _, s := range present {
		if n, ok := Serial(s.Content); ok && (!known || Later(n, old)) {
			old, known = n, true
		}
	}
	if w.Raise && len(present) > 0 && withSerial(present[0].Content, 0) != withSerial(r.Content, 0) {
		changed = true
	}
	d.Serial = w.Generation
	if known {
		d.Serial = next(old, w.Generation, changed)
	}
	r.Content = withSerial(r.Content, d.Serial)
	if len(present) == 0 {
		d.Insert = append(d.Insert, Insert{r, d.order(r.Name)})
		return
	}
	d.keep(present[0], r)
	for _, s := range present[1:] {
		d.Delete = append(d.Delete, s.ID)
	}
}

func rank(s Stored) int {
	if s.Owned {
		return 0
	}
	return 1
}

// next is the serial that follows old.
func next(old, generation uint32, changed bool) uint32 {
	switch {
	case Later(generation, old):
		return generation
	case changed:
		return old + 1
	}
	return old
}

// Later reports whether the serial a follows b (RFC 1982).
func Later(a, b uint32) bool { return int32(a-b) > 0 }

// Serial is that of the content of an SOA row.
func Serial(content string) (uint32, bool) {
	f := strings.Fields(content)
	if len(f) < 3 {
		return 0, false
	}
	n, err := strconv.ParseUint(f[2], 10, 32)
	return uint32(n), err == nil
}

// withSerial is the content of an SOA row with another serial.
func withSerial(content string, n uint32) string {
	f := strings.Fields(content)
	if len(f) < 3 {
		return content
	}
	f[2] = fmt.Sprint(n)
	return strings.Join(f, " ")
}
