package subscribers

import (
	"time"

	"thor/overlay/subscriber"
	"thor/subjects"
)

// contents are the entries of a Cache, least recently used ones evicted, and the
// decisions which of them are current. It does no I/O and asks no clock; the fields of
// the first block are set once.
type contents struct {
	self   subjects.NodeID
	max    int           // profiles; a tenth as many absences
	grace  time.Duration // for which profiles of others are kept
	recall time.Duration // for which the absence of what never was is believed

	entries  map[string]*entry
	profiles list
	absences list // apart, so that guessed names evict no profile
	losing   []lost
	seq      uint64 // counts what invalidates entries
	all      uint64 // seq when all were invalidated
	gap      bool   // changes do not reach this node now
	evicted  uint64
	journal  journal // nil: nothing outlives the process
}

// A journal records what is held, in the order in which it changes: a kept.Log, which
// contents do not import since they do no I/O.
type journal interface {
	Put(profile []byte) // a subscriber.Profile as JSON
	Drop(key string)
}

// An entry is what is known of one key.
type entry struct {
	key      string
	revision uint64
	body     []byte // the profile as JSON; nil if there is no such subscriber
	ha1      string
	aliasOf  string
	served   bool // of an absence: its domain has subscribers

	asked  uint64    // seq when it was asked for
	doubt  uint64    // seq when it was invalidated
	least  uint64    // the revision that is known to exist
	until  time.Time // when an absence ends of whose end no notice tells; else zero
	before bool      // an earlier process held it, and no other node was asked since
	lost   time.Time // since when another node's; zero: it is this node's
	serve  time.Time // until then it is answered although another node serves it

	list       *list
	prev, next *entry
}

type lost struct {
	e  *entry
	at time.Time
}

func newContents(self subjects.NodeID, max int, grace, recall time.Duration) *contents {
	return &contents{self: self, max: max, grace: grace, recall: recall, entries: make(map[string]*entry)}
}

// absent reports whether e says that there is no such subscriber.
func (e *entry) absent() bool { return e.body == nil }

// fresh reports whether e is certainly what it would be if it were asked for now.
func (s *contents) fresh(e *entry, now time.Time) bool {
	return !s.gap && e.asked >= s.all && e.asked >= e.doubt && e.revision >= e.least && e.lost.IsZero() &&
		(e.until.IsZero() || now.Before(e.until))
}

// get finds what is known of key, nil if nothing. ok tells that it is current.
func (s *contents) get(key string, now time.Time) (e *entry, ok bool) {
	e = s.entries[key]
	if e == nil {
		return nil, false
	}
	e.list.front(e)
	return e, s.fresh(e, now)
}

// holds reports whether revision of key or a newer one is held.
func (s *contents) holds(key string, revision uint64) bool {
	e := s.entries[key]
	return e != nil && e.revision >= revision
}

// put takes a profile that came from a provisioning server. asked is what s.seq
// was when it was asked for; mine tells whether the lookup makes the key this
// node's. It reports false for one that is older than what is held.
func (s *contents) put(p *subscriber.Profile, asked uint64, mine bool, now time.Time) bool {
	e := s.entries[p.Key]
	switch {
	case e == nil || p.Revision >= e.revision:
	case p.Revision == 0 && e.absent(): // its deletion was so long ago that it is forgotten
		e.asked, e.served = max(e.asked, asked), p.Served
		if !e.until.IsZero() {
			e.until = now.Add(s.recall)
		}
		return true
	default:
		return false
	}
	known := e != nil && e.revision == p.Revision && e.absent() == p.Deleted
	if e == nil {
		e = &entry{key: p.Key}
		s.entries[p.Key] = e
	}
	if !known {
		s.record(p)
	}
	e.revision = p.Revision
	e.ha1 = p.HA1
	e.aliasOf = p.AliasOf
	e.body = nil
	e.until = time.Time{}
	e.served = p.Served
	switch {
	case !p.Deleted:
		e.body = p.Encode()
	case p.Revision == 0 || !p.Served: // no notice tells of a domain
		e.until = now.Add(s.recall)
	}
	e.asked, e.before = max(e.asked, asked), false
	s.own(e, mine, now)
	s.insert(e)
	return true
}

