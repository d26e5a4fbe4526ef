//go:build e2e

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/semaphore"

	"thor/identity"
	"thor/overlay"
	"thor/subjects"
)

// A fleet is all members of the scale test, and the observers of what is said of
// them.
type fleet struct {
	net       *scaleNet
	book      *book
	began     time.Time
	dialing   *semaphore.Weighted // connections that are being made at once…
	computing chan struct{}       // …and those whose handshake computes
	light     []*lightMember
	probes    []*lightMember // of light, those that are killed and frozen
	sdk       []*overlay.Node
	view      *overlay.Node // an operator's
	ctx       context.Context
	wg        sync.WaitGroup

	joined   bool                            // all members were started
	measured atomic.Pointer[subjects.NodeID] // whose change is measured

	connects, failedDials, beats, pings, repairs, snapshots, asks atomic.Int64
	breaks                                                        atomic.Int64 // connections that ended though nothing was done to them
	late, answered                                                atomic.Int64 // ns: the latest pulse of a light member, the longest wait for a PONG
	expectBreaks                                                  atomic.Bool  // a broker is being killed

	mu       sync.Mutex
	faults   []string
	breakage map[string]int
	left     map[subjects.NodeID]string // who was removed though nothing was done to it, and why
	doomed   map[subjects.NodeID]bool   // who is killed or frozen
	guards   int
}

const (
	dialsAtOnce     = 512
	computingAtOnce = 4
	sdkMembers      = 50
	probeCount      = 8
)

// raise makes v at least d.
func raise(v *atomic.Int64, d time.Duration) {
	for was := v.Load(); int64(d) > was && !v.CompareAndSwap(was, int64(d)); was = v.Load() {
	}
}

// fault notes what must not happen.
func (f *fleet) fault(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.faults) < 1000 {
		f.faults = append(f.faults, fmt.Sprintf(format, args...))
	}
}

// broken notes a connection that ended although the member did not end it.
func (f *fleet) broken(m *lightMember, err error) {
	if f.expectBreaks.Load() || errors.Is(err, errFrozen) {
		return
	}
	f.breaks.Add(1)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.breakage[fmt.Sprint(err)]++
}

// beatEvery is how often members beat, by the newest tick, and whether beats may be short.
func (f *fleet) beatEvery() (every time.Duration, short bool) {
	told := time.Duration(f.book.beat.Load()) * time.Millisecond
	return max(time.Second, told), told > 0
}

// newFleet certifies the members and observers; nothing is connected but these.
func newFleet(t testing.TB, net *scaleNet, members int) *fleet {
	t.Helper()
	f := &fleet{
		net: net, book: newBook(), began: time.Now(), dialing: semaphore.NewWeighted(dialsAtOnce), computing: make(chan struct{}, computingAtOnce), ctx: t.Context(),
		breakage: make(map[string]int), left: make(map[subjects.NodeID]string), doomed: make(map[subjects.NodeID]bool),
	}
	roles := []subjects.Role{subjects.SIPProxy, subjects.MediaRelay}
	for i := range members - sdkMembers {
		role := roles[i%len(roles)]
		if i < probeCount {
			role = scaleProbes
		}
		m := &lightMember{
			f: f, node: subjects.NodeID(fmt.Sprintf("m%05d", i)), role: role, boot: newBoot(), broker: i % scaleServers, weight: 100,
			addr: netip.AddrFrom4([4]byte{127, 94 + byte(i/60_000), byte(i / 250 % 240), 1 + byte(i%250)}),
		}
		var err error
		if m.cert, err = net.certificate(m.node, m.addr, m.role); err != nil {
			t.Fatal(err)
		}
		f.light = append(f.light, m)
	}
	f.probes = f.light[:probeCount]
	f.observe(t)
	for i := range sdkMembers {
		node := fmt.Sprintf("s%05d", i)
		addr := netip.AddrFrom4([4]byte{127, 95, 0, 1 + byte(i)})
		f.sdk = append(f.sdk, f.overlay(t, net.files(t, node, addr, subjects.SIPProxy)))
	}
	t.Cleanup(f.wg.Wait)
	return f
}

