package nodeagent

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"thor/overlay"
	"thor/overlay/check"
	"thor/subjects"
)

// A ProgramInfo is what a program says of itself when it joins a role.
type ProgramInfo struct {
	// PID is its process; 0: not known.
	PID int
	// Version of its software, for show. Empty: that of the configuration.
	Version string
	// Weight is its share of the work, 1 to 65535; 0: that of the configuration.
	Weight int
	// Attrs are properties for others, beside those of the configuration, which win.
	Attrs subjects.Attrs
	// Draining says that it finishes what it has, and wants no new work.
	Draining bool
}

// Errors of JoinProgram.
var (
	// ErrNoProgramRole says that the role is not one that a program joins here.
	ErrNoProgramRole = errors.New(`is not joined by a program on this node: give it a [[node.role.check]] with kind = "program"`)
	// ErrEnding says that the agent is about to leave the network.
	ErrEnding = errors.New("the node agent ends")
)

// A TakenError says that another program has joined the role.
type TakenError struct {
	Role subjects.Role
	PID  int // 0: not known
}

func (e *TakenError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("role %s: another program has joined", e.Role)
	}
	return fmt.Sprintf("role %s: process %d has joined", e.Role, e.PID)
}

// Reasons of a role that a program joins.
const (
	// ProgramDrains is that of a role which drains by its program's wish.
	ProgramDrains = "its program drains"

	noProgram    = "no program has joined"
	programEnded = "its program ended without leaving"
)

// programs are the roles that programs join.
type programs struct {
	mu  sync.Mutex
	all map[subjects.Role]*programRole
}

// A programRole is what becomes of one role that a program joins: none has joined, one
// is here, the last one left, or it was lost.
type programRole struct {
	here *Presence // nil: none
	left bool      // the last one did, and said so
	lost string    // why the last one is not here; empty: there was none, or it left
}

// A Presence is a program that has joined a role, from JoinProgram to Leave or End. Its
// methods may be called from any goroutine; after the end they do nothing.
type Presence struct {
	agent *Agent
	role  subjects.Role
	info  ProgramInfo   // guarded by the agent's programs
	work  *int          // what it says it carries; nil: nothing yet; guarded by the agent's programs
	ended chan struct{} // closed by the agent when the role is not the program's any more
}

// JoinProgram makes a program the member of a role that is checked by kind Program:
// while it is here the role is up, if its other checks pass. A role has one program at a
// time. The error is ErrNoProgramRole, ErrEnding, a *TakenError, or what the SDK would
// not announce.
func (a *Agent) JoinProgram(role subjects.Role, info ProgramInfo) (*Presence, error) {
	r := a.programRole(role)
	if r == nil {
		return nil, fmt.Errorf("role %s %w", role, ErrNoProgramRole)
	}
	if a.ending() {
		return nil, ErrEnding
	}
	info.Attrs = maps.Clone(info.Attrs)
	if err := a.net.Allows(r.asked(&info)); err != nil {
		return nil, err
	}
	p := &Presence{agent: a, role: role, info: info, ended: make(chan struct{})}
	a.programs.mu.Lock()
	s := a.programs.all[role]
	if s == nil {
		s = &programRole{}
		if a.programs.all == nil {
			a.programs.all = make(map[subjects.Role]*programRole)
		}
		a.programs.all[role] = s
	}
	if s.here != nil {
		defer a.programs.mu.Unlock()
		return nil, &TakenError{role, s.here.info.PID}
	}
	if a.programRole(role) != r { // the configuration took it away meanwhile
		a.programs.mu.Unlock()
		return nil, fmt.Errorf("role %s %w", role, ErrNoProgramRole)
	}
	s.here, s.left, s.lost = p, false, ""
	a.programs.mu.Unlock()
	r.log.Info().Int("pid", info.PID).Str("version", info.Version).Msg("a program has joined")
	if err := r.group.Reconsider(); err != nil {
		p.end(func(s *programRole) { s.lost = noProgram })
		return nil, err
	}
	return p, nil
}

// programRole is the role of that name which a program joins; nil: there is none.
func (a *Agent) programRole(name subjects.Role) *role {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.IndexFunc(a.roles, func(r *role) bool { return r.name == name && r.byProgram.Load() })
	if i < 0 {
		return nil
	}
	return a.roles[i]
}

// DrainSignal is the name of the signal that the program of a role gets when an operator
// drains the role; empty: none.
func (a *Agent) DrainSignal(name subjects.Role) string {
	if r := a.programRole(name); r != nil {
		return r.drainSignal.Load().(string)
	}
	return ""
}

