package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"thor/cmd/thor/internal/config"
)

// The exit codes of every command.
const (
	exitOK       = 0
	exitFailed   = 1
	exitUsage    = 2 // wrong usage, or wrong configuration
	exitDegraded = 3 // it works, but not everything does
)

// errDegraded ends a command with exit code 3: its output has said why.
var errDegraded = errors.New("degraded")

// usageError ends a command with exit code 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// oldNames are the programs of SIP Thor and the subcommands that replace them:
// a link of that name to this binary works like the old program.
var oldNames = map[string]string{
	"thor-eventserver": "broker",
	"thor-manager":     "manager",
	"thor-database":    "database",
	"thor-dns":         "dns",
	"thor-node":        "node",
	"thor-monitor":     "monitor",
}

// run is main without the process: args[0] is the program's name.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot(stdout, stderr)
	rest := args[1:]
	if sub, ok := oldNames[filepath.Base(args[0])]; ok {
		rest = append([]string{sub}, rest...)
	}
	root.SetArgs(rest)
	err := root.ExecuteContext(ctx)
	return exitCode(err, stderr)
}

func exitCode(err error, stderr io.Writer) int {
	var problems config.Problems
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errDegraded):
		return exitDegraded
	case errors.As(err, &problems):
		fmt.Fprintln(stderr, problems)
		return exitUsage
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "thor: %v\n", err)
		return exitUsage
	}
	fmt.Fprintf(stderr, "thor: %v\n", err)
	return exitFailed
}

func newRoot(stdout, stderr io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:   "thor",
		Short: "A self-healing overlay for SIP platforms",
		Long: "thor keeps a network of SIP proxies, media relays and their kin together:\n" +
			"it knows which members are alive, tells everybody the same, and answers DNS with them.",
		Example:       "  thor up                 # a whole network on this machine\n  thor monitor            # watch it\n  thor status -o json",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = cmd.Usage()
			return usagef("name a command, for example: thor up")
		},
	}
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w (see %s -h)", err, cmd.CommandPath())
	})
	root.AddCommand(
		newUp(), newBroker(), newManager(), newNode(), newDNS(), newDatabase(),
		newMonitor(), newStatus(), newMembers(), newEvents(), newDrain(), newResume(),
		newCA(), newConfig(), newDoctor(), newContext(), newVersion(), newSIPResponder(),
	)
	for _, c := range root.Commands() {
		refuseStrayWords(c)
	}
	return root
}

// refuseStrayWords makes wrong arguments a usage error everywhere.
func refuseStrayWords(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usagef("%w (see %s -h)", err, cmd.CommandPath())
			}
			return nil
		}
	}
	for _, s := range c.Commands() {
		refuseStrayWords(s)
	}
}
