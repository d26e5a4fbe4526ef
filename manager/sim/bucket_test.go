package sim

import (
	"errors"
	"time"

	"thor/manager/core"
	"thor/manager/election"
	"thor/subjects"
)

const (
	ttl         = election.TTL
	markerLives = time.Second
	raftTick    = 200 * time.Millisecond
)

// A bucket is the lease as JetStream keeps it: in the memory of the brokers, with
// a leader that a majority replaces within 4 to 9 s. Compare-and-set goes through
// the leader; reads come from any copy, also one that is behind.
type bucket struct {
	w       *world
	gen     int // of the bucket: it is made anew when the memory is lost
	exists  bool
	rev     uint64
	cur     *election.Entry              // nil: nothing is stored
	holds   [brokerCount]bool            // the data is in this broker's memory
	views   [brokerCount]*election.Entry // what its copy has
	leader  *broker                      // nil: none
	former  *broker                      // who led before, and may be asked still where that is not known
	limbo   []func()                     // writes that the former leader took and did not acknowledge
	electAt time.Duration                // when there will be one; 0: not planned
	stuck   time.Duration                // no leader before this: a fault
	syncAt  [brokerCount]time.Duration   // when a copy is complete again; 0: it is, or has no source
}

func (k *bucket) begin(w *world) {
	k.w, k.exists, k.gen = w, true, 1
	k.holds = [brokerCount]bool{true, true, true}
	var tick func()
	tick = func() {
		k.tick()
		w.after(raftTick, tick)
	}
	w.after(w.between(100, 1000), tick)
}

// reach are the brokers that b can replicate with, itself included.
func (k *bucket) reach(b *broker) (all, with int) {
	for i, o := range k.w.brokers {
		if !k.joined(b, o) {
			continue
		}
		all++
		if k.holds[i] {
			with++
		}
	}
	return all, with
}

func (k *bucket) joined(a, b *broker) bool {
	if a == b {
		return a.alive && !a.frozen
	}
	r := k.w.routes[a.index][b.index]
	return r.up && r.sound()
}

// able reports whether b can lead.
func (k *bucket) able(b *broker) bool {
	if !b.alive || b.frozen {
		return false
	}
	all, with := k.reach(b)
	if k.lost() {
		return all >= 2
	}
	return k.holds[b.index] && (with >= 2 || all == brokerCount)
}

// lost reports that no broker has the data.
func (k *bucket) lost() bool { return k.holds == [brokerCount]bool{} }

// tick elects a leader where there is none, and completes copies.
func (k *bucket) tick() {
	w := k.w
	if k.leader != nil && (!k.able(k.leader) || w.now < k.stuck) {
		w.log("the bucket has no leader")
		k.former, k.leader, k.electAt = k.leader, nil, 0
	}
	if k.leader == nil {
		var able []*broker
		for _, b := range w.brokers {
			if k.able(b) {
				able = append(able, b)
			}
		}
		switch {
		case len(able) == 0 || w.now < k.stuck:
			k.electAt = 0
			return
		case k.electAt == 0:
			k.electAt = w.now + w.between(4000, 9000)
			if k.lost() || w.now < 5*time.Second {
				k.electAt = w.now + w.between(300, 4000)
			}
			return
		case w.now < k.electAt:
			return
		}
		k.leader, k.electAt = able[w.rng.IntN(len(able))], 0
		w.stats.count("bucket", "new leader")
		if k.lost() {
			k.remake("memory lost")
		}
		k.holds[k.leader.index] = true
		w.log("%s leads the bucket", k.leader.name)
		k.commit()
	}
	for i, b := range w.brokers {
		switch {
		case !k.joined(k.leader, b):
			k.syncAt[i] = 0
		case k.holds[i] && k.views[i] == k.cur:
		case k.syncAt[i] == 0:
			k.syncAt[i] = w.now + w.between(200, 1500)
		case w.now >= k.syncAt[i]:
			k.holds[i], k.views[i], k.syncAt[i] = true, k.cur, 0
		}
	}
}

// remake is a new bucket.
func (k *bucket) remake(why string) {
	k.w.stats.count("bucket", why)
	k.w.log("the bucket is made anew: %s", why)
	k.gen++
	k.exists, k.rev, k.cur, k.limbo = true, 0, nil, nil
	k.views = [brokerCount]*election.Entry{}
}

// delete is an operator's deletion; brokers make a new bucket soon.
func (k *bucket) delete() {
	k.exists = false
	k.w.after(k.w.between(250, 2000), func() { k.remake("deleted") })
}

func (k *bucket) forget(b *broker) {
	k.holds[b.index], k.views[b.index], k.syncAt[b.index] = false, nil, 0
	if k.leader == b {
		k.leader = nil
	}
	if k.former == b {
		k.former = nil
	}
}

func (k *bucket) back(*broker) {}

