package overlay

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"thor/subjects"
)

// kick makes the loop look at what changed.
func (n *Node) kick() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// load takes up what an earlier run left on disk.
func (n *Node) load() {
	n.drainMu.Lock() // whoever drains at this moment writes into the directory
	defer n.drainMu.Unlock()
	if err := n.store.open(); err != nil {
		n.log.Error().Err(err).Msg("nothing will be kept across restarts")
		return
	}
	n.loadLists()
	roles, err := n.store.loadDrains()
	if err != nil {
		n.log.Error().Err(err).Msg("of what an operator drained this is forgotten")
	}
	n.mu.Lock()
	for _, r := range roles {
		n.drains[r] = true
	}
	n.mu.Unlock()
	s, encoded, saved, err := n.store.loadStatus(n.Identity().Domain)
	if err != nil {
		n.log.Error().Err(err).Msg("saved status refused")
	}
	if s != nil {
		n.tracker.restore(s, encoded, saved)
		n.publish()
		n.log.Info().Uint64("epoch", s.Epoch).Uint64("gen", s.Generation).Time("saved", saved).
			Msg("starting with the status of an earlier run")
	}
}

// turn is the loop: it returns when ctx ends, or with the error of impossible.
func (n *Node) turn(ctx context.Context, impossible <-chan error) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-impossible:
			return err
		case m := <-n.msgs:
			n.receive(ctx, m)
		case err := <-n.saved:
			n.wrote(err, time.Now())
		case <-n.wake:
			n.follow(time.Now())
		case <-timer.C:
		}
		now := time.Now()
		n.step(now)
		timer.Reset(n.next().Sub(now))
	}
}

// step does what is due.
func (n *Node) step(now time.Time) {
	if n.online && !now.Before(n.nextBeat) {
		n.beat()
		n.planBeat(now)
	}
	req, changed := n.tracker.advance(now)
	if changed {
		n.publish()
		n.log.Warn().Uint64("epoch", n.View().Mark().Epoch).Uint64("gen", n.View().Mark().Generation).
			Msg("no manager confirms the status, keeping it")
	}
	if req != nil {
		n.request(req, now)
	}
	if n.dirty && !n.saving && !now.Before(n.nextSave) {
		n.save()
	}
	if n.listsDirty {
		n.saveLists()
	}
	if n.online && !now.Before(n.nextLists) {
		n.askForLists(n.link.state().nc, now)
	}
}

// next is when step has something to do, unless something happens before.
func (n *Node) next() time.Time {
	at := n.tracker.next()
	if n.online {
		at = earliest(earliest(at, n.nextBeat), n.nextLists)
	}
	if n.dirty && !n.saving {
		at = earliest(at, n.nextSave)
	}
	if at.IsZero() {
		at = time.Now().Add(time.Hour)
	}
	return at
}

// planBeat sets the time of the next beat: members that started together drift
// apart.
func (n *Node) planBeat(now time.Time) {
	n.nextBeat = now.Add(n.cfg.Beat - n.cfg.Beat/10 + rand.N(n.cfg.Beat/5))
}

// follow acts on what the callbacks of the connection reported, and keeps the
// subscriptions to what is to be answered.
func (n *Node) follow(now time.Time) {
	if n.doubted.Swap(false) {
		n.tracker.doubt(now)
	}
	l := n.link.state()
	fresh := l.up && l.number != n.number
	first := n.number == 0
	if fresh || l.up != n.online {
		n.online = l.up
		if fresh {
			n.number = l.number
			n.tracker.online(now)
		} else {
			n.tracker.offline()
		}
		n.publish()
	}
	if !l.up {
		return
	}
	if first {
		n.subscribe(l.nc)
	}
	if fresh {
		n.askForLists(l.nc, now)
		n.forgive()
		n.beat()
		n.planBeat(now)
	}
	n.subscribeRequests(l.nc)
	if first {
		if err := l.nc.FlushTimeout(time.Second); err != nil {
			n.log.Debug().Err(err).Msg("flush") // the connection is going; the next one knows the subscriptions
		}
		close(n.ready)
	}
}

