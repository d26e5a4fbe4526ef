package overlay

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"thor/subjects"
)

// A connection is the one connection of this process to a broker, which is made
// again for ever. Its callbacks run in goroutines of nats.go. While that reconnects
// it holds a lock which most of its methods take: use state, and call the client
// only while it is up.
type connection struct {
	cfg     *Config
	id      subjects.NodeID
	log     *slog.Logger
	brokers brokerList
	dialer  *dialer

	changed func()                          // the state is another one
	answer  func(*nats.Msg)                 // a message on a subject of answers
	refused func(subject string, err error) // the broker does not let this node publish there
	moving  func()                          // tells managers that this connection is left for another one

	client atomic.Pointer[nats.Conn] // also before it is connected
	closed chan struct{}             // closed after the last callback

	mu      sync.Mutex
	link    link
	serial  string // of the certificate with which link was made
	lastErr error  // of the newest failed attempt
	failing bool   // the failure is in the log already
	closing bool   // what happens now is this process's own doing

	takesShort  atomic.Bool // managers understand short beats
	refusesAsks atomic.Bool // the broker does not let managers ask for full announcements
	refusesRole atomic.Bool // the broker does not let the deltas of a role be heard

	onceMu   sync.Mutex
	logged   map[string]struct{} // what once has returned true for…
	loggedAt int                 // …since this connection
}

// A link is the state of the connection at one moment.
type link struct {
	nc     *nats.Conn // nil before the first connection
	up     bool
	number int    // of connections so far
	via    string // "<broker>#<connection>" of the newest, as the callback saw it
	alone  bool   // the broker says that it is
}

// lasts reports whether now is the same connection, whatever its broker has told
// since: one that has become alone is to be left all the more.
func (l link) lasts(now link) bool { return now.up && now.number == l.number }

func newConnection(cfg *Config, id subjects.NodeID, log *slog.Logger) *connection {
	c := &connection{
		cfg: cfg, id: id, log: log, brokers: newBrokerList(cfg.Brokers),
		closed: make(chan struct{}), logged: make(map[string]struct{}),
	}
	c.dialer = &dialer{brokers: &c.brokers, tcp: cfg.Dial, failed: c.attemptFailed}
	c.dialer.near.site = cfg.site
	if id := cfg.identity(); id != nil {
		c.dialer.near.domain = id.Domain
	}
	if cfg.Credentials != nil {
		c.dialer.tls = cfg.Credentials.ClientTLS
		if cfg.NearFirst {
			c.dialer.near.machine = func(host string) bool { return cfg.Credentials.Certificate().Leaf.VerifyHostname(host) == nil }
		}
	}
	return c
}

func (c *connection) state() link {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.link
}

func (c *connection) lastError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lastErr
}

// options are those of every connection of thor; Config.Options come last.
func (c *connection) options() []nats.Option {
	opts := append(c.secure(),
		nats.Name(c.cfg.Boot),
		nats.CustomInboxPrefix(subjects.ClientInbox(c.id, c.cfg.identity().Roles)),
		nats.IgnoreDiscoveredServers(),
		nats.SetCustomDialer(c.dialer),
		nats.Timeout(connectTimeout),
		nats.FlusherTimeout(writeTimeout),
		nats.PingInterval(pingEvery),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(), // a renewed certificate, or a clock put right, may come
		nats.ReconnectBufSize(-1),   // an announcement sent later would not be true
		nats.CustomReconnectDelay(c.roundFailed),
		nats.ConnectHandler(c.connected),
		nats.ReconnectHandler(c.connected),
		nats.DisconnectErrHandler(c.disconnected),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { c.attemptFailed(err) }),
		nats.ErrorHandler(c.asyncError),
		nats.ClosedHandler(func(*nats.Conn) { close(c.closed) }),
	)
	return append(opts, c.cfg.Options...)
}

// secure are the options that tell nats.go that the dialer makes TLS connections.
func (c *connection) secure() []nats.Option {
	opts := []nats.Option{nats.SkipHostLookup()}
	if creds := c.cfg.Credentials; creds != nil {
		opts = append(opts, nats.Secure(creds.ClientTLS()), nats.TLSHandshakeFirst())
	}
	return opts
}

