package manager

import (
	"context"
	"fmt"
	"sync"

	"github.com/rs/zerolog"

	"thor/manager/core"
	"thor/manager/election"
	"thor/overlay"
	"thor/subjects"
)

// A seeker asks for the newest status, each question in a goroutine of its own.
type seeker struct {
	ctx     context.Context // of the manager
	overlay *overlay.Node
	log     zerolog.Logger
	work    sync.WaitGroup
	found   chan found
	heard   chan heard
}

// heard is what another manager hears, nil if it did not say.
type heard struct {
	from    subjects.NodeID
	hearing *subjects.Hearing
}

// found is the answer to a question: status is nil if there is none.
type found struct {
	from subjects.NodeID // "": the key-value store
	overlay.Snapshot
	unread bool // it could not be asked
}

func newSeeker(ctx context.Context, node *overlay.Node, log zerolog.Logger) *seeker {
	return &seeker{ctx: ctx, overlay: node, log: log, found: make(chan found, 16), heard: make(chan heard, 16)}
}

// readStore reads the status that the last active manager stored.
func (k *seeker) readStore() {
	k.ask("", func(ctx context.Context) (s overlay.Snapshot, err error) {
		b, err := election.OpenBucket(k.overlay.Conn(), subjects.StatusBucket)
		if err != nil {
			return s, err
		}
		s.Status, s.Encoded, err = readStatus(ctx, b)
		return s, err
	})
}

// askManager asks another manager what it holds.
func (k *seeker) askManager(node subjects.NodeID) {
	k.ask(node, func(ctx context.Context) (overlay.Snapshot, error) {
		return k.overlay.AskSnapshot(ctx, subjects.ManagerRequest(node, subjects.VerbStatus))
	})
}

// askHearing asks another manager what it hears.
func (k *seeker) askHearing(node subjects.NodeID) {
	k.work.Go(func() {
		ctx, cancel := context.WithTimeout(k.ctx, core.AnswerWithin)
		defer cancel()
		h, err := k.hearing(ctx, node)
		if err != nil {
			k.log.Debug().Err(err).Str("peer", string(node)).Msg("what another manager hears not learnt")
		}
		select {
		case k.heard <- heard{node, h}:
		case <-k.ctx.Done():
		}
	})
}

func (k *seeker) hearing(ctx context.Context, node subjects.NodeID) (*subjects.Hearing, error) {
	r, err := k.overlay.Ask(ctx, subjects.ManagerRequest(node, subjects.VerbHears), nil)
	if err != nil {
		return nil, err
	}
	if r.Code != "" {
		return nil, fmt.Errorf("refused: %s", r.Code)
	}
	return subjects.ParseHearing(r.Data)
}

func (k *seeker) ask(from subjects.NodeID, question func(context.Context) (overlay.Snapshot, error)) {
	k.work.Go(func() {
		ctx, cancel := context.WithTimeout(k.ctx, core.AnswerWithin)
		defer cancel()
		s, err := question(ctx)
		if err != nil {
			k.log.Debug().Err(err).Str("peer", string(from)).Msg("newest status not learnt")
		}
		select {
		case k.found <- found{from, s, err != nil}:
		case <-k.ctx.Done():
		}
	})
}
