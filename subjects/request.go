package subjects

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// Verbs of requests that are answered on subjects of the form
// thor.node.<node>.<role>.<verb>.
const (
	VerbDrain       = "drain"
	VerbResume      = "resume"
	VerbDuplicate   = "duplicate"   // from the manager, for a role only
	VerbWork        = "work"        // to a node: how many calls its services carry; a Work
	VerbCredentials = "credentials" // of a database, from its locator
	VerbLookup      = "lookup"      // to a node: a LookupRequest; the Reply's data is a list of LookupResult, one for each key
)

// Verbs of requests about subscribers; package overlay/subscriber has the
// messages. Those to a provisioning server go to ProvisioningRequest, the others
// to AgentRequest of a node, and VerbProfile to ProfileRequest.
const (
	VerbSubscriber = "subscriber" // to a node: a Notice; to a provisioning server: a Request
	VerbChanges    = "changes"    // to a provisioning server: a ChangesRequest
	VerbTrust      = "trust"      // to a provisioning server: a TrustRequest
	VerbProfile    = "profile"    // to the node agent of the heir or remote, when no provisioning server answers: a Request
	VerbHandover   = "handover"   // from node to node: a Handover
	VerbStatistics = "statistics" // to a node: how many subscribers are online, by domain
	VerbLocations  = "locations"  // to a node: where subscribers are registered
)

// VerbMedia is a provisioning server's request to a node for the calls that its media
// relays carry; package overlay/media has the messages.
const VerbMedia = "media"

// VerbRecords is a name server's request to a provisioning server for the records of
// the zone that are provisioned; package overlay/records has the messages.
const VerbRecords = "records"

// NeedsSender reports whether a request with this verb changes something at the
// member that receives it. Such a request must name its sender; without one it
// is refused.
func NeedsSender(verb string) bool {
	switch verb {
	case VerbDrain, VerbResume, VerbDuplicate, VerbSubscriber, VerbHandover, VerbForget, VerbConfirm, VerbHold, VerbRescue, VerbRestart:
		return true
	}
	return false
}

// Request is the subject of a request to one member of a role on a node. This
// form names no sender: it may read, and change nothing.
func Request(node NodeID, role Role, verb string) string {
	return RequestPrefix(node) + string(role) + "." + verb
}

// RequestPrefix is how the subjects of all requests to node begin.
func RequestPrefix(node NodeID) string { return "thor.node." + string(node) + "." }

// RequestFrom is the subject of a request that names its sender. The broker lets
// only the sender's certificate publish on it.
func RequestFrom(sender, node NodeID, role Role, verb string) string {
	return Request(node, role, verb) + "." + string(sender)
}

// ManagerRequest is the subject of a request that managers alone may make, of node:
// VerbStatus asks another manager what it holds, VerbHears what it hears.
func ManagerRequest(node NodeID, verb string) string {
	return managerRoot + string(node) + "." + verb
}

// VerbStatus is a request of a manager that has no current status, before it leads
// for the first time: it is answered like StatusGet, but with whatever is held.
const VerbStatus = "status"

// VerbHears asks another manager what it hears of the network; the answer's data is a
// Hearing.
const VerbHears = "hears"

const managerRoot = "thor.manager."

// AgentRequest is the subject of a request to the node agent itself.
func AgentRequest(node NodeID, verb string) string { return Request(node, Agent, verb) }

// AgentRequestFrom is AgentRequest with a sender.
func AgentRequestFrom(sender, node NodeID, verb string) string {
	return RequestFrom(sender, node, Agent, verb)
}

// Credentials is the subject on which asker, in role, asks the locator on node
// for the database credentials. The broker lets only that asker publish it, so
// the locator may trust the last two tokens.
func Credentials(node NodeID, role Role, asker NodeID) string {
	return Request(node, Database, VerbCredentials) + "." + string(role) + "." + string(asker)
}

// ProvisioningRequest is the subject on which asker, in role, sends a request to
// the provisioning server on node. The broker lets only that asker publish it,
// and only that asker receives the answer. A profile travels this way, and on
// ProfileRequest.
func ProvisioningRequest(node NodeID, verb string, role Role, asker NodeID) string {
	return Request(node, ProvisioningServer, verb) + "." + string(role) + "." + string(asker)
}

// ProfileRequest is the subject on which asker, in role, requests the profile of
// a subscriber from heir. The broker lets only asker publish it.
func ProfileRequest(heir NodeID, role Role, asker NodeID) string {
	return AgentRequest(heir, VerbProfile) + "." + string(role) + "." + string(asker)
}

// A RequestSubject is what a subject below thor.node tells of a request.
type RequestSubject struct {
	Node       NodeID // that is asked
	Role       Role   // in this role; Agent for the node agent itself
	Verb       string
	SenderRole Role   // empty unless the subject names the role of its sender
	Sender     NodeID // empty unless the subject names its sender
}

