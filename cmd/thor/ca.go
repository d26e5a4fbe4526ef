package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"thor/identity"
	"thor/identity/atomicfile"
	"thor/overlay/audit"
	"thor/subjects"
)

func newCA() *cobra.Command {
	c := &cobra.Command{
		Use: "ca", Short: "Make, sign, renew, revoke and show certificates",
		Long: "The built-in certificate authority. Any other that can set O, OU and SANs will do too:\n" +
			"the README has the recipe for openssl. What is issued, renewed and revoked is noted in audit.log beside the authority.",
		Example: "  thor ca init --ca-dir ca --domain example.net\n  thor ca request --node n1\n  thor ca sign n1.csr --ca-dir ca --node n1 --role sip_proxy --ip 192.0.2.1",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return nameSubcommand(cmd) },
	}
	c.AddCommand(newCAInit(), newCARequest(), newCASign(), newCAIssue(), newCARenew(), newCARevoke(), newCAShow())
	return c
}

func caDirFlag(c *cobra.Command, dir *string) {
	c.Flags().StringVar(dir, "ca-dir", cmp.Or(os.Getenv("THOR_CA_DIR"), "ca"), "`directory` of the authority (THOR_CA_DIR)")
}

func newCAInit() *cobra.Command {
	var dir, domain string
	var ed bool
	c := &cobra.Command{
		Use: "init --domain D", Short: "Make a new authority for a domain",
		Example: "  thor ca init --ca-dir ca --domain example.net", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if domain == "" {
				return usagef("--domain is missing")
			}
			key := identity.P256
			if ed {
				key = identity.Ed25519
			}
			if _, err := identity.Init(dir, domain, identity.InitOptions{Key: key}); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n", filepath.Join(dir, "ca.crt"))
			return err
		},
	}
	caDirFlag(c, &dir)
	c.Flags().StringVar(&domain, "domain", "", "`domain` of the network")
	c.Flags().BoolVar(&ed, "ed25519", false, "Ed25519 keys instead of P-256")
	return c
}

func newCAIssue() *cobra.Command {
	var dir, node, out string
	var w wish
	c := &cobra.Command{
		Use: "issue --node N --role R … --ip A …", Short: "Make a key and its certificate in one step, where no host can make its own",
		Example: "  thor ca issue --node n1 --role sip_proxy --role media_relay --ip 192.0.2.1 --days 30 --out /etc/thor/pki/n1",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			req, err := caRequest(node, &w)
			if err != nil {
				return err
			}
			path := cmp.Or(out, node)
			if err := absent(path); err != nil {
				return err
			}
			a, log, err := openAuthority(dir)
			if err != nil {
				return err
			}
			warnMadeUp(cmd, a, req.Roles)
			cert, key, err := a.Issue(req)
			log.Write(byHand(audit.Issue, certificateText(req.Node, cert), err))
			if err != nil {
				return err
			}
			return writePair(cmd, path, cert, key)
		},
	}
	caDirFlag(c, &dir)
	f := c.Flags()
	f.StringVar(&node, "node", "", "`name` of the node")
	w.flags(c)
	w.daysFlag(c)
	f.StringVar(&out, "out", "", "`path` without suffix: .crt and .key are written; default: the node's name")
	return c
}

// warnMadeUp warns of roles that thor does not know, and that no certificate of
// the authority carries yet: they are allowed, and may be a mistake.
func warnMadeUp(cmd *cobra.Command, a *identity.Authority, roles []subjects.Role) {
	var carried []subjects.Role
	list, _ := a.List() // an index that is damaged in part gives what is left
	for _, i := range list {
		carried = append(carried, i.Roles...)
	}
	for _, r := range roles {
		if !slices.Contains(subjects.KnownRoles(), r) && !slices.Contains(carried, r) {
			warn(cmd, "%s is no role that thor knows, or that was issued before%s", r, suggestRole(r, carried))
		}
	}
}

// openAuthority opens an authority for signing, and its log.
func openAuthority(dir string) (*identity.Authority, *audit.Log, error) {
	a, err := identity.Open(dir)
	if err != nil {
		return nil, nil, err
	}
	log, err := caAudit(dir)
	return a, log, err
}

