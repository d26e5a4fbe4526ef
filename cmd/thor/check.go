package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"thor/cmd/thor/internal/config"
	"thor/cmd/thor/internal/examine"
)

func newConfig() *cobra.Command {
	c := &cobra.Command{
		Use: "config", Short: "Work with configuration files", Example: "  thor config check /etc/thor/thor.toml", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return nameSubcommand(cmd) },
	}
	c.AddCommand(newConfigCheck(), newConfigReference())
	return c
}

// A checked file is one of thor config check -o json.
type checkedFile struct {
	File     string       `json:"file"`
	Problems []checkedKey `json:"problems"` // in the order of the file's lines
	Warnings []checkedKey `json:"warnings,omitempty"`
}

type checkedKey struct {
	Line int    `json:"line,omitempty"` // 1-based
	Key  string `json:"key,omitempty"`
	Text string `json:"text"`
}

func newConfigCheck() *cobra.Command {
	var out output
	c := &cobra.Command{
		Use: "check FILE…", Short: "Report every problem of configuration files",
		Long: "Report every problem of configuration files with its line, and whether the certificate allows what the file wants.\n" +
			"What is no fault and may be regretted is a warning. Nothing is changed and nothing is connected to. Exit 2 when there are problems.",
		Example: "  thor config check /etc/thor/*.toml", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var all config.Problems
			files := make([]checkedFile, len(args))
			for i, path := range args {
				found := examine.All(path)
				files[i] = checkedFile{File: path, Problems: checkedKeys(found.Problems), Warnings: checkedKeys(found.Warnings)}
				all = append(all, found.Problems...)
				for _, w := range found.Warnings {
					if out != "json" {
						warn(cmd, "%s", w)
					}
				}
			}
			err := out.print(cmd, files, func(w io.Writer) error { return printGood(w, files) })
			switch {
			case err != nil || len(all) == 0:
				return err
			case out == "json":
				return errBadConfig
			}
			return all
		},
	}
	out.flag(c)
	return c
}

func checkedKeys(ps config.Problems) []checkedKey {
	out := []checkedKey{}
	for _, p := range ps {
		out = append(out, checkedKey{p.Line, p.Key, p.Text})
	}
	return out
}

func printGood(w io.Writer, files []checkedFile) error {
	for _, f := range files {
		if len(f.Problems) > 0 {
			continue
		}
		if _, err := fmt.Fprintf(w, "%s: good\n", f.File); err != nil {
			return err
		}
	}
	return nil
}
