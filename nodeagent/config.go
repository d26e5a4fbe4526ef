package nodeagent

import (
	"context"
	"crypto/x509"
	"net/netip"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"thor/nodeagent/weight"
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
	weight.Rule
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
	Register  Kind = "register"  // the registration of a test account at Target
	Call      Kind = "call"      // a test call by way of Target
	RTPEngine Kind = "rtpengine" // ping or statistics of the ng protocol to Target over UDP
	Kamailio  Kind = "kamailio"  // RPC of the Kamailio at the URL Target
	OpenSIPS  Kind = "opensips"  // management interface of the OpenSIPS at the URL Target
	Asterisk  Kind = "asterisk"  // REST interface of the Asterisk at the URL Target
	TCP       Kind = "tcp"       // a connection to Target
	HTTP      Kind = "http"      // GET of the URL Target
	Command   Kind = "command"   // a program that exits with 0
	Program   Kind = "program"   // nothing is asked: a program of this machine joins the role by itself, see Agent.JoinProgram
)

// A Proxy is a SIP proxy that is asked by its RPC; *kamailio.Client and *opensips.Client are.
type Proxy interface {
	UpSince(context.Context) (string, error)
	Dialogs(context.Context) (int, error)
}

// A CheckConfig is one probe of a local service, made again and again.
type CheckConfig struct {
	// How the service is asked: by SIP OPTIONS, the registration of a test account (REGISTER), a test call
	// (INVITE) that must ring, ng ping, the RPC of a Kamailio or an OpenSIPS, the REST interface (ARI) of an Asterisk, TCP connection, HTTP GET or a program that exits with 0.
	// "program" asks nothing: a program joins the role on the Unix socket, and is up while it is connected.
	Kind Kind `toml:"kind" oneof:"sip register call rtpengine kamailio opensips asterisk tcp http command program" required:"yes"`
	// Address to ask: host:port, or a URL for http, kamailio, opensips and asterisk.
	Target string `toml:"target" default:"(of kamailio and opensips that of the role; else none, required but for command and program)"`
	// Transport of sip, register and call.
	Transport string `toml:"transport" oneof:"udp tcp tls" default:"(udp)"`
	// Absolute path of a program, and its arguments.
	Command []string `toml:"command" default:"(none, required for command)"`
	// Status codes of sip, register, call and http that count as alive.
	Expect []int `toml:"expect" unit:"status code" range:"180..699" default:"(of sip every final one but 503, of register and http 200 to 299, of call 180, 183 and 200 to 299)"`
	// Least status code of a range that counts as alive, beside expect.
	ExpectMin int `toml:"expect_min" unit:"status code" range:"180..ExpectMax" default:"(200 with expect_max, else no range)"`
	// Greatest status code of that range.
	ExpectMax int `toml:"expect_max" unit:"status code" range:"180..699" default:"(699 with expect_min, else no range)"`
	// Test account of register and call, USER@DOMAIN. A registration has a contact at which nothing answers, and
	// ends a minute after the last probe.
	Account string `toml:"account" default:"(none, required for register and call)"`
	// Name of the test account where a server asks for its password; of asterisk the user of its REST interface.
	AuthUser string `toml:"auth_user" default:"(the USER of account; required for asterisk)"`
	// File that holds the password of the test account, or of the user of asterisk, alone; only its owner may read it. It is read again whenever it is asked for.
	PasswordFile string `toml:"password_file" form:"file" secret:"yes" default:"(none)"`
	// Who is called, USER@DOMAIN. The call is cancelled when it rings, or ended when it is answered.
	Callee string `toml:"callee" default:"(none, required for call)"`
	// Modules of asterisk that must run, such as "app_voicemail.so".
	Modules []string `toml:"modules" default:"(none)"`
	// How much fills the service: sessions of rtpengine, dialogs of kamailio and opensips, channels of asterisk. The role's weight is announced lower
	// the more it carries, and 1 where it is full.
	Full int `toml:"full" unit:"sessions, dialogs or channels" range:"1..10000000" default:"(the weight does not depend on it)"`
	// The command prints a line weight=N: the percentage of its weight, 0 to 100, that the role is to have.
	Weigh bool `toml:"weigh"`
	// The check tells what it finds, and decides nothing: a failure is logged, counted, and told as the attribute
	// report_only of the member; the weight is not changed.
	ReportOnly bool `toml:"report_only"`
	// Proxy is the one at Target, for kamailio and opensips.
	Proxy Proxy
	// Roots verify the certificate of SIP over TLS and of https. nil: it is not
	// verified, since the question is whether the service answers, and nothing
	// secret is asked or told; that of an Asterisk, which is told a password, is verified by
	// the system's.
	Roots *x509.CertPool
	// ServerName is the name that the certificate must hold; empty: Target's host.
	ServerName string
	check.Timing
	check.Counts
}

// byProgram reports whether a program joins the role.
func (rc *RoleConfig) byProgram() bool {
	return slices.ContainsFunc(rc.Checks, func(c CheckConfig) bool { return c.Kind == Program })
}

// probed are the checks that ask something.
func (rc *RoleConfig) probed() []CheckConfig {
	return slices.DeleteFunc(slices.Clone(rc.Checks), func(c CheckConfig) bool { return c.Kind == Program })
}