// certificateText names a certificate in the audit log.
func certificateText(node subjects.NodeID, cert []byte) string {
	text := "node " + string(node)
	id := certified(cert)
	if id == nil {
		return text
	}
	return fmt.Sprintf("%s serial %s roles %v addresses %v until %s", text, id.Serial, id.Roles, id.Addresses, id.NotAfter.UTC().Format(time.RFC3339))
}

// maxDays is the longest validity that commands give.
const maxDays = 3650

func errDays(days int) error { return usagef("--days %d is not 1 to %d", days, maxDays) }

// A wish is what flags say of a certificate.
type wish struct {
	roles, ips, hosts, weights, priorities []string
	site                                   string
	days                                   int
}

func (w *wish) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringArrayVar(&w.roles, "role", nil, "`role` it may carry; repeat for more")
	completeFlag(c, "role", names(subjects.KnownRoles())...)
	f.StringArrayVar(&w.ips, "ip", nil, "`address` it may announce; repeat for more")
	f.StringArrayVar(&w.weights, "weight", nil, "`ROLE=N`: it may announce a weight up to N in that role; without, 100")
	f.StringArrayVar(&w.priorities, "priority", nil, "`ROLE=N`: it may announce priority N or a higher number in that role; without, 10 for thor_database and any for others")
	f.StringVar(&w.site, "site", "", "`site` of the node, its L: 1 to 32 of a-z, 0-9 and hyphens")
	f.StringArrayVar(&w.hosts, "host", nil, "host `name` of a broker or provisioning server, where clients dial names; repeat for more")
}

func (w *wish) daysFlag(c *cobra.Command) {
	c.Flags().IntVar(&w.days, "days", 30, "validity in `days`")
}

// empty reports that no flag but --days says anything.
func (w *wish) empty() bool {
	return len(w.roles)+len(w.ips)+len(w.hosts)+len(w.weights)+len(w.priorities)+len(w.site) == 0
}

// caRequest is what the authority shall certify: it needs a role and a validity.
func caRequest(node string, w *wish) (identity.Request, error) {
	if w.days < 1 || w.days > maxDays {
		return identity.Request{}, errDays(w.days)
	}
	req, err := w.request(node)
	if err != nil {
		return req, err
	}
	if len(req.Roles) == 0 {
		return req, usagef("--role is missing: a certificate without a role opens nothing")
	}
	req.Validity = time.Duration(w.days) * 24 * time.Hour
	return req, nil
}

func (w *wish) request(node string) (identity.Request, error) {
	n, err := subjects.ParseNodeID(node)
	if err != nil {
		return identity.Request{}, usagef("--node: %w", err)
	}
	req := identity.Request{Node: n, Hosts: w.hosts}
	if req.Site, err = subjects.ParseSite(w.site); err != nil {
		return req, usagef("--site: %w", err)
	}
	for _, r := range w.roles {
		role, err := subjects.ParseRole(r)
		if err != nil {
			return req, usagef("--role: %w", err)
		}
		req.Roles = append(req.Roles, role)
	}
	for _, s := range w.ips {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return req, usagef("--ip %q is not an IP address", s)
		}
		req.Addresses = append(req.Addresses, a)
	}
	req.Bounds, err = w.bounds(req.Roles)
	return req, err
}

func (w *wish) bounds(roles []subjects.Role) (map[subjects.Role]subjects.Bound, error) {
	out := make(map[subjects.Role]subjects.Bound)
	for _, f := range []struct {
		flag  string
		args  []string
		field func(*subjects.Bound) *int
	}{
		{"--weight", w.weights, func(b *subjects.Bound) *int { return &b.Weight }},
		{"--priority", w.priorities, func(b *subjects.Bound) *int { return &b.Priority }},
	} {
		for _, s := range f.args {
			name, number, _ := strings.Cut(s, "=")
			n, err := strconv.Atoi(number)
			if err != nil || n < 1 || n > subjects.MaxWeight {
				return nil, usagef("%s %q: write it as ROLE=N, N from 1 to %d", f.flag, s, subjects.MaxWeight)
			}
			r := subjects.Role(name)
			if !slices.Contains(roles, r) {
				return nil, usagef("%s %q: the certificate has no role %q", f.flag, s, name)
			}
			b := out[r]
			if *f.field(&b) != 0 {
				return nil, usagef("%s for %s is given twice", f.flag, name)
			}
			*f.field(&b) = n
			out[r] = b
		}
	}
	return out, nil
}

