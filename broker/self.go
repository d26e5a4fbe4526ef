package broker

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"thor/subjects"
)

const (
	beatTime      = time.Second     // between announcements, give or take a tenth
	listTick      = 2 * time.Second // a revocation list in a file is in force this soon
	jetStreamTick = 2 * time.Second
)

// every calls f now and at each tick, until ctx ends.
func every(ctx context.Context, tick time.Duration, f func()) {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		f()
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// work does what a broker does beside nats-server, until ctx ends (nil) or it
// cannot go on.
func (b *Broker) work(ctx context.Context, s *server.Server, own *nats.Conn, fatal <-chan error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		select {
		case err := <-fatal:
			return fmt.Errorf("broker: %w", err)
		case <-ctx.Done():
			return nil
		}
	})
	g.Go(func() error { return b.announce(ctx, own) })
	g.Go(func() error { return b.identities.answer(ctx) })
	g.Go(func() error { return b.answerConnections(ctx, s, own) })
	g.Go(func() error {
		return b.answerOperators(ctx, own, subjects.VerbRescue, func(who subjects.NodeID, data []byte) *subjects.Reply { return b.rescueAsked(ctx, s, who, data) })
	})
	g.Go(func() error { return b.answerOperators(ctx, own, subjects.VerbRestart, b.restartAsked) })
	g.Go(func() error { return b.guardLists(ctx, s, own) })
	g.Go(func() error { b.guardJetStream(ctx, s); return nil })
	g.Go(func() error { return b.keepBuckets(ctx, s, own) })
	if b.front != nil {
		g.Go(func() error { b.tellCuts(ctx, own); return nil })
	}
	g.Go(func() error { b.guardRoutes(ctx, s); return nil })
	g.Go(func() error { b.guardAlone(ctx, s, own); return nil })
	return g.Wait()
}

// tellCuts tells managers of clients that were cut off for what they sent.
func (b *Broker) tellCuts(ctx context.Context, own *nats.Conn) {
	for {
		select {
		case <-ctx.Done():
			return
		case c := <-b.front.cuts:
			_ = own.Publish(subjects.CutNode, c.Encode()) // lost while the own connection is: it is logged and counted
		}
	}
}

// announce says that the broker lives, as a member of thor_eventserver, and at
// the end that it leaves. A frozen or dead broker falls silent: that, and not
// the end of its own connection, is how managers notice.
func (b *Broker) announce(ctx context.Context, own *nats.Conn) error {
	if len(b.cfg.Addresses) == 0 {
		return nil
	}
	seen := witness{path: filepath.Join(b.cfg.StoreDir, "seen.json")}
	if err := seen.load(); err != nil {
		b.log.Error().Err(err).Msg("newest epoch of an earlier run lost")
	}
	note := func(k subjects.Mark) {
		if err := seen.note(k); err != nil {
			b.log.Error().Err(err).Msg("newest epoch not stored: it will not be known after a restart")
		}
	}
	for subject, take := range map[string]nats.MsgHandler{
		subjects.StatusTick: func(m *nats.Msg) {
			if t, err := subjects.ParseTick(m.Data); err == nil {
				note(t.Mark())
			}
		},
		// The first word of an epoch, and the last if its manager ends there. A compressed one is
		// left to the tick.
		subjects.StatusDelta: func(m *nats.Msg) {
			if d, err := subjects.ParseDelta(m.Data); err == nil {
				note(d.Mark())
			}
		},
	} {
		sub, err := own.Subscribe(subject, take)
		if err != nil {
			return fmt.Errorf("broker: subscribe %s: %w", subject, err)
		}
		defer func() { _ = sub.Unsubscribe() }()
	}

	a := b.announcement()
	told := b.identity()
	say := func(s subjects.State) {
		if id := b.identity(); id != told { // a renewed certificate
			b.identities.tell(id)
			told = id
		}
		a.Seq++
		a.State = s
		a.Seen = seen.newest.Load()
		a.Attrs = b.attrs()
		a.Via = via(own)
		_ = own.Publish(subjects.Presence(a.Role, a.Node), a.Encode())
	}
	for {
		say(subjects.Up)
		beat := time.NewTimer(beatTime - beatTime/10 + rand.N(beatTime/5))
		select {
		case <-beat.C:
		case <-ctx.Done():
			beat.Stop()
			say(subjects.Leave)
			_ = own.FlushTimeout(time.Second)
			return nil
		}
	}
}

func (b *Broker) announcement() *subjects.Announcement {
	return &subjects.Announcement{
		V: subjects.Version, Node: b.id.Node, Role: subjects.EventServer, Boot: b.boot,
		Addresses: b.cfg.Addresses, Priority: b.cfg.Priority, Weight: subjects.DefaultWeight, Version: b.cfg.Version,
		Site: b.cfg.site(),
	}
}

// via names the connection itself, as every member does.
func via(own *nats.Conn) string {
	cid, err := own.GetClientID()
	if err != nil {
		return ""
	}
	return subjects.ViaOf(own.ConnectedServerName(), cid)
}

// attrs tells of the broker what an operator wants to see. What changes makes a
// new status for all members, so numbers are coarse: clients to a power of two.
func (b *Broker) attrs() subjects.Attrs {
	s := b.state()
	as := subjects.Attrs{
		subjects.AttrClients:  strconv.Itoa(coarse(s.clients)),
		subjects.AttrRoutes:   strconv.Itoa(len(s.peers)),
		subjects.AttrIdentity: "1",
	}
	if s.jetstream != JetStreamNone {
		as[subjects.AttrJetStream] = string(s.jetstream)
	}
	if left := !as.SetPeers(s.peers); b.unnamed.Swap(left) != left && left {
		b.log.Warn().Int("routes", len(s.peers)).Int("bytes", subjects.MaxAttrValue).
			Msg("names of peers do not fit an attribute, none is announced: managers do not learn from here which brokers are heard")
	}
	if used := b.disk().used(); used >= fullDisk {
		as[subjects.AttrDisk] = strconv.Itoa(used - used%5)
	}
	if u, err := url.Parse(b.ClientURL()); err == nil && u.Port() != "" {
		as[subjects.AttrPort] = u.Port() // name servers tell it to those who look for brokers
	}
	return as
}

// fullDisk is the share of the store's disk in use, in percent, from which on it is announced.
const fullDisk = 80

// coarse rounds n down to a power of two.
func coarse(n int) int {
	p := 1
	for p*2 <= n {
		p *= 2
	}
	return min(n, p)
}
