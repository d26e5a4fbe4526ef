package overlay

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"thor/identity"
	"thor/overlay/audit"
	"thor/overlay/setting"
	"thor/subjects"
)

// Timing of a connection. Package pulse says how soon a broker that is frozen or cut
// off is found.
const (
	pingEvery      = 15 * time.Second // by nats.go, which pings whatever else comes: each wakes both ends
	lookupTimeout  = 3 * time.Second  // of the DNS
	connectTimeout = 5 * time.Second  // for the answer to CONNECT; many members may be connecting at once
	writeTimeout   = 5 * time.Second
	movingTime     = time.Second     // for the word that a connection is left
	leaveTime      = 2 * time.Second // for leaving under all roles once the ctx of Run has ended
)

// DefaultStaleAfter is that of Config, for others that tell how old a view is.
const DefaultStaleAfter = 30 * time.Second

// srvPrefix marks a Brokers entry that names a domain to ask for the list.
const srvPrefix = "srv:"

// A Config says who this process is and where the network is.
type Config struct {
	// Credentials are the node's certificate, key and authorities. Required,
	// unless Identity is set. A certificate that Reload brought in is used from
	// the next connection on.
	Credentials *identity.Credentials
	// URLs of the brokers, "tls://HOST:PORT", tried in random order, those first that the last
	// status has in the own site, one beside the other where one does not answer at once; or the one
	// entry "srv:DOMAIN", which asks the DNS for SRV records of
	// _eventserver._tcp.DOMAIN, again whenever all known ones have failed.
	// Nothing else is ever dialled: brokers cannot add to the list.
	Brokers []string `toml:"brokers" env:"THOR_BROKERS" default:"(none, required of every daemon but the broker)"`
	// Directory of this process alone, made if it is missing: two processes must
	// not share one. It holds the last status and the operator's drains.
	//
	// Empty: nothing is kept across restarts.
	StateDir string `toml:"state" form:"directory" required:"yes" env:"THOR_STATE"`
	// NearFirst dials the broker of the own machine first: the one of Brokers whose host is
	// in the certificate. A process that others must do without when its machine is cut off
	// then loses no connection by the loss of another machine.
	NearFirst bool
	// Stay reports whether not to return now from another broker to a nearer one, of the own
	// machine or site; nil: never.
	Stay func() bool
	// Where this node is, where its certificate does not say: 1 to 32 characters of a-z,
	// 0-9 and hyphens, such as "ams". Brokers of the same site are preferred. What is only said
	// here is shown; managers let it count with [manager] trust_announced_sites alone. Another
	// site than the certificate's is an error.
	Site subjects.Site `toml:"site" form:"site" default:"(that of the certificate)"`
	// Boot names this start of the process, 1 to 64 printable characters. Empty:
	// a random token, which is nearly always right.
	Boot string
	// Roles are those that this process needs to know of, at most subjects.MaxFollowed:
	// the status of its views is limited to them, and so is what it receives. It knows
	// nothing of other roles then, its own included, nor of departed nodes. Empty: all.
	// A manager needs all.
	Roles []subjects.Role
	// Beat is the time between two announcements of a member, ±10 %.
	Beat time.Duration `default:"1s" range:"100ms..5s"`
	// StaleAfter is how long a view counts as current without a word from the
	// active manager. 0: DefaultStaleAfter.
	StaleAfter time.Duration `range:"2s.." why:"a manager sends a tick each second"`
	// OnDuplicate is called when the manager reports that a role of this node is
	// announced by several processes. boots are their boots, this one's among
	// them. It runs in a goroutine of its own. nil: the log tells it.
	OnDuplicate func(role subjects.Role, boots []string)
	// Log receives what an operator would act on; nil: nothing does. Its handler
	// decides the form: a program with another logging library hands over that
	// library's slog handler.
	Log *slog.Logger
	// Audit receives who drained and resumed; nil: Log does, as lines with
	// comp=audit.
	Audit *audit.Log
	// Metrics registers thor_overlay_…; nil: none. Two Nodes of one process need
	// two registerers.
	Metrics prometheus.Registerer
	// Dial makes the TCP connections to brokers. nil: those of package net.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Identity stands for Credentials in tests without TLS.
	Identity *identity.Identity
	// Options are applied after all others, for tests that connect in process.
	Options []nats.Option
}

