package monitor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"

	"thor/monitor/view"
	"thor/overlay"
	"thor/subjects"
)

// maxBatch is how many waiting events one redraw takes.
const maxBatch = 256

// Messages to the program, besides those of the terminal.
type (
	viewMsg   struct{ p view.Picture }
	eventsMsg []subjects.Event
	tickMsg   struct{}
)

// live runs the program on the terminal. Signals are the caller's affair: they
// end ctx.
func (m *Monitor) live(ctx context.Context) error {
	profile := m.profile()
	start := screen{m: view.NewModel(view.Options{
		Domain: m.cfg.Domain, Node: m.cfg.Node, StaleAfter: m.cfg.StaleAfter,
		Color: profile > colorprofile.ASCII, ASCII: !m.env.utf8(),
	}).Tick(time.Now())}
	p := tea.NewProgram(start, tea.WithContext(ctx), tea.WithInput(m.cfg.In), tea.WithOutput(m.cfg.Out),
		tea.WithEnvironment(m.cfg.Environ), tea.WithColorProfile(profile), tea.WithoutSignalHandler())
	feedCtx, cancel := context.WithCancel(ctx)
	var feeding sync.WaitGroup
	feeding.Go(func() { m.feed(feedCtx, p.Send) })
	_, err := p.Run()
	cancel()
	feeding.Wait()
	if err != nil && (ctx.Err() == nil || !errors.Is(err, tea.ErrProgramKilled)) {
		return fmt.Errorf("run the terminal: %w", err)
	}
	return nil
}

// profile is what colours to use. NO_COLOR counts whatever its value is, unless
// the user asked for colours on the command line.
func (m *Monitor) profile() colorprofile.Profile {
	switch {
	case m.cfg.Color == ColorNever, m.cfg.Color == ColorAuto && m.env.get("NO_COLOR") != "":
		return colorprofile.ASCII
	case m.cfg.Color == ColorAlways:
		return max(colorprofile.ANSI256, colorprofile.Detect(m.cfg.Out, m.cfg.Environ))
	}
	return colorprofile.Detect(m.cfg.Out, m.cfg.Environ)
}

// feed sends views, events and the seconds to the program until ctx ends.
func (m *Monitor) feed(ctx context.Context, send func(tea.Msg)) {
	views, events := m.cfg.Source.Watch(ctx), m.cfg.Events
	var last *overlay.View
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case v, ok := <-views:
			if !ok {
				return
			}
			last = v
			send(viewMsg{m.picture(v)})
		case e, ok := <-events:
			if !ok {
				events = nil
				continue
			}
			send(waiting(e, events))
		case <-second.C:
			if m.cfg.Doubts != nil && last != nil {
				send(viewMsg{m.picture(last)})
			}
			send(tickMsg{})
		}
	}
}

// waiting is first and what else is in the channel already.
func waiting(first subjects.Event, more <-chan subjects.Event) eventsMsg {
	batch := eventsMsg{first}
	for len(batch) < maxBatch {
		select {
		case e, ok := <-more:
			if !ok {
				return batch
			}
			batch = append(batch, e)
		default:
			return batch
		}
	}
	return batch
}

// screen is the view's model as the terminal library wants it.
type screen struct{ m view.Model }

func (s screen) Init() tea.Cmd { return tea.RequestBackgroundColor }

func (s screen) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case viewMsg:
		s.m = s.m.Show(msg.p, time.Now())
	case eventsMsg:
		s.m = s.m.Happened(msg, time.Now())
	case tickMsg:
		s.m = s.m.Tick(time.Now())
	case tea.WindowSizeMsg:
		s.m = s.m.Resize(msg.Width, msg.Height)
	case tea.BackgroundColorMsg:
		s.m = s.m.Ground(!msg.IsDark())
	case tea.PasteMsg:
		s.m = s.m.Paste(msg.Content)
	case tea.KeyPressMsg:
		if msg.String() == "ctrl+z" {
			return s, tea.Suspend
		}
		s.m = s.m.Press(msg.String())
	}
	if s.m.Done() {
		return s, tea.Quit
	}
	return s, nil
}

func (s screen) View() tea.View {
	v := tea.NewView(s.m.Render())
	v.AltScreen = true
	return v
}
