package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"thor/overlay"
	"thor/subjects"
)

func newDrain() *cobra.Command  { return newMaintenance("drain", "Give a node no new work", true) }
func newResume() *cobra.Command { return newMaintenance("resume", "End the drain of a node", false) }

// A maintenance is a drain of a node, or its end.
type maintenance struct {
	verb   string
	drains bool
	node   subjects.NodeID
	site   subjects.Site // in place of node: all nodes of the site
	role   subjects.Role // empty: all of the node
	words  *subjects.DrainRequest

	timeout  time.Duration // for the status to show it
	patience time.Duration // for work to end; 0: it is not waited for
}

func newMaintenance(verb, short string, drains bool) *cobra.Command {
	var r reach
	var role, site, reason string
	var lasts time.Duration
	var wait, force bool
	m := maintenance{verb: verb, drains: drains}
	c := &cobra.Command{
		Use: verb + " {NODE|--site SITE}", Short: short,
		Long: short + ".\n\nThe command returns when the network status shows it. A drain survives a restart of the node.\n\n" +
			"With --site in place of NODE it is for every node of a site.",
		Example: "  thor " + verb + " node2\n  thor " + verb + " node2 --role sip_proxy\n  thor " + verb + " --site ams", Args: cobra.MaximumNArgs(1),
	}
	c.Flags().StringVar(&role, "role", "", "only this `role` of the node")
	c.Flags().StringVar(&site, "site", "", "every node of this `site`")
	if drains {
		c.Long += " What is left of each role elsewhere is said first; where nothing would be left of one, nothing is drained without --force." +
			"\n\nWith --wait it tells how many calls and sessions are left, and returns when there are none: then the machine may be stopped. --timeout is how long it waits, 30m if not given."
		c.Example += "\n  thor drain node2 --wait --reason kernel --for 2h"
		c.Flags().StringVar(&reason, "reason", "", "why, for those who look at it")
		c.Flags().DurationVar(&lasts, "for", 0, "resume by itself after this `time` (0: not)")
		c.Flags().BoolVar(&wait, "wait", false, "wait until no call is left")
		c.Flags().BoolVar(&force, "force", false, "with --site: also the last members of a role")
	}
	before(c, func(_ *cobra.Command, args []string) (err error) {
		if m.node, m.site, err = nodeOrSite(args, site); err != nil {
			return err
		}
		if force && m.site == "" {
			return usagef("--force is for --site: a node is drained whatever is left")
		}
		if role != "" {
			if m.role, err = parseRole(role); err != nil {
				return err
			}
		}
		if drains {
			m.words, err = drainWords(reason, lasts)
		}
		return err
	})
	r.connected(c, func(cmd *cobra.Command, s *session, _ []string) error {
		m.timeout = r.timeout
		if wait {
			m.patience = drainWait
			if cmd.Flags().Changed("timeout") {
				m.patience = r.timeout
			}
		}
		if m.site != "" {
			return m.everywhere(cmd, s, force)
		}
		earlier := s.soon(cmd.Context())
		m.warnOfRole(cmd, earlier)
		asked, err := m.run(cmd.Context(), s, earlier, cmd.OutOrStdout(), cmd.ErrOrStderr())
		if !asked && earlier == nil { // it came late
			m.warnOfRole(cmd, s.soon(cmd.Context()))
		}
		return err
	})
	r.complete(c, nodesOf)
	completeFlagBy(c, "role", func(cmd *cobra.Command, args []string) []string {
		if len(args) == 0 {
			return r.pick(cmd.Context(), roleNames)
		}
		return r.pick(cmd.Context(), rolesOf(args[0]))
	})
	r.completeSite(c)
	return c
}

// nodeOrSite is what a command is for: one of both.
func nodeOrSite(args []string, site string) (subjects.NodeID, subjects.Site, error) {
	switch {
	case len(args) > 0 && site != "":
		return "", "", usagef("NODE and --site exclude each other")
	case site != "":
		s, err := subjects.ParseSite(site)
		if err != nil {
			return "", "", usageError{err}
		}
		return "", s, nil
	case len(args) == 0:
		return "", "", usagef("give a NODE, or --site")
	}
	n, err := subjects.ParseNodeID(args[0])
	if err != nil {
		return "", "", usageError{err}
	}
	return n, "", nil
}

// run has one node obey, and says what came of it. earlier is the status before, nil if it is
// not known. asked: it obeyed.
func (m *maintenance) run(ctx context.Context, s *session, earlier *subjects.Status, out, warnings io.Writer) (asked bool, err error) {
	asked, roles, err := m.obey(ctx, s, earlier, out, warnings)
	if err != nil && !errors.Is(err, errDegraded) {
		return asked, err
	}
	return asked, cmp.Or(m.idle(ctx, s, roles, out, warnings), err)
}

