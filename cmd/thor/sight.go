package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"thor/monitor/view"
	"thor/overlay"
	"thor/subjects"
)

// A lookout hears brokers, managers and ticks for one command.
type lookout struct {
	s     *session
	heard chan struct{} // holds one token: there is something new

	mu    sync.Mutex
	sight view.Sight
}

// lookOut begins to listen until ctx ends. Beats are for operators.
func (s *session) lookOut(ctx context.Context) (*lookout, error) {
	l := &lookout{s: s, heard: make(chan struct{}, 1), sight: view.Sight{
		Since: time.Now(), Beats: s.Identity().Has(subjects.Operator), Heard: make(map[view.Part]time.Time),
	}}
	topics := []string{subjects.StatusTick}
	if l.sight.Beats {
		topics = append(topics, subjects.Presence(subjects.EventServer, "*"), subjects.Presence(subjects.Manager, "*"))
	}
	for _, t := range topics {
		sub, err := s.Conn().Subscribe(t, l.note)
		if err != nil {
			return nil, fmt.Errorf("subscribe %s: %w", t, err)
		}
		context.AfterFunc(ctx, func() { _ = sub.Unsubscribe() })
	}
	return l, nil
}

func (l *lookout) note(m *nats.Msg) {
	now := time.Now()
	l.mu.Lock()
	if m.Subject == subjects.StatusTick {
		if _, err := subjects.ParseTick(m.Data); err == nil {
			l.sight.Tick = now
			var k struct {
				Beat int64 `json:"beat"`
			}
			_ = json.Unmarshal(m.Data, &k) // it is one JSON object
			l.sight.Beat = time.Duration(k.Beat) * time.Millisecond
		}
	} else if role, node, err := subjects.ParsePresence(m.Subject); err == nil {
		l.sight.Heard[view.Part{Role: role, Node: node}] = now
	}
	l.mu.Unlock()
	select {
	case l.heard <- struct{}{}:
	default:
	}
}

// now is what is heard by now.
func (l *lookout) now() view.Sight {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.sight
	s.Heard = maps.Clone(s.Heard)
	s.Alone = l.s.View().BrokerAlone
	if nc := l.s.Conn(); nc != nil && l.s.Connected() {
		s.Broker = nc.ConnectedServerName()
	}
	return s
}

// reasons are what is wrong by now, see view.Sight.
func (l *lookout) reasons(st *subjects.Status) []string {
	s := l.now()
	return s.Reasons(st, time.Now())
}

// wait returns when all that st names was heard, or what is silent is missed.
func (l *lookout) wait(ctx context.Context, st *subjects.Status) {
	for {
		s := l.now()
		left := time.Until(s.Since.Add(s.Patience() + 10*time.Millisecond))
		if s.Complete(st) || left <= 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-l.heard:
		case <-time.After(left):
			return
		}
	}
}

// stored is the copy of the status that managers keep for those that start, from
// any broker: it can be read where no manager answers. Only operators may.
func (s *session) stored(ctx context.Context) (st *subjects.Status, encoded []byte, written time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	m, err := s.Conn().RequestWithContext(ctx, subjects.StatusStored, nil)
	if err != nil {
		return nil, nil, time.Time{}, err
	}
	if len(m.Data) == 0 {
		return nil, nil, time.Time{}, errors.New("no status is stored")
	}
	if st, err = subjects.ParseStatus(m.Data); err != nil {
		return nil, nil, time.Time{}, err
	}
	written, _ = time.Parse(time.RFC3339Nano, m.Header.Get("Nats-Time-Stamp"))
	return st, m.Data, written, nil
}

// lastStatus is the status of the network or, where no manager tells one, the
// stored copy, as a stale view. why says so, and is empty otherwise.
func (s *session) lastStatus(ctx context.Context) (v *overlay.View, why string, err error) {
	v, err = s.status(ctx)
	if err == nil || ctx.Err() != nil || !s.Connected() || !s.Identity().Has(subjects.Operator) {
		return v, "", err
	}
	st, encoded, written, lost := s.stored(ctx)
	if lost != nil {
		return nil, "", err
	}
	why = "no manager answers: this is what was stored"
	if !written.IsZero() {
		why += fmt.Sprintf(" %s ago", time.Since(written).Round(time.Second))
	}
	return &overlay.View{Status: st, Encoded: encoded, Stale: true, Connected: true}, why, nil
}
