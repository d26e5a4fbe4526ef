package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"thor/subjects"
)

// drainsAtOnce is how many nodes of a site are asked beside each other.
const drainsAtOnce = 16

// everywhere drains or resumes every node of a site, each as by itself. A drain says first what
// is left elsewhere, and does nothing that would take the last of a role unless forced.
func (m *maintenance) everywhere(cmd *cobra.Command, s *session, force bool) error {
	v, err := s.status(cmd.Context())
	if err != nil {
		return err
	}
	nodes, err := nodesAt(v.Status, m.site, m.role)
	if err != nil {
		return err
	}
	out, warnings := &linewise{w: cmd.OutOrStdout()}, &linewise{w: cmd.ErrOrStderr()}
	if m.drains {
		e := elsewhere(v.Status, m.site, m.role)
		if last := e.last(); len(last) > 0 && !force {
			return fmt.Errorf("drain --site %s: nothing was done, no other site would serve %s%s (--force)", m.site, joinRoles(last), e.suspects())
		}
		if _, err := fmt.Fprint(out, e.lines(m.site)); err != nil {
			return err
		}
	}
	roles := make([][]subjects.Role, len(nodes))
	return together(warnings, inTwo(len(nodes), func(i int) (err error) {
		_, roles[i], err = m.of(nodes[i]).obey(cmd.Context(), s, v.Status, out, warnings)
		return err
	}, func(i int) error {
		return m.of(nodes[i]).idle(cmd.Context(), s, roles[i], out, warnings)
	}))
}

// of is m for one node.
func (m maintenance) of(node subjects.NodeID) *maintenance {
	m.node = node
	return &m
}

// inTwo does obey for each of n nodes, some at once, and only then waits for all whose obey
// succeeded, together: none of a site is to take the work of another one. It returns what failed.
func inTwo(n int, obey, idle func(i int) error) []error {
	faults := make([]error, n)
	var g errgroup.Group
	g.SetLimit(drainsAtOnce)
	for i := range n {
		g.Go(func() error { faults[i] = obey(i); return nil })
	}
	_ = g.Wait()
	var all sync.WaitGroup
	for i := range n {
		if faults[i] == nil || errors.Is(faults[i], errDegraded) {
			all.Go(func() { faults[i] = cmp.Or(idle(i), faults[i]) })
		}
	}
	all.Wait()
	return faults
}

// together is the outcome of several nodes: each fault is told, and the worst is returned.
func together(warnings io.Writer, faults []error) error {
	var worst error
	failed := 0
	for _, err := range faults {
		switch {
		case err == nil:
		case errors.Is(err, context.Canceled):
			return err
		case errors.Is(err, errDegraded): // it was told
			if worst == nil {
				worst = errDegraded
			}
		default:
			failed++
			_, _ = fmt.Fprintf(warnings, "thor: %v\n", err)
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d nodes failed", failed, len(faults))
	}
	return worst
}

// drainable reports whether a role is one that drains: brokers and screens are left alone.
func drainable(r subjects.Role) bool { return r != subjects.EventServer && r != subjects.Monitor }

// nodesAt are the nodes of a site that have a role to drain, or only that one, sorted. The error
// names the sites that there are.
func nodesAt(s *subjects.Status, site subjects.Site, only subjects.Role) (nodes []subjects.NodeID, err error) {
	for r, ms := range s.Roles {
		for i := range ms {
			if drainable(r) && (only == "" || r == only) && ms[i].Place() == site {
				nodes = append(nodes, ms[i].Node)
			}
		}
	}
	slices.Sort(nodes)
	if nodes = slices.Compact(nodes); len(nodes) > 0 {
		return nodes, nil
	}
	switch places := s.Places(); {
	case slices.Contains(places, site) && only != "":
		return nil, fmt.Errorf("site %s has no %s%s", site, only, suggestRole(only, s.RoleNames()))
	case slices.Contains(places, site):
		return nil, fmt.Errorf("site %s has brokers only, which do not drain", site)
	}
	return nil, noSite(s, site)
}

// noSite says that s has no member in site, and which sites there are.
func noSite(s *subjects.Status, site subjects.Site) error {
	places := s.Places()
	if len(places) == 0 {
		return fmt.Errorf("no site %s: no member says where it is", site)
	}
	return fmt.Errorf("no site %s: there are %s", site, strings.Join(names(places), ", "))
}

type remainders []subjects.Remainder

// elsewhere is what each role that a site serves and that drains, or only one, would have left without it.
func elsewhere(s *subjects.Status, site subjects.Site, only subjects.Role) remainders {
	return slices.DeleteFunc(s.Without(site), func(x subjects.Remainder) bool {
		return !drainable(x.Role) || only != "" && x.Role != only
	})
}

// last are the roles of which nothing is left.
func (e remainders) last() (out []subjects.Role) {
	for _, x := range e {
		if x.Left == 0 {
			out = append(out, x.Role)
		}
	}
	return out
}

// suspects names the roles that have members elsewhere which do not count.
func (e remainders) suspects() string {
	var rs []subjects.Role
	for _, x := range e {
		if x.Left == 0 && x.Kept > 0 {
			rs = append(rs, x.Role)
		}
	}
	if len(rs) == 0 {
		return ""
	}
	return ": suspect members of " + joinRoles(rs) + " do not count"
}

// lines say what is left.
func (e remainders) lines(without subjects.Site) string {
	var parts []string
	for _, x := range e {
		part := fmt.Sprintf("%s %d of %d", x.Role, x.Left, x.Left+x.Kept+x.Here)
		if x.Kept > 0 {
			part += fmt.Sprintf(" and %d suspect", x.Kept)
		}
		parts = append(parts, part)
	}
	if len(parts) == 0 {
		return ""
	}
	return fmt.Sprintf("left without %s: %s\n", without, strings.Join(parts, ", "))
}

// A linewise writes what several tell at once, one whole text after the other.
type linewise struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *linewise) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
