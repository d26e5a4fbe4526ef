package main

import "github.com/spf13/cobra"

func newDatabase() *cobra.Command { return &cobra.Command{Use: "database", Hidden: true} }
