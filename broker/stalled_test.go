package broker

import (
	"testing"
	"testing/synctest"
	"time"
)

// While JetStream does not answer the broker beats on, with what it said last, and then says
// that it is stalled. One question waits at a time.
func TestABrokerBeatsWhileJetStreamHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q question[JetStreamState]
		asked, is := 0, JetStreamNoLeader
		free := make(chan struct{})
		close(free)
		ask := func() JetStreamState {
			asked++
			<-free
			return is
		}
		state := func(want JetStreamState, took time.Duration) {
			t.Helper()
			began := time.Now()
			if got := streamState(&q, ask); got != want || time.Since(began) != took {
				t.Errorf("%s after %v, want %s after %v", got, time.Since(began), want, took)
			}
		}
		state(JetStreamNoLeader, 0)
		is = JetStreamOK
		state(JetStreamOK, 0)
		free = make(chan struct{})
		hangs := free
		state(JetStreamOK, questionWait)
		state(JetStreamOK, questionWait)
		time.Sleep(questionStalled)
		state(JetStreamStalled, questionWait)
		if asked != 3 {
			t.Errorf("asked %d times", asked)
		}
		close(hangs)
		synctest.Wait()
		state(JetStreamOK, 0)
	})
}
