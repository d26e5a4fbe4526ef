package election_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"thor/manager/election"
	"thor/subjects"
)

var manySeeds = flag.Int("seeds", 5, "how many seeds of random faults to play")

func (l *lab) three() (leader *candidate, others []*candidate) {
	l.t.Helper()
	all := []*candidate{l.start("m1", 0), l.start("m2", 1), l.start("m3", 2)}
	leader, _ = l.soon(5*time.Second, all...)
	others = slices.DeleteFunc(slices.Clone(all), func(c *candidate) bool { return c == leader })
	time.Sleep(3500 * time.Millisecond)
	return leader, others
}

func TestResignationHandsOverAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, l *lab) {
		leader, others := l.three()
		leader.stop()
		if _, d := l.soon(time.Second, others...); d > 150*time.Millisecond {
			t.Errorf("nobody led for %v", d)
		}
	})
}

func TestTakeOverSoonAfterTheLeadersConnectionEnded(t *testing.T) {
	inBubble(t, func(t *testing.T, l *lab) {
		leader, others := l.three()
		leader.kill()
		if _, d := l.soon(time.Second, others...); d < election.TakeOver || d > election.TakeOver+100*time.Millisecond {
			t.Errorf("taken over after %v", d)
		}
	})
}

// A candidate that begins while the leader dies hears of the end first, and of
// the lease later.
func TestTakeOverByACandidateThatKnewNoLease(t *testing.T) {
	inBubble(t, func(t *testing.T, l *lab) {
		leader := l.start("m1", 0)
		l.soon(5*time.Second, leader)
		time.Sleep(2 * time.Second)
		late := l.start("m2", 0, func(c *candidate) { c.listens = time.Second })
		time.Sleep(500 * time.Millisecond)
		for i := range 4000 { // and of many others
			late.e.Disconnected(fmt.Sprint("boot", i), fmt.Sprint("broker#", 1000+i))
		}
		leader.kill()
		for i := range 90 {
			late.e.Disconnected(fmt.Sprint("boot", i), fmt.Sprint("broker#", 9000+i))
		}
		if _, d := l.soon(time.Minute, late); d > 1200*time.Millisecond {
			t.Errorf("taken over after %v", d)
		}
	})
}

// A leader whose connection ends and is back at once renews over the new one:
// the attempt to take over does not happen, or fails. One that is away for
// longer is replaced, and knows it as soon as it is back.
func TestALeaderThatIsBackAtOnceStays(t *testing.T) {
	inBubble(t, func(t *testing.T, l *lab) {
		leader, others := l.three()
		epoch := leader.term.Load().Epoch
		for range 20 {
			l.kick(leader)
			time.Sleep(time.Duration(500+rand.N(1500)) * time.Millisecond)
			if !l.leads(leader) || leader.term.Load().Epoch != epoch {
				t.Fatalf("the leader was deposed: now %v lead", names(l.leaders()))
			}
		}
		leader.gate.close() // it cannot connect again before this opens
		l.kick(leader)
		next, d := l.soon(time.Second, others...)
		leader.gate.open()
		time.Sleep(5 * time.Second)
		if !l.leads(next) || l.leads(leader) {
			t.Errorf("taken over after %v, now %v lead", d, names(l.leaders()))
		}
	})
}

// kick ends c's connection, which is to come back at once.
func (l *lab) kick(c *candidate) {
	l.t.Helper()
	if err := c.conn.ForceReconnect(); err != nil {
		l.t.Fatal(err)
	}
}

// The event of the end is lost: the holder's broker is asked.
func TestTakeOverWhenNoneHeardThatTheLeadersConnectionEnded(t *testing.T) {
	inBubble(t, func(t *testing.T, l *lab) {
		leader, others := l.three()
		for _, c := range others {
			c.deaf.Store(true)
		}
		leader.kill()
		if _, d := l.soon(time.Minute, others...); d < election.TakeOver || d > 3*time.Second {
			t.Errorf("taken over after %v", d)
		}
	})
}

