package subscriber

import (
	"cmp"

	"thor/subjects"
)

// Statistics answers a subjects.VerbStatistics request, which has no payload: what
// the services of a node's roles count now. A role that cannot be asked is
// absent.
type Statistics struct {
	V     int                              `json:"v"`
	Roles map[subjects.Role]RoleStatistics `json:"roles"`
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

// Limits of Locations and Statistics.
const (
	MaxLocationKeys = 100 // keys of one request
	maxLocations    = 1 << 20
	maxSections     = 16
)

// Encode returns the wire form.
func (s *Statistics) Encode() []byte { return subjects.Encode(s) }

func (s *Statistics) check() error {
	if err := subjects.CheckVersion(s.V); err != nil {
		return err
	}
	for r, counts := range s.Roles {
		if _, err := subjects.ParseRole(string(r)); err != nil {
			return subjects.Bad(subjects.CodeName, "%v", err)
		}
		if err := counts.check(); err != nil {
			return err
		}
	}
	return nil
}

// ParseStatistics decodes and checks statistics.
func ParseStatistics(b []byte) (*Statistics, error) { return parse[Statistics](b, maxLocations) }

func (s RoleStatistics) check() error {
	if len(s) > maxSections {
		return subjects.Bad(subjects.CodeRange, "%d sections", len(s))
	}
	for section, counts := range s {
		if err := subjects.CheckText("section", section, 63); err != nil {
			return err
		}
		for d, n := range counts {
			if n < 0 {
				return subjects.Bad(subjects.CodeRange, "a count of %d", n)
			}
			if err := subjects.CheckText("domain", d, 253); err != nil {
				return err
			}
		}
	}
	return nil
}

// Encode returns the wire form.
func (r *LocationsRequest) Encode() []byte { return subjects.Encode(r) }

func (r *LocationsRequest) check() error {
	if err := cmp.Or(subjects.CheckVersion(r.V), checkKeys(r.Keys)); err != nil {
		return err
	}
	if len(r.Keys) > MaxLocationKeys {
		return subjects.Bad(subjects.CodeRange, "%d keys, %d allowed", len(r.Keys), MaxLocationKeys)
	}
	return nil
}

// ParseLocationsRequest decodes and checks a request for locations.
func ParseLocationsRequest(b []byte) (*LocationsRequest, error) {
	return parse[LocationsRequest](b, maxKeysMessage)
}

// Encode returns the wire form.
func (l *Locations) Encode() []byte { return subjects.Encode(l) }

// check makes the text of devices printable, too.
func (l *Locations) check() error {
	if err := subjects.CheckVersion(l.V); err != nil {
		return err
	}
	for k, cs := range l.Contacts {
		if err := checkKey(k); err != nil {
			return err
		}
		for i := range cs {
			c := &cs[i]
			if c.Port < 0 || c.Port > 65535 || c.PublicPort < 0 || c.PublicPort > 65535 || c.Expires < 0 {
				return subjects.Bad(subjects.CodeRange, "a number of a contact")
			}
			for _, s := range []*string{&c.Address, &c.PublicAddress, &c.UserAgent, &c.Transport} {
				*s = subjects.Printable(*s, 255)
			}
		}
	}
	return nil
}

// ParseLocations decodes and checks locations. Text of devices is made printable.
func ParseLocations(b []byte) (*Locations, error) { return parse[Locations](b, maxLocations) }
