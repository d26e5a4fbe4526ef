package subjects

import (
	"encoding/json"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// A State is what a member says of itself, or what the manager says of it.
type State string

// The states of members. An Announcement may carry up, down, draining or leave;
// a Member of the Status is up, suspect or draining.
const (
	Up       State = "up"
	Down     State = "down"     // its own check fails: a failure, not a wish
	Draining State = "draining" // an operator wants no new work for it
	Leave    State = "leave"    // it goes on purpose
	Suspect  State = "suspect"  // probably failed, still served because removing it would do harm
)

// A Mark orders statuses: by epoch, the term of the active manager, then by
// generation, which also rises across epochs. On the wire it is [epoch, generation].
type Mark struct {
	Epoch, Generation uint64
}

// After reports whether m is newer than o.
func (m Mark) After(o Mark) bool {
	return m.Epoch > o.Epoch || m.Epoch == o.Epoch && m.Generation > o.Generation
}

// IsZero reports whether m marks nothing yet.
func (m Mark) IsZero() bool { return m == Mark{} }

// Sane reports whether both numbers are at most MaxNumber.
func (m Mark) Sane() bool { return m.Epoch <= MaxNumber && m.Generation <= MaxNumber }

// MarshalJSON writes [epoch, generation].
func (m Mark) MarshalJSON() ([]byte, error) { return json.Marshal([2]uint64{m.Epoch, m.Generation}) }

// Attrs are a member's further properties, such as "control_port". On the wire a
// value may be a string, a number or a boolean; here it is its text.
type Attrs map[string]string

// AttrPort is the attribute by which a member says at which port it serves, in
// decimal: an event server its clients, a name server its questions, a web view its page.
// It tells a web view from a terminal that is a member under the same role.
const AttrPort = "port"

// AttrZone is the attribute by which a name server says which static records it serves,
// as a digest: managers raise the generation when it changes, and all should say the same.
const AttrZone = "zone"

// Attributes of a broker: how many clients it has, coarsely, and whether its JetStream
// can be used ("ok", or a word that says why not).
const (
	AttrClients   = "clients"
	AttrJetStream = "jetstream"
)

// AttrRoutes is the attribute by which a broker says to how many others it has a route.
const AttrRoutes = "routes"

// AttrPeers is the attribute by which a broker names the brokers that it has a route to,
// sorted, with commas between them; it is left out where they do not fit.
const AttrPeers = "peers"

// AttrDisk is the attribute by which a broker says how full the disk of its store is, in
// percent, a multiple of 5; it is left out below 80.
const AttrDisk = "disk"

// Attributes of a name server that keeps the database of a PowerDNS: what it does for it
// (connecting, writing, standby, behind, refused), and what is wrong, if anything is.
const (
	AttrPowerDNS      = "powerdns"
	AttrPowerDNSFault = "powerdns_fault"
)

// SetPeers names these brokers; false: they do not fit, and none is named.
func (a Attrs) SetPeers(brokers []string) bool {
	peers := strings.Join(brokers, ",")
	switch {
	case peers == "":
	case len(peers) > MaxAttrValue:
		return false
	default:
		a[AttrPeers] = peers
	}
	return true
}

// Peers are the brokers that a broker names. known is false where it names none: it has
// no route, or too many for a list.
func (a Attrs) Peers() (brokers []NodeID, known bool) {
	for name := range strings.SplitSeq(a[AttrPeers], ",") {
		if name != "" {
			brokers = append(brokers, NodeID(name))
		}
	}
	return brokers, len(brokers) > 0
}

// HasPeer reports whether a broker names another one.
func (a Attrs) HasPeer(broker NodeID) bool {
	for name := range strings.SplitSeq(a[AttrPeers], ",") {
		if name == string(broker) {
			return true
		}
	}
	return false
}

func (a Attrs) check() error {
	if len(a) > MaxAttrs {
		return Bad(CodeRange, "%d attributes, %d allowed", len(a), MaxAttrs)
	}
	for k, v := range a {
		if !attrName(k) || !isText(v, MaxAttrValue) {
			return a.firstFault()
		}
	}
	return nil
}

// firstFault says what is wrong with the first attribute, by name, that is wrong.
func (a Attrs) firstFault() error {
	for _, k := range slices.Sorted(maps.Keys(a)) {
		if !attrName(k) {
			return Bad(CodeText, "attribute name %q", clip(k))
		}
		if err := CheckText("attribute "+k, a[k], MaxAttrValue); err != nil {
			return err
		}
	}
	return nil
}

func attrName(k string) bool {
	if len(k) == 0 || len(k) > 32 || k[0] < 'a' || k[0] > 'z' {
		return false
	}
	for i := range len(k) {
		if c := k[i]; !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_') {
			return false
		}
	}
	return true
}

