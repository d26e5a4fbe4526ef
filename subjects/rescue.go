package subjects

import "slices"

// VerbRescue is a request of an operator to a broker, in its role: a RescueRequest.
// The Reply's data is a RescueReply.
const VerbRescue = "rescue"

// A RescueRequest has a broker take JetStream back from a majority of brokers that
// is lost for good. Without Dead it is a question, and changes nothing.
type RescueRequest struct {
	V    int      `json:"v"`
	Dead []NodeID `json:"dead,omitempty"` // the brokers that will not come back with what they hold
}

// maxDead is how many brokers a RescueRequest may name.
const maxDead = 64

// Encode returns the wire form.
func (r *RescueRequest) Encode() []byte { return Encode(r) }

// ParseRescueRequest decodes and checks a request to a broker. An empty payload is
// a question.
func ParseRescueRequest(b []byte) (*RescueRequest, error) {
	r := RescueRequest{V: Version}
	if len(b) == 0 {
		return &r, nil
	}
	if err := Decode(b, MaxAnnouncement, &r); err != nil {
		return nil, err
	}
	if err := CheckVersion(r.V); err != nil {
		return nil, err
	}
	if len(r.Dead) > maxDead {
		return nil, Bad(CodeRange, "more than %d brokers", maxDead)
	}
	for i, n := range r.Dead {
		if _, err := ParseNodeID(string(n)); err != nil {
			return nil, Bad(CodeName, "%v", err)
		}
		if slices.Contains(r.Dead[:i], n) {
			return nil, Bad(CodeName, "broker %s is named twice", n)
		}
	}
	return &r, nil
}

// A RescueReply says how a broker sees JetStream's peers.
type RescueReply struct {
	V       int          `json:"v"`
	Broker  NodeID       `json:"broker"`           // that answers
	Leader  NodeID       `json:"leader,omitempty"` // of JetStream; empty: none is known
	Peers   []RescuePeer `json:"peers"`            // all but Broker
	Removed []NodeID     `json:"removed,omitempty"`
}

// A RescuePeer is a broker that counts for JetStream's majority.
type RescuePeer struct {
	Node  NodeID `json:"node,omitempty"` // empty: the broker that answers has not heard the name since it started
	Heard bool   `json:"heard"`          // the broker that answers has a route to it
}
