package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"thor/monitor/view"
	"thor/subjects"
)

// carryOut does for a monitor what the command of the verb does, within wait, and says in
// one line what came of it.
func (s *session) carryOut(ctx context.Context, a view.Action, wait time.Duration) string {
	now := *s
	now.deadline = time.Now().Add(wait)
	said, err := now.obey(ctx, a, wait)
	if err != nil {
		return fmt.Sprintf("%s %s: %v", a.Verb, a.Node, err)
	}
	return said
}

func (s *session) obey(ctx context.Context, a view.Action, wait time.Duration) (string, error) {
	switch a.Verb {
	case view.Forget:
		q := subjects.ForgetRequest{V: subjects.Version, Node: a.Node, Role: a.Role}
		var done subjects.ForgetReply
		if err := s.decide(ctx, subjects.VerbForget, q.Encode(), &done); err != nil {
			return "", err
		}
		return fmt.Sprintf("%s forgotten: %s", a.Node, joinRoles(done.Roles)), s.awaitForgotten(ctx, a.Node, done.Roles)
	case view.Drain, view.Resume:
		m := maintenance{verb: string(a.Verb), drains: a.Verb == view.Drain, node: a.Node, role: a.Role}
		earlier := s.View().Status
		roles, forgets, err := m.ask(ctx, s)
		if err != nil {
			return "", err
		}
		if err := s.await(ctx, wait, m.node, roles, m.drains); err != nil {
			return "", err
		}
		said := strings.ReplaceAll(strings.TrimSpace(m.outcome(roles, earlier)), "\n", "; ")
		if forgets != "" {
			said += " (" + forgets + ")"
		}
		return said, nil
	}
	return "", fmt.Errorf("no such verb")
}
