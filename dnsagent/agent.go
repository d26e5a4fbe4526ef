package dnsagent

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"thor/dnsagent/dnssec"
	"thor/dnsagent/limit"
	"thor/dnsagent/packed"
	"thor/dnsagent/zone"
	"thor/overlay"
	"thor/overlay/connlimit"
	"thor/overlay/setting"
	"thor/subjects"
)

// patience is how long questions wait, in the sockets' buffers, for the first
// status after a start: time to read it from disk, or to hear of it where that on
// disk is known not to be the newest. A client
// that got an error instead would keep it.
const patience = 3 * time.Second

// A Source tells the agent what the network's status is. An *overlay.Node is one.
type Source interface {
	// Watch delivers the current view at once and every later one, until ctx ends.
	Watch(ctx context.Context) <-chan *overlay.View
}

// A Config says what to serve and where.
type Config struct {
	// Addresses to answer on, each over UDP and TCP. ":53" is every address of the
	// host, "0.0.0.0:53" and "[::]:53" those of one family. Replies leave from the
	// address that was asked.
	//
	// Port 0 lets the system choose one for both.
	Listen []string    `toml:"listen" form:"listen" required:"list host:port pairs"`
	Zone   zone.Config `toml:",inline"` // required
	Source Source      // required
	// NSID is sent to clients that ask which server answers (RFC 5001), at most 64 bytes:
	// the node's name. Empty: none is sent.
	NSID string
	// Site is the name server's own, and so that of askers of whom nothing else is
	// known; "": they have none.
	Site subjects.Site
	// UDPSize is the greatest UDP message sent, in bytes, whatever the client
	// offers. The default fits an IPv6 packet of the least MTU (DNS flag day 2020).
	UDPSize int `default:"1232" range:"512..4096"`
	// Idle is the time a TCP client has for each question, and for taking each
	// answer.
	Idle time.Duration `default:"5s" range:"1ns.."`
	// PerClient and Clients limit the TCP connections of one address (IPv6: of
	// one /64) and of all. A new one takes the place of the one that is idle longest.
	PerClient int `default:"100" range:"1.."`
	Clients   int `default:"500" range:"1.."`

	// File that holds the secret for DNS cookies (RFC 9018), the same for all name servers
	// that share an address: a line of 32 hexadecimal digits. A second line is accepted
	// too, for the time of a change. The file is read again on reload, and only owner and
	// group may read it.
	CookieFile string `toml:"cookie_secret_file" form:"file" secret:"yes" reload:"yes" default:"(a random secret at each start)"`
	// File that holds the keys by which the zone is signed (DNSSEC), as thor dns keys makes it, the
	// same for all name servers. It is read again on reload, and only owner and group may read it.
	KeyFile string `toml:"dnssec_key_file" form:"file" secret:"yes" reload:"yes" default:"(the zone is not signed)"`
	// Takes the word of resolvers for the networks of their clients (EDNS client subnet, RFC 7871) when it looks
	// for the site of who asks. All name servers of the network have to have it alike: resolvers keep the answers of
	// a server without for all clients.
	ClientSubnet bool `toml:"client_subnet" default:"false"`
	// Answers by UDP that the clients of a network, a /24 or /56, get without a cookie.
	// Half of those above are dropped, and half tell the client to ask by TCP.
	RateLimit int `toml:"rate_limit" unit:"answers per second" default:"200" range:"1..100000"`
	// Networks to which no rate limit applies.
	RateExempt []string `toml:"rate_exempt" default:"127.0.0.0/8 ::1/128"`

	// Servers that keep a copy of the zone, for which sets are cut to 100 records.
	Secondaries []Secondary `toml:"secondary" reload:"yes" default:"(none)"`

	// How often the name servers of the network are compared with each other; what differs is in the metrics.
	CheckEvery time.Duration `toml:"check_every" default:"1m" range:"10s..24h"`
	// Address of a resolver, as IP:PORT, by which the zone's delegation at the parent is found, to be compared once
	// an hour.
	CheckResolver string `toml:"check_resolver" default:"(the delegation is not compared)"`

	// Outputs get every zone that is served.
	Outputs []Output

	Log     zerolog.Logger        // zero value: silent
	Metrics prometheus.Registerer // registers thor_dns_…; nil: none
}

