package monitor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"

	"thor/monitor/view"
	"thor/overlay"
	"thor/subjects"
)

const (
	maxBatch  = 256              // waiting events that one redraw takes
	askEvery  = 2 * time.Second  // while a page wants more than the status
	pastAgain = 10 * time.Second // until the history is read again that could not be read
	// missedFor is how much before the last event heard the history is read, after a
	// connection was lost.
	missedFor = time.Minute
)

// Messages to the program, besides those of the terminal.
type (
	viewMsg   struct{ p view.Picture }
	eventsMsg []subjects.Event
	tickMsg   struct{}
	answerMsg struct{ a *view.Answer }
	toldMsg   struct{ text string }
	pastMsg   struct {
		events []subjects.Event
		note   string
	}
)

// live runs the program on the terminal. Signals are the caller's affair: they
// end ctx.
func (m *Monitor) live(ctx context.Context) error {
	profile := m.profile()
	feedCtx, cancel := context.WithCancel(ctx)
	wants := make(chan view.Want, 1)
	frame := &pace{}
	start := screen{ctx: feedCtx, act: m.cfg.Act, wants: wants, pace: frame, m: view.NewModel(view.Options{
		Domain: m.cfg.Domain, Node: m.cfg.Node, StaleAfter: m.cfg.StaleAfter,
		Color: profile > colorprofile.ASCII, ASCII: !m.env.utf8(), Operator: m.cfg.Act != nil, Flags: m.cfg.Flags,
	}).Tick(time.Now())}
	p := tea.NewProgram(start, tea.WithContext(ctx), tea.WithInput(m.cfg.In), tea.WithOutput(m.cfg.Out),
		tea.WithEnvironment(m.cfg.Environ), tea.WithColorProfile(profile), tea.WithoutSignalHandler(), tea.WithFPS(frames))
	frame.program = p
	defer frame.stop()
	var feeding sync.WaitGroup
	feeding.Go(func() { m.feed(feedCtx, p.Send, wants) })
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
func (m *Monitor) feed(ctx context.Context, send func(tea.Msg), wants <-chan view.Want) {
	views, events := m.cfg.Source.Watch(ctx), m.cfg.Events
	var last *overlay.View
	var doubts []string
	var statuses latest
	var helping sync.WaitGroup
	defer helping.Wait()
	helping.Go(func() { m.ask(ctx, send, wants, &statuses) })
	look := func(since time.Time) {
		if m.cfg.Past != nil {
			helping.Go(func() { m.lookBack(ctx, send, since) })
		}
	}
	look(time.Time{})
	heard := time.Now() // the newest event, or the start
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
			if last != nil && v.Connection > last.Connection && last.Connection > 0 {
				look(heard.Add(-missedFor))
			}
			last = v
			statuses.set(v.Status)
			p := m.picture(v)
			doubts = p.Doubts
			send(viewMsg{p})
		case e, ok := <-events:
			if !ok {
				events = nil
				continue
			}
			heard = time.Now()
			send(waiting(e, events))
		case <-second.C:
			if m.cfg.Doubts != nil && last != nil {
				if p := m.picture(last); !slices.Equal(p.Doubts, doubts) {
					doubts = p.Doubts
					send(viewMsg{p})
				}
			}
			send(tickMsg{})
		}
	}
}

// lookBack reads the history, again and again while it cannot be read: JetStream may have
// no leader just now.
func (m *Monitor) lookBack(ctx context.Context, send func(tea.Msg), since time.Time) {
	for {
		events, note, err := m.cfg.Past(ctx, since)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			note = "no history: " + err.Error()
		}
		send(pastMsg{events, note})
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pastAgain):
		}
	}
}

// latest is the newest status, for the goroutine that asks.
type latest struct {
	p atomic.Pointer[subjects.Status]
}

func (l *latest) set(s *subjects.Status) { l.p.Store(s) }

// ask asks for what the page shown wants, at once when that changes and then now and
// again, until ctx ends.
func (m *Monitor) ask(ctx context.Context, send func(tea.Msg), wants <-chan view.Want, statuses *latest) {
	var want view.Want
	var shares spreads
	again := time.NewTimer(askEvery)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case want = <-wants:
		case <-again.C:
		}
		for changed := true; changed && want != (view.Want{}); {
			s := statuses.p.Load()
			if s == nil {
				break
			}
			asking, cancel := context.WithCancel(ctx)
			found := make(chan *view.Answer, 1)
			go func() { found <- m.find(asking, want, s, &shares) }()
			select {
			case a := <-found:
				send(answerMsg{a}) // nothing happens where the program has ended
				changed = false
			case next := <-wants: // what is being asked is not shown any more
				cancel()
				<-found
				want = next
			}
			cancel()
		}
		again.Reset(askEvery)
	}
}

// find is the answer to want. Its shares are of status s.
func (m *Monitor) find(ctx context.Context, want view.Want, s *subjects.Status, shares *spreads) *view.Answer {
	a := &view.Answer{Of: want, At: time.Now()}
	if m.cfg.Ask != nil {
		m.cfg.Ask(ctx, a, s)
	}
	if want.Shares {
		a.Shares = shares.at(s)
	}
	return a
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
type screen struct {
	m     view.Model
	ctx   context.Context // of what is done for an operator
	act   func(context.Context, view.Action) string
	wants chan view.Want // holds the newest want
	want  view.Want      // that was told last
	pace  *pace
}

func (s screen) Init() tea.Cmd { return tea.RequestBackgroundColor }

func (s screen) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case viewMsg:
		s.m = s.m.Show(msg.p, time.Now())
	case eventsMsg:
		s.m = s.m.Happened(msg, time.Now())
	case pastMsg:
		s.m = s.m.Past(msg.events, msg.note, time.Now())
	case answerMsg:
		s.m = s.m.Answered(msg.a, time.Now())
	case toldMsg:
		s.m = s.m.Told(msg.text, time.Now())
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
	return s.follow()
}

// follow tells what the model wants, and carries out its order.
func (s screen) follow() (tea.Model, tea.Cmd) {
	if w := s.m.Want(); w != s.want {
		s.want = w
		select {
		case <-s.wants: // it was not read yet, and is old
		default:
		}
		s.wants <- w
	}
	var o view.Order
	s.m, o = s.m.Take()
	switch {
	case o.Copy != "":
		return s, tea.SetClipboard(o.Copy)
	case o.Do != nil && s.act != nil:
		return s, func() tea.Msg { return toldMsg{s.act(s.ctx, *o.Do)} }
	}
	return s, nil
}

func (s screen) View() tea.View {
	v := tea.NewView(s.m.Render())
	v.AltScreen = true
	s.pace.pictured() // it is drawn once this returns
	return v
}
