package subscribers

import (
	"context"
	"time"

	"thor/overlay/subscriber"
	"thor/subjects"
)

// keepEvery is how often it is looked whether the log of what is held is to be
// written anew.
const keepEvery = time.Second

// restore takes over what an earlier process held, and has this one's log held by
// the supervisor before any change can be acknowledged.
func (c *Cache) restore() error {
	if c.cfg.Kept == nil {
		return nil
	}
	began := time.Now()
	ps, err := profiles(c)
	if err != nil {
		c.log.Error().Err(err).Msg("kept profiles refused")
	}
	for _, p := range ps {
		c.shelf.restore(p, time.Now())
	}
	c.shelf.journal = c.cfg.Kept
	c.cfg.Restored = nil
	if err := c.rewrite(); err != nil {
		return err
	}
	if len(ps) > 0 {
		c.log.Info().Int("subscribers", len(c.shelf.entries)).Int64("took_ms", time.Since(began).Milliseconds()).Msg("profiles of before the restart are at hand")
	}
	return nil
}

// profiles are what the records come to, the one that changed last at the end.
func profiles(c *Cache) (out []*subscriber.Profile, err error) {
	at := make(map[string]int)
	for _, r := range c.cfg.Restored {
		key := r.Dropped
		var p *subscriber.Profile
		if r.Profile != nil {
			if p, err = subscriber.ParseProfile(r.Profile); err != nil {
				return nil, err // what is missing might be the newer revision of another
			}
			key = p.Key
		}
		if i, is := at[key]; is {
			out[i] = nil
		}
		delete(at, key)
		if p != nil {
			at[key] = len(out)
			out = append(out, p)
		}
	}
	n := 0
	for _, p := range out {
		if p != nil {
			out[n] = p
			n++
		}
	}
	return out[:n], nil
}

// rewrite has the log hold what is held now, and no more.
func (c *Cache) rewrite() error {
	began := time.Now()
	c.mu.Lock()
	size, n := 0, len(c.shelf.entries)
	for _, e := range c.shelf.entries {
		size += len(e.body) + len(e.key) + 128
	}
	err := c.cfg.Kept.Rewrite(size, c.shelf.write)
	c.mu.Unlock()
	held := time.Since(began)
	if err == nil {
		err = c.cfg.Kept.Confirm()
	}
	c.log.Debug().Err(err).Int("subscribers", n).Int("bytes", size).Int64("locked_us", held.Microseconds()).
		Int64("took_ms", time.Since(began).Milliseconds()).Msg("log of profiles written anew")
	return err
}

// write puts all that is held, the least recently used first.
func (s *shelf) write(put func(profile []byte) error) error {
	for _, l := range []*list{&s.absences, &s.profiles} {
		for e := l.last; e != nil; e = e.prev {
			b := e.body
			switch {
			case e.absent() && e.revision == 0:
				continue
			case e.absent():
				b = (&subscriber.Profile{V: subjects.Version, Key: e.key, Revision: e.revision, Deleted: true, Served: e.served}).Encode()
			}
			if err := put(b); err != nil {
				return err
			}
		}
	}
	return nil
}

// keepLoop writes the log anew when it is nearly full, or when there is none.
func (c *Cache) keepLoop(ctx context.Context) {
	t := time.NewTicker(keepEvery)
	defer t.Stop()
	failed := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if !c.cfg.Kept.Wants() {
			continue
		}
		err := c.rewrite()
		if err != nil && !failed {
			c.log.Error().Err(err).Msg("profiles are not kept for a restart")
		}
		failed = err != nil
	}
}
