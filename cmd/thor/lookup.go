package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"thor/overlay"
	"thor/overlay/lookup"
	"thor/subjects"
)

func newLookup() *cobra.Command {
	var r reach
	var out string
	var w whatIf
	c := &cobra.Command{
		Use: "lookup ROLE KEY…", Short: "Print which node serves a subscriber",
		Long: "Print which node serves a subscriber, \"user@domain\" or a SIP URI, and who is next.\n\n" +
			"It is computed here from the network status, as every member does. With --without or --with no key is looked up:\n" +
			"it prints which share of the subscribers would move, and to whom.",
		Example: "  thor lookup sip_proxy alice@example.net sip:bob@example.net\n" +
			"  thor lookup sip_proxy --without node3\n  thor lookup sip_proxy --with node3:50 --with node9:200 -o json",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			role, keys := subjects.Role(args[0]), args[1:]
			if err := w.check(role, keys); err != nil {
				return err
			}
			s, err := r.open(cmd.Context())
			if err != nil {
				return err
			}
			defer s.end()
			v, err := s.status(cmd.Context())
			if err != nil {
				return err
			}
			if len(keys) == 0 {
				p, err := w.plan(role, v.Status)
				if err != nil {
					return fmt.Errorf("lookup %s: %w", role, err)
				}
				return p.print(cmd.OutOrStdout(), out)
			}
			found, err := s.find(role, keys)
			if err != nil {
				return explainLookup(role, v.Status, err)
			}
			return printFound(cmd.OutOrStdout(), out, found)
		},
	}
	r.flags(c)
	outputFlag(c, &out)
	c.Flags().StringArrayVar(&w.without, "without", nil, "as if this `node` left; repeatable")
	c.Flags().StringArrayVar(&w.with, "with", nil, "as if `node:weight` joined, or had that weight; repeatable")
	c.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		return r.complete(cmd.Context(), len(args) == 0, func(s *subjects.Status) []string { return tablesOf(s) })
	}
	return c
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
	if errors.Is(err, overlay.ErrNoTable) {
		if have := tablesOf(s); len(have) > 0 {
			return fmt.Errorf("lookup %s: no member is in the role, or it has no lookup table; there is one for %s", role, strings.Join(have, ", "))
		}
	}
	return fmt.Errorf("lookup %s: %w", role, err)
}

