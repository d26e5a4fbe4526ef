package broker

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"thor/identity"
	"thor/subjects"
)

// A grant lets a class of certificates do one thing. What no grant names is
// refused: there are no denials in the table that something could slip past.
type grant struct {
	to      class
	act     action
	subject string // <node> and <role> stand for what the certificate says
	why     string
}

// A class is whom a grant is for.
type class string

const (
	toService      class = "any role"                  // each role of the certificate but thor_operator
	toClient       class = "any role but thor_monitor" // the same, without onlookers
	toManager            = class(subjects.Manager)
	toMonitor            = class(subjects.Monitor)
	toOperator           = class(subjects.Operator)
	toProvisioning       = class(subjects.ProvisioningServer)
	toProxy              = class(subjects.SIPProxy)
	toSelf         class = "the broker itself" // its own connection inside the process; no certificate gives this
)

type action string

const (
	publish   action = "publish"
	subscribe action = "subscribe"
)

// Whoever may answer a request gets the right to publish on its reply subject,
// for so many messages and so long.
const (
	replyMessages = 16
	replyTime     = 5 * time.Second
)

// grants is the one table of who may do what on the overlay.
func grants() []grant {
	g := []grant{
		{toService, publish, "thor.role.<role>.<node>", "announce itself, in its own roles and under its own name only"},
		{toService, publish, subjects.StatusGet, "ask for the snapshot"},
		{toClient, publish, "thor.node.*.thor_database.credentials.<role>.<node>", "ask a locator for database credentials, as itself"},
		{toClient, publish, "thor.node.*.provisioning_server.subscriber.<role>.<node>", "ask a provisioning server for a subscriber, as itself"},
		{toClient, publish, "thor.node.*.provisioning_server.changes.<role>.<node>", "ask a provisioning server which subscribers changed, as itself"},
		{toService, subscribe, subjects.StatusTick, "follow the status"},
		{toService, subscribe, subjects.StatusDelta, "follow the status"},
		{toService, subscribe, subjects.AllViews, "follow a role"},
		{toService, subscribe, "thor.node.<node>.>", "receive requests to it"},
		{toService, subscribe, "_INBOX.<node>.>", "receive answers to it, and to nobody else"},

		{toManager, publish, subjects.AllViews, "publish the member lists"},
		{toManager, publish, subjects.StatusTick, "publish the status"},
		{toManager, publish, subjects.StatusDelta, "publish the status"},
		{toManager, publish, subjects.Events, "publish the history"},
		{toManager, publish, "thor.node.*.*.duplicate", "warn two instances that claim one membership"},
		{toManager, publish, "_INBOX.>", "answer with a snapshot of many chunks"},
		{toManager, subscribe, subjects.AllPresences, "hear the members"},
		{toManager, subscribe, "thor.sys.>", "hear of ended connections, revocations and certificates"},
		{toManager, publish, subjects.IdentityGet, "ask brokers what the certificates of their clients say"},
		{toManager, subscribe, subjects.StatusGet, "be asked for the snapshot"},
		{toManager, subscribe, subjects.CRL, "know of revocations"},
		{toManager, publish, "$JS.API.INFO", "see whether JetStream works"},
		{toManager, publish, "$JS.FC.>", "flow control of watchers"},
		{toManager, publish, "$JS.ACK.>", "acknowledgements of watchers"},

		{toMonitor, subscribe, subjects.Events, "show the history"},

		{toProvisioning, publish, "thor.node.*._." + subjects.VerbSubscriber, "tell a node that a subscriber changed"},
		{toProvisioning, publish, "thor.node.*._." + subjects.VerbStatistics, "ask a node how many subscribers are online"},
		{toProvisioning, publish, "thor.node.*._." + subjects.VerbLocations, "ask a node where subscribers are registered"},
		{toProxy, publish, "thor.node.*._." + subjects.VerbHandover, "tell a node which subscribers it has to serve now"},

		{toOperator, subscribe, "thor.>", "see everything"},
		{toOperator, subscribe, "_INBOX.<node>.>", "receive answers to it, and to nobody else"},
		{toOperator, publish, "thor.node.*.*.*", "ask any member anything but for credentials and subscribers"},
		{toOperator, publish, subjects.StatusGet, "ask for the snapshot"},
		{toOperator, publish, subjects.CRL, "revoke certificates (brokers verify the list's signature)"},
		{toOperator, publish, subjects.CRLGet, "see which revocations brokers hold"},
		{toOperator, publish, "$SYS.REQ.SERVER.PING", "list the brokers"},

		{toSelf, publish, "thor.role." + string(subjects.EventServer) + ".<node>", "announce itself"},
		{toSelf, publish, subjects.CRL, "hand on a revocation list that came as a file"},
		{toSelf, publish, subjects.CRLGet, "ask the other brokers for theirs"},
		{toSelf, publish, subjects.RevokedNode, "tell managers whose connection it ended"},
		{toSelf, publish, subjects.IdentityOf("<node>"), "tell managers what the certificates of its clients say"},
		{toSelf, subscribe, subjects.CRL, "receive revocation lists"},
		{toSelf, subscribe, subjects.CRLGet, "be asked for them"},
		{toSelf, subscribe, subjects.IdentityGet, "be asked what certificates say"},
		{toSelf, subscribe, subjects.StatusTick, "know the newest mark"},
		{toSelf, subscribe, "_INBOX.<node>.>", "receive answers to it, and to nobody else"},
	}
	g = append(g, bucketGrants(subjects.ElectionBucket)...)
	g = append(g, bucketGrants(subjects.StatusBucket)...)
	return append(g, streamGrants()...)
}

