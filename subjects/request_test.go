package subjects_test

import (
	"strings"
	"testing"

	"thor/subjects"
)

func TestARequestNamesItsSender(t *testing.T) {
	for s, want := range map[string]subjects.RequestSubject{
		subjects.Request("n1", subjects.SIPProxy, "drain"):                                {Node: "n1", Role: "sip_proxy", Verb: "drain"},
		subjects.AgentRequest("n1", "lookup"):                                             {Node: "n1", Role: subjects.Agent, Verb: "lookup"},
		subjects.RequestFrom("ops", "n1", subjects.SIPProxy, "drain"):                     {Node: "n1", Role: "sip_proxy", Verb: "drain", Sender: "ops"},
		subjects.AgentRequestFrom("ops", "n1", "resume"):                                  {Node: "n1", Role: subjects.Agent, Verb: "resume", Sender: "ops"},
		subjects.Credentials("db1", "provisioning_server", "p1"):                          {Node: "db1", Role: subjects.Database, Verb: "credentials", SenderRole: "provisioning_server", Sender: "p1"},
		subjects.ProvisioningRequest("p1", subjects.VerbSubscriber, "sip_proxy", "n1"):    {Node: "p1", Role: subjects.ProvisioningServer, Verb: "subscriber", SenderRole: "sip_proxy", Sender: "n1"},
		"thor.node.p1.provisioning_server.changes.sip_proxy.n1":                           {Node: "p1", Role: subjects.ProvisioningServer, Verb: "changes", SenderRole: "sip_proxy", Sender: "n1"},
		"thor.node." + strings.Repeat("n", 63) + "._." + strings.Repeat("v", 100) + ".x1": {Node: subjects.NodeID(strings.Repeat("n", 63)), Role: subjects.Agent, Verb: strings.Repeat("v", 100), Sender: "x1"},
	} {
		if got, err := subjects.ParseRequest(s); err != nil || got != want {
			t.Errorf("%s: %+v, %v", s, got, err)
		}
	}
	for _, s := range []string{
		"", "thor.node.n1._", "thor.node.n1._.", "thor.role.n1._.drain", "node.thor.n1._.drain", "thor.node.N1._.drain", "thor.node.n1.__.drain",
		"thor.node.n1.thor_x.drain", "thor.node.n1._.drain.", "thor.node.n1._.drain.OPS", "thor.node.n1._.drain.*", "thor.node.n1._.drain.get",
		"thor.node.p1.provisioning_server.subscriber.SIP.n1", "thor.node.p1.provisioning_server.subscriber.sip_proxy.-",
		"thor.node.p1.provisioning_server.subscriber.sip_proxy.n1.x", "_INBOX.p1.x.provisioning_server.subscriber.sip_proxy.n1",
	} {
		if got, err := subjects.ParseRequest(s); err == nil {
			t.Errorf("%q is taken for %+v", s, got)
		}
	}
}

// Who answers stands in the reply subject: the node that is asked, or the role
// of a service whose members answer in its name.
func TestAnswerSubjectsNameWhoAnswers(t *testing.T) {
	for s, want := range map[string]string{
		subjects.AgentRequest("n2", "lookup"):                                          "n2",
		subjects.RequestFrom("n1", "n2", subjects.SIPProxy, "drain"):                   "n2",
		subjects.Request("n2", subjects.DNSManager, "drain"):                           "n2",
		subjects.Credentials("db1", "provisioning_server", "n1"):                       "thor_database",
		subjects.ProvisioningRequest("p1", subjects.VerbSubscriber, "sip_proxy", "n1"): "provisioning_server",
		subjects.StatusGet:        "thor_manager",
		subjects.CRLGet:           "thor_eventserver",
		subjects.PublishCRL("n1"): "thor_eventserver",
	} {
		reply, err := subjects.NewAnswer("n1", s)
		if err != nil || !strings.HasPrefix(reply, "_ANSWER.n1."+want+".") {
			t.Errorf("%s: %s, %v", s, reply, err)
		}
		if again, _ := subjects.NewAnswer("n1", s); again == reply || len(reply) < len("_ANSWER.n1.")+len(want)+1+32 {
			t.Errorf("%s: %s, then %s", s, reply, again)
		}
		if err := subjects.CheckReply(s, reply); err != nil {
			t.Errorf("%s: %v", s, err)
		}
		if !subjects.Confidential(reply, "n1") || subjects.Confidential(reply, "n") || subjects.Confidential(reply, "") {
			t.Errorf("%s: Confidential", reply)
		}
		if _, err := subjects.ParseNodeID(want); strings.Contains(want, "_") == (err == nil) {
			t.Errorf("the service %s may be a node's name", want)
		}
	}
	for _, s := range []string{"", "thor.status", "thor.role.sip_proxy.n1", "thor.event", "$JS.API.INFO", "thor.node.n1"} {
		if r, err := subjects.NewAnswer("n1", s); err == nil {
			t.Errorf("%q is answered on %s", s, r)
		}
	}
}

