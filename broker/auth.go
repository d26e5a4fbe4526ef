package broker

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"

	"thor/identity"
)

var (
	errKind   = errors.New("not a client connection")
	errToken  = errors.New("unknown token")
	errName   = errors.New("a key besides the certificate")
	errClosed = errors.New("the broker is not ready")
)

// insider is who holds a token of the in-process connections.
type insider struct {
	id     *identity.Identity
	self   bool // the broker's own connection
	system bool // the same in the system account, see systemPermissions
}

// A gate decides who may connect: it turns a verified certificate into an
// account and permissions. nats-server calls it from one goroutine per
// connection.
type gate struct {
	creds *identity.Credentials // nil: in-process connections only
	log   zerolog.Logger
	m     *metrics

	permit func(id *identity.Identity, self bool) *server.Permissions

	open  chan struct{}   // closed when account may be used
	thor  *server.Account // the running server's account of all members; set before open is closed
	sys   *server.Account // its system account; likewise
	limit time.Duration   // how long a connection waits for open

	identities *identityPublisher // tells managers who is let in

	patience time.Duration // with connections of an authority that left the bundle

	mu     sync.Mutex
	tokens map[string]insider
	peers  map[uint64]*peer            // live clients by connection id
	again  time.Time                   // when the first grace ends; zero: none
	routes map[[sha256.Size]byte]*peer // brokers let in on routes, by certificate, until it ends
}

// A peer is the other end of a TLS connection.
type peer struct {
	chain []*x509.Certificate // as it was sent, leaf first
	id    *identity.Identity
	boot  string // of a client: its name
	told  bool   // of a broker: known to be bad

	untrusted time.Time // since when its authority is not ours any more; zero: it is
}

// longerTrust is how long a live connection outlives the departure of its
// authority from the bundle; clients go over as long a time again, not all at
// once. A change of authorities must end nothing: nodes get new certificates
// for it, but their connections go on with the old ones. And no certificate of
// an authority that one has stopped to trust may keep a connection for good.
const longerTrust = time.Hour

// spares reports whether p may stay although its certificate has the fault err.
// The caller holds g.mu.
func (g *gate) spares(p *peer, err error, extra time.Duration, now time.Time) bool {
	if !errors.Is(err, identity.ErrUntrusted) {
		return false
	}
	if p.untrusted.IsZero() {
		p.untrusted = now
	}
	end := p.untrusted.Add(g.patience + extra)
	if !now.Before(end) {
		return false
	}
	if g.again.IsZero() || end.Before(g.again) {
		g.again = end
	}
	return true
}

// due reports whether a grace ends now.
func (g *gate) due(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.again.IsZero() && !now.Before(g.again)
}

func newGate(creds *identity.Credentials, w *identityPublisher, log zerolog.Logger, m *metrics) *gate {
	return &gate{
		creds: creds, identities: w, m: m,
		log:   m.limiters.limit(log, 10, m.suppressed.WithLabelValues("broker")),
		open:  make(chan struct{}),
		limit: 5 * time.Second, patience: longerTrust,
		permit: permissions,
		tokens: make(map[string]insider),
		peers:  make(map[uint64]*peer),
		routes: make(map[[sha256.Size]byte]*peer),
	}
}

// admit makes a token that stands for in on in-process connections.
func (g *gate) admit(in insider) string {
	token := rand.Text()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tokens[token] = in
	return token
}

// dismiss takes a token back. The connections made with it stay.
func (g *gate) dismiss(token string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.tokens, token)
}

// Check implements server.Authentication for clients.
func (g *gate) Check(c server.ClientAuthentication) bool {
	in, err := g.client(c)
	if err != nil {
		g.refuse(c, "client", err)
		return false
	}
	own := in.self || in.system
	if !g.await(own) {
		g.refuse(c, "client", errClosed)
		return false
	}
	if !own {
		g.identities.tell(in.id) // before anything this client says can pass
	}
	u := &server.User{Username: string(in.id.Node)} // what events, Connz and logs show
	if in.system {
		u.Account, u.Permissions = g.sys, systemPermissions(in.id.Node)
	} else {
		u.Account, u.Permissions = g.thor, g.permit(in.id, in.self)
	}
	if !own {
		u.ConnectionDeadline = in.id.NotAfter // TLS looks at the date only once; zero in-process
	}
	c.RegisterUser(u)
	g.m.accept()
	return true
}

// await is for a connection that comes between the opening of the port and the
// end of the start: refusing it would count as a refused certificate there. All
// but the broker's own also wait for that one, which tells of them.
func (g *gate) await(self bool) bool {
	late := time.NewTimer(g.limit)
	defer late.Stop()
	wait := []chan struct{}{g.open, g.identities.ready}
	if self {
		wait = wait[:1]
	}
	for _, ch := range wait {
		select {
		case <-ch:
		case <-late.C:
			return false
		}
	}
	return true
}

