package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"thor/identity"
	"thor/identity/atomicfile"
	"thor/overlay/audit"
	"thor/subjects"
)

func newCARequest() *cobra.Command {
	var node, domain, out, key string
	var ed bool
	var w wish
	c := &cobra.Command{
		Use: "request --node N", Short: "Make a key and a request for its certificate, on the host that will use it",
		Long: "Make a key and a request for its certificate, on the host that will use it: the key never leaves the host.\n\n" +
			"PATH.key and PATH.csr are written, and the digest of the key is printed. Bring PATH.csr to the authority: thor ca sign shows\n" +
			"the digest again, to compare. Roles and addresses given here are a wish that thor ca sign shows; its operator decides.\n" +
			"With --key the key of a file stays in use and PATH.csr alone is written, for a renewal.",
		Example: "  thor ca request --node host1 --out /etc/thor/pki/node\n  thor ca request --node host1 --key /etc/thor/pki/node.key --out renewal",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			req, err := w.request(node)
			if err != nil {
				return err
			}
			if ed {
				req.Key = identity.Ed25519
			}
			path := cmp.Or(out, node)
			suffixes := []string{".key", ".csr"}
			if key != "" {
				suffixes = suffixes[1:]
			}
			for _, s := range suffixes {
				if _, err := os.Lstat(path + s); err == nil {
					return fmt.Errorf("%s exists already: name another with --out", path+s)
				}
			}
			return writeRequest(cmd, path, key, domain, req)
		},
	}
	f := c.Flags()
	f.StringVar(&node, "node", "", "`name` of the node")
	f.StringVar(&domain, "domain", "", "`domain` of the network")
	f.StringVar(&key, "key", "", "a key `file` that is there, instead of a new key")
	f.StringVar(&out, "out", "", "`path` without suffix: .key and .csr are written; default: the node's name")
	f.BoolVar(&ed, "ed25519", false, "an Ed25519 key instead of P-256")
	w.flags(c)
	return c
}

// writeRequest writes the key before the request that needs it.
func writeRequest(cmd *cobra.Command, path, keyFile, domain string, req identity.Request) error {
	var csr, key []byte
	var err error
	if keyFile != "" {
		csr, err = identity.NewRequestFor(keyFile, domain, req)
	} else {
		csr, key, err = identity.NewRequest(domain, req)
	}
	if err != nil {
		return err
	}
	if key != nil {
		if err := atomicfile.Write(path+".key", key, 0o600); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s.key\n", path)
	}
	if err := atomicfile.Write(path+".csr", csr, 0o644); err != nil {
		return err
	}
	r, err := identity.ReadRequest(csr)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s.csr\n%s\n", path, identity.KeyText(r.PublicKey))
	return err
}

func newCASign() *cobra.Command {
	var dir, node, out string
	var renew bool
	var w wish
	c := &cobra.Command{
		Use: "sign FILE --node N --role R … --ip A …", Short: "Sign a request: the certificate says what is named here, and nothing else",
		Long: "Sign a request of thor ca request, or of any program that makes PKCS #10.\n\n" +
			"The signature of the request proves that its sender holds the key. What else it says is shown and not followed: node, roles\n" +
			"and addresses are those named here or, with --renew, those of the node's last certificate. A key that a valid certificate of\n" +
			"another node holds is refused. FILE - is the standard input; the certificate goes to the standard output then, unless --out\n" +
			"names a file.",
		Example: "  thor ca sign host1.csr --node host1 --role sip_proxy --ip 192.0.2.1\n  thor ca sign host1.csr --node host1 --renew\n  ssh host1 cat /etc/thor/pki/node.csr | thor ca sign - --node host1 --renew",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if renew && !w.empty() {
				return usagef("--renew takes roles and addresses from the node's last certificate: name none")
			}
			asked, err := readRequest(cmd, args[0])
			if err != nil {
				return err
			}
			if node == "" {
				return usagef("--node is missing; the request is for %q, key %s", subjects.Printable(asked.Node, maxShown), identity.KeyText(asked.PublicKey))
			}
			path := signedPath(args[0], out)
			if !mayWrite(path, node, renew) {
				return fmt.Errorf("%s exists already: name another with --out", path)
			}
			a, log, err := openAuthority(dir)
			if err != nil {
				return err
			}
			sign := signNew
			if renew {
				sign = signAgain
			}
			cert, err := sign(cmd, a, log, node, &w, asked)
			if err != nil {
				return err
			}
			tellWishes(cmd.ErrOrStderr(), asked, certified(cert))
			return writeSigned(cmd, path, cert)
		},
	}
	caDirFlag(c, &dir)
	f := c.Flags()
	f.StringVar(&node, "node", "", "`name` of the node")
	f.BoolVar(&renew, "renew", false, "the roles, bounds, addresses and host names of the node's last certificate")
	w.flags(c)
	w.daysFlag(c)
	f.StringVar(&out, "out", "", "`path` without suffix: .crt is written; default: that of FILE")
	return c
}