// All managers are killed at once: those that start again find the lease of a
// process that is no more, and know from its broker that it is not connected.
func TestRestartedManagersDoNotWaitOutTheLease(t *testing.T) {
	inBubble(t, func(t *testing.T, l *lab) {
		leader, others := l.three()
		for _, c := range append(others, leader) {
			c.kill()
		}
		time.Sleep(100 * time.Millisecond)
		if _, d := l.soon(time.Minute, l.start("m1", 0), l.start("m2", 1)); d > time.Second {
			t.Errorf("led again after %v", d)
		}
	})
}

// A leader that lives is asked about, and stays.
func TestAskingForTheLeadersConnectionDeposesNobody(t *testing.T) {
	inBubble(t, func(t *testing.T, l *lab) {
		leader, _ := l.three()
		terms := l.terms()
		for i := range 10 {
			l.start(fmt.Sprintf("late%d", i), 0)
			time.Sleep(3 * time.Second)
		}
		if !l.leads(leader) || l.terms() != terms {
			t.Errorf("%v lead after %d terms", names(l.leaders()), l.terms())
		}
	})
}

// The broker of the holder's connection is gone too: nothing tells of its end. The lease is
// void when its holder must have stopped, before it expires.
func TestTheLeasesEndIsTheBackstop(t *testing.T) {
	inBubble(t, func(t *testing.T, l *lab) {
		leader, others := l.three()
		_, put := l.operator()
		e, err := put.Get(t.Context(), subjects.ElectionKey)
		if err != nil {
			t.Fatal(err)
		}
		gone := subjects.Lease{V: 1, Manager: "m9", Boot: "m9-1", Via: "b9#1", Epoch: 2, Ceiling: 3000}
		if _, err := put.Replace(t.Context(), subjects.ElectionKey, gone.Encode(), e.Revision, election.TTL); err != nil {
			t.Fatal(err)
		}
		if _, d := l.soon(time.Minute, append(others, leader)...); d < election.LocalLease || d > election.LocalLease+time.Second {
			t.Errorf("taken over after %v", d)
		}
	})
}

// The write that wins the lease is stored, its acknowledgement is lost.
func TestAWinWhoseAcknowledgementIsLostIsNoDeadlock(t *testing.T) {
	inBubble(t, func(t *testing.T, l *lab) {
		c := l.start("m1", 0, func(c *candidate) {
			lose := func() error {
				c.onKeep.Store(nil)
				c.gate.close()
				time.AfterFunc(2500*time.Millisecond, c.gate.open)
				return nil
			}
			c.onKeep.Store(&lose)
		})
		if _, d := l.soon(time.Minute, c); d < 2*time.Second || d > 8*time.Second {
			t.Errorf("leads after %v", d)
		}
		if e := c.term.Load().Epoch; e != 2 {
			t.Errorf("epoch %d: the lost one may have been seen", e)
		}
	})
}

// Renewals are stored, their acknowledgements are lost.
func TestALeaderKeepsItsTermWhenAcknowledgementsAreLost(t *testing.T) {
	inBubble(t, func(t *testing.T, l *lab) {
		leader, _ := l.three()
		term := leader.term.Load()
		for range 10 {
			leader.gate.close()
			time.Sleep(2500 * time.Millisecond)
			leader.gate.open()
			time.Sleep(3 * time.Second)
			if !term.Valid(time.Now()) {
				t.Fatal("it lost its term")
			}
		}
	})
}

