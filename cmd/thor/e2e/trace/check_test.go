package trace_test

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"thor/cmd/thor/e2e/trace"
	"thor/subjects"
)

// A run makes a trace of a network of three hosts. Times are in seconds.
type run struct {
	lines   []trace.Line
	members []trace.Member
}

var cores = []string{"host1", "host2", "host3"}

func newRun() *run {
	r := &run{}
	for _, h := range cores {
		node := subjects.NodeID(h)
		r.add(0, trace.Line{Certified: &trace.Certified{Node: node, Roles: []subjects.Role{subjects.EventServer, subjects.Manager, subjects.DNSManager, subjects.SIPProxy}, Addresses: []string{"a-" + h}}})
		for program, role := range map[string]subjects.Role{trace.Broker: subjects.EventServer, trace.Manager: subjects.Manager, trace.NameServer: subjects.DNSManager, trace.Agent: subjects.SIPProxy} {
			r.add(0, trace.Line{Process: &trace.Process{Name: h + "/" + program, Host: h, Node: node, Program: program, Role: role}})
			r.members = append(r.members, trace.Member{Role: role, Node: node, State: subjects.Up, Addresses: []string{"a-" + h}})
		}
	}
	r.status(0.1, "host1", 1, 1, r.members)
	r.status(0.1, "host2", 1, 1, r.members)
	return r
}

func sec(s float64) trace.Moment { return trace.Moment(s * float64(time.Second)) }

func (r *run) add(at float64, l trace.Line) {
	l.At = sec(at)
	r.lines = append(r.lines, l)
}

func (r *run) effect(at float64, e trace.Effect) { r.add(at, trace.Line{Effect: &e}) }

func (r *run) status(at float64, observer string, epoch, generation uint64, members []trace.Member) {
	r.add(at, trace.Line{Status: &trace.Status{
		Observer: observer, Epoch: epoch, Generation: generation, Manager: subjects.NodeID(cores[epoch%3]), Connected: true,
		Digest: strings.Repeat("x", len(members)), Members: members,
	}})
}

func (r *run) dns(at float64, server string, nodes ...string) {
	r.add(at, trace.Line{DNS: &trace.DNS{Server: server + "/dns", Type: "SRV", Until: sec(at), N: 1, Rcode: "NOERROR", Nodes: nodes}})
}

// without are the members but one.
func (r *run) without(role subjects.Role, node string) []trace.Member {
	return slices.DeleteFunc(slices.Clone(r.members), func(m trace.Member) bool { return m.Role == role && m.Node == subjects.NodeID(node) })
}

// wants fails unless exactly these invariants are violated.
func (r *run) wants(t *testing.T, invariants ...string) {
	t.Helper()
	var got []string
	for _, v := range trace.Check(r.lines) {
		if !slices.Contains(got, v.Invariant) {
			got = append(got, v.Invariant)
		}
		t.Log(v)
	}
	slices.Sort(got)
	if !slices.Equal(got, invariants) {
		t.Errorf("violated are %v, want %v", got, invariants)
	}
}

func TestNothingWrongNothingFound(t *testing.T) {
	r := newRun()
	r.dns(1, "host1", "host1", "host2", "host3")
	r.wants(t)
}

func TestRemovalOfALiveMemberIsFound(t *testing.T) {
	r := newRun()
	r.status(5, "host1", 1, 2, r.without(subjects.SIPProxy, "host3"))
	r.wants(t, "I4")
}

// A process under two roles lives and dies under both.
func TestAProcessMayHaveTwoRoles(t *testing.T) {
	const second = subjects.Role("media")
	network := func() *run {
		r := newRun()
		r.add(0.2, trace.Line{Certified: &trace.Certified{Node: "edge", Roles: []subjects.Role{subjects.SIPProxy, second}, Addresses: []string{"a-edge"}}})
		r.add(0.2, trace.Line{Process: &trace.Process{Name: "edge/node", Host: "edge", Node: "edge", Program: trace.Agent, Role: subjects.SIPProxy, Also: []subjects.Role{second}}})
		for _, role := range []subjects.Role{subjects.SIPProxy, second} {
			r.members = append(r.members, trace.Member{Role: role, Node: "edge", State: subjects.Up, Addresses: []string{"a-edge"}})
		}
		for _, h := range []string{"host1", "host2"} {
			r.status(0.3, h, 1, 2, r.members)
		}
		return r
	}
	r := network()
	r.status(5, "host1", 1, 3, r.without(second, "edge"))
	r.wants(t, "I4")

	r = network()
	r.effect(4, trace.Effect{Act: trace.Kill, Process: "edge/node"})
	r.status(5, "host1", 1, 3, r.without(second, "edge"))
	r.wants(t)

	r = network() // after a fault the second role is missing
	r.add(4, trace.Line{Begin: &trace.Fault{Kind: "agent crashes"}})
	r.effect(4, trace.Effect{Act: trace.Kill, Process: "edge/node"})
	for _, h := range []string{"host1", "host2"} {
		r.status(5, h, 1, 3, r.without(second, "edge"))
	}
	r.effect(6, trace.Effect{Act: trace.Start, Process: "edge/node"})
	r.add(6, trace.Line{End: &trace.Fault{}})
	for _, h := range cores {
		r.dns(40, h, "edge", "host1", "host2", "host3")
	}
	r.wants(t, "I10")
}

