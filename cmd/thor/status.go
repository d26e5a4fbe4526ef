package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"thor/monitor/view"
	"thor/overlay"
	"thor/overlay/history"
	"thor/subjects"
)

func newStatus() *cobra.Command {
	var r reach
	var out output
	var when string
	var at past
	c := &cobra.Command{
		Use: "status", Short: "Print the network status; exit 3 when something is degraded",
		Example: "  thor status\n  thor status -o json | jq .roles.sip_proxy\n  thor status --at 03:12", Args: cobra.NoArgs,
	}
	out.flag(c)
	c.Flags().StringVar(&when, "at", "", "the status of a `time` of the last 7 days: 2h ago, 03:12, \"2006-01-02 03:12:05\" or RFC 3339")
	before(c, func(*cobra.Command, []string) (err error) {
		if when != "" {
			at, err = parsePast(when, time.Now())
		}
		return err
	})
	r.connected(c, func(cmd *cobra.Command, s *session, _ []string) error {
		if when != "" {
			return printStatusAt(cmd, out, s, at.Time)
		}
		l, err := s.lookOut(cmd.Context())
		if err != nil {
			return err
		}
		v, why, err := s.lastStatus(cmd.Context())
		if err != nil {
			return explained(err, l.reasons(nil))
		}
		l.wait(cmd.Context(), v.Status)
		return printStatus(cmd, out, v, append(nonEmpty(why), l.reasons(v.Status)...), time.Now())
	})
	return c
}

// printStatus prints a status as of now and fails when something is degraded. doubts are
// what is wrong besides; with JSON, which is the status alone, they are warnings.
func printStatus(cmd *cobra.Command, out output, v *overlay.View, doubts []string, now time.Time) error {
	if out == "json" {
		for _, d := range doubts {
			warn(cmd, "degraded: %s", d)
		}
	}
	err := out.print(cmd, json.RawMessage(v.Status.EncodeFull(v.Encoded)), text(view.StatusTable(v.Status, now, v.Stale, doubts...)))
	if ok, _ := view.Health(v.Status, now, v.Stale, v.Connected); err == nil && (!ok || len(doubts) > 0) {
		return errDegraded
	}
	return err
}

// explained adds what else is known to be wrong.
func explained(err error, reasons []string) error {
	if len(reasons) == 0 {
		return err
	}
	return fmt.Errorf("%w (%s)", err, strings.Join(reasons, "; "))
}

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

func newMembers() *cobra.Command {
	var r reach
	var out output
	var role subjects.Role
	var at string
	var site subjects.Site
	c := &cobra.Command{
		Use: "members [ROLE]", Short: "Print the members, all or of one role",
		Example: "  thor members sip_proxy\n  thor members --site ams", Args: cobra.MaximumNArgs(1),
	}
	out.flag(c)
	c.Flags().StringVar(&at, "site", "", "only those in this `site`, and those that left with it")
	before(c, func(_ *cobra.Command, args []string) (err error) {
		if site, err = subjects.ParseSite(at); err != nil {
			return usagef("--site: %w", err)
		}
		if len(args) == 1 {
			role, err = parseRole(args[0])
		}
		return err
	})
	r.informed(c, func(cmd *cobra.Command, _ *session, v *overlay.View, _ []string) error {
		if role != "" && len(membersOf(v.Status, role)) == 0 {
			warn(cmd, "no member is in the role %s%s", role, suggestRole(role, v.Status.RoleNames()))
		}
		st := v.Status
		if site != "" {
			st = view.AtSite(st, site)
			if len(membersOf(st, "")) == 0 {
				warn(cmd, "%v", noSite(v.Status, site))
			}
		}
		return out.print(cmd, membersOf(st, role), text(view.MembersTable(st, role, time.Now())))
	})
	r.complete(c, roleNames)
	r.completeSite(c)
	return c
}

// A roleMember is a line of thor members as JSON: a member of the role, or one that
// is lost or held, which its state says.
type roleMember struct {
	Role subjects.Role `json:"role"`
	subjects.Member
	Until *time.Time `json:"until,omitempty"` // of a held one: when it returns
}

