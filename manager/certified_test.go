package manager_test

import (
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"thor/broker"
	"thor/broker/brokertest"
	"thor/identity"
	"thor/manager"
	"thor/overlay"
	"thor/subjects"
)

const soon = 10 * time.Second

// node is a real node with TLS, not run yet.
func node(t *testing.T, n *brokertest.Net, c *identity.Credentials, dir string) *peer {
	t.Helper()
	o, err := overlay.New(overlay.Config{
		Credentials: c, Brokers: n.URLs(), StateDir: dir,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return &peer{node: o}
}

func realManager(t *testing.T, n *brokertest.Net, name, dir string) *peer {
	t.Helper()
	c := n.Credentials(name, subjects.Manager)
	p := node(t, n, c, filepath.Join(dir, "overlay"))
	var err error
	p.mgr, err = manager.New(manager.Config{
		Overlay: p.node, Domain: c.Identity().Domain, Addresses: c.Identity().Addresses, StateDir: dir,
		Log: zerolog.New(zerolog.NewTestWriter(t)).With().Timestamp().Logger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	p.run(t)
	select {
	case <-p.mgr.Ready(): // it hears what is said from now on
	case <-time.After(soon):
		t.Fatalf("%s is not ready", name)
	}
	return p
}

func onlooker(t *testing.T, n *brokertest.Net) *peer {
	t.Helper()
	p := node(t, n, n.Credentials("w1", subjects.Monitor), "")
	p.run(t)
	return p
}

// issue makes a certificate with one address of its own.
func issue(t *testing.T, n *brokertest.Net, name, address string, bounds map[subjects.Role]subjects.Bound, roles ...subjects.Role) *identity.Credentials {
	t.Helper()
	c, err := identity.Load(n.Issue(identity.Request{
		Node: subjects.NodeID(name), Roles: roles, Addresses: []netip.Addr{netip.MustParseAddr(address)}, Bounds: bounds,
	}))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// plain is a client of NATS without thor's SDK: it beats what it wants.
type plain struct {
	*nats.Conn
	seq int
}

func dialPlain(t *testing.T, n *brokertest.Net, c *identity.Credentials) *plain {
	t.Helper()
	return &plain{Conn: n.Brokers[0].Dial(append(brokertest.TLS(c), nats.Name("boot-"+string(c.Identity().Node)))...)}
}

func (p *plain) announce(t *testing.T, role subjects.Role, node, more string, addresses ...string) {
	t.Helper()
	p.seq++
	body := fmt.Sprintf(`{"v":1,"node":%q,"role":%q,"boot":"boot-%s","seq":%d,"addresses":["%s"]%s}`,
		node, role, node, p.seq, strings.Join(addresses, `","`), more)
	if err := p.Publish(subjects.Presence(role, subjects.NodeID(node)), []byte(body)); err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(); err != nil {
		t.Fatal(err)
	}
}

func listed(p *peer, role subjects.Role, node subjects.NodeID) *subjects.Member {
	if s := p.node.View().Status; s != nil {
		return s.Member(role, node)
	}
	return nil
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	brokertest.Eventually(t, soon, what, func() error {
		if !ok() {
			return fmt.Errorf("not yet")
		}
		return nil
	})
}

// A plain NATS client with a good certificate claims what that does not hold:
// addresses of others never reach the status, weight and priority are cut.
func TestClaimsOutsideTheCertificateNeverReachTheStatus(t *testing.T) {
	n := brokertest.Start(t)
	realManager(t, n, "m1", t.TempDir())
	w := onlooker(t, n)
	eventually(t, "a status", func() bool { return w.node.View().Status != nil })
	ops := n.Dial("ops", subjects.Operator)
	events, err := ops.SubscribeSync(subjects.Events)
	if err != nil {
		t.Fatal(err)
	}
	views, err := ops.SubscribeSync(subjects.View("sip_proxy"))
	if err != nil {
		t.Fatal(err)
	}
	if err := ops.Flush(); err != nil {
		t.Fatal(err)
	}
	evil := dialPlain(t, n, issue(t, n, "evil", "192.0.2.66", nil, "sip_proxy", subjects.Database))
	good := dialPlain(t, n, issue(t, n, "good", "192.0.2.1", nil, "sip_proxy"))
	big := dialPlain(t, n, issue(t, n, "big", "192.0.2.2", map[subjects.Role]subjects.Bound{"sip_proxy": {Weight: 200}}, "sip_proxy"))
	lies := [][]string{
		{"127.0.0.1"}, {"169.254.169.254"}, {"198.51.100.7"}, {"192.0.2.1"}, {"192.0.2.66", "198.51.100.7"}, {"::1"},
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for range 20 { // longer than any claim waits
		for _, addresses := range lies {
			evil.announce(t, "sip_proxy", "evil", "", addresses...)
		}
		good.announce(t, "sip_proxy", "good", "", "192.0.2.1")
		<-tick.C
	}
	rejected(t, events, "evil", "127.0.0.1")
	if listed(w, "sip_proxy", "evil") != nil {
		t.Fatal("listed by its lies alone")
	}

	evil.announce(t, "sip_proxy", "evil", `,"weight":65535`, "192.0.2.66")
	evil.announce(t, subjects.Database, "evil", `,"priority":1`, "192.0.2.66")
	big.announce(t, "sip_proxy", "big", `,"weight":65535`, "192.0.2.2")
	eventually(t, "the members with what is theirs", func() bool {
		return listed(w, "sip_proxy", "evil") != nil && listed(w, "sip_proxy", "big") != nil && listed(w, subjects.Database, "evil") != nil
	})
	for range 10 { // the listed member goes on lying
		for _, addresses := range lies {
			evil.announce(t, "sip_proxy", "evil", `,"weight":65535`, addresses...)
		}
		good.announce(t, "sip_proxy", "good", "", "192.0.2.1")
		big.announce(t, "sip_proxy", "big", `,"weight":65535`, "192.0.2.2")
		<-tick.C
	}
	m := listed(w, "sip_proxy", "evil")
	if m == nil || m.Weight != 100 || len(m.Addresses) != 1 || m.Addresses[0].String() != "192.0.2.66" {
		t.Errorf("the liar is %+v", m)
	}
	if m := listed(w, subjects.Database, "evil"); m == nil || m.Priority != 10 {
		t.Errorf("the database is %+v", m)
	}
	if m := listed(w, "sip_proxy", "big"); m == nil || m.Weight != 200 {
		t.Errorf("with a bound of 200: %+v", m)
	}
	for {
		m, err := views.NextMsg(time.Millisecond)
		if err != nil {
			break
		}
		for _, lie := range []string{"127.0.0.1", "169.254", "198.51", "::1", "65535"} {
			if strings.Contains(string(m.Data), lie) {
				t.Fatalf("%s was in the status: %s", lie, m.Data)
			}
		}
	}
	shares(t, w)
}

// rejected waits for the event that refuses what node claims.
func rejected(t *testing.T, events *nats.Subscription, node subjects.NodeID, what string) {
	t.Helper()
	var seen []string
	for {
		m, err := events.NextMsg(soon)
		if err != nil {
			t.Fatalf("no event refuses %s of %s: %q", what, node, seen)
		}
		e, err := subjects.ParseEvent(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, fmt.Sprint(e.Kind, " ", e.Node, " ", e.Detail))
		if e.Kind == subjects.EventRejected && e.Node == node && strings.Contains(e.Detail, "is in no certificate of it") {
			return
		}
	}
}

// shares checks that a weight that was cut owns no more than another of 100.
func shares(t *testing.T, w *peer) {
	t.Helper()
	eventually(t, "the lookup", func() bool { _, _, err := w.node.Lookup("sip_proxy", "a@example.net"); return err == nil })
	const keys = 4000
	own := map[subjects.NodeID]int{}
	for i := range keys {
		l, _, err := w.node.Lookup("sip_proxy", fmt.Sprintf("u%d@example.net", i))
		if err != nil {
			t.Fatal(err)
		}
		own[l.Owner()]++
	}
	// evil and good have a quarter each, big a half.
	if own["evil"] > keys*30/100 || own["evil"] < keys*20/100 || own["big"] < keys*45/100 {
		t.Errorf("of %d keys they own %v", keys, own)
	}
}

// dieAs announces one dead member in each of n roles of a node each: a client
// that said so once and went.
func dieAs(t *testing.T, n *brokertest.Net, w *peer, count int) (roles []subjects.Role, nodes []subjects.NodeID) {
	t.Helper()
	for i := range count {
		role, name := subjects.Role(fmt.Sprintf("role_%d", i)), fmt.Sprintf("n%d", i)
		p := dialPlain(t, n, issue(t, n, name, fmt.Sprintf("192.0.2.%d", i+1), nil, role))
		p.announce(t, role, name, "", fmt.Sprintf("192.0.2.%d", i+1))
		roles, nodes = append(roles, role), append(nodes, subjects.NodeID(name))
		eventually(t, name+" is listed", func() bool { return listed(w, role, nodes[i]) != nil })
		p.Close()
	}
	suspects(t, w, roles, nodes)
	return roles, nodes
}

func suspects(t *testing.T, w *peer, roles []subjects.Role, nodes []subjects.NodeID) {
	t.Helper()
	brokertest.Eventually(t, 3*soon, "all are dead, and listed as the last of their roles", func() error {
		for i := range roles {
			if m := listed(w, roles[i], nodes[i]); m == nil || m.State != subjects.Suspect {
				return fmt.Errorf("%s is %+v", nodes[i], m)
			}
		}
		return nil
	})
}

// Members that were dead before everything was restarted, each the last of its
// role, go when their certificates are revoked.
func TestRevocationReachesTheDeadAfterARestartOfEverything(t *testing.T) {
	const count = 20
	n := brokertest.Start(t)
	dir := t.TempDir()
	m := realManager(t, n, "m1", dir)
	w := onlooker(t, n)
	roles, nodes := dieAs(t, n, w, count)

	w.stop()
	m.stop()
	b := n.Brokers[0]
	b.Stop()
	creds, err := identity.Load(n.Files("b1", subjects.EventServer)) // as a new process has them
	if err != nil {
		t.Fatal(err)
	}
	b.Credentials, b.Config.Credentials = creds, creds
	b.Start()
	realManager(t, n, "m1", dir)
	w = onlooker(t, n)
	suspects(t, w, roles, nodes)

	ops := n.Dial("ops", subjects.Operator)
	var took []time.Duration
	for i := range count {
		der, err := n.Authority.Revoke(string(nodes[i]))
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := ops.Publish(subjects.PublishCRL("ops"), der); err != nil {
			t.Fatal(err)
		}
		eventually(t, string(nodes[i])+" is gone", func() bool { return listed(w, roles[i], nodes[i]) == nil })
		took = append(took, time.Since(began))
		for j := i + 1; j < count; j++ {
			if listed(w, roles[j], nodes[j]) == nil {
				t.Fatalf("%s went with %s", nodes[j], nodes[i])
			}
		}
	}
	if s := w.node.View().Status; slices.ContainsFunc(s.Departed, func(d subjects.Departed) bool { return slices.Contains(nodes, d.Node) }) {
		t.Errorf("departed: %+v", s.Departed)
	}
	slices.Sort(took)
	t.Logf("revoked while dead → out of the status: n %d, median %v, max %v", count, took[count/2], took[count-1])
}

// A status that was kept lists a node that was revoked while all managers were
// down: it goes.
func TestRevocationWhileManagersAreDown(t *testing.T) {
	n := brokertest.New(t)
	crl := filepath.Join(t.TempDir(), "crl.pem")
	n.Add("b1", func(c *broker.Config) { c.CRLFile = crl })
	dir := t.TempDir()
	m := realManager(t, n, "m1", dir)
	w := onlooker(t, n)
	roles, nodes := dieAs(t, n, w, 2)
	m.stop()
	der, err := n.Authority.Revoke(string(nodes[0]))
	if err != nil {
		t.Fatal(err)
	}
	ops := n.Dial("ops", subjects.Operator)
	if err := ops.Publish(subjects.PublishCRL("ops"), der); err != nil {
		t.Fatal(err)
	}
	if err := ops.Flush(); err != nil {
		t.Fatal(err)
	}
	realManager(t, n, "m1", dir)
	eventually(t, "the revoked one is gone", func() bool { return listed(w, roles[0], nodes[0]) == nil })
	if listed(w, roles[1], nodes[1]) == nil {
		t.Error("the other one is gone too")
	}
}

// A node has several certificates. One is revoked while its holder, a thief, is
// connected under the name of the process that has another one: that process, and
// the others of the node, stay in the status all the time.
func TestARevokedCertificateNamesNoOtherProcess(t *testing.T) {
	n := brokertest.Start(t)
	realManager(t, n, "m1", t.TempDir())
	w := onlooker(t, n)
	const more = `,"via":"b1#%d"`
	beside := func(role subjects.Role) (*plain, func()) {
		p := dialPlain(t, n, issue(t, n, "n1", "192.0.2.1", nil, role))
		cid, err := p.GetClientID()
		if err != nil {
			t.Fatal(err)
		}
		announce := func() { p.announce(t, role, "n1", fmt.Sprintf(more, cid), "192.0.2.1") }
		announce()
		eventually(t, "n1 is listed as "+string(role), func() bool { return listed(w, role, "n1") != nil })
		return p, announce
	}
	_, proxy := beside("sip_proxy")
	_, mail := beside("voicemail_server")
	for _, role := range []subjects.Role{"sip_proxy", "voicemail_server"} { // or n1 would stay as the last one
		dialPlain(t, n, issue(t, n, "n2", "192.0.2.2", nil, role)).announce(t, role, "n2", "", "192.0.2.2")
	}
	events, err := n.Dial("ops2", subjects.Operator).SubscribeSync(subjects.Events)
	if err != nil {
		t.Fatal(err)
	}
	for _, role := range []subjects.Role{"media_relay", "sip_proxy"} { // another role, and the very same
		stolen := issue(t, n, "n1", "192.0.2.1", nil, role)
		thief := dialPlain(t, n, stolen) // as boot-n1 too
		if role == "media_relay" {
			thief.announce(t, role, "n1", "", "192.0.2.1")
			eventually(t, "the thief is listed", func() bool { return listed(w, role, "n1") != nil })
		}
		ended := thief.StatusChanged(nats.CLOSED)
		der, err := n.Authority.Revoke(stolen.Identity().Serial)
		if err != nil {
			t.Fatal(err)
		}
		proxy()
		mail()
		if err := n.Dial("ops", subjects.Operator).Publish(subjects.PublishCRL("ops"), der); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ended:
		case <-time.After(soon):
			t.Fatal("the thief stays connected")
		}
		beat := time.NewTicker(200 * time.Millisecond)
		for range 20 {
			<-beat.C
			proxy()
			mail()
			for _, role := range []subjects.Role{"sip_proxy", "voicemail_server"} {
				if listed(w, role, "n1") == nil {
					t.Fatalf("n1 is no %s any more", role)
				}
			}
		}
		beat.Stop()
		if listed(w, "media_relay", "n1") != nil {
			t.Error("what stood on the revoked certificate stays")
		}
	}
	for {
		m, err := events.NextMsg(time.Millisecond)
		if err != nil {
			return
		}
		if e, err := subjects.ParseEvent(m.Data); err == nil && e.Kind == subjects.EventLeave && e.Node == "n1" && e.Role != "media_relay" {
			t.Errorf("%s left for a moment: %s", e.Role, e.Detail)
		}
	}
}