// An Output is a place where the zone goes besides answers.
type Output interface {
	// Offer hands over the zone that is served now, and whether a manager confirms its
	// status as the present one. It does not wait.
	Offer(z *zone.Zone, confirmed bool)
	// Run does what is to be done with zones until ctx ends.
	Run(ctx context.Context) error
}

// Validate lists everything that is wrong with cfg but that it lacks a Source.
func (cfg Config) Validate() []setting.Problem {
	ps := cfg.Zone.Validate()
	cfg.Zone = zone.Config{} // has been asked
	setting.Fill(&cfg)
	ps = append(ps, setting.Check(&cfg)...)
	fail := func(key, format string, args ...any) {
		ps = append(ps, setting.Problem{Key: key, Text: fmt.Sprintf(format, args...)})
	}
	if len(cfg.Listen) == 0 {
		fail("listen", "is missing: list host:port pairs")
	}
	for i, l := range cfg.Listen {
		_, port, err := net.SplitHostPort(l)
		if _, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil {
			fail(fmt.Sprintf("listen[%d]", i), "%q is not host:port", l)
		}
	}
	if cfg.CheckResolver != "" && !isHostPort(cfg.CheckResolver) {
		fail("check_resolver", "%q is not an IP address with a port", cfg.CheckResolver)
	}
	if len(cfg.NSID) > 64 {
		fail("NSID", "of %d bytes, 64 allowed", len(cfg.NSID))
	}
	for i, e := range cfg.RateExempt {
		if _, err := netip.ParsePrefix(e); err != nil {
			fail(fmt.Sprintf("rate_exempt[%d]", i), "%q is no network such as 192.0.2.0/24", e)
		}
	}
	if cfg.KeyFile != "" && len(cfg.Secondaries) > 0 {
		fail("dnssec_key_file", "cannot be used with secondary servers: they would have no signatures to answer with")
	}
	for i, s := range cfg.Secondaries {
		if !s.Address.IsValid() {
			fail(fmt.Sprintf("secondary[%d].address", i), "is missing")
		}
	}
	return ps
}

// An Agent is one name server.
type Agent struct {
	cfg     Config
	apex    string
	log     zerolog.Logger
	metrics *metrics
	conns   *connlimit.Set
	ready   chan struct{}
	wait    time.Duration // patience, but for tests
	started atomic.Bool
	bound   atomic.Pointer[[]netip.AddrPort]
	limiter *limit.Limiter // of answers by UDP to clients that have proved nothing
	signers *limit.Limiter // of signatures for the others
	peers   peers

	checkEvery time.Duration   // Config.CheckEvery, but for tests
	seed       func() [32]byte // of the draws of one goroutine; random, but for tests
	exempt     []netip.Prefix
	begun      time.Time
	files      atomic.Pointer[files]  // what Reload replaces, but for the zone
	told       chan struct{}          // has room for one: the secondary servers are others
	known      chan struct{}          // closed with the first zone
	served     atomic.Pointer[served] // nil before the first status

	mu       sync.Mutex // guards what follows, cfg.Zone, and the order of stores to served
	builder  *zone.Builder
	status   *subjects.Status
	unserved []zone.Unserved // as last logged
}

// served is one zone, its signatures and its answers packed.
type served struct {
	zone   *zone.Zone
	signed *dnssec.Zone // nil: the zone is not signed
	packed *packed.Zone
	askers *zone.Askers
}

