package core

import (
	"slices"
	"testing"
	"time"

	"thor/subjects"
)

// A manager that knows nothing takes the highest of what the store, the own disk
// and other managers hold before it leads: it brings no member back that has
// left, and drops none that a guard keeps.
func TestTheFirstStatusGoesOnFromTheHighestThatIsKnown(t *testing.T) {
	disk := told(3, 30, listed(subjects.SIPProxy, subjects.Up, "n1", "n2"))
	store := told(4, 40, listed(subjects.SIPProxy, subjects.Up, "n3"))
	peer := told(4, 41, listed(subjects.SIPProxy, subjects.Up, "n4"), listed(subjects.VoicemailServer, subjects.Suspect, "n5"))
	for _, c := range []struct {
		name              string
		disk, store, peer *subjects.Status
		want              []subjects.NodeID
	}{
		{"the disk alone", disk, nil, nil, []subjects.NodeID{"n1", "n2"}},
		{"the store is later", disk, store, nil, []subjects.NodeID{"n3"}},
		{"another manager knows more", disk, store, peer, []subjects.NodeID{"n4"}},
		{"another manager, without a disk", nil, nil, peer, []subjects.NodeID{"n4"}},
		{"the store is older than the disk", store, disk, nil, []subjects.NodeID{"n3"}},
		{"nothing is known anywhere", nil, nil, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newLone(t)
			if c.disk != nil {
				m.follow(c.disk, true)
			}
			m.pass(100 * time.Millisecond)
			if len(all[ReadStore](m)) != 1 || m.MayCampaign() {
				t.Fatalf("informed %v: %+v", m.MayCampaign(), m.out)
			}
			m.hear(said(subjects.Manager, "m9", 1))
			m.hear(said(subjects.Manager, "m9", 2))
			if asks := all[AskManager](m); len(asks) != 1 || asks[0].Node != "m9" {
				t.Fatalf("asked %+v", asks)
			}
			m.wins(6, 100, 1000)
			answer := func(s *subjects.Status) (*subjects.Status, []byte) {
				if s == nil {
					return nil, nil
				}
				return s, s.Encode()
			}
			s, encoded := answer(c.store)
			m.Stored(s, encoded, m.now)
			s, encoded = answer(c.peer)
			m.Told("m9", s, encoded, subjects.Mark{}, m.now)
			if m.pass(time.Second); m.Leads() {
				t.Fatal("it leads before all managers could be heard")
			}
			if m.pass(300 * time.Millisecond); !m.Leads() {
				t.Fatal("it does not lead though all have answered")
			}
			var got []subjects.NodeID
			for _, x := range m.status().Roles[subjects.SIPProxy] {
				got = append(got, x.Node)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("proxies %v, want %v", got, c.want)
			}
			if v := m.status().Member(subjects.VoicemailServer, "n5"); (v != nil) != (c.peer != nil) {
				t.Errorf("the last voicemail server is %+v", v)
			}
		})
	}
}

// Neither a store that does not answer nor a manager that is dead keeps the network
// without a manager.
func TestTheSearchEnds(t *testing.T) {
	m := newLone(t)
	m.pass(20 * time.Millisecond)
	m.hear(said(subjects.Manager, "m9", 1))
	m.wins(6, 100, 1000)
	if m.pass(1400 * time.Millisecond); m.Leads() {
		t.Error("it did not wait for the answers")
	}
	if m.pass(100 * time.Millisecond); !m.Leads() {
		t.Error("it waits for ever")
	}
}

// A question or an answer may be lost: a manager that goes on beating is asked again, and waited for.
func TestAManagerThatBeatsAndDoesNotAnswerIsAskedAgain(t *testing.T) {
	m := newLone(t)
	m.pass(20 * time.Millisecond)
	m.wins(6, 100, 1000)
	m.Stored(nil, nil, m.now)
	for i := range 3 {
		m.hear(said(subjects.Manager, "m9", uint64(i+1)))
		if asks := len(all[AskManager](m)); asks != i+1 {
			t.Errorf("asked %d times after %d beats", asks, i+1)
		}
		m.pass(900 * time.Millisecond)
	}
	if m.Leads() {
		t.Error("it did not wait for the answer")
	}
	peer := told(5, 50)
	m.Told("m9", peer, peer.Encode(), subjects.Mark{}, m.now)
	if m.pass(100 * time.Millisecond); !m.Leads() {
		t.Error("it does not lead with the answer")
	}
}