func printFound(w io.Writer, form string, found []subjects.LookupResult) error {
	if form == "json" {
		for i := range found { // node names, as documented; thor members has the addresses
			found[i].OwnerAddress, found[i].HeirAddress = netip.Addr{}, netip.Addr{}
		}
		return json.NewEncoder(w).Encode(found)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "KEY\tSLOT\tOWNER\tADDRESS\tHEIR\tRESIDENCE")
	for _, f := range found {
		addr := "-"
		if f.OwnerAddress.IsValid() {
			addr = f.OwnerAddress.String()
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%s\n", subjects.Printable(f.Key, 80), f.Slot, f.Owner, addr, cmp.Or(f.Heir, "-"), cmp.Or(f.Previous, f.Owner))
	}
	return t.Flush()
}

// whatIf are changes to try.
type whatIf struct{ without, with []string }

func (w *whatIf) check(role subjects.Role, keys []string) error {
	if _, err := subjects.ParseRole(string(role)); err != nil {
		return usageError{err}
	}
	tries := len(w.with) + len(w.without)
	switch {
	case len(keys) == 0 && tries == 0:
		return usagef("name a key, such as alice@example.net, or try --without NODE (see thor lookup -h)")
	case len(keys) > 0 && tries > 0:
		return usagef("--with and --without tell which share moves: they take no keys")
	}
	for _, k := range keys {
		if _, err := lookup.Normalise(k); err != nil {
			return usagef("%q is neither user@domain nor a SIP URI", subjects.Printable(k, 100))
		}
	}
	_, err := w.apply(nil)
	return err
}

// apply changes members; those to leave that are not there are an error, unless
// members is nil, for a check of the names alone.
func (w *whatIf) apply(members []lookup.Member) ([]lookup.Member, error) {
	out := slices.Clone(members)
	at := func(n subjects.NodeID) int {
		return slices.IndexFunc(out, func(m lookup.Member) bool { return m.Node == n })
	}
	for _, name := range w.without {
		n, err := subjects.ParseNodeID(name)
		if err != nil {
			return nil, usageError{fmt.Errorf("--without: %w", err)}
		}
		i := at(n)
		if i < 0 && members != nil {
			return nil, fmt.Errorf("--without: %s is not in the role", n)
		}
		if i >= 0 {
			out = slices.Delete(out, i, i+1)
		}
	}
	for _, s := range w.with {
		name, weight, ok := strings.Cut(s, ":")
		n, err := subjects.ParseNodeID(name)
		if err != nil {
			return nil, usageError{fmt.Errorf("--with: %w", err)}
		}
		x, err := strconv.Atoi(weight)
		if !ok || err != nil || x < 0 || x > 65535 {
			return nil, usagef("--with %q: write it as NODE:WEIGHT, weight 0 to 65535 (100 is usual)", s)
		}
		if i := at(n); i >= 0 {
			out[i] = lookup.Member{Node: n, Weight: x}
		} else {
			out = append(out, lookup.Member{Node: n, Weight: x})
		}
	}
	return out, nil
}

// A plan is what would move.
type plan struct {
	Role       subjects.Role `json:"role"`
	Slots      int           `json:"slots"`
	Moved      int           `json:"moved"` // slots
	Share      float64       `json:"share"` // of all subscribers, 0 to 1
	Moves      []planMove    `json:"moves"` // greatest first
	Epoch      uint64        `json:"epoch"`
	Generation uint64        `json:"generation"`
}

type planMove struct {
	From  subjects.NodeID `json:"from"`
	To    subjects.NodeID `json:"to"`
	Slots int             `json:"slots"`
	Share float64         `json:"share"`
}

func (w *whatIf) plan(role subjects.Role, s *subjects.Status) (*plan, error) {
	l, ok := s.Lookup[role]
	if !ok {
		return nil, explainLookup(role, s, overlay.ErrNoTable)
	}
	before := lookup.Members(s.Roles[role])
	after, err := w.apply(before)
	if err != nil {
		return nil, err
	}
	now, err := lookup.New(l.Bits, before)
	if err != nil {
		return nil, err
	}
	if now.Digest() != l.Digest {
		return nil, overlay.ErrTableDiffers
	}
	then, err := now.Update(after)
	if err != nil {
		return nil, err
	}
	return newPlan(role, s, now, then), nil
}

func newPlan(role subjects.Role, s *subjects.Status, now, then *lookup.Table) *plan {
	p := &plan{Role: role, Slots: 1 << now.Bits(), Moves: []planMove{}, Epoch: s.Epoch, Generation: s.Generation}
	count := make(map[planMove]int)
	for m := range now.Moves(then) {
		count[planMove{From: m.From, To: m.To}]++
		p.Moved++
	}
	share := func(n int) float64 { return float64(n) / float64(p.Slots) }
	p.Share = share(p.Moved)
	for m, n := range count {
		m.Slots, m.Share = n, share(n)
		p.Moves = append(p.Moves, m)
	}
	slices.SortFunc(p.Moves, func(a, b planMove) int {
		return cmp.Or(cmp.Compare(b.Slots, a.Slots), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	return p
}

func (p *plan) print(w io.Writer, form string) error {
	if form == "json" {
		return json.NewEncoder(w).Encode(p)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%.2f %% of the subscribers of %s would move (%d of %d slots)\n", 100*p.Share, p.Role, p.Moved, p.Slots)
	if len(p.Moves) > 0 {
		fmt.Fprintln(t, "FROM\tTO\tSLOTS\tSHARE")
	}
	for _, m := range p.Moves {
		fmt.Fprintf(t, "%s\t%s\t%d\t%.2f %%\n", cmp.Or(m.From, "nobody"), cmp.Or(m.To, "nobody"), m.Slots, 100*m.Share)
	}
	return t.Flush()
}
