package nodeagent

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"thor/overlay"
	"thor/subjects"
)

func (n *fakeNet) Allows(m overlay.Member) error {
	if m.Weight > 65535 {
		return errors.New("weight 65536")
	}
	return nil
}

// programRoles are a role that a program joins and one that is up by itself.
func programRoles() []RoleConfig {
	return []RoleConfig{
		{Role: "media_relay", Weight: 40, Version: "1", Attrs: subjects.Attrs{"zone": "a"}, Checks: []CheckConfig{{Kind: Program}}},
		{Role: "sip_proxy"},
	}
}

// programAgent plays f with an agent of programRoles that runs.
func programAgent(t *testing.T, f func(t *testing.T, n *fakeNet, a *Agent)) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNet()
		a, err := newAgent(Config{Roles: programRoles()}, n, (*CheckConfig).prober)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := contextOf(t)
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		synctest.Wait()
		<-a.Ready()
		f(t, n, a)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func state(t *testing.T, n *fakeNet, state subjects.State, reason string) overlay.Member {
	t.Helper()
	m := n.Member("media_relay")
	if m.State != state || m.Reason != reason {
		t.Errorf("%s %q, want %s %q", m.State, m.Reason, state, reason)
	}
	return m
}

func TestAProgramIsTheMemberOfItsRole(t *testing.T) {
	programAgent(t, func(t *testing.T, n *fakeNet, a *Agent) {
		state(t, n, "", "") // it has not failed: nothing is announced
		p, err := a.JoinProgram("media_relay", ProgramInfo{PID: 7, Version: "2", Attrs: subjects.Attrs{"zone": "b", "lines": "30"}})
		if err != nil {
			t.Fatal(err)
		}
		m := state(t, n, subjects.Up, "")
		if m.Version != "2" || m.Weight != 40 || m.Attrs["zone"] != "a" || m.Attrs["lines"] != "30" {
			t.Errorf("announced %+v", m)
		}
		before := len(n.Lines())
		p.SetWork(3)
		if w, err := a.ProgramWork("media_relay"); w != 3 || err != nil || len(n.Lines()) != before {
			t.Errorf("work %d, %v, announced %v", w, err, n.Lines()[before:])
		}
		if err := p.Change(ProgramInfo{Weight: 10, Draining: true}); err != nil {
			t.Error(err)
		}
		if m := state(t, n, subjects.Draining, "its program drains"); m.Version != "1" || m.Weight != 10 || len(m.Attrs) != 1 {
			t.Errorf("announced %+v", m)
		}
		p.End("")
		state(t, n, subjects.Down, programEnded)
		if w, err := a.ProgramWork("media_relay"); w != 0 || err != nil {
			t.Errorf("gone, it carries %d, %v", w, err)
		}
		p.Leave() // after the end
		state(t, n, subjects.Down, programEnded)
		if n.Member("sip_proxy").State != subjects.Up {
			t.Error("the other role was touched")
		}
	})
}

func TestAProgramThatLeavesIsNoMemberAnyMore(t *testing.T) {
	programAgent(t, func(t *testing.T, n *fakeNet, a *Agent) {
		p, err := a.JoinProgram("media_relay", ProgramInfo{})
		if err != nil {
			t.Fatal(err)
		}
		p.Leave()
		if got := n.Lines(); got[len(got)-1] != "0s media_relay leave" {
			t.Errorf("announced %q", got)
		}
		if got := a.Status()[0]; got.State != "" {
			t.Errorf("status %+v", got)
		}
		a.Fault("local http", "taken") // reconsiders every role
		a.Fault("local http", "")
		if got := n.Lines(); strings.Contains(got[len(got)-1], "media_relay") {
			t.Errorf("announced again: %q", got)
		}
		if _, err := a.JoinProgram("media_relay", ProgramInfo{}); err != nil {
			t.Fatal(err)
		}
		state(t, n, subjects.Up, "")
	})
}

func TestARoleHasOneProgramAtATime(t *testing.T) {
	programAgent(t, func(t *testing.T, n *fakeNet, a *Agent) {
		first, err := a.JoinProgram("media_relay", ProgramInfo{PID: 7})
		if err != nil {
			t.Fatal(err)
		}
		_, err = a.JoinProgram("media_relay", ProgramInfo{PID: 8})
		if taken := (*TakenError)(nil); !errors.As(err, &taken) || taken.PID != 7 {
			t.Errorf("the second one: %v", err)
		}
		if _, err := a.JoinProgram("sip_proxy", ProgramInfo{}); !errors.Is(err, ErrNoProgramRole) {
			t.Errorf("a role that is up by itself: %v", err)
		}
		if _, err := a.JoinProgram("media_relay", ProgramInfo{Weight: 70_000}); err == nil || !strings.Contains(err.Error(), "weight") {
			t.Errorf("what the SDK refuses: %v", err)
		}
		if err := first.Change(ProgramInfo{Weight: 70_000}); err == nil {
			t.Error("a change that the SDK refuses was taken")
		}
		state(t, n, subjects.Up, "")
		first.End("killed")
		if _, err := a.JoinProgram("media_relay", ProgramInfo{PID: 8}); err != nil {
			t.Error(err)
		}
		first.End("killed again")
		state(t, n, subjects.Up, "")
	})
}

func TestTheConfigurationTakesARoleFromItsProgram(t *testing.T) {
	programAgent(t, func(t *testing.T, n *fakeNet, a *Agent) {
		p, err := a.JoinProgram("media_relay", ProgramInfo{})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Reconfigure(programRoles()); err != nil {
			t.Fatal(err)
		}
		select {
		case <-p.Ended():
			t.Error("the same configuration ended it")
		default:
		}
		roles := programRoles()
		roles[0].Checks = nil
		if err := a.Reconfigure(roles); err != nil {
			t.Fatal(err)
		}
		<-p.Ended()
		state(t, n, subjects.Up, "")
		p.End("late")
		state(t, n, subjects.Up, "")
		if err := a.Reconfigure(programRoles()); err != nil {
			t.Fatal(err)
		}
		if s := a.Status()[0]; s.State != "" { // no program has joined it yet
			t.Errorf("%+v", s)
		}
	})
}

// While the agent ends, the end of a connection to it is no failure of the program.
func TestTheEndOfTheAgentIsNoFailure(t *testing.T) {
	var n *fakeNet
	programAgent(t, func(t *testing.T, net *fakeNet, a *Agent) {
		n = net
		p, err := a.JoinProgram("media_relay", ProgramInfo{})
		if err != nil {
			t.Fatal(err)
		}
		go func() { <-(*a.run.Load()).Done(); p.End("") }()
	})
	for _, l := range n.Lines() {
		if strings.Contains(l, programEnded) {
			t.Errorf("announced %q", n.Lines())
		}
	}
}