// membersOf are the members of one role, or of all, each with those lost or held there.
func membersOf(s *subjects.Status, only subjects.Role) []roleMember {
	out := []roleMember{}
	for _, r := range s.RoleNames() {
		for _, m := range s.Roles[r] {
			out = append(out, roleMember{Role: r, Member: m})
		}
	}
	for _, l := range s.Lost {
		out = append(out, roleMember{Role: l.Role, Member: missingMember(l.Pair(), subjects.StateLost, l.Reason, l.Addresses, l.Since)})
	}
	for _, h := range s.Held {
		out = append(out, roleMember{Role: h.Role, Member: missingMember(h.Pair(), subjects.StateHeld, h.Reason, nil, time.Time{}), Until: &h.Until})
	}
	if only != "" {
		out = slices.DeleteFunc(out, func(m roleMember) bool { return m.Role != only })
	}
	slices.SortStableFunc(out, func(a, b roleMember) int { return cmp.Compare(a.Role, b.Role) })
	return out
}

// missingMember is a lost or held member in the form of the others.
func missingMember(p subjects.Pair, state subjects.State, reason string, addresses []netip.Addr, since time.Time) subjects.Member {
	if addresses == nil {
		addresses = []netip.Addr{}
	}
	return subjects.Member{Node: p.Node, Addresses: addresses, State: state, Reason: reason, Since: since, Attrs: subjects.Attrs{}}
}

func newEvents() *cobra.Command {
	var r reach
	var out output
	var since, node, role string
	var e history.Events
	c := &cobra.Command{
		Use: "events", Short: "Print what happens in the network, as it happens",
		Long:    "Print what happens in the network, as it happens.\n\nWith --since, print what happened from then on, and end. Where records are missing there is an event gap that says so.",
		Example: "  thor events -o json\n  thor events --since 2h --node node2", Args: cobra.NoArgs,
	}
	out.flag(c)
	c.Flags().StringVar(&since, "since", "", "what happened since this `time` of the last 7 days: 2h ago, 03:12, \"2006-01-02 03:12:05\" or RFC 3339")
	c.Flags().StringVar(&node, "node", "", "only events of this `node`")
	c.Flags().StringVar(&role, "role", "", "only events of this `role`")
	before(c, func(*cobra.Command, []string) (err error) {
		if node != "" {
			if e.Node, err = subjects.ParseNodeID(node); err != nil {
				return usageError{err}
			}
		}
		if role != "" {
			if e.Role, err = parseRole(role); err != nil {
				return err
			}
		}
		if since != "" {
			t, err := parsePast(since, time.Now())
			e.Since = t.Time
			return err
		}
		return nil
	})
	r.connected(c, func(cmd *cobra.Command, s *session, _ []string) error {
		print := eventPrinter(cmd, out)
		if since != "" {
			return printEventsSince(cmd, s, e, print)
		}
		events := make(chan *nats.Msg, 256)
		sub, err := s.Conn().ChanSubscribe(subjects.Events, events)
		if err != nil {
			return fmt.Errorf("subscribe to events: %w", err)
		}
		defer sub.Unsubscribe()
		dropped := func() int { n, _ := sub.Dropped(); return n } // fails when the connection is closed
		printEvents(cmd.Context(), events, dropped, func(x *subjects.Event) error {
			if !e.Wants(x) {
				return nil
			}
			return print(x)
		}, func(n int) {
			fmt.Fprintf(cmd.ErrOrStderr(), "%d events lost: they came faster than they were read\n", n)
		})
		return nil
	})
	return c
}

// printEvents prints events until ctx ends or print fails, since the reader has
// gone. dropped is how many found no room so far; lost is told of those that are new.
func printEvents(ctx context.Context, events <-chan *nats.Msg, dropped func() int, print func(*subjects.Event) error, lost func(int)) {
	told := 0
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-events:
			if n := dropped(); n > told {
				lost(n - told)
				told = n
			}
			e, err := subjects.ParseEvent(m.Data)
			if err != nil {
				continue
			}
			if print(e) != nil {
				return
			}
		}
	}
}