func TestNoRequestIsAnsweredElsewhere(t *testing.T) {
	read, drain := subjects.AgentRequest("n2", "lookup"), subjects.AgentRequestFrom("n1", "n2", subjects.VerbDrain)
	creds := subjects.Credentials("db1", "sip_proxy", "n1")
	for _, c := range []struct {
		subject, reply string
		ok             bool
	}{
		{read, "_INBOX.n1.x", true},
		{read, "_INBOX.n1.x.y", true},
		{read, "_ANSWER.n1.n2.x", true},
		{read, "_ANSWER.n3.n2.x", true},
		{read, "_ANSWER.n1.n3.x", false},
		{read, "_ANSWER.n1.thor_manager.x", false},
		{read, "_ANSWER.n1.n2", false},
		{read, "_ANSWER.n1.n2.x.y", false},
		{read, "_INBOX.n1", false},
		{read, "_INBOX.*.x", false},
		{read, "_INBOX..x", false},
		{read, "_JS.n1.x", false},
		{read, "thor.role.sip_proxy.n2", false},
		{read, "", false},
		{drain, "_ANSWER.n1.n2.x", true},
		{drain, "_INBOX.n1.x", true},
		{drain, "_ANSWER.n3.n2.x", false},
		{drain, "_INBOX.n3.x", false},
		{creds, "_ANSWER.n1.thor_database.x", true},
		{creds, "_ANSWER.n1.db1.x", false},
		{creds, "_ANSWER.n2.thor_database.x", false},
		{subjects.StatusGet, "_ANSWER.n1.thor_manager.x", true},
		{subjects.StatusGet, "_ANSWER.n1.n2.x", false},
		{subjects.StatusGet, "$JS.API.STREAM.DELETE.x", false},
	} {
		if err := subjects.CheckReply(c.subject, c.reply); (err == nil) != c.ok {
			t.Errorf("%s answered on %q: %v", c.subject, c.reply, err)
		}
	}
	if subjects.Confidential("_INBOX.n1.x", "n1") {
		t.Error("an inbox is called confidential")
	}
}

func TestSubjectsOfRevocationListsNameTheirNode(t *testing.T) {
	for _, c := range []struct{ subject, sender, asker string }{
		{subjects.PublishCRL("desk"), "desk", ""},
		{subjects.AskCRL("n1"), "", "n1"},
		{subjects.CRLGet, "", ""},
		{"thor.crl", "", ""},
		{"_ANSWER.b1.thor_eventserver.0", "", ""},
	} {
		if sender, asker := subjects.CRLSender(c.subject), subjects.CRLAsker(c.subject); string(sender) != c.sender || string(asker) != c.asker {
			t.Errorf("%s: sender %q and asker %q", c.subject, sender, asker)
		}
	}
}

func TestTheNodeOfAReplyIsTheOneThatTheFrontCompares(t *testing.T) {
	for _, p := range subjects.ReplyPrefixes("n1") {
		if got := subjects.ReplyNode(p + "thor_manager.0"); got != "n1" {
			t.Errorf("%s: %q", p, got)
		}
	}
	if got := subjects.ReplyNode("_INBOX"); got != "" {
		t.Errorf("%q", got)
	}
}

// What changes something at its receiver is refused without a sender.
func TestVerbsThatChangeSomethingNeedASender(t *testing.T) {
	for _, v := range []string{subjects.VerbDrain, subjects.VerbResume, subjects.VerbDuplicate, subjects.VerbSubscriber, subjects.VerbHandover} {
		if !subjects.NeedsSender(v) {
			t.Errorf("%s needs none", v)
		}
	}
	for _, v := range []string{subjects.VerbStatistics, subjects.VerbLocations, subjects.VerbLookup} {
		if subjects.NeedsSender(v) {
			t.Errorf("%s only reads", v)
		}
	}
}
