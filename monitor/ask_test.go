package monitor

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	tea "charm.land/bubbletea/v2"

	"thor/monitor/view"
	"thor/overlay"
	"thor/subjects"
)

// What a page wants is asked at once, then now and again, and given up for what the next page wants.
func TestWhatAPageWantsIsAskedWhileItIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var asked []view.Want
		var at []time.Duration
		m := &Monitor{cfg: Config{Ask: func(ctx context.Context, a *view.Answer, _ *subjects.Status) {
			asked, at = append(asked, a.Of), append(at, time.Since(began))
			if a.Of.Brokers {
				<-ctx.Done() // no broker answers
			}
		}}}
		var answers []view.Want
		send := func(msg tea.Msg) { answers = append(answers, msg.(answerMsg).a.Of) }
		wants, statuses := make(chan view.Want, 1), &latest{}
		statuses.set(&subjects.Status{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); m.ask(ctx, send, wants, statuses) }()
		step := func(w view.Want, d time.Duration) {
			wants <- w
			time.Sleep(d)
			synctest.Wait()
		}
		brokers, names := view.Want{Brokers: true}, view.Want{NameServers: true}
		step(brokers, 500*time.Millisecond)
		if len(asked) != 1 || len(answers) != 0 {
			t.Fatalf("asked %v, answered %v", asked, answers)
		}
		step(names, 5*time.Second) // at 0.5, 2.5 and 4.5 s
		if len(asked) != 4 || asked[1] != names || at[1] != 500*time.Millisecond || at[3] != 4500*time.Millisecond || len(answers) != 3 || answers[0] != names {
			t.Errorf("asked %v at %v, answered %v", asked, at, answers)
		}
		step(view.Want{}, 10*time.Second)
		if len(asked) != 4 {
			t.Errorf("asked %v although nothing is wanted", asked)
		}
		step(brokers, time.Second)
		cancel()
		<-done
	})
}

// The history is read at the start, again if that fails, and after a connection was lost.
func TestTheHistoryIsReadAtTheStartAndAfterALostConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var since []time.Duration
		views, events := make(channel, 1), make(chan subjects.Event, 1)
		m := &Monitor{cfg: Config{Source: views, Events: events, Past: func(_ context.Context, from time.Time) ([]subjects.Event, string, error) {
			d := from.Sub(began)
			if from.IsZero() {
				d = 0
			}
			since = append(since, d)
			if len(since) == 1 {
				return nil, "", errors.New("no leader")
			}
			return nil, "note", nil
		}}}
		past := 0
		send := func(msg tea.Msg) {
			if p, ok := msg.(pastMsg); ok && p.note == "note" {
				past++
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); m.feed(ctx, send, make(chan view.Want)) }()
		show := func(connection int) {
			views <- &overlay.View{Status: &subjects.Status{}, Connection: connection}
			synctest.Wait()
		}
		show(1)
		show(1)
		time.Sleep(10 * time.Minute)
		events <- subjects.Event{}
		synctest.Wait()
		time.Sleep(10 * time.Minute)
		show(2)
		if len(since) != 3 || since[0] != 0 || since[1] != 0 || since[2] != 10*time.Minute-missedFor || past != 2 {
			t.Errorf("read from %v, shown %d times", since, past)
		}
		cancel()
		<-done
	})
}

// A channel is a source of views.
type channel chan *overlay.View

func (c channel) Watch(context.Context) <-chan *overlay.View { return c }
