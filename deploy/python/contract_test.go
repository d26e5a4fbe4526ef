package python_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"testing"

	"thor/broker/brokertest"
	"thor/dbagent/location"
	"thor/overlay"
	"thor/overlay/lookup"
	"thor/subjects"
)

// The parts that need no network: the lookup by the vectors of the repository, the codec
// of the stream, names of entities.
func TestUnits(t *testing.T) {
	needTwisted(t)
	cmd := exec.Command(python, "-X", "dev", "-m", "unittest", "discover", "-s", "tests", "-v")
	cmd.Env = append(cmd.Environ(), "PYTHONPATH=.", "PYTHONDONTWRITEBYTECODE=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func (n *network) proxy(node, address string) *overlay.Membership {
	n.Helper()
	_, ms := n.join(node, address, overlay.Member{Role: subjects.SIPProxy, Addresses: []netip.Addr{netip.MustParseAddr(address)}})
	return ms
}

func TestAProgramIsAMemberAndFollowsTheOthers(t *testing.T) {
	n := newNetwork(t)
	n.proxy("p1", "127.0.93.11")
	a := n.newAgent(byProgram("fax_server"), byProgram("voicemail_server"))
	a.start()
	p := a.run("fax_server", "voicemail_server")
	n.await("fax_server", "node1 up")
	n.await("voicemail_server", "node1 up")
	l := p.expect("event", is("members", "map[fax_server:[node1] sip_proxy:[p1] thor_eventserver:[b1] thor_manager:[m1] voicemail_server:[node1]]"))
	if l["in_reactor"] != true || fmt.Sprint(l["mine"]) != "[[7.1 25061 [fax_server voicemail_server]]]" {
		t.Errorf("%v", l)
	}

	if p.ticked == nil {
		p.expect("ticks", is("in_reactor", "true"))
	} else if err := is("in_reactor", "true")(p.ticked); err != nil {
		t.Error(err)
	}

	second := n.proxy("p2", "127.0.93.12")
	p.members("sip_proxy", "p1", "p2")
	second.Update(func(m *overlay.Member) { m.State = subjects.Draining })
	p.expect("event", is("states", "map[p1:up p2:draining]"))
	if err := second.Leave(context.Background()); err != nil {
		t.Fatal(err)
	}
	p.members("sip_proxy", "p1")

	p.command("stop") // in a thread of the program
	p.expect("ended", is("ended", "true"))
	n.await("fax_server", "")
	n.await("voicemail_server", "")
	p.exit()
	if s := n.manager.View().Status; len(s.Lost) > 0 {
		t.Errorf("a leave is a loss: %+v", s.Lost)
	}
}

// What the program looks up is what the network's own lookup says, draining members and
// weights included, by addresses alone.
func TestTheLookupIsThatOfTheNetwork(t *testing.T) {
	n := newNetwork(t)
	var some *overlay.Membership
	for i, weight := range []int{100, 100, 50, 30} {
		addr := fmt.Sprintf("127.0.93.%d", 11+i)
		_, some = n.join(fmt.Sprintf("p%d", i), addr, overlay.Member{Role: subjects.SIPProxy, Weight: weight, Addresses: []netip.Addr{netip.MustParseAddr(addr)}})
	}
	a := n.newAgent(byProgram("fax_server"))
	a.start()
	p := a.run("fax_server")
	p.members("sip_proxy", "p0", "p1", "p2", "p3")
	same := func() {
		status := a.node.View().Status
		table, err := lookup.New(status.Lookup[subjects.SIPProxy].Bits, lookup.Members(status.Roles[subjects.SIPProxy]))
		if err != nil || table.Digest() != status.Lookup[subjects.SIPProxy].Digest {
			t.Fatalf("%v, or another digest than that of the status", err)
		}
		for i := range 200 {
			key := fmt.Sprintf("sip:user%d@Example.com;transport=tls", i)
			found, err := table.Find(key)
			if err != nil {
				t.Fatal(err)
			}
			p.command("lookup", key)
			p.expect("key", is("ip", status.Member(subjects.SIPProxy, found.Owner()).Address().String()))
		}
	}
	same()
	some.Update(func(m *overlay.Member) { m.State = subjects.Draining })
	p.expect("event", is("states", "map[p0:up p1:up p2:up p3:draining]"))
	same()
	p.command("lookup", "nonsense")
	p.expect("key", is("error", "the key has no @"))
}

func TestLeaveAndWatchOn(t *testing.T) {
	n := newNetwork(t)
	a := n.newAgent(byProgram("fax_server"))
	a.start()
	p := a.run("fax_server")
	p.members("fax_server", "node1")
	p.command("leave")
	n.await("fax_server", "")
	p.members("fax_server")
	n.proxy("p1", "127.0.93.11")
	p.members("sip_proxy", "p1")
	a.stop()
	a.start() // an agent that has just started knows of no program that left
	p.expect("lost", is("lost", "None"))
	n.proxy("p2", "127.0.93.12")
	p.members("sip_proxy", "p1", "p2")
	n.await("fax_server", "") // and its role is no member, nor has it failed
	p.command("publish", "Thor.Presence")
	n.await("fax_server", "node1 up")
	p.command("stop")
	p.exit()
	n.await("fax_server", "")
}

func TestTheAgentIsRestartedUnderAProgram(t *testing.T) {
	n := newNetwork(t)
	n.proxy("p1", "127.0.93.11")
	a := n.newAgent(byProgram("fax_server"))
	a.start()
	p := a.run("fax_server")
	p.members("fax_server", "node1")
	p.command("status", "halting") // from a thread of the program
	n.await("fax_server", "node1 draining")
	for range 3 {
		a.stop()
		p.expect("lost", func(map[string]any) error { return nil })
		n.await("fax_server", "")
		a.start()
		n.await("fax_server", "node1 draining") // it still wants no new work
	}
	p.command("status", "active")
	n.await("fax_server", "node1 up")
	p.members("fax_server", "node1")
	p.command("stop")
	p.exit()
}

// It dies as programs do; the next one takes over.
func TestAProgramThatIsKilledIsDownAndTheNextOneJoins(t *testing.T) {
	n := newNetwork(t)
	a := n.newAgent(byProgram("fax_server"))
	a.start()
	p := a.run("fax_server")
	p.members("fax_server", "node1")
	second := a.run("fax_server")
	second.members("fax_server", "node1")
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for range p.lines {
	}
	second.command("status", "halting")
	n.await("fax_server", "node1 draining") // by the word of the second one
}

func TestARoleThatTheAgentRefusesLeavesTheOthersUndisturbed(t *testing.T) {
	n := newNetwork(t)
	a := n.newAgent(byProgram("fax_server"))
	a.start()
	p := a.run("fax_server", "media_relay")
	p.expect("failed", is("reason", `role media_relay is not joined by a program on this node: give it a [[node.role.check]] with kind = "program"`))
	n.await("fax_server", "node1 up")
	p.members("fax_server", "node1")
}

func TestAnOperatorsDrainReachesTheProgram(t *testing.T) {
	n := newNetwork(t)
	a := n.newAgent(byProgram("fax_server"))
	a.start()
	p := a.run("fax_server")
	p.members("fax_server", "node1")
	if err := a.agent.Drain(); err != nil {
		t.Fatal(err)
	}
	p.expect("drain", is("reason", overlay.DrainReason))
}

func TestAnOperatorsDrainSignalsTheProgram(t *testing.T) {
	n := newNetwork(t)
	role := byProgram("fax_server")
	role.DrainSignal = "HUP"
	a := n.newAgent(role)
	a.start()
	p := a.run("fax_server")
	p.members("fax_server", "node1")
	if err := a.agent.Drain(); err != nil {
		t.Fatal(err)
	}
	p.expect("signal", is("signal", "HUP"))
}

// A program sends commands to the control port of another node, in threads of its own,
// and a program there gets them.
func TestCommandsFromNodeToNode(t *testing.T) {
	n := newNetwork(t)
	a := n.newAgent(byProgram("xcap_server"), byProgram("fax_server"))
	a.start()
	p := a.run("xcap_server")
	p.members("xcap_server", "node1")
	_, port, _ := net.SplitHostPort(a.port.Address().String())
	p.command("notify 127.0.93.1", port, "notify update sip_account alice@example.com")
	p.expect("code", is("code", "200"))
	if key := <-a.changed; key != "alice@example.com" {
		t.Errorf("told of %q", key)
	}
	p.command("request 127.0.93.1", port, "get sip_watchers for alice@example.com")
	p.expect("code", is("code", "501"))
	a.env = []string{"TAKES_COMMANDS=1"}
	presence := a.run("fax_server")
	presence.members("fax_server", "node1")
	p.command("request 127.0.93.1", port, "get sip_watchers for alice@example.com")
	if l := presence.expect("command", is("command", "get sip_watchers for alice@example.com")); l["node"] != "node1" || l["in_reactor"] != true {
		t.Errorf("%v", l)
	}
	if l := p.expect("code", is("code", "200")); l["data"] != `[{"watcher": "bob@example.com", "online": true}]` {
		t.Errorf("%v", l)
	}
	p.command("notify 127.0.93.1", port, "notify update sip_account bob@example.com")
	presence.expect("command", is("command", "notify update sip_account bob@example.com"))
	p.expect("code", is("code", "200"))

	// What is wrong is told, and the next command goes through.
	p.command("notify 127.0.93.1", port, "notify update domain example.com")
	p.expect("code", is("code", "400"))
	p.command("request 127.0.93.2 9 get sip_watchers for a@b") // no agent listens there
	p.expect("error", func(map[string]any) error { return nil })
	a.stop()
	a.start()
	p.expect("lost", func(map[string]any) error { return nil })
	brokertest.Eventually(t, patience, "the agent knows the program as a member", func() error {
		if s := a.node.View().Status; s == nil || s.Member("xcap_server", "node1") == nil {
			return errors.New("not yet")
		}
		return nil
	})
	_, port, _ = net.SplitHostPort(a.port.Address().String())
	p.command("notify 127.0.93.1", port, "notify update sip_account carol@example.com")
	p.expect("code", is("code", "200"))
	p.command("stop")
	p.exit()
}

// A member that has another's address in the network's place is not believed.
func TestTheCertificateAtAControlPortMustBeThatOfItsAddress(t *testing.T) {
	n := newNetwork(t)
	a := n.newAgent(byProgram("xcap_server"))
	a.start()
	p := a.run("xcap_server")
	p.members("xcap_server", "node1")
	_, port, _ := net.SplitHostPort(a.port.Address().String())
	l, err := net.Listen("tcp", "127.0.93.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // it has moved in at that address, and passes on
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", "127.0.93.1:"+port)
			if err != nil {
				_ = c.Close()
				return
			}
			go func() { _, _ = io.Copy(to, c); _ = to.Close() }()
			go func() { _, _ = io.Copy(c, to); _ = c.Close() }()
		}
	}()
	_, other, _ := net.SplitHostPort(l.Addr().String())
	p.command("request 127.0.93.2", other, "get sip_watchers for a@b")
	p.expect("error", is("error", "127.0.93.2:"+other+": the certificate at 127.0.93.2 is for 127.0.93.1"))
}

