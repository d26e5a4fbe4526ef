package overlay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
// that all members of the role drain, ErrNoStatus that this process has received
// no network status yet, and ErrNoTable that the role has no lookup table: it is
// not in the status, it has no members, or the managers are configured so.
// ErrTableDiffers says that this process computes another table than the
// managers do, and never had one that agreed: a fault to be reported. ErrNotFollowed
// says that the role is not among Config.Roles: this process knows nothing of it.
var (
	ErrBadKey       = lookup.ErrBadKey
	ErrNoMembers    = lookup.ErrNoMembers
	ErrNoStatus     = errors.New("overlay: no network status known yet")
	ErrNoTable      = errors.New("overlay: no lookup table for this role")
	ErrTableDiffers = errors.New("overlay: the lookup table computed is not the one that the status names")
	ErrNotFollowed  = errors.New("overlay: this role is not among those that this process follows")
)

// tableRest is how long a table is used after a change before the next is made:
// the name servers of a small machine act on the change meanwhile.
const tableRest = 50 * time.Millisecond

// tables are the lookup tables in use, made from the status of the view. Its
// methods may be called from any goroutine.
type tables struct {
	log     *slog.Logger
	metrics *metrics
	view    func() *View
	working *sync.WaitGroup // for the goroutine that makes tables
	faulty  func()          // other tables differ from the status's than before
	doubt   func()          // the status held may not be the manager's
	roles   []subjects.Role // that are followed, sorted; none: all

	live   atomic.Pointer[map[subjects.Role]*tableEntry] // never written to; grows by roles that exist only
	faults atomic.Pointer[[]string]                      // a line for each role
	busy   atomic.Bool                                   // the goroutine runs
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
	sites   string          // and the digest of its sites, which may come later than the rest
}

// tableAt is the table in use and the newest status that leads to it.
type tableAt struct {
	table *lookup.Table // nil if there was none yet
	mark  subjects.Mark
	err   error // why there is none to use
}