// Nothing is learnt without a connection, or from a store that cannot be read: the
// time for it begins afterwards.
func TestTheSearchWaitsForTheNetwork(t *testing.T) {
	m := newLone(t)
	m.Online(false, m.now)
	if m.pass(20 * time.Second); m.MayCampaign() {
		t.Error("it is informed without a connection")
	}
	m.Online(true, m.now)
	if m.pass(8 * time.Second); m.MayCampaign() {
		t.Error("it is informed without the store")
	}
	if n := len(all[ReadStore](m)); n < 10 {
		t.Errorf("the store was asked %d times", n)
	}
	m.Stored(nil, nil, m.now)
	if m.pass(1200 * time.Millisecond); m.MayCampaign() {
		t.Error("it did not listen for other managers")
	}
	if m.pass(200 * time.Millisecond); !m.MayCampaign() {
		t.Error("it is not informed")
	}
}

// A search that the store did not answer has learnt nothing: who wins a term after it
// searches again.
func TestASearchWithoutTheStoreInformsOfNothing(t *testing.T) {
	m := newLone(t)
	m.pass(10200 * time.Millisecond)
	if !m.MayCampaign() {
		t.Fatal("it waits for ever")
	}
	m.wins(6, 100, 1000)
	if m.Leads() {
		t.Fatal("it leads and knows nothing")
	}
	s := told(5, 50, listed(subjects.SIPProxy, subjects.Up, "n1"))
	m.Stored(s, s.Encode(), m.now)
	m.pass(1600 * time.Millisecond)
	if !m.Leads() || m.status().Member(subjects.SIPProxy, "n1") == nil {
		t.Errorf("leads %v, status %s", m.Leads(), m.status().Encode())
	}
}

// A standby that follows another manager knows enough; one that has heard none for
// long asks again.
func TestAStandbyThatFollowsLeadsAtOnce(t *testing.T) {
	for _, c := range []struct {
		ago  time.Duration
		want bool
	}{{time.Second, true}, {seekValid, true}, {seekValid + time.Second, false}} {
		m := newLone(t)
		m.follow(told(4, 40), false)
		m.Confirm(subjects.Mark{Epoch: 4, Generation: 40}, m.now)
		m.pass(c.ago)
		m.wins(5, 100, 1000)
		if m.Leads() != c.want {
			t.Errorf("confirmed %v ago: leads %v", c.ago, m.Leads())
		}
		if asked := len(all[ReadStore](m)) == 1; asked == c.want {
			t.Errorf("confirmed %v ago: asked %v", c.ago, asked)
		}
	}
}

// The epoch of a term may have been told already: what was learnt while the term
// waited says so.
func TestATermWhoseEpochWasToldIsGivenBack(t *testing.T) {
	m := newLone(t)
	m.pass(20 * time.Millisecond)
	m.wins(4, 100, 1000)
	s := told(4, 40)
	m.Stored(s, s.Encode(), m.now)
	m.pass(2 * time.Second)
	if m.Leads() || len(all[StepDown](m)) != 1 || m.Known().Epoch != 4 {
		t.Fatalf("leads %v, known %v, out %+v", m.Leads(), m.Known(), m.out)
	}
	if m.wins(5, 100, 1000); !m.Leads() {
		t.Error("the next term waits again")
	}
}

// Nothing of the search outlives the manager, or a leadership.
func TestAnAnswerThatComesLateChangesNothing(t *testing.T) {
	m := newLone(t)
	m.leads(5, 100, 1000)
	before := m.status()
	s := told(4, 4000, listed(subjects.SIPProxy, subjects.Up, "n1"))
	m.Stored(s, s.Encode(), m.now)
	m.Told("m9", s, s.Encode(), subjects.Mark{}, m.now)
	if m.pass(time.Second); m.status() != before {
		t.Errorf("status %s", m.status().Encode())
	}
}

