package manager

import (
	"time"

	"github.com/nats-io/nats.go"

	"thor/subjects"
)

const (
	requestsWait = 16 << 10                          // requests for the snapshot that wait
	patience     = subjects.SnapshotPatience * 2 / 3 // an older request is not answered: the answer would come when its asker has given up
)

// answers are the requests for the snapshot. They have a goroutine of their own,
// so that a storm of them does not delay the loop, and are taken from the
// connection at once, so that their age is known.
type answers struct {
	waiting chan request
	asked   askers // of the goroutine alone
	sub     *nats.Subscription
}

// A request is one for the snapshot, and when it came.
type request struct {
	msg *nats.Msg
	at  time.Time
}

// subscribeAnswers joins those who answer requests for the snapshot while this
// manager knows the present, and leaves them otherwise: it would draw requests
// that another could answer. Without a connection none come, and the client library
// may hold its lock.
func (m *Manager) subscribeAnswers(present bool) {
	a := &m.answers
	switch {
	case present == (a.sub != nil) || !m.cfg.Overlay.Connected():
	case present:
		sub, err := m.cfg.Overlay.Conn().QueueSubscribe(subjects.StatusGet, "thor.managers", func(msg *nats.Msg) {
			select {
			case a.waiting <- request{msg, time.Now()}:
			default:
				m.metrics.late.Inc()
			}
		})
		if err != nil {
			m.log.Error().Err(err).Str("subject", subjects.StatusGet).Msg("cannot answer requests")
			return
		}
		a.sub = sub
	default:
		_ = a.sub.Unsubscribe() // fails only when the connection is closed
		a.sub = nil
	}
}

// serve answers requests until done is closed.
func (m *Manager) serve(done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case r := <-m.answers.waiting:
			if time.Since(r.at) > patience {
				m.metrics.late.Inc()
				continue
			}
			m.answer(r.msg)
		}
	}
}

// answer replies to a request for the snapshot, if this manager knows the present.
func (m *Manager) answer(msg *nats.Msg) {
	if subjects.CheckReply(msg.Subject, msg.Reply) != nil {
		return
	}
	h := m.holding.Load()
	r, err := subjects.ParseSnapshotRequest(msg.Data)
	if err != nil {
		r = &subjects.SnapshotRequest{}
	}
	now := time.Now()
	if !m.answers.asked.may(msg.Reply, now) { // before anything is made for it
		m.metrics.unanswered.Inc()
		return
	}
	part := h.Held.Part(r.Roles)
	if !m.answers.asked.allow(msg.Reply, part.Size(r), now) {
		m.metrics.unanswered.Inc()
		return
	}
	if err != nil {
		m.replyError(msg.Reply, subjects.ErrorBad, err.Error())
		return
	}
	age, code := h.Answer(r, time.Now())
	if code != "" {
		m.replyError(msg.Reply, code, "this manager does not hold that status yet, or does not know whether it is the current one")
		return
	}
	m.reply(msg.Reply, part.Chunks(r), header{subjects.HeaderAge, subjects.EncodeAge(age)})
}

// answerManager tells another manager, which has no current status, what is held,
// current or not.
func (m *Manager) answerManager(msg *nats.Msg) {
	if subjects.CheckReply(msg.Subject, msg.Reply) != nil {
		return
	}
	h := m.holding.Load()
	want := &subjects.SnapshotRequest{Losses: true}
	if r, err := subjects.ParseSnapshotRequest(msg.Data); err == nil {
		want.Sites = r.Sites
	}
	known := header{subjects.HeaderKnown, subjects.EncodeKnown(h.Known)}
	if h.Held == nil {
		m.replyError(msg.Reply, subjects.ErrorBehind, "this manager holds no status", known)
		return
	}
	if age, ok := h.Age(time.Now()); ok {
		m.reply(msg.Reply, h.Held.Chunks(want), known, header{subjects.HeaderAge, subjects.EncodeAge(age)})
		return
	}
	m.reply(msg.Reply, h.Held.Chunks(want), known)
}

// answerHearing tells another manager what this one hears.
func (m *Manager) answerHearing(msg *nats.Msg) {
	if subjects.CheckReply(msg.Subject, msg.Reply) != nil {
		return
	}
	r := subjects.Reply{V: subjects.Version, Data: m.holding.Load().Hears.Encode()}
	m.publish(&nats.Msg{Subject: msg.Reply, Data: r.Encode()})
}

// A header is one of an answer.
type header struct{ name, value string }

// reply sends a status with further headers.
func (m *Manager) reply(to string, chunks []subjects.Chunk, more ...header) {
	for _, c := range chunks {
		out := message(to, c.Data, c.Header)
		for _, h := range more {
			out.Header.Set(h.name, h.value)
		}
		m.publish(out)
	}
}

func (m *Manager) replyError(reply string, code subjects.ErrorCode, text string, more ...header) {
	out := nats.NewMsg(reply)
	for _, h := range more {
		out.Header.Set(h.name, h.value)
	}
	out.Header.Set(subjects.HeaderError, string(code))
	out.Data = []byte(text)
	m.publish(out)
}
