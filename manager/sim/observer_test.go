package sim

import (
	"net/netip"
	"time"

	"thor/manager/core"
	"thor/overlay/track"
	"thor/subjects"
)

const (
	staleAfter = 30 * time.Second
	askFirst   = 2500 * time.Millisecond
)

// A feed keeps the status current in a process, as the SDK does.
type feed struct {
	p       *proc
	tracker *track.Tracker
	handed  *subjects.Status // to the process, last
	asked   int              // the request whose answer counts

	asks    map[string]int // requests for the whole status, by why
	unled   bool           // no manager led at the last of them that was sure of its lease
	renewed bool           // the connection was, since the last of them
	turn    func()
}

func newFeed(p *proc, turn func()) feed {
	return feed{p: p, turn: turn, tracker: track.New(staleAfter, func(d time.Duration) time.Duration {
		return time.Duration(p.w.rng.Int64N(max(int64(d), 1)))
	})}
}

// An answer is a manager's to a request for the snapshot.
type answer struct {
	id   int
	by   *manager
	held *core.Held
	age  time.Duration
	code subjects.ErrorCode
}

func (f *feed) online(up bool) {
	if up {
		f.renewed = true
		f.tracker.Online(f.p.clock())
	} else {
		f.tracker.Offline()
	}
}

func (f *feed) receive(m any) {
	now, t, w := f.p.clock(), f.tracker, f.p.w
	var err error
	switch m := m.(type) {
	case *subjects.Tick:
		if t.Status != nil && m.Mark() == t.Mark() && m.Digest == t.Digest {
			t.Same(now)
		} else {
			_, err = t.Tick(m, now)
		}
	case *subjects.Delta:
		_, err = t.Delta(m, now)
	case *answer:
		switch {
		case m.id != f.asked || !t.Asking(now):
		case m.held == nil:
			t.Failed(now)
		default:
			w.truth.answered(f.p, m)
			_, err = t.Snapshot(m.held.Status, m.held.Encoded, m.age, now)
		}
	}
	if err != nil {
		w.stats.count("tracker", string(subjects.CodeOf(err)))
	}
}

func (f *feed) advance() {
	req, _ := f.tracker.Advance(f.p.clock())
	if req == nil {
		return
	}
	w := f.p.w
	w.stats.count("tracker", "asked for the snapshot")
	f.noteAsk(req)
	w.order++
	f.asked = int(w.order)
	if f.p.link == nil {
		f.tracker.Failed(f.p.clock())
		return
	}
	f.p.send(query{from: f.p, id: f.asked, req: req})
}

// noteAsk counts why the whole status is asked for.
func (f *feed) noteAsk(req *subjects.SnapshotRequest) {
	why := "another reason"
	switch {
	case len(f.asks) == 0:
		why = "knew none"
	case f.unled:
		why = "none led"
	case f.renewed && req.AtLeast != nil && req.AtLeast.After(f.tracker.Mark()):
		why = "missed a change"
	}
	f.p.w.log("%s asks for the status: %s, has %v", f.p.boot, why, f.tracker.Mark())
	if f.asks == nil {
		f.asks = map[string]int{}
	}
	f.asks[why]++
	m := f.p.w.leader()
	f.unled, f.renewed = m == nil || !m.answers, false
}

// An observer is a name server: it shows the status that its tracker holds.
type observer struct {
	p    *proc
	feed feed
	seq  uint64
	disk disk
	wipe bool // it starts without its disk next time

	wakeAt time.Duration
	shown  subjects.Mark // the greatest confirmed mark of all its processes with this disk
	fresh  bool          // has confirmed nothing yet
	looked *subjects.Status
}

func newObserver(w *world, node subjects.NodeID) *observer {
	o := &observer{}
	o.p = newProc(w, node, o)
	return o
}

func (o *observer) roles() []subjects.Role { return []subjects.Role{subjects.DNSManager} }

func (o *observer) begin() {
	p := o.p
	o.feed = newFeed(p, o.turn)
	o.seq, o.wakeAt, o.looked, o.fresh = 0, 0, nil, true
	if o.wipe {
		o.disk, o.wipe, o.shown = disk{}, false, subjects.Mark{}
	}
	o.feed.tracker.Floor(o.shown, p.clock().Add(askFirst))
	if h := o.disk.status; h != nil {
		o.feed.tracker.Restore(h.Status, h.Encoded, p.clock())
	}
	var beat func()
	beat = func() {
		o.say(subjects.Up)
		p.after(p.w.between(900, 1100), beat)
	}
	p.after(p.w.between(10, 1000), beat)
	o.turn()
}

func (o *observer) say(s subjects.State) { o.announce(s, false) }

// moves says that this process leaves its connection for another one.
func (o *observer) moves() { o.announce(subjects.Up, true) }

func (o *observer) announce(s subjects.State, moves bool) {
	o.seq++
	a := &subjects.Announcement{
		V: subjects.Version, Node: o.p.node, Role: subjects.DNSManager, Boot: o.p.boot, Seq: o.seq, Via: o.p.via(), Addresses: []netip.Addr{o.p.addr},
		State: s, Weight: subjects.DefaultWeight, Moves: moves, Site: o.p.site,
	}
	o.p.send(a)
}

func (o *observer) online(up bool) {
	o.feed.online(up)
	if up {
		o.say(subjects.Up)
	}
	o.turn()
}

func (o *observer) receive(m any) {
	o.feed.receive(m)
	o.turn()
}

func (o *observer) turn() {
	o.feed.advance()
	t := o.feed.tracker
	if t.Status != nil && t.Status != o.looked && !t.FromDisk {
		o.p.w.truth.observed(o, t.Status, t.Digest)
		o.looked = t.Status
		h := core.Hold(t.Status, t.Encoded)
		o.p.after(o.p.w.between(0, 1000), func() { o.disk.save(h) })
	}
	next := t.Next()
	if next.IsZero() {
		return
	}
	at := max(o.p.w.now+time.Millisecond, o.p.w.now+next.Sub(o.p.clock()))
	if o.wakeAt > o.p.w.now && o.wakeAt <= at {
		return
	}
	o.wakeAt = at
	o.p.after(at-o.p.w.now, func() {
		if o.wakeAt == at {
			o.wakeAt = 0
			o.turn()
		}
	})
}
