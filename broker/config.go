package broker

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"thor/identity"
	"thor/overlay/audit"
	"thor/subjects"
)

// Config is what a broker needs. Zero values mean the defaults named here.
type Config struct {
	// Credentials hold the broker's certificate, with the role thor_eventserver.
	// A certificate that they reload serves the next handshake on both ports; the
	// node name must stay.
	Credentials *identity.Credentials
	// Identity stands in for Credentials if neither port is used.
	Identity *identity.Identity

	// Listen is the "host:port" for clients; port 0 picks a free one. Empty means
	// none: then only connections inside the process reach the broker.
	Listen string
	// ClusterListen is the "host:port" for other brokers. Empty means standalone:
	// one broker, one copy of each bucket. A broker with a cluster port needs
	// at least one other before JetStream works.
	ClusterListen string
	// Advertise and ClusterAdvertise are what clients and other brokers are told
	// to dial, "host" or "host:port". Empty means the listen address, which then
	// must name one address. The host must be in the certificate.
	Advertise, ClusterAdvertise string
	// Routes are the cluster ports of all brokers as "tls://host:port". Its own
	// may be among them, so that all brokers can share one list. Needed with
	// ClusterListen.
	Routes []string

	// StoreDir is a directory of this broker alone. It holds JetStream's state
	// and the revocation lists.
	StoreDir string
	// CRLFile is a certificate revocation list, DER or PEM, that is read again
	// when it changes. Empty means that lists come by thor.crl only.
	CRLFile string

	// Addresses is what the broker announces of itself as thor_eventserver. Empty
	// means the addresses of its certificate; none at all means no announcement.
	Addresses []netip.Addr
	Priority  int    // announced; 0 to 65535, lower is preferred, 0 is none
	Version   string // announced

	PingInterval     time.Duration // on clients and routes; two unanswered pings end a connection; default 1 s
	LameDuck         time.Duration // how long a graceful end gives clients to move; default 2 s; negative means none
	MaxSubscriptions int           // of one client; default 1,000
	MemoryLimit      int64         // bytes of memory for JetStream; default 256 MiB
	DiskLimit        int64         // bytes of disk for JetStream; default 1 GiB

	// ProcessMemory is what the process may use, in bytes. Zero means the limit
	// of its control group or GOMEMLIMIT, whichever is less; without any, no limit
	// follows from it.
	ProcessMemory int64
	// MaxConnections are clients at a time. Zero means what fits in ProcessMemory
	// beside JetStream, at most 20,000.
	MaxConnections int
	// NodeConnections and NodeSubscriptions are of one node, in all its
	// connections to this broker; default 32 and 1,000. Brokers and managers are
	// exempt.
	NodeConnections, NodeSubscriptions int
	// MaxPending is how much may wait for a client that reads slowly, in bytes,
	// before its connection ends; default 8 MiB.
	MaxPending int64
	// Unauthenticated and UnauthenticatedBySource are client connections that have
	// not shown a certificate yet, in total and of one IPv4 address or IPv6 /64;
	// default 4,096 and 1,024, which is above what a thousand members behind one
	// address need to come back at once.
	Unauthenticated, UnauthenticatedBySource int
	// Handshakes are TLS handshakes of clients under way at once, a quarter of
	// them of one source; others wait for their turn. Default 256.
	Handshakes int

	Log     zerolog.Logger        // the zero value is silent
	Audit   *audit.Log            // receives revocation lists that come in force or are refused; nil means none
	Metrics prometheus.Registerer // nil means none
}

// Bounds that are not for tuning, with their reasons.
const (
	maxPings        = 2               // frozen peers are found after 2 to 4 intervals
	tlsTimeout      = 10.0            // seconds: thousands of members may come at once after a broker died
	authTimeout     = 15.0            // seconds; must be above tlsTimeout, for routes
	clientWriteTime = 4 * time.Second // a reader that stalls this long would stall its publishers
	routeWriteTime  = 10 * time.Second
	maxPayload      = subjects.MaxPayload
	defaultPending  = 8 << 20
	maxStreams      = 16
)

// AccountMembers and AccountSystem are the names of nats-server's accounts.
const (
	AccountMembers = "THOR"
	AccountSystem  = "SYS"
)

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&c.PingInterval, time.Second)
	set(&c.LameDuck, 2*time.Second)
	number := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	bytes := func(n *int64, v int64) {
		if *n == 0 {
			*n = v
		}
	}
	number(&c.MaxSubscriptions, 1000)
	bytes(&c.MemoryLimit, 256<<20)
	bytes(&c.DiskLimit, 1<<30)
	bytes(&c.ProcessMemory, processMemory())
	number(&c.MaxConnections, connectionsIn(c.ProcessMemory, c.MemoryLimit))
	number(&c.NodeConnections, min(32, c.MaxConnections))
	number(&c.NodeSubscriptions, 1000)
	bytes(&c.MaxPending, defaultPending)
	number(&c.Unauthenticated, 4096)
	number(&c.UnauthenticatedBySource, min(1024, c.Unauthenticated))
	number(&c.Handshakes, 256)
	if c.Credentials != nil {
		c.Identity = c.Credentials.Identity()
	}
	if c.Addresses == nil && c.Identity != nil {
		c.Addresses = c.Identity.Addresses
	}
	if len(c.Addresses) > subjects.MaxAddresses {
		c.Addresses = c.Addresses[:subjects.MaxAddresses]
	}
	return c
}