// ParseRequest takes a request's subject apart:
// thor.node.<node>.<role>.<verb>[[.<sender's role>].<sender>]. What it names as
// the sender is proven by the broker.
func ParseRequest(subject string) (RequestSubject, error) {
	bad := fmt.Errorf("%q is not the subject of a request", clip(subject))
	t := strings.Split(subject, ".")
	if len(t) < 5 || len(t) > 7 || t[0] != "thor" || t[1] != "node" || t[4] == "" {
		return RequestSubject{}, bad
	}
	r := RequestSubject{Role: Role(t[3]), Verb: t[4]}
	var err error
	if r.Node, err = ParseNodeID(t[2]); err != nil {
		return RequestSubject{}, err
	}
	if t[3] != Agent {
		if r.Role, err = ParseRole(t[3]); err != nil {
			return RequestSubject{}, err
		}
	}
	if len(t) == 7 {
		if r.SenderRole, err = ParseRole(t[5]); err != nil {
			return RequestSubject{}, err
		}
	}
	if len(t) > 5 {
		if r.Sender, err = ParseNodeID(t[len(t)-1]); err != nil {
			return RequestSubject{}, err
		}
	}
	return r, nil
}

// services are the roles that answer in the role's name, whichever of their
// members does. Each holds an underscore, so that none is a node's name.
var services = map[Role]bool{EventServer: true, Manager: true, Database: true, ProvisioningServer: true}

// The first tokens of all reply subjects. The asker's node follows.
const (
	answerRoot    = "_ANSWER"
	inboxRoot     = "_INBOX"
	jetStreamRoot = "_JS"
)

// ReplyPrefixes are how the reply subjects begin that node may name in a
// message. The broker drops a message with any other.
func ReplyPrefixes(node NodeID) []string {
	end := "." + string(node) + "."
	return []string{answerRoot + end, inboxRoot + end, jetStreamRoot + end}
}

// ReplyNode is the node that reads a reply subject which the broker let through.
func ReplyNode(reply string) NodeID {
	_, rest, _ := strings.Cut(reply, ".")
	node, _, _ := strings.Cut(rest, ".")
	return NodeID(node)
}

// Answers is the pattern on which node receives the answers to its requests. No
// other node may subscribe to it.
func Answers(node NodeID) string { return answerRoot + "." + string(node) + ".>" }

// AnswersOf is the pattern of all subjects on which answerer may answer: a
// node's name, or the name of a service role.
func AnswersOf(answerer string) string { return answerRoot + ".*." + answerer + ".>" }

// Answerer is the token of the answerer of a request on subject: the service role
// that it is meant for, or else the node. The broker lets only certificates with
// that role, or of that node, publish the answer.
func Answerer(subject string) (string, error) {
	switch {
	case subject == StatusGet, strings.HasPrefix(subject, managerRoot):
		return string(Manager), nil
	case subject == CRLGet, strings.HasPrefix(subject, crl+"."):
		return string(EventServer), nil
	}
	r, err := ParseRequest(subject)
	if err != nil {
		return "", err
	}
	if services[r.Role] {
		return string(r.Role), nil
	}
	return string(r.Node), nil
}

// NewAnswer is a fresh reply subject for a request of asker on subject: only
// its answerer may publish there, and only asker subscribe. Its last token
// has 128 random bits.
func NewAnswer(asker NodeID, subject string) (string, error) {
	who, err := Answerer(subject)
	if err != nil {
		return "", err
	}
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return answerRoot + "." + string(asker) + "." + who + "." + hex.EncodeToString(b[:]), nil
}

// CheckReply returns a BadMessage unless a request on subject may be answered on
// reply: an answer subject that its answerer may use, or the inbox of a plain
// NATS client; and the sender's own, if the subject names a sender.
func CheckReply(subject, reply string) error {
	t := strings.Split(reply, ".")
	if len(t) < 3 || t[0] != answerRoot && t[0] != inboxRoot {
		return Bad(CodeForeign, "the reply subject is no inbox")
	}
	if t[0] == answerRoot {
		who, err := Answerer(subject)
		if err != nil || len(t) != 4 || t[2] != who {
			return Bad(CodeForeign, "the reply subject is another answerer's")
		}
	}
	if _, err := ParseNodeID(t[1]); err != nil {
		return Bad(CodeForeign, "the reply subject names no node")
	}
	if r, err := ParseRequest(subject); err == nil && r.Sender != "" && string(r.Sender) != t[1] {
		return Bad(CodeForeign, "the answer would go to another node than the sender")
	}
	return nil
}

// Confidential reports whether an answer on reply reaches asker alone, and no
// plain NATS client's inbox: only there may a secret be sent.
func Confidential(reply string, asker NodeID) bool {
	return asker != "" && strings.HasPrefix(reply, answerRoot+"."+string(asker)+".")
}

// JetStreamPrefix is the prefix of the subjects on which JetStream answers node,
// a manager or a broker. No certificate may publish below it.
func JetStreamPrefix(node NodeID) string { return jetStreamRoot + "." + string(node) }

// ClientInbox is the inbox prefix for the NATS client library of a process with
// these roles: a manager asks JetStream only, others are plain clients there.
func ClientInbox(node NodeID, roles []Role) string {
	if slices.Contains(roles, Manager) {
		return JetStreamPrefix(node)
	}
	return InboxPrefix(node)
}
