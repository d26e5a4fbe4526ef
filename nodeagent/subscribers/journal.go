package subscribers

import (
	"context"
	"time"

	"thor/overlay/subscriber"
	"thor/subjects"
)

// journalEvery is how often the log of entries is examined for a rewrite.
const journalEvery = time.Second

// restore inserts what an earlier process held, and hands the log of this one to the
// supervisor before any change can be acknowledged.
func (c *Cache) restore() error {
	if c.cfg.Kept == nil {
		return nil
	}
	began := time.Now()
	ps, err := profiles(c)
	if err != nil {
		c.log.Error().Err(err).Msg("profile log refused")
	}
	for _, p := range ps {
		c.contents.restore(p, time.Now())
	}
	c.contents.journal = c.cfg.Kept
	c.cfg.Restored = nil
	if err := c.rewrite(); err != nil {
		return err
	}
	if len(ps) > 0 {
		c.log.Info().Int("subscribers", len(c.contents.entries)).Int64("took_ms", time.Since(began).Milliseconds()).Msg("profiles of an earlier process restored")
	}
	return nil
}

// profiles are the result of the records, the one that changed last at the end.
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

// rewrite replaces the log by one of the present entries.
func (c *Cache) rewrite() error {
	began := time.Now()
	c.mu.Lock()
	size, n := 0, len(c.contents.entries)
	for _, e := range c.contents.entries {
		size += len(e.body) + len(e.key) + 128
	}
	err := c.cfg.Kept.Rewrite(size, c.contents.write)
	c.mu.Unlock()
	held := time.Since(began)
	if err == nil {
		err = c.cfg.Kept.Confirm()
	}
	c.log.Debug().Err(err).Int("subscribers", n).Int("bytes", size).Int64("locked_us", held.Microseconds()).
		Int64("took_ms", time.Since(began).Milliseconds()).Msg("profile log rewritten")
	return err
}

// write puts all that is held, the least recently used first.
func (s *contents) write(put func(profile []byte) error) error {
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

// journalLoop rewrites the log when it is nearly full, or when there is none.
func (c *Cache) journalLoop(ctx context.Context) {
	t := time.NewTicker(journalEvery)
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
			c.log.Error().Err(err).Msg("profile log unusable; profiles will not survive a restart")
		}
		failed = err != nil
	}
}
