package subscribers_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"thor/overlay"
	"thor/overlay/audit"
	"thor/overlay/subscriber"
	"thor/provisioning/push"
	"thor/subjects"
)

// answered changes key as a SOAP call does: it returns when the call is answered.
func (n *network) answered(p *peer, key, ha1 string) (behind []subjects.NodeID) {
	ctx, cancel := context.WithTimeout(n.t.Context(), time.Second)
	defer cancel()
	return p.live.Deliver(ctx, n.store.change(key, ha1, false))
}

// Once a change is answered no read gives what was before, at the owner and at
// the heir, although phones ask all the time.
func TestAnAnsweredChangeIsWhatOwnerAndHeirGive(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network) {
		p1, ps := trio(n)
		k := p1.keyOf("n1", "n2")
		n.answered(p1, k, "v0")
		ctx, stop := context.WithCancel(t.Context())
		var g sync.WaitGroup
		for range 4 {
			g.Go(func() {
				for ctx.Err() == nil {
					ps["n1"].ha1(k)
					time.Sleep(100 * time.Microsecond)
				}
			})
		}
		for i := 1; i <= 300; i++ {
			want := fmt.Sprint("v", i)
			if behind := n.answered(p1, k, want); len(behind) > 0 {
				t.Fatalf("%v are behind", behind)
			}
			if got := ps["n1"].ha1(k); got != want {
				t.Fatalf("after the answer the owner gives %s, not %s", got, want)
			}
			if got := ps["n2"].get("/subscriber/" + k + "/ha1?for=heir").Body.String(); got != want {
				t.Fatalf("after the answer the heir gives %s, not %s", got, want)
			}
		}
		stop()
		g.Wait()
	})
}

// The owner changes while passwords do: a node that was the owner before the
// server heard of it may have read what was before.
func TestAnAnsweredChangeIsGivenByANewOwnerToo(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network) {
		p1, ps := trio(n)
		var keys []string
		for i := range 60 {
			keys = append(keys, fmt.Sprintf("user%d@example.net", i))
		}
		all := func() (ps2 []*peer) {
			for _, p := range ps {
				ps2 = append(ps2, p)
			}
			return ps2
		}
		late, worst := 0, time.Duration(0)
		round := 0
		change := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); round++ {
				k, want := keys[round%len(keys)], fmt.Sprint("v", round)
				for _, p := range all() {
					p.ha1(k) // each takes what it may have, whenever it may
				}
				n.answered(p1, k, want)
				began := time.Now()
				for {
					old := ""
					for _, p := range all() {
						if w := p.get("/subscriber/" + k + "/ha1?for=register"); w.Code == 200 && w.Body.String() != want {
							old = string(p.name) + " gives " + w.Body.String()
						}
					}
					if old == "" {
						break
					}
					if late++; time.Since(began) > 2*time.Second {
						t.Fatalf("2 s after the answer %s, not %s", old, want)
					}
					time.Sleep(time.Millisecond)
				}
				worst = max(worst, time.Since(began))
				time.Sleep(time.Millisecond)
			}
		}
		change(200 * time.Millisecond)
		ps["n4"] = n.proxy("n4")
		change(6 * time.Second)
		ps["n2"].kill()
		delete(ps, "n2")
		change(6 * time.Second)
		ps["n2"] = n.proxy("n2")
		change(6 * time.Second)
		t.Logf("%d changes, %d reads of what was before, the last %v after the answer", round, late, worst)
		// The lookup of the server is up to 50 ms behind a node's; the reads here are 1 ms apart.
		if worst > 51*time.Millisecond {
			t.Errorf("what was before was given %v after the answer", worst)
		}
	})
}

