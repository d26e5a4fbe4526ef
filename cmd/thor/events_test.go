package main

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/nats-io/nats.go"

	"thor/subjects"
)

// A reader of events that is slow is told how many it has lost, each once.
func TestSlowReadersOfEventsHearWhatTheyLose(t *testing.T) {
	const inRoom = 4
	events := make(chan *nats.Msg, inRoom)
	dropped := 0
	send := func(n int) {
		e := subjects.Event{V: subjects.Version, Kind: subjects.EventJoin, Role: subjects.SIPProxy, Node: "n1"}
		for range n {
			select {
			case events <- &nats.Msg{Data: e.Encode()}:
			default:
				dropped++
			}
		}
	}
	send(inRoom + 5)
	var lost []int
	printed := 0
	printEvents(context.Background(), events, func() int { return dropped }, func(*subjects.Event) error {
		switch printed++; printed {
		case inRoom:
			send(inRoom + 2)
		case 2 * inRoom:
			return errors.New("the reader has gone")
		}
		return nil
	}, func(n int) { lost = append(lost, n) })
	if printed != 2*inRoom || !slices.Equal(lost, []int{5, 2}) {
		t.Errorf("printed %d, lost %v", printed, lost)
	}
}
