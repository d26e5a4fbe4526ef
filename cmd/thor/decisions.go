package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"thor/overlay"
	"thor/subjects"
)

// askAgain is how long a command waits before it asks the active manager again,
// which may be another one by then.
const askAgain = 200 * time.Millisecond

func newForget() *cobra.Command {
	var r reach
	var name string
	var q subjects.ForgetRequest
	c := &cobra.Command{
		Use: "forget NODE", Short: "End the listing of a node as lost",
		Long: "End the listing of a node as lost.\n\nThe node was removed because it failed, and will not return. A node that is up is not forgotten: drain it, or stop it.\n" +
			"One whose process still runs, with a failed check, is not lost again before it has been in its role.",
		Example: "  thor forget node2\n  thor forget node2 --role sip_proxy", Args: cobra.ExactArgs(1),
	}
	c.Flags().StringVar(&name, "role", "", "only this `role` of the node")
	before(c, func(_ *cobra.Command, args []string) (err error) {
		q.V = subjects.Version
		if q.Node, err = subjects.ParseNodeID(args[0]); err != nil {
			return usageError{err}
		}
		if name != "" {
			q.Role, err = parseRole(name)
		}
		return err
	})
	r.connected(c, func(cmd *cobra.Command, s *session, _ []string) error {
		var done subjects.ForgetReply
		if err := s.decide(cmd.Context(), subjects.VerbForget, q.Encode(), &done); err != nil {
			return fmt.Errorf("forget %s: %w", q.Node, err)
		}
		if err := s.awaitForgotten(cmd.Context(), q.Node, done.Roles); err != nil {
			return err
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s forgotten: %s\n", q.Node, joinRoles(done.Roles))
		return err
	})
	r.complete(c, lostNodes)
	completeFlagBy(c, "role", func(cmd *cobra.Command, args []string) []string {
		if len(args) == 0 {
			return r.pick(cmd.Context(), lostRoles)
		}
		return r.pick(cmd.Context(), lostRolesOf(args[0]))
	})
	return c
}

func newConfirm() *cobra.Command {
	return newGuardDecision(subjects.VerbConfirm, "Let failed members go that guards hold",
		"The failed members that guards hold are dead indeed: they go now, as far as another member of their role is up.\n"+
			"Without ROLE it is about all roles.", "confirmed")
}

func newHold() *cobra.Command {
	return newGuardDecision(subjects.VerbHold, "Keep failed members that a guard would let go",
		"The failed members stay, as suspect, when the guards that hold them have ended: until thor confirm, for a day at most,\n"+
			"or until none of the role fails any more. A member whose connection ended, as its broker says, is not kept. Without ROLE it is about all roles.", "held")
}

func newGuardDecision(verb, short, long, done string) *cobra.Command {
	var r reach
	q := subjects.GuardRequest{V: subjects.Version}
	c := &cobra.Command{
		Use: verb + " [ROLE]", Short: short, Long: short + ".\n\n" + long,
		Example: "  thor " + verb + "\n  thor " + verb + " sip_proxy", Args: cobra.MaximumNArgs(1),
	}
	before(c, func(_ *cobra.Command, args []string) (err error) {
		if len(args) == 1 {
			q.Role, err = parseRole(args[0])
		}
		return err
	})
	r.connected(c, func(cmd *cobra.Command, s *session, _ []string) error {
		var reply subjects.GuardReply
		if err := s.decide(cmd.Context(), verb, q.Encode(), &reply); err != nil {
			return fmt.Errorf("%s: %w", verb, err)
		}
		if reply.Members == 0 {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "no failed member is held")
			return err
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: %d failed members\n", done, reply.Members)
		return err
	})
	r.complete(c, roleNames)
	return c
}

// decide has the active manager obey, and decodes its answer into data. While none is
// active, or another one has just become so, it asks again.
func (s *session) decide(ctx context.Context, verb string, request []byte, data any) error {
	ctx, cancel := context.WithDeadline(ctx, s.deadline)
	defer cancel()
	var last error
	for {
		v, err := s.status(ctx)
		if err != nil {
			return errors.Join(last, err)
		}
		reply, err := s.askManager(ctx, v, verb, request)
		switch {
		case err == nil && reply.Code == "":
			if err := json.Unmarshal(reply.Data, data); err != nil {
				return fmt.Errorf("the manager answered what this program does not understand: %w", err)
			}
			return nil
		case err == nil && reply.Code != subjects.ErrorBehind:
			return errors.New(reply.Text)
		case err == nil:
			err = errors.New(reply.Text)
		case errors.Is(err, overlay.ErrForbidden):
			return err
		}
		last = fmt.Errorf("the active manager %s: %w", v.Status.Manager, err)
		select {
		case <-ctx.Done():
			return last
		case <-time.After(askAgain):
		}
	}
}

// askManager asks the manager that the status names, which has a second to answer.
func (s *session) askManager(ctx context.Context, v *overlay.View, verb string, request []byte) (*subjects.Reply, error) {
	if v.Status.Manager == "" {
		return nil, errors.New("no manager is active")
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return s.Ask(ctx, subjects.RequestFrom(s.ID(), v.Status.Manager, subjects.Manager, verb), request)
}

// awaitForgotten returns when the status lists node as lost in none of the roles.
func (s *session) awaitForgotten(ctx context.Context, node subjects.NodeID, roles []subjects.Role) error {
	ctx, cancel := context.WithDeadline(ctx, s.deadline)
	defer cancel()
	for v := range s.Watch(ctx) {
		if v.Status == nil || v.FromDisk {
			continue
		}
		if !slices.ContainsFunc(roles, func(r subjects.Role) bool { return v.Status.FindLost(r, node) != nil }) {
			return nil
		}
	}
	return fmt.Errorf("the manager forgot %s, but the status lists it still (see thor members)", node)
}

func joinRoles(roles []subjects.Role) string {
	var names []string
	for _, r := range roles {
		names = append(names, string(r))
	}
	return strings.Join(names, " ")
}

// lostNodes are the nodes that a status lists as lost, lostRoles the roles.
func lostNodes(s *subjects.Status) (out []string) {
	for _, l := range s.Lost {
		out = append(out, string(l.Node))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func lostRoles(s *subjects.Status) (out []string) {
	for _, l := range s.Lost {
		out = append(out, string(l.Role))
	}
	return slices.Compact(out) // they are sorted by role
}

func lostRolesOf(node string) func(*subjects.Status) []string {
	return func(s *subjects.Status) (out []string) {
		for _, l := range s.Lost {
			if string(l.Node) == node {
				out = append(out, string(l.Role))
			}
		}
		return out
	}
}
