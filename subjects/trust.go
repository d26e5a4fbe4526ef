package subjects

// VerbTrust asks a provisioning server, with a TrustRequest, what proxies have
// to know of all subscribers together.
const VerbTrust = "trust"

// Bounds of a Trust.
const (
	MaxTrustedPeers  = 2000
	MaxServedDomains = 4000
)

// A TrustRequest asks for the Trust, unless its digest is Have.
type TrustRequest struct {
	V    int    `json:"v"`
	Have string `json:"have,omitempty"`
}

// A Trust says whose requests a proxy need not authenticate, and which domains
// have subscribers here. It holds no secret.
type Trust struct {
	V      int           `json:"v"`
	Digest string        `json:"digest"`         // of what follows; opaque
	Same   bool          `json:"same,omitempty"` // the asker has it already: what follows is empty
	Peers  []TrustedPeer `json:"peers,omitempty"`
	// Domains are for when no provisioning server answers; MorePeers and
	// MoreDomains tell that not all fit.
	Domains     []string `json:"domains,omitempty"`
	MorePeers   bool     `json:"more_peers,omitempty"`
	MoreDomains bool     `json:"more_domains,omitempty"`
}

// A TrustedPeer is a network whose requests are not authenticated.
type TrustedPeer struct {
	Network string `json:"network"`           // CIDR
	Blocked bool   `json:"blocked,omitempty"` // its requests are refused instead
	Transit bool   `json:"transit,omitempty"` // it may reach domains that are not served here
}

// Encode returns the wire form.
func (r *TrustRequest) Encode() []byte { return encode(r) }

// ParseTrustRequest decodes and checks a question for the Trust.
func ParseTrustRequest(b []byte) (*TrustRequest, error) {
	var m TrustRequest
	return parse(b, MaxAnnouncement, &m, func() int { return m.V }, func() []string { return nil })
}

// Encode returns the wire form.
func (t *Trust) Encode() []byte { return encode(t) }

// ParseTrust decodes and checks a Trust.
func ParseTrust(b []byte) (*Trust, error) {
	var m Trust
	if _, err := parse(b, maxKeysMessage, &m, func() int { return m.V }, func() []string { return nil }); err != nil {
		return nil, err
	}
	if len(m.Peers) > MaxTrustedPeers || len(m.Domains) > MaxServedDomains {
		return nil, bad(CodeRange, "%d peers and %d domains", len(m.Peers), len(m.Domains))
	}
	return &m, nil
}
