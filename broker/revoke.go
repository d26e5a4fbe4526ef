package broker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"thor/identity"
	"thor/identity/atomicfile"
	"thor/overlay/audit"
	"thor/subjects"
)

// The store keeps the newest list of each authority in one PEM file.
func (b *Broker) listFile() string { return filepath.Join(b.cfg.StoreDir, "revocations.pem") }

// loadLists reads what was known at the last end and the configured file,
// before the first client may connect. A broker whose store is damaged starts all the
// same, and asks the others.
func (b *Broker) loadLists() {
	data, err := os.ReadFile(b.listFile())
	if err == nil {
		_, err = b.takeList(data)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		b.log.Error().Err(err).Msg("stored revocation lists are unusable")
	}
	if b.cfg.CRLFile == "" {
		return
	}
	changed := false
	if data, err = os.ReadFile(b.cfg.CRLFile); err == nil {
		changed, err = b.takeList(data)
	}
	b.auditList(audit.Local, b.cfg.CRLFile, changed, err)
	if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, identity.ErrCRLRollback) {
		b.log.Error().Err(err).Msg("revocation list file is unusable")
	}
}

// takeList adds a list to those in force and stores them. changed is true if it
// was new.
func (b *Broker) takeList(data []byte) (changed bool, err error) {
	b.lists.Lock()
	defer b.lists.Unlock()
	creds := b.cfg.Credentials
	changed, err = creds.Revocations().Update(data, creds.Authorities())
	switch {
	case changed:
		b.m.crl("new")
	case err != nil && !errors.Is(err, identity.ErrCRLRollback):
		b.m.crl("refused")
	default:
		b.m.crl("known")
	}
	if !changed {
		return false, err
	}
	held := creds.Revocations().PEM()
	if old, rerr := os.ReadFile(b.listFile()); rerr != nil || !bytes.Equal(old, held) {
		// In force it is already; a failure to store costs only after a restart.
		if werr := atomicfile.Write(b.listFile(), held, 0o600); werr != nil {
			err = errors.Join(err, fmt.Errorf("store %s: %w", filepath.Base(b.listFile()), werr))
		}
	}
	for _, l := range creds.Revocations().Lists() {
		b.log.Info().Str("issuer", l.Issuer).Str("number", l.Number).Int("revoked", l.Entries).Msg("revocation list in force")
	}
	return true, err
}

// listFromWire handles thor.crl.<sender>. Who published it does not matter: the
// authority's signature and the rising number do. An operator who asks for a
// reply learns what became of it.
func (b *Broker) listFromWire(s *server.Server, own *nats.Conn, m *nats.Msg) {
	changed, err := b.takeList(m.Data)
	if changed {
		b.endInvalid(s, own)
	}
	who := string(subjects.CRLSender(m.Subject))
	b.auditList(who, who, changed, err)
	r := &subjects.Reply{V: subjects.Version}
	if err != nil {
		r.Code, r.Text = subjects.ErrorFailed, subjects.Printable(err.Error(), 512)
		if errors.Is(err, identity.ErrCRL) || errors.Is(err, identity.ErrCRLUnknown) {
			r.Code = subjects.ErrorBad
		}
		if !errors.Is(err, identity.ErrCRLRollback) {
			b.log.Error().Err(err).Msg("revocation list received")
		}
	}
	if m.Reply != "" && subjects.CheckReply(m.Subject, m.Reply) == nil {
		_ = m.Respond(r.Encode())
	}
}

// listFromPeer handles a list that another broker had and this one had not. The
// clients of this one may have missed it too.
func (b *Broker) listFromPeer(s *server.Server, own *nats.Conn, m *nats.Msg) {
	before := b.cfg.Credentials.Revocations().Version()
	b.listFromWire(s, own, m)
	if b.cfg.Credentials.Revocations().Version() != before {
		b.shareLists(own)
	}
}

// listsAsked answers thor.crl.get, and a member's question, with one message per
// list that the asker does not hold.
func (b *Broker) listsAsked(m *nats.Msg) {
	r, err := subjects.ParseListRequest(m.Data)
	if err != nil || m.Reply == "" || subjects.CheckReply(m.Subject, m.Reply) != nil {
		return
	}
	// Lists may be large: a node has them sent to itself alone, and so many times.
	if node := subjects.CRLAsker(m.Subject); node != "" && (!subjects.Confidential(m.Reply, node) || !b.usage.list(node, time.Now())) {
		return
	}
	for _, der := range b.cfg.Credentials.Revocations().DER() {
		if sum := sha256.Sum256(der); slices.Contains(r.Held, hex.EncodeToString(sum[:])) {
			continue
		}
		if len(der) > maxPayload {
			b.log.Error().Int("bytes", len(der)).Msg("revocation list is too big to be sent: give each broker the file")
			continue
		}
		if err := m.Respond(der); err != nil {
			return
		}
	}
}

// shareLists publishes all lists, for brokers that do not have them.
func (b *Broker) shareLists(own *nats.Conn) {
	for _, der := range b.cfg.Credentials.Revocations().DER() {
		if len(der) <= maxPayload {
			_ = own.Publish(subjects.PublishCRL(b.id.Node), der)
		}
	}
}

