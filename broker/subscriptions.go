package broker

import (
	"sync"
	"time"

	"thor/subjects"
)

// recountRate is of a node's questions to nats-server which of its
// subscriptions have ended by themselves: each goes through all clients.
var recountRate = rate{messages: 1, bytes: 1}

// A subscriptionSet is what counts of one connection's subscriptions. One that
// is to end after so many messages counts until nats-server, asked when the
// node's limit is met, does not have it any more. Its methods are for concurrent
// use, but for settle, which is for the reader of the connection.
type subscriptionSet struct {
	mu     sync.Mutex
	sids   map[string]struct{}
	ending map[string]uint64 // those that end by themselves, with a stamp of their own
	fresh  []string          // of ending: nats-server may not have read of them yet
	stamp  uint64
}

// has reports whether sid counts, and notes that it ends no more by itself.
func (s *subscriptionSet) has(sid string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ending, sid)
	_, ok := s.sids[sid]
	return ok
}

func (s *subscriptionSet) add(sid string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sids == nil {
		s.sids = make(map[string]struct{})
	}
	s.sids[sid] = struct{}{}
}

func (s *subscriptionSet) remove(sid string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.sids[sid]
	delete(s.sids, sid)
	delete(s.ending, sid)
	return ok
}

// end notes that sid ends after some messages.
func (s *subscriptionSet) end(sid string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.sids[sid]; !ok {
		return
	}
	if s.ending == nil {
		s.ending = make(map[string]uint64)
	}
	s.ending[sid] = 0
	s.fresh = append(s.fresh, sid)
}

// settle is called when nats-server has read all that was let through.
func (s *subscriptionSet) settle() {
	if len(s.fresh) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sid := range s.fresh {
		if at, ok := s.ending[sid]; ok && at == 0 {
			s.stamp++
			s.ending[sid] = s.stamp
		}
	}
	s.fresh = nil
}

// candidates are those that may have ended, as it is now.
func (s *subscriptionSet) candidates() map[string]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]uint64)
	for sid, at := range s.ending {
		if at > 0 {
			out[sid] = at
		}
	}
	return out
}

// drop takes out the candidates that are not live, and returns how many.
func (s *subscriptionSet) drop(candidates map[string]uint64, live map[string]bool) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sid, at := range candidates {
		if !live[sid] && s.ending[sid] == at { // not used anew since
			delete(s.ending, sid)
			delete(s.sids, sid)
			n++
		}
	}
	return n
}

// subscribed implements policy.
func (c *clientConn) subscribed(subject, sid []byte) error {
	if subjects.IsBroker(string(subject)) {
		c.hears.Store(true)
	}
	if c.subs.has(string(sid)) {
		return nil
	}
	if !c.front.usage.subscribe(&c.use, 1) {
		c.front.recount(c.id.Node, time.Now())
		if !c.front.usage.subscribe(&c.use, 1) {
			return &violation{"subscriptions", "of the node"}
		}
	}
	c.subs.add(string(sid))
	return nil
}

// unsubscribed implements policy.
func (c *clientConn) unsubscribed(sid []byte, later bool) {
	if later && !c.use.exempt {
		c.subs.end(string(sid))
		return
	}
	if c.subs.remove(string(sid)) {
		c.front.usage.subscribe(&c.use, -1)
	}
}

// recount finds out which subscriptions of a node have ended by themselves.
func (f *front) recount(node subjects.NodeID, now time.Time) {
	if !f.usage.recount(node, now) {
		return
	}
	f.mu.Lock()
	var conns []*clientConn
	for c := range f.clients {
		if c.id.Node == node {
			conns = append(conns, c)
		}
	}
	f.mu.Unlock()
	for _, c := range conns {
		cid, candidates := c.cid.Load(), c.subs.candidates()
		if cid == 0 || len(candidates) == 0 {
			continue
		}
		live, err := f.live(cid)
		if err != nil {
			f.log.Error().Err(err).Str("peer", string(node)).Msg("count subscriptions")
			continue
		}
		f.usage.subscribe(&c.use, -c.subs.drop(candidates, live))
	}
}
