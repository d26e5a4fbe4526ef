package subjects

import (
	"cmp"
	"encoding/json"
	"time"
)

// A Lease is the value of the election key: who is the active manager. Only the
// compare-and-set that wrote it decides; reading it proves nothing.
type Lease struct {
	V       int       `json:"v"`
	Manager NodeID    `json:"manager"`
	Boot    string    `json:"boot"`    // of the manager's process, its NATS client name
	Via     string    `json:"via"`     // "<broker>#<connection>" it was written through
	Epoch   uint64    `json:"epoch"`   // of its term; takes effect when the write is acknowledged
	Ceiling uint64    `json:"ceiling"` // it publishes no generation above; a successor starts above
	Time    time.Time `json:"time"`    // for show
}

// Encode returns the wire form.
func (l *Lease) Encode() []byte { return Encode(l) }

// ParseLease decodes and checks a lease.
func ParseLease(b []byte) (*Lease, error) {
	var l Lease
	if err := Decode(b, MaxAnnouncement, &l); err != nil {
		return nil, err
	}
	if err := CheckVersion(l.V); err != nil {
		return nil, err
	}
	if l.Epoch > MaxNumber || l.Ceiling > MaxNumber {
		return nil, Bad(CodeRange, "epoch or ceiling above 2^53")
	}
	if _, err := ParseNodeID(string(l.Manager)); err != nil {
		return nil, Bad(CodeName, "%v", err)
	}
	if err := CheckText("boot", l.Boot, 64); err != nil {
		return nil, err
	}
	return &l, CheckText("via", l.Via, 128)
}

// An Event is one line of the network's history. On the wire its kind is in "kind"
// and, for older readers, in "event".
type Event struct {
	V          int       `json:"v"`
	Time       time.Time `json:"time"`
	Kind       EventKind `json:"event"`
	Role       Role      `json:"role,omitempty"`
	Node       NodeID    `json:"node,omitempty"`
	Cause      Cause     `json:"cause,omitempty"` // of a join or leave, or of the end of a loss
	By         NodeID    `json:"by,omitempty"`    // the operator who asked for it
	Detail     string    `json:"detail,omitempty"`
	Epoch      uint64    `json:"epoch"`
	Generation uint64    `json:"generation"`

	// Of a gap: how many records are missing, and since when; zero: not known.
	Missing uint64    `json:"missing,omitempty"`
	Since   time.Time `json:"since,omitzero"`
}

// An EventKind is a stable word to search for. The set is closed: see EventKinds.
type EventKind string

// The kinds of events.
const (
	EventJoin      EventKind = "join"
	EventLeave     EventKind = "leave"    // left the status; Detail says why
	EventUpdate    EventKind = "update"   // changed state, addresses or attributes
	EventElected   EventKind = "elected"  // a manager became active
	EventResigned  EventKind = "resigned" // the active manager stepped down on purpose
	EventGuard     EventKind = "guard"    // a guard holds removals back; Detail names it
	EventGuardEnd  EventKind = "guard_end"
	EventDuplicate EventKind = "duplicate" // two boots of one (node, role) both announce
	EventRejected  EventKind = "rejected"  // a message was dropped; Detail has code and reason
	EventRevoked   EventKind = "revoked"
	EventCut       EventKind = "cut"    // a broker ended a connection that sent too much; Detail says what
	EventZone      EventKind = "zone"   // two name servers differ in zone configuration
	EventLookup    EventKind = "lookup" // a process computes another lookup table, or is configured for another one
	EventForget    EventKind = "forget" // a lost member is not listed as lost any more, without having returned
	EventDrain     EventKind = "drain"  // an operator, By, asked a node to drain; without a role, all of its roles
	EventResume    EventKind = "resume" // an operator, By, asked a node to end a drain
	EventGap       EventKind = "gap"    // in the history only: records are missing, see Event.Missing
)

// EventKinds are all kinds.
func EventKinds() []EventKind {
	return []EventKind{
		EventJoin, EventLeave, EventUpdate, EventElected, EventResigned, EventGuard, EventGuardEnd, EventDuplicate, EventRejected,
		EventRevoked, EventCut, EventZone, EventLookup, EventForget, EventDrain, EventResume, EventGap,
	}
}