func TestStallsOfTheMachineAreNotHeldAgainstIt(t *testing.T) {
	for _, at := range []float64{2, 40} {
		r := newRun()
		r.add(at-1, trace.Line{Stall: &trace.Stall{Until: sec(at)}})
		r.status(at+5, "host1", 1, 2, r.without(subjects.SIPProxy, "host3"))
		r.status(at+30, "host1", 1, 3, r.without(subjects.DNSManager, "host3"))
		found := slices.DeleteFunc(trace.Check(r.lines), func(v trace.Violation) bool { return v.Invariant != "I4" })
		if len(found) != 2 || !found[0].Stalled || found[1].Stalled {
			t.Errorf("stall at %v: %+v", at, found)
		}
	}
}

func TestRemovalHasAReason(t *testing.T) {
	for name, c := range map[string]struct {
		effects []trace.Effect
		begin   float64
		wants   []string
	}{
		"killed":                        {[]trace.Effect{{Act: trace.Kill, Process: "host3/node"}}, 4, nil},
		"another killed":                {[]trace.Effect{{Act: trace.Kill, Process: "host2/node"}}, 4, []string{"I4"}},
		"its service is down":           {[]trace.Effect{{Act: trace.ServiceDown, Process: "host3/node"}}, 4, nil},
		"frozen for four seconds":       {[]trace.Effect{{Act: trace.Freeze, Process: "host3/node"}}, 1, nil},
		"frozen for two seconds":        {[]trace.Effect{{Act: trace.Freeze, Process: "host3/node"}}, 3, []string{"I4"}},
		"its host has no link":          {[]trace.Effect{{Act: trace.LinkDown, Host: "host3"}}, 1, nil},
		"its broker is dead":            {[]trace.Effect{{Act: trace.Kill, Process: "host3/broker"}}, 1, []string{"I4"}},
		"its broker has no routes":      {[]trace.Effect{{Act: trace.Cut, From: "host3", To: "host1", Port: 6222}, {Act: trace.Cut, From: "host3", To: "host2", Port: 6222}}, 1, []string{"I4"}},
		"it is cut off from all others": {[]trace.Effect{{Act: trace.Cut, From: "host3", To: "host1"}, {Act: trace.Cut, From: "host2", To: "host3"}}, 1, nil},
		"it is cut off from one other":  {[]trace.Effect{{Act: trace.Cut, From: "host3", To: "host1"}}, 1, []string{"I4"}},
		"no two brokers have a route": {[]trace.Effect{
			{Act: trace.Cut, From: "host3", To: "host1", Port: 6222}, {Act: trace.Cut, From: "host3", To: "host2", Port: 6222}, {Act: trace.Cut, From: "host1", To: "host2", Port: 6222},
		}, 1, []string{"I4"}},
		"packets are lost": {[]trace.Effect{{Act: trace.Loss, N: 20}}, 1, []string{"I4"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRun()
			for _, e := range c.effects {
				r.effect(c.begin, e)
			}
			r.status(5, "host1", 1, 2, r.without(subjects.SIPProxy, "host3"))
			r.wants(t, c.wants...)
		})
	}
}

func TestReasonThatIsOverIsNone(t *testing.T) {
	r := newRun()
	r.effect(1, trace.Effect{Act: trace.LinkDown, Host: "host3"})
	r.effect(9, trace.Effect{Act: trace.LinkUp, Host: "host3"})
	r.status(14, "host1", 1, 2, r.without(subjects.SIPProxy, "host3"))
	r.wants(t, "I4")
}