// obey has one node drain or resume, waits until the status shows it, and says so. roles are
// those that it did it for.
func (m *maintenance) obey(ctx context.Context, s *session, earlier *subjects.Status, out, warnings io.Writer) (asked bool, roles []subjects.Role, err error) {
	roles, forgets, err := m.ask(ctx, s)
	if err != nil {
		return false, nil, fmt.Errorf("%s %s: %w", m.verb, m.node, err)
	}
	if err := s.await(ctx, m.timeout, m.node, roles, m.drains); err != nil {
		return true, nil, err
	}
	if _, err := fmt.Fprint(out, m.outcome(roles, earlier)); err != nil {
		return true, nil, err
	}
	if forgets != "" {
		_, _ = fmt.Fprintf(warnings, "thor: %s %s: %s\n", m.verb, m.node, forgets)
		return true, roles, errDegraded
	}
	return true, roles, nil
}

// idle waits until the node has no work left in roles, if that is wanted, and says so.
func (m *maintenance) idle(ctx context.Context, s *session, roles []subjects.Role, out, warnings io.Writer) error {
	if m.patience == 0 {
		return nil
	}
	if !slices.ContainsFunc(roles, func(r subjects.Role) bool { return !r.Infrastructure() }) { // no agent need run there
		_, err := fmt.Fprintf(out, "%s: nothing is left, it may be stopped\n", m.node)
		return err
	}
	return s.awaitIdle(ctx, out, warnings, &drained{node: m.node, roles: roles}, m.patience)
}

// warnOfRole warns when the node is a member under other roles only; status may be
// nil.
func (m *maintenance) warnOfRole(cmd *cobra.Command, status *subjects.Status) {
	if m.role == "" || status.Member(m.role, m.node) != nil {
		return
	}
	if own := rolesOf(string(m.node))(status); len(own) > 0 {
		warn(cmd, "%s has no role %s%s", m.node, m.role, suggestRole(m.role, status.RoleNames()))
	}
}

// ask has the processes of the node obey, and returns the roles that they did
// it for. forgets is what they did not do: a restart of one would undo it.
func (m *maintenance) ask(ctx context.Context, s *session) (roles []subjects.Role, forgets string, err error) {
	on := cmp.Or(m.role, subjects.Role(subjects.Agent))
	var payload []byte
	if m.words != nil {
		payload = m.words.Encode()
	}
	var replies []*subjects.Reply
	for wait := 500 * time.Millisecond; len(replies) == 0 && wait <= 2*time.Second; wait *= 2 { // it may be busy, or far away; to be told again changes nothing
		replies, err = s.AskAll(ctx, subjects.RequestFrom(s.ID(), m.node, on, m.verb), payload, wait)
		if errors.Is(err, overlay.ErrNoResponders) {
			break
		}
		if err != nil {
			return nil, "", err
		}
	}
	if len(replies) == 0 {
		return nil, "", errors.New("no answer from it: is the node's agent running and connected?")
	}
	var all []overlay.DrainReply
	for _, p := range replies {
		if p.Code != "" {
			return nil, "", errors.New(p.Text)
		}
		forgets = cmp.Or(forgets, p.Text)
		var d overlay.DrainReply
		if err := json.Unmarshal(p.Data, &d); err != nil {
			return nil, "", fmt.Errorf("it answered what this program does not understand: %w", err)
		}
		all = append(all, d)
	}
	forgets = cmp.Or(forgets, unheeded(m.words, all))
	if m.role != "" {
		return []subjects.Role{m.role}, forgets, nil
	}
	return rolesOfReplies(all), forgets, nil
}

// outcome says what happened to roles of the node: a line for those that
// changed, and one for those that were so already. earlier is the status before;
// nil: it is not known.
func (m *maintenance) outcome(roles []subjects.Role, earlier *subjects.Status) string {
	var changed, same []string
	for _, r := range roles {
		was := (*subjects.Member)(nil)
		if earlier != nil {
			was = earlier.Member(r, m.node)
		}
		if was != nil && (was.State == subjects.Draining) == m.drains {
			same = append(same, string(r))
		} else {
			changed = append(changed, string(r))
		}
	}
	done, already := "resumed", "was not drained"
	if m.drains {
		done, already = "drained", "was drained already"
	}
	var out strings.Builder
	for _, x := range []struct {
		what  string
		roles []string
	}{{done, changed}, {already, same}} {
		if len(x.roles) > 0 {
			fmt.Fprintf(&out, "%s %s: %s\n", m.node, x.what, strings.Join(x.roles, " "))
		}
	}
	if out.Len() == 0 {
		fmt.Fprintf(&out, "%s %s: it has no role now\n", m.node, done)
	}
	return out.String()
}

// soon is the status of the network if it comes within a second, otherwise nil.
func (s *session) soon(ctx context.Context) *subjects.Status {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	v, err := s.status(ctx)
	if err != nil {
		return nil
	}
	return v.Status
}

// nodesOf are the nodes of a status.
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
