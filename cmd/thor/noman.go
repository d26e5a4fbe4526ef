//go:build !man

package main

import "github.com/spf13/cobra"

// packaging is empty in a normal build: see man.go.
func packaging() []*cobra.Command { return nil }
