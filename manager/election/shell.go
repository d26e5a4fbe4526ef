package election

import (
	"context"
	"errors"
	"fmt"
	"time"

	"thor/subjects"
)

// step hands one input to the machine and does what follows.
func (e *Election) step(ctx context.Context, in Input) {
	f := Facts{Known: e.cfg.Known(), Order: e.cfg.Order(), MayLead: true, Via: e.connection()}
	if e.cfg.MayLead != nil {
		f.MayLead = e.cfg.MayLead()
	}
	f.MayLead = f.MayLead && ctx.Err() == nil
	if e.term != nil {
		f.Wanted = e.term.wanted.Load()
	}
	for _, a := range e.machine.Step(in, f, time.Now()) {
		e.act(ctx, a)
	}
	switch x := in.(type) { // a read alone shows nothing: copies answer also while nothing can be written
	case Told:
		e.complained = false
	case Written:
		e.complained = e.complained && x.Outcome != Stored
	}
}

// act does what the machine wants. Operations on the bucket answer through
// e.results.
func (e *Election) act(ctx context.Context, a Action) {
	background := context.WithoutCancel(ctx)
	switch a := a.(type) {
	case Read:
		go func() {
			u, err := e.bucket.Get(background, subjects.ElectionKey)
			e.result(Fetched{a.ID, u, err})
		}()
	case Write:
		go func() { e.result(e.write(background, a)) }()
	case Release:
		go func() { e.result(Released{a.ID, e.release(background, a)}) }()
	case Ask:
		l := subjects.Link{V: subjects.Version, Boot: a.Boot, Via: a.Via}
		if e.connection() != "" { // without one there is nothing to win either
			_ = e.cfg.Conn.Publish(subjects.ClosedGet, l.Encode()) // fails only without one
		}
	case Begin:
		e.begin(ctx, a)
	case Extend:
		e.term.extend(a.Until, a.Ceiling)
		if a.Rewritten != 0 {
			e.cfg.Log.Warn().Uint64("epoch", e.term.Epoch).Uint64("rev", a.Rewritten).
				Msg("the election bucket had lost the lease, wrote it again")
		}
	case Hold:
		e.term.hold(a)
	case End:
		e.term.end()
		e.term = nil
		if !a.Released {
			e.cfg.Log.Warn().Str("reason", a.Reason).Msg("no longer the active manager")
		}
	case Absurd:
		e.absurd(a.Err)
	case Failed:
		if !e.complained {
			e.complained = true
			e.cfg.Log.Warn().Err(a.Err).Msg("no election possible, trying again")
		}
	}
}

// result hands in the result of an operation, unless Run has ended.
func (e *Election) result(r Input) {
	select {
	case e.results <- r:
	case <-e.done:
	}
}

// begin delivers a term. One that is not taken up while its lease lasts is given
// back, since nothing would be published in it.
func (e *Election) begin(ctx context.Context, b Begin) {
	e.cfg.Log.Info().Uint64("epoch", b.Epoch).Uint64("rev", b.Revision).Str("event", "elected").Msg("became the active manager")
	e.term = newTerm(b, time.Now())
	over := time.NewTimer(time.Until(b.Until))
	defer over.Stop()
	select {
	case e.terms <- e.term:
		return
	case <-ctx.Done():
	case <-over.C:
	}
	e.term.StepDown()
}

// write puts the lease by compare-and-set.
func (e *Election) write(ctx context.Context, w Write) Written {
	if w.Keep {
		e.storeEpoch(w.Epoch, w.Ceiling)
	}
	l := subjects.Lease{
		V: subjects.Version, Manager: e.cfg.Node, Boot: e.cfg.Boot, Via: w.Via, Epoch: w.Epoch, Ceiling: w.Ceiling,
		Time: time.Now().UTC().Truncate(time.Millisecond),
	}
	ctx, cancel := context.WithTimeout(ctx, ackWait)
	defer cancel()
	rev, err := e.bucket.Replace(ctx, subjects.ElectionKey, l.Encode(), w.Revision, TTL)
	switch {
	case err == nil:
		return Written{ID: w.ID, Revision: rev}
	case IsConflict(err):
		return Written{ID: w.ID, Outcome: Conflict, Err: err}
	}
	return Written{ID: w.ID, Outcome: Unknown, Err: fmt.Errorf("write the lease at revision %d: %w", w.Revision, err)}
}

// storeEpoch has epoch and ceiling stored on disk, as well as that goes.
func (e *Election) storeEpoch(epoch, ceiling uint64) {
	err := e.cfg.StoreEpoch(epoch, ceiling)
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil && !e.storeFails {
		e.cfg.Log.Error().Err(err).Uint64("epoch", epoch).Msg("cannot keep the epoch on disk, the others must remember it")
	}
	e.storeFails = err != nil
}

// release gives the lease back.
func (e *Election) release(ctx context.Context, r Release) error {
	ctx, cancel := context.WithTimeout(ctx, ackWait)
	defer cancel()
	if err := e.bucket.Release(ctx, subjects.ElectionKey, r.Revision); err != nil {
		e.cfg.Log.Warn().Err(err).Msg("could not give the lease back, it will expire")
		return err
	}
	e.cfg.Log.Info().Uint64("rev", r.Revision).Str("event", "resigned").Msg("gave the lease back")
	return nil
}

func (e *Election) absurd(err error) {
	e.cfg.Log.Error().Err(err).Str("event", "rejected").Msg("lease refused")
	var bad *subjects.BadMessage
	if e.cfg.Absurd != nil && errors.As(err, &bad) {
		e.cfg.Absurd(bad)
	}
}