// newServed makes what is served of z, with what was made of the zone before, prev, where the two are
// alike; nil: there was none.
func newServed(z *zone.Zone, keys *dnssec.Keys, askers *zone.Askers, prev *served) *served {
	if prev == nil {
		prev = new(served)
	}
	s := &served{zone: z, askers: askers}
	if keys != nil {
		s.signed = dnssec.New(z, keys, prev.signed)
	}
	s.packed = packed.New(z, s.signed, prev.packed)
	return s
}

// New checks cfg and reads the secret for cookies. It opens no socket.
func New(cfg Config) (*Agent, error) {
	ps := cfg.Validate()
	if cfg.Source == nil {
		ps = append(ps, setting.Problem{Text: "no source of statuses"})
	}
	if err := setting.Join("dns", ps); err != nil {
		return nil, err
	}
	setting.Fill(&cfg)
	b, err := zone.NewBuilder(cfg.Zone)
	if err != nil {
		return nil, err
	}
	a := &Agent{
		cfg: cfg, apex: b.Apex(), wait: patience, builder: b, ready: make(chan struct{}), known: make(chan struct{}),
		log: cfg.Log.With().Str("comp", "dnsagent").Logger(), conns: connlimit.New(cfg.Clients, cfg.PerClient), told: make(chan struct{}, 1),
		checkEvery: cfg.CheckEvery,
		seed: func() (b [32]byte) {
			_, _ = crand.Read(b[:]) // never fails, see crypto/rand
			return b
		},
	}
	a.limiter, a.signers, a.begun = limit.New(cfg.RateLimit), limit.New(maxSignedEach), time.Now()
	for _, e := range cfg.RateExempt {
		p, _ := netip.ParsePrefix(e) // checked
		a.exempt = append(a.exempt, p.Masked())
	}
	f, err := a.read(cfg)
	if err != nil {
		return nil, err
	}
	a.files.Store(f)
	a.builder = f.signed(b)
	a.peers.configurations = a.differentConfigurations
	if a.metrics, err = newMetrics(cfg.Metrics, &a.peers); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	a.conns.OnClose = func() { a.metrics.tcp.drop(tooManyConnections, 1) }
	return a, nil
}

// Ready is closed once the agent answers on all its addresses: when it has a
// status, or after 3 s (patience) without one.
func (a *Agent) Ready() <-chan struct{} { return a.ready }

// Addresses are the addresses the agent listens on, in the order of
// Config.Listen; none before it is ready.
func (a *Agent) Addresses() []netip.AddrPort {
	if p := a.bound.Load(); p != nil {
		return *p
	}
	return nil
}

// ZoneDigest names the zone configuration in use. Name servers announce it, so
// that a difference between them shows.
func (a *Agent) ZoneDigest() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.builder.Digest()
}

// Zone is what is served now, nil before the first status.
func (a *Agent) Zone() *zone.Zone {
	if s := a.served.Load(); s != nil {
		return s.zone
	}
	return nil
}

// Report is what is served now, and how much was answered since the start.
func (a *Agent) Report() *subjects.ZoneReport {
	r := &subjects.ZoneReport{Digest: a.ZoneDigest()}
	if z := a.Zone(); z != nil {
		r.Serial = z.Serial()
		r.AgeMS = int64(a.metrics.age(time.Now()) * 1000) // known, since there is a zone
	}
	r.Answered, r.Dropped = a.metrics.totals()
	return r
}

