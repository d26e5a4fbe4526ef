package faults

import "slices"

// Quick are the kinds of the short run: twelve that differ, each over within seconds.
var Quick = []string{
	"agent crashes", "agent freezes", "service dies", "agents' host loses its link", "active manager crashes", "standby crashes",
	"broker crashes", "broker pauses", "name server crashes", "packets are lost", "duplicate agent ends", "certificate is renewed",
}

// A Known failure is a kind of fault during which an invariant does not hold yet.
type Known struct {
	Kind, Invariant string
	Why             string // with figures
}

// KnownFailures is what the lab has found and is not mended.
var KnownFailures []Known

// KnownFailure says why a violation during some kinds of faults is known; empty if
// it is not.
func KnownFailure(invariant string, kinds []string) string {
	for _, k := range KnownFailures {
		if k.Invariant == invariant && slices.Contains(kinds, k.Kind) {
			return k.Why
		}
	}
	return ""
}
