package broker

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats-server/v2/server"

	"thor/subjects"
)

// A metaGroup is JetStream's group of brokers, a majority of which decides what
// streams there are, as one of them sees it.
type metaGroup struct {
	self   subjects.NodeID
	leader string // empty: none is known
	// lowered says that an earlier rescue is in force still, and did not come to its end.
	lowered bool
	peers   []metaPeer
}

// A metaPeer is another broker of the group.
type metaPeer struct {
	name  subjects.NodeID // empty: not known since the start of this process
	id    string          // by which JetStream knows it
	heard bool            // a route leads to it
}

var errLed = errors.New("JetStream has a leader: nothing is to be rescued")

// plan says which peers to remove so that the group has a majority again without
// the brokers of dead, and how many votes the survivors need until then. Where the
// group has a leader and a majority, that removes them: a network that shrinks. It
// refuses what would leave no majority.
func (g *metaGroup) plan(dead []subjects.NodeID) (votes int, ids []string, err error) {
	led := g.leader != "" && !g.lowered
	if alive := g.heard(); led && (len(dead) == 0 || alive < (1+len(g.peers))/2+1) {
		return 0, nil, fmt.Errorf("%w (%s leads)", errLed, g.leader)
	}
	for _, d := range dead {
		i := slices.IndexFunc(g.peers, func(p metaPeer) bool { return p.id == metaID(string(d)) })
		switch {
		case d == g.self:
			return 0, nil, fmt.Errorf("%s answers this: it is not dead", d)
		case i < 0:
			return 0, nil, fmt.Errorf("%s is no broker of JetStream's group: %s", d, g.describe())
		case g.peers[i].heard:
			return 0, nil, fmt.Errorf("%s is not dead: %s has a route to it", d, g.self)
		}
		ids = append(ids, g.peers[i].id)
	}
	alive := g.heard()
	if left := 1 + len(g.peers) - len(dead); alive < left/2+1 {
		return 0, nil, fmt.Errorf("%d brokers would be left, of which only %d are heard: %s", left, alive, g.describe())
	}
	return alive/2 + 1, ids, nil
}

// heard counts the brokers of the group that this one hears, itself included.
func (g *metaGroup) heard() int {
	n := 1
	for _, p := range g.peers {
		if p.heard {
			n++
		}
	}
	return n
}

// describe lists the group for an operator.
func (g *metaGroup) describe() string {
	all := []string{string(g.self)}
	for _, p := range g.peers {
		name := string(p.name)
		if name == "" {
			name = "one whose name is not known"
		}
		if !p.heard {
			name += " (not heard)"
		}
		all = append(all, name)
	}
	return strings.Join(all, ", ")
}

// reply is g as an operator is told.
func (g *metaGroup) reply() *subjects.RescueReply {
	r := &subjects.RescueReply{V: subjects.Version, Broker: g.self, Leader: subjects.NodeID(g.leader), Peers: []subjects.RescuePeer{}}
	for _, p := range g.peers {
		r.Peers = append(r.Peers, subjects.RescuePeer{Node: p.name, Heard: p.heard})
	}
	return r
}

// metaID is the name by which JetStream knows a broker, from nats-server's getHash.
// It tells a broker's even if this process has not heard that since its start.
func metaID(name string) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	sum := sha256.Sum256([]byte(name))
	id := make([]byte, 8)
	for i := range id {
		id[i] = digits[int(sum[i])%len(digits)]
	}
	return string(id)
}

// group is JetStream's group as s sees it now.
func group(s *server.Server) (*metaGroup, error) {
	if !s.JetStreamEnabled() {
		return nil, errors.New("JetStream is off at this broker")
	}
	if !s.JetStreamIsClustered() {
		return nil, errors.New("this broker has no others: nothing is to be rescued")
	}
	z, err := s.Jsz(nil)
	if err != nil {
		return nil, err
	}
	if z.Meta == nil {
		return nil, errors.New("JetStream tells of no group")
	}
	g := &metaGroup{self: subjects.NodeID(s.Name()), leader: z.Meta.Leader, lowered: z.Meta.Rescue}
	routes := remoteNames(s)
	for _, r := range z.Meta.Replicas {
		if r.Peer == metaID(s.Name()) {
			continue // nats-server counts the broker itself when there is no leader
		}
		p := metaPeer{id: r.Peer}
		if metaID(r.Name) == r.Peer {
			p.name, p.heard = subjects.NodeID(r.Name), routes[r.Name]
		}
		g.peers = append(g.peers, p)
	}
	return g, nil
}
