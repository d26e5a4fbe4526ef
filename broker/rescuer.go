package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"thor/overlay/audit"
	"thor/subjects"
)

const (
	rescueTime   = 45 * time.Second // of the whole; elections take up to 9 s
	rescueTick   = 100 * time.Millisecond
	rescueAnswer = 10 * time.Second // of JetStream to one request
)

// answerOperators answers the requests of operators with a verb, one after the
// other, until ctx ends.
func (b *Broker) answerOperators(ctx context.Context, own *nats.Conn, verb string, answer func(who subjects.NodeID, data []byte) *subjects.Reply) error {
	subject := subjects.RequestFrom("*", b.id.Node, subjects.EventServer, verb)
	asked := make(chan *nats.Msg, 8)
	sub, err := own.ChanSubscribe(subject, asked)
	if err != nil {
		return fmt.Errorf("broker: subscribe %s: %w", subject, err)
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only when the connection is closed
	for {
		select {
		case <-ctx.Done():
			return nil
		case m := <-asked:
			if from, err := subjects.ParseRequest(m.Subject); err == nil && m.Reply != "" && subjects.CheckReply(m.Subject, m.Reply) == nil {
				_ = m.Respond(answer(from.Sender, m.Data).Encode())
			}
		}
	}
}

// restartAsked is the answer to a request to restart.
func (b *Broker) restartAsked(who subjects.NodeID, data []byte) *subjects.Reply {
	a := subjects.RestartReply{Boot: b.boot, Version: b.cfg.Version, Supervised: b.cfg.Restart != nil}
	if b.cfg.Credentials != nil {
		id := b.identity()
		a.Certificate = &subjects.Validity{From: id.NotBefore, Until: id.NotAfter}
	}
	reply, end := a.Answer(data)
	if end {
		b.cfg.Restart(who)
	}
	return reply
}

// rescueAsked does for operators what only the system account may: no certificate
// opens that. It is the answer to one request; what changes something is audited first.
func (b *Broker) rescueAsked(ctx context.Context, s *server.Server, who subjects.NodeID, data []byte) *subjects.Reply {
	fault := func(code subjects.ErrorCode, err error) *subjects.Reply {
		return &subjects.Reply{V: subjects.Version, Code: code, Text: subjects.Printable(err.Error(), 512)}
	}
	req, err := subjects.ParseRescueRequest(data)
	if err != nil {
		return fault(subjects.ErrorBad, err)
	}
	g, err := group(s)
	if err != nil {
		return fault(subjects.ErrorFailed, err)
	}
	answer := g.reply()
	if len(req.Dead) > 0 {
		var outcome string
		outcome, err = b.rescue(ctx, s, g, req.Dead)
		b.auditRescue(who, req.Dead, outcome, err)
		if err != nil {
			return fault(subjects.ErrorFailed, err)
		}
		if g, err = group(s); err != nil {
			return fault(subjects.ErrorFailed, err)
		}
		answer = g.reply()
		answer.Removed = req.Dead
	}
	body, err := json.Marshal(answer)
	if err != nil {
		return fault(subjects.ErrorFailed, err)
	}
	return &subjects.Reply{V: subjects.Version, Data: body}
}

func (b *Broker) auditRescue(who subjects.NodeID, dead []subjects.NodeID, outcome string, err error) {
	names := make([]string, len(dead))
	for i, d := range dead {
		names[i] = string(d)
	}
	e := audit.Entry{Who: string(who), Act: audit.Rescue, What: "JetStream without " + strings.Join(names, ", "), From: string(who), Outcome: outcome}
	if err != nil {
		e.Detail = err.Error()
	}
	b.cfg.Audit.Write(e)
	l := b.log.Warn()
	if err != nil {
		l = b.log.Error().Err(err)
	}
	l.Str("event", "rescue").Str("by", string(who)).Strs("without", names).Msg("rescue of JetStream")
}

// rescue removes the dead brokers from JetStream's group. Where that has no leader it
// lowers the majority first, for nats-server's five minutes; the rest needs no more
// than it has then. outcome is that for the audit log.
func (b *Broker) rescue(ctx context.Context, s *server.Server, g *metaGroup, dead []subjects.NodeID) (outcome string, err error) {
	votes, ids, err := g.plan(dead)
	if err != nil {
		return audit.Refused, err
	}
	ctx, cancel := context.WithTimeout(ctx, rescueTime)
	defer cancel()
	sys, err := b.connectSystem()
	if err != nil {
		return audit.Failed, err
	}
	defer sys.Close()
	if g.leader == "" {
		if err := lowerMajority(ctx, sys, g, votes); err != nil {
			return audit.Failed, err
		}
	}
	if err := awaitLeader(ctx, s); err != nil {
		return audit.Failed, err
	}
	for i, id := range ids {
		if err := removePeer(ctx, sys, dead[i], id); err != nil {
			return audit.Failed, fmt.Errorf("remove %s: %w", dead[i], err)
		}
	}
	b.rescued.Store(true)
	return audit.OK, nil
}

// connectSystem makes a connection in the system account.
func (b *Broker) connectSystem() (*nats.Conn, error) {
	token := b.gate.admit(insider{id: b.id, system: true})
	defer b.gate.dismiss(token)
	nc, err := nats.Connect("", nats.InProcessServer(pipe{b}), nats.Token(token), nats.Name("rescue"),
		nats.CustomInboxPrefix(subjects.JetStreamPrefix(b.id.Node)), nats.NoReconnect())
	if err != nil {
		return nil, fmt.Errorf("system account: %w", err)
	}
	return nc, nil
}

// systemPermissions are what that connection may do.
func systemPermissions(self subjects.NodeID) *server.Permissions {
	return &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: []string{server.JSApiMetaRescue, server.JSApiRemoveServer}},
		Subscribe: &server.SubjectPermission{Allow: []string{subjects.JetStreamPrefix(self) + ".>"}},
	}
}