// withDefaults returns cfg with its zero values filled in.
func (cfg Config) withDefaults() Config {
	setting.Fill(&cfg)
	if cfg.StaleAfter == 0 {
		cfg.StaleAfter = DefaultStaleAfter
	}
	if cfg.Boot == "" {
		b := make([]byte, 12)
		_, _ = rand.Read(b) // never fails, see crypto/rand
		cfg.Boot = hex.EncodeToString(b)
	}
	cfg.Roles = subjects.SortedRoles(cfg.Roles)
	if cfg.Dial == nil {
		cfg.Dial = new(net.Dialer).DialContext
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Audit == nil {
		cfg.Audit = audit.Through(cfg.Log)
	}
	return cfg
}

// identity is what the certificate says now.
func (cfg *Config) identity() *identity.Identity {
	if cfg.Credentials != nil {
		return cfg.Credentials.Identity()
	}
	return cfg.Identity
}

// site is where this node is: its certificate decides.
func (cfg *Config) site() subjects.Site { return cmp.Or(cfg.identity().Site, cfg.Site) }

func (cfg *Config) check() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf("overlay: "+format, args...)) }
	if cfg.Credentials == nil && cfg.Identity == nil {
		fail("no credentials")
	}
	if cfg.Credentials != nil && cfg.Identity != nil {
		fail("credentials and identity exclude each other")
	}
	for _, p := range setting.Check(cfg) {
		fail("%w", p)
	}
	if len(cfg.Roles) > subjects.MaxFollowed {
		fail("%d roles to follow, at most %d: leave them out to follow all", len(cfg.Roles), subjects.MaxFollowed)
	}
	for _, r := range cfg.Roles {
		if _, err := subjects.ParseRole(string(r)); err != nil {
			fail("follow a role: %w", err)
		}
	}
	if _, err := subjects.ParseSite(string(cfg.Site)); err != nil {
		fail("site: %w", err)
	} else if id := cfg.identity(); id != nil && cfg.Site != "" && id.Site != "" && cfg.Site != id.Site {
		fail("site %s, and the certificate says %s: they have to agree", cfg.Site, id.Site)
	}
	if cfg.Boot != subjects.Printable(cfg.Boot, 64) || strings.ContainsAny(cfg.Boot, " \t") {
		fail("boot %q is not 1 to 64 printable characters", cfg.Boot)
	}
	if len(cfg.Brokers) == 0 && len(cfg.Options) == 0 {
		fail("no brokers")
	}
	for _, b := range cfg.Brokers {
		if err := cfg.checkBroker(b); err != nil {
			if i := strings.LastIndexByte(b, '@'); i >= 0 {
				b = "…" + b[i:] // what is before may be a password
			}
			fail("broker %q: %w", b, err)
		}
	}
	return errors.Join(errs...)
}

func (cfg *Config) checkBroker(b string) error {
	if domain, ok := strings.CutPrefix(b, srvPrefix); ok {
		switch {
		case len(cfg.Brokers) > 1:
			return errors.New("srv: stands alone")
		case domain == "" || strings.ContainsAny(domain, "/:, "):
			return errors.New("srv: wants a domain")
		}
		return nil
	}
	u, err := url.Parse(b)
	switch {
	case err != nil:
		return errors.New("not a URL")
	case u.Scheme != "tls" && (u.Scheme != "nats" || cfg.Credentials != nil):
		return errors.New("not of the form tls://HOST:PORT")
	case u.User != nil:
		return errors.New("holds a user; the certificate says who we are")
	case u.Path != "" || u.RawQuery != "" || u.Fragment != "" || strings.Contains(b, ","):
		return errors.New("something follows the port")
	case u.Hostname() == "":
		return errors.New("no host")
	}
	if port, err := strconv.ParseUint(u.Port(), 10, 16); err != nil || port == 0 {
		return errors.New("no valid port")
	}
	return nil
}
