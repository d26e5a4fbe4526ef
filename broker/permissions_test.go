package broker_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"thor/broker"
	"thor/broker/brokertest"
	"thor/identity"
	"thor/subjects"
)

var update = flag.Bool("update", false, "write golden files")

func TestPermissionTableIsTheDocumentedOne(t *testing.T) {
	const file = "testdata/permissions.md"
	got := broker.PermissionTable()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the table changed: see that this is meant, then run with -update\n%s", got)
	}
}

// covers is our own reading of NATS wildcards: every subject that matches s also
// matches pattern.
func covers(pattern, s string) bool { return match(pattern, s, false) }

// literal is the reading for a published subject, in which "*" and ">" are
// tokens like any other.
func literal(pattern, s string) bool { return match(pattern, s, true) }

func match(pattern, s string, lit bool) bool {
	p, q := strings.Split(pattern, "."), strings.Split(s, ".")
	for i := range p {
		switch {
		case p[i] == ">":
			return len(q) > i
		case i >= len(q) || !lit && q[i] == ">":
			return false
		case p[i] != "*" && p[i] != q[i]:
			return false
		}
	}
	return len(p) == len(q)
}

// taken is how nats-server decides about a subscription: as literal does. What
// it then delivers is the matter of TestWiderSubscriptionBringsNoMore.
func taken(pattern, s string) bool { return covers(pattern, s) || literal(pattern, s) }

// probes are concrete subjects and patterns made from every line of the table,
// for the node itself, another node and roles it has not, and some attacks.
func probes(node string, roles []subjects.Role) (pub, sub []string) {
	others := append([]subjects.Role{"sip_proxy", "media_relay", subjects.Manager, subjects.Operator}, roles...)
	for _, tmpl := range broker.Templates() {
		for _, n := range []string{node, "n2", "*"} {
			for _, r := range others {
				s := strings.NewReplacer("<node>", n, "<role>", string(r)).Replace(tmpl)
				sub = append(sub, s)
				pub = append(pub, strings.NewReplacer("*", "x", ">", "x").Replace(s), s)
			}
		}
	}
	sub = append(sub, ">", "*", "*.*", "thor.>", "thor.*", "thor.*.*", "thor.role.>", "thor.role.*.>", "thor.role.sip_proxy.*",
		"thor.status.>", "thor.status.*", "thor.node.>", "thor.node.*.>", "thor.sys.>", "thor.sys.revoked", "thor.event",
		"_INBOX.>", "_INBOX.*", "_INBOX.*.>", "_INBOX.n2.x", "_R_.>", "$SYS.>", "$SYS.ACCOUNT.THOR.DISCONNECT", "$JS.>", "$KV.>", "$JSC.>")
	pub = append(pub, "thor", "thor.role", "thor.status.x", "thor.sys.disconnect", "thor.sys.revoked", "thor.crl", "_INBOX.n2.x",
		"$SYS.REQ.SERVER.PING.VARZ", "$SYS.REQ.SERVER.PING.CONNZ", "$SYS.REQ.ACCOUNT.PING.CONNZ", "$SYS.REQ.USER.INFO", "$SYS.ACCOUNT.THOR.DISCONNECT",
		"$JS.API.STREAM.CREATE.x", "$JS.API.STREAM.UPDATE.x", "$JS.API.STREAM.DELETE.x", "$JS.API.STREAM.PURGE.KV_x", "$JS.API.STREAM.MSG.DELETE.x",
		"$JS.API.STREAM.RESTORE.x", "$JS.API.STREAM.SNAPSHOT.x", "$JS.API.CONSUMER.CREATE.x.y", "$JS.API.META.LEADER.STEPDOWN", "$JS.API.SERVER.REMOVE",
		"$JS.API.ACCOUNT.PURGE.THOR", "$KV.other.key")
	slices.Sort(pub)
	slices.Sort(sub)
	return slices.Compact(pub), slices.Compact(sub)
}

// violations collects what the broker refuses on a connection.
type violations struct {
	mu    sync.Mutex
	seen  map[string]bool
	marks chan string
}

var quoted = regexp.MustCompile(`(?i)(publish|subscription) to "([^"]+)"`)

func (v *violations) handler(_ *nats.Conn, _ *nats.Subscription, err error) {
	m := quoted.FindStringSubmatch(err.Error())
	if m == nil {
		return
	}
	v.mu.Lock()
	v.seen[strings.ToLower(m[1])+" "+m[2]] = true
	v.mu.Unlock()
	if strings.HasPrefix(m[2], "forbidden.") {
		v.marks <- m[2]
	}
}

