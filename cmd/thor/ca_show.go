package main

import (
	"cmp"
	"crypto"
	"crypto/x509"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"thor/identity"
	"thor/subjects"
)

const (
	maxShown     = 120     // bytes of a name from a file
	maxShownFile = 8 << 20 // bytes of a file
)

func newCAShow() *cobra.Command {
	var dir string
	var out output
	c := &cobra.Command{
		Use: "show [FILE…]", Short: "List the certificates that were issued, or show what is in files",
		Long: "List the certificates that were issued or, of each FILE, what its certificates, requests and revocation lists say.\n\n" +
			"FILE is PEM or DER, - the standard input. No signature of an authority is checked; that of a request is. Of a private key\n" +
			"nothing is shown but that it is one.",
		Example: "  thor ca show --ca-dir ca\n  thor ca show /etc/thor/pki/node.crt node.csr ca/crl.pem", Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return showFiles(cmd, out, args)
			}
			return showIssued(cmd, out, dir)
		},
	}
	caDirFlag(c, &dir)
	out.flag(c)
	return c
}

func showIssued(cmd *cobra.Command, out output, dir string) error {
	a, err := identity.Open(dir)
	if err != nil {
		return err
	}
	list, err := a.List()
	if err != nil {
		return err
	}
	return out.print(cmd, shown(list), func(w io.Writer) error {
		for _, i := range shown(list) {
			if _, err := fmt.Fprintf(w, "%-32s  %-8s  %-16s  until %s  %v\n", i.Serial, i.State, i.Node, i.NotAfter.Format(time.DateOnly), i.words()); err != nil {
				return err
			}
		}
		return nil
	})
}

// A fact is one object of a file, as thor ca show FILE prints it. What is empty is left out.
type fact struct {
	File      string       `json:"file"`
	Kind      string       `json:"kind"` // certificate, authority, request, revocation list, private key
	Node      string       `json:"node,omitempty"`
	Domain    string       `json:"domain,omitempty"`
	Roles     []string     `json:"roles,omitempty"` // and bounds, as OUs write them
	Site      string       `json:"site,omitempty"`  // the L
	Addresses []netip.Addr `json:"addresses,omitempty"`
	Hosts     []string     `json:"hosts,omitempty"`
	Subject   string       `json:"subject,omitempty"` // of an authority, and of what is no node's certificate
	Issuer    string       `json:"issuer,omitempty"`
	Serial    string       `json:"serial,omitempty"` // of a revocation list: its number
	From      time.Time    `json:"not_before,omitzero"`
	Until     time.Time    `json:"not_after,omitzero"` // of a revocation list: when the next is due
	State     string       `json:"state,omitempty"`
	Key       string       `json:"key,omitempty"`
	Revoked   []revoked    `json:"revoked,omitempty"`
	Fault     string       `json:"fault,omitempty"` // why thor would refuse it
}

type revoked struct {
	Serial string    `json:"serial"`
	Time   time.Time `json:"time"`
}

func showFiles(cmd *cobra.Command, out output, files []string) error {
	facts := []fact{}
	for _, f := range files {
		data, err := readShown(cmd, f)
		if err != nil {
			return err
		}
		objects, err := identity.Inspect(data)
		if err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
		for _, o := range objects {
			facts = append(facts, factOf(f, o, time.Now()))
		}
	}
	return out.print(cmd, facts, func(w io.Writer) error {
		for i := range facts {
			if _, err := io.WriteString(w, facts[i].text()); err != nil {
				return err
			}
		}
		return nil
	})
}

func readShown(cmd *cobra.Command, file string) ([]byte, error) {
	r := cmd.InOrStdin()
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		r = f
	}
	return io.ReadAll(io.LimitReader(r, maxShownFile+1))
}

// factOf is what o says, with every word of it printable.
func factOf(file string, o identity.Object, now time.Time) fact {
	switch {
	case o.Certificate != nil:
		return certificateFact(file, o.Certificate, now)
	case o.Request != nil:
		r := o.Request
		f := fact{File: file, Kind: "request", Node: clean(r.Node), Domain: clean(r.Domain), Roles: cleanAll(r.Roles), Site: clean(r.Site), Addresses: r.Addresses, Hosts: cleanAll(r.Hosts), Key: identity.KeyText(r.PublicKey)}
		if r.Fault != nil {
			f.Fault = "its name: " + r.Fault.Error()
		}
		return f
	case o.CRL != nil:
		l := o.CRL
		f := fact{File: file, Kind: "revocation list", Issuer: clean(l.Issuer.String()), From: l.ThisUpdate, Until: l.NextUpdate}
		if l.Number != nil {
			f.Serial = l.Number.String()
		}
		for _, e := range l.RevokedCertificateEntries {
			f.Revoked = append(f.Revoked, revoked{identity.SerialText(e.SerialNumber), e.RevocationTime})
		}
		return f
	}
	return fact{File: file, Kind: "private key", Fault: "nothing of it is shown"}
}

func certificateFact(file string, c *x509.Certificate, now time.Time) fact {
	f := fact{
		File: file, Kind: "certificate", Serial: identity.SerialText(c.SerialNumber), Issuer: clean(c.Issuer.String()),
		From: c.NotBefore, Until: c.NotAfter, State: "valid", Key: identity.KeyText(crypto.PublicKey(c.PublicKey)),
	}
	switch {
	case now.Before(c.NotBefore):
		f.State = "not yet valid"
	case now.After(c.NotAfter):
		f.State = "expired"
	}
	if c.IsCA {
		f.Kind, f.Subject = "authority", clean(c.Subject.String())
		return f
	}
	id, err := identity.FromCertificate(c)
	if err != nil {
		f.Subject, f.Fault = clean(c.Subject.String()), err.Error()
		return f
	}
	f.Node, f.Domain, f.Addresses, f.Hosts = string(id.Node), id.Domain, id.Addresses, id.Hosts
	f.Roles, f.Site = append(names(id.Roles), id.BoundText()...), string(id.Site)
	return f
}

func clean(s string) string { return subjects.Printable(s, maxShown) }

func cleanAll(list []string) (out []string) {
	for _, s := range list {
		out = append(out, clean(s))
	}
	return out
}

// text is a block of lines, the kind first.
func (f *fact) text() string {
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "  %-10s %s\n", name, value)
		}
	}
	when := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format("2006-01-02 15:04:05 UTC")
	}
	fmt.Fprintf(&b, "%s: %s\n", clean(f.File), f.Kind)
	line("node", f.Node)
	line("domain", f.Domain)
	line("subject", f.Subject)
	line("roles", strings.Join(f.Roles, " "))
	line("site", f.Site)
	line("addresses", strings.Join(texts(f.Addresses), " "))
	line("hosts", strings.Join(f.Hosts, " "))
	line("state", f.State)
	line("from", when(f.From))
	line("until", when(f.Until))
	line(map[bool]string{true: "number", false: "serial"}[f.Kind == "revocation list"], f.Serial)
	line("issuer", f.Issuer)
	line("key", f.Key)
	for _, r := range f.Revoked {
		line("revoked", r.Serial+"  "+when(r.Time))
	}
	line(cmp.Or(map[bool]string{true: "note"}[f.Kind == "private key"], "fault"), f.Fault)
	return b.String()
}

func texts[T fmt.Stringer](list []T) (out []string) {
	for _, x := range list {
		out = append(out, x.String())
	}
	return out
}
