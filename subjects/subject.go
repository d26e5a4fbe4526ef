package subjects

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Role is a service a node offers, such as "sip_proxy": 1 to 63 characters of
// a-z, 0-9 and underscore, the first a letter. Role names are open, but the
// prefix "thor_" belongs to thor. The zero value is not a valid role.
type Role string

// The roles of thor's own parts. All other names pass through everywhere.
const (
	EventServer Role = "thor_eventserver"
	Manager     Role = "thor_manager"
	DNSManager  Role = "thor_dnsmanager"
	Database    Role = "thor_database"
	Monitor     Role = "thor_monitor"
	Operator    Role = "thor_operator" // never announced; a permission class only
)

// The roles of the SIP Thor description, for defaults and documentation.
const (
	SIPProxy           Role = "sip_proxy"
	MediaRelay         Role = "media_relay"
	VoicemailServer    Role = "voicemail_server"
	XCAPServer         Role = "xcap_server"
	ProvisioningServer Role = "provisioning_server"
	MSRPRelayServer    Role = "msrprelay_server"
)

// KnownRoles are the roles that thor has a name for.
func KnownRoles() []Role {
	return append(slices.Clone(infrastructure), SIPProxy, MediaRelay, VoicemailServer, XCAPServer, ProvisioningServer, MSRPRelayServer)
}

// Agent stands where a subject wants a role and the node agent itself is meant:
// thor.node.<node>._.drain.
const Agent = "_"

var infrastructure = []Role{EventServer, Manager, DNSManager, Database, Monitor, Operator}

// ErrBadRole and ErrBadNode are what ParseRole and ParseNodeID wrap.
var (
	ErrBadRole = errors.New("not a role name")
	ErrBadNode = errors.New("not a node name")
)

// ParseRole accepts a role name. An unknown name under the prefix "thor_" is
// refused: a certificate must not carry a role that a later thor may give power.
func ParseRole(s string) (Role, error) {
	if len(s) == 0 || len(s) > 63 {
		return "", fmt.Errorf("%w: %q must be 1 to 63 characters", ErrBadRole, clip(s))
	}
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || i > 0 && (c >= '0' && c <= '9' || c == '_') {
			continue
		}
		return "", fmt.Errorf("%w: %q may hold a-z, 0-9 and _ only and starts with a letter", ErrBadRole, clip(s))
	}
	if r := Role(s); strings.HasPrefix(s, "thor_") && !slices.Contains(infrastructure, r) {
		return "", fmt.Errorf("%w: %q (the prefix thor_ is reserved)", ErrBadRole, s)
	}
	return Role(s), nil
}

// Infrastructure reports whether r is one of thor's own roles.
func (r Role) Infrastructure() bool { return slices.Contains(infrastructure, r) }

// NamesHost reports whether a member of r gives its node a host name in the zone. Who only
// watches or operates the network gets none.
func (r Role) NamesHost() bool { return r != Monitor && r != Operator }

// HostLabel is the DNS label at which a role answers unless configured
// otherwise: its name with "_" written "-", since "_" is no host character.
func (r Role) HostLabel() string { return strings.ReplaceAll(string(r), "_", "-") }

// A NodeID names a node: one host label (RFC 1123), lower case. It is also the
// node's host name below the domain, so names that the zone uses for services
// are refused. The zero value is not a valid node.
type NodeID string

// reserved are the host labels that no node may take: the services of the
// original's zone, the lookup tree, the labels of the known roles, and a token
// of the wire.
var reserved = []string{
	"proxy", "xcap", "ngnpro", "msrprelay", "voicemail", "relay", "lookup", "eventserver",
	"sip-proxy", "media-relay", "voicemail-server", "xcap-server", "provisioning-server", "msrprelay-server",
	"get", // the last token of questions to all brokers
	"thor-eventserver", "thor-manager", "thor-dnsmanager", "thor-database", "thor-monitor", "thor-operator",
}

// ParseNodeID accepts a node name.
func ParseNodeID(s string) (NodeID, error) {
	if len(s) == 0 || len(s) > 63 {
		return "", fmt.Errorf("%w: %q must be 1 to 63 characters", ErrBadNode, clip(s))
	}
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' && i > 0 && i < len(s)-1 {
			continue
		}
		return "", fmt.Errorf("%w: %q must be a host label (a-z, 0-9 and inner hyphens)", ErrBadNode, clip(s))
	}
	if slices.Contains(reserved, s) {
		return "", fmt.Errorf("%w: %q is the name of a service in the zone", ErrBadNode, s)
	}
	return NodeID(s), nil
}

func clip(s string) string {
	if len(s) > 70 {
		return s[:70] + "…"
	}
	return s
}