// bucketGrants let managers keep a key-value bucket, and operators read it.
// Nobody else may even read one: members follow the status by messages, since
// a watcher per member would cost a consumer each.
func bucketGrants(bucket string) []grant {
	g := []grant{
		{toManager, publish, "$KV." + bucket + ".>", "write the bucket " + bucket},
		{toManager, publish, "$JS.API.STREAM.CREATE.KV_" + bucket, "create it"},
		{toManager, publish, "$JS.API.STREAM.UPDATE.KV_" + bucket, "give it more replicas when brokers join"},
		{toManager, publish, "$JS.API.STREAM.INFO.KV_" + bucket, "open it"},
		{toManager, publish, "$JS.API.STREAM.MSG.GET.KV_" + bucket, "read it"},
	}
	for _, c := range []class{toManager, toOperator} {
		g = append(g,
			grant{c, publish, "$JS.API.DIRECT.GET.KV_" + bucket, "read it"},
			grant{c, publish, "$JS.API.DIRECT.GET.KV_" + bucket + ".>", "read one key of it"},
			grant{c, publish, "$JS.API.CONSUMER.CREATE.KV_" + bucket + ".>", "watch it"},
			grant{c, publish, "$JS.API.CONSUMER.MSG.NEXT.KV_" + bucket + ".>", "watch it"},
		)
	}
	return append(g,
		grant{toManager, publish, "$JS.API.CONSUMER.INFO.KV_" + bucket + ".>", "watch it"},
		grant{toManager, publish, "$JS.API.CONSUMER.DELETE.KV_" + bucket + ".>", "end a watch"},
	)
}

