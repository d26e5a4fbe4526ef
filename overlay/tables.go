package overlay

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"thor/overlay/lookup"
	"thor/subjects"
)

// Errors of Lookup. ErrBadKey says that the key is no subscriber, ErrNoMembers
// that all members of the role drain, ErrNoStatus that this process has heard of
// no network yet, and ErrNoTable that the role has no lookup table: the status
// does not know it, nobody is in it, or the managers are configured so.
// ErrTableDiffers says that this process computes another table than the
// managers do, and never had one that agreed: a fault to be reported.
var (
	ErrBadKey       = lookup.ErrBadKey
	ErrNoMembers    = lookup.ErrNoMembers
	ErrNoStatus     = errors.New("overlay: no network status known yet")
	ErrNoTable      = errors.New("overlay: no lookup table for this role")
	ErrTableDiffers = errors.New("overlay: the lookup table computed is not the one that the status names")
)

// Lookup says which nodes serve a subscriber in role: key is "user@domain" or a
// SIP URI. The mark is that of the status from which this is computed: two
// processes that answer differently hold different statuses. There is no network,
// no lock and no allocation in it, but the first
// lookup of a role in a process makes its table, and blocks for that: a tenth of
// a second with 100 members, half a second with 1,000; call Tables early to have
// it made before. Later changes are made aside, 50 ms after the status came, while
// lookups go on with the table before.
//
// The error is one of ErrBadKey, ErrNoMembers, ErrNoStatus, ErrNoTable and
// ErrTableDiffers.
func (n *Node) Lookup(role subjects.Role, key string) (lookup.Assignment, subjects.Mark, error) {
	e := n.tables.entry(role)
	if e == nil {
		var err error
		if e, err = n.openTable(role); err != nil {
			return lookup.Assignment{}, subjects.Mark{}, err
		}
	}
	at := e.now.Load()
	if at.err != nil {
		return lookup.Assignment{}, subjects.Mark{}, at.err
	}
	a, err := at.table.Find(key)
	return a, at.mark, err
}

// Tables delivers the lookup table of role, as soon as there is one, and each
// later one when members join, leave, drain or change weight; statuses that
// leave the table as it is deliver nothing. A reader that keeps the table before
// knows by lookup.Table.Moves what went where. When the role ceases to exist, a
// table without members comes.
//
// The channel holds one table; a reader that is slow misses those in between and
// gets the latest. It is closed when ctx ends, and only then. Any number may
// watch. The call makes the table if it is the first use of the role, as Lookup
// does.
func (n *Node) Tables(ctx context.Context, role subjects.Role) <-chan *lookup.Table {
	n.tables.mu.Lock()
	defer n.tables.mu.Unlock()
	e := n.tables.entry(role)
	if e == nil {
		e = n.makeTable(role)
	}
	return e.watchers.add(ctx, func() (*lookup.Table, bool) {
		t := e.now.Load().table
		return t, t != nil
	})
}

// LookupFaults says, a line for each role, where this process computes another
// lookup table than the managers do.
func (n *Node) LookupFaults() []string {
	if p := n.tables.faults.Load(); p != nil {
		return *p
	}
	return nil
}

// tables are the lookup tables in use. The zero value is ready.
type tables struct {
	live   atomic.Pointer[map[subjects.Role]*tableEntry] // never written to; grows by roles that exist only
	faults atomic.Pointer[[]string]                      // as LookupFaults has them
	busy   atomic.Bool                                   // somebody is in Node.followTables
	mu     sync.Mutex                                    // held while tables are made
}

// A tableEntry is the table of one role that was asked for.
type tableEntry struct {
	role     subjects.Role
	now      atomic.Pointer[tableAt]
	watchers watchers[*lookup.Table]

	// guarded by tables.mu
	fault   string
	refused subjects.Lookup // what the status named when fault was found
}

// tableAt is the table in use and the newest status that leads to it.
type tableAt struct {
	table *lookup.Table // nil if there was none yet
	mark  subjects.Mark
	err   error // why there is none to use
}

// tableRest is how long a table is used after a change before the next is made:
// the name servers of a small machine act on the change meanwhile.
const tableRest = 50 * time.Millisecond

// inUse reports whether each table asked for can answer.
func (t *tables) inUse() bool {
	for _, e := range t.all() {
		if e.now.Load().err != nil {
			return false
		}
	}
	return true
}

func (t *tables) all() map[subjects.Role]*tableEntry {
	if m := t.live.Load(); m != nil {
		return *m
	}
	return nil
}

func (t *tables) entry(role subjects.Role) *tableEntry { return t.all()[role] }

// openTable is entry for a role that nobody has looked up yet.
func (n *Node) openTable(role subjects.Role) (*tableEntry, error) {
	s := n.View().Status
	if s == nil {
		return nil, ErrNoStatus
	}
	if _, ok := s.Lookup[role]; !ok {
		return nil, ErrNoTable // and keep nothing: the name may come from anywhere
	}
	n.tables.mu.Lock()
	defer n.tables.mu.Unlock()
	if e := n.tables.entry(role); e != nil {
		return e, nil // another was first
	}
	return n.makeTable(role), nil
}

