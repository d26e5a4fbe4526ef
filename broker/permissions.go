package broker

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats-server/v2/server"

	"thor/identity"
	"thor/subjects"
)

// A grant lets a class of certificates do one thing. What no grant names is
// refused: there are no denials in the table that something could slip past. And
// no grant lets anyone publish on a subject that a message names as its reply.
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
	toDatabase           = class(subjects.Database)
	toProvisioning       = class(subjects.ProvisioningServer)
	toProxy              = class(subjects.SIPProxy)
	toNameServer         = class(subjects.DNSManager)
	toSelf         class = "the broker itself" // its own connection inside the process; no certificate gives this
)

type action string

const (
	publish   action = "publish"
	subscribe action = "subscribe"
)

// grants is the one table of who may do what on the overlay.
func grants() []grant {
	g := slices.Concat(memberGrants(), managerGrants(), functionGrants(), operatorGrants(), brokerGrants())
	for _, b := range buckets {
		g = append(g, bucketGrants(b)...)
	}
	return append(append(g, historyGrants()...), streamGrants()...)
}

// memberGrants are what every member may, and services and clients among them.
func memberGrants() []grant {
	return []grant{
		{toService, publish, subjects.Presence("<role>", "<node>"), "announce itself, in its own roles and under its own name only"},
		{toService, publish, subjects.StatusGet, "ask for the snapshot"},
		{toClient, publish, subjects.Credentials("*", "<role>", "<node>"), "ask a locator for database credentials, as itself"},
		{toClient, publish, subjects.ProvisioningRequest("*", subjects.VerbSubscriber, "<role>", "<node>"), "ask a provisioning server for a subscriber, as itself"},
		{toClient, publish, subjects.ProvisioningRequest("*", subjects.VerbChanges, "<role>", "<node>"), "ask a provisioning server which subscribers changed, as itself"},
		{toClient, publish, subjects.ProvisioningRequest("*", subjects.VerbTrust, "<role>", "<node>"), "ask a provisioning server whom proxies trust, as itself"},
		{toService, publish, subjects.AnswersOf("<node>"), "answer requests to its node"},
		{toClient, publish, "_INBOX.>", "answer plain NATS clients, which trust it for nothing"},
		{toService, publish, subjects.AskCRL("<node>"), "ask brokers for revocation lists"},
		{toService, subscribe, subjects.AllCRLs, "know of revocations"},
		{toService, subscribe, subjects.AllBrokers, "hear that its broker is alone"},
		{toService, subscribe, subjects.StatusTick, "follow the status"},
		{toService, subscribe, subjects.StatusDelta, "follow the status"},
		{toService, subscribe, subjects.RolesTick, "follow some roles of the status"},
		{toService, subscribe, subjects.RoleDeltas, "follow some roles of the status"},
		{toService, subscribe, subjects.AllViews, "follow a role"},
		{toService, subscribe, subjects.AgentRequest("<node>", ">"), "receive requests to its node agent"},
		{toService, subscribe, subjects.Request("<node>", "<role>", ">"), "receive requests to it in its own roles"},
		{toService, subscribe, subjects.ManagerRequests("<node>"), "be asked by managers for what it announces"},
		{toService, subscribe, subjects.Answers("<node>"), "receive answers to it, which no other node may"},
		{toService, subscribe, subjects.InboxPrefix("<node>") + ".>", "receive answers as a plain NATS client"},
	}
}

// managerGrants are what managers may beyond that.
func managerGrants() []grant {
	return []grant{
		{toManager, publish, subjects.AllViews, "publish the member lists"},
		{toManager, publish, subjects.StatusTick, "publish the status"},
		{toManager, publish, subjects.StatusDelta, "publish the status"},
		{toManager, publish, subjects.RolesTick, "publish the digests of the roles"},
		{toManager, publish, subjects.RoleDeltas, "publish the changes of a role"},
		{toManager, publish, subjects.Events, "publish the history"},
		{toManager, publish, subjects.RequestFrom("<node>", "*", "*", subjects.VerbDuplicate), "warn two instances that claim one membership"},
		{toManager, publish, subjects.AskAnnouncement("*"), "ask members for full announcements"},
		{toManager, subscribe, subjects.RequestFrom("*", "*", "*", subjects.VerbDrain), "know who drained a node, for the history"},
		{toManager, subscribe, subjects.RequestFrom("*", "*", "*", subjects.VerbResume), "know who ended a drain"},
		{toManager, publish, subjects.AnswersOf(string(subjects.Manager)), "answer with the snapshot"},
		{toManager, subscribe, subjects.AllPresences, "hear the members"},
		{toManager, subscribe, "thor.sys.>", "hear of ended connections, revocations, certificates and the lease"},
		{toManager, publish, subjects.IdentityGet, "ask brokers what the certificates of their clients say"},
		{toManager, publish, subjects.ClosedGet, "ask a broker whether a connection exists"},
		{toManager, subscribe, subjects.StatusGet, "be asked for the snapshot"},
		{toManager, publish, subjects.ManagerRequest("*", subjects.VerbStatus), "ask another manager what it holds, before it leads first"},
		{toManager, subscribe, subjects.ManagerRequest("<node>", subjects.VerbStatus), "be asked by other managers"},
		{toManager, publish, subjects.ManagerRequest("*", subjects.VerbHears), "ask another manager what it hears, before a lost site is removed"},
		{toManager, subscribe, subjects.ManagerRequest("<node>", subjects.VerbHears), "be asked by other managers what it hears"},
		{toManager, subscribe, subjects.JetStreamPrefix("<node>") + ".>", "receive the answers of JetStream, and of nothing else"},
	}
}

