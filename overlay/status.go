package overlay

import (
	"bytes"
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"thor/overlay/track"
	"thor/subjects"
)

// A statusFeed keeps the view of the network current, from ticks, deltas and
// snapshots. The tracker in it decides; this part does the I/O. Only view and
// watchers may be used outside the loop.
type statusFeed struct {
	log      *slog.Logger
	metrics  *metrics
	requests *requester
	msgs     chan<- *nats.Msg // answers go through the loop's channel, beside the deltas that follow them
	changed  func()           // the view has another status

	content  string // what the view's status says of the configured roles; "" without such
	view     atomic.Pointer[View]
	watchers watchers[*View]

	tracker  *track.Tracker
	saver    saver
	shown    shownMark
	held     time.Time         // until then the status of an earlier run is held back; zero: it is not
	number   int               // of the newest connection
	online   bool              // it is up
	alone    bool              // its broker is
	beat     time.Duration     // as managers want it; 0: they take full announcements only
	current  []byte            // how a tick begins that names the status held and says what the last one said
	snapshot *openRequest      // the newest
	parts    subjects.Assembly // of the answer to snapshot
}

// load starts with the status of an earlier run.
func (f *statusFeed) load(domain string) {
	s, encoded, saved, err := f.saver.store.loadStatus(domain)
	if err != nil {
		f.log.Error("saved status refused", cause(err))
	}
	var m subjects.Mark
	if s != nil {
		m = s.Mark()
	}
	newest, shown := f.shown.open(f.saver.store.dir, m)
	f.tracker.Floor(shown, time.Now().Add(askFirst))
	if s != nil && !f.tracker.Restore(s, encoded, saved) {
		f.log.Info("the status of an earlier run is of other roles")
		s = nil
	}
	if s != nil {
		if !newest {
			f.held = time.Now().Add(askFirst)
		}
		f.publish()
		f.log.Info("starting with the status of an earlier run",
			slog.Uint64("epoch", s.Epoch), slog.Uint64("gen", s.Generation), slog.Time("saved", saved))
	}
}

// setLink notes the state of the connection.
func (f *statusFeed) setLink(l link, now time.Time) {
	fresh := l.up && l.number != f.number
	if !fresh && l.up == f.online && l.alone == f.alone {
		return
	}
	same := !fresh && l.up == f.online
	f.online, f.alone = l.up, l.alone
	switch {
	case same:
	case fresh:
		f.number = l.number
		f.tracker.Online(now)
	default:
		f.tracker.Offline()
	}
	f.publish()
}

// receive handles a tick, a delta or an answer to the request for a snapshot. The
// error is what is wrong with it.
func (f *statusFeed) receive(m *nats.Msg, now time.Time) error {
	var changed bool
	var err error
	switch m.Subject {
	case subjects.StatusTick:
		changed, err = f.tick(m.Data, now)
	case subjects.RolesTick:
		changed, err = f.roleTick(m.Data, now)
	case subjects.StatusDelta:
		var d *subjects.Delta
		if d, err = subjects.ReadDelta(m.Header.Get, m.Data); err == nil {
			changed, err = f.tracker.Delta(d, now)
		}
	default:
		if role := subjects.ChangedRole(m.Subject); role != "" {
			var d *subjects.RoleDelta
			if d, err = subjects.ReadRoleDelta(role, m.Header.Get, m.Data); err == nil {
				changed, err = f.tracker.RoleDelta(d, now)
			}
			break
		}
		changed, err = f.part(m, now)
	}
	if changed {
		f.publish()
	}
	is := confirmation{f.tracker.Mark(), f.tracker.Confirmed, f.tracker.Missing()}
	if was := f.metrics.confirmedAt(); !is.at.IsZero() && (is.at != was.at || is.newer != was.newer) {
		f.metrics.confirmed.Store(&is)
	}
	return err
}

// tick does not decode a tick that begins like the one of the status held, which
// nearly all do.
func (f *statusFeed) tick(b []byte, now time.Time) (changed bool, err error) {
	if f.current != nil && len(b) <= subjects.MaxView && bytes.HasPrefix(b, f.current) {
		return f.tracker.Same(now), nil
	}
	k, err := subjects.ParseTick(b)
	if err != nil {
		return false, err
	}
	if changed, err = f.tracker.Tick(k, now); err != nil {
		return false, err
	}
	f.beat = time.Duration(k.Beat) * time.Millisecond
	if f.tracker.Names(k) {
		f.current = tickHead(b)
	}
	return changed, nil
}

// roleTick is tick for the tick of the roles.
func (f *statusFeed) roleTick(b []byte, now time.Time) (changed bool, err error) {
	if f.current != nil && len(b) <= subjects.MaxView && bytes.HasPrefix(b, f.current) {
		return f.tracker.Same(now), nil
	}
	k, err := subjects.ParseRoleTick(b)
	if err != nil {
		return false, err
	}
	if changed, err = f.tracker.RoleTick(k, now); err != nil {
		return false, err
	}
	f.beat = time.Duration(k.Beat) * time.Millisecond
	if f.tracker.NamesPart(k) {
		f.current = tickHead(b)
	}
	return changed, nil
}