// check returns all that is wrong with the configuration.
func (c *Config) check() error {
	if c.Identity == nil {
		return errors.New("broker: no credentials")
	}
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("broker: "+format, args...)) }
	if !c.Identity.Has(subjects.EventServer) {
		bad("certificate of %s lacks the role %s", c.Identity.Node, subjects.EventServer)
	}
	if c.Credentials == nil && (c.Listen != "" || c.ClusterListen != "") {
		bad("no credentials to listen with")
	}
	if c.Listen == "" && c.ClusterListen != "" {
		bad("a cluster port without a client port")
	}
	if c.StoreDir == "" {
		bad("no store directory")
	}
	for _, a := range c.Addresses {
		if !c.Identity.MayUse(a) {
			bad("address %s is not in the certificate of %s", a, c.Identity.Node)
		}
	}
	if c.Priority < 0 || c.Priority > 65535 {
		bad("priority %d is not 0 to 65535", c.Priority)
	}
	if c.PingInterval < 100*time.Millisecond || c.PingInterval > time.Minute {
		bad("ping interval %v is not 100 ms to 1 min", c.PingInterval)
	}
	for _, n := range []int64{
		int64(c.MaxConnections), int64(c.MaxSubscriptions), c.MemoryLimit, c.DiskLimit, c.ProcessMemory, int64(c.NodeConnections),
		int64(c.NodeSubscriptions), c.MaxPending, int64(c.Unauthenticated), int64(c.UnauthenticatedBySource), int64(c.Handshakes),
	} {
		if n < 0 {
			bad("a limit is negative")
			break
		}
	}
	if err := c.checkLimits(); err != nil {
		errs = append(errs, err)
	}
	if err := c.checkListener("listen", c.Listen, c.Advertise); err != nil {
		errs = append(errs, err)
	}
	if err := c.checkListener("cluster listen", c.ClusterListen, c.ClusterAdvertise); err != nil {
		errs = append(errs, err)
	}
	if len(c.Routes) > 0 && c.ClusterListen == "" {
		bad("routes without a cluster port")
	}
	if len(c.Routes) == 0 && c.ClusterListen != "" {
		bad("a cluster port without routes: name the cluster ports of all brokers, or run it standalone")
	}
	if _, err := routeURLs(c.Routes); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// checkListener wants an address that says where others can reach the broker,
// and a certificate that covers it: nats-server would else tell clients of every
// address of the machine.
func (c *Config) checkListener(what, listen, advertise string) error {
	if listen == "" {
		if advertise != "" {
			return fmt.Errorf("broker: an address to advertise without a %s address", what)
		}
		return nil
	}
	host, _, err := splitPort(listen)
	if err != nil {
		return fmt.Errorf("broker: %s address: %w", what, err)
	}
	if advertise != "" {
		if host, _, err = splitAdvertise(advertise, 0); err != nil {
			return fmt.Errorf("broker: advertised %s address: %w", what, err)
		}
	}
	if a, err := netip.ParseAddr(host); host == "" || err == nil && a.IsUnspecified() {
		return fmt.Errorf("broker: %s address %q names no address that others can dial: set the advertised one", what, listen)
	}
	if c.Credentials == nil {
		return nil
	}
	if leaf := c.Credentials.Certificate().Leaf; leaf.VerifyHostname(host) != nil {
		return fmt.Errorf("broker: advertised %s address %q is not in the certificate of %s", what, host, c.Identity.Node)
	}
	return nil
}

// splitPort parses "host:port" with a port of 0 to 65535.
func splitPort(s string) (host string, port int, err error) {
	host, p, err := net.SplitHostPort(s)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("address %s: port %q is not 0 to 65535", s, p)
	}
	return host, int(n), nil
}

// splitAdvertise parses "host" or "host:port"; without one the port is def.
func splitAdvertise(s string, def int) (host string, port int, err error) {
	if _, err := netip.ParseAddr(s); err == nil || s != "" && !strings.ContainsAny(s, ":[]/ ") {
		return s, def, nil
	}
	return splitPort(s)
}

// routeURLs parses the routes; nats-server wants each with a scheme it knows.
func routeURLs(routes []string) ([]*url.URL, error) {
	var out []*url.URL
	for _, r := range routes {
		u, err := url.Parse(r)
		switch {
		case err != nil:
			return nil, fmt.Errorf("broker: route: %w", err)
		case u.Scheme != "tls" || u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
			return nil, fmt.Errorf("broker: route %q is not tls://host:port", u.Redacted())
		case u.Port() == "" || u.Port() == "0" || u.Hostname() == "":
			return nil, fmt.Errorf("broker: route %q lacks host or port", r)
		}
		out = append(out, u)
	}
	return out, nil
}

// probe finds what would fail, before nats-server can fail at it in its way.
func (c *Config) probe() error {
	if err := os.MkdirAll(c.StoreDir, 0o700); err != nil {
		return fmt.Errorf("broker: make store directory: %w", err)
	}
	f, err := os.CreateTemp(c.StoreDir, ".probe-*")
	if err != nil {
		return fmt.Errorf("broker: write to store directory: %w", err)
	}
	_ = f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return fmt.Errorf("broker: write to store directory: %w", err)
	}
	for _, addr := range []string{c.Listen, c.ClusterListen} {
		if addr == "" {
			continue
		}
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return fmt.Errorf("broker: %w", err)
		}
		_ = l.Close()
	}
	return nil
}