// settle returns when all refusals of what was sent before are in.
func (v *violations) settle(t *testing.T, nc *nats.Conn) {
	t.Helper()
	if err := nc.Publish("forbidden.mark", nil); err != nil {
		t.Fatal(err)
	}
	select {
	case <-v.marks:
	case <-time.After(20 * time.Second):
		t.Fatal("no refusal of the mark")
	}
}

func (v *violations) refused(kind, subject string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.seen[kind+" "+subject]
}

func dialStrict(t *testing.T, n *brokertest.Net, node string, roles ...subjects.Role) (*nats.Conn, *violations) {
	t.Helper()
	v := &violations{seen: make(map[string]bool), marks: make(chan string, 10)}
	return n.Brokers[0].Dial(append(n.Options(node, roles...), nats.ErrorHandler(v.handler))...), v
}

func TestBrokerEnforcesEveryLineOfTheTable(t *testing.T) {
	n := brokertest.New(t)
	n.Add("b1", func(c *broker.Config) { c.MaxSubscriptions = 5000 })
	sets := [][]subjects.Role{
		{"sip_proxy"},
		{"sip_proxy", "media_relay"},
		{subjects.ProvisioningServer},
		{subjects.DNSManager},
		{subjects.Database},
		{subjects.EventServer},
		{subjects.Manager},
		{subjects.Monitor},
		{subjects.Operator},
		{subjects.Manager, subjects.Operator, "sip_proxy"},
	}
	for i, roles := range sets {
		t.Run(fmt.Sprint(roles), func(t *testing.T) {
			node := fmt.Sprintf("node%d", i)
			id := n.Credentials(node, roles...).Identity()
			mayPub, maySub := broker.Allowed(id)
			pub, sub := probes(node, roles)
			nc, v := dialStrict(t, n, node, roles...)
			for _, s := range sub {
				if _, err := nc.SubscribeSync(s); err != nil {
					t.Fatalf("%s: %v", s, err)
				}
				if _, err := nc.QueueSubscribeSync(s, "q"); err != nil {
					t.Fatalf("%s: %v", s, err)
				}
			}
			for _, s := range pub {
				if err := nc.Publish(s, nil); err != nil {
					t.Fatalf("%s: %v", s, err)
				}
			}
			v.settle(t, nc)
			check := func(kind string, subject string, may []string, covers func(p, s string) bool) {
				want := slices.ContainsFunc(may, func(p string) bool { return covers(p, subject) })
				if got := !v.refused(kind, subject); got != want {
					t.Errorf("%s %s: allowed %v, the table says %v", kind, subject, got, want)
				}
			}
			for _, s := range pub {
				check("publish", s, mayPub, literal)
			}
			for _, s := range sub {
				check("subscription", s, maySub, taken)
			}
		})
	}
}

