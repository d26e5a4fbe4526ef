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
	"thor/overlay/setting"
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

// A RoleConfig is one role to announce. The tags say what zero means, see package
// setting.
type RoleConfig struct {
	// Name of the role. It must be in the certificate.
	Role subjects.Role `toml:"role" required:"yes"`
	// Addresses that the role announces. They must be in the certificate.
	//
	// Empty: see overlay.Member.
	Addresses []netip.Addr `toml:"addresses" default:"(those of the certificate)"`
	// Priority that the role announces.
	Priority int `toml:"priority" unit:"lower is preferred" range:"1..65535" default:"(none)"`
	// Share of the work.
	Weight int `toml:"weight" unit:"100 is usual" range:"1..65535" default:"(100)"`
	// Version of the service's software, for show.
	Version string `toml:"version" default:"(none)"`
	// Attributes for others, such as control_port.
	Attrs subjects.Attrs `toml:"attrs" default:"(none)"`
	// Signal that the program which has joined the role gets when an operator drains it,
	// such as HUP for the relay of MediaProxy. It is for a role with a check of the kind program.
	DrainSignal string `toml:"drain_signal" oneof:"HUP INT QUIT TERM USR1 USR2" default:"(none)"`
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
	Program   Kind = "program"   // nothing is asked: a program of this machine joins the role by itself, see Agent.JoinProgram
)

// A CheckConfig is one probe of a local service, made again and again.
type CheckConfig struct {
	// How the service is asked: by SIP OPTIONS, ng ping, TCP connection, HTTP GET or a program that exits with 0.
	// "program" asks nothing: a program joins the role on the Unix socket, and is up while it is connected.
	Kind Kind `toml:"kind" oneof:"sip rtpengine tcp http command program" required:"yes"`
	// Address to ask: host:port, or a URL for http and https.
	Target string `toml:"target" default:"(none, required but for command and program)"`
	// Transport of sip.
	Transport string `toml:"transport" oneof:"udp tcp tls" default:"(udp)"`
	// Absolute path of a program, and its arguments.
	Command []string `toml:"command" default:"(none, required for command)"`
	// Status codes of sip and http that count as alive.
	Expect []int `toml:"expect" unit:"status code" range:"200..699" default:"(of sip every final one but 503, of http 200 to 299)"`
	// Roots verify the certificate of SIP over TLS and of https. nil: it is not
	// verified, since the question is whether the service answers, and nothing
	// secret is asked or told.
	Roots *x509.CertPool
	// ServerName is the name that the certificate must hold; empty: Target's host.
	ServerName string
	check.Timing
	check.Counts
}

func (c CheckConfig) withDefaults() CheckConfig {
	if c.Kind == SIP && c.Transport == "" {
		c.Transport = "udp"
	}
	setting.Fill(&c)
	return c
}

// faults are what is wrong with c, after withDefaults.
func (c *CheckConfig) faults() []setting.Problem {
	ps := setting.Check(c)
	fail := func(key, format string, args ...any) {
		ps = append(ps, setting.Problem{Key: key, Text: fmt.Sprintf(format, args...)})
	}
	if c.Kind == "" {
		fail("kind", "is missing")
	}
	if c.Kind != SIP && c.Transport != "" {
		fail("transport", "%q: sip has udp, tcp and tls, the other kinds have none", c.Transport)
	}
	if len(c.Expect) > 0 && c.Kind != SIP && c.Kind != HTTP {
		fail("expect", "is for sip and http only")
	}
	switch {
	case slices.ContainsFunc(ps, func(p setting.Problem) bool { return p.Key == "kind" }):
	case c.Kind == Program && (c.Target != "" || len(c.Command) > 0):
		fail("kind", "program has neither target nor command: the program comes by itself")
	case c.Kind == Program:
	case c.Kind == Command && (len(c.Command) == 0 || !filepath.IsAbs(c.Command[0])):
		fail("command", "is a list that begins with an absolute path")
	case c.Kind == Command && c.Target != "":
		fail("target", "is not for a command")
	case c.Kind == Command:
	case len(c.Command) > 0:
		fail("command", "is for the kind command only")
	case c.Target == "":
		fail("target", "is missing")
	default:
		if err := c.checkTarget(); err != nil {
			fail("target", "%v", err)
		}
	}
	return ps
}

func (c *CheckConfig) checkTarget() error {
	if c.Kind == HTTP {
		u, err := url.Parse(c.Target)
		switch {
		case err == nil && u.User != nil:
			return errors.New("holds a user: give the service a page that needs none")
		case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
			return fmt.Errorf("%q is not a URL like \"http://127.0.0.1:8080/health\"", c.Target)
		}
		return nil
	}
	host, port, err := net.SplitHostPort(c.Target)
	if err != nil || host == "" {
		return fmt.Errorf("%q is not host:port", c.Target)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("port %q is not 1 to 65535", port)
	}
	return nil
}

// byProgram reports whether a program joins the role.
func (rc *RoleConfig) byProgram() bool {
	return slices.ContainsFunc(rc.Checks, func(c CheckConfig) bool { return c.Kind == Program })
}

// probed are the checks that ask something.
func (rc *RoleConfig) probed() []CheckConfig {
	return slices.DeleteFunc(slices.Clone(rc.Checks), func(c CheckConfig) bool { return c.Kind == Program })
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
