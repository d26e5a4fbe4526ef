package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"thor/cmd/thor/internal/config"
	"thor/cmd/thor/internal/up"
	"thor/identity"
)

// The exit codes of every command.
const (
	exitOK       = 0
	exitFailed   = 1
	exitUsage    = 2 // wrong usage, or wrong configuration
	exitDegraded = 3 // it works, but not everything does
	// exitRestart is of daemons alone (EX_TEMPFAIL of sysexits.h): end, and start me again.
	exitRestart = up.ExitRestart
)

// errDegraded ends a command with exit code 3, errBadConfig with 2: its output
// has said why.
var (
	errDegraded  = errors.New("degraded")
	errBadConfig = errors.New("the configuration has problems")
	errRestart   = errors.New("ended on request, to be started again")
)

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
	case errors.Is(err, errRestart):
		return exitRestart
	case errors.Is(err, errBadConfig):
		return exitUsage
	case errors.As(err, &problems):
		fmt.Fprintln(stderr, problems)
		return exitUsage
	case errors.As(err, &usage), errors.Is(err, identity.ErrRequest), errors.Is(err, identity.ErrDomain):
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
			return nameSubcommand(cmd)
		},
	}
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w (see %s -h)", err, cmd.CommandPath())
	})
	root.AddCommand(
		newUp(), newBroker(), newManager(), newNode(), newDNS(), newDatabase(), newProvisioning(), newWeb(),
		newMonitor(), newStatus(), newMembers(), newEvents(), newLookup(), newDrain(), newResume(),
		newForget(), newConfirm(), newHold(), newRescue(), newRestart(), newWait(),
		newCA(), newConfig(), newDoctor(), newContext(), newVersion(), newSIPResponder(), newGaleraNode(),
	)
	root.AddCommand(packaging()...)
	amendDefaults(root)
	refuseStrayWords(root)
	return root
}

// nameSubcommand ends a command that only groups others: it lists them.
func nameSubcommand(cmd *cobra.Command) error {
	fmt.Fprint(cmd.ErrOrStderr(), cmd.UsageString())
	return usagef("name what to do, as in: %s", strings.TrimSpace(strings.SplitN(cmd.Example, "\n", 2)[0]))
}

// amendDefaults makes cobra's own commands like ours: each has an example, and
// a wrong word is an error.
func amendDefaults(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for path, example := range map[string]string{
		"help":                  "thor help ca issue",
		"completion":            "thor completion bash > /etc/bash_completion.d/thor",
		"completion bash":       "thor completion bash > /etc/bash_completion.d/thor",
		"completion zsh":        "thor completion zsh > \"${fpath[1]}/_thor\"",
		"completion fish":       "thor completion fish > ~/.config/fish/completions/thor.fish",
		"completion powershell": "thor completion powershell | Out-String | Invoke-Expression",
	} {
		if c, _, err := root.Find(strings.Fields(path)); err == nil {
			c.Example = "  " + example
		}
	}
	if c, _, err := root.Find([]string{"completion"}); err == nil {
		c.Args = cobra.NoArgs
		c.RunE = func(cmd *cobra.Command, _ []string) error { return nameSubcommand(cmd) }
	}
	if c, _, err := root.Find([]string{"help"}); err == nil {
		c.Args = cobra.ArbitraryArgs
		c.Run, c.RunE = nil, func(_ *cobra.Command, args []string) error {
			about, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return usagef("there is no command %q (see thor -h)", strings.Join(args, " "))
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		}
	}
}

// refuseStrayWords makes wrong arguments of c and those below it a usage error.
func refuseStrayWords(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			err := check(cmd, args)
			switch {
			case err == nil:
				return nil
			case cmd.HasAvailableSubCommands() && len(args) > 0:
				return usagef("there is no command %q%s (see %s -h)", args[0], didYouMean(cmd, args[0]), cmd.CommandPath())
			}
			return usagef("wrong number of arguments, write it like: %s (see %s -h)", cmd.UseLine(), cmd.CommandPath())
		}
	}
	for _, s := range c.Commands() {
		refuseStrayWords(s)
	}
}

func didYouMean(cmd *cobra.Command, word string) string {
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(word); len(near) > 0 {
		return ", did you mean " + strings.Join(near, " or ") + "?"
	}
	return ""
}
