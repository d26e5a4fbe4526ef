package main

import (
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"thor/identity"
	"thor/overlay/audit"
	"thor/subjects"
)

func newCARenew() *cobra.Command {
	var dir, node, out string
	var days int
	c := &cobra.Command{
		Use: "renew CERTIFICATE|NODE", Short: "Issue a certificate for the same node, roles and addresses again, with a new key",
		Long: "Issue a certificate for the same node, roles and addresses again, with a new key.\n\n" +
			"It is written over the old files, or to --out. Instead of the file its node can be named: the file is then NODE.crt or\n" +
			"NODE/node.crt here, or NODE/node.crt beside the authority's directory, where thor up has it. Where there is none, the\n" +
			"node's last certificate in the authority's index is renewed, into NODE.crt and NODE.key here.\n\n" +
			"Send the daemon SIGHUP then: it changes over without losing its connection.",
		Example: "  thor ca renew n1\n  thor ca renew /etc/thor/pki/node.crt\n  thor ca renew --node n1 --out n1-next",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (len(args) == 0) == (node == "") {
				return usagef("name the certificate's file, or its node by --node")
			}
			if days < 1 || days > maxDays {
				return errDays(days)
			}
			a, log, err := openAuthority(dir)
			if err != nil {
				return err
			}
			old, err := renewable(a, dir, strings.Join(args, ""), node)
			if err != nil {
				return err
			}
			cert, key, err := a.Renew(old.pem, time.Duration(days)*24*time.Hour, nil)
			log.Write(byHand(audit.Renew, certificateText(old.node, cert), err))
			if err != nil {
				return err
			}
			return writePair(cmd, cmp.Or(out, old.path), cert, key)
		},
	}
	caDirFlag(c, &dir)
	c.Flags().StringVar(&node, "node", "", "`name` of the node, instead of the file")
	c.Flags().IntVar(&days, "days", 30, "validity in `days`")
	c.Flags().StringVar(&out, "out", "", "`path` without suffix; default: over the old files")
	return c
}

// A renewal is a certificate to renew.
type renewal struct {
	node subjects.NodeID
	pem  []byte
	path string // of its files, without suffix
}

// renewable finds the certificate of a file, or of a node. A file goes before a
// node of that name.
func renewable(a *identity.Authority, dir, file, node string) (*renewal, error) {
	if node == "" {
		path := strings.TrimSuffix(file, ".crt")
		b, err := os.ReadFile(file)
		if err == nil {
			return &renewal{nodeOf(b), b, path}, nil
		}
		if b, err := os.ReadFile(path + ".crt"); err == nil { // as --out takes it
			return &renewal{nodeOf(b), b, path}, nil
		}
		if _, bad := subjects.ParseNodeID(file); bad != nil || !errors.Is(err, fs.ErrNotExist) && !isDir(file) {
			return nil, err
		}
		node = file
	}
	id, err := subjects.ParseNodeID(node)
	if err != nil {
		return nil, usagef("--node: %w", err)
	}
	for _, path := range []string{node, filepath.Join(node, "node"), filepath.Join(filepath.Dir(filepath.Clean(dir)), node, "node")} {
		if b, err := os.ReadFile(path + ".crt"); err == nil && nodeOf(b) == id {
			return &renewal{id, b, path}, nil
		}
	}
	return fromIndex(a, id)
}

// fromIndex is the certificate of node that ends last, of those not revoked if
// there are any.
func fromIndex(a *identity.Authority, node subjects.NodeID) (*renewal, error) {
	issued, err := a.List()
	var last *identity.Issued
	for i := range issued { // by end of validity
		if x := &issued[i]; x.Node == node && (last == nil || x.Revoked.IsZero() || !last.Revoked.IsZero()) {
			last = x
		}
	}
	if last == nil {
		return nil, errors.Join(fmt.Errorf("node %s: %w", node, identity.ErrNotIssued), err)
	}
	return &renewal{node, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: last.Certificate.Raw}), string(node)}, nil
}

func isDir(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.IsDir()
}

// certified is what a certificate in PEM says, nil if it is none of ours.
func certified(cert []byte) *identity.Identity {
	block, _ := pem.Decode(cert)
	if block == nil {
		return nil
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil
	}
	id, err := identity.FromCertificate(leaf)
	if err != nil {
		return nil
	}
	return id
}

// nodeOf is the node of a certificate, empty if it is none of ours.
func nodeOf(cert []byte) subjects.NodeID {
	if id := certified(cert); id != nil {
		return id.Node
	}
	return ""
}
