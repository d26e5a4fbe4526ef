package location

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"

	"thor/subjects"
)

// A Mode is what a database is for.
type Mode string

// The modes. A database that names none is for reading and writing.
const (
	ReadWrite Mode = "read-write"
	ReadOnly  Mode = "read-only"
)

// The attributes of a thor_database member.
const (
	AttrURI  = "dburi" // the location, its password masked
	AttrMode = "mode"
	// AttrCluster is the same for all databases of one Galera cluster, of which each has
	// what was written to another. Others have none.
	AttrCluster = "cluster"
)

// Choose is the database to use of the members of thor_database: of those that
// take new work, the one with the lowest (priority, address). For ReadWrite it
// passes over those that are for reading only; for ReadOnly any will do. Without
// a priority a member comes last. ok is false when there is none.
//
// If that one is suspect and in a cluster, another one of the cluster that is up
// takes its place. Without a cluster it does not: which of several databases has the
// newest changes is not known then.
//
// Addresses compare as text, as the clients of the original do: all have to
// choose the same one. The choice changes with the membership only: locators
// check their databases, so clients need not try one after the other.
func Choose(members []subjects.Member, m Mode) (chosen subjects.Member, ok bool) {
	return ChooseWithout(members, m, func(subjects.NodeID) bool { return false })
}

// ChooseWithout is Choose for a client that cannot use the databases of some nodes
// itself: another one of the same cluster takes their place. Without one it is Choose.
func ChooseWithout(members []subjects.Member, m Mode, avoid func(subjects.NodeID) bool) (chosen subjects.Member, ok bool) {
	return ChooseNear(members, m, avoid, "")
}

// ChooseNear is ChooseWithout for a client in a site: of several databases of one cluster that
// have the same priority it takes one that stands there. Different priorities say where to
// write, wherever the client is. "": it is in no site.
func ChooseNear(members []subjects.Member, m Mode, avoid func(subjects.NodeID) bool, site subjects.Site) (chosen subjects.Member, ok bool) {
	first, ok := best(members, m, "", func(*subjects.Member) bool { return true })
	cluster := first.Attrs[AttrCluster]
	if !ok || cluster == "" {
		return first, ok
	}
	inCluster := func(x *subjects.Member) bool { return x.Attrs[AttrCluster] == cluster && !avoid(x.Node) }
	if x, ok := best(members, m, site, func(x *subjects.Member) bool { return inCluster(x) && x.State == subjects.Up }); ok {
		return x, true
	}
	if x, ok := best(members, m, site, inCluster); ok {
		return x, true
	}
	return first, true
}

// best is the most preferred of the members that serve and that take writes if m says
// so; of equals one in the site, if that is not empty.
func best(members []subjects.Member, m Mode, site subjects.Site, pass func(*subjects.Member) bool) (chosen subjects.Member, ok bool) {
	far := func(x *subjects.Member) int {
		if site != "" && x.Place() == site {
			return 0
		}
		return 1
	}
	const none = 1 << 16 // above every priority
	for _, x := range members {
		if !x.Serves() || m != ReadOnly && Mode(x.Attrs[AttrMode]) == ReadOnly || !pass(&x) {
			continue
		}
		if !ok || cmp.Or(
			cmp.Compare(cmp.Or(x.Priority, none), cmp.Or(chosen.Priority, none)),
			cmp.Compare(far(&x), far(&chosen)),
			cmp.Compare(x.Address().String(), chosen.Address().String()),
			cmp.Compare(x.Node, chosen.Node)) < 0 {
			chosen, ok = x, true
		}
	}
	return chosen, ok
}

// credentials is the data of the reply to a request on subjects.Credentials.
type credentials struct {
	V    int    `json:"v"`
	URI  string `json:"uri"` // with the password
	Mode Mode   `json:"mode"`
}

// EncodeCredentials is the data of a locator's reply to a role that is cleared.
func EncodeCredentials(d DSN, m Mode) json.RawMessage {
	b, err := json.Marshal(credentials{V: subjects.Version, URI: d.Reveal(), Mode: m})
	if err != nil {
		panic("location: encode credentials: " + err.Error()) // it holds strings only
	}
	return b
}

// ParseCredentials reads the data of a locator's reply. Its errors tell nothing
// of it.
func ParseCredentials(data []byte) (DSN, Mode, error) {
	var c credentials
	if json.Unmarshal(data, &c) != nil {
		return DSN{}, "", errors.New("database credentials: not the answer of a locator")
	}
	if c.V != subjects.Version {
		return DSN{}, "", fmt.Errorf("database credentials: version %d, not %d", c.V, subjects.Version)
	}
	if c.Mode != ReadWrite && c.Mode != ReadOnly {
		return DSN{}, "", errors.New("database credentials: unknown mode")
	}
	d, err := Parse(c.URI)
	return d, c.Mode, err
}