// functionGrants are what single functions may beyond that.
func functionGrants() []grant {
	return []grant{
		{toMonitor, subscribe, subjects.Events, "show the history"},
		{toDatabase, publish, subjects.AnswersOf(string(subjects.Database)), "answer with database credentials"},
		{toProvisioning, publish, subjects.AnswersOf(string(subjects.ProvisioningServer)), "answer with subscribers"},
		{toProvisioning, publish, subjects.AgentRequestFrom("<node>", "*", subjects.VerbSubscriber), "tell a node that a subscriber changed"},
		{toProvisioning, publish, subjects.AgentRequest("*", subjects.VerbStatistics), "ask a node how many subscribers are online"},
		{toProvisioning, publish, subjects.AgentRequest("*", subjects.VerbLocations), "ask a node where subscribers are registered"},
		{toProvisioning, publish, subjects.AgentRequest("*", subjects.VerbMedia), "ask a node which calls its media relays carry"},
		{toNameServer, publish, subjects.ProvisioningRequest("*", subjects.VerbRecords, subjects.DNSManager, "<node>"), "ask a provisioning server for records of the zone, as itself"},
		{toProxy, publish, subjects.AgentRequestFrom("<node>", "*", subjects.VerbHandover), "tell a node which subscribers it has to serve now"},
		{toProxy, publish, subjects.ProfileRequest("*", "<role>", "<node>"), "ask the heir of its subscribers for one, as itself"},
	}
}

// operatorGrants are what operators may.
func operatorGrants() []grant {
	return []grant{
		{toOperator, subscribe, "thor.>", "see everything"},
		{toOperator, subscribe, subjects.Answers("<node>"), "receive answers to it, which no other node may"},
		{toOperator, subscribe, subjects.InboxPrefix("<node>") + ".>", "receive answers as a plain NATS client, such as the nats tool"},
		{toOperator, publish, subjects.InboxPrefix("<node>") + ".>", "measure the round trip, as the nats tool does"},
		{toOperator, publish, subjects.Request("*", "*", "*"), "ask any member anything but for credentials and subscribers; changes need the form below"},
		{toOperator, publish, subjects.RequestFrom("<node>", "*", "*", "*"), "have any member change something, under its own name"},
		{toOperator, publish, subjects.StatusGet, "ask for the snapshot"},
		{toOperator, publish, subjects.PublishCRL("<node>"), "revoke certificates (brokers verify the list's signature)"},
		{toOperator, publish, subjects.CRLGet, "see which revocations brokers hold"},
		{toOperator, publish, pingServers, "list the brokers"},
		{toOperator, publish, "$SYS.REQ.SERVER.PING.CONNZ", "list the connections of the members' account"},
		{toOperator, publish, "$SYS.REQ.USER.INFO", "see its own permissions"},
	}
}

// brokerGrants are what a broker may of itself.
func brokerGrants() []grant {
	return []grant{
		{toSelf, publish, subjects.Presence(subjects.EventServer, "<node>"), "announce itself"},
		{toSelf, publish, subjects.PublishCRL("<node>"), "hand on a revocation list that came as a file"},
		{toSelf, publish, subjects.CRLGet, "ask the other brokers for theirs"},
		{toSelf, publish, subjects.RevokedNode, "tell managers whose connection it ended"},
		{toSelf, publish, subjects.CutNode, "tell managers of clients that sent too much"},
		{toSelf, publish, subjects.IdentityOf("<node>"), "tell managers what the certificates of its clients say"},
		{toSelf, publish, subjects.BrokerOf("<node>"), "tell its clients whether it is alone"},
		{toSelf, subscribe, subjects.IdentityGet, "be asked what certificates say"},
		{toSelf, publish, subjects.ClosedAt("<node>"), "tell managers that it has no such connection"},
		{toSelf, subscribe, subjects.ClosedGet, "be asked whether a connection exists"},
		{toSelf, publish, subjects.AnswersOf(string(subjects.EventServer)), "answer requests to brokers"},
		{toSelf, publish, "_INBOX.>", "answer plain NATS clients, which trust it for nothing"},
		{toSelf, subscribe, subjects.RequestFrom("*", "<node>", subjects.EventServer, subjects.VerbRescue), "be asked by an operator to rescue JetStream"},
		{toSelf, subscribe, subjects.RequestFrom("*", "<node>", subjects.EventServer, subjects.VerbRestart), "be asked by an operator to restart"},
		{toSelf, subscribe, subjects.AllCRLs, "receive revocation lists, and be asked for them"},
		{toSelf, subscribe, subjects.AllCRLAsks, "be asked for them by members"},
		{toSelf, subscribe, subjects.StatusTick, "know the newest mark"},
		{toSelf, subscribe, subjects.Answers("<node>"), "receive answers to it, which no other node may"},
		{toSelf, subscribe, subjects.JetStreamPrefix("<node>") + ".>", "receive the answers of JetStream, and of nothing else"},
	}
}