// Subjects without parameters, and the patterns receivers subscribe to.
const (
	AllViews     = "thor.role.*"   // every RoleView
	AllPresences = "thor.role.*.*" // every Announcement; managers and operators only
	StatusTick   = "thor.status"
	StatusDelta  = "thor.status.delta"
	RoleDeltas   = "thor.status.delta.*" // every RoleDelta, see ChangesOf
	RolesTick    = "thor.status.roles"
	StatusGet    = "thor.status.get"
	Events       = "thor.event"
	crl          = "thor.crl"            // a revocation list; see PublishCRL for who sends it
	AllCRLs      = "thor.crl.*"          // every list, and CRLGet
	CRLGet       = "thor.crl.get"        // operators and brokers ask for all lists
	AllCRLAsks   = "thor.crl.get.*"      // members ask for those that they do not hold, see AskCRL
	Disconnect   = "thor.sys.disconnect" // server.DisconnectEventMsg of the members' account
	RevokedNode  = "thor.sys.revoked"
	CutNode      = "thor.sys.cut"           // a Cut
	Identities   = "thor.sys.identity.*"    // every Identity, and IdentityGet
	IdentityGet  = "thor.sys.identity.get"  // managers ask brokers for all their identities
	LeaseStored  = "thor.sys.lease.manager" // each write to ElectionKey, from JetStream

	ClosedConnections = "thor.sys.closed.*"   // every Link on ClosedAt, and ClosedGet
	ClosedGet         = "thor.sys.closed.get" // managers ask a broker for one connection, a Link
)

// ClosedAt is the subject on which broker tells managers, asked for it, that it
// has no such connection.
func ClosedAt(broker NodeID) string { return "thor.sys.closed." + string(broker) }

// IdentityOf is the subject on which broker tells managers what certificates say.
func IdentityOf(broker NodeID) string { return "thor.sys.identity." + string(broker) }

// AskCRL is the subject on which asker asks brokers for revocation lists, with a
// ListRequest. It is not below AllCRLs, to which every member subscribes.
func AskCRL(asker NodeID) string { return CRLGet + "." + string(asker) }

// PublishCRL is the subject on which sender, an operator or a broker, publishes
// a revocation list.
func PublishCRL(sender NodeID) string { return crl + "." + string(sender) }

// CRLSender is the sender that the subject of a revocation list names; empty if
// it names none.
func CRLSender(subject string) NodeID {
	s, ok := strings.CutPrefix(subject, crl+".")
	if !ok || subject == CRLGet || strings.Contains(s, ".") {
		return ""
	}
	return NodeID(s)
}

// CRLAsker is the asker that a subject of AskCRL names; empty on CRLGet, which
// names none.
func CRLAsker(subject string) NodeID {
	asker, ok := strings.CutPrefix(subject, CRLGet+".")
	if !ok {
		return ""
	}
	return NodeID(asker)
}

// ChangesOf is the subject on which the active manager tells the changes of role. It is
// not below thor.role, where a node of that name could publish.
func ChangesOf(role Role) string { return StatusDelta + "." + string(role) }

// ChangedRole is the role that a subject of ChangesOf names; empty if it is none.
func ChangedRole(subject string) Role {
	r, _ := strings.CutPrefix(subject, StatusDelta+".")
	if r == subject {
		return ""
	}
	return Role(r)
}

// View is the subject on which the active manager publishes role's member list.
func View(role Role) string { return "thor.role." + string(role) }

// Presence is the subject on which node announces itself under role.
func Presence(role Role, node NodeID) string { return "thor.role." + string(role) + "." + string(node) }

// AskAnnouncement is the subject on which a manager asks node for its full
// announcements; all that a manager asks of a member is below ManagerRequests.
func AskAnnouncement(node NodeID) string { return "thor.manager." + string(node) + ".announce" }

// ManagerRequests is what node subscribes to for these.
func ManagerRequests(node NodeID) string { return "thor.manager." + string(node) + ".*" }

// ParsePresence takes role and node out of a presence subject.
func ParsePresence(subject string) (Role, NodeID, error) {
	rest, ok := strings.CutPrefix(subject, "thor.role.")
	if !ok {
		return "", "", fmt.Errorf("%q is not a presence subject", clip(subject))
	}
	r, n, ok := strings.Cut(rest, ".")
	if !ok {
		return "", "", fmt.Errorf("%q is not a presence subject", clip(subject))
	}
	role, err := ParseRole(r)
	if err != nil {
		return "", "", err
	}
	node, err := ParseNodeID(n)
	return role, node, err
}

// InboxPrefix is the prefix of the reply subjects of node's plain NATS clients,
// such as the nats tool. Only node may subscribe below it, but any member may
// publish there: what arrives decides nothing and holds no secret.
func InboxPrefix(node NodeID) string { return inboxRoot + "." + string(node) }

// The key-value buckets of JetStream, and their keys.
const (
	ElectionBucket = "thor_election"
	ElectionKey    = "manager" // a Lease
	StatusBucket   = "thor_status"
	StatusKey      = "snapshot" // a Status, as in a snapshot reply; above MaxStatusKey: role.<role> keys and a head
)

// LimitExceeded is in the error with which a broker ends the connection of a client
// that sent too much; what was too much follows.
const LimitExceeded = "limit exceeded: "