// subscribe asks for the status. All messages of a Node share one channel, which
// keeps their order and needs no goroutine.
func (n *Node) subscribe(nc *nats.Conn) {
	want := []string{subjects.StatusTick, subjects.StatusDelta}
	if n.cfg.Credentials != nil {
		want = append(want, subjects.AllCRLs)
	}
	for _, s := range want {
		if _, err := nc.ChanSubscribe(s, n.msgs); err != nil {
			n.log.Error().Err(err).Str("subject", s).Msg("subscribe")
		}
	}
}

// subscribeRequests makes the subscriptions those that are wanted.
func (n *Node) subscribeRequests(nc *nats.Conn) {
	want := n.wanted()
	for s, r := range n.routes {
		if want[s] == nil {
			_ = r.sub.Unsubscribe() // fails only when the connection is closed
			delete(n.routes, s)
		}
	}
	for s, h := range want {
		r := n.routes[s]
		if r.sub == nil {
			sub, err := nc.ChanSubscribe(s, n.msgs)
			if err != nil {
				n.log.Error().Err(err).Str("subject", s).Msg("subscribe")
				continue
			}
			r.sub = sub
		}
		r.handler = h
		n.routes[s] = r
	}
}

// receive takes one message of any subscription.
func (n *Node) receive(ctx context.Context, m *nats.Msg) {
	now := time.Now()
	var changed bool
	var err error
	switch {
	case m.Subject == subjects.StatusTick:
		changed, err = n.receiveTick(m.Data, now)
	case m.Subject == subjects.StatusDelta:
		var d *subjects.Delta
		if d, err = subjects.ParseDelta(m.Data); err == nil {
			changed, err = n.tracker.delta(d, now)
		}
	case strings.HasPrefix(m.Subject, subjects.PublishCRL("")), m.Subject == n.listsReply:
		n.receiveList(m)
		return
	case strings.HasPrefix(m.Subject, n.answers):
		changed, err = n.receivePart(m, now)
	default:
		n.serve(ctx, m)
		return
	}
	if err != nil {
		n.drop(m.Subject, err)
	}
	n.noteConfirmed()
	if changed {
		n.publish()
	}
}

// receiveTick does not decode a tick that begins like the one of the status
// held, which nearly all do.
func (n *Node) receiveTick(b []byte, now time.Time) (changed bool, err error) {
	if n.current != nil && len(b) <= subjects.MaxView && bytes.HasPrefix(b, n.current) {
		return n.tracker.same(now), nil
	}
	k, err := subjects.ParseTick(b)
	if err != nil {
		return false, err
	}
	return n.tracker.tick(k, now)
}

// tickPrefix is how Tick.Encode begins for the status of this mark and digest.
func tickPrefix(m subjects.Mark, digest string) []byte {
	return fmt.Appendf(nil, `{"v":%d,"epoch":%d,"generation":%d,"digest":"%s",`, subjects.Version, m.Epoch, m.Generation, digest)
}

// request asks the managers for the snapshot. Each request has a reply subject
// of its own, so that answers to an earlier one are known. The parts go through
// the loop's channel, beside the changes that follow them.
func (n *Node) request(r *subjects.SnapshotRequest, now time.Time) {
	if n.endAsk != nil {
		n.endAsk()
	}
	n.parts = subjects.Assembly{}
	n.metrics.repairs.Inc()
	l := n.link.state()
	if !l.up {
		return // the next connection begins anew
	}
	_, reply, end, err := n.asks.add(context.Background(), n.id, subjects.StatusGet, n.msgs)
	n.reply, n.endAsk = reply, end
	if err == nil {
		err = l.nc.PublishRequest(subjects.StatusGet, reply, r.Encode())
	}
	if err != nil {
		n.log.Debug().Err(err).Msg("ask for snapshot")
		n.tracker.failed(now)
	}
}

