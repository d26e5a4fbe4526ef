package check

import "time"

// Timing says how often a service is asked. The tags say what zero means, see package
// setting.
type Timing struct {
	// Time from probe to probe.
	Interval time.Duration `toml:"interval" default:"2s" range:"100ms.." reload:"yes"`
	// Time that a probe may take.
	Timeout time.Duration `toml:"timeout" default:"1s" range:"1ms..Interval" reload:"yes"`
}

// Counts say how many answers in a row change the condition of a check.
type Counts struct {
	// Probes in a row that must pass before a check that failed counts as passing. The
	// first probe of all decides alone.
	Rise int `toml:"rise" unit:"probes" default:"2" range:"1..100"`
	// Probes in a row that must fail before a check that passed counts as failing.
	Fall int `toml:"fall" unit:"probes" default:"2" range:"1..100"`
}
