package subscribers

import (
	"strings"

	"thor/overlay/lookup"
	"thor/overlay/subscriber"
	"thor/subjects"
)

// A purpose is what an answer is for: it decides which nodes answer.
type purpose string

// The uses of an answer.
const (
	forAny      purpose = ""         // the owner, a node that drains, and for 2 s who was the owner before
	forRegister purpose = "register" // the owner alone: the device that registers is found there from now on
	forHeir     purpose = "heir"     // the heir and the remote too: the owner does not answer
)

// answeredBy reports whether n answers for a key of a.
func (u purpose) answeredBy(n subjects.NodeID, a lookup.Assignment) bool {
	switch u {
	case forRegister:
		return a.Owner() == n
	case forHeir:
		return a.Holds(n)
	}
	return a.Serves(n)
}

// A table is the lookup, and who is there at all, of one network status.
type table struct {
	lookup  *lookup.Table
	members map[subjects.NodeID]bool // draining ones included
}

// find is the assignment of key; for a nil table, no key or no members it names
// no node.
func (t *table) find(key string) lookup.Assignment {
	if t == nil {
		return lookup.Assignment{}
	}
	a, _ := t.lookup.Find(key)
	return a
}

// fold is the form of a key that provisioning uses, and that is to be looked up:
// lower case, without a scheme.
func fold(key string) string {
	key = subscriber.Fold(key)
	for _, scheme := range []string{"sips:", "sip:"} {
		if rest, ok := strings.CutPrefix(key, scheme); ok {
			return rest
		}
	}
	return key
}