// Change announces info instead. An error is what the SDK would not announce; then what
// was announced stays.
func (p *Presence) Change(info ProgramInfo) error {
	r := p.agent.programRole(p.role)
	if r == nil {
		return fmt.Errorf("role %s %w", p.role, ErrNoProgramRole)
	}
	info.Attrs = maps.Clone(info.Attrs)
	if err := p.agent.net.Allows(r.asked(&info)); err != nil {
		return err
	}
	p.agent.programs.mu.Lock()
	info.PID = p.info.PID
	p.info = info
	p.agent.programs.mu.Unlock()
	return r.group.Reconsider()
}

// Info is what the program says of itself now.
func (p *Presence) Info() ProgramInfo {
	p.agent.programs.mu.Lock()
	defer p.agent.programs.mu.Unlock()
	return p.info
}

// SetWork notes how much the program says it carries. It is not announced.
func (p *Presence) SetWork(n int) {
	p.agent.programs.mu.Lock()
	defer p.agent.programs.mu.Unlock()
	p.work = &n
}

// errNoWork is why the work of a program is not known.
var errNoWork = errors.New(`its program does not say how much it carries, by a line {"work":N}`)

// ProgramWork is how much the program that has joined a role says it carries; none that is
// here carries nothing.
func (a *Agent) ProgramWork(role subjects.Role) (int, error) {
	a.programs.mu.Lock()
	defer a.programs.mu.Unlock()
	s := a.programs.all[role]
	switch {
	case s == nil || s.here == nil:
		return 0, nil
	case s.here.work == nil:
		return 0, errNoWork
	}
	return *s.here.work, nil
}

// Leave ends the presence: the member leaves the network, which is no loss.
func (p *Presence) Leave() { p.end(func(s *programRole) { s.left = true }) }

// End ends the presence of a program that did not leave: the member is down for that
// reason, empty: it ended. While the agent itself ends it says nothing.
func (p *Presence) End(reason string) {
	if p.agent.ending() {
		return
	}
	if reason == "" {
		reason = programEnded
	}
	reason = subjects.Printable(reason, subjects.MaxReason)
	p.end(func(s *programRole) { s.lost = reason })
}

// Ended is closed when the configuration took the role away from the program.
func (p *Presence) Ended() <-chan struct{} { return p.ended }

func (p *Presence) end(note func(*programRole)) {
	a := p.agent
	a.programs.mu.Lock()
	s := a.programs.all[p.role]
	if s == nil || s.here != p {
		a.programs.mu.Unlock()
		return
	}
	s.here = nil
	note(s)
	left, lost := s.left, s.lost
	a.programs.mu.Unlock()
	r := a.programRole(p.role)
	if r == nil {
		return
	}
	if left {
		r.log.Info().Msg("the program leaves")
	} else {
		r.log.Info().Str("reason", lost).Msg("the program is gone")
	}
	_ = r.group.Reconsider() // it was announced before
}

// expel ends the presences of roles that programs do not join any more.
func (a *Agent) expel() {
	a.programs.mu.Lock()
	defer a.programs.mu.Unlock()
	for name, s := range a.programs.all {
		if a.programRole(name) != nil { // it takes mu, and nothing takes that before
			continue
		}
		if s.here != nil {
			close(s.here.ended)
		}
		delete(a.programs.all, name)
	}
}

// decide is what follows for m, which all other checks would have announced, from the
// program of r.
func (r *role) decide(m *overlay.Member, cond check.Condition) {
	ps := &r.agent.programs
	ps.mu.Lock()
	defer ps.mu.Unlock()
	s := ps.all[r.name]
	switch {
	case s != nil && s.here != nil:
		*m = r.dressed(*m, &s.here.info)
		if s.here.info.Draining && cond == check.Passing {
			m.State, m.Reason = subjects.Draining, ProgramDrains
		}
	case s != nil && s.lost != "":
		m.State, m.Reason = subjects.Down, s.lost
	default: // it has not failed: it is not a member yet
		m.State, m.Reason = subjects.Leave, ""
	}
}

// asked is the member that r would be with what a program says of itself.
func (r *role) asked(info *ProgramInfo) (m overlay.Member) {
	r.group.Locked(func() { m = r.dressed(r.member, info) })
	m.State, m.Reason = subjects.Down, strings.Repeat("x", subjects.MaxReason) // what is announced of it later has room too
	return m
}

func (r *role) dressed(m overlay.Member, info *ProgramInfo) overlay.Member {
	if info.Version != "" {
		m.Version = info.Version
	}
	if info.Weight != 0 {
		m.Weight = info.Weight
	}
	if len(info.Attrs) > 0 {
		attrs := maps.Clone(info.Attrs)
		maps.Copy(attrs, m.Attrs)
		m.Attrs = attrs
	}
	return m
}
