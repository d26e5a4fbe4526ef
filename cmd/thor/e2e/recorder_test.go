//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"thor/identity"
	"thor/subjects"
)

// recorder checks that (epoch, generation) never goes back, and that chosen
// members never vanish. It hears the SDK, and the bus itself, since the SDK drops
// what is old.
type recorder struct {
	mu      sync.Mutex
	faults  []string
	keep    []entry // that must be up now
	last    subjects.Mark
	heard   subjects.Mark
	via     map[subjects.NodeID]string // broker of each SIP proxy
	updates int
	raw     int
}

func (n *network) record(t testing.TB, opts ...nats.Option) *recorder {
	t.Helper()
	r := &recorder{via: make(map[subjects.NodeID]string)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for v := range n.view.Watch(ctx) {
			r.note(v.Status)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	n.listen(t, r, opts...)
	return r
}

// listen gives r what is said on the bus, over a connection of its own.
func (n *network) listen(t testing.TB, r *recorder, opts ...nats.Option) {
	t.Helper()
	creds, err := identity.Load(identity.Files{Cert: n.Operator.Cert, Key: n.Operator.Key, CA: n.Operator.CA})
	if err != nil {
		t.Fatal(err)
	}
	opts = append([]nats.Option{
		nats.Secure(creds.ClientTLS()), nats.ClientTLSConfig(nil, creds.RootCAs), nats.TLSHandshakeFirst(),
		nats.MaxReconnects(-1), nats.ReconnectWait(200 * time.Millisecond), nats.IgnoreDiscoveredServers(),
	}, opts...)
	nc, err := nats.Connect(strings.Join(n.Brokers, ","), opts...)
	if err != nil {
		t.Fatal(err)
	}
	// One channel for all keeps the order of arrival; subscriptions with handlers
	// have a goroutine each.
	in, done := make(chan *nats.Msg, 64<<10), make(chan struct{})
	for _, subject := range []string{subjects.StatusTick, subjects.StatusDelta, subjects.Presence(subjects.SIPProxy, "*")} {
		if _, err := nc.ChanSubscribe(subject, in); err != nil {
			t.Fatal(err)
		}
	}
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		for {
			select {
			case m := <-in:
				r.hear(m)
			case <-done:
				return
			}
		}
	}()
	t.Cleanup(func() {
		nc.Close()
		close(done)
		<-heard
	})
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

func (r *recorder) hear(m *nats.Msg) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var mark subjects.Mark
	switch m.Subject {
	case subjects.StatusTick:
		t, err := subjects.ParseTick(m.Data)
		if err != nil {
			r.faults = append(r.faults, fmt.Sprintf("%s: %v", m.Subject, err))
			return
		}
		mark = t.Mark()
	case subjects.StatusDelta:
		d, err := subjects.ReadDelta(m.Header.Get, m.Data)
		if err != nil {
			r.faults = append(r.faults, fmt.Sprintf("%s: %v", m.Subject, err))
			return
		}
		mark = d.Mark()
	default:
		if a, err := subjects.ParseAnnouncement(m.Subject, m.Data); err == nil {
			r.via[a.Node], _, _ = strings.Cut(a.Via, "#")
		}
		return
	}
	if r.heard.After(mark) {
		r.faults = append(r.faults, fmt.Sprintf("%s went back from %v to %v", m.Subject, r.heard, mark))
	}
	r.heard = mark
	r.raw++
}

// busiest is the broker with the most SIP proxies connected to it.
func (r *recorder) busiest() (broker string, members int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	count := make(map[string]int)
	for _, b := range r.via {
		count[b]++
	}
	for b, n := range count {
		if n > members || n == members && b < broker {
			broker, members = b, n
		}
	}
	return broker, members
}

func (r *recorder) note(s *subjects.Status) {
	if s == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last.After(s.Mark()) {
		r.faults = append(r.faults, fmt.Sprintf("status went back from %v to %v", r.last, s.Mark()))
	}
	r.last = s.Mark()
	r.updates++
	for _, k := range r.keep {
		if m := s.Member(k.role, k.node); m == nil || m.State != subjects.Up {
			r.faults = append(r.faults, fmt.Sprintf("%s of %s vanished at %v", k.role, k.node, s.Mark()))
		}
	}
}

// An entry is one line of the status.
type entry struct {
	role subjects.Role
	node subjects.NodeID
}

// must names the SIP proxies that have to be up from now on.
func (r *recorder) must(nodes ...string) {
	var keep []entry
	for _, n := range nodes {
		keep = append(keep, entry{subjects.SIPProxy, subjects.NodeID(n)})
	}
	r.mustBe(keep)
}

func (r *recorder) mustBe(keep []entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keep = keep
}

func (r *recorder) failures() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.faults)
}
