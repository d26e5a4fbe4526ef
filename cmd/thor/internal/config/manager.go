package config

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"thor/subjects"
)

// Manager configures the network manager.
type Manager struct {
	Addresses []netip.Addr  `toml:"addresses"`             // to announce; default: the certificate's
	Priority  int           `toml:"priority" reload:"yes"` // lower is preferred; default 50
	Dead      time.Duration `toml:"dead"`                  // silence after which a member is gone; default 10s
	Grace     time.Duration `toml:"grace"`                 // after a lost connection; default 500ms
	Departed  time.Duration `toml:"departed"`              // for how long a host name outlives its membership; default 10m
	Damping   *bool         `toml:"damping"`               // hold back members that flap; default true
	// Lookup is log2 of the slots in the lookup table of single roles: 10 to 24,
	// or 0 for none. Default: 18, but none for media_relay and provisioning_server.
	// The same for all managers.
	Lookup map[string]int `toml:"lookup"`
}

func (m *Manager) check(f *File) {
	f.priority("manager.priority", m.Priority)
	if m.Dead != 0 && m.Dead < 8*time.Second {
		f.d.add("manager.dead", "%s is too short: a broker that freezes silences its members for up to 6 s, so use 8s or more", m.Dead)
	}
	if m.Grace != 0 && m.Grace < 200*time.Millisecond {
		f.d.add("manager.grace", "%s is too short to reconnect in, use 200ms or more", m.Grace)
	}
	for _, r := range slices.Sorted(maps.Keys(m.Lookup)) {
		key := "manager.lookup." + r
		role, err := subjects.ParseRole(r)
		switch bits := m.Lookup[r]; {
		case err != nil:
			f.d.add(key, "%v", err)
		case role.Infrastructure():
			f.d.add(key, "%s is of the network itself: no subscriber is served by it", role)
		case bits != 0 && (bits < subjects.MinLookupBits || bits > subjects.MaxLookupBits):
			f.d.add(key, "%d is neither 0 (no lookup) nor %d to %d (2^18 slots are usual)", bits, subjects.MinLookupBits, subjects.MaxLookupBits)
		}
	}
}

func (m *Manager) fill(*File) {
	set(&m.Priority, 50)
	set(&m.Dead, 10*time.Second)
	set(&m.Grace, 500*time.Millisecond)
	set(&m.Departed, 10*time.Minute)
}