// makeTable adds an entry. The caller holds tables.mu.
func (n *Node) makeTable(role subjects.Role) *tableEntry {
	e := &tableEntry{role: role}
	e.now.Store(&tableAt{err: ErrNoStatus})
	v := n.View()
	n.renewTable(e, v)
	m := maps.Clone(n.tables.all())
	if m == nil {
		m = make(map[subjects.Role]*tableEntry)
	}
	m[role] = e
	n.tables.live.Store(&m)
	if e.fault != "" {
		n.tellFaults() // now that it counts
	}
	for w := n.View(); w.Status != v.Status; w = n.View() { // what came before it was live has told nobody
		v = w
		n.renewTable(e, v)
	}
	return e
}

// updateTables has the tables follow the view, in a goroutine of its own: beats
// must go out meanwhile.
func (n *Node) updateTables() {
	if len(n.tables.all()) > 0 && n.tables.busy.CompareAndSwap(false, true) {
		n.working.Go(n.followTables)
	}
}

func (n *Node) followTables() {
	for {
		if n.tables.inUse() {
			time.Sleep(tableRest)
		}
		v := n.View()
		n.tables.mu.Lock()
		for _, e := range n.tables.all() {
			n.renewTable(e, v)
		}
		n.tables.mu.Unlock()
		n.tables.busy.Store(false)
		if n.View().Status == v.Status || !n.tables.busy.CompareAndSwap(false, true) {
			return
		}
	}
}

// renewTable makes e the table of v. The caller holds tables.mu.
func (n *Node) renewTable(e *tableEntry, v *View) {
	if v.Status == nil {
		return
	}
	old, told, ok := e.now.Load(), subjects.Lookup{}, false
	if told, ok = v.Status.Lookup[e.role]; !ok {
		n.dropTable(e, old, v.Mark())
		return
	}
	if e.fault != "" && e.refused == told {
		return // as before
	}
	table, err := nextTable(old.table, told, lookup.Members(v.Status.Roles[e.role]))
	if err != nil {
		n.refuseTable(e, old, told, err)
		return
	}
	e.now.Store(&tableAt{table: table, mark: v.Mark()})
	if table != old.table {
		e.watchers.send(table)
	}
	if e.fault != "" {
		e.fault = ""
		n.log.Info().Str("role", string(e.role)).Str("digest", told.Digest).Msg("the lookup table agrees again")
		n.tellFaults()
	}
}

// nextTable makes the table that told names, or fails.
func nextTable(old *lookup.Table, told subjects.Lookup, ms []lookup.Member) (*lookup.Table, error) {
	if old != nil && old.Bits() == told.Bits {
		if t, err := old.Update(ms); err == nil && t.Digest() == told.Digest {
			return t, nil
		}
	}
	t, err := lookup.New(told.Bits, ms)
	if err == nil && t.Digest() != told.Digest {
		err = fmt.Errorf("computed %s, told %s", t.Digest(), told.Digest)
	}
	return t, err
}

// dropTable takes it that the role has no table any more.
func (n *Node) dropTable(e *tableEntry, old *tableAt, mark subjects.Mark) {
	next := &tableAt{mark: mark, err: ErrNoTable}
	if old.table != nil {
		next.table = old.table
		if old.table.Len() > 0 || old.table.Draining() {
			next.table, _ = old.table.Update(nil) // nobody is no mistake
			e.watchers.send(next.table)
		}
	}
	e.now.Store(next)
	if e.fault != "" {
		e.fault = ""
		n.tellFaults()
	}
}

// refuseTable keeps the table before, if there is one, and says so everywhere.
func (n *Node) refuseTable(e *tableEntry, old *tableAt, told subjects.Lookup, err error) {
	e.fault, e.refused = err.Error(), told
	if old.err != nil {
		e.now.Store(&tableAt{table: old.table, mark: old.mark, err: ErrTableDiffers})
	}
	n.log.Error().Err(err).Str("role", string(e.role)).Uint64("gen", old.mark.Generation).Bool("keeps_old", old.err == nil).
		Msg("the lookup table differs from the one that the status names")
	n.tellFaults()
	n.doubted.Store(true)
	n.kick()
}

// tellFaults renews what is said of faults: health, metric, announcements.
func (n *Node) tellFaults() {
	var out []string
	for _, e := range n.tables.sorted() {
		v := 0.0
		if e.fault != "" {
			v = 1
			out = append(out, string(e.role)+": "+e.fault)
		}
		n.metrics.lookupDiffers.WithLabelValues(string(e.role)).Set(v)
	}
	n.tables.faults.Store(&out)
	n.beat()
}

func (t *tables) sorted() []*tableEntry {
	return slices.SortedFunc(maps.Values(t.all()), func(a, b *tableEntry) int { return strings.Compare(string(a.role), string(b.role)) })
}

// withFaults is attrs and what is wrong with the lookup, if anything is and
// there is room for it.
func (n *Node) withFaults(attrs subjects.Attrs) subjects.Attrs {
	faults := n.LookupFaults()
	if len(faults) == 0 || len(attrs) >= subjects.MaxAttrs {
		return attrs
	}
	out := maps.Clone(attrs)
	if out == nil {
		out = make(subjects.Attrs)
	}
	out[subjects.LookupDiffers] = subjects.Printable(strings.Join(faults, "; "), maxFault)
	return out
}

// maxFault is what the attribute may take in an announcement, in bytes.
const maxFault = 200