// Members with the role thor_database have the password for a program that is cleared,
// and are not there for one that is not.
func TestTheDatabaseComesWithItsPassword(t *testing.T) {
	n := newNetwork(t)
	a := n.newAgent(byProgram("fax_server"), byProgram("voicemail_server"))
	d, err := location.Parse("mysql://thor:s3cret@10.0.0.5/thor")
	if err != nil {
		t.Fatal(err)
	}
	locator, _ := n.connect(n.credentials(n.files("db1", "127.0.93.21", subjects.Database)))
	locator.Handle(string(subjects.Database), subjects.VerbCredentials, func(_ context.Context, r *overlay.Request) *subjects.Reply {
		if r.SenderRole() != "fax_server" {
			return &subjects.Reply{Code: subjects.ErrorForbidden}
		}
		return &subjects.Reply{Data: location.EncodeCredentials(d, location.ReadWrite)}
	})
	if _, err := locator.Join(overlay.Member{
		Role: subjects.Database, Priority: 10, Attrs: subjects.Attrs{location.AttrURI: d.String(), location.AttrMode: string(location.ReadWrite)},
	}); err != nil {
		t.Fatal(err)
	}
	a.start()
	cleared := a.run("fax_server")
	cleared.expect("event", is("database", "mysql://thor:s3cret@10.0.0.5/thor"))
	n.await(subjects.Database, "db1 up")
	other := a.run("voicemail_server")
	l := other.expect("event", is("database", "<nil>"))
	if of := l["members"].(map[string]any); of["thor_database"] != nil || of["sip_proxy"] != nil {
		t.Errorf("%v", l)
	}
}
