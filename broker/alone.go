package broker

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"thor/subjects"
)

const (
	awaySpread  = 3 * time.Second // clients that are sent away leave within this
	noticeEvery = time.Second     // while alone, for clients that come meanwhile
)

// AloneSince is since when b is alone: it has had no route for some seconds,
// although its configuration names other brokers. Zero: it is not alone.
func (b *Broker) AloneSince() time.Time {
	if t := b.alone.Load(); t != nil {
		return *t
	}
	return time.Time{}
}

func (b *Broker) isAlone() bool { return b.alone.Load() != nil }

// Degraded is what keeps b from its work, a line each; nil: nothing.
func (b *Broker) Degraded() (reasons []string) {
	if since := b.AloneSince(); !since.IsZero() {
		reasons = append(reasons, "alone: no route to another broker since "+since.UTC().Format(time.TimeOnly)+" UTC")
	}
	switch b.JetStream() {
	case JetStreamNoLeader:
		reasons = append(reasons, "JetStream has no leader: too few brokers are connected")
	case JetStreamOff:
		reasons = append(reasons, "JetStream is off")
	case JetStreamStalled:
		reasons = append(reasons, "JetStream does not answer: see whether the disk of its store hangs")
	case JetStreamOK, JetStreamNone:
	}
	return reasons
}

// guardAlone tells clients when b is alone and sends them away, until ctx ends.
// Clients come back if they reach no other broker: none is refused.
func (b *Broker) guardAlone(ctx context.Context, s *server.Server, own *nats.Conn) {
	if b.cfg.ClusterListen == "" {
		return
	}
	var i isolation
	var told time.Time
	every(ctx, aloneTick, func() {
		now := time.Now()
		routes := s.NumRoutes()
		if routes > 0 {
			b.rescued.Store(false)
		} else if b.rescued.Load() {
			routes = 1 // as an operator said, there are no others to be cut off from
		}
		changed, away := i.look(routes, now)
		if changed {
			b.noteAlone(i.since)
		}
		if changed || b.isAlone() && now.Sub(told) >= noticeEvery {
			told = now
			n := subjects.BrokerNotice{V: subjects.Version, Broker: b.id.Node, Alone: b.isAlone()}
			_ = own.Publish(subjects.BrokerOf(b.id.Node), n.Encode()) // repeated, and new clients read it in the INFO
		}
		if away {
			b.sendAway(ctx, s)
		}
	})
}

// noteAlone makes since, zero for never, what b tells of itself.
func (b *Broker) noteAlone(since time.Time) {
	if since.IsZero() {
		b.alone.Store(nil)
		b.log.Info().Str("event", "alone").Bool("alone", false).Msg("routes to other brokers are back")
		return
	}
	b.alone.Store(&since)
	b.log.Error().Str("event", "alone").Bool("alone", true).Strs("routes", b.cfg.Routes).Msg("no route to another broker, clients are sent away")
}

// sendAway ends the connections that have to leave, one after the other, unless b
// gets a route meanwhile.
func (b *Broker) sendAway(ctx context.Context, s *server.Server) {
	cids := b.front.leaving()
	if len(cids) == 0 {
		return
	}
	rand.Shuffle(len(cids), func(i, j int) { cids[i], cids[j] = cids[j], cids[i] })
	b.log.Info().Int("clients", len(cids)).Msg("sending clients away")
	b.front.running.Go(func() {
		t := time.NewTicker(awaySpread / time.Duration(len(cids)))
		defer t.Stop()
		for _, cid := range cids {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
			if !b.isAlone() {
				return
			}
			if s.DisconnectClientByID(cid) == nil {
				b.m.sentAway.Inc()
			}
		}
	})
}

// leaving are the clients that are sent away when the broker is alone, by
// nats-server's number: not those that listen to BrokerNotice, which leave by
// themselves if they reach another broker, and not operators, who may have come
// because of it.
func (f *front) leaving() (cids []uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.clients {
		if cid := c.cid.Load(); cid != 0 && !c.hears.Load() && !c.id.Has(subjects.Operator) {
			cids = append(cids, cid)
		}
	}
	slices.Sort(cids)
	return cids
}