// anyBroker stands for the list of brokers: nats.go knows one server, and the
// dialer chooses.
const anyBroker = "nats://brokers.invalid:4222"

// dial sets c.client to a connection that is tried for ever, made already or not.
// It fails only when the dialer is stopped or the configuration is impossible.
func (c *connection) dial() error {
	nc, err := nats.Connect(anyBroker, c.options()...)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	c.client.Store(nc)
	return nil
}

// leave notes that the connection ends on purpose.
func (c *connection) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing = true
}

// close ends the connection and waits for its callbacks.
func (c *connection) close() {
	if nc := c.client.Load(); nc != nil {
		nc.Close()
		select {
		case <-c.closed:
		case <-time.After(closeAfter):
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link.up = false
}

// givenUp is why the client library ended the connection for good: an error of the broker
// that it does not know. nil: it was closed on purpose.
func (c *connection) givenUp() error {
	nc := c.client.Load()
	if nc == nil {
		return nil
	}
	err := nc.LastError()
	if err == nil || errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrPermissionViolation) {
		return nil
	}
	return fmt.Errorf("the connection to broker %s ended for good: %w", subjects.ViaBroker(c.state().via), err)
}

// roundFailed is called by nats.go, without its lock, before each attempt but the
// first of a process: all brokers have failed from the second time on. A
// connection that was lost is made again at once.
func (c *connection) roundFailed(round int) time.Duration {
	if round <= 1 {
		return 0
	}
	c.reportFailure(c.client.Load())
	return reconnectDelay(round, rand.N[time.Duration])
}

func (c *connection) attemptFailed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil && !errors.Is(err, nats.ErrNoServers) {
		c.lastErr = err
	}
}

// reportFailure logs, once until the next connection, that no broker accepts this
// process.
func (c *connection) reportFailure(nc *nats.Conn) {
	if nc != nil {
		c.attemptFailed(nc.LastError())
	}
	c.mu.Lock()
	err, silent := c.lastErr, c.failing || c.closing
	c.failing = true
	c.mu.Unlock()
	if !silent {
		c.log.Error("no broker accepts the connection, retrying", cause(err), slog.Any("brokers", c.cfg.Brokers))
	}
}

// viaOf names the connection that nc has now, "<broker>#<connection>", or
// returns "" while it has none. The callbacks of nats.go come later than a
// reconnection, and managers take an announcement that names the connection before
// for one that was sent before its end.
func viaOf(nc *nats.Conn) string {
	cid, err := nc.GetClientID()
	server := nc.ConnectedServerName()
	if err != nil || server == "" {
		return ""
	}
	return subjects.ViaOf(server, cid)
}

func (c *connection) connected(nc *nats.Conn) {
	server, via := nc.ConnectedServerName(), viaOf(nc)
	if via == "" {
		return // lost again already; the next callback says so
	}
	if c.state().number == 0 { // the client library subscribes again on the next connections
		if _, err := nc.Subscribe(subjects.Answers(c.id), c.answer); err != nil {
			c.log.Error("subscribe to answers", cause(err))
		}
	}
	greeted := c.dialer.current()
	c.mu.Lock()
	c.link = link{nc: nc, up: true, number: c.link.number + 1, via: via, alone: greeted != nil && greeted.alone}
	c.serial = c.cfg.identity().Serial
	c.lastErr, c.failing = nil, false
	c.mu.Unlock()
	c.refusesAsks.Store(false) // until it says so
	c.refusesRole.Store(false)
	c.log.Info("connected to broker", slog.String("peer", server))
	c.changed()
}

// notice notes what a broker tells of itself.
func (c *connection) notice(m *nats.Msg) error {
	n, err := subjects.ParseBrokerNotice(m.Subject, m.Data)
	if err != nil {
		return err
	}
	c.mu.Lock()
	broker := subjects.ViaBroker(c.link.via)
	news := c.link.up && broker == string(n.Broker) && c.link.alone != n.Alone
	if news {
		c.link.alone = n.Alone
	}
	c.mu.Unlock()
	if news {
		c.log.Info("notice of the broker", slog.String("peer", broker), slog.Bool("alone", n.Alone))
		c.changed()
	}
	return nil
}

