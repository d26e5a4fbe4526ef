package join

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"thor/nodeagent"
	"thor/nodeagent/local"
	"thor/subjects"
)

// A conversation is what a program and the agent say to each other from its join on.
type conversation struct {
	service  *Service
	role     subjects.Role
	presence *nodeagent.Presence
	watch    []subjects.Role
	control  bool // it takes commands of other nodes
	process  *local.Process
	log      zerolog.Logger
	in       *reader
	out      *writer
}

// errOver ends a conversation without a reason to tell.
var errOver = errors.New("over")

var errTaken = errors.New("the configuration has taken the role away")

// maxWork is more than any program carries.
const maxWork = 1_000_000_000

// selfEvery is how often the state of the role is looked at: an operator may drain it.
const selfEvery = time.Second

// run talks until the program leaves or is lost, or its connection ends. The error is one to tell the
// program.
func (c *conversation) run(ctx context.Context) error {
	c.out.w.Header().Set("Content-Type", contentType)
	c.out.w.WriteHeader(http.StatusOK)
	var j joinedLine
	j.Joined.Node, j.Joined.Role, j.Joined.Boot = c.service.network.ID(), c.role, c.service.network.Boot()
	if err := c.out.say(j); err != nil {
		_ = c.slow(err)
		return nil
	}
	if c.control {
		c.service.commands.add(c)
		defer c.service.commands.remove(c)
	}
	// net/http ends the request's context by itself when a read or a write fails, before
	// that returns: then the reason would be lost.
	g, ctx := errgroup.WithContext(context.WithoutCancel(ctx))
	g.Go(func() error { return c.listen(ctx) })
	g.Go(func() error { return c.tell(ctx) })
	if len(c.watch) > 0 {
		g.Go(func() error {
			if err := c.service.follow(ctx, c.out, c.watch); err != nil {
				return c.slow(err)
			}
			return nil
		})
	}
	g.Go(func() error { // what ends one of them ends the reading
		<-ctx.Done()
		_ = c.in.rc.SetReadDeadline(time.Unix(1, 0))
		return nil
	})
	err := g.Wait()
	c.presence.End("") // unless it has ended
	if errors.Is(err, errOver) {
		return nil
	}
	return err
}

// listen hears the program.
func (c *conversation) listen(ctx context.Context) error {
	for {
		var w word
		err := c.in.line(ctx, SilentAfter, &w)
		switch {
		case err != nil && ctx.Err() != nil: // another one ended it
			return errOver
		case errors.Is(err, errEnded):
			c.presence.End("")
			return errOver
		case err != nil:
			c.presence.End("its program is cut off: " + err.Error())
			return err
		}
		if err := c.heed(&w); err != nil {
			return err
		}
	}
}

// heed does what a line says.
func (c *conversation) heed(w *word) error {
	if w.Leave {
		c.presence.Leave()
		return errOver
	}
	if w.Answer != nil {
		c.service.commands.answered(c, w.Answer)
	}
	if w.Work != nil {
		if *w.Work < 0 || *w.Work > maxWork {
			return c.out.say(errorLine{fmt.Sprintf("work %d is not 0 to %d", *w.Work, maxWork)})
		}
		c.presence.SetWork(*w.Work)
	}
	info := c.presence.Info()
	changed := w.Version != nil || w.Weight != nil || w.Attrs != nil
	switch w.State {
	case "":
	case string(subjects.Up), string(subjects.Draining):
		info.Draining = w.State == string(subjects.Draining)
		changed = true
	default:
		return c.out.say(errorLine{fmt.Sprintf("state %q is neither up nor draining", subjects.Printable(w.State, 32))})
	}
	if !changed {
		return nil
	}
	if w.Version != nil {
		info.Version = *w.Version
	}
	if w.Weight != nil {
		info.Weight = *w.Weight
	}
	if w.Attrs != nil {
		info.Attrs = *w.Attrs
	}
	if err := c.presence.Change(info); err != nil {
		return c.out.say(errorLine{err.Error()}) // it stays as it was
	}
	return nil
}

// tell sends pings, and how the role is announced.
func (c *conversation) tell(ctx context.Context) error {
	ping, look := time.NewTicker(PingEvery), time.NewTicker(selfEvery)
	defer ping.Stop()
	defer look.Stop()
	var told selfLine
	for n, first := 1, true; ; {
		if self := c.self(); first || self != told {
			begins := self.Self.Drained && !told.Self.Drained && !first
			first, told = false, self
			if err := c.out.say(self); err != nil {
				return c.slow(err)
			}
			if begins {
				if err := c.signal(); err != nil {
					return c.slow(err)
				}
			}
		}
		select {
		case <-ping.C:
			if err := c.out.say(pingLine{n}); err != nil {
				return c.slow(err)
			}
			n++
		case <-look.C:
		case <-c.presence.Ended():
			return errTaken
		case <-ctx.Done():
			return nil
		}
	}
}

// slow ends the presence of a program that takes no more lines.
func (c *conversation) slow(err error) error {
	if isTimeout(err) {
		c.presence.End("its program does not read what it is told")
	} else {
		c.presence.End("")
	}
	return errOver
}

func (c *conversation) self() (l selfLine) {
	for _, s := range c.service.agent.Status() {
		if s.Role == c.role {
			l.Self.State, l.Self.Reason = s.State, s.Reason
			l.Self.Drained = drained(s, c.presence.Info().Draining)
		}
	}
	return l
}

// drained says whether s is an operator's wish that the program does not have by itself.
// wish is the program's, and may be newer than s, or s newer: a wish that has just ended,
// and is announced still, is known by its reason.
func drained(s nodeagent.RoleStatus, wish bool) bool {
	return s.State == subjects.Draining && s.Reason != nodeagent.ProgramDrains && !wish
}

// signal sends the program the signal with which it ends gracefully, if the role has one.
// A program that this process may not signal is asked to do it by itself.
func (c *conversation) signal() error {
	name := c.service.agent.DrainSignal(c.role)
	if name == "" {
		return nil
	}
	if err := c.process.Signal(name); err != nil {
		c.log.Info().Err(err).Str("signal", name).Msg("the program is asked to signal itself")
		return c.out.say(signalLine{name})
	}
	c.log.Info().Str("signal", name).Msg("the program is signalled: an operator drains its role")
	return nil
}