func readRequest(cmd *cobra.Command, file string) (*identity.SigningRequest, error) {
	var data []byte
	var err error
	if file == "-" {
		data, err = io.ReadAll(io.LimitReader(cmd.InOrStdin(), maxShownFile))
	} else {
		data, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, err
	}
	r, err := identity.ReadRequest(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return r, nil
}

// signedPath is the file of the certificate, empty for the standard output.
func signedPath(file, out string) string {
	switch {
	case out != "":
		return out + ".crt"
	case file == "-":
		return ""
	}
	return strings.TrimSuffix(file, ".csr") + ".crt"
}

// mayWrite reports whether a certificate of node may be written to path: over another
// one only by a renewal, and only over one of the same node.
func mayWrite(path, node string, renew bool) bool {
	if _, err := os.Lstat(path); err != nil || path == "" {
		return true
	}
	old, err := os.ReadFile(path)
	return renew && err == nil && nodeOf(old) == subjects.NodeID(node)
}

func writeSigned(cmd *cobra.Command, path string, cert []byte) error {
	if path == "" {
		_, err := cmd.OutOrStdout().Write(cert)
		return err
	}
	if err := atomicfile.Write(path, cert, 0o644); err != nil {
		return err
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), path)
	return err
}

// signNew certifies the key of asked for what the flags name.
func signNew(cmd *cobra.Command, a *identity.Authority, log *audit.Log, node string, w *wish, asked *identity.SigningRequest) ([]byte, error) {
	req, err := caRequest(node, w)
	if err != nil {
		return nil, err
	}
	req.PublicKey = asked.PublicKey
	warnMadeUp(cmd, a, req.Roles)
	cert, _, err := a.Issue(req)
	log.Write(byHand(audit.Issue, certificateText(req.Node, cert)+" key "+identity.KeyText(asked.PublicKey), err))
	return cert, err
}

// signAgain certifies the key of asked for what the node's last certificate says.
func signAgain(_ *cobra.Command, a *identity.Authority, log *audit.Log, node string, w *wish, asked *identity.SigningRequest) ([]byte, error) {
	id, err := subjects.ParseNodeID(node)
	if err != nil {
		return nil, usagef("--node: %w", err)
	}
	if w.days < 1 || w.days > maxDays {
		return nil, errDays(w.days)
	}
	old, err := fromIndex(a, id)
	if err != nil {
		return nil, err
	}
	cert, _, err := a.Renew(old.pem, time.Duration(w.days)*24*time.Hour, asked.PublicKey)
	log.Write(byHand(audit.Renew, certificateText(id, cert)+" key "+identity.KeyText(asked.PublicKey), err))
	return cert, err
}

// tellWishes shows the key, and what the request wants that the certificate does not give.
func tellWishes(w io.Writer, asked *identity.SigningRequest, given *identity.Identity) {
	fmt.Fprintf(w, "key %s\n", identity.KeyText(asked.PublicKey))
	if given == nil {
		return
	}
	if not := notGiven(asked, given); len(not) > 0 {
		fmt.Fprintf(w, "asked for, and not given: %s\n", strings.Join(not, ", "))
	}
}

func notGiven(asked *identity.SigningRequest, given *identity.Identity) (out []string) {
	add := func(what, value string) {
		out = append(out, what+" "+subjects.Printable(value, maxShown))
	}
	if asked.Domain != "" && asked.Domain != given.Domain {
		add("domain", asked.Domain)
	}
	if asked.Node != "" && asked.Node != string(given.Node) {
		add("node", asked.Node)
	}
	have := append(names(given.Roles), given.BoundText()...)
	for _, r := range asked.Roles {
		if !slices.Contains(have, r) {
			add("role", r)
		}
	}
	if asked.Site != "" && asked.Site != string(given.Site) {
		add("site", asked.Site)
	}
	for _, a := range asked.Addresses {
		if !slices.Contains(given.Addresses, a) {
			add("address", a.String())
		}
	}
	for _, h := range asked.Hosts {
		if !slices.Contains(given.Hosts, h) {
			add("host", h)
		}
	}
	return out
}
