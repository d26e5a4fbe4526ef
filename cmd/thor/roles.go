package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"thor/cmd/thor/internal/suggest"
	"thor/subjects"
)

// warn tells on standard error what may be a mistake; the command goes on.
func warn(cmd *cobra.Command, format string, args ...any) {
	fmt.Fprintf(cmd.ErrOrStderr(), "thor: warning: "+format+"\n", args...)
}

// parseRole makes a name that is no role's a usage error.
func parseRole(name string) (subjects.Role, error) {
	role, err := subjects.ParseRole(name)
	if err != nil {
		return "", usageError{err}
	}
	return role, nil
}

// suggestRole is a question, such as ", did you mean sip_proxy?", if a role has
// nearly that name: one of others, or one that thor knows.
func suggestRole(role subjects.Role, others []subjects.Role) string {
	known := append(names(others), names(subjects.KnownRoles())...)
	if near := suggest.Nearest(string(role), known); near != "" {
		return fmt.Sprintf(", did you mean %s?", near)
	}
	return ""
}
