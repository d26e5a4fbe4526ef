package join

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"thor/subjects"
)

// A stuck program reads nothing.
type stuck struct {
	http.ResponseWriter
	begun chan struct{}
	free  chan struct{}
}

func (s *stuck) SetWriteDeadline(time.Time) error { return nil }
func (s *stuck) FlushError() error                { return nil }
func (s *stuck) Write(b []byte) (int, error) {
	s.begun <- struct{}{}
	<-s.free
	return len(b), nil
}

// Each of them holds its line for seconds. Neither the other one waits for that, nor the
// command beyond its time.
func TestAProgramThatDoesNotReadHoldsNoNotification(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &stuck{begun: make(chan struct{}, 2), free: make(chan struct{})}
		defer close(w.free)
		var s Service
		for range 2 {
			s.commands.add(&conversation{out: &writer{w: w, rc: http.NewResponseController(w)}})
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		done := make(chan bool, 1)
		go func() {
			_, _, ok := s.Command(ctx, &subjects.ControlCommand{ID: 1, Verb: subjects.ControlNotify, Operation: "update", Type: "sip_account", Entity: "a@b"}, "x1")
			done <- ok
		}()
		synctest.Wait()
		if n := len(w.begun); n != 2 {
			t.Errorf("%d of 2 programs are told at once", n)
		}
		time.Sleep(2 * time.Second) // virtual
		select {
		case ok := <-done:
			if !ok {
				t.Error("no program takes commands")
			}
		default:
			t.Error("the command waits beyond its time")
		}
	})
}