// A leader that can renew no more stops before its lease ends for the others,
// whatever its own goroutines do.
func TestALeaderThatStandsStillStopsBeforeItsLeaseEnds(t *testing.T) {
	inBubble(t, func(t *testing.T, l *lab) {
		leader, others := l.three()
		term := leader.term.Load()
		stuck := make(chan struct{})
		wait := func() error { <-stuck; return nil }
		leader.onKeep.Store(&wait)
		from := time.Now()
		term.Ceiling(leader.ceiling.Load()) // the next renewal is to reserve more, and never returns
		for term.Valid(time.Now()) {
			time.Sleep(time.Millisecond)
		}
		if d := time.Since(from); d < election.LocalLease-2*election.RenewEvery || d > election.LocalLease {
			t.Errorf("it believed in its lease for %v more", d)
		}
		ended := time.Now()
		l.soon(time.Minute, others...)
		if d := time.Since(ended); d <= 0 || d > time.Second {
			t.Errorf("the next one leads %v after it stopped", d)
		}
		leader.onKeep.Store(nil)
		close(stuck)
		time.Sleep(5 * time.Second)
		if l.leads(leader) {
			t.Error("it leads again without a new term")
		}
	})
}

// Somebody deletes the bucket: the leader writes its lease into a new one, and
// the next epoch is above.
func TestEpochRisesOverADeletedBucket(t *testing.T) {
	inBubble(t, func(t *testing.T, l *lab) {
		all := []*candidate{l.start("m1", 0), l.start("m2", 1), l.start("m3", 2), l.start("m4", 3)}
		del, _ := l.operator()
		for len(all) > 1 {
			leader, _ := l.soon(time.Second, all...)
			time.Sleep(3 * time.Second)
			terms := l.terms()
			if err := del.DeleteStream(t.Context(), "KV_"+subjects.ElectionBucket); err != nil {
				t.Fatal(err)
			}
			for range 20 {
				time.Sleep(time.Second)
				if !l.leads(leader) || l.terms() != terms {
					t.Fatalf("the leader lost its term: %v lead", names(l.leaders()))
				}
			}
			leader.kill()
			all = slices.DeleteFunc(all, func(c *candidate) bool { return c == leader })
			l.soon(time.Second, all...)
			if l.terms() != terms+1 { // that they rise is looked at in the end
				t.Errorf("%d terms after %d", l.terms(), terms)
			}
		}
	})
}

// The leader dies with the bucket: the others wait until it cannot believe in
// its lease any more.
func TestALeaseThatWasLostWithTheBucketHasItsTime(t *testing.T) {
	inBubble(t, func(t *testing.T, l *lab) {
		leader, others := l.three()
		del, _ := l.operator()
		if err := del.DeleteStream(t.Context(), "KV_"+subjects.ElectionBucket); err != nil {
			t.Fatal(err)
		}
		leader.kill()
		if _, d := l.soon(time.Minute, others...); d < election.LocalLease || d > 20*time.Second {
			t.Errorf("taken over after %v", d)
		}
	})
}

func (l *lab) leads(c *candidate) bool { return slices.Contains(l.leaders(), c) }

func (l *lab) terms() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.epochs)
}

func TestTheLeaseIsWrittenAgainWhenItIsGone(t *testing.T) {
	inBubble(t, func(t *testing.T, l *lab) {
		l.three()
		_, put := l.operator()
		e, err := put.Get(t.Context(), subjects.ElectionKey)
		if err != nil {
			t.Fatal(err)
		}
		if err := put.Release(t.Context(), subjects.ElectionKey, e.Revision); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if who := l.leaders(); len(who) != 1 {
			t.Errorf("%v lead after the lease was purged by hand", names(who))
		}
	})
}

func TestThePreferredCandidateTakesOver(t *testing.T) {
	for _, c := range []struct {
		how string
		end func(*candidate)
	}{{"killed", (*candidate).kill}, {"resigned", func(c *candidate) { c.stop() }}} {
		t.Run(c.how, func(t *testing.T) {
			inBubble(t, func(t *testing.T, l *lab) {
				var all []*candidate
				for i := range 6 {
					all = append(all, l.start(fmt.Sprintf("m%d", i+1), i))
				}
				leader, _ := l.soon(5*time.Second, all...)
				for len(all) > 1 {
					all = slices.DeleteFunc(all, func(c *candidate) bool { return c == leader })
					for i, c := range all {
						c.rank.Store(int64(i))
					}
					time.Sleep(2 * time.Second)
					c.end(leader)
					if leader, _ = l.soon(time.Second, all...); leader != all[0] {
						t.Errorf("%s leads before %s", leader.name, all[0].name)
					}
				}
			})
		})
	}
}

