package join

import (
	"context"
	"sync"

	"thor/subjects"
)

// maxCommands is how many answers of one program are waited for at once.
const maxCommands = 64

// commands are the conversations of programs that take commands of other nodes.
type commands struct {
	mu   sync.Mutex
	next uint64
	of   map[*conversation]map[uint64]chan answer // by command
}

func (cs *commands) add(c *conversation) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.of == nil {
		cs.of = make(map[*conversation]map[uint64]chan answer)
	}
	cs.of[c] = make(map[uint64]chan answer)
}

// remove forgets a program. Its answers are waited for no longer.
func (cs *commands) remove(c *conversation) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for _, w := range cs.of[c] {
		close(w)
	}
	delete(cs.of, c)
}

// all are the programs, in no order.
func (cs *commands) all() (out []*conversation) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for c := range cs.of {
		out = append(out, c)
	}
	return out
}

// open begins a command to c; ok is false where c is gone or has too many.
func (cs *commands) open(c *conversation) (id uint64, w <-chan answer, ok bool) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	waiting := cs.of[c]
	if waiting == nil || len(waiting) >= maxCommands {
		return 0, nil, false
	}
	cs.next++
	ch := make(chan answer, 1)
	waiting[cs.next] = ch
	return cs.next, ch, true
}

func (cs *commands) close(c *conversation, id uint64) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	delete(cs.of[c], id)
}

// answered hands an answer to who waits for it; one that comes late is dropped.
func (cs *commands) answered(c *conversation, a *answer) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if w := cs.of[c][a.ID]; w != nil {
		delete(cs.of[c], a.ID)
		w <- *a
	}
}

// Command passes a command of another node to the programs that take such. A notification
// goes to all of them, and no answer is waited for. Of the answers to another one the first
// with the code 200 counts, or else any. ok is false where no program takes commands.
func (s *Service) Command(ctx context.Context, cmd *subjects.ControlCommand, from subjects.NodeID) (code int, data string, ok bool) {
	programs := s.commands.all()
	var l commandLine
	l.Command.Text, l.Command.Node = cmd.Text(), from
	if cmd.Verb == subjects.ControlNotify {
		s.notify(ctx, programs, l)
		return subjects.ControlOK, "", len(programs) > 0
	}
	answers := make(chan answer, len(programs))
	for _, c := range programs {
		go func() { answers <- s.ask(ctx, c, l) }()
	}
	for range programs {
		a := <-answers
		if code, data = a.Code, a.Data; code == subjects.ControlOK {
			break
		}
	}
	return code, data, len(programs) > 0
}

// notify tells the programs, until ctx ends: one that does not read keeps no other from it.
func (s *Service) notify(ctx context.Context, programs []*conversation, l commandLine) {
	told := make(chan struct{}, len(programs))
	for _, c := range programs {
		go func() {
			_ = c.out.say(l) // after an error its own connection ends
			told <- struct{}{}
		}()
	}
	for range programs {
		select {
		case <-told:
		case <-ctx.Done():
			return
		}
	}
}

// ask has one program answer a command, until ctx ends.
func (s *Service) ask(ctx context.Context, c *conversation, l commandLine) answer {
	id, w, ok := s.commands.open(c)
	if !ok {
		return answer{Code: subjects.ControlUnavailable, Data: "the program is gone, or has too many commands"}
	}
	defer s.commands.close(c, id)
	l.Command.ID = id
	if err := c.out.say(l); err != nil {
		return answer{Code: subjects.ControlUnavailable, Data: "the program does not read"}
	}
	select {
	case a, ok := <-w:
		if ok && a.Code >= subjects.ControlLeast && a.Code <= subjects.ControlMost {
			return a
		}
		return answer{Code: subjects.ControlUnavailable, Data: "the program is gone, or its answer has no code"}
	case <-ctx.Done():
		return answer{Code: subjects.ControlUnavailable, Data: "the program does not answer"}
	}
}