// lookup is Node.Lookup.
func (t *tables) lookup(role subjects.Role, key string) (lookup.Assignment, subjects.Mark, error) {
	e := t.entry(role)
	if e == nil {
		var err error
		if e, err = t.open(role); err != nil {
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

// watch is Node.Tables.
func (t *tables) watch(ctx context.Context, role subjects.Role) <-chan *lookup.Table {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entry(role)
	if e == nil {
		e = t.add(role)
	}
	return e.watchers.add(ctx, func() (*lookup.Table, bool) {
		x := e.now.Load().table
		return x, x != nil
	})
}

// differing says, a line for each role, where a table is not the status's.
func (t *tables) differing() []string {
	if p := t.faults.Load(); p != nil {
		return *p
	}
	return nil
}

// usable reports whether each table asked for can answer.
func (t *tables) usable() bool {
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

// open is entry for a role that was never looked up.
func (t *tables) open(role subjects.Role) (*tableEntry, error) {
	if _, ok := slices.BinarySearch(t.roles, role); !ok && len(t.roles) > 0 {
		return nil, ErrNotFollowed
	}
	s := t.view().Status
	if s == nil {
		return nil, ErrNoStatus
	}
	if _, ok := s.Lookup[role]; !ok {
		return nil, ErrNoTable // and keep nothing: the name may come from anywhere
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.entry(role); e != nil {
		return e, nil // another was first
	}
	return t.add(role), nil
}

// add makes the first table of a role. The caller holds t.mu.
func (t *tables) add(role subjects.Role) *tableEntry {
	e := &tableEntry{role: role}
	e.now.Store(&tableAt{err: ErrNoStatus})
	v := t.view()
	t.renew(e, v)
	m := maps.Clone(t.all())
	if m == nil {
		m = make(map[subjects.Role]*tableEntry)
	}
	m[role] = e
	t.live.Store(&m)
	if e.fault != "" {
		t.reportFaults() // now that it counts
	}
	for w := t.view(); w.Status != v.Status; w = t.view() { // a status that came before e was live did not renew it
		v = w
		t.renew(e, v)
	}
	return e
}

// update has the tables follow the view, in a goroutine of its own: announcements
// must go out meanwhile.
func (t *tables) update() {
	if len(t.all()) > 0 && t.busy.CompareAndSwap(false, true) {
		t.working.Go(t.follow)
	}
}

func (t *tables) follow() {
	for {
		if t.usable() {
			time.Sleep(tableRest)
		}
		v := t.view()
		t.mu.Lock()
		for _, e := range t.all() {
			t.renew(e, v)
		}
		t.mu.Unlock()
		t.busy.Store(false)
		if t.view().Status == v.Status || !t.busy.CompareAndSwap(false, true) {
			return
		}
	}
}

// renew makes e the table of v. The caller holds t.mu.
func (t *tables) renew(e *tableEntry, v *View) {
	if v.Status == nil {
		return
	}
	old := e.now.Load()
	want, ok := v.Status.Lookup[e.role]
	if !ok {
		t.empty(e, old, v.Mark())
		return
	}
	if e.fault != "" && e.refused == want && e.sites == v.Status.SitesDigest() {
		return // as before
	}
	began := time.Now()
	table, err := nextTable(old.table, want, lookup.MembersFor(want, v.Status.Roles[e.role]))
	if table != old.table {
		t.metrics.lookupBuild.Observe(time.Since(began).Seconds())
	}
	if err != nil {
		e.sites = v.Status.SitesDigest()
		t.refuse(e, old, want, err)
		return
	}
	e.now.Store(&tableAt{table: table, mark: v.Mark()})
	if table != old.table {
		e.watchers.send(table)
	}
	if e.fault != "" {
		e.fault = ""
		t.log.Info("the lookup table agrees again", roleAttr(e.role), slog.String("digest", want.Digest))
		t.reportFaults()
	}
}

// nextTable makes the table that want names, or fails.
func nextTable(old *lookup.Table, want subjects.Lookup, ms []lookup.Member) (*lookup.Table, error) {
	if old != nil && old.Bits() == want.Bits {
		if t, err := old.Update(ms); err == nil && t.Name() == want {
			return t, nil
		}
	}
	t, err := lookup.New(want.Bits, ms)
	if err == nil && t.Name() != want {
		err = fmt.Errorf("computed %s, told %s", t.Name(), want)
	}
	return t, err
}

// empty makes e a table without members: the role has none any more.
func (t *tables) empty(e *tableEntry, old *tableAt, mark subjects.Mark) {
	next := &tableAt{mark: mark, err: ErrNoTable}
	if old.table != nil {
		next.table = old.table
		if old.table.Len() > 0 || old.table.Draining() {
			next.table, _ = old.table.Update(nil) // no members are no error
			e.watchers.send(next.table)
		}
	}
	e.now.Store(next)
	if e.fault != "" {
		e.fault = ""
		t.reportFaults()
	}
}

// refuse keeps the table before, if there is one, and reports the fault.
func (t *tables) refuse(e *tableEntry, old *tableAt, want subjects.Lookup, err error) {
	e.fault, e.refused = err.Error(), want
	if old.err != nil {
		e.now.Store(&tableAt{table: old.table, mark: old.mark, err: ErrTableDiffers})
	}
	t.log.Error("the lookup table differs from the one that the status names",
		cause(err), roleAttr(e.role), slog.Uint64("gen", old.mark.Generation), slog.Bool("keeps_old", old.err == nil))
	t.reportFaults()
	t.doubt()
}

// reportFaults renews what is reported of faults: health, metric, announcements.
func (t *tables) reportFaults() {
	var out []string
	for _, e := range t.sorted() {
		v := 0.0
		if e.fault != "" {
			v = 1
			out = append(out, string(e.role)+": "+e.fault)
		}
		t.metrics.lookupDiffers.WithLabelValues(string(e.role)).Set(v)
	}
	t.faults.Store(&out)
	t.faulty()
}

func (t *tables) sorted() []*tableEntry {
	return slices.SortedFunc(maps.Values(t.all()), func(a, b *tableEntry) int { return strings.Compare(string(a.role), string(b.role)) })
}

// maxFault is what the attribute may take in an announcement, in bytes.
const maxFault = 200

// withFaults is attrs with the faults of the lookup, if there are any and there is
// room for them.
func withFaults(attrs subjects.Attrs, faults []string) subjects.Attrs {
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
