package overlay

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"thor/subjects"
)

// A link is what the callbacks of the connection report. They run in goroutines
// of nats.go, and while that reconnects it holds a lock which most of its
// methods want: so ask the link, and touch the connection only while it is up.
type link struct {
	mu      sync.Mutex
	nc      *nats.Conn // nil before the first connection
	up      bool
	number  int    // of connections so far
	via     string // "<broker>#<connection>" of the newest
	serial  string // of the certificate it was made with
	lastErr error  // of the newest failed attempt
	failing bool   // the failure is in the log already
	closing bool   // what happens now is our own doing
}

// linkState is a copy of what the loop wants to know of a link.
type linkState struct {
	nc     *nats.Conn
	up     bool
	number int
	via    string
}

func (l *link) state() linkState {
	l.mu.Lock()
	defer l.mu.Unlock()
	return linkState{l.nc, l.up, l.number, l.via}
}

// options are those of every connection of thor; Config.Options come last.
func (n *Node) options(d *dialer, closed chan<- struct{}) []nats.Option {
	opts := []nats.Option{
		nats.Name(n.cfg.Boot),
		nats.CustomInboxPrefix(subjects.ClientInbox(n.id, n.Identity().Roles)),
		nats.IgnoreDiscoveredServers(),
		nats.SkipHostLookup(), // the dialer looks up, within its timeout
		nats.SetCustomDialer(d),
		nats.Timeout(dialTimeout),
		nats.FlusherTimeout(writeTimeout),
		nats.PingInterval(pingEvery),
		nats.MaxPingsOutstanding(pingsMissed),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(), // a renewed certificate, or a clock put right, may come
		nats.ReconnectBufSize(-1),   // a beat from the past is a lie
		nats.CustomReconnectDelay(func(round int) time.Duration { return n.roundFailed(d.ctx, round) }),
		nats.ConnectHandler(n.connected),
		nats.ReconnectHandler(n.connected),
		nats.DisconnectErrHandler(n.disconnected),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { n.attemptFailed(err) }),
		nats.ErrorHandler(n.asyncError),
		nats.ClosedHandler(func(*nats.Conn) { close(closed) }),
	}
	if n.cfg.Credentials != nil {
		c := n.cfg.Credentials
		opts = append(opts, nats.Secure(c.ClientTLS()), nats.ClientTLSConfig(nil, c.RootCAs), nats.TLSHandshakeFirst())
	}
	return append(opts, n.cfg.Options...)
}

// A dialer makes TCP connections for nats.go until its ctx ends.
type dialer struct {
	ctx    context.Context
	mu     sync.Mutex
	newest net.Conn
}

// Dial is what nats.CustomDialer wants.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	plain := net.Dialer{Timeout: dialTimeout}
	c, err := plain.DialContext(d.ctx, network, address)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	d.newest = c
	d.mu.Unlock()
	return c, nil
}

// abort ends a TLS handshake under way, which does not know of ctx.
func (d *dialer) abort() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.newest != nil {
		_ = d.newest.Close() // whatever it says, it is closed
	}
}

// connect sets n.dialled to a connection that tries for ever, made already or
// not. It fails only when d is stopped or the configuration is impossible.
func (n *Node) connect(d *dialer, closed chan<- struct{}) error {
	ctx := d.ctx
	urls, err := n.brokers(ctx)
	for try := 1; err != nil; try++ {
		n.attemptFailed(err)
		n.reportFailure(nil)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(reconnectDelay(try, rand.N[time.Duration])):
		}
		urls, err = n.brokers(ctx)
	}
	nc, err := nats.Connect(strings.Join(urls, ","), n.options(d, closed)...)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	n.dialled.Store(nc)
	return nil
}

// brokers is the list to dial.
func (n *Node) brokers(ctx context.Context) ([]string, error) {
	if len(n.cfg.Brokers) != 1 {
		return n.cfg.Brokers, nil
	}
	domain, ok := strings.CutPrefix(n.cfg.Brokers[0], srvPrefix)
	if !ok {
		return n.cfg.Brokers, nil
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	_, found, err := n.lookupSRV(ctx, "eventserver", "tcp", domain)
	if err != nil {
		return nil, fmt.Errorf("find brokers: %w", err)
	}
	urls := make([]string, 0, len(found))
	for _, s := range found {
		if host := strings.TrimSuffix(s.Target, "."); host != "" { // RFC 2782: "." is "no such service"
			urls = append(urls, "tls://"+net.JoinHostPort(host, strconv.Itoa(int(s.Port))))
		}
	}
	if len(urls) == 0 {
		return nil, fmt.Errorf("find brokers: no SRV records of _eventserver._tcp.%s", domain)
	}
	return urls, nil
}

// reconnectDelay is the wait after all brokers of the list failed for the
// round-th time in a row: 50 to 250 ms at first, after many rounds up to 2 s. It
// is random over the whole range, so that members that lost the same broker
// spread out. chance(d) is uniform in [0, d).
func reconnectDelay(round int, chance func(time.Duration) time.Duration) time.Duration {
	const least, first, most = 50 * time.Millisecond, 250 * time.Millisecond, 2 * time.Second
	top := first
	for ; round > 4 && top < most; round -= 2 {
		top *= 2
	}
	return least + chance(min(top, most)-least)
}

// roundFailed is called by nats.go, without its lock, each time before it tries
// the last broker of the list: all of them have failed from the second time on.
func (n *Node) roundFailed(ctx context.Context, round int) time.Duration {
	nc := n.dialled.Load()
	if round > 1 {
		n.reportFailure(nc)
	}
	if nc != nil && len(n.cfg.Brokers) == 1 && strings.HasPrefix(n.cfg.Brokers[0], srvPrefix) {
		if urls, err := n.brokers(ctx); err != nil {
			n.attemptFailed(err)
		} else if err := nc.SetServerPool(urls); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
			n.attemptFailed(err)
		}
	}
	return reconnectDelay(round, rand.N[time.Duration])
}