func (g *gate) client(c server.ClientAuthentication) (insider, error) {
	if c.Kind() != server.CLIENT {
		return insider{}, errKind
	}
	addr, ok := c.RemoteAddress().(*clientAddr)
	if !ok {
		// Only in-process connections do not come through the front.
		g.mu.Lock()
		in, ok := g.tokens[c.GetOpts().Token]
		g.mu.Unlock()
		if !ok {
			return insider{}, errToken
		}
		return in, nil
	}
	if c.GetOpts().Nkey != "" { // events would name the client by it instead of its node
		return insider{}, errName
	}
	// The handshake verified it already. Once more, and remembered first, so
	// that a revocation that came in between finds either the fault or the peer.
	state := addr.conn.ConnectionState()
	addr.conn.cid.Store(c.GetID())
	g.mu.Lock()
	g.peers[c.GetID()] = &peer{chain: state.PeerCertificates, id: addr.conn.id, boot: c.GetOpts().Name}
	g.mu.Unlock()
	id, err := g.creds.Verify(state)
	return insider{id: id}, err
}

// broker checks the certificate of another broker, after the handshake and
// before anything is said. What passes is a server: no permission applies to
// it, so this is the check all others rest on. verify is that of the handshake.
// Who passes is remembered and then checked again, so that a revocation in
// between finds either the fault or the peer; who does not, leaves no trace.
func (g *gate) broker(cs tls.ConnectionState, verify func(tls.ConnectionState) error) error {
	err := verify(cs)
	if err == nil {
		if err = g.remember(cs.PeerCertificates); err == nil {
			err = verify(cs)
		}
	}
	if err != nil {
		g.m.refuse("route")
		g.log.Info().Str("kind", "route").Err(err).Msg("connection refused")
	}
	return err
}

func (g *gate) remember(chain []*x509.Certificate) error {
	id, err := identity.FromCertificate(chain[0])
	if err != nil {
		return err
	}
	key := sha256.Sum256(chain[0].Raw)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.routes[key] == nil {
		g.routes[key] = &peer{chain: chain, id: id}
	}
	return nil
}

// routeGate implements server.Authentication for accepted routes. The TLS
// handshake has made the same check before, on either side.
type routeGate struct{ *gate }

func (g routeGate) Check(c server.ClientAuthentication) bool {
	err := errKind
	if state := c.GetTLSConnectionState(); c.Kind() == server.ROUTER && state != nil {
		_, err = g.creds.VerifyBroker(*state)
	}
	if err != nil {
		g.refuse(c, "route", err)
	}
	return err == nil
}

func (g *gate) refuse(c server.ClientAuthentication, what string, err error) {
	g.m.refuse(what)
	g.log.Info().Stringer("addr", c.RemoteAddress()).Str("kind", what).Err(err).Msg("connection refused")
}

// badClients are the live clients whose certificate is good no more, by id,
// with the reason.
func (g *gate) badClients(now time.Time) map[uint64]badPeer {
	g.mu.Lock()
	peers := maps.Clone(g.peers)
	g.again = time.Time{}
	g.mu.Unlock()
	bad := make(map[uint64]badPeer)
	for cid, p := range peers {
		_, err := g.creds.Check(p.chain, x509.ExtKeyUsageClientAuth)
		g.mu.Lock()
		if err == nil {
			p.untrusted = time.Time{}
		} else if !g.spares(p, err, g.patience/100*time.Duration(cid%100), now) {
			bad[cid] = badPeer{*p, err}
		}
		g.mu.Unlock()
	}
	return bad
}

// badPeer is a peer and why it may not stay.
type badPeer struct {
	peer
	err error
}

// badRoutes are the brokers whose certificate is good no more, each once.
func (g *gate) badRoutes(now time.Time) []badPeer {
	g.mu.Lock()
	defer g.mu.Unlock()
	var bad []badPeer
	for key, p := range g.routes {
		_, err := g.creds.Check(p.chain, x509.ExtKeyUsageServerAuth)
		if err == nil {
			p.untrusted = time.Time{}
		} else if g.spares(p, err, 0, now) {
			continue
		}
		if err != nil && !p.told {
			bad = append(bad, badPeer{*p, err})
		}
		if p.told = err != nil; errors.Is(err, identity.ErrExpired) {
			delete(g.routes, key)
		}
	}
	return bad
}

// prune forgets clients that are gone.
func (g *gate) prune(live func(cid uint64) bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for cid := range g.peers {
		if !live(cid) {
			delete(g.peers, cid)
		}
	}
}