// record writes p to the journal before it is held. That there never was such a
// subscriber is not recorded.
func (s *contents) record(p *subscriber.Profile) {
	if s.journal != nil && (!p.Deleted || p.Revision > 0) {
		s.journal.Put(p.Encode())
	}
}

// restore inserts what an earlier process held: it is asked for before it counts as
// current.
func (s *contents) restore(p *subscriber.Profile, now time.Time) {
	if s.all == 0 {
		s.invalidateAll()
	}
	s.put(p, 0, true, now)
	if e := s.entries[p.Key]; e != nil {
		e.before = true
	}
}

// own notes whose e is.
func (s *contents) own(e *entry, mine bool, now time.Time) {
	switch {
	case mine:
		e.lost = time.Time{}
	case e.lost.IsZero():
		e.lost = now
		s.losing = append(s.losing, lost{e, now})
	}
}

// insert puts e at the front of its list, and evicts what exceeds the limit.
func (s *contents) insert(e *entry) {
	l, limit := &s.profiles, s.max
	if e.absent() {
		l, limit = &s.absences, max(1, s.max/10)
	}
	l.front(e)
	for l.len > limit {
		s.evicted++
		s.drop(l.last)
	}
}

func (s *contents) drop(e *entry) {
	if s.journal != nil && (!e.absent() || e.revision > 0) {
		s.journal.Drop(e.key)
	}
	e.list.remove(e)
	delete(s.entries, e.key)
}

// invalidate notes that what is held of key may be old. It reports whether anything is
// held.
func (s *contents) invalidate(key string) bool {
	e := s.entries[key]
	if e != nil {
		s.seq++
		e.doubt = s.seq
	}
	return e != nil
}

// expect notes that revision of key exists.
func (s *contents) expect(key string, revision uint64) {
	if e := s.entries[key]; e != nil {
		e.least = max(e.least, revision)
	}
}

// unexpect notes that the revision that was announced is unavailable: the next read
// asks, and accepts what there is.
func (s *contents) unexpect(key string) {
	if e := s.entries[key]; e != nil && e.least > e.revision {
		e.least = e.revision
		s.invalidate(key)
	}
}

// invalidateAll notes that anything held may be old.
func (s *contents) invalidateAll() {
	s.seq++
	s.all = s.seq
}

// sweep forgets what has been another node's for the grace period.
func (s *contents) sweep(now time.Time) {
	for len(s.losing) > 0 && !now.Before(s.losing[0].at.Add(s.grace)) {
		l := s.losing[0]
		s.losing[0] = lost{}
		s.losing = s.losing[1:]
		if l.e.lost.Equal(l.at) && s.entries[l.e.key] == l.e {
			s.drop(l.e)
		}
	}
}

// due is when sweep has something to do next; zero: never.
func (s *contents) due() time.Time {
	if len(s.losing) == 0 {
		return time.Time{}
	}
	return s.losing[0].at.Add(s.grace)
}

// keys are those of all entries, profiles first, then absences; of each the most
// recently used first.
func (s *contents) keys() []string {
	out := make([]string, 0, s.profiles.len)
	for e := s.profiles.first; e != nil; e = e.next {
		out = append(out, e.key)
	}
	for e := s.absences.first; e != nil; e = e.next {
		out = append(out, e.key)
	}
	return out
}

// A list is a chain of entries, the most recently used first.
type list struct {
	first, last *entry
	len         int
}

// front puts e, which may be in a list already, at the front of l.
func (l *list) front(e *entry) {
	if l.first == e {
		return
	}
	if e.list != nil {
		e.list.remove(e)
	}
	e.list, e.next = l, l.first
	if l.first != nil {
		l.first.prev = e
	} else {
		l.last = e
	}
	l.first = e
	l.len++
}

func (l *list) remove(e *entry) {
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		l.first = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		l.last = e.prev
	}
	e.list = nil
	e.prev = nil
	e.next = nil
	l.len--
}
