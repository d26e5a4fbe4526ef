package election_test

import (
	"testing"
	"time"

	"thor/manager/election"
	"thor/subjects"
)

// A lease that another has replaced is not given back: it is the other's (I3).
func TestALeaseIsGivenBackByWhoHoldsIt(t *testing.T) {
	inBubble(t, func(t *testing.T, l *lab) {
		_, b := l.operator()
		var old uint64
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(100 * time.Millisecond) { // brokers make the bucket soon
			var err error
			if old, err = b.Put(t.Context(), subjects.ElectionKey, []byte("old")); err == nil {
				break
			}
			if time.Now().After(end) {
				t.Fatal(err)
			}
		}
		held, err := b.Put(t.Context(), subjects.ElectionKey, []byte("new"))
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Release(t.Context(), subjects.ElectionKey, old); !election.IsConflict(err) {
			t.Errorf("the older revision: %v", err)
		}
		if e, err := b.Get(t.Context(), subjects.ElectionKey); err != nil || e == nil || !e.Held || e.Revision != held {
			t.Fatalf("stored is %+v, %v", e, err)
		}
		if err := b.Release(t.Context(), subjects.ElectionKey, held); err != nil {
			t.Fatal(err)
		}
		if e, err := b.Get(t.Context(), subjects.ElectionKey); err != nil || e != nil && e.Held {
			t.Errorf("given back, and stored is %+v, %v", e, err)
		}
	})
}
