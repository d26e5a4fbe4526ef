package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"thor/monitor"
	"thor/overlay"
	"thor/subjects"
)

// colors are when the monitor uses colour.
var colors = []string{string(monitor.ColorAuto), string(monitor.ColorAlways), string(monitor.ColorNever)}

func newMonitor() *cobra.Command {
	var r reach
	var once, quiet bool
	color := "auto"
	c := &cobra.Command{
		Use: "monitor", Short: "Watch the network in the terminal",
		Long: "Watch the network in the terminal. On a pipe, with TERM=dumb or with --once it prints the plain screen of the\n" +
			"SIP Thor description instead. While it watches it is a member itself, under thor_monitor, unless --quiet.",
		Example: "  thor monitor\n  thor monitor --once", Args: cobra.NoArgs,
	}
	before(c, func(*cobra.Command, []string) error {
		if !slices.Contains(colors, color) {
			return usagef("--color %q is not auto, always or never", color)
		}
		return nil
	})
	r.connected(c, func(cmd *cobra.Command, s *session, _ []string) error {
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
		}
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
		if m.Interactive() && !quiet {
			if err := s.appear(); err != nil {
				return err
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
	})
	c.Flags().BoolVar(&once, "once", false, "print the plain screen and end")
	c.Flags().BoolVar(&quiet, "quiet", false, "do not be a member while watching")
	c.Flags().StringVar(&color, "color", color, "`when` to use colour: auto, always or never")
	completeFlag(c, "color", colors...)
	return c
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

// appear makes the monitor a member, as on the original screen. A certificate
// without the role or an address watches all the same.
func (s *session) appear() error {
	id := s.Identity()
	if !id.Has(subjects.Monitor) || len(id.Addresses) == 0 {
		return nil
	}
	_, err := s.Join(overlay.Member{Role: subjects.Monitor, Addresses: id.Addresses[:1], Version: versionString()})
	return err
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
