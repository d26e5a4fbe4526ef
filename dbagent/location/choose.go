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
)

// Choose is the database to use of the members of thor_database: of those that
// take new work, the one with the lowest (priority, address). For ReadWrite it
// passes over those that are for reading only; for ReadOnly any will do. Without
// a priority a member comes last. ok is false when there is none.
//
// Addresses compare as text, as the clients of the original do: all have to
// choose the same one. The choice changes with the membership only: locators
// check their databases, so clients need not try one after the other.
func Choose(members []subjects.Member, m Mode) (chosen subjects.Member, ok bool) {
	const none = 1 << 16 // above every priority
	for _, x := range members {
		if !x.Serves() || m != ReadOnly && Mode(x.Attrs[AttrMode]) == ReadOnly {
			continue
		}
		if !ok || cmp.Or(
			cmp.Compare(cmp.Or(x.Priority, none), cmp.Or(chosen.Priority, none)),
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