func TestAPreferredCandidateThatComesLaterDeposesNobody(t *testing.T) {
	inBubble(t, func(t *testing.T, l *lab) {
		one := l.start("m9", 5)
		l.soon(5*time.Second, one)
		l.start("m1", 0)
		time.Sleep(time.Minute)
		if !l.leads(one) || l.terms() != 1 {
			t.Errorf("%v lead after %d terms", names(l.leaders()), l.terms())
		}
	})
}

// Generations are reserved in the lease before they are used, and a successor
// starts above all that were reserved.
func TestGenerationsAreReservedInTime(t *testing.T) {
	inBubble(t, func(t *testing.T, l *lab) {
		leader, others := l.three()
		_, put := l.operator()
		term := leader.term.Load()
		used := term.First
		for range 6000 { // as fast as a manager publishes
			time.Sleep(20 * time.Millisecond)
			if used++; used > term.Ceiling(used) {
				t.Fatalf("generation %d is not reserved", used)
			}
			if used%50 == 0 {
				e, err := put.Get(t.Context(), subjects.ElectionKey)
				if err != nil {
					t.Fatal(err)
				}
				if x, err := subjects.ParseLease(e.Value); err != nil || x.Ceiling < used || leader.ceiling.Load() < used {
					t.Fatalf("generation %d: lease %+v, disk %d: %v", used, x, leader.ceiling.Load(), err)
				}
			}
		}
		leader.kill()
		next, _ := l.soon(time.Second, others...)
		if first := next.term.Load().First; first < used {
			t.Errorf("the next term begins at %d, the last one used %d", first, used)
		}
	})
}

