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
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"thor/identity"
	"thor/overlay/audit"
	"thor/overlay/setting"
	"thor/subjects"
)

// Config is what a broker needs. The tags say what zero means, see package setting.
type Config struct {
	// Credentials hold the broker's certificate, with the role thor_eventserver.
	// A certificate that they reload serves the next handshake on both ports; the
	// node name must stay.
	Credentials *identity.Credentials
	// Identity stands in for Credentials if neither port is used.
	Identity *identity.Identity

	// Address to serve clients on.
	//
	// Port 0 picks a free one. Empty: only connections inside the process reach
	// the broker.
	Listen string `toml:"listen" form:"listen" required:"yes"`
	// Address that clients are told to dial. Its host must be in the certificate.
	//
	// A port of its own is not needed. Empty: Listen must name one address.
	Advertise string `toml:"advertise" form:"host:port" default:"(listen)"`
	// Address to serve other brokers on. A broker that has one needs at least one
	// other before JetStream works; a broker that has none keeps one copy of each bucket.
	ClusterListen string `toml:"cluster_listen" form:"listen" default:"(none: the broker stands alone)"`
	// Address that other brokers are told to dial. Its host must be in the certificate.
	ClusterAdvertise string `toml:"cluster_advertise" form:"host:port" default:"(cluster_listen)"`
	// URLs "tls://HOST:PORT" of the cluster ports of all brokers. The broker's own
	// may be among them, so that all brokers can share one list.
	Routes []string `toml:"routes" default:"(none, required with cluster_listen)"`
	// Compress what goes to other brokers by S2, where the round trip is above 10 ms: a quarter to a half of
	// the bytes is left at rest. It takes up to 60 MiB of memory for each other broker, near or far, and is on
	// where both brokers say so.
	CompressRoutes bool `toml:"compress_routes" default:"false"`

	// Site says where the broker is, where its certificate does not. Another one than the
	// certificate's is an error.
	Site subjects.Site
	// Sites of all brokers with JetStream, an entry each, such as ["ams", "fra", "lon"], the same at every
	// broker. With three different ones the copies of the buckets and of the history lie in
	// different sites, and those that exist are moved, one at a time; with fewer it changes nothing. The brokers of a site that is not among them
	// carry messages and have no JetStream. Three, one a site, or five, two a site at most, bear the loss of a site.
	JetStreamSites []string `toml:"jetstream_sites" default:"(none: copies lie anywhere)"`
	// Carry messages only, without JetStream: for the brokers of a site beyond its entries in jetstream_sites.
	WithoutJetStream bool `toml:"without_jetstream" default:"false"`

	// Directory of this broker alone, for JetStream's state and the revocation lists.
	StoreDir string `toml:"store" form:"directory" default:"(network.state)"`
	// Certificate revocation list, DER or PEM. It is read again when it changes.
	CRLFile string `toml:"crl" form:"file" default:"(none: lists come from other brokers and from thor ca revoke)"`

	// Addresses that the broker announces of itself as thor_eventserver.
	Addresses []netip.Addr `toml:"addresses" default:"(those of the certificate)"`
	Priority  int          `range:"0..65535"` // announced; lower is preferred, 0 is none
	Version   string       // announced

	// Time between two pings of a client or another broker. Two that are not answered end a connection.
	PingInterval time.Duration `default:"1s" range:"100ms..1m"`
	// How long a graceful end gives clients to move to other brokers.
	//
	// Negative means none.
	LameDuck time.Duration `toml:"lame_duck" default:"2s"`

	// What clients may use.
	Limits `toml:"limits"`

	// Restart has the process end, for its supervisor to start it again, after the
	// answer to the operator who asked for it has left. nil: no supervisor would.
	Restart func(by subjects.NodeID)

	Log     zerolog.Logger        // the zero value is silent
	Audit   *audit.Log            // receives revocation lists that come in force or are refused; nil means none
	Metrics prometheus.Registerer // nil means none
}

