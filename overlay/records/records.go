// Package records is what provisioning servers and name servers say to each other:
// the records of the network's zone that are provisioned. They are public, as the
// zone is.
package records

import "thor/subjects"

// Bounds of a List, beyond which no record is added.
const (
	Max     = 1000      // records
	MaxLine = 1024      // bytes of one
	MaxText = 128 << 10 // bytes of all

	maxMessage = 2*MaxText + 16*Max + 1024 // as JSON, each quote with its backslash
)

// A Request asks a provisioning server for a List that is newer than Have.
type Request struct {
	V    int    `json:"v"`
	Have uint64 `json:"have,omitempty"` // 0: none
}

// A List is all provisioned records. It never takes the place of one with a higher
// revision: a server whose database is behind has an older one.
type List struct {
	V        int      `json:"v"`
	Revision uint64   `json:"revision"`          // 0: there never was a record
	Same     bool     `json:"same,omitempty"`    // the asker's is as new: there are no records here
	Records  []string `json:"records,omitempty"` // zone file lines
}

// Answer is what to tell an asker that has the revision have.
func (l *List) Answer(have uint64) *List {
	if have >= l.Revision {
		return &List{V: l.V, Revision: l.Revision, Same: true}
	}
	return l
}

// Fits reports whether lines can be in a List.
func Fits(lines []string) bool {
	size := 0
	for _, line := range lines {
		if size += len(line); len(line) > MaxLine {
			return false
		}
	}
	return len(lines) <= Max && size <= MaxText
}

// Encode returns the wire form.
func (r *Request) Encode() []byte { return subjects.Encode(r) }

// Encode returns the wire form.
func (l *List) Encode() []byte { return subjects.Encode(l) }

// ParseRequest decodes and checks a Request.
func ParseRequest(b []byte) (*Request, error) {
	r := new(Request)
	if err := subjects.Decode(b, subjects.MaxAnnouncement, r); err != nil {
		return nil, err
	}
	return r, check(r.V, r.Have)
}

// Parse decodes and checks a List.
func Parse(b []byte) (*List, error) {
	l := new(List)
	if err := subjects.Decode(b, maxMessage, l); err != nil {
		return nil, err
	}
	if !Fits(l.Records) {
		return nil, subjects.Bad(subjects.CodeRange, "%d records", len(l.Records))
	}
	return l, check(l.V, l.Revision)
}

func check(v int, revision uint64) error {
	if revision > subjects.MaxNumber {
		return subjects.Bad(subjects.CodeRange, "revision %d", revision)
	}
	return subjects.CheckVersion(v)
}
