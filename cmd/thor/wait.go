package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"thor/monitor/view"
)

// lookEvery is how often a command looks at what it waits for.
const lookEvery = 200 * time.Millisecond

func newWait() *cobra.Command {
	c := &cobra.Command{
		Use: "wait", Short: "Wait for a state of the network, for scripts",
		Example: "  thor wait healthy --timeout 60s", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return nameSubcommand(cmd) },
	}
	c.AddCommand(newWaitHealthy())
	return c
}

func newWaitHealthy() *cobra.Command {
	var r reach
	c := &cobra.Command{
		Use: "healthy", Short: "Wait until the network is healthy, as thor status means it",
		Long: "Wait until thor status would say that nothing is degraded.\n\n" +
			"Exit 0: it is healthy. 3: it is degraded still when --timeout is over, and the reasons were printed. 1: no broker answered, or\n" +
			"no manager told a status, in that time. 2: wrong usage, or the certificate.\n" +
			"The reasons go to the standard error when they change. An operator's certificate hears brokers and managers that fall silent.",
		Example: "  thor wait healthy --timeout 60s", Args: cobra.NoArgs,
	}
	r.connected(c, func(cmd *cobra.Command, s *session, _ []string) error {
		l, err := s.lookOut(cmd.Context())
		if err != nil {
			return err
		}
		ctx, cancel := context.WithDeadline(cmd.Context(), s.deadline)
		defer cancel()
		reasons, err := awaitNone(ctx, cmd.ErrOrStderr(), 1, func() []string { return l.unwell(time.Now()) })
		switch {
		case err != nil:
			return context.Cause(cmd.Context())
		case len(reasons) == 0:
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "healthy")
			return err
		case s.View().Status == nil || s.View().FromDisk:
			return explained(fmt.Errorf("no manager told a status within %s", r.timeout), reasons)
		}
		return errDegraded
	})
	timeout := c.Flags().Lookup("timeout")
	_ = timeout.Value.Set("60s") // a duration
	timeout.DefValue, timeout.Usage = "1m0s", "how long to wait for the network, and for it to be healthy"
	return c
}

// unwell are the reasons why the network is not healthy now; none: it is.
func (l *lookout) unwell(now time.Time) []string {
	v, s := l.s.View(), l.now()
	if v.Status == nil || v.FromDisk {
		return append([]string{"no status yet"}, s.Reasons(nil, now)...)
	}
	_, reasons := view.Health(v.Status, now, v.Stale, v.Connected)
	reasons = append(reasons, s.Reasons(v.Status, now)...)
	if len(reasons) == 0 && !s.Complete(v.Status) {
		return []string{"not all brokers and managers were heard yet"}
	}
	return reasons
}

// How a wait tells what it waits for.
const (
	waitQuiet = time.Second      // what is over sooner is not told
	waitAgain = 10 * time.Second // before the same reasons are told with other numbers
	steadily  = 3                // looks in a row: a status may be about to change
)

// awaitNone looks until there was no reason so many times in a row, and tells of those that
// are new. Those that are left when the time of ctx is over are returned; err says that the
// command was ended.
func awaitNone(ctx context.Context, w io.Writer, looks int, look func() []string) (left []string, err error) {
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	said := teller{w: w, began: time.Now()}
	for good := 0; ; {
		if left = look(); len(left) > 0 {
			good = 0
		} else if good++; good >= looks {
			return nil, nil
		}
		said.tell(left, time.Now(), ctx.Err() != nil)
		if ctx.Err() != nil {
			return left, nil
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return left, ctx.Err()
			}
		}
	}
}

// A teller writes reasons as they change.
type teller struct {
	w     io.Writer
	began time.Time
	last  string
	at    time.Time
}

func (t *teller) tell(reasons []string, now time.Time, end bool) {
	line := strings.Join(reasons, "; ")
	switch {
	case line == "" || line == t.last:
		return
	case end:
	case now.Sub(t.began) < waitQuiet:
		return
	case letters(line) == letters(t.last) && now.Sub(t.at) < waitAgain:
		return // seconds that pass
	}
	t.last, t.at = line, now
	_, _ = fmt.Fprintf(t.w, "waiting: %s\n", line)
}

// letters is s without digits.
func letters(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, s)
}
