package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"thor/monitor/view"
	"thor/overlay"
	"thor/subjects"
)

func newStatus() *cobra.Command {
	var r reach
	var out string
	c := &cobra.Command{
		Use: "status", Short: "Print the network status; exit 3 when something is degraded",
		Example: "  thor status\n  thor status -o json | jq .roles.sip_proxy", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := r.open(cmd.Context())
			if err != nil {
				return err
			}
			defer s.end()
			v, err := s.status(cmd.Context())
			if err != nil {
				return err
			}
			if out == "json" {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", v.Encoded)
			} else {
				_, err = fmt.Fprint(cmd.OutOrStdout(), view.StatusTable(v.Status, time.Now(), v.Stale))
			}
			if ok, _ := view.Health(v.Status, v.Stale, v.Connected); err == nil && !ok {
				return errDegraded
			}
			return err
		},
	}
	r.flags(c)
	outputFlag(c, &out)
	return c
}

func newMembers() *cobra.Command {
	var r reach
	var out string
	c := &cobra.Command{
		Use: "members [ROLE]", Short: "Print the members, all or of one role",
		Example: "  thor members sip_proxy", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var role subjects.Role
			if len(args) == 1 {
				var err error
				if role, err = subjects.ParseRole(args[0]); err != nil {
					return usageError{err}
				}
			}
			s, err := r.open(cmd.Context())
			if err != nil {
				return err
			}
			defer s.end()
			v, err := s.status(cmd.Context())
			if err != nil {
				return err
			}
			if out == "json" {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(membersOf(v.Status, role))
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), view.MembersTable(v.Status, role, time.Now()))
			return err
		},
	}
	r.flags(c)
	outputFlag(c, &out)
	c.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		return r.complete(cmd.Context(), len(args) == 0, func(s *subjects.Status) (out []string) {
			for _, role := range s.RoleNames() {
				out = append(out, string(role))
			}
			return out
		})
	}
	return c
}

// complete asks the live network for completions, briefly.
func (r *reach) complete(ctx context.Context, wanted bool, pick func(*subjects.Status) []string) ([]string, cobra.ShellCompDirective) {
	if !wanted {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	r.timeout = time.Second
	s, err := r.open(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer s.end()
	v, err := s.status(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return pick(v.Status), cobra.ShellCompDirectiveNoFileComp
}

type roleMember struct {
	Role subjects.Role `json:"role"`
	subjects.Member
}

func membersOf(s *subjects.Status, only subjects.Role) []roleMember {
	out := []roleMember{}
	for _, r := range s.RoleNames() {
		if only != "" && r != only {
			continue
		}
		for _, m := range s.Roles[r] {
			out = append(out, roleMember{r, m})
		}
	}
	return out
}

func newEvents() *cobra.Command {
	var r reach
	var out string
	c := &cobra.Command{
		Use: "events", Short: "Print what happens in the network, as it happens",
		Example: "  thor events -o json", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := r.open(cmd.Context())
			if err != nil {
				return err
			}
			defer s.end()
			events := make(chan *nats.Msg, 256)
			sub, err := s.Conn().ChanSubscribe(subjects.Events, events)
			if err != nil {
				return fmt.Errorf("subscribe to events: %w", err)
			}
			defer sub.Unsubscribe()
			for {
				select {
				case <-cmd.Context().Done():
					return nil
				case m := <-events:
					e, err := subjects.ParseEvent(m.Data)
					if err != nil {
						continue
					}
					if out == "json" {
						_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", e.Encode())
					} else {
						_, err = fmt.Fprintln(cmd.OutOrStdout(), view.EventLine(e))
					}
					if err != nil {
						return nil // the reader has gone
					}
				}
			}
		},
	}
	r.flags(c)
	outputFlag(c, &out)
	return c
}

func newDrain() *cobra.Command  { return newMaintenance("drain", "Give a node no new work", true) }
func newResume() *cobra.Command { return newMaintenance("resume", "End the drain of a node", false) }

func newMaintenance(verb, short string, drains bool) *cobra.Command {
	var r reach
	var role string
	c := &cobra.Command{
		Use: verb + " NODE", Short: short,
		Long:    short + ".\n\nThe command returns when the network status shows it. A drain survives a restart of the node.",
		Example: "  thor " + verb + " node2\n  thor " + verb + " node2 --role sip_proxy", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			node, err := subjects.ParseNodeID(args[0])
			if err != nil {
				return usageError{err}
			}
			on := subjects.Role(subjects.Agent)
			if role != "" {
				if on, err = subjects.ParseRole(role); err != nil {
					return usageError{err}
				}
			}
			s, err := r.open(cmd.Context())
			if err != nil {
				return err
			}
			defer s.end()
			replies, err := s.AskAll(cmd.Context(), subjects.RequestFrom(s.ID(), node, on, verb), nil, 500*time.Millisecond)
			if err != nil && !errors.Is(err, overlay.ErrNoResponders) {
				return fmt.Errorf("%s %s: %w", verb, node, err)
			}
			if len(replies) == 0 {
				return fmt.Errorf("%s %s: nobody answered for it: is the node's agent running and connected?", verb, node)
			}
			var roles []subjects.Role
			forgets := ""
			for _, p := range replies {
				if p.Code != "" {
					return fmt.Errorf("%s %s: %s", verb, node, p.Text)
				}
				forgets = cmp.Or(forgets, p.Text)
				var d overlay.DrainReply
				if err := json.Unmarshal(p.Data, &d); err != nil {
					return fmt.Errorf("%s %s: it answered what this program does not understand: %w", verb, node, err)
				}
				if role == "" {
					roles = append(roles, d.Roles...)
				}
			}
			if role != "" {
				roles = []subjects.Role{subjects.Role(role)}
			}
			if err := s.await(cmd.Context(), r.timeout, node, roles, drains); err != nil || forgets == "" {
				return err
			}
			_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "thor: %s %s: %s\n", verb, node, forgets)
			return errDegraded
		},
	}
	r.flags(c)
	c.Flags().StringVar(&role, "role", "", "only this `role` of the node")
	c.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		return r.complete(cmd.Context(), len(args) == 0, nodesOf)
	}
	return c
}

func nodesOf(s *subjects.Status) (out []string) {
	for _, ms := range s.Roles {
		for _, m := range ms {
			out = append(out, string(m.Node))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// await returns when the status shows the roles of node drained, or not.
func (s *session) await(ctx context.Context, timeout time.Duration, node subjects.NodeID, roles []subjects.Role, drained bool) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for v := range s.Watch(ctx) {
		if v.Status == nil || v.FromDisk {
			continue
		}
		if !slices.ContainsFunc(roles, func(r subjects.Role) bool {
			m := v.Status.Member(r, node)
			return m != nil && (m.State == subjects.Draining) != drained
		}) {
			return nil
		}
	}
	return fmt.Errorf("%s accepted it, but the status does not show it after %s (see thor members)", node, timeout)
}