// A node that does not answer is named by the answer's delivery, the log, the metric
// and the audit log, and so is that it has caught up.
func TestNodesThatAreBehindAreNamedUntilTheyCaughtUp(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network) {
		var acts bytes.Buffer
		p1 := n.join("p1", subjects.ProvisioningServer)
		var err error
		if p1.live, err = push.New(push.Config{
			Overlay: p1.node, Store: n.store, Log: n.logger("p1"), Metrics: p1.metrics, Audit: audit.To(&acts),
		}); err != nil {
			t.Fatal(err)
		}
		p1.member(subjects.ProvisioningServer, nil)
		p1.run(p1.live.Run)
		n1, slow := n.proxy("n1"), n.join("n2", subjects.SIPProxy)
		var mu sync.Mutex
		hangs, held := false, uint64(0)
		slow.node.Handle(subjects.Agent, subjects.VerbSubscriber, func(ctx context.Context, r *overlay.Request) *subjects.Reply {
			mu.Lock()
			wait := hangs
			mu.Unlock()
			if wait {
				<-ctx.Done()
				return nil
			}
			x, err := subscriber.ParseNotice(r.Data)
			if err != nil {
				t.Error(err)
				return nil
			}
			mu.Lock()
			held = max(held, x.Revision)
			mu.Unlock()
			h := subscriber.Held{V: 1, Key: x.Key, Revision: x.Revision}
			return &subjects.Reply{V: 1, Data: h.Encode()}
		})
		slow.member(subjects.SIPProxy, subjects.Attrs{subscriber.Attr: "1"})
		slow.run()
		n.settled([]*peer{p1, n1}, "n1", "n2")
		k := p1.keyOf("n2", "n1")
		if behind := n.answered(p1, k, "v0"); len(behind) > 0 {
			t.Fatalf("%v are behind", behind)
		}
		mu.Lock()
		hangs = true
		mu.Unlock()
		began := time.Now()
		if behind := n.answered(p1, k, "v1"); fmt.Sprint(behind) != "[n2]" {
			t.Errorf("%v are behind", behind)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("the answer took %v", took)
		}
		if m := gathered(t, p1.metrics); !strings.Contains(m, `thor_provisioning_behind_changes{peer="n2"} 1`) || !strings.Contains(m, "thor_provisioning_behind_nodes 1") {
			t.Errorf("metrics: %s", m)
		}
		said := func(outcome string) bool {
			return strings.Contains(acts.String(), `"who":"p1","act":"push","what":"sip_proxy of n2","from":"","outcome":"`+outcome+`"`)
		}
		if !said(audit.Failed) {
			t.Errorf("audit: %s", acts.String())
		}
		if s := n.log.String(); !strings.Contains(s, `"event":"behind"`) {
			t.Error("nothing is logged")
		}
		mu.Lock()
		hangs = false
		mu.Unlock()
		n.within(time.Minute, "it has caught up", func() bool { return said(audit.OK) })
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if held != n.store.last || n.store.waiting() != 0 {
			t.Errorf("it holds revision %d of %d, %d wait", held, n.store.last, n.store.waiting())
		}
		if m := gathered(t, p1.metrics); !strings.Contains(m, "thor_provisioning_behind_nodes 0") || strings.Contains(m, "behind_changes{") {
			t.Errorf("metrics: %s", m)
		}
		if s := n.log.String(); !strings.Contains(s, `"event":"caught_up"`) {
			t.Error("nothing is logged")
		}
	})
}

// What another server told the node is not held against it.
func TestANodeThatAnotherServerReachedIsNotBehind(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network) {
		p1, ps := trio(n)
		p2 := n.server("p2")
		n.within(10*time.Second, "both are members", func() bool { return len(ps["n1"].node.View().Status.Roles[subjects.ProvisioningServer]) == 2 })
		k := p1.keyOf("n1", "n2")
		n.answered(p1, k, "v0")
		p1.line.set(true) // p1 reaches nobody
		if behind := n.answered(p1, k, "v1"); fmt.Sprint(behind) != "[n1 n2]" {
			t.Errorf("%v are behind", behind)
		}
		n.within(time.Minute, "the other server repairs it", func() bool { return n.store.waiting() == 0 })
		if got := ps["n1"].ha1(k); got != "v1" {
			t.Errorf("the owner gives %s", got)
		}
		n.within(2*time.Minute, "the first one knows", func() bool {
			return strings.Contains(gathered(t, p1.metrics), "thor_provisioning_behind_nodes 0")
		})
		_ = p2
	})
}
