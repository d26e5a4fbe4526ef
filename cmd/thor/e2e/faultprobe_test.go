//go:build e2e

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"thor/cmd/thor/e2e/trace"
	"thor/identity"
	"thor/manager/election"
	"thor/subjects"
)

// The registers of I3: a key of the probes beside the snapshot, in the same bucket
// and so under the same leader, and the lease.
const (
	probeKey = "role.lab_probe"
	leaseKey = "lease"
)

// probes write a key of the status bucket by compare-and-set, one from each host of
// the core and through its own broker alone.
type probes struct {
	f  *faultNet
	wg sync.WaitGroup

	mu   sync.Mutex
	life int  // counts the lives of the buckets
	held bool // a bucket is about to be lost
	n    int  // of values
}

func (f *faultNet) probe(t *testing.T) *probes {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &probes{f: f}
	t.Cleanup(func() { cancel(); p.wg.Wait() })
	for i, h := range f.topology.Core {
		node := "probe-" + h
		addressOf[node] = addressOf[h]
		f.certify(t, node, subjects.Manager)
		creds := f.load(t, node)
		f.creds = append(f.creds, creds)
		nc := f.dial(t, f.byName[h], creds, f.brokers[i])
		b, err := election.OpenBucket(nc, subjects.StatusBucket)
		if err != nil {
			t.Fatal(err)
		}
		lease, err := election.OpenBucket(nc, subjects.ElectionBucket)
		if err != nil {
			t.Fatal(err)
		}
		p.wg.Go(func() {
			defer nc.Close()
			p.run(ctx, h, b, lease)
		})
	}
	return p
}

// dial connects with a manager's certificate to one broker, at once or later.
func (f *faultNet) dial(t *testing.T, h *host, creds *identity.Credentials, broker string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(broker, nats.Secure(creds.ClientTLS()), nats.ClientTLSConfig(nil, creds.RootCAs), nats.TLSHandshakeFirst(),
		nats.SetCustomDialer(hostDialer{h}), nats.MaxReconnects(-1), nats.ReconnectWait(300*time.Millisecond), nats.RetryOnFailedConnect(true),
		nats.IgnoreDiscoveredServers(), nats.PingInterval(time.Second), nats.MaxPingsOutstanding(2), nats.ReconnectBufSize(-1),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // connections break all the time
		nats.CustomInboxPrefix(subjects.JetStreamPrefix(creds.Identity().Node)))
	if err != nil {
		t.Fatal(err)
	}
	return nc
}

// hold stops the probes before a bucket is lost; a new life begins with the end.
func (p *probes) hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = true
	p.life++
}

func (p *probes) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = false
}

// next is the value of the next write, and the life of the buckets; 0 while a bucket
// is about to be lost.
func (p *probes) next(client string) (value string, life int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held {
		return "", 0
	}
	p.n++
	return fmt.Sprintf("%s-%d", client, p.n), p.life + 1
}

func (p *probes) run(ctx context.Context, client string, b, lease *election.Bucket) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		value, life := p.next(client)
		if life == 0 {
			continue
		}
		if i%5 == 0 {
			p.get(ctx, client, leaseKey, life, lease, subjects.ElectionKey)
		}
		if revision, ok := p.get(ctx, client, probeKey, life, b, probeKey); ok {
			p.replace(ctx, client, life, b, value, revision)
		}
	}
}

// note adds an operation, unless the life of its bucket ended meanwhile.
func (p *probes) note(op *trace.Op) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.held && op.Bucket == p.life+1 {
		p.f.log.Add(trace.Line{Op: op})
	}
}

// get reads directly, from whichever copy answers.
func (p *probes) get(ctx context.Context, client, name string, life int, b *election.Bucket, key string) (revision uint64, ok bool) {
	op := &trace.Op{Client: client, Bucket: life, Key: name, Get: true, Called: p.f.log.Now(), Result: trace.OK}
	e, err := b.Get(ctx, key)
	if err != nil {
		return 0, false
	}
	if e != nil {
		op.Revision, op.Value = e.Revision, string(e.Value)
		if name == leaseKey {
			op.Value = ""
		}
	}
	p.note(op)
	return op.Revision, true
}

func (p *probes) replace(ctx context.Context, client string, life int, b *election.Bucket, value string, revision uint64) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	op := &trace.Op{Client: client, Bucket: life, Key: probeKey, Called: p.f.log.Now(), Expected: revision, Value: value}
	rev, err := b.Replace(ctx, probeKey, []byte(value), revision, 0)
	switch {
	case err == nil:
		op.Result, op.Revision = trace.OK, rev
	case election.IsConflict(err):
		op.Result = trace.Conflict
	default:
		op.Result = trace.Unknown
	}
	p.note(op)
}

// leaseWait is the longest between a manager's write and the moment at which the desk
// hears that it was stored: two seconds that the manager waits for the answer, and what
// a broker or the machine may hold the message back.
const leaseWait = 10 * time.Second

// lease notes a stored lease, as each broker's copy of the bucket's leader tells it:
// a compare-and-set whose call lies up to leaseWait before.
func (f *faultNet) lease(host string, m *nats.Msg) {
	if host != f.desk.name {
		return // once is enough
	}
	var l struct {
		Epoch   uint64          `json:"epoch"`
		Manager subjects.NodeID `json:"manager"`
	}
	rev, err := strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64)
	if err != nil {
		return
	}
	last, err := strconv.ParseUint(m.Header.Get(jetstream.LastSequenceHeader), 10, 64)
	if err != nil {
		return
	}
	if json.Unmarshal(m.Data, &l) == nil && l.Epoch > 0 {
		f.log.Add(trace.Line{Heard: &trace.Heard{Observer: host + " lease", Subject: m.Subject, Epoch: l.Epoch, Manager: l.Manager}})
	}
	now := f.log.Now()
	if f.probes != nil {
		f.probes.stored(&trace.Op{Client: "managers", Key: leaseKey, Expires: true, Called: max(0, now-trace.Moment(leaseWait)), Expected: last, Revision: rev, Result: trace.OK})
	}
}

// stored notes a write of the lease.
func (p *probes) stored(op *trace.Op) {
	p.mu.Lock()
	op.Bucket = p.life + 1
	p.mu.Unlock()
	p.note(op)
}