func TestOriginalIsBackAfterItsDuplicate(t *testing.T) {
	r := newRun()
	r.effect(1, trace.Effect{Act: trace.TwinStart, Process: "host3/node"})
	r.effect(4, trace.Effect{Act: trace.TwinKill, Process: "host3/node"})
	r.status(4.6, "host1", 1, 2, r.without(subjects.SIPProxy, "host3"))
	r.status(30, "host1", 1, 3, r.without(subjects.SIPProxy, "host3"))
	r.wants(t, "I4")
	r.status(6, "host1", 1, 3, r.members)
	r.lines = slices.DeleteFunc(r.lines, func(l trace.Line) bool { return l.At == sec(30) })
	r.wants(t)
}

func TestOlderStatusIsFound(t *testing.T) {
	r := newRun()
	r.status(5, "host1", 3, 5, r.members)
	r.status(6, "host1", 3, 4, r.members)
	r.wants(t, "I2")
}

func TestOlderStatusToldToAFreshObserverIsFound(t *testing.T) {
	r := newRun()
	r.status(5, "host1", 1, 5, r.members)
	fresh := func(at float64) {
		r.add(at, trace.Line{Fresh: &trace.Heard{Observer: "fresh on host3", Host: "host3", Epoch: 1, Generation: 4}})
	}
	fresh(7)
	r.wants(t)
	fresh(13)
	r.wants(t, "I2")
	r.effect(6, trace.Effect{Act: trace.LinkDown, Host: "host3"})
	r.wants(t) // it is cut off, and its manager may trust its lease
	fresh(20)
	r.wants(t, "I2")
}

func TestSerialThatGoesBackIsFound(t *testing.T) {
	r := newRun()
	for i, serial := range []uint32{2004, 2002} {
		r.add(float64(5+i), trace.Line{DNS: &trace.DNS{Server: "host1/dns", Type: "SOA", Until: sec(float64(5 + i)), N: 1, Rcode: "NOERROR", Serial: serial}})
	}
	r.wants(t, "I2")
}

func TestTwoStatusesOfOneMarkAreFound(t *testing.T) {
	r := newRun()
	r.effect(1, trace.Effect{Act: trace.Kill, Process: "host3/node"})
	r.status(2, "host1", 1, 2, r.members)
	r.status(2, "host2", 1, 2, r.without(subjects.SIPProxy, "host3"))
	r.wants(t, "I2")
}

func TestEpochOfTwoManagersIsFound(t *testing.T) {
	r := newRun()
	r.add(3, trace.Line{Heard: &trace.Heard{Observer: "host1", Epoch: 1, Generation: 1, Manager: "host3"}})
	r.wants(t, "I1")
}

func TestEpochThatGoesBackIsFound(t *testing.T) {
	r := newRun()
	r.status(5, "host1", 3, 9, r.members)
	r.status(6, "host1", 1, 10, r.members)
	r.wants(t, "I1", "I2")
}

func TestAnswersThatFailAreFound(t *testing.T) {
	for name, d := range map[string]trace.DNS{
		"empty":           {Rcode: "NOERROR"},
		"no answer":       {Error: "i/o timeout"},
		"SERVFAIL":        {Rcode: "SERVFAIL"},
		"never published": {Rcode: "NOERROR", Nodes: []string{"host1", "host9"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRun()
			d.Server, d.Type, d.N, d.Until = "host1/dns", "SRV", 1, sec(5)
			r.add(5, trace.Line{DNS: &d})
			r.wants(t, "I6")
			r.effect(4, trace.Effect{Act: trace.Kill, Process: "host1/dns"})
			r.wants(t) // a dead server need not answer
		})
	}
}

func TestDeadMemberInDNSIsFound(t *testing.T) {
	r := newRun()
	r.effect(1, trace.Effect{Act: trace.Kill, Process: "host3/node"})
	r.dns(15, "host1", "host1", "host2", "host3")
	r.wants(t)
	r.dns(25, "host1", "host1", "host2", "host3")
	r.effect(90, trace.Effect{Act: trace.Start, Process: "host3/node"})
	r.wants(t, "I5")
}