// Run serves until ctx ends, which is no error, or a socket fails. It can be
// called once.
func (a *Agent) Run(ctx context.Context) error {
	if a.started.Swap(true) {
		return errors.New("dns: Run was called before")
	}
	cores := runtime.GOMAXPROCS(0)
	if cores == 1 {
		// On a single core Go looks for packets only each 10 ms while a zone is made. With a second thread
		// the kernel shares the core, and questions are answered meanwhile.
		runtime.GOMAXPROCS(2)
	}
	socks, err := bind(ctx, a.cfg.Listen, cores)
	if err != nil {
		return err
	}
	a.tellBuffers(socks)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { a.follow(ctx); return nil })
	for _, o := range a.cfg.Outputs {
		g.Go(func() error { return o.Run(ctx) })
	}
	a.await(ctx)
	var bound []netip.AddrPort
	for _, s := range socks {
		bound = append(bound, s.addr)
		for _, udp := range s.udp {
			g.Go(func() error { return a.serveUDP(ctx, udp) })
		}
		g.Go(func() error { return a.serveTCP(ctx, s.tcp) })
	}
	g.Go(func() error { a.watchPeers(ctx, bound[0]); return nil })
	g.Go(func() error { a.notifyAll(ctx, bound[0].Addr()); return nil })
	a.bound.Store(&bound)
	a.log.Info().Stringer("addr", bound[0]).Int("addresses", len(bound)).Str("zone", a.apex).Msg("name server listens")
	close(a.ready)
	return g.Wait()
}

// await blocks until there is a zone, patience or ctx ends.
func (a *Agent) await(ctx context.Context) {
	t := time.NewTimer(a.wait)
	defer t.Stop()
	select {
	case <-a.known:
	case <-t.C:
		a.log.Warn().Str("zone", a.apex).Msg("no status yet: names of the zone fail for now")
	case <-ctx.Done():
	}
}

// follow builds a zone of every newer status.
func (a *Agent) follow(ctx context.Context) {
	for v := range a.cfg.Source.Watch(ctx) {
		a.take(v)
	}
}

func (a *Agent) take(v *overlay.View) {
	turned := a.metrics.freshness(v, time.Now())
	if turned && v.Status != nil {
		if v.Stale {
			a.log.Warn().Uint64("epoch", v.Status.Epoch).Uint64("gen", v.Status.Generation).
				Msg("no manager confirms the status any more: the last zone stays in service")
		} else {
			a.log.Info().Uint64("epoch", v.Status.Epoch).Uint64("gen", v.Status.Generation).Msg("status confirmed")
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if v.Status == nil || a.status != nil && !newer(v.Status, a.status) {
		if turned {
			a.offer()
		}
		return
	}
	start := time.Now()
	z, err := a.builder.BuildAfter(a.Zone(), v.Status)
	if err != nil {
		a.log.Error().Err(err).Uint64("epoch", v.Status.Epoch).Uint64("gen", v.Status.Generation).
			Msg("status makes no zone: the last one stays in service")
		return
	}
	a.status = v.Status
	a.publish(z)
	a.log.Info().Uint64("epoch", v.Status.Epoch).Uint64("gen", v.Status.Generation).Bool("from_disk", v.FromDisk).
		Float64("took_ms", float64(time.Since(start).Microseconds())/1000).Msg("zone published")
}

// newer reports whether is has to be built after was: it is a later status, or the same one with sites
// that were not known before, which come apart from it.
func newer(is, was *subjects.Status) bool {
	if is.Mark() == was.Mark() {
		return is != was && (is.SitesDigest() != was.SitesDigest() || !maps.Equal(is.Lookup, was.Lookup))
	}
	return is.Mark().After(was.Mark())
}

// publish makes z the zone that is served. The caller holds a.mu.
func (a *Agent) publish(z *zone.Zone) {
	prev := a.served.Load()
	a.served.Store(newServed(z, a.files.Load().zoneKeys, a.builder.Askers(a.cfg.Site), prev))
	if prev == nil {
		close(a.known)
	}
	a.metrics.serial.Set(float64(z.Serial()))
	a.metrics.built.Store(time.Now().UnixNano())
	a.tellUnserved(z)
	a.tell()
	a.offer()
}

// offer hands the zone that is served to the outputs. The caller holds a.mu.
func (a *Agent) offer() {
	s := a.served.Load()
	if s == nil {
		return
	}
	confirmed := a.metrics.confirmed()
	for _, o := range a.cfg.Outputs {
		o.Offer(s.zone, confirmed)
	}
}
