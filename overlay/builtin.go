package overlay

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"thor/overlay/audit"
	"thor/subjects"
)

// builtin answers the requests that every process answers: an operator's drain
// and resume, and the manager's notice that a role is announced twice.
type builtin struct {
	cfg       *Config
	id        subjects.NodeID
	log       *slog.Logger
	metrics   *metrics
	conn      *connection
	announcer *announcer
}

// isBuiltin reports whether the SDK itself answers to verb.
func isBuiltin(verb string) bool {
	return verb == subjects.VerbDrain || verb == subjects.VerbResume || verb == subjects.VerbDuplicate
}

// handlers are those of the process and of the roles that it has joined, by
// subject.
func (b *builtin) handlers() map[string]handler {
	hs := make(map[string]handler)
	add := func(role subjects.Role, verb string, h handler) {
		s := subjects.Request(b.id, role, verb)
		hs[s], hs[s+".*"] = h, h // without a sender to be refused with a reason
	}
	add(subjects.Agent, subjects.VerbDrain, b.drain(subjects.Agent, true))
	add(subjects.Agent, subjects.VerbResume, b.drain(subjects.Agent, false))
	for _, r := range b.announcer.roles() {
		if !b.cfg.identity().Has(r) {
			continue // the broker would refuse it: a renewed certificate may have the role
		}
		add(r, subjects.VerbDrain, b.drain(r, true))
		add(r, subjects.VerbResume, b.drain(r, false))
		add(r, subjects.VerbDuplicate, b.duplicate(r))
	}
	return hs
}

// drain answers drain, or resume, of role.
func (b *builtin) drain(role subjects.Role, on bool) handler {
	return func(_ context.Context, r *Request) *subjects.Reply {
		reply := &subjects.Reply{}
		act := func() error { return b.announcer.resume(role) }
		if on {
			q, err := subjects.ParseDrainRequest(r.Data)
			if err != nil {
				b.metrics.drop(subjects.CodeOf(err))
				return &subjects.Reply{Code: subjects.ErrorBad, Text: err.Error()}
			}
			d := Drain{By: string(r.Sender()), Reason: q.Reason}
			if q.For > 0 {
				d.Until = time.Now().Add(q.Duration()).UTC().Truncate(time.Second)
			}
			act = func() error { return b.announcer.drain(role, d) }
		}
		err := act()
		b.audit(r, role, on, err)
		if err != nil {
			b.log.Error("drain not saved; a restart will forget it", cause(err), roleAttr(role))
			reply.Text = "done, but a restart will not remember it"
		}
		data, err := json.Marshal(b.announcer.drainReply())
		if err != nil {
			panic("overlay: encode drain reply: " + err.Error()) // it holds strings only
		}
		reply.Data = data
		return reply
	}
}

// audit writes the entry that r drained, or resumed, role.
func (b *builtin) audit(r *Request, role subjects.Role, on bool, err error) {
	e := audit.Entry{Who: string(r.Sender()), Act: audit.Resume, What: audit.Member(role, b.id), Outcome: audit.OK}
	if on {
		e.Act = audit.Drain
	}
	if role == subjects.Agent {
		e.What = "all roles of " + string(b.id)
	}
	if err != nil {
		e.Detail = "a restart will not remember it: " + err.Error()
	}
	e.From = e.Who
	b.cfg.Audit.Write(e)
}

// duplicate answers the manager's notice that several processes announce role of
// this node.
func (b *builtin) duplicate(role subjects.Role) handler {
	return func(_ context.Context, r *Request) *subjects.Reply {
		d, err := parseDuplicate(r.Data)
		if err != nil {
			b.metrics.drop(subjects.CodeOf(err))
			return &subjects.Reply{Code: subjects.ErrorBad, Text: err.Error()}
		}
		if b.conn.once(fmt.Sprintf("duplicate %s %q", role, d.Boots)) {
			b.log.Error("another process of this node announces the same role",
				roleAttr(role), slog.Any("boots", d.Boots), slog.String("boot", b.cfg.Boot))
		}
		if b.cfg.OnDuplicate != nil {
			b.cfg.OnDuplicate(role, d.Boots)
		}
		return &subjects.Reply{}
	}
}

// A duplicateNotice is the data of the manager's request.
type duplicateNotice struct {
	V     int      `json:"v"`
	Boots []string `json:"boots"`
}

func parseDuplicate(b []byte) (*duplicateNotice, error) {
	const most, what = 16, "duplicate notice"
	var d duplicateNotice
	switch {
	case len(b) > subjects.MaxAnnouncement:
		return nil, subjects.Bad(subjects.CodeTooLarge, what)
	case json.Unmarshal(b, &d) != nil:
		return nil, subjects.Bad(subjects.CodeJSON, what)
	case d.V != subjects.Version:
		return nil, subjects.Bad(subjects.CodeVersion, what)
	case len(d.Boots) > most:
		return nil, subjects.Bad(subjects.CodeRange, what)
	}
	for i := range d.Boots {
		d.Boots[i] = subjects.Printable(d.Boots[i], 64)
	}
	return &d, nil
}