// Limits bound what clients use of a broker.
type Limits struct {
	MaxSubscriptions int   `default:"1000" range:"1.."`       // of one client
	MemoryLimit      int64 `default:"268435456" range:"1.."`  // bytes of memory for JetStream
	DiskLimit        int64 `default:"1073741824" range:"1.."` // bytes of disk for JetStream

	// Memory that the process may use.
	ProcessMemory int64 `toml:"memory" unit:"bytes" range:"1.." default:"(the limit of the control group or GOMEMLIMIT, whichever is less)"`
	// Clients at a time.
	MaxConnections int `toml:"max_connections" unit:"connections" range:"1.." default:"(as many as fit in the memory beside JetStream, at most 20000)"`
	// Connections of one node to this broker. Brokers and managers are exempt.
	NodeConnections int `toml:"node_connections" unit:"connections" default:"32" range:"1..MaxConnections"`
	// Subscriptions of one node in all its connections to this broker. Brokers and managers are exempt.
	NodeSubscriptions int `toml:"node_subscriptions" unit:"subscriptions" default:"1000" range:"1.."`
	// How much may wait for a client that reads slowly, before its connection ends.
	MaxPending int64 `toml:"max_pending" unit:"bytes" default:"8388608" range:"1.."`
	// Client connections that have not shown a certificate yet.
	Unauthenticated int `toml:"unauthenticated" unit:"connections" default:"4096" range:"1.."`
	// Client connections of one IPv4 address or IPv6 /64 that have not shown a
	// certificate yet. The default is above what a thousand members behind one address
	// need to come back at once.
	UnauthenticatedBySource int `toml:"unauthenticated_by_source" unit:"connections" default:"1024" range:"1..Unauthenticated"`
	// TLS handshakes of clients under way at once, a quarter of them of one source.
	// Others wait for their turn.
	Handshakes int `toml:"handshakes" unit:"handshakes" default:"256" range:"1.."`
}

// Bounds that are not for tuning, with their reasons.
const (
	maxPings        = 2               // frozen peers are found after 2 to 4 intervals
	tlsTimeout      = 10.0            // seconds: thousands of members may come at once after a broker died
	authTimeout     = 15.0            // seconds; must be above tlsTimeout, for routes
	clientWriteTime = 4 * time.Second // a reader that stalls this long would stall its publishers
	routeWriteTime  = 10 * time.Second
	routeReports    = 60 // one failed attempt in so many is logged: about one in two minutes
	maxPayload      = subjects.MaxPayload
	maxStreams      = 16
)

// AccountMembers and AccountSystem are the names of nats-server's accounts.
const (
	AccountMembers = "THOR"
	AccountSystem  = "SYS"
)