// bucketGrants let the brokers make a key-value bucket, managers read and write
// its keys, and operators read it. No certificate may make or change a stream,
// make a consumer of one, or purge one: a stream can store and republish what
// its maker may neither hear nor say. Managers follow the lease on the subject
// to which its bucket republishes; members follow the status by messages.
func bucketGrants(b bucket) []grant {
	const api = "$JS.API."
	g := []grant{
		{toSelf, publish, api + "STREAM.CREATE." + b.stream(), "make the bucket " + b.name},
		{toSelf, publish, api + "STREAM.UPDATE." + b.stream(), "give it more copies when brokers join"},
		{toSelf, publish, api + "STREAM.INFO." + b.stream(), "see how many copies it has"},
		{toSelf, publish, api + "STREAM.DELETE." + b.stream(), "make it anew when its copies are lost"},
		{toSelf, publish, api + "STREAM.PEER.EVACUATE." + b.stream(), "move a copy to another site"},
	}
	for _, k := range b.keys {
		g = append(g, grant{toManager, publish, subjects.BucketKey(b.name, k), "write the bucket " + b.name})
	}
	g = append(g, grant{toOperator, publish, api + "STREAM.DELETE." + b.stream(), "remove it: brokers make it anew"})
	for _, c := range []class{toManager, toOperator} {
		g = append(g, grant{c, publish, api + "DIRECT.GET." + b.stream() + "." + subjects.BucketKey(b.name, ">"), "read a key of it"})
	}
	return g
}

// historyGrants let the brokers make the history, managers write it, and operators
// and monitors read it in batches. No certificate may remove what is in it.
func historyGrants() []grant {
	const api = "$JS.API.STREAM."
	g := []grant{
		{toSelf, publish, api + "CREATE." + subjects.HistoryStream, "make the history"},
		{toSelf, publish, api + "UPDATE." + subjects.HistoryStream, "give it more copies when brokers join"},
		{toSelf, publish, api + "INFO." + subjects.HistoryStream, "see how many copies it has"},
		{toSelf, publish, api + "PEER.EVACUATE." + subjects.HistoryStream, "move a copy to another site"},
		{toSelf, publish, pingServers, "learn where the other brokers are"},
		{toManager, publish, subjects.AllHistory, "record the history"},
	}
	for _, c := range []class{toMonitor, toOperator} {
		g = append(g,
			grant{c, publish, subjects.HistoryGet, "read the history"},
			grant{c, subscribe, subjects.JetStreamPrefix("<node>") + ".>", "receive the answers of JetStream, and of nothing else"})
	}
	return g
}

// streamGrants let operators inspect streams and move them before maintenance.
func streamGrants() []grant {
	g := []grant{
		{toOperator, publish, "$JS.API.INFO", "inspect JetStream"},
		{toOperator, publish, "$JS.API.STREAM.NAMES", "inspect streams"},
		{toOperator, publish, "$JS.API.STREAM.LIST", "inspect streams"},
	}
	for _, s := range []struct{ subject, why string }{
		{"STREAM.INFO.*", "inspect a stream"},
		{"STREAM.LEADER.STEPDOWN.*", "move a stream's leader before maintenance"},
		{"STREAM.PEER.REMOVE.*", "move a stream off a lost broker"},
		{"CONSUMER.NAMES.*", "inspect consumers"},
		{"CONSUMER.LIST.*", "inspect consumers"},
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
		// Response stays nil: with it nats-server would permit any reply subject
		// that a received message names, over all that is said here.
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
	// nats-server takes ">" for one more token that "*" allows: a client that may
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
// Markdown, for the documentation. It is made from the data the broker enforces, and
// that which control ports do.
func PermissionTable() string {
	var b strings.Builder
	b.WriteString("| with the role | may | subject | to |\n|---|---|---|---|\n")
	for _, to := range []class{toService, toClient, toManager, toMonitor, toDatabase, toProvisioning, toProxy, toNameServer, toOperator, toSelf} {
		for _, g := range grants() {
			if g.to == to {
				fmt.Fprintf(&b, "| %s | %s | `%s` | %s |\n", g.to, g.act, g.subject, g.why)
			}
		}
	}
	for _, r := range subjects.ControlRights() {
		for _, role := range r.Roles {
			fmt.Fprintf(&b, "| %s | command | `%s` | %s |\n", role, r.Form, r.Why)
		}
	}
	b.WriteString("\n`<role>` is each role (OU) of the certificate, `<node>` its node name. Roles of one certificate add up. All else is refused. Commands are lines on the control port of a node agent, which enforces these rows.\n")
	return b.String()
}
