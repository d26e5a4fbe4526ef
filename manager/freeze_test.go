package manager

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"thor/subjects"
)

// A manager is frozen between what it decides and what it publishes, for longer
// than its lease: nothing of its old term leaves it when it goes on.
func TestAFrozenManagerPublishesNothingOfItsOldTerm(t *testing.T) {
	inBubble(t, func(t *testing.T, m *lone) {
		m.vouch(t)
		term := m.leads(5, 0, 1000)
		m.pass(2 * time.Second)
		all := m.heard("thor.>")
		a, err := subjects.ParseAnnouncement(n1, []byte(good(1)))
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		m.core.Announce(a, now)
		m.core.Step(now.Add(50 * time.Millisecond)) // decides with a reading of before
		term.until = time.Now().Add(10 * time.Second)
		time.Sleep(20 * time.Second)
		m.do()
		m.pass(time.Second)
		synctest.Wait()
		for _, b := range *all {
			if strings.Contains(string(b), `"generation"`) || strings.Contains(string(b), `"members"`) {
				t.Errorf("published without a lease: %s", b)
			}
		}
		if m.Active() {
			t.Error("it leads still")
		}
	})
}

// The same with the lease: all that was decided is published.
func TestWhatIsDecidedIsPublishedWithTheLease(t *testing.T) {
	inBubble(t, func(t *testing.T, m *lone) {
		m.vouch(t)
		m.leads(5, 0, 1000)
		m.pass(2 * time.Second)
		deltas := m.heard(subjects.StatusDelta)
		a, err := subjects.ParseAnnouncement(n1, []byte(good(1)))
		if err != nil {
			t.Fatal(err)
		}
		m.core.Announce(a, time.Now())
		m.core.Step(time.Now().Add(50 * time.Millisecond))
		m.do()
		m.pass(time.Second)
		if len(*deltas) != 1 {
			t.Errorf("%d deltas", len(*deltas))
		}
	})
}
