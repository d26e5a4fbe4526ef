package subjects

import (
	"strconv"
	"strings"
)

// A Link is one connection of one process to one broker. A manager asks with it
// on ClosedGet, and the broker answers with it on ClosedAt if it has no such
// connection: it ended, or ended with an earlier process of the broker.
type Link struct {
	V    int    `json:"v"`
	Boot string `json:"boot"` // the NATS client name
	Via  string `json:"via"`  // see ViaOf
}

// Encode returns the wire form.
func (l *Link) Encode() []byte { return Encode(l) }

// ParseLink decodes and checks a link.
func ParseLink(b []byte) (*Link, error) {
	var l Link
	if err := Decode(b, MaxAnnouncement, &l); err != nil {
		return nil, err
	}
	if err := CheckVersion(l.V); err != nil {
		return nil, err
	}
	if err := CheckText("boot", l.Boot, 64); err != nil {
		return nil, err
	}
	if l.Boot == "" || l.Connection() == 0 {
		return nil, Bad(CodeName, "%q is no connection of a process", Printable(l.Via, 128))
	}
	return &l, nil
}

// ViaOf names a connection, as announcements and leases do: "<broker>#<connection>".
// The number is the one that the broker gave it.
func ViaOf(broker string, connection uint64) string {
	return broker + "#" + strconv.FormatUint(connection, 10)
}

// ViaBroker is the broker that via names, and all of via if it names none.
func ViaBroker(via string) string {
	broker, _, _ := strings.Cut(via, "#")
	return broker
}

// Broker is the node at which the connection is, or was.
func (l *Link) Broker() NodeID { return NodeID(ViaBroker(l.Via)) }

// Connection is the number that the broker gave the connection, 0 if Via names none.
func (l *Link) Connection() uint64 {
	broker, number, _ := strings.Cut(l.Via, "#")
	if _, err := ParseNodeID(broker); err != nil {
		return 0
	}
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
