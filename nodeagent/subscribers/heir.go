package subscribers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"thor/overlay"
	"thor/overlay/audit"
	"thor/overlay/subscriber"
	"thor/subjects"
)

// The rate at which an heir answers one owner: that of a hand-over, so that an owner that
// restarted without its memory serves its phones at once.
const (
	ownerPerSecond = 500
	ownerAtOnce    = 1000
	heirTime       = 700 * time.Millisecond // of a question to the heir, after provisioning did not answer
)

var errNotHeld = errors.New("the heir does not hold it")

// limits bounds the answers to each asker.
type limits struct {
	mu sync.Mutex
	of map[subjects.NodeID]*rate.Limiter // by nodes that have certificates
}

func (l *limits) allow(n subjects.NodeID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of == nil {
		l.of = make(map[subjects.NodeID]*rate.Limiter)
	}
	if l.of[n] == nil {
		l.of[n] = rate.NewLimiter(ownerPerSecond, ownerAtOnce)
	}
	return l.of[n].Allow()
}

// answerOwner answers the owner of a key that lost its memory while no provisioning
// server answers: this node is the heir or the remote.
func (c *Cache) answerOwner(_ context.Context, r *overlay.Request) *subjects.Reply {
	role, asker := r.SenderRole(), r.Sender()
	no := func(what string, code subjects.ErrorCode, why string) *subjects.Reply {
		c.profilesSent.Add(audit.Given(audit.Profile, asker, role, what, audit.Refused, why))
		c.metrics.sent.WithLabelValues("refused").Inc()
		return refuse(code, why)
	}
	switch {
	case role == "" || asker == "":
		return refuse(subjects.ErrorBad, "the subject does not name who asks")
	case !r.Confidential():
		return no("", subjects.ErrorForbidden, "the answer would not reach the sender alone")
	case !c.limits.allow(asker):
		return no("", subjects.ErrorFailed, "too many questions: come back")
	}
	q, err := subscriber.ParseRequest(r.Data)
	switch {
	case err != nil:
		return no("", subjects.ErrorBad, err.Error())
	case role != c.cfg.Role:
		return no(q.Key, subjects.ErrorForbidden, "this role is not cleared for subscribers")
	case q.Key != fold(q.Key):
		return no(q.Key, subjects.ErrorBad, "keys are in lower case")
	case !well(c.net.View()):
		return no(q.Key, subjects.ErrorFailed, "this node does not know the present status")
	}
	a, _, err := c.net.Lookup(c.cfg.Role, q.Key)
	switch {
	case err != nil || a.Owner() != asker:
		return no(q.Key, subjects.ErrorForbidden, "another node is responsible for this subscriber")
	case !a.Holds(c.net.ID()):
		return no(q.Key, subjects.ErrorForbidden, "this node is neither its heir nor its remote")
	}
	p := c.holdsFor(q.Key)
	if p == nil {
		c.metrics.sent.WithLabelValues("not held").Inc()
		return refuse(subjects.ErrorFailed, errNotHeld.Error())
	}
	c.profilesSent.Add(audit.Given(audit.Profile, asker, role, q.Key, audit.OK, "by its heir or remote"))
	c.metrics.sent.WithLabelValues("ok").Inc()
	return &subjects.Reply{V: subjects.Version, Data: p}
}

// holdsFor is what is held of key as JSON; nil if that is nothing, or older than
// what is known to exist.
func (c *Cache) holdsFor(key string) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.contents.entries[key]
	switch {
	case e == nil || e.revision < e.least || e.absent() && e.revision == 0:
		return nil
	case e.absent():
		return (&subscriber.Profile{V: subjects.Version, Key: key, Revision: e.revision, Deleted: true, Served: e.served}).Encode()
	}
	return e.body
}

// askHeirsInstead asks the heir of a, and then the remote, for its profile where no
// provisioning server answers and this node has none of its own. Their answer is held
// as one that may be old.
func (c *Cache) askHeirsInstead(ctx context.Context, a *Answer) {
	for _, heir := range a.Nodes.Heirs() {
		c.mu.Lock()
		e := c.contents.entries[a.Key]
		needed := a.Nodes.Owner() == c.net.ID() && (e == nil || e.before || e.absent() && e.revision == 0)
		sick := time.Now().Before(c.sick[heir])
		c.mu.Unlock()
		if !needed {
			return
		}
		if !sick {
			c.askHeirInstead(ctx, a, heir)
		}
	}
}

func (c *Cache) askHeirInstead(ctx context.Context, a *Answer, heir subjects.NodeID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), heirTime)
	defer cancel()
	p, err := c.askHeir(ctx, heir, a.Key)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		if errors.Is(err, errNoAnswer) {
			c.sick[heir] = time.Now().Add(downTime)
		}
		c.metrics.pulls.WithLabelValues(subjects.VerbProfile, "failed").Inc()
		c.log.Debug().Err(err).Str("peer", string(heir)).Msg("no profile from the heir")
		return
	}
	c.metrics.pulls.WithLabelValues(subjects.VerbProfile, "ok").Inc()
	mine := c.table.Load().find(a.Key).Holds(c.net.ID())
	c.contents.put(p, 0, mine, time.Now())
	if e := c.contents.entries[a.Key]; e != nil {
		e.before = false // also where this node's own is newer
	}
	c.contents.invalidate(a.Key)
}

func (c *Cache) askHeir(ctx context.Context, heir subjects.NodeID, key string) (*subscriber.Profile, error) {
	q := subscriber.Request{V: subjects.Version, Key: key}
	r, err := c.net.Ask(ctx, subjects.ProfileRequest(heir, c.cfg.Role, c.net.ID()), q.Encode())
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errNoAnswer, err)
	case r.Code != "":
		return nil, fmt.Errorf("%s: %s", r.Code, r.Text)
	}
	p, err := subscriber.ParseProfile(r.Data)
	if err == nil && p.Key != key {
		err = errors.New("the answer is for something else than was asked")
	}
	return p, err
}
