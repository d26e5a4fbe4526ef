package subscribers

import (
	"net/netip"
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

// A Table is the lookup of one network status. It is never written to.
type Table struct {
	// Lookup is where each key is served.
	Lookup *lookup.Table
	// Mark is of the status that Lookup speaks of.
	Mark subjects.Mark
	// Members are all members of the role, with the address to show for each.
	Members map[subjects.NodeID]netip.Addr
}

// has reports whether n is still a member of the role.
func (t *Table) has(n subjects.NodeID) bool {
	_, ok := t.Members[n]
	return ok
}

// Find is where key is served. The error is one of package lookup.
func (t *Table) Find(key string) (Place, error) {
	p, err := t.Lookup.Find(key)
	if err != nil {
		return Place{}, err
	}
	return Place{p.Owner(), p.Heir(), p.Residence()}, nil
}

// find is Find for a table that may be nil, nowhere when there is an error.
func (t *Table) find(key string) Place {
	if t == nil {
		return Place{}
	}
	p, _ := t.Find(key) // an error comes with the zero Place
	return p
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
