//go:build e2e

package e2e_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"hash/maphash"
	mathrand "math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"thor/subjects"
)

// A follower holds which status its member has: mark and digest, not the content.
// A delta leads from one to the next, a tick confirms it, and what does not fit is
// repaired by the snapshot, at the times of the SDK.
type follower struct {
	have   subjects.Mark
	digest string
	want   subjects.Mark
	later  []*subjects.Delta

	nextBeat time.Time
	asking   *time.Timer // of the request planned
	reply    string      // of the request under way
	tries    int
	chunks   [][]byte
	got      int
}

// The numbers of the SDK's tracker.
const (
	lightDelta     = 150 * time.Millisecond
	lightWindow    = time.Millisecond // for each member
	lightAnswer    = 3 * time.Second
	lightRetry     = 250 * time.Millisecond // the first time
	lightRetryMost = 5 * time.Second
	lightLater     = 32
)

// window is the time over which members spread their requests.
func (f *fleet) window() time.Duration {
	return min(time.Duration(len(f.light)+len(f.sdk))*lightWindow, 10*time.Second)
}

// retry is how long a member waits after a request that did not help.
func (f *follower) retry(m *lightMember) time.Duration {
	f.tries++
	back := min(lightRetry<<min(f.tries-1, 10), lightRetryMost)
	return back/2 + mathrand.N(back/2+m.f.window())
}

func (f *follower) online(m *lightMember) {
	f.reply, f.tries = "", 0
	if f.have.IsZero() {
		f.plan(m, mathrand.N(50*time.Millisecond))
	}
}

// hold notes the status that the member has now. The caller holds m.mu, here and below.
func (f *follower) hold(m *lightMember, mark subjects.Mark, digest string) {
	f.have, f.digest = mark, digest
	m.mark.Store(mark.Generation)
	for again := true; again; {
		again = false
		for _, d := range f.later {
			if d.Prev == f.have && !d.Reload {
				f.have, f.digest = d.Mark(), d.Digest
				m.mark.Store(f.have.Generation)
				again = true
			}
		}
	}
	if !f.want.After(f.have) {
		f.later, f.tries = nil, 0
		if f.asking != nil && f.reply == "" {
			f.asking.Stop()
			f.asking = nil
		}
	}
}

func (f *follower) tick(m *lightMember, b []byte) {
	k, err := m.f.book.tick(b)
	if err != nil {
		m.f.fault("tick: %v", err)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if k.Mark() == f.have {
		if k.Digest != f.digest {
			m.f.fault("%s: status %v has digest %s, the tick says %s", m.node, f.have, f.digest, k.Digest)
		}
		return
	}
	if k.Mark().After(f.want) {
		f.want = k.Mark()
	}
	if f.want.After(f.have) {
		f.plan(m, lightDelta+mathrand.N(m.f.window()))
	}
}

func (f *follower) delta(m *lightMember, head, b []byte) {
	d, measured, err := m.f.book.delta(head, b, m.f.measured.Load())
	if err != nil {
		m.f.fault("delta: %v", err)
		return
	}
	if measured {
		m.heard.CompareAndSwap(0, int64(time.Since(m.f.began)))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case !d.Mark().After(f.have):
	case d.Prev == f.have && !d.Reload:
		f.hold(m, d.Mark(), d.Digest)
	default:
		if len(f.later) < lightLater {
			f.later = append(f.later, d)
		}
		if d.Mark().After(f.want) {
			f.want = d.Mark()
		}
		f.plan(m, mathrand.N(m.f.window()))
	}
}

// plan asks for the snapshot after a while, unless that is planned or under way.
func (f *follower) plan(m *lightMember, wait time.Duration) {
	if f.asking == nil {
		f.asking = time.AfterFunc(wait, func() { f.ask(m) })
	}
}

func (f *follower) ask(m *lightMember) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f.asking, f.reply = nil, ""
	if m.conn == nil || !f.have.IsZero() && !f.want.After(f.have) {
		return
	}
	f.reply = fmt.Sprintf("_ANSWER.%s.%s.%s", m.node, subjects.Manager, newBoot())
	f.chunks, f.got = nil, 0
	r := subjects.SnapshotRequest{V: subjects.Version}
	if f.want.After(f.have) && f.tries < 3 {
		want := f.want
		r.AtLeast = &want
	}
	m.publish(subjects.StatusGet, f.reply, r.Encode())
	m.f.repairs.Add(1)
	f.asking = time.AfterFunc(lightAnswer+f.retry(m), func() { f.ask(m) })
}

