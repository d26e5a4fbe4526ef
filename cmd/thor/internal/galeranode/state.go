// Package galeranode starts a node of a Galera cluster for thor up, as Debian's unit of
// MariaDB does: a node that was killed has to be told the position of its data, or it
// asks the others for all of it.
package galeranode

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// A State is what the file grastate.dat in the directory of the data says.
type State struct {
	UUID  string // of the cluster's history
	Seqno int64  // of the last change that the data have; -1: not known, the node was killed
	Safe  bool   // the node was the last one to leave, and may begin the cluster anew
}

const (
	noUUID    = "00000000-0000-0000-0000-000000000000"
	stateFile = "grastate.dat"
	viewFile  = "gvwstate.dat" // of nodes that were killed: by it they look for each other
)

// Parse reads a state. What is missing is not known.
func Parse(text string) State {
	s := State{UUID: noUUID, Seqno: -1}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(key) {
		case "uuid":
			s.UUID = value
		case "seqno":
			if n, err := strconv.ParseInt(value, 10, 64); err == nil {
				s.Seqno = n
			}
		case "safe_to_bootstrap":
			s.Safe = value == "1"
		}
	}
	return s
}

// String is the content of the file.
func (s State) String() string {
	safe := 0
	if s.Safe {
		safe = 1
	}
	return fmt.Sprintf("# GALERA saved state\nversion: 2.1\nuuid:    %s\nseqno:   %d\nsafe_to_bootstrap: %d\n", s.UUID, s.Seqno, safe)
}

// Position is what mariadbd is told as wsrep_start_position.
func (s State) Position() string { return fmt.Sprintf("%s:%d", s.UUID, s.Seqno) }

// Known reports whether the position is one from which the others' changes can be added.
func (s State) Known() bool { return s.UUID != noUUID && s.Seqno >= 0 }

// Recovered finds the position in what mariadbd --wsrep-recover logs.
func Recovered(log string) (State, bool) {
	const mark = "WSREP: Recovered position: "
	i := strings.LastIndex(log, mark)
	if i < 0 {
		return State{}, false
	}
	text, _, _ := strings.Cut(log[i+len(mark):], "\n")
	text, _, _ = strings.Cut(text, ",") // the position of another kind of replication follows
	uuid, number, _ := strings.Cut(strings.TrimSpace(text), ":")
	n, err := strconv.ParseInt(number, 10, 64)
	return State{UUID: uuid, Seqno: n}, err == nil && len(uuid) == len(noUUID)
}

// Newest is the index of the state from which a cluster begins anew without losing a
// change: the most advanced one.
func Newest(states []State) int {
	best := 0
	for i, s := range states {
		if c := cmp.Compare(s.Seqno, states[best].Seqno); c > 0 || c == 0 && s.Safe && !states[best].Safe {
			best = i
		}
	}
	return best
}
