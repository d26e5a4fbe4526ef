package subscribers

import (
	"strings"

	"thor/overlay/lookup"
	"thor/subjects"
)

// A Place is where a key is served. The zero value is nowhere.
type Place struct {
	Owner     subjects.NodeID
	Heir      subjects.NodeID // owns it once the owner has left; may be ""
	Residence subjects.NodeID // may have state of before: the owner, or a node that drains
}

// holds reports whether n keeps the profile.
func (p Place) holds(n subjects.NodeID) bool { return p.Owner == n || p.Heir == n || p.Residence == n }

// serves reports whether n answers for the key.
func (p Place) serves(n subjects.NodeID) bool { return p.Owner == n || p.Residence == n }

// A Use is what an answer is for: it decides which nodes give one.
type Use string

// The uses of an answer.
const (
	ForAny      Use = ""         // the owner, a node that drains, and for 2 s who was the owner before
	ForRegister Use = "register" // the owner alone: whoever registers shall be found there from now on
	ForHeir     Use = "heir"     // the heir too: the owner does not answer
)

// answers reports whether n answers for the key, for a use.
func (p Place) answers(n subjects.NodeID, use Use) bool {
	switch use {
	case ForRegister:
		return p.Owner == n
	case ForHeir:
		return p.holds(n)
	}
	return p.serves(n)
}

// A table is the lookup, and who is there at all, of one network status.
type table struct {
	lookup  *lookup.Table
	members map[subjects.NodeID]bool // draining ones included
}

// find is where key is served; nowhere for a nil table, no key or no members.
func (t *table) find(key string) Place {
	if t == nil {
		return Place{}
	}
	p, err := t.lookup.Find(key)
	if err != nil {
		return Place{}
	}
	return Place{p.Owner(), p.Heir(), p.Residence()}
}

// Fold is the form of a key that provisioning uses, and that is to be looked up:
// lower case, without a scheme.
func Fold(key string) string {
	key = strings.ToLower(key)
	for _, scheme := range []string{"sips:", "sip:"} {
		if rest, ok := strings.CutPrefix(key, scheme); ok {
			return rest
		}
	}
	return key
}
