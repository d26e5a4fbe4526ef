package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"thor/monitor"
	"thor/monitor/view"
	"thor/overlay"
	"thor/subjects"
)

// colors are when the monitor uses colour.
var colors = []string{string(monitor.ColorAuto), string(monitor.ColorAlways), string(monitor.ColorNever)}

func newMonitor() *cobra.Command {
	var r reach
	var once, myself, quiet bool
	color, flags := "auto", ""
	c := &cobra.Command{
		Use: "monitor", Short: "Watch the network in the terminal",
		Long: "Watch the network in the terminal. On a pipe, with TERM=dumb or with --once it prints the plain screen of the\n" +
			"SIP Thor description instead. Watching leaves no trace; with --myself it joins under thor_monitor and is on the screen.\n\n" +
			"Pages: members, events with what was before, roles, shares of the lookup, name servers, brokers; enter shows a member in\n" +
			"full, c copies the command that shows the same. With an operator's certificate daemons are asked for their checks and\n" +
			"figures, and members drained, resumed and forgotten, each after a question. The key ? lists all keys.",
		Example: "  thor monitor\n  thor monitor --once --myself", Args: cobra.NoArgs,
	}
	before(c, func(*cobra.Command, []string) error {
		if !slices.Contains(colors, color) {
			return usagef("--color %q is not auto, always or never", color)
		}
		flags = r.again()
		return nil
	})
	r.connected(c, func(cmd *cobra.Command, s *session, _ []string) error {
		if myself {
			if err := s.appear(cmd.Context(), r.timeout); err != nil {
				return err
			}
		}
		events, err := s.events(cmd.Context())
		if err != nil {
			return err
		}
		l, err := s.lookOut(cmd.Context())
		if err != nil {
			return err
		}
		cfg := monitor.Config{
			Source: s.Node, Doubts: l.reasons, Await: l.wait, Events: events, Domain: s.Identity().Domain, Node: s.ID(),
			In: os.Stdin, Out: cmd.OutOrStdout(), Color: monitor.Color(color), Once: once, Wait: r.timeout,
			Past: s.recentEvents, Flags: flags,
		}
		if s.Identity().Has(subjects.Operator) {
			cfg.Ask = s.inspect
			cfg.Act = func(ctx context.Context, a view.Action) string { return s.carryOut(ctx, a, r.timeout) }
		}
		return runMonitor(cmd, s, l, cfg)
	})
	c.Flags().BoolVar(&once, "once", false, "print the plain screen and end")
	c.Flags().BoolVar(&myself, "myself", false, "be a member under thor_monitor while watching")
	c.Flags().BoolVar(&quiet, "quiet", false, "do not be a member while watching")
	_ = c.Flags().MarkDeprecated("quiet", "it is the default now") // the flag is there
	c.Flags().StringVar(&color, "color", color, "`when` to use colour: auto, always or never")
	completeFlag(c, "color", colors...)
	return c
}

// runMonitor runs the monitor that cfg describes. Off a terminal it shows what was known
// last, where that is all there is.
func runMonitor(cmd *cobra.Command, s *session, l *lookout, cfg monitor.Config) error {
	m, err := monitor.New(cfg)
	if err != nil {
		return err
	}
	if !m.Interactive() {
		v, why, err := s.lastStatus(cmd.Context())
		if err == nil && why != "" {
			warn(cmd, "degraded: %s", why)
			cfg.Source = found{v}
			if m, err = monitor.New(cfg); err != nil {
				return err
			}
		}
	}
	err = m.Run(cmd.Context())
	known := s.View().Status
	if f, ok := cfg.Source.(found); ok {
		known = f.v.Status
	}
	switch {
	case errors.Is(err, monitor.ErrStale):
		for _, why := range l.reasons(known) {
			warn(cmd, "degraded: %s", why)
		}
		return errDegraded
	case errors.Is(err, monitor.ErrNoStatus):
		return explained(err, l.reasons(nil))
	}
	return err
}

// found is the source of one view.
type found struct{ v *overlay.View }

// Watch implements monitor.Source.
func (f found) Watch(context.Context) <-chan *overlay.View {
	ch := make(chan *overlay.View, 1)
	ch <- f.v
	close(ch)
	return ch
}

// appear makes the monitor a member, as on the original screen, and waits until the status
// says so.
func (s *session) appear(ctx context.Context, wait time.Duration) error {
	id := s.Identity()
	switch {
	case !id.Has(subjects.Monitor):
		return usagef("--myself: the certificate of %s lacks the role %s", id.Node, subjects.Monitor)
	case len(id.Addresses) == 0:
		return usagef("--myself: the certificate of %s has no address to announce", id.Node)
	}
	if _, err := s.Join(overlay.Member{Role: subjects.Monitor, Addresses: id.Addresses[:1], Version: versionString()}); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for v := range s.Watch(ctx) {
		if v.Status != nil && v.Status.Member(subjects.Monitor, id.Node) != nil {
			break
		}
	}
	return nil // the screen says what is wrong
}

// events follows thor.event until ctx ends.
func (s *session) events(ctx context.Context) (<-chan subjects.Event, error) {
	out := make(chan subjects.Event, 256)
	sub, err := s.Conn().Subscribe(subjects.Events, func(m *nats.Msg) {
		e, err := subjects.ParseEvent(m.Data)
		if err != nil {
			return
		}
		select {
		case out <- *e:
		default: // a reader that is behind loses events, not the connection
		}
	})
	if err != nil {
		return nil, fmt.Errorf("subscribe to events: %w", err)
	}
	context.AfterFunc(ctx, func() { _ = sub.Unsubscribe() })
	return out, nil
}

// isTerminal reports whether w is one.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
