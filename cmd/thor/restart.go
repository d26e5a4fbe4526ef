package main

import (
	"cmp"
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

const (
	restartAnswer = 2 * time.Second        // for a daemon to answer
	restartProbe  = 500 * time.Millisecond // for one that may just be ending
)

// A restart is the run of thor restart.
type restart struct {
	*session
	cmd     *cobra.Command
	sight   *lookout
	before  *subjects.Status // whose members are to be back after each step
	apart   []string         // of the brokers, before
	forced  bool
	timeout time.Duration // of each step
}

// A restartee is a daemon to restart.
type restartee struct {
	daemonKind
	node    subjects.NodeID
	boot    string
	version string
	notes   []string // for the plan
}

func (x *restartee) String() string { return fmt.Sprintf("%s of %s", x.name, x.node) }

func (x *restartee) subject(from subjects.NodeID) string {
	return subjects.RequestFrom(from, x.node, x.role, subjects.VerbRestart)
}

func newRestart() *cobra.Command {
	var r reach
	var kinds []string
	var nodes []subjects.NodeID
	var dry, force bool
	var patience time.Duration
	c := &cobra.Command{
		Use: "restart [NODE…]", Short: "Restart daemons one by one, each when the network is whole again",
		Long: "Restart daemons, after an upgrade of the package or to take up what a reload cannot: of all nodes, or of those named.\n\n" +
			"Each is asked to end; it leaves the network first, and its supervisor (systemd, or thor up) starts it again. Brokers go first, then\n" +
			"managers, the active one last, provisioning servers, database locators, name servers, node agents and web views. The next one is asked only when the one before is\n" +
			"back and the network is whole: every member that was there is there again, all brokers reach each other, nothing is degraded.\n" +
			"A network that is degraded is left as it is, unless --force is given: then only members that were there are waited for.\n\n" +
			"Exit 0: all were restarted. 3: the network is degraded, or was not whole again in time; what follows was not touched. 1: a daemon\n" +
			"could not be asked, or would not be started again. 2: wrong usage.",
		Example: "  thor restart --dry-run\n  thor restart\n  thor restart host1 --daemon manager --daemon dns", Args: cobra.ArbitraryArgs,
	}
	f := c.Flags()
	f.StringArrayVar(&kinds, "daemon", nil, "only daemons of this `kind`: "+strings.Join(kindNames(), ", ")+"; repeat for more")
	f.BoolVar(&dry, "dry-run", false, "print what would be restarted, in which order, and whether the network allows it")
	f.BoolVar(&force, "force", false, "also while the network is degraded")
	f.DurationVar(&patience, "step-timeout", 90*time.Second, "how long to wait after each for the network to be whole")
	completeFlag(c, "daemon", kindNames()...)
	before(c, func(_ *cobra.Command, args []string) error {
		for _, k := range kinds {
			if !slices.Contains(kindNames(), k) {
				return usagef("--daemon %q is none of %s", k, strings.Join(kindNames(), ", "))
			}
		}
		if patience <= 0 {
			return usagef("--step-timeout %s is not above 0", patience)
		}
		for _, a := range args {
			n, err := subjects.ParseNodeID(a)
			if err != nil {
				return usageError{err}
			}
			nodes = append(nodes, n)
		}
		return nil
	})
	r.connected(c, func(cmd *cobra.Command, s *session, _ []string) error {
		l, err := s.lookOut(cmd.Context())
		if err != nil {
			return err
		}
		v, err := s.status(cmd.Context())
		if err != nil {
			return explained(err, l.reasons(nil))
		}
		l.wait(cmd.Context(), v.Status)
		x := &restart{session: s, cmd: cmd, sight: l, before: s.View().Status, forced: force, timeout: patience}
		return x.run(nodes, kinds, dry)
	})
	r.complete(c, nodesOf)
	return c
}

func kindNames() (out []string) {
	for _, k := range daemonKinds {
		out = append(out, k.name)
	}
	return out
}

func (x *restart) run(nodes []subjects.NodeID, kinds []string, dry bool) error {
	plan := restartPlan(x.before, nodes, kinds)
	plan, err := x.ask(plan)
	if err != nil {
		return err
	}
	x.apart = brokersApart(x.before)
	reasons := append(x.sight.unwell(time.Now()), x.apart...)
	reasons = append(reasons, x.streamsBehind(x.cmd.Context())...)
	if dry {
		return x.show(plan, reasons)
	}
	if len(reasons) > 0 && !x.forced {
		fmt.Fprintf(x.cmd.ErrOrStderr(), "thor: restart: nothing was done, the network is degraded: %s (thor doctor; --force)\n", strings.Join(reasons, "; "))
		return errDegraded
	}
	for i := range plan {
		if err := x.step(&plan[i], i+1, len(plan)); err != nil {
			return err
		}
	}
	return nil
}

// restartPlan are the daemons of a status, in the order in which they are restarted.
func restartPlan(s *subjects.Status, nodes []subjects.NodeID, kinds []string) (plan []restartee) {
	for _, k := range daemonKinds {
		if len(kinds) > 0 && !slices.Contains(kinds, k.name) {
			continue
		}
		var of []subjects.NodeID
		for r, ms := range s.Roles {
			for _, m := range ms {
				if r == subjects.Monitor && m.Attrs[subjects.AttrPort] == "" {
					continue // a terminal
				}
				if k.announces(r) {
					of = append(of, m.Node)
				}
			}
		}
		slices.SortFunc(of, func(a, b subjects.NodeID) int {
			active := func(n subjects.NodeID) int {
				if k.role == subjects.Manager && n == s.Manager {
					return 1 // last: one take-over instead of many
				}
				return 0
			}
			return cmp.Or(active(a)-active(b), cmp.Compare(a, b))
		})
		for _, n := range slices.Compact(of) {
			if len(nodes) > 0 && !slices.Contains(nodes, n) {
				continue
			}
			plan = append(plan, restartee{daemonKind: k, node: n, notes: lonely(s, k, n)})
		}
	}
	return plan
}

// lonely notes the roles that have no member while a daemon is away.
func lonely(s *subjects.Status, k daemonKind, n subjects.NodeID) (notes []string) {
	for _, r := range s.RoleNames() {
		if s.Member(r, n) == nil || len(s.Roles[r]) > 1 || r == subjects.Monitor {
			continue
		}
		if k.announces(r) {
			notes = append(notes, "the only "+string(r))
		}
	}
	return notes
}

// ask asks each daemon of the plan who it is. A node without a node agent is left out:
// a program may be a member by itself.
func (x *restart) ask(plan []restartee) (out []restartee, err error) {
	var errs []error
	for _, d := range plan {
		who, err := x.askDaemon(x.cmd.Context(), &d, "", restartAnswer)
		switch {
		case errors.Is(err, overlay.ErrNoResponders) && d.role == subjects.Agent:
			fmt.Fprintf(x.cmd.ErrOrStderr(), "thor: restart: %s: no node agent answers, or one that is older than this command: left out\n", d.node)
			continue
		case errors.Is(err, overlay.ErrNoResponders):
			err = fmt.Errorf("%s does not answer: it is older than this command; restart it on its host", &d)
		case err == nil && !who.Supervised:
			err = fmt.Errorf("%s runs without a supervisor that would start it again", &d)
		case err != nil:
			err = fmt.Errorf("%s: %w", &d, err)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		d.boot, d.version = who.Boot, subjects.Printable(who.Version, 64)
		out = append(out, d)
	}
	if len(errs) == 0 && len(out) == 0 {
		errs = append(errs, errors.New("no such daemon is in the network"))
	}
	return out, errors.Join(errs...)
}

// askDaemon asks d who it is or, with its boot, to end.
func (s *session) askDaemon(ctx context.Context, d *restartee, boot string, wait time.Duration) (*subjects.RestartReply, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	p, err := s.Ask(ctx, d.subject(s.ID()), (&subjects.RestartRequest{V: subjects.Version, Boot: boot}).Encode())
	switch {
	case err != nil:
		return nil, err
	case p.Code != "":
		return nil, errors.New(p.Text)
	}
	var out subjects.RestartReply
	if err := json.Unmarshal(p.Data, &out); err != nil {
		return nil, fmt.Errorf("it answered what this program does not understand: %w", err)
	}
	return &out, nil
}

// show prints the plan. Reasons make it degraded: the run would be refused.
func (x *restart) show(plan []restartee, reasons []string) error {
	for i := range plan {
		line := fmt.Sprintf("%d/%d %s, %s", i+1, len(plan), &plan[i], plan[i].version)
		if len(plan[i].notes) > 0 {
			line += " (" + strings.Join(plan[i].notes, ", ") + ": none while it starts)"
		}
		if _, err := fmt.Fprintln(x.cmd.OutOrStdout(), line); err != nil {
			return err
		}
	}
	if len(reasons) == 0 {
		return nil
	}
	fmt.Fprintf(x.cmd.ErrOrStderr(), "thor: restart: it would be refused now, the network is degraded: %s\n", strings.Join(reasons, "; "))
	return errDegraded
}

// step restarts one daemon and waits until the network is whole again.
func (x *restart) step(d *restartee, n, of int) error {
	began := time.Now()
	if _, err := x.askDaemon(x.cmd.Context(), d, d.boot, restartAnswer); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w", d, err) // a deadline: the answer may be what was lost
	}
	ctx, cancel := context.WithTimeout(x.cmd.Context(), x.timeout)
	defer cancel()
	back, err := x.back(ctx, d)
	if err != nil {
		return x.stopped(d, n, of, []string{"it is not back: see its log on that host"})
	}
	took := time.Since(began)
	left, err := awaitNone(ctx, x.cmd.ErrOrStderr(), steadily, x.unwhole)
	switch {
	case err != nil:
		return context.Cause(x.cmd.Context())
	case len(left) > 0:
		return x.stopped(d, n, of, left)
	}
	version := subjects.Printable(back.Version, 64)
	if version != d.version {
		version = d.version + " -> " + version
	}
	_, err = fmt.Fprintf(x.cmd.OutOrStdout(), "%d/%d %s restarted, %s: back after %s, the network whole after %s\n", n, of, d, version,
		took.Round(100*time.Millisecond), time.Since(began).Round(100*time.Millisecond))
	return err
}

// stopped says why the run ends after n steps.
func (x *restart) stopped(d *restartee, n, of int, why []string) error {
	fmt.Fprintf(x.cmd.ErrOrStderr(), "thor: restart: stopped at %d/%d, %s, after %s: %s; %d are not touched\n", n, of, d, x.timeout, strings.Join(why, "; "), of-n)
	return errDegraded
}

// back waits for the successor of the process that was asked to end.
func (x *restart) back(ctx context.Context, d *restartee) (*subjects.RestartReply, error) {
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	for {
		if who, err := x.askDaemon(ctx, d, "", restartProbe); err == nil && who.Boot != d.boot {
			return who, nil
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// unwhole are the reasons why the next daemon is not to be restarted yet.
func (x *restart) unwhole() []string {
	v := x.View()
	if v.Status == nil || v.FromDisk || v.Stale || !v.Connected {
		return []string{"not connected to a broker, or no current status"}
	}
	reasons := missing(x.before, v.Status)
	for _, why := range brokersApart(v.Status) {
		if !x.forced || !slices.Contains(x.apart, why) {
			reasons = append(reasons, why)
		}
	}
	if x.forced || len(reasons) > 0 {
		return reasons
	}
	if reasons = x.sight.unwell(time.Now()); len(reasons) > 0 {
		return reasons
	}
	return x.streamsBehind(x.cmd.Context())
}