// The table could be wrong and enforced: these are the promises it has to keep.
func TestWhatNobodyMayDo(t *testing.T) {
	n := brokertest.Start(t)
	type deny struct{ kind, subject string }
	member := []deny{
		{"publish", "thor.role.media_relay.n1"},  // a role it has not
		{"publish", "thor.role.sip_proxy.n2"},    // another node
		{"publish", "thor.role.sip_proxy.*"},     // every node
		{"publish", "thor.role.sip_proxy"},       // the manager's voice
		{"publish", "thor.role.thor_manager.n1"}, // power it has not
		{"publish", "thor.status"},               // the truth
		{"publish", "thor.status.delta"},         //
		{"publish", "thor.event"},                // history
		{"publish", "thor.crl"},                  //
		{"publish", "thor.sys.revoked"},          //
		{"publish", "thor.sys.disconnect"},       //
		{"publish", "thor.node.n2._.drain"},      // orders to others
		{"publish", "thor.node.n2._.drain.n1"},   //
		{"publish", "thor.node.n2._.restart.n1"}, //
		{"publish", "thor.node.b1.thor_eventserver.restart.n1"},
		{"publish", "_ANSWER.n2.n3.x"},            // answers in another node's name
		{"publish", "_ANSWER.n2.thor_manager.x"},  // and in a service's
		{"publish", "_JS.n2.x"},                   // and in JetStream's
		{"publish", "$KV.thor_election.manager"},  // the lease
		{"publish", "$KV.thor_status.snapshot"},   //
		{"publish", "$JS.API.STREAM.CREATE.KV_x"}, //
		{"publish", "$JS.API.STREAM.DELETE.KV_x"}, //
		{"publish", "$JS.API.DIRECT.GET.KV_x.k"},  // members do not even read buckets
		{"publish", "$SYS.REQ.SERVER.PING"},       //
		{"publish", "thor.node.d.thor_database.credentials.sip_proxy.n2"},
		{"publish", "thor.node.d.thor_database.credentials.thor_manager.n1"},
		{"publish", "thor.node.p.provisioning_server.subscriber.sip_proxy.n2"}, // somebody else's subscribers
		{"publish", "thor.node.p.provisioning_server.subscriber.voicemail_server.n1"},
		{"publish", "thor.node.p.provisioning_server.subscriber.sip_proxy"},
		{"publish", "thor.node.p.provisioning_server.subscriber"},
		{"publish", "thor.node.p.provisioning_server.changes.sip_proxy.n2"},
		{"publish", "thor.node.n2._.subscriber"}, // only a provisioning server knows
		{"publish", "thor.node.n2._.locations"},
		{"publish", "thor.node.n2._.statistics"},
		{"subscription", "thor.node.p.provisioning_server.>"}, // others' requests
		{"subscription", "thor.role.*.*"},
		{"subscription", "thor.>"},
		{"subscription", ">"},
		{"subscription", "_INBOX.>"},
		{"subscription", "_INBOX.n2.>"},
		{"subscription", "_INBOX.*.x"},
		{"subscription", "_ANSWER.n2.>"},
		{"subscription", "_JS.n1.>"},
		{"subscription", "thor.node.n1.media_relay.>"},
		{"subscription", "thor.node.n2.>"},
		{"subscription", "thor.node.*.>"},
		{"subscription", "thor.status.get"},
		{"subscription", "thor.sys.disconnect"},
		{"subscription", "thor.event"},
		{"subscription", "$SYS.>"},
	}
	manager := []deny{
		{"publish", "thor.role.sip_proxy.n1"},
		{"publish", "thor.node.n2._.drain"},
		{"publish", "thor.node.n2._.drain.n1"},
		{"publish", "thor.node.n2.thor_manager.restart.n1"},
		{"publish", "thor.node.n2._.duplicate.n2"},
		{"publish", "$KV.thor_status.other"},
		{"publish", "$JS.API.STREAM.DELETE.KV_thor_status"},
		{"publish", "$JS.API.STREAM.PURGE.KV_thor_status"},
		{"publish", "$JS.API.STREAM.MSG.DELETE.KV_thor_status"},
		{"publish", "$JS.API.STREAM.CREATE.other"},
		{"publish", "thor.sys.revoked"},
		{"publish", "thor.crl"},
		{"subscription", "_INBOX.>"},
		{"subscription", "thor.node.>"},
		{"subscription", "thor.event"},
	}
	operator := []deny{
		{"publish", "thor.role.sip_proxy"},
		{"publish", "thor.role.sip_proxy.n1"},
		{"publish", "thor.role.thor_operator.n1"},
		{"publish", "thor.node.n2._.drain.n2"}, // in another's name
		{"publish", "thor.crl.n2"},
		{"publish", "_INBOX.n2.x"},
		{"publish", "_ANSWER.n2.n1.x"}, // it answers nothing
		{"publish", "thor.status"},
		{"publish", "thor.status.delta"},
		{"publish", "thor.event"},
		{"publish", "$KV.thor_election.manager"},
		{"publish", "thor.node.d.thor_database.credentials.sip_proxy.n2"},
		{"publish", "thor.node.d.thor_database.credentials.thor_operator.n1"},
		{"publish", "thor.node.p.provisioning_server.subscriber.sip_proxy.n2"}, // operators see no ha1
		{"publish", "thor.node.p.provisioning_server.subscriber.thor_operator.n1"},
		{"publish", "thor.node.p.provisioning_server.subscriber.provisioning_server.n1"},
		{"publish", "thor.node.p.provisioning_server.changes.thor_operator.n1"},
		{"publish", "$JS.API.STREAM.CREATE.x"},
		{"publish", "$JS.API.STREAM.UPDATE.x"},
		{"publish", "$JS.API.STREAM.RESTORE.x"},
		{"publish", "$JS.API.CONSUMER.CREATE.other.x"},
		{"publish", "$SYS.REQ.SERVER.PING.VARZ"},
		{"publish", "$JS.API.ACCOUNT.PURGE.THOR"},
		{"subscription", "_INBOX.>"},
		{"subscription", "$SYS.>"},
		{"subscription", ">"},
	}
	monitor := []deny{
		{"publish", "thor.node.d.thor_database.credentials.thor_monitor.n1"},
		{"publish", "thor.node.p.provisioning_server.subscriber.thor_monitor.n1"},
		{"publish", "thor.node.p.provisioning_server.changes.thor_monitor.n1"},
		{"publish", "thor.node.n2._.handover"},
		{"publish", "$JS.API.INFO"},
		{"subscription", "thor.role.*.*"},
		{"subscription", "thor.sys.>"},
	}
	provisioning := []deny{
		{"publish", "thor.node.n2._.drain"},
		{"publish", "thor.node.n2._.handover"},
		{"publish", "thor.node.n2.sip_proxy.subscriber"},
		{"publish", "thor.node.p.provisioning_server.subscriber.sip_proxy.n1"},
		{"publish", "_ANSWER.n2.thor_database.x"},
		{"subscription", "thor.node.*.provisioning_server.>"},
	}
	media := []deny{
		{"publish", "thor.node.n2._.handover"}, // it serves no subscribers
		{"publish", "thor.node.p.provisioning_server.subscriber.sip_proxy.n1"},
	}
	for _, c := range []struct {
		role subjects.Role
		deny []deny
	}{
		{"sip_proxy", member},
		{subjects.Manager, manager},
		{subjects.Operator, operator},
		{subjects.Monitor, monitor},
		{subjects.ProvisioningServer, provisioning},
		{subjects.MediaRelay, media},
	} {
		nc, v := dialStrict(t, n, "n1", c.role)
		for _, d := range c.deny {
			var err error
			if d.kind == "publish" {
				err = nc.Publish(d.subject, []byte("x"))
			} else {
				_, err = nc.SubscribeSync(d.subject)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		v.settle(t, nc)
		for _, d := range c.deny {
			if !v.refused(d.kind, d.subject) {
				t.Errorf("%s may %s %s", c.role, d.kind, d.subject)
			}
		}
	}
}

func TestWiderSubscriptionBringsNoMore(t *testing.T) {
	n := brokertest.Start(t)
	member, manager := n.Dial("n1", "sip_proxy"), n.Dial("m1", subjects.Manager)
	wide, err := member.SubscribeSync("thor.role.>")
	if err != nil {
		t.Fatal(err)
	}
	all, err := manager.SubscribeSync(subjects.AllPresences)
	if err != nil {
		t.Fatal(err)
	}
	flush(t, member, manager)
	if err := n.Dial("n2", "media_relay").Publish(subjects.Presence("media_relay", "n2"), []byte("x")); err != nil {
		t.Fatal(err)
	}
	for {
		m, err := all.NextMsg(10 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if string(m.Data) == "x" {
			break
		}
	}
	if err := manager.Publish(subjects.View("media_relay"), []byte("y")); err != nil {
		t.Fatal(err)
	}
	m, err := wide.NextMsg(10 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if m.Subject != subjects.View("media_relay") {
		t.Errorf("a member received %s", m.Subject)
	}
}

func flush(t *testing.T, ncs ...*nats.Conn) {
	t.Helper()
	for _, nc := range ncs {
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
}

// FuzzNamesNeverWiden feeds names to the table that a parser would refuse: even
// then no subject may come out that covers another node.
func FuzzNamesNeverWiden(f *testing.F) {
	f.Add("n1", "sip_proxy")
	f.Add("*", "sip_proxy")
	f.Add("n1", ">")
	f.Fuzz(func(t *testing.T, node, role string) {
		n, err := subjects.ParseNodeID(node)
		if err != nil {
			return
		}
		r, err := subjects.ParseRole(role)
		if err != nil || r.Infrastructure() {
			return
		}
		id := &identity.Identity{Node: n, Roles: []subjects.Role{r}}
		pub, sub := broker.Allowed(id)
		for _, p := range pub {
			if covers(p, "thor.role.sip_proxy.another-node") || covers(p, "thor.status") || covers(p, "_ANSWER.n1.another-node.x") && node != "another-node" || covers(p, "_JS.n1.x") {
				t.Errorf("%q %q may publish %s", node, role, p)
			}
		}
		for _, p := range sub {
			if covers(p, "_INBOX.another-node.x") || covers(p, "_ANSWER.another-node.n1.x") || covers(p, "thor.node.another-node._.x") {
				t.Errorf("%q %q may subscribe %s", node, role, p)
			}
		}
	})
}

func TestWhoMayNothingMayNotEvenSubscribe(t *testing.T) {
	p := broker.Permissions(&identity.Identity{Node: "n1"})
	if p.Publish.Allow == nil || len(p.Publish.Allow) > 0 {
		t.Errorf("publish: %q, and nil would allow all", p.Publish.Allow)
	}
	if len(p.Subscribe.Allow) == 0 && !slices.Equal(p.Subscribe.Deny, []string{">"}) {
		t.Error("an empty list of subscriptions allows all")
	}
	if p.Response != nil {
		t.Error("a message may name a reply subject over all permissions")
	}
}
