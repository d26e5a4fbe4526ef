package web

import (
	"bytes"
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	"thor/monitor/web/picture"
	"thor/overlay"
	"thor/overlay/lookup"
	"thor/subjects"
)

// keptEvents is how many events a page gets that opens now.
const keptEvents = 300

// refresh is how often the reasons are judged anew without a change of the status:
// they follow from what is silent, too.
const refresh = time.Second

// A hub follows the network and holds the newest picture, encoded. Its run
// goroutine alone makes pictures; streams read what it published.
type hub struct {
	cfg    *Config
	rings  map[subjects.Role]ringOf // of run alone
	found  chan foundTable
	opened chan struct{} // holds a token when a page was opened

	view    atomic.Pointer[overlay.View]
	serials atomic.Pointer[[]nameServer]

	mu      sync.Mutex
	current published
	events  []numbered // the newest last
	number  uint64     // of the newest event
	wake    chan struct{}
}

// published is the newest picture. It is replaced, never written to.
type published struct {
	version uint64
	head    []byte // JSON of a picture.Head
	order   []subjects.Role
	roles   map[subjects.Role]part
}

// A part is one role of a picture, encoded, with the version that changed it.
type part struct {
	version uint64
	json    []byte
}

// numbered is an event, encoded, with its number.
type numbered struct {
	number uint64
	event  picture.Event
}

// ringOf is the table that a ring was made of.
type ringOf struct {
	table *lookup.Table
	ring  *picture.Ring
}

type foundTable struct {
	role  subjects.Role
	table *lookup.Table
}

func newHub(cfg *Config) *hub {
	h := &hub{cfg: cfg, rings: make(map[subjects.Role]ringOf), found: make(chan foundTable), opened: make(chan struct{}, 1), wake: make(chan struct{})}
	h.view.Store(&overlay.View{Stale: true})
	h.publish(h.view.Load())
	return h
}

// run follows the network until ctx ends.
func (h *hub) run(ctx context.Context) {
	var watching sync.WaitGroup
	defer watching.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tick := time.NewTicker(refresh)
	defer tick.Stop()
	views := h.cfg.Network.Watch(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case v, ok := <-views:
			if !ok {
				return
			}
			h.view.Store(v)
			h.publish(v)
			h.followTables(ctx, v, &watching)
		case t := <-h.found:
			h.takeTable(t)
			h.publish(h.view.Load())
		case <-tick.C:
			h.publish(h.view.Load())
		}
	}
}

// followTables begins to follow the tables of roles that have not had one before.
func (h *hub) followTables(ctx context.Context, v *overlay.View, watching *sync.WaitGroup) {
	if v.Status == nil {
		return
	}
	for role := range v.Status.Lookup {
		if _, ok := h.rings[role]; ok {
			continue
		}
		h.rings[role] = ringOf{}
		watching.Go(func() {
			for t := range h.cfg.Network.Tables(ctx, role) { // the call makes the first one, which takes its time
				select {
				case h.found <- foundTable{role, t}:
				case <-ctx.Done():
				}
			}
		})
	}
}

// takeTable makes the ring of a table. What the last change moved stays until
// another one moves something.
func (h *hub) takeTable(f foundTable) {
	old := h.rings[f.role]
	moved, gained := picture.Change(old.table, f.table, time.Now())
	next := picture.NewRing(f.table, moved, gained)
	if moved == nil && old.ring != nil && old.ring.Digest == next.Digest { // only who drains differs
		next = old.ring
	}
	h.rings[f.role] = ringOf{f.table, next}
}

// publish makes the picture of v, and wakes the streams if it is another one.
func (h *hub) publish(v *overlay.View) {
	s := v.Status
	head := picture.NewHead(s, h.cfg.Reasons(v))
	head.Myself, head.Flags = string(h.cfg.Myself), h.cfg.Flags
	h.mu.Lock()
	was := h.current
	h.mu.Unlock()
	next := published{version: was.version + 1, head: encode(head), roles: make(map[subjects.Role]part)}
	changed := !bytes.Equal(next.head, was.head)
	if s != nil {
		expected := s.Expected()
		next.order = s.AllRoles()
		for _, role := range next.order {
			var ring *picture.Ring
			if _, ok := s.Lookup[role]; ok {
				ring = h.rings[role].ring
			}
			b := encode(picture.NewRole(s, role, expected[role], ring))
			if p, ok := was.roles[role]; ok && bytes.Equal(p.json, b) {
				next.roles[role] = p
				continue
			}
			next.roles[role] = part{next.version, b}
			changed = true
		}
	}
	if !changed { // a role that is gone changes the head
		return
	}
	h.mu.Lock()
	h.current = next
	h.wakeAll()
	h.mu.Unlock()
}

// encode writes values of this package's own types, which cannot fail. It escapes
// <, > and & as JSON may: whatever reads it as HTML finds no tag.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("web: " + err.Error())
	}
	return b
}

// wakeAll tells the streams that there is something new. The caller holds h.mu.
func (h *hub) wakeAll() {
	close(h.wake)
	h.wake = make(chan struct{})
}

func (h *hub) happened(e *subjects.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.number++
	h.events = append(h.events, numbered{h.number, picture.NewEvent(e)})
	if n := len(h.events) - keptEvents; n > 0 {
		h.events = append(h.events[:0], h.events[n:]...)
	}
	h.wakeAll()
}

// happenedBefore takes what the history has. An event that came meanwhile, too, is
// not told twice.
func (h *hub) happenedBefore(es []subjects.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	live := make(map[picture.Event]bool, len(h.events))
	for _, x := range h.events {
		live[x.event] = true
	}
	var all []picture.Event
	for i := range es {
		if e := picture.NewEvent(&es[i]); !live[e] {
			all = append(all, e)
		}
	}
	for _, x := range h.events {
		all = append(all, x.event)
	}
	all = all[max(0, len(all)-keptEvents):]
	h.events = h.events[:0]
	for _, e := range all { // numbers that no stream has seen: all are told again
		h.number++
		h.events = append(h.events, numbered{h.number, e})
	}
	h.wakeAll()
}

// read is what is new after version and number, and a channel that is closed when
// there is more.
func (h *hub) read(number uint64) (p published, events []numbered, wake <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.events {
		if h.events[i].number > number {
			events = append(events, h.events[i:]...)
			break
		}
	}
	return h.current, events, h.wake
}

// status is the JSON of p: its head, and of its roles those that changed after
// version. With all of them it is the answer of /api/status.
func (p *published) status(version uint64) []byte {
	var b bytes.Buffer
	b.Grow(len(p.head) + 64)
	b.Write(p.head[:len(p.head)-1]) // without the closing brace
	b.WriteString(`,"roles":[`)
	first := true
	for _, role := range p.order {
		x := p.roles[role]
		if x.version <= version {
			continue
		}
		if !first {
			b.WriteByte(',')
		}
		first = false
		b.Write(x.json)
	}
	b.WriteString("]}")
	return b.Bytes()
}