// answer takes one message of the answer to the request under way.
func (f *follower) answer(m *lightMember, subject string, head, b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if subject != f.reply {
		return
	}
	h := headerOf(head)
	if h["Thor-Error"] != "" || strings.HasPrefix(string(head), "NATS/1.0 503") {
		f.reply = ""
		f.asking.Stop()
		f.asking = nil
		f.plan(m, f.retry(m))
		return
	}
	n, of := 1, 1
	_, _ = fmt.Sscanf(h["Thor-Chunk"], "%d/%d", &n, &of) // absent: 1/1
	if f.chunks == nil {
		f.chunks = make([][]byte, of)
	}
	if n < 1 || n > len(f.chunks) || f.chunks[n-1] != nil {
		return
	}
	f.chunks[n-1] = b
	if f.got++; f.got < len(f.chunks) {
		return
	}
	mark, err := m.f.book.snapshot(h, f.chunks)
	f.reply, f.chunks = "", nil
	f.asking.Stop()
	f.asking = nil
	if err != nil {
		m.f.fault("%s: snapshot: %v", m.node, err)
		return
	}
	m.f.snapshots.Add(1)
	if mark.After(f.have) {
		f.hold(m, mark, h["Thor-Digest"])
	}
	if f.want.After(f.have) {
		f.plan(m, mathrand.N(m.f.window()))
	}
}

func headerOf(b []byte) map[string]string {
	h := make(map[string]string)
	for line := range strings.SplitSeq(string(b), "\r\n") {
		if k, v, ok := strings.Cut(line, ": "); ok {
			h[k] = v
		}
	}
	return h
}

// A book is what messages say that many members receive, each decoded once.
type book struct {
	seed maphash.Seed
	beat atomic.Int64 // of the newest tick, in milliseconds

	mu        sync.Mutex
	ticks     map[uint64]*subjects.Tick
	deltas    map[uint64]*bookDelta
	snapshots map[uint64]subjects.Mark
}

type bookDelta struct {
	*subjects.Delta
	nodes map[subjects.NodeID]bool // that it changes
}

func newBook() *book {
	return &book{
		seed: maphash.MakeSeed(), ticks: make(map[uint64]*subjects.Tick),
		deltas: make(map[uint64]*bookDelta), snapshots: make(map[uint64]subjects.Mark),
	}
}

func (k *book) tick(b []byte) (*subjects.Tick, error) {
	sum := maphash.Bytes(k.seed, b)
	k.mu.Lock()
	defer k.mu.Unlock()
	if t := k.ticks[sum]; t != nil {
		return t, nil
	}
	t, err := subjects.ParseTick(b)
	if err == nil {
		k.ticks[sum] = t
		k.beat.Store(int64(t.Beat))
	}
	return t, err
}

// delta decodes b, which came with head; measured says that it changes the node whose change is measured.
func (k *book) delta(head, b []byte, node *subjects.NodeID) (d *subjects.Delta, measured bool, err error) {
	sum := maphash.Bytes(k.seed, b)
	k.mu.Lock()
	defer k.mu.Unlock()
	x := k.deltas[sum]
	if x == nil {
		h := headerOf(head)
		if d, err = subjects.ReadDelta(func(name string) string { return h[name] }, b); err != nil {
			return nil, false, err
		}
		x = &bookDelta{d, make(map[subjects.NodeID]bool)}
		for _, c := range d.Changes {
			x.nodes[c.Node] = true
		}
		k.deltas[sum] = x
	}
	return x.Delta, node != nil && x.nodes[*node], nil
}

// snapshot is the mark of the snapshot in chunks, which has the digest that it
// came with.
func (k *book) snapshot(head map[string]string, chunks [][]byte) (subjects.Mark, error) {
	var h maphash.Hash
	h.SetSeed(k.seed)
	for _, c := range chunks {
		_, _ = h.Write(c)
	}
	sum := h.Sum64()
	k.mu.Lock()
	defer k.mu.Unlock()
	if mark, ok := k.snapshots[sum]; ok {
		return mark, nil
	}
	var a subjects.Assembly
	for i, c := range chunks {
		plain, done, err := a.Add(func(name string) string {
			if name == "Thor-Chunk" && len(chunks) > 1 {
				return fmt.Sprintf("%d/%d", i+1, len(chunks))
			}
			return head[name]
		}, c)
		if err != nil {
			return subjects.Mark{}, err
		}
		if !done {
			continue
		}
		var s struct{ Epoch, Generation uint64 }
		if err := json.Unmarshal(plain, &s); err != nil {
			return subjects.Mark{}, err
		}
		if d := fmt.Sprintf("%x", sha256.Sum256(bytes.TrimSpace(plain))); !strings.HasPrefix(d, head["Thor-Digest"]) {
			return subjects.Mark{}, fmt.Errorf("digest %s, told %s", d, head["Thor-Digest"])
		}
		mark := subjects.Mark{Epoch: s.Epoch, Generation: s.Generation}
		k.snapshots[sum] = mark
		return mark, nil
	}
	return subjects.Mark{}, fmt.Errorf("%d chunks are not a snapshot", len(chunks))
}