// tlsState is that of the connection, ok false without TLS.
func (c *connection) tlsState() (_ tls.ConnectionState, ok bool) {
	if g := c.dialer.current(); g != nil {
		if t, ok := g.Conn.(*tls.Conn); ok {
			return t.ConnectionState(), true
		}
	}
	return tls.ConnectionState{}, false
}

// reconnect leaves nc for another connection. Managers are told before, or they would
// take the end of this one for that of the process.
func (c *connection) reconnect(nc *nats.Conn) {
	c.moving()
	_ = nc.FlushTimeout(movingTime) // a broker that is alone, or stands still, cannot tell of the end either
	_ = nc.ForceReconnect()         // fails only when closed
}

func (c *connection) disconnected(_ *nats.Conn, err error) {
	c.mu.Lock()
	c.link.up = false
	closing, peer := c.closing, c.link.via
	c.mu.Unlock()
	if !closing {
		c.log.Info("broker connection lost, reconnecting", cause(err), slog.String("peer", peer))
	}
	c.changed()
}

// asyncError handles what the broker or the client library complains about.
func (c *connection) asyncError(nc *nats.Conn, sub *nats.Subscription, err error) {
	switch {
	case errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), subjects.LimitExceeded):
		c.log.Error("the broker ends the connection: this process sent too much", cause(err))
	case errors.Is(err, nats.ErrPermissionViolation):
		c.violated(nc, err)
	case errors.Is(err, nats.ErrSlowConsumer):
		if c.once("slow") {
			c.log.Error("inbox overflow, messages dropped")
		}
	case sub == nil:
		c.attemptFailed(err) // such as an expired certificate; the connection ends next
	default:
		c.log.Debug("subscription", cause(err), slog.String("subject", sub.Subject))
	}
}

// violated handles a permission violation. The broker names the subject in the text.
func (c *connection) violated(nc *nats.Conn, err error) {
	subject, publish := violation(err.Error())
	if publish {
		c.refused(subject, err)
	}
	if c.once("refused " + subject) {
		switch {
		case !publish && strings.HasPrefix(subject, subjects.RequestPrefix(c.id)):
			// Requests in a role whose announcement is refused, and logged, too.
			c.log.Debug("no requests in this role", slog.String("subject", subject))
		case !publish && subject == subjects.ManagerRequests(c.id): // a broker of an earlier version
			c.refusesAsks.Store(true)
			c.takesShort.Store(false)
			c.log.Debug("managers cannot ask for full announcements through this broker", slog.String("subject", subject))
		case !publish && (subjects.ChangedRole(subject) != "" || subject == subjects.RolesTick): // a broker of an earlier version
			c.refusesRole.Store(true)
			c.log.Debug("deltas of single roles cannot be heard through this broker", slog.String("subject", subject))
			c.changed()
		default:
			c.log.Error("the broker does not permit this node the subject", slog.String("subject", subject), slog.Bool("publish", publish))
		}
	}
	c.mu.Lock()
	renewed := c.link.up && c.serial != c.cfg.identity().Serial
	c.mu.Unlock()
	if renewed { // the new certificate may permit more
		c.reconnect(nc)
	}
}

// violation takes the subject out of the text of a permission violation.
func violation(text string) (subject string, publish bool) {
	for _, kind := range []string{`Publish to "`, `Subscription to "`} {
		if _, rest, ok := strings.Cut(text, kind); ok {
			subject, _, _ = strings.Cut(rest, `"`)
			return subjects.Printable(subject, 200), kind[0] == 'P'
		}
	}
	return "", false
}

// once is true for the first call with key since the last connection.
func (c *connection) once(key string) bool {
	number := c.state().number
	c.onceMu.Lock()
	defer c.onceMu.Unlock()
	if c.loggedAt != number {
		clear(c.logged)
		c.loggedAt = number
	}
	_, was := c.logged[key]
	c.logged[key] = struct{}{}
	return !was
}
