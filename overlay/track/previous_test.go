package track

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"thor/subjects"
)

// A previousMember follows the status by the rules of the version that knew
// nothing of losses and sites: it reads the fields of that version, applies the changes and
// compares its own encoding with the digest.
type previousMember struct {
	status  *subjects.Status
	reloads int
}

// previousDelta and previousTick are the fields that it reads.
type previousDelta struct {
	Epoch, Generation uint64
	Prev              subjects.Mark
	Digest            string
	Manager           subjects.NodeID
	Time              time.Time
	Changes           []previousChange
	Departed          []subjects.Departed
	Forgotten         []subjects.NodeID
	Lookup            map[subjects.Role]*subjects.Lookup
	Reload            bool
}

// previousChange has a member without sites.
type previousChange struct {
	Op     subjects.Op
	Role   subjects.Role
	Node   subjects.NodeID
	Member *struct {
		Node      subjects.NodeID
		Addresses []netip.Addr
		State     subjects.State
		Reason    string
		Priority  int
		Weight    int
		Since     time.Time
		Version   string
		Plain     bool
		Attrs     subjects.Attrs
	}
}

type previousTick struct {
	Epoch, Generation uint64
	Digest            string
}

func (p *previousMember) delta(t *testing.T, wire []byte) {
	t.Helper()
	var d previousDelta
	if err := json.Unmarshal(wire, &d); err != nil {
		t.Fatal(err)
	}
	var changes []subjects.Change
	for _, c := range d.Changes {
		x := subjects.Change{Op: c.Op, Role: c.Role, Node: c.Node}
		if m := c.Member; m != nil {
			x.Member = &subjects.Member{
				Node: m.Node, Addresses: m.Addresses, State: m.State, Reason: m.Reason, Priority: m.Priority, Weight: m.Weight,
				Since: m.Since, Version: m.Version, Plain: m.Plain, Attrs: m.Attrs,
			}
		}
		changes = append(changes, x)
	}
	next, _, ok := p.status.Apply(&subjects.Delta{
		V: 1, Epoch: d.Epoch, Generation: d.Generation, Prev: d.Prev, Digest: d.Digest, Manager: d.Manager, Time: d.Time,
		Changes: changes, Gone: d.Departed, Forgotten: d.Forgotten, Lookup: d.Lookup, Reload: d.Reload,
	})
	if !ok {
		p.reloads++
		return
	}
	p.status = next
}

func (p *previousMember) tick(t *testing.T, wire []byte) {
	t.Helper()
	var k previousTick
	if err := json.Unmarshal(wire, &k); err != nil {
		t.Fatal(err)
	}
	if (subjects.Mark{Epoch: k.Epoch, Generation: k.Generation}) != p.status.Mark() || k.Digest != subjects.Digest(p.status.Encode()) {
		p.reloads++
	}
}

// Members come and go, also to other sites, are lost, held and forgotten: a member of the previous
// version follows without one reload, and a snapshot as it asks for it is its status.
func TestAMemberOfThePreviousVersionNeverReloads(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	at := time.Date(2026, 11, 24, 1, 2, 3, 0, time.UTC)
	address := []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	s := &subjects.Status{V: 1, Domain: "example.net", Epoch: 1, Generation: 1, Manager: "m1", Time: at, Roles: map[subjects.Role][]subjects.Member{}}
	s.ClearLosses()
	old := &previousMember{}
	var err error
	if old.status, err = subjects.ParseStatus(s.Encode()); err != nil {
		t.Fatal(err)
	}
	for range 2000 {
		next := s.Clone()
		next.Generation++
		node := subjects.NodeID(fmt.Sprintf("n%d", r.IntN(12)))
		next.Remove("sip_proxy", node)
		var l subjects.Losses
		l.ClearLosses()
		for _, x := range next.Lost {
			if x.Node != node {
				l.Lost = append(l.Lost, x)
			}
		}
		for _, x := range next.Held {
			if x.Node != node {
				l.Held = append(l.Held, x)
			}
		}
		next.Losses = l
		var add subjects.Losses
		add.ClearLosses()
		switch r.IntN(4) {
		case 0:
			next.Put("sip_proxy", subjects.Member{Node: node, Addresses: address, State: subjects.Up, Weight: 100, Since: at, Site: []subjects.Site{"", "ams", "fra"}[r.IntN(3)]})
		case 1:
			add.Lost = []subjects.Lost{{Node: node, Role: "sip_proxy", Addresses: address, Since: at, Reason: "silent"}}
		case 2:
			add.Held = []subjects.Held{{Node: node, Role: "sip_proxy", Until: at, Reason: "flaps"}}
		}
		next.Losses = merged(next.Losses, add)
		if next.LossesDigest() == s.LossesDigest() && string(next.Encode()) == string(s.Encode()) {
			continue
		}
		old.delta(t, subjects.Diff(s, next).Encode())
		k := tickOf(next)
		old.tick(t, k.Encode())
		s = next
	}
	if old.reloads != 0 {
		t.Errorf("%d reloads", old.reloads)
	}
	if string(old.status.Encode()) != string(s.Encode()) {
		t.Error("it ends with another status")
	}
}

// merged is a with what b has, sorted.
func merged(a, b subjects.Losses) subjects.Losses {
	from := &subjects.Status{V: 1, Losses: subjects.Losses{Lost: []subjects.Lost{}, Held: []subjects.Held{}}}
	to := &subjects.Status{V: 1, Losses: b}
	base := &subjects.Status{V: 1, Losses: a, Roles: map[subjects.Role][]subjects.Member{}}
	d := subjects.Diff(from, to)
	d.Prev, d.Digest = base.Mark(), subjects.Digest((&subjects.Status{V: 1, Roles: map[subjects.Role][]subjects.Member{}}).Encode())
	n, _, ok := base.Apply(d)
	if !ok {
		panic("the test's own delta does not apply")
	}
	return n.Losses
}
