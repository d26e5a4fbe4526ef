//go:build e2e

package e2e_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/nats-io/nats.go"

	"thor/cmd/thor/e2e/trace"
	"thor/identity"
	"thor/overlay"
	"thor/subjects"
)

// watchers are all that looks at the network while it is broken.
type watchers struct {
	f         *faultNet
	wg        sync.WaitGroup
	ctx       context.Context
	observers map[string]*observer
	replayed  sync.Map // messages that the lab itself repeats

	mu    sync.Mutex
	views map[string]*overlay.View // newest, by host
	names map[string][]string      // newest SRV answer, by server
	old   map[string]*nats.Msg     // the first message of each subject, to be replayed
}

// An observer is one process's worth of the SDK on a host.
type observer struct {
	host  *host
	creds *identity.Credentials
	dir   string
	node  *overlay.Node
	stop  context.CancelFunc
	done  chan struct{}
}

// watch starts the observers of all hosts, and 20 queries a second to each name server.
func (f *faultNet) watch(t *testing.T) *watchers {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &watchers{
		f: f, ctx: ctx, observers: make(map[string]*observer), views: make(map[string]*overlay.View),
		names: make(map[string][]string), old: make(map[string]*nats.Msg),
	}
	t.Cleanup(func() { cancel(); w.wg.Wait() })
	for _, h := range append(slices.Collect(maps.Values(f.byName)), f.desk) {
		node := "watch-" + h.name
		addressOf[node] = h.address
		f.certify(t, node, subjects.Operator, subjects.Monitor)
		creds := f.load(t, node)
		f.creds = append(f.creds, creds)
		o := &observer{host: h, creds: creds, dir: filepath.Join(h.dir, "watch")}
		w.observers[h.name] = o
		w.open(t, o)
		w.wg.Go(func() { w.owners(o) })
	}
	for _, name := range f.order {
		if d := f.daemons[name]; d.Program == trace.NameServer {
			for _, types := range [][]uint16{{dns.TypeSRV, dns.TypeA}, {dns.TypeSOA}} {
				w.wg.Go(func() {
					if err := d.p.host.enter(func() { w.ask(d, types) }); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
	w.wg.Go(func() { w.freshOnes(t) })
	w.wg.Go(w.stalls)
	return w
}

// open starts an observer, for the first time or again; its state is kept.
func (w *watchers) open(t *testing.T, o *observer) {
	n, err := overlay.New(overlay.Config{
		Credentials: o.creds, Brokers: w.f.brokers, StateDir: o.dir, Dial: o.host.dial,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(w.ctx)
	done := make(chan struct{})
	w.mu.Lock()
	o.node, o.stop, o.done = n, stop, done
	w.mu.Unlock()
	var parts sync.WaitGroup
	parts.Go(func() { _ = n.Run(ctx) })
	parts.Go(func() {
		for v := range n.Watch(ctx) {
			w.see(o.host.name, v)
		}
	})
	parts.Go(func() {
		select {
		case <-n.Ready():
			w.listen(ctx, o.host.name, n.Conn())
		case <-ctx.Done():
		}
	})
	w.wg.Go(func() { parts.Wait(); close(done) })
}

// restart ends an observer and starts it again: what it knew must survive.
func (w *watchers) restart(t *testing.T, host string) {
	o := w.observers[host]
	o.stop()
	<-o.done
	w.open(t, o)
}

func (w *watchers) node(host string) *overlay.Node {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.observers[host].node
}

// see notes a view.
func (w *watchers) see(host string, v *overlay.View) {
	w.mu.Lock()
	before := w.views[host]
	w.views[host] = v
	w.mu.Unlock()
	if v.Status == nil || before != nil && before.Mark() == v.Mark() && before.Stale == v.Stale && before.Connected == v.Connected {
		return
	}
	sum := sha256.Sum256(v.Encoded)
	s := &trace.Status{
		Observer: host, Epoch: v.Status.Epoch, Generation: v.Status.Generation, Manager: v.Status.Manager,
		Stale: v.Stale, Connected: v.Connected, FromDisk: v.FromDisk, Digest: hex.EncodeToString(sum[:8]),
	}
	if before == nil || before.Mark() != v.Mark() {
		s.Members = membersIn(v.Status)
	}
	w.f.log.Add(trace.Line{Status: s})
}

func membersIn(s *subjects.Status) (out []trace.Member) {
	for _, r := range s.RoleNames() {
		for _, m := range s.Roles[r] {
			x := trace.Member{Role: r, Node: m.Node, State: m.State}
			for _, a := range m.Addresses {
				x.Addresses = append(x.Addresses, a.String())
			}
			out = append(out, x)
		}
	}
	return out
}

// listen notes what is said on the bus, on an observer's connection.
func (w *watchers) listen(ctx context.Context, host string, nc *nats.Conn) {
	in := make(chan *nats.Msg, 4096)
	list := []string{subjects.StatusTick, subjects.StatusDelta, subjects.LeaseStored}
	if host == w.f.desk.name {
		list = append(list, subjects.Presence(subjects.SIPProxy, "*"))
	}
	for _, s := range list {
		if sub, err := nc.ChanSubscribe(s, in); err == nil {
			defer func() { _ = sub.Unsubscribe() }()
		}
	}
	for {
		select {
		case m := <-in:
			w.hear(host, m)
		case <-ctx.Done():
			return
		}
	}
}

func (w *watchers) hear(host string, m *nats.Msg) {
	if _, ours := w.replayed.Load(string(m.Data)); ours {
		return
	}
	if host == w.f.desk.name {
		w.mu.Lock()
		if w.old[m.Subject] == nil {
			w.old[m.Subject] = m
		}
		w.mu.Unlock()
	}
	h := &trace.Heard{Observer: host, Subject: m.Subject}
	switch m.Subject {
	case subjects.StatusTick:
		t, err := subjects.ParseTick(m.Data)
		if err != nil {
			return
		}
		h.Epoch, h.Generation, h.Manager = t.Epoch, t.Generation, t.Manager
	case subjects.StatusDelta:
		d, err := subjects.ReadDelta(m.Header.Get, m.Data)
		if err != nil {
			return
		}
		h.Epoch, h.Generation, h.Manager = d.Epoch, d.Generation, d.Manager
	case subjects.LeaseStored:
		w.f.lease(host, m)
		return
	default:
		return
	}
	w.f.log.Add(trace.Line{Heard: h})
}

// freshOnes asks all the time what an observer without a past is told first, on one
// host after the other.
func (w *watchers) freshOnes(t *testing.T) {
	hosts := slices.Sorted(maps.Keys(w.f.byName))
	for i := 0; w.ctx.Err() == nil; i++ {
		h := w.f.byName[hosts[i%len(hosts)]]
		w.fresh(t, h)
		select {
		case <-time.After(time.Second):
		case <-w.ctx.Done():
		}
	}
}

func (w *watchers) fresh(t *testing.T, h *host) {
	n, err := overlay.New(overlay.Config{
		Credentials: w.observers[h.name].creds, Brokers: w.f.brokers, Dial: h.dial,
	})
	if err != nil {
		t.Error(err)
		return
	}
	ctx, cancel := context.WithTimeout(w.ctx, 4*time.Second)
	var run sync.WaitGroup
	run.Go(func() { _ = n.Run(ctx) })
	for v := range n.Watch(ctx) {
		if v.Status != nil && !v.Stale {
			w.f.log.Add(trace.Line{Fresh: &trace.Heard{Observer: "fresh on " + h.name, Host: h.name, Epoch: v.Status.Epoch, Generation: v.Status.Generation, Manager: v.Status.Manager}})
			break
		}
	}
	cancel()
	run.Wait()
}

// owners notes twice a second what an observer computes for all keys.
func (w *watchers) owners(o *observer) {
	var last subjects.Mark
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-w.ctx.Done():
			return
		}
		if mark, hash := owners(w.node(o.host.name)); hash != "" && mark != last {
			last = mark
			w.f.log.Add(trace.Line{Owners: &trace.Owners{Observer: o.host.name, Epoch: mark.Epoch, Generation: mark.Generation, Hash: hash}})
		}
	}
}

// owners hashes who serves each of a thousand keys; empty when the status changed
// meanwhile, or there is none.
func owners(n *overlay.Node) (mark subjects.Mark, hash string) {
	sum := sha256.New()
	for i := range 1000 {
		a, m, err := n.Lookup(subjects.SIPProxy, fmt.Sprintf("user%d@%s", i, faultDomain))
		if err != nil || i > 0 && m != mark {
			return mark, ""
		}
		mark = m
		fmt.Fprintln(sum, a.Owner(), a.Heir())
	}
	return mark, hex.EncodeToString(sum.Sum(nil)[:8])
}

// differs says what is missing for the network to be whole again; empty: nothing.
func (w *watchers) differs() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var newest *overlay.View
	for host := range w.observers {
		v := w.views[host]
		switch {
		case v == nil || v.Status == nil || v.Stale || !v.Connected:
			return host + " has no present status"
		case newest != nil && newest.Mark() != v.Mark():
			return host + " has another status"
		}
		newest = v
	}
	for _, name := range w.f.order {
		d := w.f.daemons[name]
		for _, r := range append([]subjects.Role{d.Role}, d.Also...) {
			if m := newest.Status.Member(r, d.Node); m == nil || m.State != subjects.Up {
				return fmt.Sprintf("%s is missing as %s", name, r)
			}
		}
	}
	var want []string
	for _, m := range newest.Status.Roles[subjects.SIPProxy] {
		want = append(want, string(m.Node))
	}
	for _, name := range w.f.order {
		if w.f.daemons[name].Program == trace.NameServer && !slices.Equal(w.names[name], want) {
			return name + " answers otherwise"
		}
	}
	return ""
}

// missing are the processes whose members the newest status does not list.
func (w *watchers) missing() (out []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := w.views[w.f.desk.name]
	for _, name := range w.f.order {
		if d := w.f.daemons[name]; v != nil && v.Status.Member(d.Role, d.Node) == nil {
			out = append(out, name)
		}
	}
	return out
}