// tickHead is the part of a tick that is the same in all that say the same: up to
// the manager, which follows from the epoch. The time is behind it.
func tickHead(b []byte) []byte {
	end := []byte(`,"manager":`)
	i := bytes.Index(b, end)
	if i < 0 {
		return nil
	}
	return bytes.Clone(b[:i+len(end)])
}

// part handles one message of the answer to the request for a snapshot.
func (f *statusFeed) part(m *nats.Msg, now time.Time) (changed bool, err error) {
	if !f.snapshot.answeredBy(m) || !f.tracker.Asking(now) {
		return false, nil // of an earlier request, or a second answer
	}
	if unheard(m) {
		f.tracker.Failed(now)
		return false, nil
	}
	if code := m.Header.Get(subjects.HeaderError); code != "" {
		f.tracker.Failed(now)
		f.log.Debug("snapshot refused", slog.String("code", subjects.Printable(code, 32)))
		return false, nil
	}
	plain, done, err := f.parts.Add(m.Header.Get, m.Data)
	if err == nil && !done {
		f.tracker.Progress(now)
		return false, nil
	}
	var s *subjects.Status
	if err == nil {
		s, err = subjects.ParseStatus(plain)
	}
	f.parts = subjects.Assembly{}
	if err != nil {
		f.tracker.Failed(now)
		return false, err
	}
	age, known := subjects.ParseAge(m.Header.Get(subjects.HeaderAge))
	if !known {
		age = -1
	}
	return f.tracker.Snapshot(s, plain, age, now)
}

// refuseRoles notes that the broker lets no deltas of single roles be heard.
func (f *statusFeed) refuseRoles(now time.Time) {
	if f.tracker.RolesRefused(now) {
		f.current = nil // no tick names a part from now on
	}
}

// advance does what is due.
func (f *statusFeed) advance(now time.Time) {
	req, changed := f.tracker.Advance(now)
	if changed {
		f.publish()
		m := f.view.Load().Mark()
		f.log.Warn("no manager confirms the status, keeping it", slog.Uint64("epoch", m.Epoch), slog.Uint64("gen", m.Generation))
	}
	if req != nil {
		f.request(req, now)
	}
	if !f.held.IsZero() && !now.Before(f.held) {
		f.held = time.Time{}
		f.publish()
	}
	if f.saver.due(now) {
		f.saver.advance(f.tracker.Full(), now)
	}
}

// next is when advance has something to do; zero: not before something happens.
func (f *statusFeed) next() time.Time {
	return earliest(earliest(f.tracker.Next(), f.saver.next()), f.held)
}

// request asks the managers for the snapshot. Each request has a reply subject of
// its own, so that an answer to an earlier one is recognised.
func (f *statusFeed) request(r *subjects.SnapshotRequest, now time.Time) {
	f.parts = subjects.Assembly{}
	f.metrics.repairs.Inc()
	if !f.requests.conn.state().up {
		f.snapshot = f.snapshot.replace(nil)
		return // the next connection begins anew
	}
	next, err := f.requests.send(context.Background(), subjects.StatusGet, r.Encode(), f.msgs)
	f.snapshot = f.snapshot.replace(next)
	if err != nil {
		f.log.Debug("ask for snapshot", cause(err))
		f.tracker.Failed(now)
	}
}

// publish makes what the tracker holds the current view and hands it to the
// watchers.
func (f *statusFeed) publish() {
	t, old := f.tracker, f.view.Load()
	s, encoded, content := t.Shown()
	v := &View{
		Status: s, Encoded: encoded, Received: t.Received,
		Stale: t.Stale, FromDisk: t.FromDisk, Connected: f.online, Connection: f.number, BrokerAlone: f.online && f.alone,
	}
	if !t.FromDisk {
		f.held = time.Time{}
	}
	if !f.held.IsZero() {
		v.Status, v.Encoded, v.Received = nil, nil, time.Time{}
		content = ""
	}
	if v.Status != nil && v.Status != old.Status {
		f.shown.note(v.Mark())
	}
	if v.Status != old.Status {
		f.current = nil // the next tick is decoded
		f.metrics.epoch.Set(float64(v.Mark().Epoch))
		f.metrics.generation.Set(float64(v.Mark().Generation))
		f.saver.dirty = f.saver.dirty || !t.FromDisk
	}
	if old.Stale && !v.Stale {
		f.log.Info("the status is current", slog.Uint64("epoch", v.Mark().Epoch), slog.Uint64("gen", v.Mark().Generation))
	}
	if v.Connected {
		f.metrics.connected.Set(1)
	} else {
		f.metrics.connected.Set(0)
	}
	f.view.Store(v)
	moved := content != "" && content == f.content // the mark alone is another one
	if f.content = content; !moved || !v.alike(old) {
		f.watchers.send(v)
	}
	if v.Status != old.Status && !moved {
		f.changed()
	}
}

// earliest is the earlier of two times that are zero when they are never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
