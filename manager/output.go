package manager

import (
	"encoding/json"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"thor/manager/core"
	"thor/manager/membership"
	"thor/overlay"
	"thor/subjects"
)

// do carries out what the core decided. What only the holder of the lease may
// publish goes out while a fresh reading of the clock says that the lease is valid.
func (m *Manager) do() {
	for _, o := range m.core.Outputs() {
		if core.Led(o) && !m.term.Valid(time.Now()) {
			continue
		}
		m.carryOut(o)
	}
}

func (m *Manager) carryOut(o core.Output) {
	switch o := o.(type) {
	case core.Delta:
		data, header := o.Message()
		m.publish(message(subjects.StatusDelta, data, header))
		m.history.told(o.Delta)
	case core.RoleTick:
		m.publish(&nats.Msg{Subject: subjects.RolesTick, Data: o.Encode()})
	case core.RoleDelta:
		data, header := o.Message()
		m.publish(message(subjects.ChangesOf(o.Role), data, header))
	case core.Tick:
		m.publish(&nats.Msg{Subject: subjects.StatusTick, Data: o.Encode()})
	case core.View:
		for _, data := range o.Messages() {
			m.publish(&nats.Msg{Subject: subjects.View(o.Role), Data: data})
		}
	case core.Event:
		m.tellEvent(&o.Event)
		m.history.event(&o.Event)
	case core.Duplicate:
		m.notify(o.Duplicate)
	case core.Snapshot:
		m.snapshots.put(o.Held)
		m.history.issued(o.Held, time.Now())
		m.metrics.show(o.Status)
	case core.Stand:
		m.stand(o.Standing)
	case core.StepDown:
		m.term.StepDown()
	case core.AskIdentities:
		m.publish(&nats.Msg{Subject: subjects.IdentityGet})
	case core.ReadStore:
		m.seeker.readStore()
	case core.AskManager:
		m.seeker.askManager(o.Node)
	case core.AskHearing:
		m.seeker.askHearing(o.Node)
	case core.AskAnnouncement:
		m.publish(&nats.Msg{Subject: subjects.AskAnnouncement(o.Node)})
	case core.StoreFacts:
		m.facts.put(o.Identities)
	case core.Rejected:
		m.metrics.rejected.WithLabelValues(string(o.Code)).Inc()
	case core.Note:
		m.note(o)
	}
}

// publish sends one message; a broken connection is the overlay's to report and
// mend. While there is none it does not touch the client library, which holds a
// lock while it connects again.
func (m *Manager) publish(msg *nats.Msg) {
	if !m.cfg.Overlay.Connected() {
		m.log.Debug().Str("subject", msg.Subject).Msg("not published, there is no connection")
		return
	}
	if err := m.cfg.Overlay.Conn().PublishMsg(msg); err != nil {
		m.log.Debug().Err(err).Str("subject", msg.Subject).Msg("not published")
	}
}

// message makes a message with headers.
func message(subject string, data []byte, header map[string]string) *nats.Msg {
	msg := nats.NewMsg(subject)
	msg.Data = data
	for k, v := range header {
		msg.Header.Set(k, v)
	}
	return msg
}

func (m *Manager) tellEvent(e *subjects.Event) {
	m.metrics.change(e)
	m.log.Info().Str("event", string(e.Kind)).Str("role", string(e.Role)).Str("peer", string(e.Node)).
		Uint64("epoch", e.Epoch).Uint64("gen", e.Generation).Str("detail", e.Detail).Msg("network changed")
	m.publish(&nats.Msg{Subject: subjects.Events, Data: e.Encode()})
}

// notify tells both processes that claim one (node, role).
func (m *Manager) notify(d membership.Duplicate) {
	b, err := json.Marshal(map[string]any{"v": subjects.Version, "boots": d.Boots})
	if err != nil {
		return // strings always encode
	}
	m.publish(&nats.Msg{Subject: subjects.RequestFrom(m.cfg.Overlay.ID(), d.Node, d.Role, subjects.VerbDuplicate), Data: b})
}

// stand announces what this manager is from now on, and begins or ends what only
// an active one does.
func (m *Manager) stand(s core.Standing) {
	m.setActive(s.Active)
	m.member.Update(func(x *overlay.Member) { x.Attrs = m.attrs(s) })
}

// attrs are what this manager announces of itself.
func (m *Manager) attrs(s core.Standing) subjects.Attrs {
	a := s.Attrs()
	if x := subjects.FormatExpected(m.cfg.Expect); x != "" {
		a[subjects.AttrExpect] = x
	}
	return a
}

func (m *Manager) setActive(active bool) {
	if active == m.active.Load() {
		return
	}
	m.active.Store(active)
	if active {
		m.snapshots = newSnapshotWriter(m.cfg.Overlay.Conn(), m.log)
		m.metrics.elected(m.cfg.Overlay.Confirmed(), time.Now())
		return
	}
	m.snapshots.stop()
	m.history.ended()
	m.metrics.standby()
}

func (m *Manager) note(n core.Note) {
	level := zerolog.WarnLevel
	if n.Level == core.Error {
		level = zerolog.ErrorLevel
	}
	line := m.log.WithLevel(level)
	if n.Event != "" {
		line = line.Str("event", n.Event)
	}
	for _, f := range n.Fields {
		if err, ok := f.Value.(error); ok {
			line = line.AnErr(f.Key, err)
			continue
		}
		line = line.Any(f.Key, f.Value)
	}
	line.Msg(n.Text)
}
