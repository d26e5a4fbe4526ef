//go:build man

package main

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cpuguy83/go-md2man/v2/md2man"
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"thor/cmd/thor/internal/reference"
)

// packaging are the commands that only making a package needs: just packages.
func packaging() []*cobra.Command {
	return []*cobra.Command{{
		Use: "man DIR [PAGE.md…]", Short: "Write the manual pages, and those that are written by hand", Hidden: true,
		Example: "  thor man dist/man deploy/thor.7.md", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true
			page := md2man.Render([]byte(reference.Manual(reference.Tables())))
			if err := os.WriteFile(filepath.Join(args[0], "thor.toml.5"), page, 0o644); err != nil {
				return err
			}
			for _, p := range args[1:] {
				source, err := os.ReadFile(p)
				if err != nil {
					return err
				}
				to := filepath.Join(args[0], strings.TrimSuffix(filepath.Base(p), ".md"))
				if err := os.WriteFile(to, md2man.Render(source), 0o644); err != nil {
					return err
				}
			}
			day := time.Unix(0, 0) // the same bytes for the same commands
			return doc.GenManTree(root, &doc.GenManHeader{Title: "THOR", Section: "1", Source: "thor", Manual: "thor", Date: &day}, args[0])
		},
	}}
}
