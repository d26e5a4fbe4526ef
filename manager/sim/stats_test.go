package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"thor/manager/election"
)

// stats count what happened, over all runs.
type stats struct {
	mu     sync.Mutex
	counts map[string]map[string]int
}

func newStats() *stats { return &stats{counts: map[string]map[string]int{}} }

func (s *stats) count(kind, name string) { s.add(kind, name, 1) }

func (s *stats) add(kind, name string, n int) {
	k := s.counts[kind]
	if k == nil {
		k = map[string]int{}
		s.counts[kind] = k
	}
	k[name] += n
}

// transition counts what the election did upon what.
func (s *stats) transition(in election.Input, a election.Action) {
	s.count("transition", name(in)+" → "+name(a))
}

var names sync.Map

// name is the type of x without its package.
func name(x any) string {
	full := fmt.Sprintf("%T", x)
	if n, ok := names.Load(full); ok {
		return n.(string)
	}
	n := full[strings.LastIndexByte(full, '.')+1:]
	names.Store(full, n)
	return n
}

// merge adds the counts of o.
func (s *stats) merge(o *stats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for kind, k := range o.counts {
		for name, n := range k {
			s.add(kind, name, n)
		}
	}
}

func (s *stats) String() string {
	var b strings.Builder
	for _, kind := range slices.Sorted(maps.Keys(s.counts)) {
		fmt.Fprintf(&b, "%s:", kind)
		for _, name := range slices.Sorted(maps.Keys(s.counts[kind])) {
			fmt.Fprintf(&b, " %s %d;", name, s.counts[kind][name])
		}
		b.WriteByte('\n')
	}
	return b.String()
}
