package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"github.com/miekg/dns"
	"github.com/spf13/cobra"

	"thor/dnsagent"
	"thor/dnsagent/dnssec"
	"thor/identity/atomicfile"
	"thor/subjects"
)

// withDNSTools adds to the daemon's command those of operators.
func withDNSTools(c *cobra.Command) *cobra.Command {
	c.AddCommand(newDNSKeys(), newDNSDS(), newDNSCheck())
	return c
}

// A zoneKey is one of thor dns keys -o json.
type zoneKey struct {
	Tag   uint16 `json:"tag"`
	Signs bool   `json:"signs"` // all of the zone; the others sign the set of keys
}

func newDNSKeys() *cobra.Command {
	var out output
	c := &cobra.Command{
		Use: "keys FILE", Short: "List, make and change the keys that sign the zone (DNSSEC)",
		Long: "The keys of [dns] dnssec_key_file, ECDSA P-256. The first signs the zone; the others are published beside it while a key is\n" +
			"replaced. The file is the same on all name servers, which take it over on SIGHUP. docs/dns.md says in which order a key is replaced.",
		Example: "  thor dns keys new /etc/thor/dnssec.keys\n  thor dns keys /etc/thor/dnssec.keys\n  thor dns ds /etc/thor/dnssec.keys --domain example.net",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			k, err := dnsagent.ReadKeys(args[0])
			if err != nil {
				return err
			}
			return printKeys(cmd, out, k)
		},
	}
	out.flag(c)
	c.AddCommand(
		changeKeys("new FILE", "Make a key: the first, or one that is published beside the others", 1,
			"  thor dns keys new /etc/thor/dnssec.keys", func(k *dnssec.Keys, _ uint16) error { _, err := k.New(); return err }),
		changeKeys("use FILE TAG", "Have a key sign the zone; the others stay published", 2,
			"  thor dns keys use /etc/thor/dnssec.keys 12345", (*dnssec.Keys).Use),
		changeKeys("remove FILE TAG", "Remove a key that does not sign the zone", 2,
			"  thor dns keys remove /etc/thor/dnssec.keys 12345", (*dnssec.Keys).Remove),
	)
	return c
}

// changeKeys is a command that changes the file and lists what it holds then.
func changeKeys(use, short string, args int, example string, change func(*dnssec.Keys, uint16) error) *cobra.Command {
	var out output
	c := &cobra.Command{
		Use: use, Short: short, Example: example, Args: cobra.ExactArgs(args),
		RunE: func(cmd *cobra.Command, args []string) error {
			k, err := dnsagent.ReadKeys(args[0])
			if errors.Is(err, fs.ErrNotExist) && len(args) == 1 {
				k, err = new(dnssec.Keys), nil
			}
			if err != nil {
				return err
			}
			var tag uint64
			if len(args) == 2 {
				if tag, err = strconv.ParseUint(args[1], 10, 16); err != nil {
					return usagef("%q is no tag of a key: see thor dns keys FILE", args[1])
				}
			}
			if err := change(k, uint16(tag)); err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			text, err := k.Text()
			if err != nil {
				return err
			}
			if err := atomicfile.Replace(args[0], []byte(text)); err != nil {
				return err
			}
			return printKeys(cmd, out, k)
		},
	}
	out.flag(c)
	return c
}

func printKeys(cmd *cobra.Command, out output, k *dnssec.Keys) error {
	keys := []zoneKey{}
	for i, tag := range k.Tags() {
		keys = append(keys, zoneKey{tag, i == 0})
	}
	return out.print(cmd, keys, func(w io.Writer) error {
		for _, one := range keys {
			use := "published"
			if one.Signs {
				use = "signs the zone"
			}
			if _, err := fmt.Fprintf(w, "%5d  ECDSA P-256  %s\n", one.Tag, use); err != nil {
				return err
			}
		}
		return nil
	})
}

// A delegationSigner is one line of thor dns ds -o json.
type delegationSigner struct {
	Tag    uint16 `json:"tag"`
	Record string `json:"record"`
}

func newDNSDS() *cobra.Command {
	var out output
	var domain string
	c := &cobra.Command{
		Use: "ds FILE --domain D", Short: "Print the DS records for the parent of the zone",
		Long:    "Print a DS record for each key of the file, the one that signs first, as the registrar of the domain wants it.",
		Example: "  thor dns ds /etc/thor/dnssec.keys --domain example.net", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			domain = strings.TrimSuffix(strings.ToLower(domain), ".")
			if !subjects.IsHostName(domain) {
				return usagef("--domain %q is no domain", domain)
			}
			k, err := dnsagent.ReadKeys(args[0])
			if err != nil {
				return err
			}
			var lines []delegationSigner
			for _, ds := range k.DS(dns.CanonicalName(domain)) {
				lines = append(lines, delegationSigner{ds.KeyTag, ds.String()})
			}
			return out.print(cmd, lines, func(w io.Writer) error {
				for _, l := range lines {
					if _, err := fmt.Fprintln(w, l.Record); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	c.Flags().StringVar(&domain, "domain", "", "`domain` of the network")
	out.flag(c)
	return c
}