func (c Config) withDefaults() Config {
	if c.ProcessMemory == 0 {
		c.ProcessMemory = processMemory()
	}
	if c.MaxConnections == 0 { // with the default of MemoryLimit
		filled := c
		setting.Fill(&filled.Limits)
		c.MaxConnections = filled.connectionsFit()
	}
	setting.Fill(&c)
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

// check returns all that is wrong with the configuration, which has its defaults.
func (c *Config) check() error {
	if c.Identity == nil {
		return errors.New("broker: no credentials")
	}
	var errs []error
	if c.Credentials == nil && (c.Listen != "" || c.ClusterListen != "") {
		errs = append(errs, errors.New("broker: no credentials to listen with"))
	}
	if c.StoreDir == "" {
		errs = append(errs, errors.New("broker: no store directory"))
	}
	return errors.Join(append(errs, setting.Join("broker", c.problems()))...)
}

// Validate lists everything that is wrong with c; what its certificate lacks only
// if it has one. It touches neither disk nor network.
func (c Config) Validate() []setting.Problem {
	c = c.withDefaults()
	return c.problems()
}

func (c *Config) problems() []setting.Problem {
	ps := setting.Check(c)
	bad := func(key, format string, args ...any) {
		ps = append(ps, setting.Problem{Key: key, Text: fmt.Sprintf(format, args...)})
	}
	if c.Identity != nil {
		if !c.Identity.Has(subjects.EventServer) {
			bad("", "certificate of %s lacks the role %s", c.Identity.Node, subjects.EventServer)
		}
		for _, a := range c.Addresses {
			if !c.Identity.MayUse(a) {
				bad("addresses", "%s is not in the certificate of %s", a, c.Identity.Node)
			}
		}
	}
	ps = append(ps, c.checkSites()...)
	if c.Listen == "" && c.ClusterListen != "" {
		bad("cluster_listen", "needs listen too")
	}
	ps = append(ps, c.checkListener("listen", c.Listen, "advertise", c.Advertise)...)
	ps = append(ps, c.checkListener("cluster_listen", c.ClusterListen, "cluster_advertise", c.ClusterAdvertise)...)
	return append(append(ps, c.checkRoutes()...), c.checkLimits()...)
}

// checkListener wants an address that says where others can reach the broker,
// and a certificate that covers it: nats-server would else tell clients of every
// address of the machine.
func (c *Config) checkListener(key, listen, advertiseKey, advertise string) []setting.Problem {
	bad := func(key, format string, args ...any) []setting.Problem {
		return []setting.Problem{{Key: key, Text: fmt.Sprintf(format, args...)}}
	}
	if listen == "" {
		if advertise != "" {
			return bad(advertiseKey, "needs %s too", key)
		}
		return nil
	}
	host, _, err := splitPort(listen)
	if err != nil {
		return bad(key, "%v", err)
	}
	told := listen
	if advertise != "" {
		if host, _, err = splitAdvertise(advertise, 0); err != nil {
			return bad(advertiseKey, "%v", err)
		}
		key, told = advertiseKey, advertise
	}
	if a, err := netip.ParseAddr(host); host == "" || err == nil && a.IsUnspecified() {
		return bad(key, "%q names no address that others can dial: set %s", told, advertiseKey)
	}
	if c.Credentials == nil {
		return nil
	}
	if leaf := c.Credentials.Certificate().Leaf; leaf.VerifyHostname(host) != nil {
		return bad(key, "%q is not in the certificate of %s", host, c.Identity.Node)
	}
	return nil
}

func (c *Config) checkRoutes() (ps []setting.Problem) {
	bad := func(key, format string, args ...any) {
		ps = append(ps, setting.Problem{Key: key, Text: fmt.Sprintf(format, args...)})
	}
	switch {
	case len(c.Routes) > 0 && c.ClusterListen == "":
		bad("routes", "needs cluster_listen too")
	case len(c.Routes) == 0 && c.ClusterListen != "":
		bad("routes", "is missing: list every broker of the cluster")
	case len(c.Routes) == 1:
		bad("routes", "a cluster of one never elects a leader: list 3 brokers, or leave out cluster_listen to stand alone")
	}
	for i, r := range c.Routes {
		if _, err := routeURL(r); err != nil {
			bad(fmt.Sprintf("routes[%d]", i), "%v", err)
		}
	}
	return ps
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

// routeURL parses a route; nats-server wants each with a scheme it knows.
func routeURL(r string) (*url.URL, error) {
	u, err := url.Parse(r)
	switch {
	case err != nil:
		return nil, errors.New("is no URL") // which may hold a password
	case u.Scheme != "tls" || u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("%q is no broker, write it like \"tls://192.0.2.1:6222\"", u.Redacted())
	case u.Hostname() == "":
		return nil, fmt.Errorf("%q has no host", r)
	}
	if n, err := strconv.ParseUint(u.Port(), 10, 16); err != nil || n == 0 {
		return nil, fmt.Errorf("port %q is not 1 to 65535", u.Port())
	}
	return u, nil
}

// probe finds what would fail, before nats-server can fail at it in its way.
func (c *Config) probe() error {
	if err := os.MkdirAll(c.StoreDir, 0o700); err != nil {
		return fmt.Errorf("broker: make store directory: %w", err)
	}
	if err := writable(c.StoreDir, 0); err != nil && !errors.Is(err, syscall.ENOSPC) {
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

// writable finds out whether a file of so many bytes can be written in dir.
func writable(dir string, size int) error {
	f, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, size))
	return errors.Join(err, f.Close(), os.Remove(f.Name()))
}