// ConnectError is why the newest attempt to reach a broker failed; nil while
// connected, and before all brokers of the list have failed once.
func (n *Node) ConnectError() error {
	n.link.mu.Lock()
	defer n.link.mu.Unlock()
	return n.link.lastErr
}

func (n *Node) attemptFailed(err error) {
	n.link.mu.Lock()
	defer n.link.mu.Unlock()
	if err != nil && !errors.Is(err, nats.ErrNoServers) {
		n.link.lastErr = err
	}
}

// reportFailure logs, once until the next connection, that no broker takes us.
func (n *Node) reportFailure(nc *nats.Conn) {
	var err error
	if nc != nil {
		err = nc.LastError()
	}
	n.attemptFailed(err)
	n.link.mu.Lock()
	err = n.link.lastErr
	said := n.link.failing || n.link.closing
	n.link.failing = true
	n.link.mu.Unlock()
	if !said {
		n.log.Error().Err(err).Strs("brokers", n.cfg.Brokers).Msg("no broker accepts the connection, trying on")
	}
}

// viaOf names the connection that nc has now, "<broker>#<connection>", or
// returns "" while it has none. The callbacks of nats.go come later than a
// reconnection: managers take a beat that names the connection before for one
// that was sent before its end.
func viaOf(nc *nats.Conn) string {
	cid, err := nc.GetClientID()
	server := nc.ConnectedServerName()
	if err != nil || server == "" {
		return ""
	}
	return server + "#" + strconv.FormatUint(cid, 10)
}

func (n *Node) connected(nc *nats.Conn) {
	server, via := nc.ConnectedServerName(), viaOf(nc)
	if via == "" {
		return // lost again already; the next callback says so
	}
	if n.link.state().number == 0 { // the client library subscribes again on the next connections
		if _, err := nc.Subscribe(subjects.Answers(n.id), n.asks.deliver); err != nil {
			n.log.Error().Err(err).Msg("subscribe to answers")
		}
	}
	n.link.mu.Lock()
	n.link.nc, n.link.up, n.link.lastErr, n.link.failing = nc, true, nil, false
	n.link.number++
	n.link.via = via
	n.link.serial = n.Identity().Serial
	n.link.mu.Unlock()
	n.log.Info().Str("peer", server).Msg("connected to broker")
	n.kick()
}

func (n *Node) disconnected(_ *nats.Conn, err error) {
	n.link.mu.Lock()
	n.link.up = false
	closing, peer := n.link.closing, n.link.via
	n.link.mu.Unlock()
	if !closing {
		n.log.Info().Err(err).Str("peer", peer).Msg("broker connection lost, reconnecting")
	}
	n.kick()
}

// asyncError takes what the broker or the client library complains about.
func (n *Node) asyncError(nc *nats.Conn, sub *nats.Subscription, err error) {
	switch {
	case errors.Is(err, nats.ErrPermissionViolation):
		n.refused(nc, err)
	case errors.Is(err, nats.ErrSlowConsumer):
		n.once("slow", func() {
			n.log.Error().Msg("messages come faster than they are read, some are lost")
		})
	case sub == nil:
		n.attemptFailed(err) // such as an expired certificate; the connection ends next
	default:
		n.log.Debug().Err(err).Str("subject", sub.Subject).Msg("subscription")
	}
}

// refused handles a permission violation. The broker names the subject in the text.
func (n *Node) refused(nc *nats.Conn, err error) {
	subject, publish := violation(err.Error())
	if publish {
		n.asks.refuse(subject)
		n.presenceRefused(subject, err)
	}
	n.once("refused "+subject, func() {
		if !publish && strings.HasPrefix(subject, subjects.RequestPrefix(n.id)) {
			// Requests in a role whose announcement is refused, and logged, too.
			n.log.Debug().Str("subject", subject).Msg("no requests in this role")
			return
		}
		n.log.Error().Str("subject", subject).Bool("publish", publish).Msg("the broker does not permit this node the subject")
	})
	n.link.mu.Lock()
	renewed := n.link.up && n.link.serial != n.Identity().Serial
	n.link.mu.Unlock()
	if renewed { // the certificate got better since: use it
		_ = nc.ForceReconnect() // fails only when closed
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

// once calls say unless it did for key since the last connection.
func (n *Node) once(key string, say func()) {
	number := n.link.state().number
	n.saidMu.Lock()
	if n.saidWith != number {
		clear(n.said)
		n.saidWith = number
	}
	_, was := n.said[key]
	n.said[key] = struct{}{}
	n.saidMu.Unlock()
	if !was {
		say()
	}
}
