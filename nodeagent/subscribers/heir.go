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

// What an heir gives to one owner: as much as a hand-over takes, so that the
// phones of an owner that came back without its memory find it at work.
const (
	givenPerSecond = 500
	givenAtOnce    = 1000
	heirTime       = 700 * time.Millisecond // of a question to the heir, after provisioning did not answer
)

var errNotHeld = errors.New("the heir does not hold it")

// limits bounds what each asker gets.
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
		l.of[n] = rate.NewLimiter(givenPerSecond, givenAtOnce)
	}
	return l.of[n].Allow()
}

// give answers the owner of a key that lost its memory while no provisioning
// server answers: this node is the heir, or may have state of before.
func (c *Cache) give(_ context.Context, r *overlay.Request) *subjects.Reply {
	role, asker := r.SenderRole(), r.Sender()
	no := func(what string, code subjects.ErrorCode, why string) *subjects.Reply {
		c.given.Add(audit.Given(audit.Profile, asker, role, what, audit.Refused, why))
		c.metrics.given.WithLabelValues("refused").Inc()
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
	case q.Key != Fold(q.Key):
		return no(q.Key, subjects.ErrorBad, "keys are in lower case")
	case !well(c.net.View()):
		return no(q.Key, subjects.ErrorFailed, "this node does not know the present status")
	}
	a, _, err := c.net.Lookup(c.cfg.Role, q.Key)
	switch {
	case err != nil || a.Owner() != asker:
		return no(q.Key, subjects.ErrorForbidden, "another node is responsible for this subscriber")
	case !a.Holds(c.net.ID()):
		return no(q.Key, subjects.ErrorForbidden, "this node is not its heir")
	}
	p := c.holdsFor(q.Key)
	if p == nil {
		c.metrics.given.WithLabelValues("not held").Inc()
		return refuse(subjects.ErrorFailed, errNotHeld.Error())
	}
	c.given.Add(audit.Given(audit.Profile, asker, role, q.Key, audit.OK, "by its heir"))
	c.metrics.given.WithLabelValues("ok").Inc()
	return &subjects.Reply{V: subjects.Version, Data: p}
}

// holdsFor is what is held of key as JSON; nil if that is nothing, or older than
// what is known to exist.
func (c *Cache) holdsFor(key string) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.shelf.entries[key]
	switch {
	case e == nil || e.revision < e.least || e.absent() && e.revision == 0:
		return nil
	case e.absent():
		return (&subscriber.Profile{V: subjects.Version, Key: key, Revision: e.revision, Deleted: true, Served: e.served}).Encode()
	}
	return e.body
}

// inherit asks the heir of a for its profile, if this node has nothing of its own
// to go by: no provisioning server answers. What the heir knows is held like what
// may be old.
func (c *Cache) inherit(ctx context.Context, a *Answer) {
	heir := a.Nodes.Heir()
	c.mu.Lock()
	e := c.shelf.entries[a.Key]
	needed := e == nil || e.before || e.absent() && e.revision == 0
	if heir == "" || a.Nodes.Owner() != c.net.ID() || !needed || time.Now().Before(c.sick[heir]) {
		c.mu.Unlock()
		return
	}
	c.mu.Unlock()
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
		c.log.Debug().Err(err).Str("peer", string(heir)).Msg("the heir gives no profile")
		return
	}
	c.metrics.pulls.WithLabelValues(subjects.VerbProfile, "ok").Inc()
	mine := c.table.Load().find(a.Key).Holds(c.net.ID())
	c.shelf.put(p, 0, mine, time.Now())
	if e := c.shelf.entries[a.Key]; e != nil {
		e.before = false // also where this node's own is newer
	}
	c.shelf.suspect(a.Key)
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
