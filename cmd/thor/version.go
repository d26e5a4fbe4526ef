package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"thor/subjects"
)

// version is set at link time: -X main.version=1.2.3.
var version = "0.1.0-dev"

func versionString() string { return version }

func newVersion() *cobra.Command {
	var out output
	c := &cobra.Command{
		Use: "version", Short: "Print the versions of thor, Go, the NATS server and the protocol",
		Example: "  thor version -o json", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := map[string]string{
				"thor": version, "go": runtime.Version(), "nats_server": module("github.com/nats-io/nats-server/v2"),
				"protocol": fmt.Sprint(subjects.Version),
			}
			return out.print(cmd, v, text(fmt.Sprintf("thor %s\n%s\nnats-server %s\nprotocol %s\n", v["thor"], v["go"], v["nats_server"], v["protocol"])))
		},
	}
	out.flag(c)
	return c
}

func module(path string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, m := range info.Deps {
		if m.Path == path {
			return m.Version
		}
	}
	return "unknown"
}