// A Cause is why a member joined or left, or why a loss ended. The set is closed:
// causes are metric labels.
type Cause string

// The causes.
const (
	CauseJoin       Cause = "join"            // announced itself
	CauseLeave      Cause = "leave"           // announced that it leaves
	CauseSilence    Cause = "silence"         // no beat for too long
	CauseConnection Cause = "connection_lost" // its broker told that its connection ended
	CauseCheck      Cause = "check_failed"
	CauseExpired    Cause = "certificate_expired"
	CauseRevoked    Cause = "certificate_revoked"
	CauseOperator   Cause = "operator" // the loss was ended by a request
	CauseAge        Cause = "age"      // the loss was three days old
	CauseFull       Cause = "full"     // there were more losses than are kept, this was the oldest
)

// Encode returns the wire form.
func (e *Event) Encode() []byte { return Encode(e) }

// ParseEvent decodes an event.
func ParseEvent(b []byte) (*Event, error) {
	var w struct {
		Event
		Named EventKind `json:"kind"`
	}
	if err := Decode(b, MaxAnnouncement, &w); err != nil {
		return nil, err
	}
	e := w.Event
	e.Kind = cmp.Or(w.Named, e.Kind)
	if err := CheckVersion(e.V); err != nil {
		return nil, err
	}
	e.Detail = Printable(e.Detail, 512)
	if err := CheckText("cause", string(e.Cause), 32); err != nil {
		return nil, err
	}
	if err := CheckText("by", string(e.By), 63); err != nil {
		return nil, err
	}
	return &e, CheckText("event", string(e.Kind), 32)
}

// Revoked is what a broker tells the managers when it ends a connection because
// its certificate was revoked: the node goes at once, even as the last of a role,
// but for what another certificate of it covers.
type Revoked struct {
	V      int    `json:"v"`
	Node   NodeID `json:"node"`
	Boot   string `json:"boot,omitempty"`
	Serial string `json:"serial"` // hex
}

// Encode returns the wire form.
func (r *Revoked) Encode() []byte { return Encode(r) }

// ParseRevoked decodes and checks a revocation notice.
func ParseRevoked(b []byte) (*Revoked, error) {
	var r Revoked
	if err := Decode(b, MaxAnnouncement, &r); err != nil {
		return nil, err
	}
	if err := CheckVersion(r.V); err != nil {
		return nil, err
	}
	if _, err := ParseNodeID(string(r.Node)); err != nil {
		return nil, Bad(CodeName, "%v", err)
	}
	return &r, nil
}

// A Cut is what a broker tells the managers of a client whose connection it ended
// because it sent more than its certificate may.
type Cut struct {
	V       int    `json:"v"`
	Node    NodeID `json:"node"`
	Reason  string `json:"reason"`
	Refused int    `json:"refused_s,omitempty"` // seconds for which the node is refused at this broker now
}

// Encode returns the wire form.
func (c *Cut) Encode() []byte { return Encode(c) }

// ParseCut decodes and checks a notice of a cut.
func ParseCut(b []byte) (*Cut, error) {
	var c Cut
	if err := Decode(b, MaxAnnouncement, &c); err != nil {
		return nil, err
	}
	if err := CheckVersion(c.V); err != nil {
		return nil, err
	}
	if _, err := ParseNodeID(string(c.Node)); err != nil {
		return nil, Bad(CodeName, "%v", err)
	}
	if c.Refused < 0 {
		return nil, Bad(CodeRange, "refused for %d s", c.Refused)
	}
	c.Reason = Printable(c.Reason, MaxReason)
	return &c, nil
}

// A Reply answers a request to a member. Code is empty when it succeeded.
type Reply struct {
	V    int             `json:"v"`
	Code ErrorCode       `json:"code,omitempty"`
	Text string          `json:"text,omitempty"`
	Data json.RawMessage `json:"data,omitempty"`
}

// Encode returns the wire form.
func (r *Reply) Encode() []byte { return Encode(r) }

// ParseReply decodes a reply of at most 1 MiB.
func ParseReply(b []byte) (*Reply, error) {
	var r Reply
	if err := Decode(b, 1<<20, &r); err != nil {
		return nil, err
	}
	r.Text = Printable(r.Text, 512)
	return &r, CheckVersion(r.V)
}