func TestCeilingStandsWhileNothingIsReserved(t *testing.T) {
	inBubble(t, func(t *testing.T, l *lab) {
		leader, _ := l.three()
		stuck := make(chan struct{})
		defer close(stuck)
		wait := func() error { <-stuck; return nil }
		leader.onKeep.Store(&wait)
		term := leader.term.Load()
		top := term.Ceiling(term.First)
		for used := term.First; used < top+5000; used += 100 {
			if c := term.Ceiling(used); c != top {
				t.Fatalf("ceiling went from %d to %d, and nobody has stored that", top, c)
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
}

func TestADiskThatFailsKeepsNobodyFromLeading(t *testing.T) {
	inBubble(t, func(t *testing.T, l *lab) {
		full := func() error { return errors.New("no space left on device") }
		c := l.start("m1", 0, func(c *candidate) { c.onKeep.Store(&full) })
		l.soon(5*time.Second, c)
		term := c.term.Load()
		for used := term.First; used < term.First+5000; used += 10 {
			if used > term.Ceiling(used) {
				t.Fatalf("generation %d is not reserved", used)
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
}

// A lease that cannot be true has its time like any other, is reported, and
// leaves no trace in the epochs. Without an end of its own it ends all the same.
func TestAbsurdLeaseIsReportedAndOutlived(t *testing.T) {
	for name, value := range map[string][]byte{
		"epoch far above":   (&subjects.Lease{V: 1, Manager: "m9", Boot: "x", Epoch: 5_000_000}).Encode(),
		"epoch above 2^53":  (&subjects.Lease{V: 1, Manager: "m9", Boot: "x", Epoch: subjects.MaxNumber + 1}).Encode(),
		"ceiling far above": (&subjects.Lease{V: 1, Manager: "m9", Boot: "x", Epoch: 2, Ceiling: 1 << 50}).Encode(),
		"garbage":           []byte("\x00\x1b[2J{"),
		"another version":   []byte(`{"v":2}`),
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, l *lab) {
				leader, others := l.three()
				_, put := l.operator()
				if _, err := put.Put(t.Context(), subjects.ElectionKey, value); err != nil { // and no TTL
					t.Fatal(err)
				}
				synctest.Wait()
				if who := l.leaders(); len(who) != 0 {
					t.Errorf("%v lead over another's lease", names(who))
				}
				next, _ := l.soon(45*time.Second, append(others, leader)...)
				if x := next.term.Load(); x.Epoch != 2 || x.First > 10_000 {
					t.Errorf("epoch %d from generation %d", x.Epoch, x.First)
				}
				for _, c := range others {
					if n := c.absurd.Load(); n == 0 {
						t.Errorf("%s did not report it", c.name)
					}
				}
			})
		})
	}
}

// TestNeverTwoLeadUnderRandomFaults: whatever happens, inBubble's watch finds
// at most one, and there is one again soon after each fault.
func TestNeverTwoLeadUnderRandomFaults(t *testing.T) {
	for seed := range uint64(*manySeeds) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			inBubble(t, func(t *testing.T, l *lab) { l.faults(rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

// bubbleTime is how long a seed of faults lasts.
const bubbleTime = 10 * time.Minute

func (l *lab) faults(rng *rand.Rand) {
	var all []*candidate
	for i := range 4 {
		all = append(all, l.start(fmt.Sprintf("m%d", i+1), i))
	}
	del, _ := l.operator()
	l.soon(5*time.Second, all...)
	for end := time.Now().Add(bubbleTime); time.Now().Before(end); {
		time.Sleep(time.Duration(1000+rng.IntN(3000)) * time.Millisecond)
		i := rng.IntN(len(all))
		c := all[i]
		if who := l.leaders(); len(who) > 0 && rng.IntN(2) == 0 { // the leader is worth more than its share
			c = who[0]
			i = slices.Index(all, c)
		}
		what := rng.IntN(7)
		l.t.Logf("%s fault %d on %s", time.Now().Format(time.StampMilli), what, c.name)
		switch what {
		case 0:
			c.stop()
			all[i] = l.start(c.name, i)
		case 1:
			c.kill()
			l.await(all)
			c.stop()
			all[i] = l.start(c.name, i)
		case 2:
			l.kick(c)
		case 3: // its answers are lost for a while
			c.gate.close()
			time.Sleep(time.Duration(rng.IntN(2500)) * time.Millisecond)
			c.gate.open()
		case 4: // it is away for a while
			c.gate.close()
			l.kick(c)
			time.Sleep(time.Duration(rng.IntN(20_000)) * time.Millisecond)
			c.gate.open()
		case 5:
			if err := del.DeleteStream(context.Background(), "KV_"+subjects.ElectionBucket); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
				l.t.Fatal(err)
			}
			if rng.IntN(2) == 0 {
				time.Sleep(time.Duration(rng.IntN(3000)) * time.Millisecond)
				[]func(){func() { l.kick(c) }, c.kill, func() { l.report(c, "b9#1") }}[rng.IntN(3)]()
			}
			time.Sleep(30 * time.Second)
			if c.conn.IsClosed() {
				c.stop()
				all[i] = l.start(c.name, i)
			}
		case 6: // a connection's end is told again when there is a new one
			old := c.via()
			l.kick(c)
			time.Sleep(time.Duration(100+rng.IntN(2000)) * time.Millisecond)
			l.report(c, old)
		}
		l.await(all)
	}
}

// await waits until one leads that others do not know to be replaced.
func (l *lab) await(all []*candidate) {
	l.t.Helper()
	l.soon(40*time.Second, all...)
}

// report tells all that the connection via of c ended.
func (l *lab) report(c *candidate, via string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range l.all {
		o.e.Disconnected(c.conn.Opts.Name, via)
	}
}
