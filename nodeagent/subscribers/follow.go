package subscribers

import (
	"context"
	"slices"
	"time"

	"thor/overlay"
	"thor/overlay/lookup"
	"thor/overlay/subscriber"
	"thor/subjects"
)

// moveAtOnce is how many keys are moved under one hold of the lock: reads wait
// for about a millisecond.
const moveAtOnce = 2000

// followTables hands over what another node serves after the lookup changed, and
// forgets it in time.
func (c *Cache) followTables(ctx context.Context) {
	tables := c.net.Tables(ctx, c.cfg.Role)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	ready := false
	for {
		select {
		case <-ctx.Done():
			return
		case t, ok := <-tables:
			if !ok {
				return
			}
			c.retable(c.tableOf(t))
			if !ready {
				ready = true
				close(c.ready)
			}
		case <-timer.C:
			c.mu.Lock()
			c.contents.sweep(time.Now())
			c.mu.Unlock()
		}
		c.mu.Lock()
		due := c.contents.due()
		c.mu.Unlock()
		wait := time.Hour
		if !due.IsZero() {
			wait = max(time.Until(due), 10*time.Millisecond)
		}
		timer.Reset(wait)
	}
}

// tableOf is t with the members of the role.
func (c *Cache) tableOf(t *lookup.Table) *table {
	out := &table{lookup: t, members: make(map[subjects.NodeID]bool)}
	if s := c.net.View().Status; s != nil {
		for _, m := range s.Roles[c.cfg.Role] {
			out.members[m.Node] = true
		}
	}
	return out
}

// retable makes t the table.
func (c *Cache) retable(t *table) {
	old := c.table.Swap(t)
	c.mu.Lock()
	keys := c.contents.keys() // what is put from now on is put by t
	c.mu.Unlock()
	tell := make(map[subjects.NodeID][]string)
	for part := range slices.Chunk(keys, moveAtOnce) {
		c.mu.Lock()
		some := c.contents.move(old, t, part, time.Now())
		c.mu.Unlock()
		for n, ks := range some {
			tell[n] = append(tell[n], ks...)
		}
	}
	for n, ks := range tell {
		c.log.Info().Str("peer", string(n)).Int("subscribers", len(ks)).Msg("handing over")
		c.working.Go(func() { c.tell(n, ks) })
	}
}

// tell sends n the keys that it has to hold now. If that fails, n pulls them
// when it is asked for them.
func (c *Cache) tell(n subjects.NodeID, keys []string) {
	for part := range slices.Chunk(keys, subscriber.MaxKeys) {
		h := subscriber.Handover{V: subjects.Version, Keys: part}
		for try := range 3 {
			ctx, cancel := context.WithTimeout(c.life, attemptTime)
			r, err := c.net.Ask(ctx, subjects.AgentRequestFrom(c.net.ID(), n, subjects.VerbHandover), h.Encode())
			cancel()
			if err == nil && r.Code == "" {
				c.metrics.handed.WithLabelValues("told").Add(float64(len(part)))
				break
			}
			if try == 2 {
				c.log.Debug().Err(err).Str("peer", string(n)).Msg("hand-over not heard")
				return
			}
			select {
			case <-time.After(attemptTime):
			case <-c.life.Done():
				return
			}
		}
	}
}

// followNetwork notices when this node may have missed something, and asks what.
func (c *Cache) followNetwork(ctx context.Context) {
	select {
	case <-c.net.Ready(): // from now on notices reach this node
	case <-ctx.Done():
		return
	}
	views := c.net.Watch(ctx)
	timer := time.NewTimer(0)
	defer timer.Stop()
	retry := syncRetry
	last := 0                   // connection
	var known []subjects.NodeID // provisioning servers
	for {
		select {
		case <-ctx.Done():
			return
		case v, ok := <-views:
			if !ok {
				return
			}
			before := known
			known = provisioners(v)
			if well(v) && v.Connection == last {
				if slices.Equal(before, known) || !c.cutOff() {
					continue
				}
				break // a server may answer now
			}
			c.setGap(true)
			if last = v.Connection; !well(v) {
				last = 0 // when it is well again it counts as another one
				continue
			}
		case <-timer.C:
		}
		wait := syncEvery
		if c.sync(ctx) {
			retry = syncRetry
		} else {
			wait, retry = retry, min(2*retry, syncRetryMax)
		}
		timer.Reset(wait)
	}
}

func (c *Cache) setGap(gap bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.contents.gap = gap
}

func (c *Cache) cutOff() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.contents.gap
}

// provisioners are the provisioning servers of a view.
func provisioners(v *overlay.View) (out []subjects.NodeID) {
	if v.Status == nil {
		return nil
	}
	for _, m := range v.Status.Roles[subjects.ProvisioningServer] {
		out = append(out, m.Node)
	}
	return out
}

// well reports whether notices reach this node by the connection v tells of.
func well(v *overlay.View) bool { return v.Connected && !v.Stale }

// sync asks what changed since it last knew, and doubts that. Until it succeeds
// again all that is held may be old.
func (c *Cache) sync(ctx context.Context) bool {
	before := c.net.View()
	if !well(before) {
		c.setGap(true)
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	c.mu.Lock()
	req := subscriber.ChangesRequest{V: subjects.Version, Since: c.through}
	c.mu.Unlock()
	var ch *subscriber.ChangedKeys
	err := c.askProvisioning(ctx, subjects.VerbChanges, req.Encode(), "", func(r *subjects.Reply) error {
		var err error
		ch, err = subscriber.ParseChangedKeys(r.Data)
		return err
	})
	after := c.net.View()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.contents.gap = true
		return false
	}
	c.doubt(ch)
	c.contents.gap = !well(after) || after.Connection != before.Connection
	return !c.contents.gap
}

// doubt takes what changed. As long as nothing cut this node off it has heard of
// nearly all of it, so only what it holds an older revision of is in doubt. The
// caller holds mu.
func (c *Cache) doubt(ch *subscriber.ChangedKeys) {
	if ch.All && c.contents.gap {
		c.contents.invalidateAll()
	}
	for i, k := range ch.Keys {
		k = fold(k)
		if !c.contents.gap && i < len(ch.Revisions) && c.contents.holds(k, ch.Revisions[i]) {
			continue
		}
		if c.contents.invalidate(k) && c.refill.add(k) {
			c.kick()
		}
	}
	c.through = max(c.through, ch.Through)
}
