package subscribers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"thor/overlay"
	"thor/overlay/subscriber"
	"thor/subjects"
)

func refuse(code subjects.ErrorCode, text string) *subjects.Reply {
	return &subjects.Reply{V: subjects.Version, Code: code, Text: text}
}

// noticed answers a subscriber.Notice once the revision it names is held.
func (c *Cache) noticed(ctx context.Context, r *overlay.Request) *subjects.Reply {
	n, err := subscriber.ParseNotice(r.Data)
	if err == nil && n.From != r.Sender() {
		err = fmt.Errorf("a notice from %s in the name of %s", r.Sender(), n.From)
	}
	if err != nil {
		return refuse(subjects.ErrorBad, err.Error())
	}
	n.Key = fold(n.Key)
	c.mu.Lock()
	c.contents.expect(n.Key, n.Revision)
	c.mu.Unlock()
	for range 3 { // a question that was under way may have come too early
		if held := c.held(n); held != nil {
			c.metrics.notices.WithLabelValues("held").Inc()
			return held
		}
		if err = c.fetch(ctx, n.Key, n.Revision, n.From); err != nil {
			break
		}
	}
	if held := c.held(n); held != nil {
		c.metrics.notices.WithLabelValues("held").Inc()
		return held
	}
	c.mu.Lock()
	c.contents.unexpect(n.Key)
	c.mu.Unlock()
	c.metrics.notices.WithLabelValues("failed").Inc()
	c.log.Debug().Err(err).Uint64("rev", n.Revision).Str("peer", string(n.From)).Msg("change notice: profile unavailable")
	return refuse(subjects.ErrorFailed, "the subscriber is not to be had")
}

func (c *Cache) held(n *subscriber.Notice) *subjects.Reply {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.contents.holds(n.Key, n.Revision) {
		return nil
	}
	h := subscriber.Held{V: subjects.Version, Key: n.Key, Revision: c.contents.entries[n.Key].revision}
	return &subjects.Reply{V: subjects.Version, Data: h.Encode()}
}

// handed answers a subscriber.Handover: it only takes note of the keys.
func (c *Cache) handed(_ context.Context, r *overlay.Request) *subjects.Reply {
	h, err := subscriber.ParseHandover(r.Data)
	if err != nil {
		return refuse(subjects.ErrorBad, err.Error())
	}
	n, now := 0, time.Now()
	c.mu.Lock()
	for _, k := range h.Keys {
		k = fold(k)
		if h.Changed {
			c.contents.invalidate(k)
		}
		if e := c.contents.entries[k]; (e == nil || !c.contents.fresh(e, now)) && c.refill.add(k) {
			n++
		}
	}
	c.mu.Unlock()
	c.metrics.handed.WithLabelValues("received").Add(float64(len(h.Keys)))
	c.kick()
	return &subjects.Reply{V: subjects.Version, Text: fmt.Sprintf("%d of %d taken note of", n, len(h.Keys))}
}

// Changed notes that a subscriber may have changed by something that provisioning does not
// know of, such as a document that an XCAP server stored: the next read asks for it, and
// so it is with the other nodes that hold it. The error is an overlay.ErrBadKey, or says
// that it is not known now which nodes those are: only this one has taken note.
func (c *Cache) Changed(_ context.Context, key string) error {
	key = fold(key)
	if !isKey(key) {
		return errBadKey
	}
	nodes, _, err := c.net.Lookup(c.cfg.Role, key)
	if errors.Is(err, overlay.ErrBadKey) {
		return errBadKey
	}
	// Without a lookup there are no nodes, and this one may hold the profile nevertheless.
	c.mu.Lock()
	if c.contents.invalidate(key) && nodes.Holds(c.net.ID()) && c.refill.add(key) {
		c.kick()
	}
	c.mu.Unlock()
	c.metrics.notices.WithLabelValues("by control").Inc()
	if err != nil {
		return fmt.Errorf("not passed on: %w", err)
	}
	h := subscriber.Handover{V: subjects.Version, Keys: []string{key}, Changed: true}
	for _, n := range nodes.Holders() {
		if n != c.net.ID() {
			c.working.Go(func() { c.pass(n, &h) })
		}
	}
	return nil
}

// pass tells n of a change. If n does not hear it, its next read may be old until
// provisioning tells of a change.
func (c *Cache) pass(n subjects.NodeID, h *subscriber.Handover) {
	ctx, cancel := context.WithTimeout(c.life, attemptTime)
	defer cancel()
	if r, err := c.net.Ask(ctx, subjects.AgentRequestFrom(c.net.ID(), n, subjects.VerbHandover), h.Encode()); err != nil || r.Code != "" {
		c.log.Info().Err(err).Str("peer", string(n)).Msg("change not passed on")
	}
}
