package manager

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"thor/subjects"
)

// An intake orders what has arrived: brokers' messages about ended connections and
// revocations first, then those about certificates, then the nodes in turn, so
// that one which announces much delays itself. Of one node the order stays; a
// broker's message about it comes after what arrived from it before.
type intake struct {
	seq   uint64
	ends  []arrival
	words []arrival
	nodes map[string]*backlog
	turns []string // the keys of nodes, the next one first
}

// An arrival is a message with its place in the order of arrival.
type arrival struct {
	msg  *nats.Msg
	seq  uint64
	node string // whom it is about
}

// A backlog is what waits of one node, oldest first.
type backlog struct{ msgs []arrival }

const (
	brokerWords   = "thor.sys."           // brokers alone publish below
	nodeBacklog   = 4 * subjects.MaxRoles // announcements of one node that wait; the oldest give way
	brokerBacklog = 64 << 10
)

// put takes a message in, and reports whether another one was dropped for it.
func (q *intake) put(msg *nats.Msg) (dropped bool) {
	q.seq++
	a := arrival{msg: msg, seq: q.seq}
	if strings.HasPrefix(msg.Subject, brokerWords) {
		a.node = concerns(msg)
		queue := &q.ends
		if strings.HasPrefix(msg.Subject, identityPrefix) {
			queue = &q.words
		}
		if *queue = append(*queue, a); len(*queue) > brokerBacklog {
			*queue, dropped = (*queue)[1:], true
		}
		return dropped
	}
	a.node = msg.Subject[strings.LastIndexByte(msg.Subject, '.')+1:]
	if q.nodes == nil {
		q.nodes = make(map[string]*backlog)
	}
	b := q.nodes[a.node]
	if b == nil {
		b = &backlog{}
		q.nodes[a.node] = b
		q.turns = append(q.turns, a.node)
	}
	if b.msgs = append(b.msgs, a); len(b.msgs) > nodeBacklog {
		b.msgs, dropped = b.msgs[1:], true
	}
	return dropped
}

// next takes the message out that is to be handled now.
func (q *intake) next() (*nats.Msg, bool) {
	for _, queue := range []*[]arrival{&q.ends, &q.words} {
		if len(*queue) == 0 {
			continue
		}
		u := (*queue)[0]
		if b := q.nodes[u.node]; b != nil && len(b.msgs) > 0 && b.msgs[0].seq < u.seq {
			return b.pop(), true // its turn stays
		}
		*queue = (*queue)[1:]
		return u.msg, true
	}
	for len(q.turns) > 0 {
		node := q.turns[0]
		q.turns = q.turns[1:]
		b := q.nodes[node]
		if len(b.msgs) == 0 {
			delete(q.nodes, node)
			continue
		}
		q.turns = append(q.turns, node)
		return b.pop(), true
	}
	return nil, false
}

func (b *backlog) pop() *nats.Msg {
	msg := b.msgs[0].msg
	b.msgs = b.msgs[1:]
	return msg
}

// empty reports that nothing waits, and that next has found so.
func (q *intake) empty() bool { return len(q.ends) == 0 && len(q.words) == 0 && len(q.turns) == 0 }

// concerns is the node that a broker's message is about; empty if it is malformed,
// which take finds out too.
func concerns(msg *nats.Msg) string {
	var w struct {
		Node   string `json:"node"`
		Client struct {
			User string `json:"user"`
		} `json:"client"`
	}
	if json.Unmarshal(msg.Data, &w) != nil {
		return ""
	}
	if msg.Subject == subjects.Disconnect {
		return w.Client.User
	}
	return w.Node
}

// gather puts what waits in a channel into the intake.
func (m *Manager) gather(from chan *nats.Msg) {
	for range cap(from) {
		select {
		case msg := <-from:
			m.put(msg)
		default:
			return
		}
	}
}

// drain takes what else has arrived, so that a burst costs one decision. What is
// left over comes next time; all that has arrived is in the intake before.
func (m *Manager) drain(now time.Time) {
	m.gather(m.in)
	m.gather(m.ends)
	for range 1000 {
		msg, ok := m.intake.next()
		if !ok {
			return
		}
		m.take(msg, now)
	}
}

func (m *Manager) put(msg *nats.Msg) {
	if m.intake.put(msg) {
		m.metrics.crowded.Inc()
	}
}
