package subjects

// NodeStatistics answers a VerbStatistics request, which has no payload: what
// the services of a node's roles count now. A role that cannot be asked is
// absent.
type NodeStatistics struct {
	V     int                     `json:"v"`
	Roles map[Role]RoleStatistics `json:"roles"`
}

// RoleStatistics is what one role of a node counts: by what is counted, then by
// domain.
type RoleStatistics map[string]map[string]int

// OnlineAccounts is what SIP proxies count: subscribers that are registered.
const OnlineAccounts = "online_accounts"

// A LocationsRequest asks a node where Keys are registered with it.
type LocationsRequest struct {
	V    int      `json:"v"`
	Keys []string `json:"keys"`
}

// Locations answers a LocationsRequest. Keys that are not registered here are
// absent.
type Locations struct {
	V        int                  `json:"v"`
	Contacts map[string][]Contact `json:"contacts"`
}

// A Contact is one device of a subscriber.
type Contact struct {
	Address       string `json:"address"`        // host of the contact's URI
	Port          int    `json:"port"`           // of the URI, or what its transport implies
	PublicAddress string `json:"public_address"` // from where it registered; empty when that is Address
	PublicPort    int    `json:"public_port"`    // 0 when PublicAddress is empty
	Expires       int    `json:"expires"`        // seconds left
	UserAgent     string `json:"user_agent"`
	Transport     string `json:"transport"` // udp, tcp, tls, ws, wss, sctp
}

// Limits of Locations.
const (
	MaxLocationKeys = 100 // keys of one request
	maxLocations    = 1 << 20
	maxSections     = 16
)

// Encode returns the wire form.
func (s *NodeStatistics) Encode() []byte { return encode(s) }

// ParseNodeStatistics decodes and checks statistics.
func ParseNodeStatistics(b []byte) (*NodeStatistics, error) {
	var m NodeStatistics
	if _, err := parse(b, maxLocations, &m, func() int { return m.V }, func() []string { return nil }); err != nil {
		return nil, err
	}
	for r, s := range m.Roles {
		if _, err := ParseRole(string(r)); err != nil {
			return nil, bad(CodeName, "%v", err)
		}
		if err := s.check(); err != nil {
			return nil, err
		}
	}
	return &m, nil
}

func (s RoleStatistics) check() error {
	if len(s) > maxSections {
		return bad(CodeRange, "%d sections", len(s))
	}
	for section, counts := range s {
		if err := text("section", section, 63); err != nil {
			return err
		}
		for d, n := range counts {
			if n < 0 {
				return bad(CodeRange, "a count of %d", n)
			}
			if err := text("domain", d, 253); err != nil {
				return err
			}
		}
	}
	return nil
}

// Encode returns the wire form.
func (r *LocationsRequest) Encode() []byte { return encode(r) }

// ParseLocationsRequest decodes and checks a request for locations.
func ParseLocationsRequest(b []byte) (*LocationsRequest, error) {
	var m LocationsRequest
	if _, err := parse(b, maxKeysMessage, &m, func() int { return m.V }, func() []string { return m.Keys }); err != nil {
		return nil, err
	}
	if len(m.Keys) > MaxLocationKeys {
		return nil, bad(CodeRange, "%d keys, %d allowed", len(m.Keys), MaxLocationKeys)
	}
	return &m, nil
}

// Encode returns the wire form.
func (l *Locations) Encode() []byte { return encode(l) }

// ParseLocations decodes and checks locations. Text of devices is made printable.
func ParseLocations(b []byte) (*Locations, error) {
	var m Locations
	if _, err := parse(b, maxLocations, &m, func() int { return m.V }, func() []string { return nil }); err != nil {
		return nil, err
	}
	for k, cs := range m.Contacts {
		if err := checkKey(k); err != nil {
			return nil, err
		}
		for i := range cs {
			c := &cs[i]
			if c.Port < 0 || c.Port > 65535 || c.PublicPort < 0 || c.PublicPort > 65535 || c.Expires < 0 {
				return nil, bad(CodeRange, "a number of a contact")
			}
			for _, s := range []*string{&c.Address, &c.PublicAddress, &c.UserAgent, &c.Transport} {
				*s = Printable(*s, 255)
			}
		}
	}
	return &m, nil
}