// Who answers requests for the snapshot, and how old the answer is.
func TestOnlyWhoKnowsThePresentAnswers(t *testing.T) {
	m := newLone(t)
	any := &subjects.SnapshotRequest{V: 1}
	is := func(what string, want time.Duration, code subjects.ErrorCode) {
		t.Helper()
		age, got := m.Holding().Answer(any, m.now)
		if got != code || age != want {
			t.Errorf("%s: age %v, code %q", what, age, got)
		}
	}
	is("it knows nothing", 0, subjects.ErrorBehind)
	m.follow(told(4, 40), true)
	is("it has its disk's", 0, subjects.ErrorBehind)
	m.Confirm(subjects.Mark{Epoch: 4, Generation: 39}, m.now)
	is("another status was confirmed", 0, subjects.ErrorBehind)
	m.Confirm(subjects.Mark{Epoch: 4, Generation: 40}, m.now)
	is("a tick was heard", 0, "")
	m.pass(2 * time.Second)
	is("two seconds ago", 2*time.Second, "")
	m.pass(1020 * time.Millisecond)
	is("too long ago", 0, subjects.ErrorBehind)
	m.follow(told(4, 41), false)
	is("a change without its confirmation", 0, subjects.ErrorBehind)
	m.leads(5, 100, 1000)
	m.pass(5 * time.Second)
	is("it leads", 0, "")
	m.term.quiet = m.now.Add(time.Second)
	is("it leads, and does not know whether it still does", 0, subjects.ErrorBehind)
	m.pass(1020 * time.Millisecond)
	is("it knows", 0, "")
	if _, code := m.Holding().Answer(&subjects.SnapshotRequest{V: 1, AtLeast: &subjects.Mark{Epoch: 6}}, m.now); code != subjects.ErrorBehind {
		t.Errorf("a later one was asked for: %q", code)
	}
	m.term.sure = m.now.Add(-2 * time.Second)
	is("its connection is another one, and its lease not confirmed", 2*time.Second, "")
	m.term.sure = m.now.Add(-3100 * time.Millisecond)
	is("not for long", 0, subjects.ErrorBehind)
	m.term.sure = time.Time{}
	m.term.until = m.now
	is("its lease has ended", 0, subjects.ErrorBehind)
	m.pass(20 * time.Millisecond)
	m.Confirm(m.status().Mark(), m.now)
	is("only its own ticks confirm its own status", 0, subjects.ErrorBehind)
}

// A standby stood still for 5 s. The ticks that it reads then are old.
func TestWhatAManagerReadsAfterAStandstillIsThePast(t *testing.T) {
	m := newLone(t)
	m.follow(told(4, 40), false)
	m.Confirm(subjects.Mark{Epoch: 4, Generation: 40}, m.now)
	m.pass(2 * time.Second)
	m.now = m.now.Add(5 * time.Second)
	m.Confirm(subjects.Mark{Epoch: 4, Generation: 40}, m.now)
	m.pass(400 * time.Millisecond)
	m.Confirm(subjects.Mark{Epoch: 4, Generation: 40}, m.now)
	if m.Holding().Present(m.now) {
		t.Error("it tells the past as the present")
	}
	m.pass(400 * time.Millisecond)
	m.Confirm(subjects.Mark{Epoch: 4, Generation: 40}, m.now)
	if !m.Holding().Present(m.now) {
		t.Error("it does not answer")
	}
}

// A standby that knows of a later status tells the one that it holds to none, until it has that.
func TestAStatusThatWasOvertakenIsNotTold(t *testing.T) {
	m := newLone(t)
	m.follow(told(4, 40), false)
	m.Confirm(subjects.Mark{Epoch: 4, Generation: 40}, m.now)
	m.Overtaken(true)
	if _, code := m.Holding().Answer(&subjects.SnapshotRequest{V: 1}, m.now); code != subjects.ErrorBehind {
		t.Errorf("it answers: %q", code)
	}
	m.follow(told(4, 41), false)
	m.Confirm(subjects.Mark{Epoch: 4, Generation: 41}, m.now)
	m.Overtaken(false)
	if _, code := m.Holding().Answer(&subjects.SnapshotRequest{V: 1}, m.now); code != "" {
		t.Errorf("it does not answer: %q", code)
	}
	m.leads(5, 100, 1000)
	m.Overtaken(true)
	if _, code := m.Holding().Answer(&subjects.SnapshotRequest{V: 1}, m.now); code != "" {
		t.Errorf("it leads, and does not answer: %q", code)
	}
}