// streamGrants let operators inspect and remove streams. Creating, updating and
// restoring are left out: a stream may republish under any subject, which would
// be a way to forge what only members and managers may say.
func streamGrants() []grant {
	g := []grant{
		{toOperator, publish, "$JS.API.INFO", "inspect JetStream"},
		{toOperator, publish, "$JS.API.STREAM.NAMES", "inspect streams"},
		{toOperator, publish, "$JS.API.STREAM.LIST", "inspect streams"},
		{toOperator, publish, "$JS.FC.>", "flow control of watchers"},
	}
	for _, s := range []struct{ subject, why string }{
		{"STREAM.INFO.*", "inspect a stream"},
		{"STREAM.MSG.GET.*", "read a stream"},
		{"STREAM.MSG.DELETE.*", "remove a message"},
		{"STREAM.PURGE.*", "empty a stream"},
		{"STREAM.DELETE.*", "remove a stream: managers make theirs anew"},
		{"STREAM.LEADER.STEPDOWN.*", "move a stream's leader before maintenance"},
		{"STREAM.PEER.REMOVE.*", "move a stream off a lost broker"},
		{"CONSUMER.NAMES.*", "inspect consumers"},
		{"CONSUMER.LIST.*", "inspect consumers"},
		{"CONSUMER.INFO.*.*", "inspect a consumer"},
		{"CONSUMER.DELETE.*.*", "remove a consumer"},
	} {
		g = append(g, grant{toOperator, publish, "$JS.API." + s.subject, s.why})
	}
	return g
}

// expand lists the subjects of a grant for an identity: none if it is not meant.
func (g grant) expand(id *identity.Identity, self bool) []string {
	subject := strings.ReplaceAll(g.subject, "<node>", string(id.Node))
	var out []string
	for _, r := range id.Roles {
		var meant bool
		switch g.to {
		case toService:
			meant = r != subjects.Operator
		case toClient:
			meant = r != subjects.Operator && r != subjects.Monitor
		case toSelf:
		default:
			meant = class(r) == g.to
		}
		if meant {
			out = append(out, strings.ReplaceAll(subject, "<role>", string(r)))
		}
	}
	if self && g.to == toSelf {
		out = append(out, subject)
	}
	return slices.Compact(out)
}

// permissions turns an identity into what nats-server enforces. Node and role
// names went through the parsers of subjects, so that neither can hold a
// wildcard or a dot: a name in a subject never widens it.
func permissions(id *identity.Identity, self bool) *server.Permissions {
	p := &server.Permissions{
		// An empty list of allowed publishes denies all, an empty list of
		// allowed subscriptions allows all: hence the denial when there is none.
		Publish:   &server.SubjectPermission{Allow: []string{}},
		Subscribe: &server.SubjectPermission{Allow: []string{}},
		Response:  &server.ResponsePermission{MaxMsgs: replyMessages, Expires: replyTime},
	}
	for _, g := range grants() {
		to := p.Publish
		if g.act == subscribe {
			to = p.Subscribe
		}
		for _, s := range g.expand(id, self) {
			if !slices.Contains(to.Allow, s) {
				to.Allow = append(to.Allow, s)
			}
		}
	}
	if len(p.Subscribe.Allow) == 0 {
		p.Subscribe.Deny = []string{">"}
	}
	// nats-server takes ">" for one more token that "*" allows: whoever may
	// subscribe thor.role.* may subscribe thor.role.> as well, and would receive
	// what is below. A denial of that is applied to each delivery.
	for _, s := range p.Subscribe.Allow {
		below := s + ".>"
		if strings.HasSuffix(s, ".*") && !slices.ContainsFunc(p.Subscribe.Allow, func(o string) bool { return server.SubjectsCollide(below, o) }) {
			p.Subscribe.Deny = append(p.Subscribe.Deny, below)
		}
	}
	return p
}

// PermissionTable is the table of who may publish and subscribe to what, in
// Markdown, for the documentation. It is made from the data the broker enforces.
func PermissionTable() string {
	var b strings.Builder
	b.WriteString("| with the role | may | subject | to |\n|---|---|---|---|\n")
	for _, to := range []class{toService, toClient, toManager, toMonitor, toProvisioning, toProxy, toOperator, toSelf} {
		for _, g := range grants() {
			if g.to == to {
				fmt.Fprintf(&b, "| %s | %s | `%s` | %s |\n", g.to, g.act, g.subject, g.why)
			}
		}
	}
	fmt.Fprintf(&b, "\nWho receives a request may answer it on its reply subject: at most %d messages, within %v.\n", replyMessages, replyTime)
	b.WriteString("`<role>` is each role (OU) of the certificate, `<node>` its node name. Roles of one certificate add up. All else is refused.\n")
	return b.String()
}