// leads reports whether a request at b comes to the leader.
func (k *bucket) leads(b *broker) bool { return k.exists && k.leader != nil && k.joined(k.leader, b) }

var errNoAnswer = errors.New("no answer")

// hears reports whether something at b subscribes to writes, though nothing may come
// of them: without a subscriber the client is told so at once.
func (k *bucket) hears(b *broker) bool {
	l := k.leader
	if l == nil {
		l = k.former
	}
	return k.exists && (k.former == b || l != nil && (l == b || k.w.routes[l.index][b.index].up))
}

// write is a compare-and-set that arrived at b; done gets its outcome, if there is one.
func (k *bucket) write(b *broker, value *subjects.Lease, expect uint64, done func(rev uint64, outcome election.Outcome)) {
	switch {
	case k.leads(b):
		k.w.after(k.w.hop()+k.w.way(b.index, k.leader.index), func() { k.put(b, value, expect, done) })
	case !k.hears(b):
		k.w.stats.count("bucket", "no responders")
		done(0, election.Unknown)
	case k.leader != nil: // it does not know yet that it is cut off
		k.keep(value, expect)
	}
}

// put is a compare-and-set at the leader.
func (k *bucket) put(b *broker, value *subjects.Lease, expect uint64, done func(rev uint64, outcome election.Outcome)) {
	switch {
	case !k.leads(b):
		k.keep(value, expect)
		return
	case !k.able(k.leader): // without a majority nothing is stored
		return
	}
	have := uint64(0)
	if k.cur != nil {
		have = k.cur.Revision
	}
	if have != expect {
		done(0, election.Conflict)
		return
	}
	e := &election.Entry{Held: value != nil}
	if value != nil {
		e.Value = value.Encode()
	}
	k.store(e)
	if value != nil {
		k.expire(e)
	}
	done(e.Revision, election.Stored)
}

// keep lets a write that was not acknowledged be stored by the next leader, or not: a copy
// may have it already.
func (k *bucket) keep(value *subjects.Lease, expect uint64) {
	if k.w.chance(500) {
		k.limbo = append(k.limbo, func() {
			k.w.stats.count("bucket", "late write")
			k.put(k.leader, value, expect, func(uint64, election.Outcome) {})
		})
	}
}

// commit stores what a former leader took, long after it was sent.
func (k *bucket) commit() {
	do := k.limbo
	k.limbo = nil
	if k.former == k.leader {
		k.former = nil
	}
	for _, f := range do {
		f()
	}
}

// store makes e what is stored, and tells managers.
func (k *bucket) store(e *election.Entry) {
	k.rev++
	e.Revision, e.Created = k.rev, t0.Add(k.w.now)
	k.cur = e
	for i, b := range k.w.brokers {
		if k.holds[i] && k.joined(k.leader, b) {
			k.views[i] = e
		}
	}
	k.leader.publish(e, toManagers)
}

// expire gives the lease back when its time is over.
func (k *bucket) expire(e *election.Entry) {
	gen := k.gen
	var over func()
	over = func() {
		switch {
		case k.gen != gen || k.cur != e:
		case k.leader == nil:
			k.w.after(raftTick, over)
		default:
			k.w.stats.count("bucket", "lease expired")
			marker := &election.Entry{}
			k.store(marker)
			k.w.after(markerLives, func() {
				if k.gen == gen && k.cur == marker {
					k.cur = nil
					k.views = [brokerCount]*election.Entry{}
				}
			})
		}
	}
	k.w.after(ttl, over)
}

// read is a direct get that arrived at b: any copy answers.
func (k *bucket) read(b *broker, done func(e *election.Entry, ok bool)) {
	var copies []int
	for i, o := range k.w.brokers {
		if k.exists && k.holds[i] && k.joined(b, o) {
			copies = append(copies, i)
		}
	}
	if len(copies) == 0 {
		done(nil, false) // no responders
		return
	}
	i := copies[k.w.rng.IntN(len(copies))]
	if k.views[i] != k.cur {
		k.w.stats.count("bucket", "stale read")
	}
	done(k.views[i], true)
}

// A store is the status as JetStream keeps it.
type store struct {
	w    *world
	gen  int // of the bucket
	held *core.Held
}

func (s *store) forget(*broker) {}

func (s *store) write(b *broker, h *core.Held) {
	if !s.w.bucket.leads(b) {
		return
	}
	s.fresh()
	if s.held == nil || h.Status.Mark().After(s.held.Status.Mark()) {
		s.held = h
	}
}

func (s *store) read(b *broker) (h *core.Held, ok bool) {
	if !s.w.bucket.leads(b) {
		return nil, false
	}
	s.fresh()
	return s.held, true
}

// fresh forgets what an earlier bucket had.
func (s *store) fresh() {
	if s.gen != s.w.bucket.gen {
		s.gen, s.held = s.w.bucket.gen, nil
	}
}