// receivePart takes one message of the answer to request.
func (n *Node) receivePart(m *nats.Msg, now time.Time) (changed bool, err error) {
	if m.Subject != n.reply || n.tracker.ask.until.IsZero() {
		return false, nil // of an earlier request, or a second answer
	}
	if unheard(m) {
		n.tracker.failed(now)
		return false, nil
	}
	if code := m.Header.Get(subjects.HeaderError); code != "" {
		n.tracker.failed(now)
		n.log.Debug().Str("code", subjects.Printable(code, 32)).Msg("snapshot refused")
		return false, nil
	}
	plain, done, err := n.parts.Add(m.Header.Get, m.Data)
	if err == nil && !done {
		n.tracker.progress(now)
		return false, nil
	}
	var s *subjects.Status
	if err == nil {
		s, err = subjects.ParseStatus(plain)
	}
	n.parts = subjects.Assembly{}
	if err != nil {
		n.tracker.failed(now)
		return false, err
	}
	return n.tracker.snapshot(s, plain, now)
}

// drop counts a message that was refused and logs the first for each reason.
func (n *Node) drop(subject string, err error) {
	code := subjects.CodeOf(err)
	n.metrics.drop(code)
	n.once("drop "+string(code), func() {
		n.log.Error().Err(err).Str("subject", subjects.Printable(subject, 200)).Msg("message refused")
	})
}

func (n *Node) noteConfirmed() {
	if !n.tracker.confirmed.IsZero() {
		n.metrics.confirmed.Store(n.tracker.confirmed.UnixNano())
	}
}

// publish makes what the tracker holds the current view and tells the watchers.
func (n *Node) publish() {
	t := &n.tracker
	old := n.View()
	v := &View{
		Status: t.status, Encoded: t.encoded, Received: t.received,
		Stale: t.stale, FromDisk: t.fromDisk, Connected: n.online, Connection: n.number,
	}
	if v.Status != old.Status {
		n.current = tickPrefix(v.Mark(), t.digest)
		n.metrics.epoch.Set(float64(v.Mark().Epoch))
		n.metrics.generation.Set(float64(v.Mark().Generation))
		n.dirty = n.dirty || !t.fromDisk
	}
	if old.Stale && !v.Stale {
		n.log.Info().Uint64("epoch", v.Mark().Epoch).Uint64("gen", v.Mark().Generation).Msg("the status is current")
	}
	if v.Connected {
		n.metrics.connected.Set(1)
	} else {
		n.metrics.connected.Set(0)
	}
	n.view.Store(v)
	n.watchers.send(v)
	if v.Status != old.Status {
		n.updateTables()
	}
}

// save writes the status in a goroutine of its own: a disk that hangs must not
// keep the beats from going out.
func (n *Node) save() {
	n.dirty, n.saving = false, true
	encoded := n.tracker.encoded
	n.working.Go(func() { n.saved <- n.store.saveStatus(encoded, time.Now()) })
}

func (n *Node) wrote(err error, now time.Time) {
	n.saving = false
	n.nextSave = now.Add(saveEvery)
	if err != nil {
		n.dirty = true
		n.nextSave = now.Add(saveAgain)
	}
	if sick := err != nil; sick != n.saveSick {
		n.saveSick = sick
		if sick {
			n.log.Error().Err(err).Msg("the status cannot be kept, trying on")
		} else {
			n.log.Info().Msg("the status is kept again")
		}
	}
}

// end finishes what is under way, writes the status and closes the connection.
func (n *Node) end(closed <-chan struct{}) {
	n.link.mu.Lock()
	n.link.closing = true
	n.link.mu.Unlock()
	n.working.Wait()
	select {
	case err := <-n.saved:
		n.wrote(err, time.Now())
	default:
	}
	if n.dirty {
		n.wrote(n.store.saveStatus(n.tracker.encoded, time.Now()), time.Now())
	}
	if nc := n.dialled.Load(); nc != nil {
		nc.Close()
		select {
		case <-closed: // the last of its callbacks has run
		case <-time.After(closeAfter):
		}
	}
	n.link.mu.Lock()
	n.link.up = false
	n.link.mu.Unlock()
	n.online = false
	n.publish()
}
