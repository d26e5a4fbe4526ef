package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
	"github.com/spf13/cobra"

	"thor/cmd/thor/internal/config"
	"thor/cmd/thor/internal/doctor/gather"
	"thor/dnsagent/compare"
	"thor/dnsagent/zone"
	"thor/overlay"
	"thor/subjects"
)

// A dnsCheck is what thor dns check -o json prints.
type dnsCheck struct {
	Servers     []checkedServer      `json:"servers"`
	Parent      []checkedParent      `json:"parent"`
	Differences []compare.Difference `json:"differences"`
}

type checkedServer struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	Serial  uint32 `json:"serial,omitempty"`
	Behind  uint32 `json:"behind"` // generations
	LagMS   int64  `json:"lag_ms"` // until it had the newest serial
}

type checkedParent struct {
	Name    string `json:"name"`
	Address string `json:"address"`
}

// checkFlags are those of thor dns check.
type checkFlags struct {
	resolver string
	parents  []string
	noParent bool
	wait     time.Duration
}

func newDNSCheck() *cobra.Command {
	var r reach
	var out output
	var f checkFlags
	c := &cobra.Command{
		Use: "check", Short: "Compare all name servers of the network, and the parent's delegation",
		Long: "Compare what all name servers of the network say: their serials, the records of the apex, all members of all roles, the keys.\n" +
			"Then compare what the parent of the domain delegates with it: name servers, their addresses, DS records.\n" +
			"A server that is behind is waited for, and its lag is told. The zone's own names are known from --config, if that is\n" +
			"the file of a name server. Exit 1 when something differs, 3 when a name server or the parent could not be asked.",
		Example: "  thor dns check --config /etc/thor/thor.toml\n  thor dns check --no-parent -o json", Args: cobra.NoArgs,
	}
	r.informed(c, func(cmd *cobra.Command, _ *session, v *overlay.View, _ []string) error {
		found, err := f.check(cmd.Context(), &r, v.Status)
		if err != nil {
			return err
		}
		if err := out.print(cmd, found, func(w io.Writer) error { return printCheck(w, found) }); err != nil {
			return err
		}
		return found.verdict()
	})
	fl := c.Flags()
	fl.StringVar(&f.resolver, "resolver", "", "`address` of the resolver that finds the parent's name servers (default: the system's)")
	fl.StringSliceVar(&f.parents, "parent", nil, "`addresses` of the parent's name servers, HOST:PORT, instead of finding them")
	fl.BoolVar(&f.noParent, "no-parent", false, "do not compare the delegation: the domain has none")
	fl.DurationVar(&f.wait, "wait", 5*time.Second, "how long to wait for a name server that is behind")
	out.flag(c)
	return c
}

// check asks all.
func (f *checkFlags) check(ctx context.Context, r *reach, st *subjects.Status) (*dnsCheck, error) {
	z, err := zoneOf(r, st)
	if err != nil {
		return nil, err
	}
	var servers []compare.Server
	members := st.Roles[subjects.DNSManager]
	for i := range members {
		servers = append(servers, compare.Server{Name: string(members[i].Node), Address: gather.AddressOf(&members[i], r.dns)})
	}
	if len(servers) == 0 {
		return nil, errors.New("the network has no name server")
	}
	all := compare.Ask(ctx, z.Apex(), servers, compare.Questions(z), f.wait)
	out := &dnsCheck{Parent: []checkedParent{}, Differences: append([]compare.Difference{}, compare.Servers(all)...)}
	for _, a := range all {
		out.Servers = append(out.Servers, checkedServer{a.Name, a.Address, a.Serial, a.Behind, a.Lag.Milliseconds()})
	}
	good := slices.IndexFunc(all, func(a compare.Answers) bool { return a.Err == nil && a.Behind == 0 })
	if f.noParent || good < 0 {
		return out, nil
	}
	return out, f.parent(ctx, out, z.Apex(), all[good].Address)
}

func (f *checkFlags) parent(ctx context.Context, out *dnsCheck, domain, address string) error {
	var parents []compare.Server
	for _, p := range f.parents {
		parents = append(parents, compare.Server{Name: p, Address: p})
	}
	if f.resolver == "" && len(parents) == 0 {
		system, err := dns.ClientConfigFromFile("/etc/resolv.conf")
		if err != nil || len(system.Servers) == 0 {
			return usagef("the system has no resolver: give --resolver, --parent or --no-parent")
		}
		f.resolver = net.JoinHostPort(system.Servers[0], system.Port)
	}
	differences, referrals := compare.CheckParent(ctx, domain, address, f.resolver, parents)
	out.Differences = append(out.Differences, differences...)
	for _, r := range referrals {
		out.Parent = append(out.Parent, checkedParent{r.Name, r.Address})
	}
	return nil
}

// zoneOf is the zone of the status, by the file of a name server if the network was named
// by one.
func zoneOf(r *reach, st *subjects.Status) (*zone.Zone, error) {
	cfg := zone.DefaultConfig(st.Domain)
	if r.config != "" {
		f, err := config.Load(r.config)
		if err != nil {
			first, _, _ := strings.Cut(err.Error(), "\n")
			return nil, usagef("the zone's own names are not known: %s (see thor config check)", first)
		}
		if f.DNS != nil {
			cfg = f.DNS.Zone(st.Domain)
		}
	}
	return zone.Build(cfg, st)
}

// verdict is the exit code.
func (c *dnsCheck) verdict() error {
	if len(c.Differences) == 0 {
		return nil
	}
	for _, d := range c.Differences {
		if d.Kind != compare.Unknown && d.Kind != compare.Unreachable {
			return errors.New("there are differences, see above")
		}
	}
	return errDegraded
}

func printCheck(w io.Writer, c *dnsCheck) error {
	for _, s := range c.Servers {
		note := ""
		if s.LagMS > 0 && s.Behind == 0 {
			note = fmt.Sprintf("  %d ms behind at first", s.LagMS)
		}
		if _, err := fmt.Fprintf(w, "server %-12s %-21s serial %d%s\n", s.Name, s.Address, s.Serial, note); err != nil {
			return err
		}
	}
	for _, p := range c.Parent {
		if _, err := fmt.Fprintf(w, "parent %-12s %s\n", p.Name, p.Address); err != nil {
			return err
		}
	}
	for _, d := range c.Differences {
		if _, err := fmt.Fprintf(w, "DIFFERS %s %s: %s\n", d.Kind, d.Where, subjects.Printable(d.Text, 1000)); err != nil {
			return err
		}
	}
	if len(c.Differences) == 0 {
		_, err := fmt.Fprintln(w, "no differences")
		return err
	}
	return nil
}
