package subjects

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// An Identity is what a broker reports of the certificate of a node that connected
// to it. It is published before the connection's first message can pass, and
// again when a manager asks on IdentityGet. Managers hold claims of weight,
// priority and addresses against it. A report on the same serial replaces the
// one before; it is valid until NotAfter or until the certificate's revocation,
// not until the end of the connection.
type Identity struct {
	V         int            `json:"v"`
	Broker    NodeID         `json:"broker"`
	Node      NodeID         `json:"node"`
	Serial    string         `json:"serial"`           // lower-case hex
	Issuer    string         `json:"issuer,omitempty"` // tells apart authorities that gave the same serial; empty: not known
	NotAfter  time.Time      `json:"not_after"`
	Roles     []Role         `json:"roles"`
	Addresses []netip.Addr   `json:"addresses"`
	Bounds    map[Role]Bound `json:"bounds,omitempty"`
	Site      Site           `json:"site,omitempty"` // where the certificate says that the node is
}

// A Bound is how much a certificate lets a member claim of itself under one
// role. A zero field means the default, see Of.
type Bound struct {
	Weight   int `json:"weight,omitempty"`   // the greatest weight
	Priority int `json:"priority,omitempty"` // the lowest priority number
}

// defaultDatabasePriority is the best priority of a thor_database whose
// certificate names no bound: that of the configuration's default.
const defaultDatabasePriority = 10

// Of is b with the defaults of role in place of zero fields: the weight is
// DefaultWeight at most. The priority of a database is 10 or a higher number,
// since the lowest one gets all the work; other priorities are not bounded.
func (b Bound) Of(role Role) Bound {
	priority := 1
	if role == Database {
		priority = defaultDatabasePriority
	}
	return Bound{Weight: cmp.Or(b.Weight, DefaultWeight), Priority: cmp.Or(b.Priority, priority)}
}

// Union is what either of two bounds, both without zero fields, allows.
func (b Bound) Union(o Bound) Bound {
	return Bound{Weight: max(b.Weight, o.Weight), Priority: min(b.Priority, o.Priority)}
}

// Clamp is the claim that b, without zero fields, allows, nearest to the one
// given. A priority of 0 is none at all and stays so.
func (b Bound) Clamp(weight, priority int) (int, int) {
	weight = min(cmp.Or(weight, DefaultWeight), b.Weight)
	if priority > 0 {
		priority = max(priority, b.Priority)
	}
	return weight, priority
}

// Check returns a BadMessage unless both fields are 0 to 65535.
func (b Bound) Check() error {
	if b.Weight < 0 || b.Weight > MaxWeight || b.Priority < 0 || b.Priority > maxPriority {
		return Bad(CodeRange, "a bound is 1 to %d", MaxWeight)
	}
	return nil
}

// Compare orders identities by node, and those of a node by certificate.
func (w *Identity) Compare(o *Identity) int {
	return cmp.Or(cmp.Compare(w.Node, o.Node), cmp.Compare(w.Serial, o.Serial), cmp.Compare(w.Issuer, o.Issuer))
}

// Encode returns the wire form. It does not check w.
func (w *Identity) Encode() []byte { return Encode(w) }

// Check returns a BadMessage if w breaks a rule of the wire.
func (w *Identity) Check() error {
	if err := CheckVersion(w.V); err != nil {
		return err
	}
	for _, n := range []NodeID{w.Broker, w.Node} {
		if _, err := ParseNodeID(string(n)); err != nil {
			return Bad(CodeName, "%v", err)
		}
	}
	if !isHex(w.Serial, maxSerial) || w.Issuer != "" && !isHex(w.Issuer, maxSerial) {
		return Bad(CodeText, "serial or issuer is not hexadecimal")
	}
	if w.NotAfter.IsZero() {
		return Bad(CodeRange, "no end of validity")
	}
	if len(w.Roles) == 0 || len(w.Roles) > MaxRoles {
		return Bad(CodeRange, "%d roles, 1 to %d allowed", len(w.Roles), MaxRoles)
	}
	for i, r := range w.Roles {
		if _, err := ParseRole(string(r)); err != nil || slices.Contains(w.Roles[:i], r) {
			return Bad(CodeName, "role %q, or it stands twice", clip(string(r)))
		}
	}
	if len(w.Addresses) > MaxCertified {
		return Bad(CodeAddress, "%d addresses, %d allowed", len(w.Addresses), MaxCertified)
	}
	for i, a := range w.Addresses {
		if err := checkAddress(a, w.Addresses[:i]); err != nil {
			return err
		}
	}
	for _, r := range slices.Sorted(maps.Keys(w.Bounds)) {
		if !slices.Contains(w.Roles, r) {
			return Bad(CodeName, "a bound of role %q, which the certificate lacks", clip(string(r)))
		}
		if err := w.Bounds[r].Check(); err != nil {
			return err
		}
	}
	return w.Site.check()
}

const maxSerial = 64 // hex digits; RFC 5280 4.1.2.2 allows 40

func isHex(s string, most int) bool {
	return len(s) > 0 && len(s) <= most && strings.Trim(s, "0123456789abcdef") == ""
}

// ParseIdentity decodes and checks a report that came on subject, whose last
// token names the broker.
func ParseIdentity(subject string, b []byte) (*Identity, error) {
	var w Identity
	if err := Decode(b, MaxAnnouncement, &w); err != nil {
		return nil, err
	}
	if err := w.Check(); err != nil {
		return nil, err
	}
	if subject != IdentityOf(w.Broker) {
		return nil, Bad(CodeForeign, "the word of %s on %s", w.Broker, clip(subject))
	}
	return &w, nil
}

// AttrIdentity is the attribute with which a broker announces that it publishes
// identities. Managers hold members to them once every broker does.
const AttrIdentity = "identity"

// A ListRequest asks brokers, on AskCRL, for the revocation lists that the asker
// does not hold. An empty payload asks for all.
type ListRequest struct {
	V    int      `json:"v"`
	Held []string `json:"held"` // SHA-256 of each list's DER, lower-case hex
}

// Encode returns the wire form.
func (r *ListRequest) Encode() []byte { return Encode(r) }

// ParseListRequest decodes a request; an empty one holds nothing.
func ParseListRequest(b []byte) (*ListRequest, error) {
	if len(b) == 0 {
		return &ListRequest{V: Version}, nil
	}
	var r ListRequest
	if err := Decode(b, MaxAnnouncement, &r); err != nil {
		return nil, err
	}
	return &r, CheckVersion(r.V)
}
