package push

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"thor/overlay/lookup"
	"thor/overlay/subscriber"
	"thor/subjects"
)

// Bounds of pushing.
const (
	pushAtOnce = 64              // notices that are being sent; owner, heir and remote request a profile for each
	noticeTime = 4 * time.Second // a node has to request the profile before it answers
	ackAtOnce  = 256             // acknowledgements in one transaction
	storeTime  = 5 * time.Second
)

// send notifies every holder of the key, and has the push acknowledged once all
// of them hold the revision.
func (p *Pusher) send(ctx context.Context, n subscriber.Notice) error {
	c := p.inFlight.begin(n)
	nodes, err := p.notifyHolders(ctx, n, c)
	missing := p.inFlight.end(n, c)
	p.noteBehind(n, nodes, missing)
	if err != nil {
		p.metrics.pushes.WithLabelValues("failed").Inc()
		p.log.Debug().Err(err).Uint64("rev", n.Revision).Msg("push not acknowledged, to be repeated")
		return err
	}
	p.recent.add(n, nodes, time.Now())
	p.metrics.pushes.WithLabelValues("held").Inc()
	select {
	case p.acks <- n:
	case <-ctx.Done(): // the next server finds it pending, and the nodes answer that they hold it
	}
	return nil
}

// notifyHolders returns the holders of n's key. The call notes which of them do
// not hold the revision yet.
func (p *Pusher) notifyHolders(ctx context.Context, n subscriber.Notice, c *call) ([]subjects.NodeID, error) {
	n.V, n.From = subjects.Version, p.net.ID()
	if t := p.table(); t == nil || t.Len() == 0 {
		return nil, lookup.ErrNoMembers
	}
	nodes := p.notified(n.Key)
	p.inFlight.expect(c, nodes)
	var g errgroup.Group // without a context: one holder's failure does not stop the others
	for _, node := range nodes {
		g.Go(func() error {
			err := p.notify(ctx, node, n)
			if err == nil {
				p.inFlight.held(c, node)
			}
			return err
		})
	}
	return nodes, g.Wait()
}

// notify returns nil when the node holds the revision of n.
func (p *Pusher) notify(ctx context.Context, node subjects.NodeID, n subscriber.Notice) error {
	b := p.breakers.of(node)
	select {
	case b.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-b.slots }()
	if !b.allow(time.Now()) {
		return fmt.Errorf("notify %s: it did not answer a moment ago", node)
	}
	ctx, cancel := context.WithTimeout(ctx, noticeTime)
	defer cancel()
	r, err := p.net.Ask(ctx, subjects.AgentRequestFrom(p.net.ID(), node, subjects.VerbSubscriber), n.Encode())
	b.record(err == nil, time.Now())
	switch {
	case err != nil:
		return fmt.Errorf("notify %s: %w", node, err)
	case r.Code != "":
		return fmt.Errorf("notify %s: %s: %s", node, r.Code, r.Text)
	}
	h, err := subscriber.ParseHeld(r.Data)
	switch {
	case err != nil:
		return fmt.Errorf("notify %s: answer: %w", node, err)
	case h.Key != n.Key || h.Revision < n.Revision:
		return fmt.Errorf("notify %s: it holds revision %d, not %d", node, h.Revision, n.Revision)
	}
	return nil
}

// acknowledge notes in the store which pushes are held, until sent is closed.
func (p *Pusher) acknowledge(ctx context.Context, sent <-chan struct{}) {
	failing := false
	for {
		var held []subscriber.Notice
		select {
		case n := <-p.acks:
			held = append(held, n)
		case <-sent:
			if len(p.acks) == 0 {
				return
			}
		}
		for more := true; more && len(held) < ackAtOnce; {
			select {
			case n := <-p.acks:
				held = append(held, n)
			default:
				more = false
			}
		}
		to, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
		err := p.cfg.Store.Acknowledge(to, held)
		cancel()
		if (err != nil) != failing {
			failing = err != nil
			if failing {
				p.log.Error().Err(err).Msg("acknowledged pushes cannot be noted, they will be repeated")
			} else {
				p.log.Info().Msg("acknowledged pushes are noted again")
			}
		}
		if err != nil {
			signal(p.retry)
		}
	}
}
