package manager

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"thor/broker/brokertest"
	"thor/manager/core"
	"thor/manager/election"
	"thor/overlay"
	"thor/subjects"
)

// A lone manager is connected, and its loop is the test's.
type lone struct {
	*Manager
	t      *testing.T
	broker *brokertest.B
	log    *bytes.Buffer
	reg    *prometheus.Registry
}

func inBubble(t *testing.T, f func(t *testing.T, m *lone)) {
	t.Helper()
	brokertest.InBubble(t, func(t *testing.T, b *brokertest.B) {
		n, err := overlay.New(overlay.Config{Identity: b.Identity("m1", subjects.Manager), Options: b.Options("m1", subjects.Manager)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := n.Run(ctx); err != nil {
				t.Errorf("overlay: %v", err)
			}
		})
		defer func() { cancel(); wg.Wait() }()
		<-n.Ready()
		m := &lone{t: t, broker: b, log: &bytes.Buffer{}, reg: prometheus.NewRegistry()}
		m.Manager, err = New(Config{
			Overlay: n, Domain: n.Identity().Domain, Addresses: n.Identity().Addresses, Log: zerolog.New(m.log), Metrics: m.reg,
		})
		if err != nil {
			t.Fatal(err)
		}
		m.seeker = newSeeker(ctx, n, m.Manager.log)
		m.elect = election.New(election.Config{Conn: n.Conn(), Order: m.candidateOrder})
		defer func() {
			m.setActive(false)
		}()
		f(t, m)
	})
}

// fakeTerm is a term whose end and ceiling the test decides.
type fakeTerm struct {
	until     time.Time
	ceiling   uint64
	used      uint64
	stepDowns int
}

func (f *fakeTerm) Valid(now time.Time) bool { return now.Before(f.until) }
func (f *fakeTerm) Quiet() time.Time         { return time.Time{} }
func (f *fakeTerm) Sure() time.Time          { return time.Time{} }
func (f *fakeTerm) Done() <-chan struct{}    { return nil }
func (f *fakeTerm) StepDown()                { f.stepDowns++ }
func (f *fakeTerm) Ceiling(used uint64) uint64 {
	f.used = max(f.used, used)
	return f.ceiling
}

// leads lets m lead for an hour.
func (m *lone) leads(epoch, first, ceiling uint64) *fakeTerm {
	m.t.Helper()
	for !m.core.MayCampaign() {
		m.pass(100 * time.Millisecond)
	}
	f := &fakeTerm{until: time.Now().Add(time.Hour), ceiling: ceiling}
	m.takeLead(f, epoch, first, time.Now())
	if !m.Active() {
		m.t.Fatal("it does not lead")
	}
	return f
}

// status is the newest that m holds, with its encoding.
func (m *lone) status() *core.Held { return m.holding.Load().Held }

// pass lets d pass with turns of the loop.
func (m *lone) pass(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		select {
		case f := <-m.seeker.found:
			m.takeFound(f, time.Now())
		default:
		}
		m.step(time.Now())
	}
	synctest.Wait()
}

// good is an announcement of n1 as sip_proxy, with further fields as JSON.
func good(seq int, more ...string) string {
	return fmt.Sprintf(`{"v":1,"node":"n1","role":"sip_proxy","boot":"a","seq":%d,"addresses":["10.0.0.1"]%s}`,
		seq, strings.Join(append([]string{""}, more...), ","))
}

// rejected is thor_rejected_total by code.
func (m *lone) rejected() map[subjects.Code]int {
	m.t.Helper()
	all, err := m.reg.Gather()
	if err != nil {
		m.t.Fatal(err)
	}
	out := map[subjects.Code]int{}
	for _, f := range all {
		if f.GetName() != "thor_rejected_total" {
			continue
		}
		for _, x := range f.GetMetric() {
			out[subjects.Code(x.GetLabel()[0].GetValue())] = int(x.GetCounter().GetValue())
		}
	}
	return out
}

// heard collects what is published on subject.
func (m *lone) heard(subject string) (msgs *[][]byte) {
	m.t.Helper()
	msgs = &[][]byte{}
	op := m.broker.Dial("op", subjects.Operator)
	if _, err := op.Subscribe(subject, func(x *nats.Msg) { *msgs = append(*msgs, x.Data) }); err != nil {
		m.t.Fatal(err)
	}
	if err := op.Flush(); err != nil {
		m.t.Fatal(err)
	}
	return msgs
}

func parsed[T any](t *testing.T, bs [][]byte) (out []T) {
	t.Helper()
	for _, b := range bs {
		var v T
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
	return out
}

// vouch tells the table, as a broker would, that a certificate lets n1 and n2 be
// a proxy and a relay at 10.0.0.1.
func (m *lone) vouch(t *testing.T) {
	t.Helper()
	for _, node := range []subjects.NodeID{"n1", "n2"} {
		w := subjects.Identity{
			V: subjects.Version, Broker: "b1", Node: node, Serial: "0a", NotAfter: time.Now().Add(time.Hour),
			Roles: []subjects.Role{subjects.SIPProxy, subjects.MediaRelay}, Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.1")},
		}
		m.take(&nats.Msg{Subject: subjects.IdentityOf("b1"), Data: w.Encode()}, time.Now())
	}
	if got := m.rejected(); len(got) != 0 {
		t.Fatalf("rejected %v", got)
	}
}