// No tick came for some seconds: what comes first may have lain at a broker that stood still.
func TestTheFirstTickAfterAPauseProvesNothing(t *testing.T) {
	m := newLone(t)
	mark := subjects.Mark{Epoch: 4, Generation: 40}
	m.follow(told(4, 40), false)
	for range 3 {
		m.Confirm(mark, m.now)
		m.pass(1500 * time.Millisecond)
	}
	if !m.Holding().Present(m.now) {
		t.Error("it does not answer while ticks come")
	}
	m.pass(2500 * time.Millisecond)
	m.Confirm(mark, m.now)
	m.pass(100 * time.Millisecond)
	m.Confirm(mark, m.now)
	if m.Holding().Present(m.now) {
		t.Error("it tells the past as the present")
	}
	m.pass(500 * time.Millisecond)
	m.Confirm(mark, m.now)
	if !m.Holding().Present(m.now) {
		t.Error("it does not answer")
	}
}

// While it is quiet a leader publishes nothing, and everything after that.
func TestNothingIsPublishedBeforeTheLeaseIsConfirmed(t *testing.T) {
	m := newLone(t)
	m.leads(5, 100, 1000)
	m.pass(time.Second)
	n := len(m.out)
	m.term.quiet = m.now.Add(3 * time.Second)
	m.vouch("n1")
	m.hear(said(subjects.SIPProxy, "n1", 1))
	m.pass(2900 * time.Millisecond)
	for _, o := range m.out[n:] {
		if Led(o) {
			t.Errorf("published %#v", o)
		}
	}
	m.pass(200 * time.Millisecond)
	if m.status().Member(subjects.SIPProxy, "n1") == nil || last[Tick](m).Generation != m.status().Generation {
		t.Error("what happened meanwhile is not told")
	}
}

// After a change of the number of slots no manager led for ever: each held back for
// what its own disk said of a role that had no member any more.
func TestAConflictWithThePastEndsWhenTheRoleIsEmpty(t *testing.T) {
	conflicting := func() *subjects.Status {
		return told(4, 40, listed(subjects.SIPProxy, subjects.Up, "n1"), func(s *subjects.Status) {
			s.Lookup = map[subjects.Role]subjects.Lookup{subjects.SIPProxy: {Bits: 18, Digest: "0123456789abcdef"}}
		})
	}
	slots := func(c *Config) {
		c.SlotBits = func(r subjects.Role) int {
			if r == subjects.SIPProxy {
				return 12
			}
			return 0
		}
	}
	for _, c := range []struct {
		name             string
		beats, confirmed bool
		want             bool
	}{
		{"no member is heard", false, false, true},
		{"a member is heard", true, false, false},
		{"another manager leads", false, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newLone(t, slots)
			m.vouch("n1")
			m.follow(conflicting(), true)
			seq := uint64(0)
			for range 40 {
				if m.MayLead() && m.now.Sub(m.started) < conflictFor-time.Second {
					t.Fatal("it may lead before it has listened")
				}
				if seq++; c.beats {
					m.hear(said(subjects.SIPProxy, "n1", seq))
				}
				if c.confirmed {
					m.Confirm(subjects.Mark{Epoch: 4, Generation: 40}, m.now)
				}
				m.pass(time.Second)
			}
			if m.MayLead() != c.want {
				t.Fatalf("may lead: %v", m.MayLead())
			}
			if !c.want {
				return
			}
			m.leads(5, 100, 1000)
			if l := m.status().Lookup[subjects.SIPProxy]; l.Bits != 12 {
				t.Errorf("lookup %+v", l)
			}
		})
	}
}

