package main

import (
	"fmt"
	"net/netip"

	"github.com/spf13/cobra"

	"thor/cmd/thor/internal/config"
	"thor/identity"
	"thor/subjects"
)

func newConfig() *cobra.Command {
	c := &cobra.Command{
		Use: "config", Short: "Work with configuration files", Example: "  thor config check /etc/thor/node.toml", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { _ = cmd.Usage(); return usagef("name what to do") },
	}
	c.AddCommand(&cobra.Command{
		Use: "check FILE…", Short: "Report every problem of configuration files",
		Long: "Report every problem of configuration files with its line, and whether the certificate allows what the file wants.\n" +
			"Nothing is changed and nothing is connected to. Exit 2 when there are problems.",
		Example: "  thor config check /etc/thor/*.toml", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var all config.Problems
			for _, path := range args {
				ps := checkFile(path)
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

// checkFile is config.Load and what only the certificate can tell.
func checkFile(path string) config.Problems {
	f, err := config.Load(path)
	if err != nil {
		if ps, ok := err.(config.Problems); ok {
			return ps
		}
		return config.Problems{{File: path, Text: err.Error()}}
	}
	creds, err := identity.Load(identity.Files{Cert: f.Network.Certificate, Key: f.Network.Key, CA: f.Network.CA})
	if err != nil {
		return config.Problems{{File: path, Key: "network.certificate", Text: err.Error()}}
	}
	return certified(f, creds.Identity())
}

// certified compares what a configuration wants with what its certificate allows.
func certified(f *config.File, id *identity.Identity) (ps config.Problems) {
	add := func(key, format string, args ...any) {
		ps = append(ps, f.Problem(key, format, args...))
	}
	if id.Domain != f.Network.Domain {
		add("network.domain", "is %q, but the certificate is for %q", f.Network.Domain, id.Domain)
	}
	need := func(key string, role subjects.Role, addrs []netip.Addr) {
		if !id.Has(role) {
			add(key, "the certificate of %s does not carry the role %s: issue one with --role %s", id.Node, role, role)
		}
		for _, a := range addrs {
			if !id.MayUse(a) {
				add(key, "the certificate of %s does not hold the address %s: issue one with --ip %s", id.Node, a, a)
			}
		}
	}
	if b := f.Broker; b != nil {
		need("broker", subjects.EventServer, b.Addresses)
	}
	if m := f.Manager; m != nil {
		need("manager", subjects.Manager, m.Addresses)
	}
	if d := f.DNS; d != nil {
		need("dns", subjects.DNSManager, d.Addresses)
	}
	if d := f.Database; d != nil {
		need("database", subjects.Database, d.Addresses)
	}
	if f.Node != nil {
		for i, r := range f.Node.Roles {
			need(fmt.Sprintf("node.role[%d]", i), subjects.Role(r.Role), r.Addresses)
		}
	}
	return ps
}