// overlay is a node of the SDK that runs until the test ends, once it is started.
func (f *fleet) overlay(t testing.TB, files identity.Files) *overlay.Node {
	t.Helper()
	creds, err := identity.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	var urls []string
	for _, b := range f.net.brokers {
		urls = append(urls, "tls://"+b)
	}
	n, err := overlay.New(overlay.Config{Credentials: creds, Brokers: urls})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (f *fleet) run(n *overlay.Node) { f.wg.Go(func() { _ = n.Run(f.ctx) }) }

// observe hears the history, and holds the status.
func (f *fleet) observe(t testing.TB) {
	t.Helper()
	operator := identity.Files{Cert: f.net.dir + "/operator/node.crt", Key: f.net.dir + "/operator/node.key", CA: f.net.dir + "/operator/ca.crt"}
	f.view = f.overlay(t, operator)
	f.run(f.view)
	select {
	case <-f.view.Ready():
	case <-time.After(30 * time.Second):
		t.Fatal("no broker accepts the operator")
	}
	if _, err := f.view.Conn().Subscribe(subjects.Events, func(m *nats.Msg) { f.event(m.Data) }); err != nil {
		t.Fatal(err)
	}
	eventually(t, 60*time.Second, "a status with three managers and the name server", func() bool {
		s := f.view.View().Status
		return s != nil && len(s.Roles[subjects.Manager]) == scaleServers && len(s.Roles[subjects.DNSManager]) == 1
	})
}

func (f *fleet) event(b []byte) {
	e, err := subjects.ParseEvent(b)
	if err != nil {
		f.fault("event: %v", err)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch e.Kind {
	case subjects.EventGuard:
		f.guards++
	case subjects.EventLeave:
		if !f.doomed[e.Node] && !e.Role.Infrastructure() {
			f.left[e.Node] = e.Detail
		}
	}
}

// join starts all members.
func (f *fleet) join(t testing.TB) {
	f.joined = true
	for _, m := range f.light {
		f.start(m)
	}
	for _, n := range f.sdk {
		if _, err := n.Join(overlay.Member{Role: subjects.SIPProxy}); err != nil {
			t.Fatal(err)
		}
		f.run(n)
	}
}

// start runs a light member until the test ends or the result is called.
func (f *fleet) start(m *lightMember) (end func()) {
	ctx, cancel := context.WithCancel(f.ctx)
	done := make(chan struct{})
	f.wg.Go(func() { defer close(done); defer cancel(); m.run(ctx) })
	context.AfterFunc(ctx, m.drop)
	m.stop = func() { cancel(); <-done }
	return m.stop
}

// complete reports whether the status lists all members.
func (f *fleet) complete() bool {
	s := f.view.View().Status
	return s != nil && f.listed(s) == len(f.light)+len(f.sdk)
}

func (f *fleet) listed(s *subjects.Status) int {
	return len(s.Roles[subjects.SIPProxy]) + len(s.Roles[subjects.MediaRelay]) + len(s.Roles[scaleProbes])
}

// everywhere reports whether all members hold the status of that generation, or
// a later one; behind is how many do not.
func (f *fleet) everywhere(generation uint64) (behind int) {
	for _, m := range f.light {
		if m.mark.Load() < generation {
			behind++
		}
	}
	for _, n := range f.sdk {
		if n.View().Mark().Generation < generation || n.View().Stale {
			behind++
		}
	}
	return behind
}

// connected is how many light members have a connection.
func (f *fleet) connected() (up int) {
	for _, m := range f.light {
		if m.connected.Load() {
			up++
		}
	}
	return up
}

// doom marks members that will be killed or frozen, or takes that back.
func (f *fleet) doom(m *lightMember, doomed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.doomed[m.node] = doomed
}

// summary is what went wrong so far.
func (f *fleet) summary() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := fmt.Sprintf("broken connections %d, removals %d, guards raised %d, faults %d; dials that failed %d, requests for the snapshot %d, snapshots %d, asks for full announcements %d",
		f.breaks.Load(), len(f.left), f.guards, len(f.faults), f.failedDials.Load(), f.repairs.Load(), f.snapshots.Load(), f.asks.Load())
	out += fmt.Sprintf("\n  since the summary before, pings of the harness were late by up to %d ms, and answered after up to %d ms",
		f.late.Swap(0)/1e6, f.answered.Swap(0)/1e6)
	for why, n := range f.breakage {
		out += fmt.Sprintf("\n  %d broke: %s", n, why)
	}
	reasons := make(map[string]int)
	for _, why := range f.left {
		reasons[why]++
	}
	for why, n := range reasons {
		out += fmt.Sprintf("\n  %d removed: %s", n, why)
	}
	for _, s := range slices.Compact(f.faults[:min(5, len(f.faults))]) {
		out += "\n  fault: " + s
	}
	return out
}
