package manager_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"thor/broker/brokertest"
	"thor/manager"
	"thor/overlay"
	"thor/subjects"
)

// restartable is a manager whose disk outlives it: that of its overlay too.
func restartable(t *testing.T, b *brokertest.B, name, dir string, bits map[subjects.Role]int) *peer {
	t.Helper()
	n, err := overlay.New(overlay.Config{Identity: b.Identity(name, subjects.Manager), Options: b.Options(name, subjects.Manager), StateDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{node: n}
	p.mgr, err = manager.New(manager.Config{
		Overlay: n, Domain: n.Identity().Domain, Addresses: n.Identity().Addresses, StateDir: dir, Lookup: bits,
		Log: zerolog.New(zerolog.NewTestWriter(t)).With().Timestamp().Str("node", name).Logger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	p.run(t)
	return p
}

// kill ends p as kill -9 does, as far as others see it.
func (p *peer) kill() {
	p.node.Conn().Close()
	p.stop()
}

// newcomer is a process without a disk, which asks for the status at once.
func newcomer(t *testing.T, b *brokertest.B, name string) *peer {
	t.Helper()
	p := join(t, b, name, subjects.Monitor)
	p.run(t)
	return p
}

func proxies(p *peer) (out []subjects.NodeID) {
	for _, m := range p.node.View().Status.Roles[subjects.SIPProxy] {
		out = append(out, m.Node)
	}
	return out
}

// A manager comes back with the disk of yesterday, while no other leads: whoever
// asks meanwhile is told nothing rather than the past.
func TestARestartedManagerTellsNothingOfThePast(t *testing.T) {
	brokertest.InBubble(t, func(t *testing.T, b *brokertest.B) {
		d2 := t.TempDir()
		m1 := candidate(t, b, "m1", t.TempDir())
		time.Sleep(3 * time.Second)
		m2 := restartable(t, b, "m2", d2, nil)
		member(t, b, "n1", subjects.SIPProxy)
		w := newcomer(t, b, "w")
		time.Sleep(20 * time.Second)
		m2.stop()
		member(t, b, "n2", subjects.SIPProxy)
		time.Sleep(10 * time.Second)
		told := w.node.View().Mark()
		m1.kill()
		restartable(t, b, "m2", d2, nil)
		for i := range 60 {
			time.Sleep(250 * time.Millisecond)
			c := newcomer(t, b, fmt.Sprintf("c%d", i))
			for range 10 {
				time.Sleep(10 * time.Millisecond)
				if k := c.node.View().Mark(); !k.IsZero() && told.After(k) {
					t.Fatalf("%v was told to one that asked %d ms after, though %v was told before", k, 250*(i+1), told)
				}
			}
			c.stop()
			if k := w.node.View().Mark(); k.After(told) {
				told = k
			}
		}
		if w.node.View().Status.Manager != "m2" {
			t.Errorf("m2 does not lead: %s", w.node.View().Encoded)
		}
	})
}

// A plain NATS client gets no answer from a manager that does not know the
// present, and one with its age from others.
func TestAnswersSayHowOldTheyAre(t *testing.T) {
	brokertest.InBubble(t, func(t *testing.T, b *brokertest.B) {
		dirs := []string{t.TempDir(), t.TempDir()}
		ms := []*peer{restartable(t, b, "m1", dirs[0], nil), restartable(t, b, "m2", dirs[1], nil)}
		op := b.Dial("op", subjects.Operator)
		ask := func() *nats.Msg {
			m, err := op.Request(subjects.StatusGet, nil, time.Second)
			if err != nil {
				return nil
			}
			return m
		}
		within(t, 20*time.Second, "an answer", func() bool { return ask() != nil })
		time.Sleep(5 * time.Second)
		active, standby := false, false
		for range 40 {
			m := ask()
			age, ok := subjects.ParseAge(m.Header.Get(subjects.HeaderAge))
			if !ok || age > 2*time.Second {
				t.Fatalf("age %q", m.Header.Get(subjects.HeaderAge))
			}
			active, standby = active || age == 0, standby || age > 0
			time.Sleep(70 * time.Millisecond)
		}
		if !active || !standby {
			t.Errorf("answered by the active manager: %v, by the standby: %v", active, standby)
		}
		for _, m := range ms {
			m.kill()
		}
		for i, d := range dirs {
			restartable(t, b, fmt.Sprintf("m%d", i+1), d, nil)
		}
		time.Sleep(time.Second) // they hold what is on their disks
		if m := ask(); m != nil && m.Header.Get(subjects.HeaderError) == "" {
			t.Errorf("answered from the disk: %s", m.Data)
		}
	})
}

// All managers are restarted: members without a disk wait for the first status no
// longer than the election takes.
func TestANetworkConvergesSoonAfterARestartOfAllManagers(t *testing.T) {
	brokertest.InBubble(t, func(t *testing.T, b *brokertest.B) {
		dirs := []string{t.TempDir(), t.TempDir(), t.TempDir()}
		start := func() (ms []*peer) {
			for i, d := range dirs {
				ms = append(ms, restartable(t, b, fmt.Sprintf("m%d", i+1), d, nil))
			}
			return ms
		}
		ms := start()
		member(t, b, "n1", subjects.SIPProxy)
		time.Sleep(20 * time.Second)
		for _, m := range ms {
			m.stop()
		}
		c := newcomer(t, b, "c1")
		time.Sleep(time.Minute)
		if c.node.View().Status != nil {
			t.Fatal("who told it?")
		}
		ms = start()
		from := time.Now()
		within(t, 10*time.Second, "the newcomer has a status", func() bool { return !c.node.View().Stale })
		led := time.Duration(0)
		for _, m := range ms {
			if m.mgr.Active() {
				led = time.Since(from)
			}
		}
		if led == 0 || led > 4*time.Second {
			t.Errorf("current after %v", time.Since(from))
		}
		if len(proxies(c)) != 1 {
			t.Errorf("proxies: %v", proxies(c))
		}
	})
}

// The only voicemail server died and is kept as suspect. Then the only manager dies,
// and another one without a disk of it is started. The store still knows the role.
func TestANewManagerKeepsTheLastMember(t *testing.T) {
	brokertest.InBubble(t, func(t *testing.T, b *brokertest.B) {
		m1 := candidate(t, b, "m1", "")
		v := member(t, b, "v1", subjects.VoicemailServer)
		member(t, b, "n1", subjects.SIPProxy)
		w := newcomer(t, b, "w1")
		time.Sleep(20 * time.Second)
		v.node.Conn().Close()
		time.Sleep(20 * time.Second)
		s := w.node.View().Status
		if x := s.Member(subjects.VoicemailServer, "v1"); x == nil || x.State != subjects.Suspect {
			t.Fatalf("before: %+v", x)
		}
		m1.kill()
		candidate(t, b, "m2", "")
		within(t, 40*time.Second, "the next one leads", func() bool { return w.node.View().Status.Epoch > s.Epoch })
		if w.node.View().Status.Member(subjects.VoicemailServer, "v1") == nil {
			t.Errorf("the role was emptied by failure: %s", w.node.View().Encoded)
		}
	})
}

// m2 was off while five members were taken out of service. Then m1 dies and m2
// comes back: it lists none of them again, whatever its disk says.
func TestAManagerWithAnOldDiskBringsNoMemberBack(t *testing.T) {
	for _, c := range []struct {
		name  string
		peers bool // the store is lost, and a third manager knows
	}{{"the store knows", false}, {"another manager knows", true}} {
		t.Run(c.name, func(t *testing.T) {
			brokertest.InBubble(t, func(t *testing.T, b *brokertest.B) {
				d2, d3 := t.TempDir(), t.TempDir()
				m1 := candidate(t, b, "m1", "")
				time.Sleep(3 * time.Second)
				m2, m3 := restartable(t, b, "m2", d2, nil), restartable(t, b, "m3", d3, nil)
				var old []*peer
				for _, x := range []string{"o1", "o2", "o3", "o4", "o5"} {
					old = append(old, member(t, b, x, subjects.SIPProxy))
				}
				for _, x := range []string{"n1", "n2", "n3"} {
					member(t, b, x, subjects.SIPProxy)
				}
				w := newcomer(t, b, "w1")
				time.Sleep(20 * time.Second)
				m2.stop()
				for _, p := range old {
					p.stop()
				}
				time.Sleep(time.Hour)
				if n := len(proxies(w)); n != 3 {
					t.Fatalf("before: %d proxies", n)
				}
				m1.kill()
				m3.kill()
				if c.peers {
					deleteStatus(t, b)
					restartable(t, b, "m3", d3, map[subjects.Role]int{subjects.SIPProxy: 10}) // which holds it back
				}
				restartable(t, b, "m2", d2, nil)
				epoch := w.node.View().Status.Epoch
				for range 600 {
					time.Sleep(100 * time.Millisecond)
					if n := len(proxies(w)); n > 3 {
						t.Fatalf("%d proxies: %v", n, proxies(w))
					}
				}
				if s := w.node.View().Status; s.Epoch == epoch || s.Manager != "m2" {
					t.Errorf("m2 does not lead: %s", w.node.View().Encoded)
				}
			})
		})
	}
}

// deleteStatus deletes what the store holds of the status.
func deleteStatus(t *testing.T, b *brokertest.B) {
	t.Helper()
	nc := b.Dial("hand", subjects.Manager)
	m := nats.NewMsg("$KV." + subjects.StatusBucket + "." + subjects.StatusKey)
	m.Header.Set("KV-Operation", "PURGE")
	m.Header.Set("Nats-Rollup", "sub")
	if _, err := nc.RequestMsg(m, time.Second); err != nil {
		t.Fatal(err)
	}
}

// All managers are stopped and started with another number of slots, and the role
// was taken out of service meanwhile: one of them leads.
func TestManagersLeadWithOtherSlotsWhenTheRoleIsEmpty(t *testing.T) {
	brokertest.InBubble(t, func(t *testing.T, b *brokertest.B) {
		dirs := []string{t.TempDir(), t.TempDir()}
		ms := []*peer{restartable(t, b, "m1", dirs[0], nil), restartable(t, b, "m2", dirs[1], nil)}
		n := member(t, b, "n1", subjects.SIPProxy)
		time.Sleep(20 * time.Second)
		for _, m := range ms {
			m.stop()
		}
		n.stop() // no manager notes it
		time.Sleep(30 * time.Second)
		bits := map[subjects.Role]int{subjects.SIPProxy: 12}
		ms = []*peer{restartable(t, b, "m1", dirs[0], bits), restartable(t, b, "m2", dirs[1], bits)}
		within(t, 30*time.Second, "one leads", func() bool { return len(leaders(ms...)) == 1 })
	})
}

// Two certificates of the infrastructure claim ever later epochs. Managers believe
// them no further than members follow, so nothing freezes.
func TestTwoLiarsDoNotFreezeTheNetwork(t *testing.T) {
	brokertest.InBubble(t, func(t *testing.T, b *brokertest.B) {
		ms := []*peer{candidate(t, b, "m1", t.TempDir()), candidate(t, b, "m2", t.TempDir())}
		w := newcomer(t, b, "w1")
		within(t, 20*time.Second, "one leads", func() bool { return len(leaders(ms...)) == 1 && w.node.View().Status != nil })
		time.Sleep(10 * time.Second)
		liars := map[subjects.NodeID]*nats.Conn{"b8": b.Dial("b8", subjects.EventServer), "b9": b.Dial("b9", subjects.EventServer)}
		seq := uint64(0)
		lie := func(epoch uint64) {
			for range 3 {
				seq++
				for node, nc := range liars {
					a := subjects.Announcement{
						V: 1, Node: node, Role: subjects.EventServer, Boot: "x", Seq: seq, Seen: &subjects.Mark{Epoch: epoch, Generation: 5},
						Addresses: b.Identity(string(node), subjects.EventServer).Addresses,
					}
					if err := nc.Publish(subjects.Presence(a.Role, node), a.Encode()); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(100 * time.Millisecond)
			}
		}
		for _, far := range []uint64{3_000_000, 1 << 50, 1_000_000, 900_000, 490_000} {
			lie(w.node.View().Status.Epoch + far)
			time.Sleep(2 * time.Minute)
		}
		if w.node.View().Status.Epoch < 490_000 {
			t.Errorf("epoch %d: the last claim, which is possible, had no effect", w.node.View().Status.Epoch)
		}
		member(t, b, "n1", subjects.SIPProxy)
		late := newcomer(t, b, "w2")
		for _, p := range []*peer{w, late} {
			within(t, time.Minute, "a member is seen", func() bool {
				v := p.node.View()
				return !v.Stale && v.Status.Member(subjects.SIPProxy, "n1") != nil
			})
		}
	})
}
