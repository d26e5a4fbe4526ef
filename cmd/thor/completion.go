package main

import (
	"context"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"thor/cmd/thor/internal/up"
	"thor/subjects"
)

const noFiles = cobra.ShellCompDirectiveNoFileComp

// completeFlag offers the values of a flag that has few.
func completeFlag(c *cobra.Command, flag string, values ...string) {
	completeFlagBy(c, flag, func(*cobra.Command, []string) []string { return values })
}

func completeFlagBy(c *cobra.Command, flag string, values func(cmd *cobra.Command, args []string) []string) {
	err := c.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		return values(cmd, args), noFiles
	})
	if err != nil {
		panic(err) // the command has no such flag
	}
}

// completeSite makes the flag --site of c one of the sites of the network.
func (r *reach) completeSite(c *cobra.Command) {
	completeFlagBy(c, "site", func(cmd *cobra.Command, _ []string) []string {
		return r.pick(cmd.Context(), func(s *subjects.Status) []string { return names(s.Places()) })
	})
}

// complete makes the first argument of c one of those that pick finds in the
// status of the network.
func (r *reach) complete(c *cobra.Command, pick func(*subjects.Status) []string) {
	c.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, noFiles
		}
		return r.pick(cmd.Context(), pick), noFiles
	}
}

// pick asks the network briefly; what is not there is not offered.
func (r *reach) pick(ctx context.Context, pick func(*subjects.Status) []string) []string {
	r.timeout = time.Second
	s, err := r.open(ctx)
	if err != nil {
		return nil
	}
	defer s.end()
	v, err := s.status(ctx)
	if err != nil {
		return nil
	}
	return pick(v.Status)
}

// roleNames are the roles of a status.
func roleNames(s *subjects.Status) []string { return names(s.RoleNames()) }

// rolesOf are the roles of one node.
func rolesOf(node string) func(*subjects.Status) []string {
	return func(s *subjects.Status) (out []string) {
		for _, role := range s.RoleNames() {
			if s.Member(role, subjects.NodeID(node)) != nil {
				out = append(out, string(role))
			}
		}
		return out
	}
}

func names[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, x := range list {
		out[i] = string(x)
	}
	return out
}

// processNames are those of the thor up in dir, but those in args.
func processNames(dir string, args []string) (out []string) {
	n, err := up.ReadNetwork(filepath.Join(dir, up.NetworkFile))
	if err != nil {
		return nil
	}
	given := make(map[string]bool)
	for _, a := range args {
		given[a] = true
	}
	for _, p := range n.Processes {
		if !given[p.Name] {
			out = append(out, p.Name)
		}
	}
	return out
}