// Two machines that are cut off together are a mass, which the guards hold back; one alone is not.
func TestMachinesCutOffTogetherMayStayLonger(t *testing.T) {
	for hosts, wants := range map[int][]string{1: {"I5"}, 2: nil} {
		r := newRun()
		for i := range 3 {
			h := "edge" + string(rune('1'+i))
			r.add(0.2, trace.Line{Process: &trace.Process{Name: h + "/node", Host: h, Node: subjects.NodeID(h), Program: trace.Agent, Role: subjects.SIPProxy}})
		}
		for i := range hosts {
			r.effect(1, trace.Effect{Act: trace.LinkDown, Host: "edge" + string(rune('1'+i))})
		}
		r.dns(25, "host1", "edge1", "edge3")
		for i := range hosts {
			r.effect(60, trace.Effect{Act: trace.LinkUp, Host: "edge" + string(rune('1'+i))})
		}
		var got []string
		for _, v := range trace.Check(r.lines) {
			if v.Invariant == "I5" {
				got = []string{"I5"}
			}
		}
		if !slices.Equal(got, wants) {
			t.Errorf("%d machines: %v, not %v", hosts, got, wants)
		}
	}
}

func TestNameServerThatIsCutOffNeedNotKnow(t *testing.T) {
	r := newRun()
	r.effect(1, trace.Effect{Act: trace.LinkDown, Host: "host1"})
	r.effect(2, trace.Effect{Act: trace.Kill, Process: "host3/node"})
	r.dns(40, "host1", "host1", "host2", "host3")
	r.effect(90, trace.Effect{Act: trace.Start, Process: "host3/node"})
	r.wants(t)
}

func TestConvergenceIsJudged(t *testing.T) {
	fault := func(r *run) {
		r.add(10, trace.Line{Begin: &trace.Fault{Number: 1, Kind: "agent crashes"}})
		r.effect(10, trace.Effect{Act: trace.Kill, Process: "host3/node"})
		r.status(11, "host1", 1, 2, r.without(subjects.SIPProxy, "host3"))
		r.effect(12, trace.Effect{Act: trace.Start, Process: "host3/node"})
		r.add(12, trace.Line{End: &trace.Fault{Number: 1, Kind: "agent crashes"}})
	}
	whole := func(r *run, at float64) {
		r.status(at, "host1", 1, 3, r.members)
		r.status(at, "host2", 1, 3, r.members)
		for _, h := range cores {
			r.dns(at+0.1, h, cores...)
		}
	}
	r := newRun()
	fault(r)
	whole(r, 14)
	r.wants(t)
	if f := trace.Figures(r.lines, nil); len(f[1].Samples) != 1 || f[1].Samples[0] != 2100*time.Millisecond {
		t.Errorf("converged after %v", f[1].Samples)
	}
	r = newRun()
	fault(r)
	r.status(13, "host2", 1, 2, r.without(subjects.SIPProxy, "host3"))
	whole(r, 50)
	r.wants(t, "I10")
}

// A site of host1 and host2 is cut off from the other three for half a minute; its members leave in
// two steps, and the active manager is killed before.
func TestFiguresOfSites(t *testing.T) {
	figures := func(r *run) (said string) {
		for _, f := range trace.Figures(r.lines, nil) {
			if strings.Contains(f.What, "site") || strings.Contains(f.What, "epoch heard") {
				said += fmt.Sprintln(f.What, f.Samples, f.N, f.Of)
			}
		}
		return said
	}
	between := func(r *run, at float64, act trace.Act, a, b []string) {
		for _, x := range a {
			for _, y := range b {
				r.effect(at, trace.Effect{Act: act, From: x, To: y})
				r.effect(at, trace.Effect{Act: act, From: y, To: x})
			}
		}
	}
	r := newRun()
	for _, o := range []string{"host1", "host3"} {
		r.add(1, trace.Line{Heard: &trace.Heard{Observer: o, Epoch: 1, Generation: 1}})
		r.add(2, trace.Line{Heard: &trace.Heard{Observer: o, Epoch: 1, Generation: 1}})
	}
	r.effect(2.5, trace.Effect{Act: trace.Kill, Process: cores[1] + "/manager"}) // of epoch 1
	r.add(3, trace.Line{Heard: &trace.Heard{Observer: "host1", Epoch: 2, Generation: 2}})
	r.add(3.25, trace.Line{Heard: &trace.Heard{Observer: "host3", Epoch: 2, Generation: 2}})
	site, others := []string{"host1", "host2"}, []string{"host3", "host4", "host5"}
	between(r, 10, trace.Cut, site, others)
	some := r.without(subjects.SIPProxy, "host1")
	none := slices.DeleteFunc(slices.Clone(r.members), func(m trace.Member) bool { return m.Node != "host3" })
	r.status(25, "host3", 2, 3, some)
	r.status(26, "host3", 2, 4, none)
	between(r, 40, trace.Heal, site, others)
	for _, h := range cores {
		r.status(42, h, 2, 5, r.members)
		r.dns(42.1, h, cores...)
	}
	want := "active manager killed → next epoch heard everywhere [750ms] 0 0\nsite cut off → its members gone elsewhere [16s] 0 0\n" +
		"site back → one whole status everywhere [2.1s] 0 0\n" +
		"generations in which members of cut sites left, of sites [] 2 1\n"
	if got := figures(r); got != want {
		t.Errorf("figures are\n%s, want\n%s", got, want)
	}
	r = newRun() // one way is not enough
	between(r, 10, trace.Cut, site, others)
	r.lines = slices.DeleteFunc(r.lines, func(l trace.Line) bool { return l.Effect != nil && l.Effect.From == "host3" })
	between(r, 40, trace.Heal, site, others)
	if got := figures(r); got != "" {
		t.Errorf("a cut one way counts as one of a site: %s", got)
	}
}

