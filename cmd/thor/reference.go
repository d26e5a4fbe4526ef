package main

import (
	"github.com/spf13/cobra"

	"thor/cmd/thor/internal/reference"
)

func newConfigReference() *cobra.Command {
	var out output
	c := &cobra.Command{
		Use: "reference [KEY…]", Short: "Print every key of a configuration file",
		Long: "Print every key of a configuration file, or the tables and keys that are named: what it is for, its type, bounds and default,\n" +
			"and whether SIGHUP applies it. The text is a file to fill in, with everything commented out.",
		Example: "  thor config reference dns broker.lame_duck", Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			tables, err := reference.Select(reference.Tables(), args)
			if err != nil {
				return usageError{err}
			}
			return out.print(cmd, tables, text(reference.TOML(tables)))
		},
	}
	out.flag(c)
	return c
}