// followLists subscribes to what concerns revocations. It returns a function that
// asks the other brokers for their lists. Their answers come on a subject of its
// own: other processes of the node, such as a manager, have answers below
// subjects.Answers too.
func (b *Broker) followLists(s *server.Server, own *nats.Conn) (askPeers func(), err error) {
	take := func(m *nats.Msg) { b.listFromWire(s, own, m) }
	reply, err := subjects.NewAnswer(b.id.Node, subjects.CRLGet)
	if err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	for _, f := range []struct {
		subject string
		h       nats.MsgHandler
	}{
		{subjects.AllCRLs, func(m *nats.Msg) {
			if m.Subject == subjects.CRLGet {
				b.listsAsked(m)
				return
			}
			take(m)
		}},
		{reply, func(m *nats.Msg) {
			if len(m.Data) > 0 { // else the broker's word that there is no other
				m.Reply = ""
				b.listFromPeer(s, own, m)
			}
		}},
		{subjects.AllCRLAsks, b.listsAsked},
	} {
		if _, err := own.Subscribe(f.subject, f.h); err != nil {
			return nil, fmt.Errorf("broker: subscribe %s: %w", f.subject, err)
		}
	}
	return func() { _ = own.PublishRequest(subjects.CRLGet, reply, nil) }, nil
}

// watchFile reads Config.CRLFile when it has changed.
func (b *Broker) watchFile(seen *os.FileInfo, s *server.Server, own *nats.Conn) {
	if b.cfg.CRLFile == "" {
		return
	}
	st, err := os.Stat(b.cfg.CRLFile)
	if err != nil {
		if *seen != nil {
			b.log.Error().Err(err).Msg("revocation list file is gone; its content stays in force")
			*seen = nil
		}
		return
	}
	if old := *seen; old != nil && os.SameFile(old, st) && old.ModTime().Equal(st.ModTime()) && old.Size() == st.Size() {
		return
	}
	*seen = st
	data, err := os.ReadFile(b.cfg.CRLFile)
	changed := false
	if err == nil {
		changed, err = b.takeList(data)
	}
	b.auditList(audit.Local, b.cfg.CRLFile, changed, err)
	if err != nil {
		b.log.Error().Err(err).Msg("revocation list file")
	}
	if changed {
		b.endInvalid(s, own)
		b.shareLists(own)
	}
}

// endInvalid ends the connections whose certificate is good no more: revoked at
// once, of an authority that was taken out of the bundle after a while.
func (b *Broker) endInvalid(s *server.Server, own *nats.Conn) {
	for cid, p := range b.gate.badClients(time.Now()) {
		if s.DisconnectClientByID(cid) == nil { // else gone by itself
			b.ended("client", p, own)
		}
	}
	b.endBadRoutes(s, own)
}

// endBadRoutes is endInvalid for routes, which nats-server, unlike clients, also
// lets outlive their certificate. What a broker calls itself on a route is not
// bound to its certificate: after a revocation all routes end, also one that was
// between its handshake and its registration then, and the good ones come back.
func (b *Broker) endBadRoutes(s *server.Server, own *nats.Conn) {
	now := time.Now()
	for _, p := range b.gate.badRoutes(now) {
		if errors.Is(p.err, identity.ErrExpired) {
			b.cutRoutes(s, string(p.id.Node), now)
			continue
		}
		b.cutBefore.Store(&now)
		b.ended("route", p, own)
	}
	if t := b.cutBefore.Load(); t != nil {
		b.cutRoutes(s, "", *t)
	}
}

func (b *Broker) cutRoutes(s *server.Server, name string, before time.Time) {
	if err := endRoutes(s, name, before); err != nil {
		b.log.Error().Err(err).Msg("end routes")
	}
}

func (b *Broker) ended(kind string, p badPeer, own *nats.Conn) {
	b.m.revoke(kind)
	b.log.Info().Str("kind", kind).Str("peer", string(p.id.Node)).Err(p.err).Msg("connection ended")
	if errors.Is(p.err, identity.ErrRevoked) {
		r := subjects.Revoked{V: subjects.Version, Node: p.id.Node, Boot: p.boot, Serial: p.id.Serial}
		_ = own.Publish(subjects.RevokedNode, r.Encode())
	}
}

// validity is all that decides whether a certificate is good. It changes when
// something did, also if another part of this process did it.
type validity struct {
	roots *x509.CertPool
	lists string
}

func (b *Broker) validity() validity {
	c := b.cfg.Credentials
	return validity{c.Roots(), fmt.Sprint(c.Revocations().Lists())}
}

const (
	askTimes = 3  // a new broker is asked at so many ticks: the first request may be ahead of its subscription
	askTicks = 30 // and all each minute
)

// guardLists keeps the revocation lists in force until ctx ends.
func (b *Broker) guardLists(ctx context.Context, s *server.Server, own *nats.Conn) error {
	if b.cfg.Credentials == nil {
		return nil
	}
	askPeers, err := b.followLists(s, own)
	if err != nil {
		return err
	}
	var file os.FileInfo
	var valid validity
	var known map[string]bool
	ask, n := askTimes, 0
	every(ctx, listTick, func() {
		b.watchFile(&file, s, own)
		if v := b.validity(); v != valid || b.gate.due(time.Now()) {
			valid = v
			b.endInvalid(s, own)
		} else {
			b.endBadRoutes(s, own)
		}
		now := remoteNames(s)
		for name := range now {
			if !known[name] {
				ask = askTimes // it may know more, or come back from a partition
			}
		}
		if n++; ask > 0 || n%askTicks == 0 {
			askPeers()
			ask = max(ask-1, 0)
		}
		known = now
		b.gate.prune(func(cid uint64) bool { return s.GetClient(cid) != nil })
	})
	return nil
}
