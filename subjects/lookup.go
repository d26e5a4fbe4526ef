package subjects

import "net/netip"

// The range of Lookup.Bits.
const (
	minLookupBits = 10
	maxLookupBits = 24
)

// A Lookup says how subscribers are spread over the members of a role: in
// 2^Bits slots, by the function of package overlay/lookup. Digest is that of the
// table which the members make, 16 hex digits: a process that computes another one has
// a fault and must not use it. A role without a Lookup has no table.
//
// RemoteDigest is that of the members' sites and the remote of each slot, 16 hex
// digits: present if at least two sites have members that take new work. Without
// it no slot has a remote, wherever the members stand: members of versions that
// know no sites ignore it, managers of such versions name none.
type Lookup struct {
	Bits         int    `json:"bits"`
	Digest       string `json:"digest"`
	RemoteDigest string `json:"remote_digest,omitempty"`
}

// String is how the table is named in messages: its digests.
func (l Lookup) String() string {
	if l.RemoteDigest == "" {
		return l.Digest
	}
	return l.Digest + " with remotes " + l.RemoteDigest
}

// LookupDiffers is the attribute under which a member says that it computes
// another table than the status names; the value tells roles and digests.
const LookupDiffers = "lookup_differs"

// HeldBack is the attribute of a manager that will not lead, with the reason:
// its configuration conflicts with what is in service.
const HeldBack = "held_back"

func (l *Lookup) check() error {
	if l.Bits < minLookupBits || l.Bits > maxLookupBits {
		return Bad(CodeRange, "lookup of 2^%d slots", l.Bits)
	}
	if !isLookupDigest(l.Digest) {
		return Bad(CodeText, "lookup digest %q", clip(l.Digest))
	}
	if l.RemoteDigest != "" && !isLookupDigest(l.RemoteDigest) {
		return Bad(CodeText, "lookup digest of the remotes %q", clip(l.RemoteDigest))
	}
	return nil
}

func isLookupDigest(s string) bool {
	for i := range len(s) {
		if c := s[i]; !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f') {
			return false
		}
	}
	return len(s) == 16
}

func checkLookups(m map[Role]Lookup) error {
	for r, l := range m {
		if err := checkRoleName(r); err != nil {
			return err
		}
		if err := l.check(); err != nil {
			return err
		}
	}
	return nil
}

// lookupChanges are the lookups of b that differ from a's; nil stands for one
// that is gone.
func lookupChanges(a, b map[Role]Lookup) map[Role]*Lookup {
	var out map[Role]*Lookup
	set := func(r Role, l *Lookup) {
		if out == nil {
			out = make(map[Role]*Lookup)
		}
		out[r] = l
	}
	for r, l := range b {
		if old, ok := a[r]; !ok || old != l {
			set(r, &l)
		}
	}
	for r := range a {
		if _, ok := b[r]; !ok {
			set(r, nil)
		}
	}
	return out
}

// maxLookupKeys is how many keys one LookupRequest may hold.
const maxLookupKeys = 100

// A LookupRequest asks where role serves subscribers.
type LookupRequest struct {
	V    int      `json:"v"`
	Role Role     `json:"role"`
	Keys []string `json:"keys"` // 1 to maxLookupKeys
}

// Encode returns the wire form.
func (r *LookupRequest) Encode() []byte { return Encode(r) }

// ParseLookupRequest decodes and checks a request. The keys are not looked at.
func ParseLookupRequest(b []byte) (*LookupRequest, error) {
	var r LookupRequest
	if err := Decode(b, maxLookupRequest, &r); err != nil {
		return nil, err
	}
	if err := CheckVersion(r.V); err != nil {
		return nil, err
	}
	if len(r.Keys) == 0 || len(r.Keys) > maxLookupKeys {
		return nil, Bad(CodeRange, "%d keys, 1 to %d allowed", len(r.Keys), maxLookupKeys)
	}
	return &r, checkRoleName(r.Role)
}

// maxLookupRequest is room for maxLookupKeys of usual length, or a few long ones.
const maxLookupRequest = 64 << 10

// A LookupResult says which nodes serve one key, and from which status that was
// computed: it is the wire form of an overlay/lookup.Assignment.
type LookupResult struct {
	Key        string `json:"key"` // as asked for
	Slot       uint32 `json:"slot"`
	Owner      NodeID `json:"owner"`
	Heir       NodeID `json:"heir"`                // owns the slot next; "" if there is no other member
	Remote     NodeID `json:"remote,omitempty"`    // the first in rank in another site than the owner; "" if there is one site
	Previous   NodeID `json:"residence,omitempty"` // drains, and may hold older state
	Epoch      uint64 `json:"epoch"`
	Generation uint64 `json:"generation"`
	// The first address of each, absent where it was not asked for.
	OwnerAddress    netip.Addr `json:"owner_address,omitzero"`
	HeirAddress     netip.Addr `json:"heir_address,omitzero"`
	RemoteAddress   netip.Addr `json:"remote_address,omitzero"`
	PreviousAddress netip.Addr `json:"residence_address,omitzero"`
}
