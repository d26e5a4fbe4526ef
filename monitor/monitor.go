// Package monitor shows the network on a terminal, live: the members of each
// role and their state, events, and the age of that information. Off a terminal
// it prints the plain screen of the SIP Thor description once.
//
// By itself it only looks. It asks daemons for more than the status while a page
// that shows it is open, and changes something only when an operator has confirmed
// it; both are the caller's to do (Config). What it shows is made by package view; this package brings keys,
// sizes, views and events to it and the result to the screen. When the link is
// lost the last picture stays and says how old it is.
package monitor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"thor/monitor/view"
	"thor/overlay"
	"thor/subjects"
)

// DefaultWait is how long the plain screen waits for a confirmed status.
const DefaultWait = 5 * time.Second

// Errors that tell what Run could not show.
var (
	// ErrStale says that the plain screen was printed, but of a status that no
	// active manager confirmed, or that Config.Doubts had something to say.
	ErrStale = errors.New("monitor: the status is not confirmed by an active manager")
	// ErrNoStatus says that nothing is known of the network: nothing was printed.
	ErrNoStatus = errors.New("monitor: connected to a broker, but no manager told a status in time: is a thor manager running? (thor doctor looks for it)")
)

// A Source delivers views of the network; [overlay.Node] is one. The channel
// may skip views but not the latest, and is closed when ctx ends.
type Source interface {
	Watch(ctx context.Context) <-chan *overlay.View
}

// Color says whether to use colours.
type Color string

// The choices of Color.
const (
	ColorAuto   Color = "auto" // unless NO_COLOR is set or the terminal has none
	ColorAlways Color = "always"
	ColorNever  Color = "never"
)

// Config of a Monitor.
type Config struct {
	// Source is where the views come from. Required.
	Source Source
	// Events are shown as they come; nil: none. The monitor empties the channel
	// while it runs and does not mind if it is closed.
	Events <-chan subjects.Event
	// Past is what happened before, since a time or for as long as is worth showing where
	// that is zero, and what is not known of it in one line. It is called at the start and
	// when the connection was lost meanwhile, and again after an error. nil: nothing is known.
	Past func(ctx context.Context, since time.Time) (events []subjects.Event, note string, err error)
	// Ask fills in what an answer is to be of, but for the shares; it is called again and
	// again while a page that wants it is shown, once at a time. nil: such pages have the
	// status alone.
	Ask func(context.Context, *view.Answer, *subjects.Status)
	// Act does what an operator confirmed, and says in one line what came of it. nil: the
	// monitor only shows the commands.
	Act func(context.Context, view.Action) string
	// Flags are those by which a command reaches this network, see view.Options.
	Flags string
	// Doubts says what is wrong besides what a view says, now, see view.Sight. nil: nothing.
	Doubts func(*subjects.Status) []string
	// Await is called before the plain screen is printed: it returns when Doubts is
	// worth asking. nil: at once.
	Await func(context.Context, *subjects.Status)
	// Domain is shown until a status names it.
	Domain string
	// Node is this node, to mark its own line "myself". Empty: none is marked.
	Node subjects.NodeID
	// In and Out are the terminal. nil: the process's own.
	In  io.Reader
	Out io.Writer
	// Environ is the environment: TERM, NO_COLOR, LANG and the like, as
	// "name=value". nil: the process's own.
	Environ []string
	// Color is auto, always or never. Empty: auto.
	Color Color
	// Once prints the plain screen even on a terminal.
	Once bool
	// Wait bounds how long the plain screen waits for a confirmed status.
	// 0: DefaultWait.
	Wait time.Duration
	// StaleAfter is the Source's setting of that name, from which the age of a
	// stale picture counts. 0: overlay.DefaultStaleAfter.
	StaleAfter time.Duration
}

// A Monitor shows one network on one terminal.
type Monitor struct {
	cfg Config
	env environ
}

// New checks cfg. It does no I/O.
func New(cfg Config) (*Monitor, error) {
	if cfg.Source == nil {
		return nil, errors.New("monitor: no source")
	}
	switch cfg.Color {
	case "":
		cfg.Color = ColorAuto
	case ColorAuto, ColorAlways, ColorNever:
	default:
		return nil, fmt.Errorf("monitor: color %q is not auto, always or never", cfg.Color)
	}
	if cfg.In == nil {
		cfg.In = os.Stdin
	}
	if cfg.Out == nil {
		cfg.Out = os.Stdout
	}
	if cfg.Environ == nil {
		cfg.Environ = os.Environ()
	}
	if cfg.Wait <= 0 {
		cfg.Wait = DefaultWait
	}
	if cfg.StaleAfter <= 0 {
		cfg.StaleAfter = overlay.DefaultStaleAfter
	}
	return &Monitor{cfg: cfg, env: cfg.Environ}, nil
}

// Interactive reports whether Run will take over the terminal: both ends are
// one, it can do more than TERM=dumb, and Once is not asked for. Nothing else
// may write to the terminal then, logs included.
func (m *Monitor) Interactive() bool {
	return !m.cfg.Once && m.env.get("TERM") != "" && m.env.get("TERM") != "dumb" &&
		isTerminal(m.cfg.In) && isTerminal(m.cfg.Out)
}

func isTerminal(v any) bool {
	f, ok := v.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(f.Fd()))
}

// Run shows the network until the user quits or ctx ends, which both are normal
// ends, or prints the plain screen once and returns: with ErrStale if what it
// printed is not confirmed, with ErrNoStatus if there was nothing to print.
func (m *Monitor) Run(ctx context.Context) error {
	if m.Interactive() {
		return m.live(ctx)
	}
	return m.once(ctx)
}

// once waits for a confirmed status and prints it, or after Wait what there is.
func (m *Monitor) once(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Wait)
	defer cancel()
	var last *overlay.View
	for v := range m.cfg.Source.Watch(ctx) {
		if v.Status != nil {
			last = v
		}
		if current(v) {
			break
		}
	}
	if errors.Is(context.Cause(ctx), context.Canceled) {
		return nil
	}
	if last == nil {
		return ErrNoStatus
	}
	if m.cfg.Await != nil {
		m.cfg.Await(ctx, last.Status)
	}
	screen := view.Once(last.Status, time.Now(), view.OnceOptions{Domain: m.cfg.Domain, Node: m.cfg.Node})
	if _, err := io.WriteString(m.cfg.Out, screen); err != nil {
		return fmt.Errorf("print the network: %w", err)
	}
	if !current(last) || len(m.doubts(last.Status)) > 0 {
		return ErrStale
	}
	return nil
}

func current(v *overlay.View) bool {
	return v.Status != nil && v.Connected && !v.Stale && !v.FromDisk
}

func (m *Monitor) doubts(st *subjects.Status) []string {
	if m.cfg.Doubts == nil {
		return nil
	}
	return m.cfg.Doubts(st)
}

// picture is v as package view has it.
func (m *Monitor) picture(v *overlay.View) view.Picture {
	return view.Picture{Status: v.Status, Stale: v.Stale, Connected: v.Connected, FromDisk: v.FromDisk, Doubts: m.doubts(v.Status)}
}

// environ is "name=value" entries, of which the last wins.
type environ []string

func (e environ) get(name string) string {
	v := ""
	for _, kv := range e {
		if k, x, ok := strings.Cut(kv, "="); ok && k == name {
			v = x
		}
	}
	return v
}

// utf8 reports whether the locale's character set is UTF-8. As in C, the first
// of these three that is set decides, and none means "C".
func (e environ) utf8() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := e.get(name); v != "" {
			v = strings.ToLower(v)
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}