// What a search found is a beginning. It is not told as the current status, even
// if its mark is: the lists in the store may be of a little later.
func TestAFoundStatusIsNeverThePresent(t *testing.T) {
	m := newLone(t)
	m.pass(20 * time.Millisecond)
	found := told(4, 40, listed(subjects.SIPProxy, subjects.Up, "n1"))
	m.Stored(found, found.Encode(), m.now)
	m.Confirm(found.Mark(), m.now)
	if m.Holding().Present(m.now) {
		t.Error("told as the current one")
	}
	s := told(4, 40, listed(subjects.SIPProxy, subjects.Up, "n2"))
	m.follow(s, false)
	m.Confirm(s.Mark(), m.now)
	if m.status() != s || !m.Holding().Present(m.now) {
		t.Error("the status of the same mark, as it was told, does not replace it")
	}
}

// A manager that was away for long enough that another may have led meanwhile takes up
// no term before it has asked; a short loss of the connection costs nothing.
func TestAManagerThatWasAwayAsksFirst(t *testing.T) {
	for _, c := range []struct {
		deaf, away time.Duration // nothing is heard before it notices that it is away
		at         bool          // it leads at once
	}{{0, 500 * time.Millisecond, true}, {0, 3 * time.Second, false}, {time.Second, 500 * time.Millisecond, true}, {2600 * time.Millisecond, 50 * time.Millisecond, false}} {
		m := newLone(t)
		m.follow(told(4, 40), false)
		m.pass(claimsEvery + time.Second)
		m.Confirm(subjects.Mark{Epoch: 4, Generation: 40}, m.now)
		m.pass(c.deaf)
		m.Online(false, m.now)
		m.pass(c.away)
		m.Online(true, m.now)
		m.wins(5, 100, 1000)
		if m.Leads() != c.at {
			t.Errorf("away for %v after %v: leads %v", c.away, c.deaf, m.Leads())
		}
		m.pass(20 * time.Millisecond)
		m.hear(said(subjects.EventServer, "b1", 1, seen(5, 90)))
		m.pass(2 * time.Second)
		if steps := len(all[StepDown](m)); c.at == (steps > 0) {
			t.Errorf("away for %v: epoch 5 was another's, stepped down %d times, leads %v", c.away, steps, m.Leads())
		}
	}
}

// A manager whose disk alone knows of an epoch, as when it and all brokers ended in the
// moment in which that began, tells it to one that asks before it leads.
func TestAnEpochThatAnotherManagersDiskKnowsIsNotUsedAgain(t *testing.T) {
	for _, c := range []struct {
		known subjects.Mark
		want  bool // it leads epoch 5
	}{{subjects.Mark{Epoch: 4, Generation: 900}, true}, {subjects.Mark{Epoch: 5, Generation: 900}, false}, {subjects.Mark{Epoch: 1 << 40}, true}} {
		m := newLone(t)
		m.Step(m.now)
		m.hear(said(subjects.Manager, "m9", 1))
		m.Stored(told(4, 40), nil, m.now)
		m.wins(5, 100, 1000)
		m.Told("m9", nil, nil, c.known, m.now)
		if m.pass(2 * time.Second); m.Leads() != c.want || len(all[StepDown](m)) > 0 == c.want {
			t.Errorf("known %v: leads %v, steps down %v", c.known, m.Leads(), all[StepDown](m))
		}
		if !c.want && m.Known().Epoch != 5 {
			t.Errorf("the next one is above %v", m.Known())
		}
	}
	m := newLone(t, func(c *Config) { c.Known = subjects.Mark{Epoch: 5, Generation: 900} })
	if k := m.Holding().Known; k.Epoch != 5 {
		t.Errorf("it tells %v", k)
	}
}

// Where brokers tell of a past that neither the store nor a manager knows, those who know
// may be on their way: they are waited for, but not for ever.
func TestAPastThatIsNotFoundIsWaitedFor(t *testing.T) {
	for _, past := range []bool{false, true} {
		m := newLone(t)
		m.Step(m.now)
		if past {
			m.hear(said(subjects.EventServer, "b1", 1, seen(5, 90)))
		}
		m.Stored(nil, nil, m.now)
		if m.pass(3 * time.Second); m.MayCampaign() == past {
			t.Errorf("past %v: may campaign %v after 3 s", past, !past)
		}
		if m.pass(8 * time.Second); !m.MayCampaign() {
			t.Error("it waits for ever")
		}
	}
}
