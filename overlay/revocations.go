package overlay

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"

	"thor/identity"
	"thor/subjects"
)

const (
	listsFile = "revocations.pem"
	askLists  = 10 * time.Minute // brokers are asked for lists so often; new ones they publish
)

// Revocations are the revocation lists that this process knows: those kept on
// disk, and those that brokers hand on. A broker that stands in one is never
// dialled, and a connection to it ends. Without Config.Credentials nothing is
// known.
func (n *Node) Revocations() *identity.Revocations {
	if n.cfg.Credentials != nil {
		return n.cfg.Credentials.Revocations()
	}
	return &n.noLists
}

// loadLists takes up the lists of an earlier run.
func (n *Node) loadLists() {
	c := n.cfg.Credentials
	if c == nil || n.cfg.StateDir == "" {
		return
	}
	data, err := os.ReadFile(filepath.Join(n.cfg.StateDir, listsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		_, err = c.Revocations().Update(data, c.Authorities())
	}
	if err != nil && !errors.Is(err, identity.ErrCRLRollback) {
		n.log.Error().Err(err).Msg("saved revocation lists refused")
	}
}

// askForLists asks the brokers for lists that this process does not hold.
func (n *Node) askForLists(nc *nats.Conn, now time.Time) {
	if n.cfg.Credentials == nil {
		return
	}
	n.nextLists = now.Add(askLists)
	r := subjects.ListRequest{V: subjects.Version}
	for _, der := range n.Revocations().DER() {
		sum := sha256.Sum256(der)
		r.Held = append(r.Held, hex.EncodeToString(sum[:]))
	}
	if n.endLists != nil {
		n.endLists()
	}
	subject := subjects.AskCRL(n.id)
	_, reply, end, err := n.asks.add(context.Background(), n.id, subject, n.msgs)
	n.listsReply, n.endLists = reply, end
	if err == nil {
		err = nc.PublishRequest(subject, reply, r.Encode())
	}
	if err != nil {
		n.log.Debug().Err(err).Msg("ask for revocation lists") // the next connection asks again
	}
}

// receiveList takes a list that came by the network. Its sender does not matter:
// the authority's signature and the rising number do.
func (n *Node) receiveList(m *nats.Msg) {
	c := n.cfg.Credentials
	if c == nil || m.Subject == subjects.CRLGet || unheard(m) {
		return
	}
	changed, err := c.Revocations().Update(m.Data, c.Authorities())
	if err != nil && !errors.Is(err, identity.ErrCRLRollback) {
		n.once("list", func() { n.log.Error().Err(err).Msg("revocation list refused") })
	}
	if changed {
		n.log.Info().Int("lists", len(c.Revocations().Lists())).Msg("revocation list in force")
		n.listsDirty = true
		n.leaveRevoked()
	}
}

// saveLists writes the lists in a goroutine of its own.
func (n *Node) saveLists() {
	n.listsDirty = false
	if n.cfg.StateDir == "" {
		return
	}
	held := n.Revocations().PEM()
	n.working.Go(func() {
		n.listsMu.Lock()
		defer n.listsMu.Unlock()
		if err := n.store.write(listsFile, held); err != nil {
			n.log.Error().Err(fmt.Errorf("save revocation lists: %w", err)).Msg("revocation lists not stored: they are asked for again")
		}
	})
}

// leaveRevoked ends the connection to a broker whose certificate is revoked.
func (n *Node) leaveRevoked() {
	l := n.link.state()
	if !l.up {
		return
	}
	cs, err := l.nc.TLSConnectionState()
	if err != nil {
		return // in process
	}
	if _, err := n.cfg.Credentials.VerifyBroker(cs); errors.Is(err, identity.ErrRevoked) {
		n.log.Error().Err(err).Str("peer", l.via).Msg("certificate of the broker revoked, leaving it")
		_ = l.nc.ForceReconnect() // fails only when closed
	}
}