// lowerMajority has all brokers of g that are heard take so many votes for a
// majority. Each answers for itself.
func lowerMajority(ctx context.Context, sys *nats.Conn, g *metaGroup, votes int) error {
	ctx, cancel := context.WithTimeout(ctx, rescueAnswer)
	defer cancel()
	inbox := sys.NewInbox()
	sub, err := sys.SubscribeSync(inbox)
	if err != nil {
		return err
	}
	body, err := json.Marshal(server.JSApiMetaRescueRequest{QuorumNeeded: votes})
	if err != nil {
		return err
	}
	if err := sys.PublishRequest(server.JSApiMetaRescue, inbox, body); err != nil {
		return err
	}
	waiting := map[string]bool{string(g.self): true}
	for _, p := range g.peers {
		if p.heard {
			waiting[string(p.name)] = true
		}
	}
	for len(waiting) > 0 {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return fmt.Errorf("lower the majority: %w", err)
		}
		var r server.JSApiMetaRescueResponse
		if err := json.Unmarshal(m.Data, &r); err != nil {
			return fmt.Errorf("lower the majority: %w", err)
		}
		if r.Error != nil {
			return fmt.Errorf("lower the majority: %s: %s", r.Server, r.Error.Description)
		}
		delete(waiting, r.Server)
	}
	return nil
}

func awaitLeader(ctx context.Context, s *server.Server) error {
	t := time.NewTicker(rescueTick)
	defer t.Stop()
	for {
		if g, err := group(s); err == nil && g.leader != "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.New("the brokers that are left elect no leader of JetStream")
		case <-t.C:
		}
	}
}

// errInFlight is nats-server's code for a removal that has to wait for another.
var errInFlight = server.NewJSClusterServerMemberChangeInflightError().ErrCode

// removePeer has JetStream's leader remove a broker from the group.
func removePeer(ctx context.Context, sys *nats.Conn, name subjects.NodeID, id string) error {
	body, err := json.Marshal(server.JSApiMetaServerRemoveRequest{Server: string(name), Peer: id})
	if err != nil {
		return err
	}
	t := time.NewTicker(rescueTick)
	defer t.Stop()
	for {
		m, err := sys.RequestWithContext(ctx, server.JSApiRemoveServer, body)
		if err != nil && !errors.Is(err, nats.ErrNoResponders) { // the leader is about to listen
			return err
		}
		if err == nil {
			var r server.JSApiMetaServerRemoveResponse
			if err := json.Unmarshal(m.Data, &r); err != nil {
				return err
			}
			if r.Error == nil {
				return nil
			}
			if r.Error.ErrCode != errInFlight {
				return errors.New(r.Error.Description)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
}
