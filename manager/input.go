package manager

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"thor/manager/membership"
	"thor/subjects"
)

// take feeds one message to the core.
func (m *Manager) take(msg *nats.Msg, now time.Time) {
	var err error
	switch msg.Subject {
	case subjects.Disconnect:
		err = m.disconnect(msg.Data, now)
	case subjects.CutNode:
		var c *subjects.Cut
		if c, err = subjects.ParseCut(msg.Data); err == nil {
			m.core.Cut(c)
		}
	case subjects.RevokedNode:
		var r *subjects.Revoked
		if r, err = subjects.ParseRevoked(msg.Data); err == nil {
			m.log.Warn().Str("peer", string(r.Node)).Str("event", "revoked").Msg("certificate revoked")
			m.core.Revoked(r, now)
		}
	default:
		if strings.HasPrefix(msg.Subject, identityPrefix) {
			err = m.identity(msg, now)
			break
		}
		if strings.HasPrefix(msg.Subject, requestPrefix) {
			m.asked(msg.Subject, now)
			break
		}
		if subjects.IsBroker(msg.Subject) {
			var n *subjects.BrokerNotice
			if n, err = subjects.ParseBrokerNotice(msg.Subject, msg.Data); err == nil {
				m.core.BrokerAlone(n, now)
			}
			break
		}
		var a *subjects.Announcement
		if a, err = subjects.ParseAnnouncement(msg.Subject, msg.Data); err == nil {
			m.metrics.announcements.Inc()
			m.core.Announce(a, now)
		}
	}
	if err != nil {
		m.core.Refuse(msg.Subject, err, now)
	}
	m.do()
}

const requestPrefix = "thor.node."

// asked takes note of a drain, or its end, that an operator asked a node for: who it
// was is not in what the node announces.
func (m *Manager) asked(subject string, now time.Time) {
	if r, err := subjects.ParseRequest(subject); err == nil && r.Sender != "" {
		m.core.Asked(r, now)
	}
}

// disconnectEvent is the part of the NATS server's event that matters.
type disconnectEvent struct {
	Server struct {
		Name string `json:"name"`
	} `json:"server"`
	Client struct {
		ID   uint64 `json:"id"`
		User string `json:"user"`
		Name string `json:"name"`
		RTT  int64  `json:"rtt"` // nanoseconds
	} `json:"client"`
	Reason string `json:"reason"`
}

func (m *Manager) disconnect(b []byte, now time.Time) error {
	var e disconnectEvent
	if err := json.Unmarshal(b, &e); err != nil {
		return &subjects.BadMessage{Code: subjects.CodeJSON, Detail: "disconnect event: " + subjects.Printable(err.Error(), 100)}
	}
	node, err := subjects.ParseNodeID(e.Client.User)
	if err != nil {
		return nil // a connection of the broker itself
	}
	via := subjects.ViaOf(e.Server.Name, e.Client.ID)
	m.core.Disconnect(membership.Disconnect{Node: node, Boot: e.Client.Name, Via: via, Reason: e.Reason, RTT: time.Duration(e.Client.RTT)}, now)
	m.elect.Disconnected(e.Client.Name, via)
	return nil
}

// noteDropped finds out whether messages were dropped because the loop did not keep
// up.
func (m *Manager) noteDropped(now time.Time) {
	n := 0
	for _, s := range m.subs {
		d, _ := s.Dropped() // fails when the connection is closed for good
		n += d
	}
	if n <= m.dropped {
		return
	}
	m.core.Missed(now)
	m.metrics.dropped.Add(float64(n - m.dropped))
	m.dropped = n
	if now.Sub(m.droppedLogged) >= missedEvery {
		m.droppedLogged = now
		m.log.Warn().Int("messages", n).Str("event", "missed").Msg("inbox overflow, messages dropped; no member is removed for silence now")
	}
}