func TestWhatNoCertificateHoldsIsFound(t *testing.T) {
	r := newRun()
	r.status(3, "host1", 1, 2, append(slices.Clone(r.members), trace.Member{Role: "fax_server", Node: "host1", State: subjects.Up}))
	r.wants(t, "I9")
	r = newRun()
	r.members[0].Addresses = []string{"another"}
	r.status(3, "host1", 1, 2, r.members)
	r.wants(t, "I9")
}

func TestOwnersThatDifferAreFound(t *testing.T) {
	r := newRun()
	r.add(2, trace.Line{Owners: &trace.Owners{Observer: "host1", Epoch: 1, Generation: 1, Hash: "a"}})
	r.add(2, trace.Line{Owners: &trace.Owners{Observer: "host2", Epoch: 1, Generation: 1, Hash: "b"}})
	r.wants(t, "I7")
}

func TestLostBookingIsFound(t *testing.T) {
	r := newRun()
	for _, b := range []trace.Booking{{ID: "1", Acked: true}, {ID: "2", Acked: true}, {ID: "1", Found: 1}} {
		r.add(2, trace.Line{Booking: &b})
	}
	r.wants(t, "I8")
}

func TestLeaksAreFound(t *testing.T) {
	r := newRun()
	r.add(2, trace.Line{Finding: &trace.Finding{File: "host1/node.log", Text: "panic:"}})
	r.wants(t, "I11")
	r = newRun()
	r.add(1, trace.Line{Resources: &trace.Resources{Process: "host1/node", Files: 20, Goroutines: 30}})
	r.add(9, trace.Line{Resources: &trace.Resources{Process: "host1/node", Files: 20, Goroutines: 300}})
	r.wants(t, "I11")
}

func TestPictureThatLiesIsFound(t *testing.T) {
	r := newRun()
	r.add(2, trace.Line{Shown: &trace.Shown{Host: "host1", Command: "thor status", Differs: "at {1 1}"}})
	r.wants(t, "I12")
	r = newRun()
	r.effect(1, trace.Effect{Act: trace.LinkDown, Host: "host1"})
	r.add(5, trace.Line{Shown: &trace.Shown{Host: "host1", Command: "thor status", Exit: 0}})
	r.wants(t)
	r.add(20, trace.Line{Shown: &trace.Shown{Host: "host1", Command: "thor status", Exit: 3}})
	r.wants(t)
	r.add(20, trace.Line{Shown: &trace.Shown{Host: "host1", Command: "thor status", Exit: 0}})
	r.wants(t, "I12")
}

func TestStatusThatIsNotCalledStaleIsFound(t *testing.T) {
	r := newRun()
	for _, h := range cores {
		r.effect(1, trace.Effect{Act: trace.Kill, Process: h + "/manager"})
	}
	r.effect(50, trace.Effect{Act: trace.Start, Process: "host1/manager"})
	r.wants(t, "I12")
}

func TestTraceSurvivesItsFile(t *testing.T) {
	var file bytes.Buffer
	l := trace.NewLog(&file)
	for _, line := range newRun().lines {
		line.At += sec(0.5) // zero would be now
		l.Add(line)
	}
	lines, err := l.Lines()
	if err != nil {
		t.Fatal(err)
	}
	read, err := trace.Read(&file)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(lines, read) {
		t.Error("what was written is not what is read")
	}
}
