package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"thor/cmd/thor/internal/whatif"
	"thor/overlay"
	"thor/overlay/lookup"
	"thor/subjects"
)

func newLookup() *cobra.Command {
	var r reach
	var out output
	var without, sites, with []string
	var change whatif.Change
	c := &cobra.Command{
		Use: "lookup ROLE KEY…", Short: "Print which node serves a subscriber",
		Long: "Print which node serves a subscriber, \"user@domain\" or a SIP URI, and who is next.\n\n" +
			"It is computed here from the network status, as every member does. With --without, --without-site or --with no key is looked up:\n" +
			"it prints which share of the subscribers would move, and to whom. Where the members of the role stand in several sites,\n" +
			"the remote is the first in rank in another site than the owner.",
		Example: "  thor lookup sip_proxy alice@example.net sip:bob@example.net\n" +
			"  thor lookup sip_proxy --without node3\n  thor lookup sip_proxy --without-site ams\n  thor lookup sip_proxy --with node3:50 --with node9:200 -o json",
		Args: cobra.MinimumNArgs(1),
	}
	out.flag(c)
	c.Flags().StringArrayVar(&without, "without", nil, "as if this `node` left; repeatable")
	c.Flags().StringArrayVar(&sites, "without-site", nil, "as if all nodes of this `site` left; repeatable")
	c.Flags().StringArrayVar(&with, "with", nil, "as if `node:weight` joined, or had that weight; repeatable")
	before(c, func(_ *cobra.Command, args []string) (err error) {
		if _, err := parseRole(args[0]); err != nil {
			return err
		}
		if change, err = whatif.Parse(without, sites, with); err != nil {
			return usageError{err}
		}
		return checkKeys(args[1:], change.Empty())
	})
	r.informed(c, func(cmd *cobra.Command, s *session, v *overlay.View, args []string) error {
		role, keys := subjects.Role(args[0]), args[1:]
		if len(keys) == 0 {
			p, err := whatif.New(role, v.Status, change)
			if err != nil {
				return explainLookup(role, v.Status, err)
			}
			return out.print(cmd, p, func(w io.Writer) error { return printPlan(w, p) })
		}
		found, err := s.find(role, keys)
		if err != nil {
			return explainLookup(role, v.Status, err)
		}
		return out.print(cmd, found, func(w io.Writer) error { return printFound(w, found) })
	})
	r.complete(c, tablesOf)
	return c
}

// checkKeys wants keys to look up, or a change to try.
func checkKeys(keys []string, noChange bool) error {
	switch {
	case len(keys) == 0 && noChange:
		return usagef("name a key, such as alice@example.net, or try --without NODE (see thor lookup -h)")
	case len(keys) > 0 && !noChange:
		return usagef("--with, --without and --without-site tell which share moves: they take no keys")
	}
	for _, k := range keys {
		if _, err := lookup.Normalise(k); err != nil {
			return usagef("%q is neither user@domain nor a SIP URI", subjects.Printable(k, 100))
		}
	}
	return nil
}

// tablesOf are the roles that have a lookup table, sorted.
func tablesOf(s *subjects.Status) (out []string) {
	for role := range s.Lookup {
		out = append(out, string(role))
	}
	slices.Sort(out)
	return out
}

func (s *session) find(role subjects.Role, keys []string) ([]subjects.LookupResult, error) {
	found := make([]subjects.LookupResult, len(keys))
	for i, k := range keys {
		var err error
		if found[i], err = s.Find(role, k); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// explainLookup makes one line of what failed and what there is.
func explainLookup(role subjects.Role, s *subjects.Status, err error) error {
	if errors.Is(err, overlay.ErrNoTable) || errors.Is(err, whatif.ErrNoTable) {
		if have := tablesOf(s); len(have) > 0 {
			return fmt.Errorf("lookup %s: no member is in the role, or it has no lookup table; there is one for %s", role, strings.Join(have, ", "))
		}
	}
	return fmt.Errorf("lookup %s: %w", role, err)
}

func printFound(w io.Writer, found []subjects.LookupResult) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	sites := slices.ContainsFunc(found, func(f subjects.LookupResult) bool { return f.Remote != "" })
	remote := func(s subjects.NodeID) string { // a column only where there are sites
		if !sites {
			return ""
		}
		return "\t" + string(s)
	}
	fmt.Fprintf(t, "KEY\tSLOT\tOWNER\tADDRESS\tHEIR%s\tRESIDENCE\n", remote("REMOTE"))
	for _, f := range found {
		addr := "-"
		if f.OwnerAddress.IsValid() {
			addr = f.OwnerAddress.String()
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s%s\t%s\n", subjects.Printable(f.Key, 80), f.Slot, f.Owner, addr, cmp.Or(f.Heir, "-"), remote(cmp.Or(f.Remote, "-")), cmp.Or(f.Previous, f.Owner))
	}
	return t.Flush()
}

func printPlan(w io.Writer, p *whatif.Plan) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%.2f %% of the subscribers of %s would move (%d of %d slots); of %d the new owner is the heir or remote\n", 100*p.Share, p.Role, p.Moved, p.Slots, p.Held)
	if len(p.Moves) > 0 {
		fmt.Fprintln(t, "FROM\tTO\tSLOTS\tSHARE")
	}
	for _, m := range p.Moves {
		fmt.Fprintf(t, "%s\t%s\t%d\t%.2f %%\n", cmp.Or(m.From, "no node"), cmp.Or(m.To, "no node"), m.Slots, 100*m.Share)
	}
	return t.Flush()
}
