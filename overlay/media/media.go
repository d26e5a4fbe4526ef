// Package media is what provisioning servers ask nodes about the calls that their media
// relays carry.
package media

import "thor/subjects"

// Bounds of a Report.
const (
	MaxCalls   = 300 // of one relay
	MaxStreams = 16  // of one call
	maxRelays  = 16
	maxCallID  = 512 // bytes

	maxMessage = subjects.MaxView
)

// A Request asks a node what its relays carry.
type Request struct {
	V int `json:"v"`
	// Calls asks for the calls too, and not for the sums alone.
	Calls bool `json:"calls,omitempty"`
	// CallID asks for that call alone.
	CallID string `json:"call_id,omitempty"`
}

// A Report is what the relays of a node carry. A relay that does not answer has a Fault
// and nothing else.
type Report struct {
	V      int     `json:"v"`
	Relays []Relay `json:"relays"`
}

// A Relay is one media relay.
type Relay struct {
	Role     subjects.Role `json:"role"`
	Uptime   int64         `json:"uptime,omitempty"` // seconds
	Sessions int           `json:"sessions"`
	Streams  int           `json:"streams"`
	ByteRate int64         `json:"byte_rate"` // bytes a second
	Calls    []Call        `json:"calls,omitempty"`
	More     bool          `json:"more,omitempty"` // there are more calls than these
	Fault    string        `json:"fault,omitempty"`
}

// A Call is one that a relay carries now.
type Call struct {
	ID      string   `json:"id"`
	FromTag string   `json:"from_tag,omitempty"`
	ToTag   string   `json:"to_tag,omitempty"`
	Created int64    `json:"created"` // Unix time
	Streams []Stream `json:"streams,omitempty"`
}

// A Stream is one medium of a call, with its two sides.
type Stream struct {
	Type   string `json:"type"` // "audio"
	Caller Side   `json:"caller"`
	Callee Side   `json:"callee"`
}

// A Side is the one end of a stream.
type Side struct {
	Local   string `json:"local"`  // ADDRESS:PORT of the relay
	Remote  string `json:"remote"` // of the client
	Packets int64  `json:"packets"`
	Bytes   int64  `json:"bytes"`
	Last    int64  `json:"last"` // Unix time of the last packet
}

// Encode returns the wire form.
func (r *Request) Encode() []byte { return subjects.Encode(r) }

// Encode returns the wire form.
func (r *Report) Encode() []byte { return subjects.Encode(r) }

// ParseRequest decodes and checks a Request.
func ParseRequest(b []byte) (*Request, error) {
	r := new(Request)
	if err := subjects.Decode(b, subjects.MaxAnnouncement, r); err != nil {
		return nil, err
	}
	if err := subjects.CheckVersion(r.V); err != nil {
		return nil, err
	}
	if len(r.CallID) > maxCallID {
		return nil, subjects.Bad(subjects.CodeRange, "a Call-ID of %d bytes", len(r.CallID))
	}
	return r, nil
}

// ParseReport decodes and checks a Report.
func ParseReport(b []byte) (*Report, error) {
	r := new(Report)
	if err := subjects.Decode(b, maxMessage, r); err != nil {
		return nil, err
	}
	if err := subjects.CheckVersion(r.V); err != nil {
		return nil, err
	}
	if len(r.Relays) > maxRelays {
		return nil, subjects.Bad(subjects.CodeRange, "%d relays", len(r.Relays))
	}
	for _, x := range r.Relays {
		if len(x.Calls) > MaxCalls || x.Sessions < 0 || x.Streams < 0 {
			return nil, subjects.Bad(subjects.CodeRange, "%d calls", len(x.Calls))
		}
	}
	return r, nil
}
