package subjects

import "strings"

// AllBrokers are the notices of all brokers.
const AllBrokers = brokers + "*"

const brokers = "thor.broker."

// BrokerOf is the subject on which broker tells clients of itself.
func BrokerOf(broker NodeID) string { return brokers + string(broker) }

// IsBroker reports whether subject is that of a BrokerNotice, or a pattern for it.
func IsBroker(subject string) bool { return strings.HasPrefix(subject, brokers) }

// A BrokerNotice is what a broker tells clients of itself, when it changes and,
// while it is alone, again and again. It concerns the clients of that broker only.
type BrokerNotice struct {
	V      int    `json:"v"`
	Broker NodeID `json:"broker"`
	// Alone says that the broker has had no route for some seconds although its
	// configuration names other brokers: what is said elsewhere does not reach its
	// clients. A client that can reach another broker leaves.
	Alone bool `json:"alone"`
}

// Encode returns the wire form.
func (n *BrokerNotice) Encode() []byte { return Encode(n) }

// ParseBrokerNotice decodes and checks what arrived on subject.
func ParseBrokerNotice(subject string, b []byte) (*BrokerNotice, error) {
	var n BrokerNotice
	if err := Decode(b, MaxAnnouncement, &n); err != nil {
		return nil, err
	}
	if err := CheckVersion(n.V); err != nil {
		return nil, err
	}
	if _, err := ParseNodeID(string(n.Broker)); err != nil {
		return nil, Bad(CodeName, "%v", err)
	}
	if subject != BrokerOf(n.Broker) {
		return nil, Bad(CodeForeign, "broker %s on %s", n.Broker, subject)
	}
	return &n, nil
}

// StatusStored is the request for the stored status: JetStream's direct get of
// StatusKey, which every broker with a copy answers, also without a quorum.
const StatusStored = "$JS.API.DIRECT.GET." + bucketStream + StatusBucket + "." + bucketSubject + StatusBucket + "." + StatusKey

// InfoAlone is the field of the INFO with which a broker that is alone greets a
// client: true, or absent. It is known before the client has said anything, so
// that the client can go on to another broker.
const InfoAlone = "thor_alone"
