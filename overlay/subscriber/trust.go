package subscriber

import "thor/subjects"

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
func (r *TrustRequest) Encode() []byte { return subjects.Encode(r) }

func (r *TrustRequest) check() error { return subjects.CheckVersion(r.V) }

// ParseTrustRequest decodes and checks a request for the Trust.
func ParseTrustRequest(b []byte) (*TrustRequest, error) {
	return parse[TrustRequest](b, subjects.MaxAnnouncement)
}

// Encode returns the wire form.
func (t *Trust) Encode() []byte { return subjects.Encode(t) }

func (t *Trust) check() error {
	if err := subjects.CheckVersion(t.V); err != nil {
		return err
	}
	if len(t.Peers) > MaxTrustedPeers || len(t.Domains) > MaxServedDomains {
		return subjects.Bad(subjects.CodeRange, "%d peers and %d domains", len(t.Peers), len(t.Domains))
	}
	return nil
}

// ParseTrust decodes and checks a Trust.
func ParseTrust(b []byte) (*Trust, error) { return parse[Trust](b, maxKeysMessage) }
