package manager

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"thor/overlay/lookup"
	"thor/overlay/setting"
	"thor/subjects"
)

// unhashed are the roles whose members are not chosen by subscriber: any relay
// serves any call, and every provisioning server is told everything. Roles of
// the infrastructure have no table either.
var unhashed = []subjects.Role{subjects.MediaRelay, subjects.ProvisioningServer}

// SlotBits is log2 of the slots in role's lookup table, by configuration or by
// default; 0: it has none.
func (c *Config) SlotBits(role subjects.Role) int {
	if role.Infrastructure() || strings.HasPrefix(string(role), "thor_") {
		return 0
	}
	if bits, ok := c.Lookup[role]; ok {
		return bits
	}
	if slices.Contains(unhashed, role) {
		return 0
	}
	return lookup.DefaultBits
}

// Validate lists everything that is wrong with c but that it lacks Overlay or Domain.
func (c Config) Validate() []setting.Problem {
	setting.Fill(&c)
	ps := setting.Check(&c)
	for _, role := range slices.Sorted(maps.Keys(c.Lookup)) {
		key := "lookup." + string(role)
		if bits := c.Lookup[role]; bits != 0 && (bits < lookup.MinBits || bits > lookup.MaxBits) {
			text := fmt.Sprintf("%d is neither 0 (no lookup) nor %d to %d (2^18 slots are usual)", bits, lookup.MinBits, lookup.MaxBits)
			ps = append(ps, setting.Problem{Key: key, Text: text})
		}
		if role.Infrastructure() {
			ps = append(ps, setting.Problem{Key: key, Text: fmt.Sprintf("%s is of the network itself: no subscriber is served by it", role)})
		}
	}
	if n := len(subjects.FormatExpected(c.Expect)); n > subjects.MaxAttrValue {
		ps = append(ps, setting.Problem{Key: "expect", Text: fmt.Sprintf("%d bytes as it is announced, %d allowed: name fewer roles", n, subjects.MaxAttrValue)})
	}
	return ps
}
