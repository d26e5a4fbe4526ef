package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"thor/cmd/thor/internal/config"
	"thor/cmd/thor/internal/examine"
)

func newConfig() *cobra.Command {
	c := &cobra.Command{
		Use: "config", Short: "Work with configuration files", Example: "  thor config check /etc/thor/thor.toml", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return nameSubcommand(cmd) },
	}
	c.AddCommand(&cobra.Command{
		Use: "check FILE…", Short: "Report every problem of configuration files",
		Long: "Report every problem of configuration files with its line, and whether the certificate allows what the file wants.\n" +
			"Nothing is changed and nothing is connected to. Exit 2 when there are problems.",
		Example: "  thor config check /etc/thor/*.toml", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var all config.Problems
			for _, path := range args {
				ps := examine.All(path).Problems
				all = append(all, ps...)
				if len(ps) == 0 {
					fmt.Fprintf(cmd.OutOrStdout(), "%s: good\n", path)
				}
			}
			if len(all) > 0 {
				return all
			}
			return nil
		},
	})
	return c
}