// An Announcement is what a member says of itself on its presence subject, as a
// beat (regularly) and at each change. Required of any client, in any language,
// are v, node, role and addresses.
//
// A member instance is (node, role, boot). Within a boot, seq must rise; a new
// boot replaces the old one, which counts again only if it goes on announcing
// when the newer one is lost, silent or has left; a revoked boot never does. Without boot and seq each
// message counts as a beat when it arrives, and the member is shown as plain.
type Announcement struct {
	V         int          `json:"v"`
	Node      NodeID       `json:"node"`
	Role      Role         `json:"role"`
	Boot      string       `json:"boot,omitempty"` // opaque random token of the process's start, also its NATS client name
	Seq       uint64       `json:"seq,omitempty"`
	Addresses []netip.Addr `json:"addresses,omitempty"` // the first is the one to show; each must be in the certificate
	State     State        `json:"state,omitempty"`     // empty counts as up
	Reason    string       `json:"reason,omitempty"`
	Priority  int          `json:"priority,omitempty"` // 1 to 65535, lower is preferred; 0 is none
	Weight    int          `json:"weight,omitempty"`   // 1 to 65535; 0 is the default, 100
	Version   string       `json:"version,omitempty"`  // of the software, for show
	Seen      *Mark        `json:"seen,omitempty"`     // the newest status this member holds
	Via       string       `json:"via,omitempty"`      // "<broker>#<connection>" it is sent through; void once that has ended
	Attrs     Attrs        `json:"attrs,omitempty"`
	Site      Site         `json:"site,omitempty"`  // where the node is; a certificate that names one decides
	Moves     bool         `json:"moves,omitempty"` // it leaves the connection Via for another one now: the end of that proves nothing
	// Hash names what the member announces, see Name. An announcement with a hash
	// and without addresses is short: it stands for the full one of that hash.
	Hash string `json:"hash,omitempty"`
}

// DefaultWeight is the weight of a member that names none.
const DefaultWeight = 100

// Plain reports whether the announcement has no replay discipline.
func (a *Announcement) Plain() bool { return a.Boot == "" || a.Seq == 0 }

// Encode returns the wire form. It does not check a.
func (a *Announcement) Encode() []byte { return Encode(a) }

// Check returns a BadMessage if a breaks a rule of the wire.
func (a *Announcement) Check() error {
	if err := CheckVersion(a.V); err != nil {
		return err
	}
	if _, err := ParseNodeID(string(a.Node)); err != nil {
		return Bad(CodeName, "%v", err)
	}
	if _, err := ParseRole(string(a.Role)); err != nil {
		return Bad(CodeName, "%v", err)
	}
	if a.Role == Operator {
		return Bad(CodeName, "%s is a permission, not a service to announce", Operator)
	}
	if a.Short() {
		return a.checkShort()
	}
	if err := checkAddresses(a.Addresses); err != nil {
		return err
	}
	switch a.State {
	case "", Up, Down, Draining, Leave:
	default:
		return Bad(CodeState, "state %q", clip(string(a.State)))
	}
	if a.Priority < 0 || a.Priority > maxPriority || a.Weight < 0 || a.Weight > MaxWeight {
		return Bad(CodeRange, "priority and weight are 0 to %d", MaxWeight)
	}
	if a.Seq > MaxNumber || a.Seen != nil && !a.Seen.Sane() {
		return Bad(CodeRange, "a number above 2^53")
	}
	for _, f := range []struct {
		name, s string
		max     int
	}{{"boot", a.Boot, maxBoot}, {"reason", a.Reason, MaxReason}, {"version", a.Version, 64}, {"via", a.Via, 128}, {"hash", a.Hash, MaxHash}} {
		if err := CheckText(f.name, f.s, f.max); err != nil {
			return err
		}
	}
	if err := a.Site.check(); err != nil {
		return err
	}
	return a.Attrs.check()
}

func checkAddresses(as []netip.Addr) error {
	if len(as) == 0 || len(as) > MaxAddresses {
		return Bad(CodeAddress, "%d addresses, 1 to %d allowed", len(as), MaxAddresses)
	}
	for i, a := range as {
		if err := checkAddress(a, as[:i]); err != nil {
			return err
		}
	}
	return nil
}

func checkAddress(a netip.Addr, before []netip.Addr) error {
	switch {
	case !a.IsValid(), a.IsUnspecified(), a.IsMulticast(), a.Is4In6(), a.Zone() != "",
		a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return Bad(CodeAddress, "%q cannot be a member's address", a)
	case slices.Contains(before, a):
		return Bad(CodeAddress, "%s twice", a)
	}
	return nil
}

// ParseAnnouncement decodes and checks a payload that came on subject. The
// subject's tokens are the truth, since the broker enforced them: a body that
// disagrees is refused.
func ParseAnnouncement(subject string, b []byte) (*Announcement, error) {
	role, node, err := ParsePresence(subject)
	if err != nil {
		return nil, Bad(CodeName, "%v", err)
	}
	a, ok := readShort(b)
	if !ok {
		a = new(Announcement)
		if err := Decode(b, MaxAnnouncement, a); err != nil {
			return nil, err
		}
	}
	if err := a.Check(); err != nil {
		return nil, err
	}
	if a.Role != role || a.Node != node {
		return nil, Bad(CodeForeign, "%s as %s said on the subject of %s as %s", a.Node, a.Role, node, role)
	}
	return a, nil
}
