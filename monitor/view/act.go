package view

import (
	"fmt"
	"time"

	"thor/subjects"
)

// A Verb is what an operator can have done.
type Verb string

// The verbs, as the commands of thor are called.
const (
	Drain  Verb = "drain"
	Resume Verb = "resume"
	Forget Verb = "forget"
)

// An Action is what the operator confirmed.
type Action struct {
	Verb Verb
	Node subjects.NodeID
	Role subjects.Role // empty: all of the node
}

// An Order is what the model wants its caller to do: one of the two.
type Order struct {
	Do   *Action
	Copy string // to the terminal's clipboard
}

// Take gives what is to be done, and the state in which it is under way. The zero value
// is nothing.
func (m Model) Take() (Model, Order) {
	o := m.order
	m.order = Order{}
	return m, o
}

// Told shows what came of an action.
func (m Model) Told(text string, now time.Time) Model {
	m.note, m.noted, m.now = safe(text, subjects.MaxReason), now, now
	return m
}

// subject is the member that keys are about: the one shown in full, or the chosen one.
func (m *Model) subject() (t target, ok bool) {
	if m.detail != nil {
		return *m.detail, true
	}
	if r := m.chosenRow(); r != nil && r.node != "" && r.role != "" {
		return target{r.role, r.node}, true
	}
	return target{}, false
}

// ask wants an action confirmed.
func (m Model) ask(v Verb) Model {
	t, ok := m.subject()
	if !ok || !named(t) {
		return m.Told("choose a member first", m.now)
	}
	m.asked = &Action{v, t.node, t.role}
	return m
}

// named reports whether the names of t are fit for a command line and a subject.
func named(t target) bool {
	_, err := subjects.ParseNodeID(string(t.node))
	_, bad := subjects.ParseRole(string(t.role))
	return err == nil && bad == nil
}

// confirm takes a key while an action is to be confirmed.
func (m Model) confirm(key string) Model {
	a := *m.asked
	switch key {
	case "a":
		a.Role = ""
		fallthrough
	case "y":
		m.asked = nil
		if !m.opt.Operator {
			return m
		}
		m.order = Order{Do: &a}
		return m.Told(a.words()+" …", m.now)
	case "c":
		return m.copy(a.command())
	case "n", "esc", "q":
		m.asked = nil
	}
	return m
}

// question is shown while an action is to be confirmed.
func (m *Model) question() string {
	a := m.asked
	if !m.opt.Operator {
		return fmt.Sprintf("%s needs an operator's certificate:  c copy the command  esc back", a.words())
	}
	return fmt.Sprintf("%s?  y yes  a in all its roles  n no  c copy the command", a.words())
}

func (a *Action) words() string {
	if a.Role == "" {
		return fmt.Sprintf("%s %s in all its roles", a.Verb, a.Node)
	}
	return fmt.Sprintf("%s %s as %s", a.Verb, a.Node, a.Role)
}

func (a *Action) command() string {
	c := fmt.Sprintf("thor %s %s", a.Verb, a.Node)
	if a.Role != "" {
		c += " --role " + string(a.Role)
	}
	return c
}

// command is what shows the same as the page, or more of what is chosen there. Names that
// no certificate could have are left out of it.
func (m *Model) command() string {
	t, ok := m.subject()
	ok = ok && named(t)
	switch {
	case ok && m.detail != nil:
		return "thor events --since 24h --node " + string(t.node)
	case m.detail != nil:
		return "thor members"
	}
	switch m.page {
	case membersPage:
		if ok {
			return "thor members " + string(t.role)
		}
		return "thor members"
	case eventsPage:
		if ok {
			return "thor events --since 24h --node " + string(t.node)
		}
		return "thor events --since 24h"
	case lookupPage:
		if ok {
			return fmt.Sprintf("thor lookup %s --without %s", t.role, t.node)
		}
	case dnsPage:
		return "thor dns check"
	case brokersPage:
		return "thor doctor"
	}
	return "thor status"
}

// copy has a command of thor copied.
func (m Model) copy(command string) Model {
	m.order = Order{Copy: command + m.opt.Flags}
	return m.Told("copied: "+m.order.Copy, m.now)
}
