package subscriber

import (
	"cmp"

	"thor/subjects"
)

// Attr is the attribute, with any value, by which a member announces that its
// node agent keeps profiles: others are not notified of changes.
const Attr = "subscribers"

// A Notice tells a node that Key changed: the node pulls the profile from
// provisioning server From and answers with a Held once it holds Revision or a
// newer one. It carries nothing that is secret.
type Notice struct {
	V        int             `json:"v"`
	Key      string          `json:"key"`
	Revision uint64          `json:"revision"`
	Deleted  bool            `json:"deleted,omitempty"`
	From     subjects.NodeID `json:"from"`
}

// Encode returns the wire form.
func (n *Notice) Encode() []byte { return subjects.Encode(n) }

func (n *Notice) check() error {
	_, err := subjects.ParseNodeID(string(n.From))
	if err != nil {
		err = subjects.Bad(subjects.CodeName, "%v", err)
	}
	return cmp.Or(subjects.CheckVersion(n.V), checkKey(n.Key), err)
}

// ParseNotice decodes and checks a notice.
func ParseNotice(b []byte) (*Notice, error) { return parse[Notice](b, subjects.MaxAnnouncement) }

// Held is the data of the answer to a Notice.
type Held struct {
	V        int    `json:"v"`
	Key      string `json:"key"`
	Revision uint64 `json:"revision"`
}

// Encode returns the wire form.
func (h *Held) Encode() []byte { return subjects.Encode(h) }

func (h *Held) check() error { return cmp.Or(subjects.CheckVersion(h.V), checkKey(h.Key)) }

// ParseHeld decodes and checks an acknowledgement.
func ParseHeld(b []byte) (*Held, error) { return parse[Held](b, subjects.MaxAnnouncement) }

// A Request asks a provisioning server, or the heir's node agent, for the Profile
// of Key. A server that is behind Least (its database is a replica) answers
// subjects.ErrorBehind.
type Request struct {
	V     int    `json:"v"`
	Key   string `json:"key"`
	Least uint64 `json:"least,omitempty"`
}

// Encode returns the wire form.
func (r *Request) Encode() []byte { return subjects.Encode(r) }

func (r *Request) check() error { return cmp.Or(subjects.CheckVersion(r.V), checkKey(r.Key)) }

// ParseRequest decodes and checks a request for a profile.
func ParseRequest(b []byte) (*Request, error) { return parse[Request](b, subjects.MaxAnnouncement) }

// A ChangesRequest asks which keys changed after revision Since: a node that was
// cut off finds out what it may have missed.
type ChangesRequest struct {
	V     int    `json:"v"`
	Since uint64 `json:"since"`
}

// Encode returns the wire form.
func (r *ChangesRequest) Encode() []byte { return subjects.Encode(r) }

func (r *ChangesRequest) check() error { return subjects.CheckVersion(r.V) }

// ParseChangesRequest decodes and checks a request for changes.
func ParseChangesRequest(b []byte) (*ChangesRequest, error) {
	return parse[ChangesRequest](b, subjects.MaxAnnouncement)
}

// ChangedKeys answers a ChangesRequest. All set means that there are too many to
// list, or that the log does not reach back: every profile held may be old.
type ChangedKeys struct {
	V       int      `json:"v"`
	Keys    []string `json:"keys"`
	Through uint64   `json:"through"` // the revision up to which Keys is complete
	All     bool     `json:"all,omitempty"`
	// Revisions are those of Keys, one each; absent: unknown.
	Revisions []uint64 `json:"revisions,omitempty"`
}

// Encode returns the wire form.
func (c *ChangedKeys) Encode() []byte { return subjects.Encode(c) }

func (c *ChangedKeys) check() error { return cmp.Or(subjects.CheckVersion(c.V), checkKeys(c.Keys)) }

// ParseChangedKeys decodes and checks a list of changes.
func ParseChangedKeys(b []byte) (*ChangedKeys, error) { return parse[ChangedKeys](b, maxKeysMessage) }

// A Handover tells a node that it is responsible for Keys now; it pulls them from
// a provisioning server at its own pace.
type Handover struct {
	V    int      `json:"v"`
	Keys []string `json:"keys"`
	// Changed tells that what the node holds of Keys may be old, whatever its revision.
	Changed bool `json:"changed,omitempty"`
}

// Encode returns the wire form.
func (h *Handover) Encode() []byte { return subjects.Encode(h) }

func (h *Handover) check() error { return cmp.Or(subjects.CheckVersion(h.V), checkKeys(h.Keys)) }

// ParseHandover decodes and checks a hand-over.
func ParseHandover(b []byte) (*Handover, error) { return parse[Handover](b, maxKeysMessage) }
