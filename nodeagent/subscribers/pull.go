package subscribers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"thor/overlay"
	"thor/overlay/subscriber"
	"thor/subjects"
)

var (
	errNotOurs  = errors.New("another node's subscriber, says the provisioning server")
	errNoServer = errors.New("no provisioning server is a member")
	errDown     = errors.New("no provisioning server answered a moment ago")
	errNoAnswer = errors.New("no provisioning server answered")
)

// isKey reports whether a folded key is one that the wire takes.
func isKey(k string) bool {
	at := strings.IndexByte(k, '@')
	return at > 0 && at < len(k)-1 && len(k) <= subscriber.MaxKey && subjects.Printable(k, len(k)) == k && !strings.ContainsRune(k, '\uFFFD')
}

// A flight is one question for one key, whose answer goes to all who wait.
type flight struct {
	done chan struct{}
	err  error // once done
}

// fetch inserts the profile of key, by a question of its own or by one
// that is under way. prefer, if any, is asked first: it has just been heard of.
func (c *Cache) fetch(ctx context.Context, key string, least uint64, prefer subjects.NodeID) error {
	c.mu.Lock()
	f := c.flights[key]
	if f == nil {
		if prefer == "" && time.Now().Before(c.down) {
			c.mu.Unlock()
			return errDown
		}
		f = &flight{done: make(chan struct{})}
		c.flights[key] = f
		asked := c.contents.seq
		c.working.Go(func() { c.fly(f, key, least, asked, prefer) })
	}
	c.mu.Unlock()
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Cache) fly(f *flight, key string, least, asked uint64, prefer subjects.NodeID) {
	ctx, cancel := context.WithTimeout(c.life, noticeTime)
	defer cancel()
	p, err := c.pull(ctx, key, least, prefer)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		// Under the lock: a change of the table moves afterwards what was inserted before.
		mine := c.table.Load().find(key).Holds(c.net.ID())
		c.contents.put(p, asked, mine, time.Now())
	}
	f.err = err
	delete(c.flights, key)
	close(f.done)
}

// pull asks one provisioning server after the other for a profile of at least
// the revision least.
func (c *Cache) pull(ctx context.Context, key string, least uint64, prefer subjects.NodeID) (*subscriber.Profile, error) {
	req := &subscriber.Request{V: subjects.Version, Key: key, Least: least}
	var p *subscriber.Profile
	err := c.askProvisioning(ctx, subjects.VerbSubscriber, req.Encode(), prefer, func(r *subjects.Reply) error {
		var err error
		if p, err = subscriber.ParseProfile(r.Data); err != nil {
			return err
		}
		if p.Key != key || p.Revision < least {
			return errors.New("the answer is for something else than was asked")
		}
		return nil
	})
	return p, err
}

// askProvisioning puts a question to one provisioning server after the other,
// until take is content with an answer.
func (c *Cache) askProvisioning(ctx context.Context, verb string, data []byte, prefer subjects.NodeID, take func(*subjects.Reply) error) error {
	servers := c.servers(prefer)
	if len(servers) == 0 {
		c.failed(verb, errNoServer)
		return errNoServer
	}
	var errs []error
	for _, s := range servers {
		err := c.askOne(ctx, s, verb, data, take)
		if err == nil {
			c.metrics.pulls.WithLabelValues(verb, "ok").Inc()
			c.mu.Lock()
			c.down = time.Time{}
			delete(c.sick, s)
			c.mu.Unlock()
			return nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", s, err))
		if ctx.Err() != nil || errors.Is(err, overlay.ErrNotConnected) {
			break
		}
	}
	err := errors.Join(errs...)
	c.failed(verb, err)
	return err
}

// failed takes it that all provisioning servers failed.
func (c *Cache) failed(verb string, err error) {
	result := "failed"
	switch {
	case errors.Is(err, errNotOurs):
		result = "refused"
	case errors.Is(err, errNoServer), errors.Is(err, overlay.ErrNotConnected): // costs nothing to find out again
	case c.life.Err() == nil:
		c.mu.Lock()
		c.down = time.Now().Add(downTime)
		c.mu.Unlock()
	}
	c.metrics.pulls.WithLabelValues(verb, result).Inc()
	c.log.Debug().Err(err).Str("verb", verb).Msg("provisioning does not answer")
}

func (c *Cache) askOne(ctx context.Context, server subjects.NodeID, verb string, data []byte, take func(*subjects.Reply) error) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	r, err := c.net.Ask(ctx, subjects.ProvisioningRequest(server, verb, c.cfg.Role, c.net.ID()), data)
	if err != nil {
		c.mu.Lock()
		c.sick[server] = time.Now().Add(sickTime)
		c.mu.Unlock()
		return fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	switch r.Code {
	case "":
		return take(r)
	case subjects.ErrorForbidden:
		return errNotOurs
	}
	return fmt.Errorf("%s: %s", r.Code, r.Text)
}

// servers are those to ask, the best first.
func (c *Cache) servers(prefer subjects.NodeID) []subjects.NodeID {
	v := c.net.View()
	if v.Status == nil {
		return nil
	}
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	return askingOrder(v.Status.Roles[subjects.ProvisioningServer], prefer, c.net.Site(), func(n subjects.NodeID) bool { return now.After(c.sick[n]) })
}

// askingOrder is prefer, then those that are up and well, then the rest; of each those of the
// own site first, in random order.
func askingOrder(members []subjects.Member, prefer subjects.NodeID, own subjects.Site, well func(subjects.NodeID) bool) []subjects.NodeID {
	rank := func(m *subjects.Member) (r int) {
		switch {
		case m.Node == prefer:
			return 0
		case m.State != subjects.Up || !well(m.Node):
			r = 2
		}
		if own == "" || m.Place() != own {
			r++
		}
		return 1 + r
	}
	ms := slices.Clone(members)
	rand.Shuffle(len(ms), func(i, j int) { ms[i], ms[j] = ms[j], ms[i] })
	slices.SortStableFunc(ms, func(a, b subjects.Member) int { return cmp.Compare(rank(&a), rank(&b)) })
	out := make([]subjects.NodeID, len(ms))
	for i := range ms {
		out[i] = ms[i].Node
	}
	return out
}
