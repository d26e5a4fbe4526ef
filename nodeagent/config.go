package nodeagent

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"thor/overlay"
	"thor/overlay/check"
	"thor/subjects"
)

// A Config says which roles this machine has and how to see that they work.
type Config struct {
	// Overlay is the connection to the network. The caller runs it; what the
	// agent joined leaves when its Run ends.
	Overlay *overlay.Node
	// Roles are at least one, each role once.
	Roles []RoleConfig
	// Log receives each change of a check and of a role. The zero value is silent.
	Log zerolog.Logger
	// Metrics registers thor_nodeagent_…; nil: none.
	Metrics prometheus.Registerer
}

// A RoleConfig is one role to announce.
type RoleConfig struct {
	// Role must be in the certificate.
	Role subjects.Role
	// Addresses must be in the certificate; empty: see overlay.Member.
	Addresses []netip.Addr
	// Priority is 1 to 65535, lower is preferred; 0: none.
	Priority int
	// Weight is the share of the work, 1 to 65535; 0: 100.
	Weight int
	// Version is that of the service's software, for show.
	Version string
	// Attrs are what the role wants others to know, such as "control_port".
	Attrs subjects.Attrs
	// Checks must all pass for the role to be up. None: the role is up as long as
	// the agent runs.
	Checks []CheckConfig
}

// A Kind is a way to ask a service whether it is alive.
type Kind string

// The kinds of checks.
const (
	SIP       Kind = "sip"       // OPTIONS to Target over Transport
	RTPEngine Kind = "rtpengine" // ping of the ng protocol to Target over UDP
	TCP       Kind = "tcp"       // a connection to Target
	HTTP      Kind = "http"      // GET of the URL Target
	Command   Kind = "command"   // a program that exits with 0
)

// A CheckConfig is one probe of a local service, made again and again.
type CheckConfig struct {
	Kind Kind
	// Target is host:port, or an http or https URL for HTTP.
	Target string
	// Transport of SIP is "udp" (or empty), "tcp" or "tls".
	Transport string
	// Command is the absolute path of a program, and its arguments.
	Command []string
	// Expect are the status codes of SIP and HTTP that count as alive. Empty: of
	// SIP every final one but 503, of HTTP 200 to 299.
	Expect []int
	// Roots verify the certificate of SIP over TLS and of https. nil: it is not
	// verified, since the question is whether the service answers, and nothing
	// secret is asked or told.
	Roots *x509.CertPool
	// ServerName is the name that the certificate must hold; empty: Target's host.
	ServerName string
	check.Timing
}

func (c CheckConfig) withDefaults() CheckConfig {
	if c.Kind == SIP && c.Transport == "" {
		c.Transport = "udp"
	}
	c.Timing = c.Timing.WithDefaults()
	return c
}

// faults are what is wrong with c, after withDefaults, a line each.
func (c *CheckConfig) faults() (texts []string) {
	fail := func(format string, args ...any) { texts = append(texts, fmt.Sprintf(format, args...)) }
	if err := c.checkTarget(); err != nil {
		fail("%v", err)
	}
	if c.Kind == SIP && !slices.Contains([]string{"udp", "tcp", "tls"}, c.Transport) || c.Kind != SIP && c.Transport != "" {
		fail("transport %q: sip has udp, tcp and tls, the other kinds have none", c.Transport)
	}
	if len(c.Expect) > 0 && c.Kind != SIP && c.Kind != HTTP {
		fail("expect is for sip and http only")
	}
	for _, n := range c.Expect {
		if n < 200 || n > 699 {
			fail("expect %d: a final status is 200 to 699", n)
		}
	}
	return append(texts, c.Timing.Problems()...)
}

func (c *CheckConfig) checkTarget() error {
	switch c.Kind {
	case SIP, RTPEngine, TCP:
		host, port, err := net.SplitHostPort(c.Target)
		n, perr := strconv.Atoi(port)
		if err != nil || host == "" || perr != nil || n < 1 || n > 65535 {
			return fmt.Errorf("target %q is not host:port", c.Target)
		}
	case HTTP:
		u, err := url.Parse(c.Target)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
			return errors.New("target is not a URL like http://127.0.0.1:8080/health")
		}
		if u.User != nil {
			return errors.New("target holds a user: give the service a page that needs none")
		}
	case Command:
		if len(c.Command) == 0 || !filepath.IsAbs(c.Command[0]) {
			return errors.New("command must begin with an absolute path")
		}
	default:
		return fmt.Errorf("kind %q is not sip, rtpengine, tcp, http or command", c.Kind)
	}
	if (c.Kind == Command) != (c.Target == "") || (c.Kind == Command) != (len(c.Command) > 0) {
		return errors.New("a command has no target, and the other kinds have no command")
	}
	return nil
}

// tlsConfig is for a service at host.
func (c *CheckConfig) tlsConfig(host string) *tls.Config {
	t := &tls.Config{
		RootCAs: c.Roots, ServerName: c.ServerName, InsecureSkipVerify: c.Roots == nil,
		ClientSessionCache: tls.NewLRUClientSessionCache(1), // spares both sides most of a handshake
	}
	if t.ServerName == "" {
		t.ServerName = host
	}
	return t
}

// prober makes what asks the question of c.
func (c *CheckConfig) prober() (prober, error) {
	switch c.Kind {
	case SIP:
		return newSIPProbe(c)
	case RTPEngine:
		return &rtpengineProbe{target: c.Target, cookie: token(), udp: dialogue{target: c.Target}}, nil
	case TCP:
		return &tcpProbe{target: c.Target}, nil
	case HTTP:
		return newHTTPProbe(c)
	}
	return &commandProbe{argv: slices.Clone(c.Command)}, nil
}