// absent refuses to write over a certificate or a key: a service may be using them.
func absent(path string) error {
	for _, p := range []string{path + ".key", path + ".crt"} {
		if _, err := os.Lstat(p); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s exists already: renew it (thor ca renew %s), or name another with --out", p, path)
		}
	}
	return nil
}

func writePair(cmd *cobra.Command, path string, cert, key []byte) error {
	if err := atomicfile.Write(path+".key", key, 0o600); err != nil {
		return err
	}
	if err := atomicfile.Write(path+".crt", cert, 0o644); err != nil {
		return err
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s.crt\n%s.key\n", path, path)
	return err
}

func newCARevoke() *cobra.Command {
	var dir string
	var r reach
	var offline bool
	c := &cobra.Command{
		Use: "revoke NODE|SERIAL", Short: "Revoke certificates and tell the brokers at once",
		Long: "Revoke all certificates of a node, or the one with a serial number.\n\n" +
			"The new revocation list is written to the authority's directory and published to the brokers, which end the node's\n" +
			"connections. With --offline it is only written: bring crl.pem to the brokers yourself.",
		Example: "  thor ca revoke n1 --ca-dir ca --dir /tmp/thor", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, log, err := openAuthority(dir)
			if err != nil {
				return err
			}
			crl, err := a.Revoke(args[0])
			log.Write(byHand(audit.Revoke, args[0], err))
			if err != nil {
				return err
			}
			if offline {
				_, err := fmt.Fprintln(cmd.OutOrStdout(), filepath.Join(dir, "crl.pem"))
				return err
			}
			return publishCRL(cmd.Context(), &r, crl)
		},
	}
	caDirFlag(c, &dir)
	r.flags(c)
	c.Flags().BoolVar(&offline, "offline", false, "do not tell the brokers")
	return c
}

// publishTry is how long one broker may take to answer. The same list may be told again.
const publishTry = 1500 * time.Millisecond

func publishCRL(ctx context.Context, r *reach, crl []byte) error {
	const written = "the revocation is written, but the brokers were not told"
	s, err := r.open(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", written, err)
	}
	defer s.end()
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	var reply *subjects.Reply
	for {
		try, stop := context.WithTimeout(ctx, publishTry)
		reply, err = s.Ask(try, subjects.PublishCRL(s.ID()), crl)
		stop()
		switch {
		case err == nil:
		case ctx.Err() == nil && try.Err() != nil: // its own broker may be the one that is revoked
			continue
		default:
			return fmt.Errorf("%s: %w", written, err)
		}
		break
	}
	if reply.Code != "" {
		return fmt.Errorf("%s: a broker answers: %s", written, reply.Text)
	}
	return nil
}

// issued is a certificate as thor ca show prints it.
type issued struct {
	Serial    string          `json:"serial"`
	Node      subjects.NodeID `json:"node"`
	Roles     []subjects.Role `json:"roles"`
	Addresses []netip.Addr    `json:"addresses"`
	NotAfter  time.Time       `json:"not_after"`
	State     string          `json:"state"` // valid, expired, revoked
	Site      subjects.Site   `json:"site,omitempty"`
	// Bounds are those that the certificate names; the others are the defaults.
	Bounds map[subjects.Role]subjects.Bound `json:"bounds,omitempty"`

	text []string
}

// words are roles and bounds as the certificate's OUs write them.
func (i *issued) words() []string {
	var out []string
	for _, r := range i.Roles {
		out = append(out, string(r))
	}
	out = append(out, i.text...)
	if i.Site != "" {
		out = append(out, "L="+string(i.Site))
	}
	return out
}

func shown(list []identity.Issued) []issued {
	out := make([]issued, 0, len(list))
	for _, i := range list {
		s := issued{i.Serial, i.Node, i.Roles, i.Addresses, i.NotAfter, "valid", i.Site, i.Bounds, i.BoundText()}
		switch {
		case !i.Revoked.IsZero():
			s.State = "revoked"
		case time.Now().After(i.NotAfter):
			s.State = "expired"
		}
		out = append(out, s)
	}
	return out
}
